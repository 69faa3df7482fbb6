//! What more than one command takes, and how its words are read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use libtest_mimic::{Arguments, Trial};

use crate::certificate::digest;
use crate::device::{DeviceName, Via};
use crate::harness::journal::{DeviceOptions, ProfileFile};
use crate::harness::keeper::ExecutorSpec;
use crate::stimulus::profile::{Profile, ProfileError};
use crate::suites;

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

    /// What a journal keeps of it, so that the run can be resumed.
    ///
    /// # Errors
    /// Why the profile cannot be read.
    pub fn stored(&self) -> Result<DeviceOptions, OptionsError> {
        Ok(DeviceOptions {
            via: self.via,
            profile: self.profile.as_deref().map(stored_profile).transpose()?,
            force_profile: self.force_profile,
            may_hang: self.may_hang,
            wear: self.wear,
            deadline: self.deadline,
        })
    }

    /// How the device of a run is handled that is resumed: as when the run began, but that calls which are known to wedge
    /// the kernel can be allowed in addition.
    ///
    /// # Errors
    /// The option that differs from what it was when the run began, or that the profile has changed.
    pub fn resumed(&self, stored: &DeviceOptions) -> Result<Handling, OptionsError> {
        let profile = stored.profile.as_ref().map(|profile| &profile.path);
        let given = self.profile.as_deref().map(absolute).transpose()?;
        let differs = [
            ("--via", self.via.is_some() && self.via != stored.via),
            ("--profile", given.is_some() && given.as_ref() != profile),
            ("--wear", self.wear.is_some() && self.wear != stored.wear),
            ("--deadline", self.deadline.is_some() && self.deadline != stored.deadline),
        ];
        if let Some((option, _)) = differs.into_iter().find(|(_, differs)| *differs) {
            return Err(OptionsError::Differs(option));
        }
        if let Some(profile) = &stored.profile
            && stored_profile(&profile.path)? != *profile
        {
            return Err(OptionsError::ProfileChanged(profile.path.clone()));
        }
        Ok(Handling {
            via: stored.via,
            profile: profile.cloned(),
            force_profile: stored.force_profile || self.force_profile,
            may_hang: stored.may_hang || self.may_hang,
            wear: stored.wear,
            deadline: stored.deadline,
        })
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

/// Why options cannot be kept, or not be taken over.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// A file cannot be read.
    #[error("failed to read {}: {why}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        why: std::io::Error,
    },
    /// An option is not what it was.
    #[error("it was begun with another {0}\n    leave it out: the options are taken over")]
    Differs(&'static str),
    /// The profile is not what it was.
    #[error("the profile {} has changed since it began\n    begin a new run", .0.display())]
    ProfileChanged(PathBuf),
}

fn absolute(path: &Path) -> Result<PathBuf, OptionsError> {
    std::path::absolute(path).map_err(|why| OptionsError::Unreadable { path: path.to_owned(), why })
}

fn stored_profile(path: &Path) -> Result<ProfileFile, OptionsError> {
    let bytes = std::fs::read(path).map_err(|why| OptionsError::Unreadable { path: path.to_owned(), why })?;
    Ok(ProfileFile { path: absolute(path)?, sha256: digest(&bytes) })
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

/// Reads the name of a check.
///
/// # Errors
/// That there is none of this name.
pub fn check(name: &str) -> Result<String, String> {
    match suites::all().iter().any(|known| known.name() == name) {
        true => Ok(name.to_owned()),
        false => Err("there is no check of this name; see `vfio-conform list --checks`".to_owned()),
    }
}

/// Adds these checks to those that the options of libtest leave.
pub fn with_checks(arguments: Arguments, beside: &[String]) -> Arguments {
    if beside.is_empty() {
        return arguments;
    }
    let is_meant = |name: &str| {
        let trial = Trial::test(name, || Ok(()));
        !arguments.is_filtered_out(&trial) || beside.iter().any(|check| check == name)
    };
    let all = suites::all();
    let others = all.iter().map(|check| check.name()).filter(|name| !is_meant(name));
    let skip = others.map(str::to_owned).collect();
    // libtest takes one filter; what to leave out may be said for each check.
    Arguments { filter: None, exact: true, skip, ..arguments }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn handling(deadline: Option<f64>, profile: Option<&Path>) -> Handling {
        let profile = profile.map(Path::to_owned);
        Handling { via: Some(Via::Group), profile, force_profile: false, may_hang: false, wear: None, deadline }
    }

    #[test]
    fn resumed_run_takes_over_what_is_stored_and_refuses_what_differs() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let profile = folder.path().join("profile.toml");
        std::fs::write(&profile, "name = \"a\"")?;
        let stored = handling(Some(7.0), Some(&profile)).stored()?;
        let stored: DeviceOptions = serde_json::from_str(&serde_json::to_string(&stored)?)?;
        let nothing = Handling { via: None, ..handling(None, None) };
        let resumed = nothing.resumed(&stored)?;
        assert_eq!(
            (resumed.via, resumed.deadline, resumed.profile.as_ref()),
            (Some(Via::Group), Some(7.0), Some(&profile))
        );
        assert!(Handling { may_hang: true, ..nothing.clone() }.resumed(&stored)?.may_hang);
        for other in [
            Handling { via: Some(Via::Cdev), ..nothing.clone() },
            Handling { deadline: Some(8.0), ..nothing.clone() },
            Handling { wear: Some(9), ..nothing.clone() },
            Handling { profile: Some(folder.path().join("other")), ..nothing.clone() },
        ] {
            assert!(matches!(other.resumed(&stored), Err(OptionsError::Differs(_))), "{other:?}");
        }
        std::fs::write(&profile, "name = \"b\"")?;
        assert!(matches!(nothing.resumed(&stored), Err(OptionsError::ProfileChanged(_))));
        Ok(())
    }

    #[test]
    fn checks_beside_are_added_to_what_a_filter_leaves() {
        let filter = ["", "--exact", "fsm::opens_running"];
        let arguments = with_checks(Arguments::from_iter(filter), &["reset::from_stop".to_owned()]);
        let all = suites::all();
        let names = all.iter().map(|check| check.name());
        let left: Vec<&str> = names.filter(|name| !arguments.is_filtered_out(&Trial::test(*name, || Ok(())))).collect();
        assert_eq!(left, ["fsm::opens_running", "reset::from_stop"]);
        assert!(check("fsm::opens_running").is_ok() && check("fsm::nothing").is_err());
    }
}
