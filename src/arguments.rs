//! What more than one command takes, and how its words are read.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::device::{DeviceName, Via};
use crate::harness::keeper::ExecutorSpec;
use crate::stimulus::profile::{Profile, ProfileError};

/// What a session may take of each of three batches and of the one before them, of which a tenth may end by a reset.
const WEAR_OF_A_SESSION: Duration = Duration::from_millis(200);
/// More sessions take longer than a day where each is as slow as it may be.
const MOST_SESSIONS: usize = 100_000;

/// How a device of this host is opened and handled.
#[derive(Debug, Clone, Args)]
pub struct Handling {
    /// The way to open it [default: cdev where the host has it, else group]
    #[arg(long)]
    pub via: Option<Via>,
    /// How to stimulate the device [default: the bundled profile that fits it]
    #[arg(long, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// Play the profile on this device although its [match] names others
    #[arg(long, requires = "profile")]
    pub force_profile: bool,
    /// Also make calls that are known to wedge this host's kernel until a reboot
    #[arg(long)]
    pub may_hang: bool,
    /// Sessions in each batch of the wear chapter, where thousands show small leaks; and races have all of their rounds
    /// [default: as many as fit in a moment]
    #[arg(long, value_name = "NUMBER", value_parser = wear)]
    pub wear: Option<usize>,
    /// Seconds that a check may take [default: what the profile says, else 10]
    #[arg(long, value_parser = seconds)]
    deadline: Option<f64>,
}

impl Handling {
    /// The command that repeats a check on a device; `{check}` stands for its name.
    pub fn reproduce(&self, device: &DeviceName, may_hang: bool) -> String {
        let via = self.via.map(|via| format!(" --via {via}"));
        let profile = self.profile.as_ref().map(|profile| format!(" --profile {}", profile.display()));
        let force_profile = self.force_profile.then(|| " --force-profile".to_owned());
        let deadline = self.deadline.map(|seconds| format!(" --deadline {seconds}"));
        let may_hang = may_hang.then(|| " --may-hang".to_owned());
        let wear = self.wear.map(|sessions| format!(" --wear {sessions}"));
        let options: String = [via, profile, force_profile, deadline, wear, may_hang].into_iter().flatten().collect();
        format!("vfio-conform run {device}{options} -- --exact {{check}}")
    }

    /// What the executor of a device is started with.
    ///
    /// # Errors
    /// Why the profile cannot be used.
    pub fn spec(&self, device: &DeviceName) -> Result<ExecutorSpec, ProfileError> {
        let profile = self.profile.as_deref().map(Profile::read).transpose()?;
        let timeouts = profile.map(|profile| profile.timeouts).unwrap_or_default();
        Ok(ExecutorSpec {
            device: device.to_string(),
            via: self.via,
            profile: self.profile.clone(),
            force_profile: self.force_profile,
            may_hang: self.may_hang,
            wear: self.wear,
            deadline: self.deadline.map_or(Duration::from_secs(timeouts.check_s), Duration::from_secs_f64)
                + wear_takes(self.wear),
            open_deadline: Duration::from_secs(timeouts.open_s),
        })
    }
}

/// How much longer a check may take that was asked for so many sessions in each of its batches.
pub fn wear_takes(sessions: Option<usize>) -> Duration {
    WEAR_OF_A_SESSION * sessions.and_then(|sessions| u32::try_from(sessions).ok()).unwrap_or_default()
}

/// Reads a number of sessions.
///
/// # Errors
/// What would be right.
pub fn wear(text: &str) -> Result<usize, String> {
    match text.parse::<usize>() {
        Ok(sessions) if (1..=MOST_SESSIONS).contains(&sessions) => Ok(sessions),
        _ => Err(format!("it is no number of sessions from 1 to {MOST_SESSIONS}")),
    }
}

/// Reads a number of seconds.
///
/// # Errors
/// What would be right.
pub fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.001..=86400.0).contains(&seconds) => Ok(seconds),
        _ => Err("it is no number of seconds from 0.001 to 86400".to_owned()),
    }
}

/// Reads a span of time.
///
/// # Errors
/// What would be right.
pub fn span(text: &str) -> Result<Duration, String> {
    let wrong = || "it is no time like 30s, 10m or 2h".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err(wrong()),
    };
    let number: u32 = number.parse().map_err(|_| wrong())?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}
