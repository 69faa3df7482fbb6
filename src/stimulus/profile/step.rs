//! The steps that a stimulus or an observation is made of.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::value::{Value, ValueForm};

/// One thing that is done to a device.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Step {
    /// Write a register.
    Write(Write),
    /// Write as many bytes as the stimulus asks for, other ones each time.
    Fill(Place),
    /// Read a register. In an observation, what is read is observed.
    Read(Read),
    /// Read many bytes, which are observed.
    Dump(Dump),
    /// Read a register again and again, until it has a value.
    Wait(Wait),
    /// Run a program on the host that the device is in.
    Command(Command),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Write(write) => write!(f, "write {}", write.place),
            Step::Fill(place) => write!(f, "fill {place}"),
            Step::Read(read) => match read.value {
                Some(value) => write!(f, "read {}, expect {value:#x}", read.place),
                None => write!(f, "read {}", read.place),
            },
            Step::Dump(dump) => write!(f, "dump {}", dump.place),
            Step::Wait(wait) => write!(f, "wait for {} at {}", wait.until, wait.place),
            Step::Command(command) => write!(f, "run {}", command.program.join(" ")),
        }
    }
}

/// A register's new value.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "WriteForm")]
#[schemars(with = "WriteForm")]
pub struct Write {
    /// Where.
    pub place: Place,
    /// What is written, in the byte order of PCI.
    pub value: Spanned<Value>,
    /// How wide the register is.
    pub width: Width,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Write")]
struct WriteForm {
    /// Which region the register is in. Either this or `buffer`.
    region: Option<Region>,
    /// Which buffer it is in.
    #[schemars(with = "Option<String>")]
    buffer: Option<Spanned<String>>,
    /// Where in it, in bytes from the beginning.
    offset: u64,
    /// What is written: a number, or the name of a variable.
    #[schemars(with = "ValueForm")]
    value: Spanned<Value>,
    /// How wide the register is, in bytes: 1, 2, 4 or 8.
    #[serde(default)]
    bytes: Width,
}

impl TryFrom<WriteForm> for Write {
    type Error = String;

    fn try_from(form: WriteForm) -> Result<Write, String> {
        let WriteForm { region, buffer, offset, value, bytes: width } = form;
        if let Value::Number(number) = value.get_ref() {
            width.holds(*number)?;
        }
        Ok(Write { place: Place::new(region, buffer, offset)?, value, width })
    }
}

/// A place in a region of the device, or in a buffer that it can reach.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "PlaceForm")]
#[schemars(with = "PlaceForm")]
pub struct Place {
    /// Region or buffer.
    pub space: Space,
    /// Where in it, in bytes from the beginning.
    pub offset: u64,
}

/// What an offset counts in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Space {
    /// A region of the device.
    Region(Region),
    /// A buffer of the profile.
    Buffer(Spanned<String>),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Place")]
struct PlaceForm {
    /// Which region. Either this or `buffer`.
    region: Option<Region>,
    /// Which buffer.
    #[schemars(with = "Option<String>")]
    buffer: Option<Spanned<String>>,
    /// Where in it, in bytes from the beginning.
    offset: u64,
}

impl TryFrom<PlaceForm> for Place {
    type Error = String;

    fn try_from(form: PlaceForm) -> Result<Place, String> {
        Place::new(form.region, form.buffer, form.offset)
    }
}

impl Place {
    fn new(region: Option<Region>, buffer: Option<Spanned<String>>, offset: u64) -> Result<Place, String> {
        let space = match (region, buffer) {
            (Some(region), None) => Space::Region(region),
            (None, Some(name)) => Space::Buffer(name),
            (None, None) => return Err("it does not say where: give region or buffer".to_owned()),
            (Some(_), Some(_)) => return Err("it names a region and a buffer: leave one out".to_owned()),
        };
        Ok(Place { space, offset })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.space {
            Space::Region(region) => write!(f, "{region} at {:#x}", self.offset),
            Space::Buffer(name) => write!(f, "buffer {:?} at {:#x}", name.get_ref(), self.offset),
        }
    }
}

/// A register that is read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "ReadForm")]
#[schemars(with = "ReadForm")]
pub struct Read {
    /// Where.
    pub place: Place,
    /// How wide it is.
    pub width: Width,
    /// The bits that count; the others are taken for 0.
    pub mask: u64,
    /// What the bits have to be; another value fails the stimulus.
    pub value: Option<u64>,
    /// The variable that holds them for the steps behind this one.
    pub into: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Read")]
struct ReadForm {
    /// Which region the register is in. Either this or `buffer`.
    region: Option<Region>,
    /// Which buffer it is in.
    #[schemars(with = "Option<String>")]
    buffer: Option<Spanned<String>>,
    /// Where in it, in bytes from the beginning.
    offset: u64,
    /// How wide the register is, in bytes: 1, 2, 4 or 8.
    #[serde(default)]
    bytes: Width,
    /// The bits that count; all if left out.
    mask: Option<u64>,
    /// What the bits have to be; another value fails the stimulus.
    value: Option<u64>,
    /// A variable that holds them for the steps behind this one.
    into: Option<String>,
}

impl TryFrom<ReadForm> for Read {
    type Error = String;

    fn try_from(form: ReadForm) -> Result<Read, String> {
        let ReadForm { region, buffer, offset, bytes: width, mask, value, into } = form;
        if let Some(name) = into.as_deref().filter(|name| Value::is_taken(name)) {
            return Err(format!("{name:?} is the name of another variable"));
        }
        let mask = width.mask(mask)?;
        within_mask(value, mask)?;
        Ok(Read { place: Place::new(region, buffer, offset)?, width, mask, value, into })
    }
}

/// Bytes that are read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "DumpForm")]
#[schemars(with = "DumpForm")]
pub struct Dump {
    /// From where on.
    pub place: Place,
    /// How many.
    pub bytes: usize,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Dump")]
struct DumpForm {
    /// Which region the bytes are in. Either this or `buffer`.
    region: Option<Region>,
    /// Which buffer they are in.
    #[schemars(with = "Option<String>")]
    buffer: Option<Spanned<String>>,
    /// Where in it, in bytes from the beginning.
    offset: u64,
    /// How many.
    bytes: u32,
}

impl TryFrom<DumpForm> for Dump {
    type Error = String;

    fn try_from(form: DumpForm) -> Result<Dump, String> {
        let DumpForm { region, buffer, offset, bytes } = form;
        if bytes == 0 {
            return Err("it reads no bytes".to_owned());
        }
        Ok(Dump { place: Place::new(region, buffer, offset)?, bytes: bytes as usize })
    }
}

/// A register that is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "WaitForm")]
#[schemars(with = "WaitForm")]
pub struct Wait {
    /// Where.
    pub place: Place,
    /// How wide it is.
    pub width: Width,
    /// The bits that count; the others are taken for 0.
    pub mask: u64,
    /// What the bits have to be, or have to be no longer.
    pub until: Until,
    /// How long that may take; the profile's `step_ms` if left out.
    pub within_ms: Option<u64>,
}

/// What ends a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// This value.
    Is(u64),
    /// Any other one.
    IsNot(u64),
}

impl Until {
    /// Whether a value ends the wait.
    pub fn is_met_by(self, value: u64) -> bool {
        match self {
            Until::Is(wanted) => value == wanted,
            Until::IsNot(unwanted) => value != unwanted,
        }
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Until::Is(wanted) => write!(f, "{wanted:#x}"),
            Until::IsNot(unwanted) => write!(f, "anything but {unwanted:#x}"),
        }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Wait")]
struct WaitForm {
    /// Which region the register is in. Either this or `buffer`.
    region: Option<Region>,
    /// Which buffer it is in.
    #[schemars(with = "Option<String>")]
    buffer: Option<Spanned<String>>,
    /// Where in it, in bytes from the beginning.
    offset: u64,
    /// How wide the register is, in bytes: 1, 2, 4 or 8.
    #[serde(default)]
    bytes: Width,
    /// The bits that count; all if left out.
    mask: Option<u64>,
    /// What the bits have to become. Either this or `unlike`.
    value: Option<u64>,
    /// What the bits have to be no longer.
    unlike: Option<u64>,
    /// How many milliseconds that may take; `step_ms` of [timeouts] if left out.
    within_ms: Option<u64>,
}

impl TryFrom<WaitForm> for Wait {
    type Error = String;

    fn try_from(form: WaitForm) -> Result<Wait, String> {
        let WaitForm { region, buffer, offset, bytes: width, mask, value, unlike, within_ms } = form;
        let mask = width.mask(mask)?;
        within_mask(value.or(unlike), mask)?;
        let until = match (value, unlike) {
            (Some(wanted), None) => Until::Is(wanted),
            (None, Some(unwanted)) => Until::IsNot(unwanted),
            (None, None) => return Err("it does not say for what: give value or unlike".to_owned()),
            (Some(_), Some(_)) => return Err("it has a value and an unlike: leave one out".to_owned()),
        };
        Ok(Wait { place: Place::new(region, buffer, offset)?, width, mask, until, within_ms })
    }
}

/// A program of the host.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program and its first arguments. A program with a slash in its name is looked for from the profile's folder.
    #[schemars(length(min = 1))]
    pub program: Vec<String>,
    /// How many milliseconds it may take; `step_ms` of [timeouts] if left out.
    pub within_ms: Option<u64>,
}

/// A region of a PCI device, by the name that PCI gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[repr(u32)]
pub enum Region {
    /// The first base address register.
    Bar0 = 0,
    /// The second.
    Bar1,
    /// The third.
    Bar2,
    /// The fourth.
    Bar3,
    /// The fifth.
    Bar4,
    /// The sixth.
    Bar5,
    /// Configuration space.
    Config = 7,
}

impl Region {
    /// The index that VFIO gives it.
    pub const fn index(self) -> u32 {
        self as u32
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Region::Config => f.write_str("config"),
            bar => write!(f, "bar{}", bar.index()),
        }
    }
}

/// The width of a register, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(try_from = "u8")]
#[schemars(with = "u8")]
pub struct Width(u8);

impl Default for Width {
    fn default() -> Self {
        Width(4)
    }
}

impl TryFrom<u8> for Width {
    type Error = String;

    fn try_from(bytes: u8) -> Result<Width, String> {
        match bytes {
            1 | 2 | 4 | 8 => Ok(Width(bytes)),
            other => Err(format!("a register is 1, 2, 4 or 8 bytes wide, not {other}")),
        }
    }
}

impl Width {
    /// In bytes.
    pub fn bytes(self) -> usize {
        usize::from(self.0)
    }

    /// All its bits.
    pub fn ones(self) -> u64 {
        u64::MAX >> (64 - 8 * u32::from(self.0))
    }

    fn mask(self, mask: Option<u64>) -> Result<u64, String> {
        self.holds(mask.unwrap_or_default())?;
        Ok(mask.unwrap_or(self.ones()))
    }

    /// Whether a number fits; if not, says so.
    ///
    /// # Errors
    /// A sentence.
    pub fn holds(self, number: u64) -> Result<(), String> {
        match number > self.ones() {
            true => {
                Err(format!("{number:#x} does not fit into {} bytes: give the register's width with bytes", self.0))
            }
            false => Ok(()),
        }
    }
}

fn within_mask(value: Option<u64>, mask: u64) -> Result<(), String> {
    match value.filter(|value| value & !mask != 0) {
        Some(value) => Err(format!("the value {value:#x} has bits that the mask {mask:#x} does not have")),
        None => Ok(()),
    }
}
