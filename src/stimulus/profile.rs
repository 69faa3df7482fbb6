//! Profiles: TOML files that say how one kind of device is brought to do something.
//!
//! They are read strictly: an unknown key or a wrong value is refused with its place, since a stimulus that silently
//! does nothing would make checks pass that prove nothing.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Stimulus, StimulusError};
use crate::uapi::Errno;

/// The profiles that come with the program.
const BUNDLED: [(&str, &str); 2] = [
    ("pci.toml", include_str!("../../fixtures/profiles/pci.toml")),
    ("mtty.toml", include_str!("../../fixtures/profiles/mtty.toml")),
];

/// How one kind of device is handled.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// What people call the device.
    pub name: String,
    /// Which devices it is for.
    #[serde(rename = "match")]
    pub matches: Matches,
    /// How they are stimulated.
    #[serde(default)]
    pub stimulus: Stimuli,
}

/// Which devices a profile is for: any that fits one of its entries.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matches {
    /// `vendor:device` of PCI functions.
    #[serde(default)]
    pub pci: Vec<String>,
    /// Drivers that a device may be bound to.
    #[serde(default)]
    pub driver: Vec<String>,
}

/// The steps of each stimulus; `None` where the device has no way to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stimuli {
    /// Have the next transition fail and leave the device in ERROR.
    pub enter_error: Option<Vec<Step>>,
    /// Change device state.
    pub dirty: Option<Vec<Step>>,
}

/// One thing that is done to a device.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
pub enum Step {
    /// Write a register.
    Write(Write),
    /// Write as many bytes as the stimulus asks for, other ones each time.
    Fill(Place),
}

/// A register's new value.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Write {
    /// Which region it is in.
    pub region: Region,
    /// Where, in bytes from the region's beginning.
    pub offset: u64,
    /// What is written, in the byte order of PCI.
    pub value: u64,
    /// How wide the register is, in bytes: 1, 2, 4 or 8.
    #[serde(default)]
    pub bytes: Width,
}

/// A place in a region.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// Which region.
    pub region: Region,
    /// Where, in bytes from the region's beginning.
    pub offset: u64,
}

/// A region of a PCI device, by the name that PCI gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
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
}

impl Region {
    /// The index that VFIO gives it.
    pub const fn index(self) -> u32 {
        self as u32
    }
}

/// The width of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u8")]
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

/// Why a profile cannot be used. Reads as one sentence with the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The file cannot be read.
    #[error("failed to read the profile {}: {why}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        why: String,
    },
    /// The file says what cannot be understood.
    #[error("failed to understand the profile {}: {why}", .path.display())]
    Misunderstood {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        why: String,
    },
}

impl Profile {
    /// Reads a profile from a file.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn read(path: &Path) -> Result<Profile, ProfileError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| ProfileError::Unreadable { path: path.to_owned(), why: error.to_string() })?;
        Profile::parse(&text).map_err(|why| ProfileError::Misunderstood { path: path.to_owned(), why })
    }

    fn parse(text: &str) -> Result<Profile, String> {
        let profile: Profile = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
        profile.check()?;
        Ok(profile)
    }

    /// What TOML alone cannot see.
    fn check(&self) -> Result<(), String> {
        if self.matches.pci.is_empty() && self.matches.driver.is_empty() {
            return Err("[match] names no device: give pci or driver".to_owned());
        }
        if let Some(id) = self.matches.pci.iter().find(|id| !is_pci_id(id)) {
            return Err(format!("{id:?} in [match] is no vendor:device, like \"15b3:101e\""));
        }
        let steps = [&self.stimulus.enter_error, &self.stimulus.dirty];
        for step in steps.into_iter().flatten().flatten() {
            step.check()?;
        }
        if steps.into_iter().flatten().any(Vec::is_empty) {
            return Err("a stimulus has no steps: leave it out if the device has no way to it".to_owned());
        }
        Ok(())
    }

    /// The bundled profile of a device, if there is one.
    pub fn bundled(pci_id: Option<&str>, driver: &str) -> Option<Profile> {
        BUNDLED.iter().filter_map(|(_, text)| Profile::parse(text).ok()).find(|profile| profile.fits(pci_id, driver))
    }

    /// Whether it is for this device.
    pub fn fits(&self, pci_id: Option<&str>, driver: &str) -> bool {
        let by_id = pci_id.is_some_and(|id| self.matches.pci.iter().any(|wanted| wanted.eq_ignore_ascii_case(id)));
        by_id || self.matches.driver.iter().any(|wanted| wanted == driver)
    }

    /// Does a stimulus, writing by way of `write`: region index, offset, bytes.
    ///
    /// # Errors
    /// That the profile does not have it, or what a write answered.
    pub fn stimulate(
        &self,
        stimulus: Stimulus,
        mut write: impl FnMut(u32, u64, &[u8]) -> Result<usize, Errno>,
    ) -> Result<(), StimulusError> {
        let (steps, bytes) = match stimulus {
            Stimulus::EnterError => (&self.stimulus.enter_error, 0),
            Stimulus::Dirty(bytes) => (&self.stimulus.dirty, bytes),
            _ => (&None, 0),
        };
        let steps = steps.as_ref().ok_or_else(|| StimulusError::Lacking(stimulus.to_string()))?;
        for step in steps {
            let (region, offset, data) = step.write(bytes);
            let failed = |why: Errno| StimulusError::Failed {
                what: stimulus.to_string(),
                why: format!("writing {region:?} at {offset:#x} answered {why:?}"),
            };
            let mut written = 0;
            while written < data.len() {
                match write(region.index(), offset + written as u64, &data[written..]).map_err(failed)? {
                    0 => return Err(failed(Errno::EIO)),
                    count => written += count,
                }
            }
        }
        Ok(())
    }
}

impl Step {
    fn check(&self) -> Result<(), String> {
        let Step::Write(Write { value, bytes: Width(bytes), .. }) = self else {
            return Ok(());
        };
        match *bytes < 8 && *value >> (8 * bytes) != 0 {
            true => Err(format!("the value {value:#x} does not fit into {bytes} bytes")),
            false => Ok(()),
        }
    }

    /// Where which bytes go.
    fn write(&self, fill: usize) -> (Region, u64, Vec<u8>) {
        match self {
            Step::Write(Write { region, offset, value, bytes: Width(bytes) }) => {
                (*region, *offset, value.to_le_bytes()[..usize::from(*bytes)].to_vec())
            }
            Step::Fill(Place { region, offset }) => (*region, *offset, noise(fill)),
        }
    }
}

/// Bytes that differ from one call to the next, so that they change what is there.
fn noise(bytes: usize) -> Vec<u8> {
    use std::sync::atomic::{AtomicU8, Ordering};
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let first = NEXT.fetch_add(1, Ordering::Relaxed);
    (0..bytes).map(|at| first.wrapping_add((at % 251) as u8)).collect()
}

fn is_pci_id(id: &str) -> bool {
    let is_number = |part: &str| part.len() == 4 && part.bytes().all(|b| b.is_ascii_hexdigit());
    id.split_once(':').is_some_and(|(vendor, device)| is_number(vendor) && is_number(device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_profile_of_the_project_is_understood() -> Result<(), Box<dyn std::error::Error>> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/profiles");
        let mut count = 0;
        for file in std::fs::read_dir(folder)? {
            Profile::read(&file?.path())?;
            count += 1;
        }
        assert!(count > BUNDLED.len());
        Ok(())
    }

    #[test]
    fn devices_find_their_profile() {
        let name = |pci, driver| Profile::bundled(pci, driver).map(|profile| profile.name);
        assert_eq!(name(Some("1234:C0F0"), "anything").as_deref(), Some("bundled PCI target"));
        assert_eq!(name(None, "mtty").as_deref(), Some("mtty"));
        assert_eq!(name(Some("15b3:101e"), "mlx5_vfio_pci"), None);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let head = "name = \"x\"\n[match]\ndriver = [\"x\"]\n[stimulus]\n";
        let wrong = |steps: &str| Profile::parse(&format!("{head}{steps}")).unwrap_err();
        insta::assert_snapshot!(
            [
                wrong("dirt = []"),
                wrong("dirty = []"),
                wrong("dirty = [{ write = { region = \"bar9\", offset = 0, value = 1 } }]"),
                wrong("dirty = [{ write = { region = \"bar0\", offset = 0, value = 1, bytes = 3 } }]"),
                wrong("dirty = [{ write = { region = \"bar0\", offset = 0, value = 256, bytes = 1 } }]"),
                wrong("dirty = [{ write = { region = \"bar0\", offset = -1, value = 1 } }]"),
                Profile::parse("name = \"x\"\n[match]\n").unwrap_err(),
                Profile::parse("name = \"x\"\n[match]\npci = [\"mlx5\"]\n").unwrap_err(),
            ]
            .join("\n----\n")
        );
    }

    #[test]
    fn a_stimulus_writes_what_the_profile_says() -> Result<(), Box<dyn std::error::Error>> {
        let profile = Profile::bundled(Some("1234:c0f0"), "").ok_or("no profile")?;
        let mut writes = Vec::new();
        profile.stimulate(Stimulus::EnterError, |region, offset, bytes| {
            writes.push((region, offset, bytes.to_vec()));
            Ok(bytes.len())
        })?;
        assert_eq!(writes, [(0, 0x50, b"BRKN".to_vec())]);
        let refused = profile.stimulate(Stimulus::Dirty(10), |_, _, _| Err(Errno::EIO));
        assert!(matches!(refused, Err(StimulusError::Failed { .. })));
        Ok(())
    }
}
