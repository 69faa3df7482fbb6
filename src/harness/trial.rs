//! `vfio-conform profile try`: each key of a profile is played on a device, and what it does is looked for.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::device::{self, DeviceName, Via};
use crate::report::trial::{exit, text};
use crate::stimulus::profile::Profile;
use crate::stimulus::trial::KeyTrial;

use super::bench::{Bench, Host};
use super::record::Recorder;
use super::verdict::Exit;

/// What `vfio-conform profile try --help` ends with.
pub const TRY_EXAMPLES: &str = "\
Examples:
  sudo vfio-conform profile try 0000:65:00.1 --profile my.toml
  vfio-conform profile try model                           the model, with the profile that is bundled

Exit codes: 0 every key of the profile had its effect, 1 one had none, 2 usage or environment.";

/// How a profile is tried.
#[derive(Debug, Args)]
pub struct TryCommand {
    /// PCI address, mdev UUID, group number, vfioN, or model[:CAPABILITIES[,fault=NAME]]
    device: DeviceName,
    /// The profile [default: the bundled one that fits the device]
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Play the profile on this device although its [match] names others
    #[arg(long, requires = "profile")]
    force_profile: bool,
    /// The way to open the device [default: cdev where the host has it, else group]
    #[arg(long)]
    via: Option<Via>,
    /// For people or for programs
    #[arg(long, value_enum, default_value_t = TrialFormat::Text)]
    format: TrialFormat,
}

/// How a trial is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TrialFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl TryCommand {
    /// Plays the profile and prints what came of it.
    ///
    /// # Errors
    /// That the profile cannot be understood, or that the device cannot be opened or cannot migrate.
    pub fn run(self) -> Result<Exit, Box<dyn std::error::Error>> {
        let trials = self.trials()?;
        crate::uapi::process::end_with_reader();
        match self.format {
            TrialFormat::Text => print!("{}", text(&trials)),
            TrialFormat::Json => println!("{}", serde_json::to_string_pretty(&trials)?),
        }
        Ok(exit(&trials))
    }

    fn trials(&self) -> Result<Vec<KeyTrial>, Box<dyn std::error::Error>> {
        let profile = self.profile.as_deref().map(Profile::read).transpose()?;
        let profile = match (profile, &self.device) {
            (Some(profile), _) => Some(profile.forced(self.force_profile)),
            (None, DeviceName::Model(_)) => Profile::bundled(None, "model"),
            (None, DeviceName::Kernel(_)) => None,
        };
        let device = device::open(&self.device, self.via, profile)?;
        let no_tracer = Err("it is of no use here".to_owned());
        Ok(Bench::new(device, Host::NEWEST, no_tracer, Recorder::new(None)).try_profile())
    }
}
