//! What the user says of a guest and of the devices in it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::accelerator::AcceleratorChoice;
use super::vm::PciDevices;
use crate::arguments::{wear, wear_takes};
use crate::device::{DeviceName, Via};
use crate::lab::environment::CoreOptions;
use crate::lab::{LabError, guest, pci};
use crate::uapi::state::Capabilities;
use vfio_conform_pci_target::command::memory_size;

/// Enough for several reads of a stream, little enough for a run of seconds.
const DEVICE_MEMORY: &str = "1M";

/// An emulated device that a guest can start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The kernel's own sample driver `mtty`: a serial port that exists only in the kernel, with migration.
    Mtty,
    /// Our own PCI function behind an emulated IOMMU, with a driver built on vfio-pci-core.
    Pci,
}

impl Target {
    /// How many devices of it are tested side by side unless something else is asked for.
    const fn devices(self) -> u8 {
        match self {
            Target::Mtty => 1,
            Target::Pci => 2,
        }
    }

    /// The name that one of its devices has in the guest.
    fn device(self, index: u8) -> String {
        match self {
            Target::Mtty => guest::MTTY_UUID.to_owned(),
            Target::Pci => pci::address(index),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Target::Mtty => "mtty",
            Target::Pci => "pci",
        })
    }
}

/// What to boot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, clap::Args)]
pub struct QemuOptions {
    /// The emulated device
    #[arg(long, value_enum, default_value_t = Target::Pci)]
    pub target: Target,
    /// Series (7.3), version (6.12.107), debug-7.3 (built here, with IOMMUFD, KASAN and lockdep), or path to a bzImage
    /// or to a built kernel tree
    #[arg(long, default_value = "7.3")]
    pub kernel: String,
    /// Which VFIO core
    #[command(flatten)]
    pub core: CoreOptions,
    /// The way to open the device in the guest [default: cdev where its kernel has it, else group]
    #[arg(long)]
    pub via: Option<Via>,
    /// How the guest's processors are made
    #[arg(long, value_enum, default_value_t = AcceleratorChoice::Auto)]
    pub accel: AcceleratorChoice,
    /// Seconds that a check may take before it counts as hung
    #[arg(long, default_value_t = 5.0, value_parser = seconds)]
    pub deadline: f64,
    /// How to stimulate the device [default: the bundled profile of the target]
    #[arg(long, value_name = "FILE")]
    #[serde(default)]
    pub profile: Option<PathBuf>,
    /// Sessions in each batch of the wear chapter, where thousands show small leaks; and races have all of their rounds
    /// [default: as many as fit in a moment]
    #[arg(long, value_name = "NUMBER", value_parser = wear)]
    pub wear: Option<usize>,
    /// The capability set that the driver of the pci target offers: stop_copy, with +p2p, +pre_copy or both
    #[arg(long, value_name = "SET")]
    pub caps: Option<Capabilities>,
    /// Size of the device memory of the pci target: a power of two from 64K to 4G
    #[arg(long, value_name = "SIZE", default_value = DEVICE_MEMORY, value_parser = device_memory)]
    pub device_memory: String,
    /// How many devices of the pci target are tested side by side, each with checks of its own [default: 2]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u8).range(1..=i64::from(pci::MOST_DEVICES)))]
    pub devices: Option<u8>,
    /// Another name for the target's device in the guest: its group number, or vfioN
    #[arg(long, value_name = "NAME", hide = true)]
    #[serde(with = "device_name")]
    pub device: Option<DeviceName>,
    /// A kbuild folder whose modules are loaded into the guest last; may be given again
    #[arg(long, value_name = "DIR")]
    pub extra: Vec<PathBuf>,
    /// Words for the kernel's command line; MODULE.PARAMETER=VALUE reaches the guest's modules
    #[arg(long, value_name = "WORDS")]
    pub append: Option<String>,
}

/// A device's name as people write it.
mod device_name {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use crate::device::DeviceName;

    pub fn serialize<S: Serializer>(name: &Option<DeviceName>, to: S) -> Result<S::Ok, S::Error> {
        name.as_ref().map(ToString::to_string).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<DeviceName>, D::Error> {
        let name: Option<String> = Option::deserialize(from)?;
        name.map(|name| name.parse().map_err(D::Error::custom)).transpose()
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.1..=3600.0).contains(&seconds) => Ok(seconds),
        _ => Err("it is no number of seconds from 0.1 to 3600".to_owned()),
    }
}

fn device_memory(text: &str) -> Result<String, String> {
    memory_size(text).map(|_| text.to_owned())
}

impl QemuOptions {
    /// The same options, whichever folder they are used in.
    #[must_use]
    pub fn anchored(&self) -> QemuOptions {
        let anchor = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        let mut options = self.clone();
        // A version or a series is no file.
        let kernel = PathBuf::from(&self.kernel);
        if kernel.exists() {
            options.kernel = anchor(&kernel).display().to_string();
        }
        options.core.core_source = self.core.core_source.as_ref().map(anchor);
        options.core.patch = self.core.patch.iter().map(anchor).collect();
        options.extra = self.extra.iter().map(anchor).collect();
        options.profile = self.profile.as_ref().map(anchor);
        options
    }

    /// The name in the guest of the device that the run is about, beside which others may be.
    pub fn device(&self) -> String {
        self.device.as_ref().map_or_else(|| self.target.device(0), ToString::to_string)
    }

    /// The names of all devices in the guest on which checks run.
    pub(super) fn devices(&self) -> Vec<String> {
        let beside = (1..self.device_count()).map(|index| self.target.device(index));
        std::iter::once(self.device()).chain(beside.filter(|_| self.device.is_none())).collect()
    }

    fn device_count(&self) -> u8 {
        match self.target {
            Target::Mtty => self.target.devices(),
            Target::Pci => self.devices.unwrap_or(self.target.devices()),
        }
    }

    /// Refuses options that would have no effect.
    ///
    /// # Errors
    /// Which one it is.
    pub fn check(&self) -> Result<(), LabError> {
        if self.target == Target::Pci {
            return Ok(());
        }
        let useless = [
            ("--caps", self.caps.is_some()),
            ("--devices", self.devices.is_some()),
            ("--device-memory", self.device_memory != DEVICE_MEMORY),
        ];
        match useless.into_iter().find(|(_, given)| *given) {
            Some((option, _)) => Err(LabError::failed(
                &format!("use {option} with --target {}", self.target),
                "only the pci target has it; leave it out, or take --target pci",
            )),
            None => Ok(()),
        }
    }

    /// What QEMU needs for the pci target.
    pub(super) fn pci(&self) -> Option<PciDevices> {
        (self.target == Target::Pci)
            .then(|| PciDevices { count: self.device_count(), memory: self.device_memory.clone() })
    }

    /// What goes to the kernel's command line beside what every guest has.
    pub(super) fn words(&self) -> Option<String> {
        let caps = self.caps.map(|caps| format!("{}.caps={caps}", pci::DRIVER));
        let words: Vec<String> = caps.into_iter().chain(self.append.clone()).collect();
        (!words.is_empty()).then(|| words.join(" "))
    }

    /// The command that repeats a check; `{check}` stands for its name. Whoever called us through a script is told
    /// to call the script again.
    pub fn reproduce(&self) -> String {
        let command = std::env::var("VFIO_CONFORM_COMMAND");
        let command = command.unwrap_or_else(|_| "vfio-conform qemu".to_owned());
        let words: Vec<String> = self.words_of_all().iter().map(|word| quoted(word)).collect();
        format!("{command} {} -- --exact {{check}}", words.join(" "))
    }

    /// The words of the command line that ask for the same guest and device, whatever its VFIO core.
    pub fn words_of_guest(&self) -> Vec<String> {
        let mut words = Vec::new();
        let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
        option("--target", self.target.to_string());
        option("--kernel", self.kernel.clone());
        if let Some(via) = self.via {
            option("--via", via.to_string());
        }
        if let Some(caps) = self.caps {
            option("--caps", caps.to_string());
        }
        if self.target == Target::Pci && self.device_memory != DEVICE_MEMORY {
            option("--device-memory", self.device_memory.clone());
        }
        if let Some(devices) = self.devices {
            option("--devices", devices.to_string());
        }
        for extra in &self.extra {
            option("--extra", extra.display().to_string());
        }
        if let Some(profile) = &self.profile {
            option("--profile", profile.display().to_string());
        }
        if let Some(append) = &self.append {
            option("--append", append.clone());
        }
        words
    }

    /// The words of the command line that ask for the same guest, device and VFIO core.
    pub fn words_of_all(&self) -> Vec<String> {
        [self.words_of_guest(), self.core.words()].concat()
    }

    /// The words for how it is run, which do not change what is asked for.
    pub fn words_of_running(&self) -> Vec<String> {
        let accel = match self.accel {
            AcceleratorChoice::Auto => "auto",
            AcceleratorChoice::Kvm => "kvm",
            AcceleratorChoice::Tcg => "tcg",
        };
        let mut words = ["--accel", accel, "--deadline", &self.deadline.to_string()].map(str::to_owned).to_vec();
        words.extend(self.wear.iter().flat_map(|sessions| ["--wear".to_owned(), sessions.to_string()]));
        words
    }

    /// How long a check may take.
    pub fn check_deadline(&self) -> Duration {
        Duration::from_secs_f64(self.deadline) + wear_takes(self.wear)
    }
}

/// A word as a shell wants to have it.
fn quoted(word: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "+-_./:=,@%".contains(letter);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, Command, FromArgMatches};

    use super::*;

    fn options(words: &[&str]) -> QemuOptions {
        let command = QemuOptions::augment_args(Command::new("qemu"));
        let matches = command.get_matches_from(std::iter::once("qemu").chain(words.iter().copied()));
        QemuOptions::from_arg_matches(&matches).expect("options")
    }

    #[test]
    fn options_survive_the_journal() -> Result<(), serde_json::Error> {
        let words = ["--target", "mtty", "--device", "vfio3", "--wear", "50", "--accel", "tcg", "--via", "cdev"];
        for words in [&[][..], &["--caps", "stop_copy+p2p", "--deadline", "0.5", "--devices", "3"], &words] {
            let written = serde_json::to_string(&options(words))?;
            assert_eq!(serde_json::from_str::<QemuOptions>(&written)?, options(words), "{written}");
        }
        Ok(())
    }

    #[test]
    fn files_are_found_from_any_folder() {
        let anchored = options(&["--kernel", "src", "--patch", "a.patch", "--extra", "/b"]).anchored();
        assert!(PathBuf::from(&anchored.kernel).is_absolute() && anchored.core.patch[0].is_absolute());
        assert_eq!((anchored.core.patch[0].file_name(), &anchored.extra[0]), (Some("a.patch".as_ref()), &"/b".into()));
        assert_eq!(options(&["--kernel", "7.3"]).anchored(), options(&["--kernel", "7.3"]));
    }
}
