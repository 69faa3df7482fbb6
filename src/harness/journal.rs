//! The journal of a run: an append-only file, one event a line, on disk before and after each check.
//!
//! It is the one truth about a run. Whatever dies, its lines say what was running; every report is made from them.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::clock::BootMoment;
use super::coverage::VerdictLevel;
use super::incident::Incident;
use super::outcome::Outcome;
use super::verdict::{Exit, RunVerdict};
use crate::device::{Identity, Via};
use crate::lab::qemu::QemuOptions;
use crate::report;
use crate::uapi::state::Capabilities;
use crate::uapi::stop::StopSignal;

/// The version of the journal's form. It grows when an old reader would misread a new journal.
pub const FORMAT: u32 = 1;

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Counts the lines from 0, so that a cut or a repetition is seen.
    pub seq: u64,
    /// Seconds since the run began.
    pub t: f64,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What can happen in a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The first line of every journal.
    RunStarted(Box<RunStarted>),
    /// A part of the timeline was reached.
    Stage {
        /// Which.
        stage: Stage,
    },
    /// The lab can run checks now; comes again after a restart.
    LabReady(Box<LabReady>),
    /// The lab could not be started, and the run ends here.
    LabFailed {
        /// Why, as it is reported to people.
        reason: String,
        /// Whether a signal from outside ended its guest, so that this says nothing of the guest's kernel.
        killed: bool,
    },
    /// This check is running from here on.
    CheckStarted {
        /// `chapter::check_name`.
        check: String,
    },
    /// This check is over.
    CheckFinished {
        /// `chapter::check_name`.
        check: String,
        /// What it came to.
        outcome: Box<Outcome>,
    },
    /// Something went wrong in the kernel, or with the executor, while no check ran.
    Incident(Box<Incident>),
    /// The lab was lost and is started again.
    LabRestarted {
        /// Why, in one sentence.
        reason: String,
    },
    /// The run goes on after it was cut off, or ended without all of its checks. It takes back the end, and every
    /// `check_finished` of a check that was not started.
    RunResumed {
        /// Version of vfio-conform, which is that of the beginning.
        tool: String,
        /// When by the wall clock, as RFC 3339 in UTC. Information only: that clock may have been set.
        resumed: String,
        /// When by the clock of the controlling machine's boot; older journals do not have it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        clock: Option<BootMoment>,
    },
    /// The last line of a journal that was not cut off.
    RunFinished {
        /// What the run came to.
        verdict: RunVerdict,
        /// The exit code of the process.
        exit: Exit,
        /// How many checks `run --resume` would run. 0 in journals of before.
        #[serde(default)]
        left: usize,
        /// The signal that asked the run to stop before it was done. The check that was running then is not over.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stopped_by: Option<StopSignal>,
    },
}

/// What a run set out to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunStarted {
    /// The version of the journal's form.
    pub format: u32,
    /// The run's own name, which is also that of its folder.
    pub run: String,
    /// Version of vfio-conform.
    pub tool: String,
    /// When by the wall clock, as RFC 3339 in UTC. Information only: that clock may be set during the run.
    pub started: String,
    /// When by the clock of the controlling machine's boot, which orders runs; older journals do not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock: Option<BootMoment>,
    /// The device as it was named.
    pub device: String,
    /// `local`, `qemu`.
    pub lab: String,
    /// Which emulated device, where the lab starts one.
    pub target: Option<String>,
    /// Which kernel was asked for, where the lab boots one.
    pub kernel: Option<String>,
    /// Whether a broken should counts like a broken must.
    pub strict: bool,
    /// The level that the verdict was asked for; `None` if any will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub require: Option<VerdictLevel>,
    /// How many checks the suite has; `None` for a walk, which is no run of the suite.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<usize>,
    /// The command that repeats a check; `{check}` stands for its name.
    pub reproduce: String,
    /// How its device was handled; `None` in a guest, for walks, and in journals of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<DeviceOptions>,
    /// The checks that are to run, in their order.
    pub planned: Vec<PlannedCheck>,
    /// The guest that was booted, where the lab boots one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<Box<QemuOptions>>,
    /// The baselines of its reports, by absolute path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baseline: Vec<PathBuf>,
}

impl RunStarted {
    /// Whether a run of this kind can be resumed: not a walk, whose one check is none of the suites'.
    pub fn can_be_resumed(&self) -> bool {
        self.options.is_some() || self.guest.is_some()
    }
}

/// How a device of this host is opened and handled, for whoever resumes the run. Which checks were chosen says the plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeviceOptions {
    /// The interface that was selected.
    pub via: Option<Via>,
    /// The profile that was given.
    pub profile: Option<ProfileFile>,
    /// Whether a profile was accepted that is for other devices.
    #[serde(default)]
    pub force_profile: bool,
    /// Whether calls may be made that are known to wedge the kernel.
    pub may_hang: bool,
    /// How many sessions each batch of the wear chapter has.
    pub wear: Option<usize>,
    /// Seconds that a check may take.
    pub deadline: Option<f64>,
}

/// A profile that a run was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileFile {
    /// Its absolute path.
    pub path: PathBuf,
    /// SHA-256 of what it held, in hexadecimal digits.
    pub sha256: String,
}

/// A check that is to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedCheck {
    /// `chapter::check_name`.
    pub name: String,
    /// The ids of the requirements that it can prove.
    pub requirements: Vec<String>,
}

/// What the lab found out about itself and the device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LabReady {
    /// `uname -r`.
    pub kernel: String,
    /// What the device is.
    pub identity: Identity,
    /// Further devices of its kind on which each check runs at the same time.
    #[serde(default)]
    pub beside: Vec<Identity>,
    /// The capability set; `None` if the device cannot migrate or answers nonsense.
    pub capabilities: Option<Capabilities>,
    /// `tcg`, `kvm`; `None` where no guest is involved.
    pub accelerator: Option<String>,
    /// Whether the kernel's own path can be seen, and if not, why.
    pub tracing: Result<(), String>,
    /// The taint mask of the kernel before the first check.
    pub taint: u64,
}

/// The parts of a run's timeline, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Environment, kernel and modules are there.
    EnvironmentReady,
    /// The guest was switched on.
    PowerOn,
    /// The guest's kernel has started its init.
    GuestUp,
    /// The device is open.
    DeviceReady,
    /// The last check is over.
    ChecksDone,
    /// The guest is off.
    PowerOff,
}

/// Where a journal is gone on with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Continuation {
    /// How many whole lines there are.
    pub lines: u64,
    /// How long they are.
    pub bytes: u64,
    /// Seconds since the run began.
    pub seconds: f64,
}

/// Writes the journal of a run that is going on.
#[derive(Debug)]
pub struct Journal {
    file: File,
    began: Instant,
    /// Seconds since the run began that were over at that instant: more than none if it was resumed.
    before: f64,
    next: u64,
    /// Whether each line is forced to the disk, since the machine itself may die under a check.
    durable: bool,
}

impl Journal {
    /// Begins the journal of a run.
    ///
    /// # Errors
    /// What creating the file answered; it must not be there yet.
    pub fn create(path: &Path, durable: bool) -> std::io::Result<Journal> {
        let file = File::options().read(true).write(true).create_new(true).open(path)?;
        // Beside the lock on the folder, since some file systems lock files only.
        let _ = file.try_lock();
        if let Some(folder) = path.parent().filter(|_| durable) {
            report::sync_folder(folder)?;
        }
        Ok(Journal { file, began: Instant::now(), before: 0.0, next: 0, durable })
    }

    /// Goes on with the journal of a run that ended early, after the lines that are whole.
    ///
    /// # Errors
    /// What cutting off the rest of the file answered.
    pub fn go_on(mut file: File, durable: bool, from: &Continuation) -> std::io::Result<Journal> {
        file.set_len(from.bytes)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Journal { file, began: Instant::now(), before: from.seconds, next: from.lines, durable })
    }

    /// All that was written so far.
    ///
    /// # Errors
    /// What reading answered.
    pub fn read(&self) -> std::io::Result<Vec<u8>> {
        let length = usize::try_from(self.file.metadata()?.len()).map_err(std::io::Error::other)?;
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }

    /// Whether the file of this name is still this journal, and no other one that replaced it.
    ///
    /// # Errors
    /// What the system answered.
    pub fn is_at(&self, path: &Path) -> std::io::Result<bool> {
        let (ours, there) = (
            self.file.metadata()?,
            match std::fs::metadata(path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
                there => there?,
            },
        );
        Ok((ours.dev(), ours.ino()) == (there.dev(), there.ino()))
    }

    /// Appends one event. When this returns, the line is in the file.
    ///
    /// # Errors
    /// What writing answered: a full disk, usually.
    pub fn write(&mut self, event: Event) -> std::io::Result<()> {
        let entry = Entry { seq: self.next, t: self.before + self.began.elapsed().as_secs_f64(), event };
        let mut line = serde_json::to_vec(&entry)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        if self.durable {
            self.file.sync_data()?;
        }
        self.next += 1;
        Ok(())
    }
}
