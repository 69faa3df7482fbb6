//! Profiles: TOML files that say how one kind of device is handled. `fixtures/profiles/README.md` describes the language.
//!
//! They are read strictly: an unknown key or a wrong value is refused with its place, since a stimulus that silently
//! does nothing would make checks pass that prove nothing.

mod check;
mod command;
pub(crate) mod error;
mod parse;
mod play;
mod step;
#[cfg(test)]
mod tests;
mod value;

use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use toml::Spanned;

use super::nature::{Corruption, InterruptLine, Nature};

pub(crate) use check::is_pci_id;
pub use error::ProfileError;
pub(crate) use error::{Complaint, nearest};
pub use play::{Buffers, Player, Port};
pub use step::Step;

use value::Given;

/// The profiles that come with the program.
const BUNDLED: [(&str, &str); 3] = [
    ("model.toml", include_str!("../../../fixtures/profiles/model.toml")),
    ("pci.toml", include_str!("../../../fixtures/profiles/pci.toml")),
    ("mtty.toml", include_str!("../../../fixtures/profiles/mtty.toml")),
];

/// How one kind of device is handled.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "A profile of vfio-conform")]
pub struct Profile {
    /// What people call the device.
    pub name: String,
    /// Which devices it is for.
    #[serde(rename = "match")]
    pub matches: Matches,
    /// How long things may take with this kind of device.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Memory that the device can reach while it is stimulated.
    #[serde(default)]
    pub buffer: Vec<Buffer>,
    /// How the device is stimulated. What is left out it has no way to, and the checks that need it are skipped.
    #[serde(default)]
    pub stimulus: Stimuli,
    /// Where the interrupt of the stimulus arrives.
    pub interrupt: Option<Interrupt>,
    /// How the device is observed.
    #[serde(default)]
    pub state: Observations,
    /// What peer-to-peer means to the device.
    #[serde(default)]
    pub p2p: P2p,
    /// What the device can tell of a stream.
    #[serde(default)]
    pub resume: Resume,
    /// Where programs are looked for.
    #[serde(skip)]
    folder: PathBuf,
    /// Whether it is played on any device, whatever it is for.
    #[serde(skip)]
    is_forced: bool,
}

/// A profile, and a device that it is not for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the profile {profile:?} is for {wanted}, and the device is {found}")]
pub struct Misfit {
    profile: String,
    wanted: String,
    found: String,
}

/// Which devices a profile is for: any that fits one of its entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Matches {
    /// `vendor:device` of PCI functions, as `lspci -n` shows them.
    #[serde(default)]
    #[schemars(with = "Vec<String>")]
    pub pci: Vec<Spanned<String>>,
    /// Drivers that a device may be bound to.
    #[serde(default)]
    pub driver: Vec<String>,
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Timeouts {
    /// Seconds that a check may take, where the command line does not say. Past them the device counts as hung.
    #[schemars(range(min = 1, max = 86400))]
    pub check_s: u64,
    /// Seconds that opening the device may take.
    #[schemars(range(min = 1, max = 86400))]
    pub open_s: u64,
    /// Milliseconds that a step which waits may take, where it does not say.
    #[schemars(range(min = 1, max = 86_400_000))]
    pub step_ms: u64,
}

impl Default for Timeouts {
    fn default() -> Self {
        Timeouts { check_s: 10, open_s: 60, step_ms: 1000 }
    }
}

/// Memory of the host that the device reaches through an I/O address, and steps by its name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Buffer {
    /// Its name. As a value of a step it stands for the I/O address, with `_high` behind it for the upper 32 bits of that.
    pub name: String,
    /// How many bytes it has; rounded up to 64 KiB.
    #[schemars(range(min = 1, max = 0x4000_0000))]
    pub bytes: u32,
    /// Its I/O address; one below 4 GiB is found if this is left out.
    #[schemars(with = "Option<u64>")]
    pub iova: Option<Spanned<u64>>,
}

/// The steps of each stimulus; `None` where the device has no way to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stimuli {
    /// Have the next transition fail and leave the device in ERROR.
    #[schemars(with = "Option<Vec<Step>>")]
    pub enter_error: Steps,
    /// Change at least `bytes` bytes of device state.
    #[schemars(with = "Option<Vec<Step>>")]
    pub dirty: Steps,
    /// Begin work that changes device state by itself, again and again, while the device runs.
    #[schemars(with = "Option<Vec<Step>>")]
    pub start_work: Steps,
    /// End that work.
    #[schemars(with = "Option<Vec<Step>>")]
    pub stop_work: Steps,
    /// Reconfigure device memory, so that what was saved of it in PRE_COPY has to be saved anew.
    #[schemars(with = "Option<Vec<Step>>")]
    pub reconfigure: Steps,
    /// Raise one interrupt after `delay_us`, without waiting for it. Goes with [interrupt].
    #[schemars(with = "Option<Vec<Step>>")]
    pub interrupt: Steps,
    /// Begin to write `bytes` bytes to memory at `iova` by DMA after `delay_us`, without waiting for it.
    #[schemars(with = "Option<Vec<Step>>")]
    pub dma_to_memory: Steps,
    /// Begin to read them from there.
    #[schemars(with = "Option<Vec<Step>>")]
    pub dma_from_memory: Steps,
    /// Wait until the DMA that was begun is complete, and fail if it ended badly.
    #[schemars(with = "Option<Vec<Step>>")]
    pub finish_dma: Steps,
}

/// What is done, in this order; `None` if the device has no way to it.
pub type Steps = Option<Spanned<Vec<Step>>>;

/// Where an interrupt arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Interrupt {
    /// The kind of interrupt.
    pub index: InterruptIndex,
    /// Which one of its kind.
    #[serde(default)]
    #[schemars(range(max = 2047))]
    pub vector: u32,
    /// Milliseconds after the delay within which it arrives.
    #[serde(default = "within_a_second")]
    pub within_ms: u64,
}

const fn within_a_second() -> u64 {
    1000
}

/// A kind of interrupt of a PCI device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[repr(u32)]
pub enum InterruptIndex {
    /// The interrupt line.
    Intx = 0,
    /// MSI.
    Msi,
    /// MSI-X.
    Msix,
}

/// How a device is observed: what the steps read, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Observations {
    /// What can be compared: equal before a save and after the restore, seen in STOP.
    #[schemars(with = "Option<Vec<Step>>")]
    pub compare: Steps,
    /// What moves by itself while the device runs and work is started.
    #[schemars(with = "Option<Vec<Step>>")]
    pub progress: Steps,
}

/// What peer-to-peer means to a device.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct P2p {
    /// Whether it can tell peer-to-peer from other DMA. One that cannot does no DMA at all in RUNNING_P2P and PRE_COPY_P2P.
    #[serde(default)]
    pub distinguishes: bool,
}

/// What a device can tell of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Resume {
    /// Which bad streams it refuses. Leave one out only where nothing but the device's firmware could tell, and it cannot.
    pub detects: Vec<Corruption>,
}

impl Default for Resume {
    fn default() -> Self {
        Resume { detects: Corruption::ALL.to_vec() }
    }
}

impl Profile {
    /// Reads a profile from a file.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn read(path: &Path) -> Result<Profile, ProfileError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ProfileError::Unreadable { path: path.to_owned(), why: error.to_string() })?;
        let mut profile = Profile::parse(&text).map_err(|complaint| ProfileError::Misunderstood {
            path: path.to_owned(),
            why: complaint.in_text(&text),
        })?;
        profile.folder = path.parent().unwrap_or(Path::new("")).to_owned();
        Ok(profile)
    }

    /// The bundled profile of a device, if there is one.
    pub fn bundled(pci_id: Option<&str>, driver: &str) -> Option<Profile> {
        BUNDLED.iter().filter_map(|(_, text)| Profile::parse(text).ok()).find(|profile| profile.fits(pci_id, driver))
    }

    /// The same, to be played on any device if that is wanted.
    pub fn forced(self, is_forced: bool) -> Profile {
        Profile { is_forced, ..self }
    }

    /// Why it must not be played on this device, if that is so.
    pub fn misfit(&self, pci_id: Option<&str>, driver: &str) -> Option<Misfit> {
        if self.is_forced || self.fits(pci_id, driver) {
            return None;
        }
        let ids = self.matches.pci.iter().map(|id| id.get_ref().clone());
        let drivers = self.matches.driver.iter().map(|driver| format!("driver {driver}"));
        let wanted: Vec<String> = ids.chain(drivers).collect();
        let found = match pci_id {
            Some(id) => format!("{id}, driver {driver}"),
            None => format!("of the driver {driver}"),
        };
        Some(Misfit { profile: self.name.clone(), wanted: wanted.join(" or "), found })
    }

    /// Whether it is for this device.
    pub fn fits(&self, pci_id: Option<&str>, driver: &str) -> bool {
        let is_wanted = |id: &str| self.matches.pci.iter().any(|wanted| wanted.get_ref().eq_ignore_ascii_case(id));
        pci_id.is_some_and(is_wanted) || self.matches.driver.iter().any(|wanted| wanted == driver)
    }

    /// A JSON schema of the language, for editors.
    pub fn schema() -> String {
        let schema = schemars::schema_for!(Profile);
        let text = serde_json::to_string_pretty(&schema).unwrap_or_default();
        text + "\n"
    }

    /// What the uAPI leaves to the device.
    pub fn nature(&self) -> Nature {
        let line = |interrupt: Interrupt| InterruptLine {
            index: interrupt.index as u32,
            vector: interrupt.vector,
            within: Duration::from_millis(interrupt.within_ms),
        };
        Nature {
            distinguishes_p2p: self.p2p.distinguishes,
            interrupt: self.interrupt.map(line),
            detects: self.resume.detects.clone(),
        }
    }

    /// Everything that has steps, with its name and the variables that its steps are given.
    pub fn plays(&self) -> [(&'static str, &Steps, &'static [Given]); 11] {
        const TRANSFER: &[Given] = &Given::ALL;
        const DELAY: &[Given] = &[Given::DelayUs, Given::DelayMs];
        let Stimuli {
            enter_error,
            dirty,
            start_work,
            stop_work,
            reconfigure,
            interrupt,
            dma_to_memory,
            dma_from_memory,
            finish_dma,
        } = &self.stimulus;
        [
            ("enter_error", enter_error, &[]),
            ("dirty", dirty, &[Given::Bytes]),
            ("start_work", start_work, &[]),
            ("stop_work", stop_work, &[]),
            ("reconfigure", reconfigure, &[]),
            ("interrupt", interrupt, DELAY),
            ("dma_to_memory", dma_to_memory, TRANSFER),
            ("dma_from_memory", dma_from_memory, TRANSFER),
            ("finish_dma", finish_dma, &[]),
            ("compare", &self.state.compare, &[]),
            ("progress", &self.state.progress, &[]),
        ]
    }

    /// The steps of that name, if it has them.
    fn steps(&self, name: &str) -> Option<&[Step]> {
        let (_, steps, _) = self.plays().into_iter().find(|(other, ..)| *other == name)?;
        steps.as_ref().map(|steps| steps.get_ref().as_slice())
    }
}
