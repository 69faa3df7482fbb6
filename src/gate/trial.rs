//! Runs the checks on one side of a comparison, each run in a process of its own.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use serde::Serialize;

use super::selection::Selection;
use super::store;
use crate::harness::coverage::VerdictLevel;
use crate::harness::folder_lock::{FolderLock, LockError};
use crate::harness::verdict::Exit;
use crate::lab::environment::ModulesError;
use crate::lab::local;
use crate::lab::qemu::{Built, QemuLab, QemuOptions};
use crate::report::{JOURNAL, LabFailure, Run, coverage};
use crate::uapi::process::die_with_parent;
use crate::uapi::stop::{self, StopSignal};

/// Why a side could not be tested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "obstacle", content = "why", rename_all = "snake_case")]
pub enum Obstacle {
    /// A patch does not fit the source.
    #[error("the patch does not apply\n{0}")]
    PatchDoesNotApply(String),
    /// The source has the patch already.
    #[error("the patch is in this source already, so it changes nothing\n{0}")]
    AlreadyApplied(String),
    /// The VFIO core does not compile.
    #[error("it does not build\n{0}")]
    DoesNotBuild(String),
    /// The guest's kernel did not come up.
    #[error("its kernel does not boot: {0}")]
    DoesNotBoot(String),
    /// The kernel came up, and its device could not be opened.
    #[error("its kernel boots, but the device cannot be opened: {0}")]
    NoDevice(String),
    /// The comparison was asked to stop.
    #[error("it was asked to stop ({0})")]
    Stopped(StopSignal),
    /// A run judged less than was required.
    #[error("its run {0}")]
    BelowLevel(String),
    /// Something of this machine stands in the way.
    #[error("{0}")]
    Environment(String),
}

/// What is tested on one side.
#[derive(Debug, Clone)]
pub struct Subject {
    /// As people call it.
    pub name: String,
    /// The guest and its VFIO core.
    pub guest: QemuOptions,
    /// Whether a finished run of it is as good as a new one: not of a patch that somebody works on, nor of a bzImage.
    pub is_lasting: bool,
}

/// How a side is tested.
#[derive(Debug, Clone)]
pub struct Plan<'a> {
    /// The checks, as options of libtest.
    pub libtest: &'a [String],
    /// The same, read: the checks that count of a run that is finished.
    pub selection: &'a Selection,
    /// How often.
    pub repeat: u32,
    /// Whether a run that is finished already will do.
    pub reuse: bool,
}

/// The runs of a side.
#[derive(Debug)]
pub struct Tested {
    /// In the order in which they were made.
    pub runs: Vec<Run>,
    /// Their folders.
    pub folders: Vec<PathBuf>,
    /// How many of them were finished already.
    pub reused: u32,
}

impl Tested {
    /// The same, if each run reaches the level that is required.
    ///
    /// # Errors
    /// That one does not, and which keys its profile lacks.
    pub fn reaching(self, required: Option<VerdictLevel>) -> Result<Tested, Obstacle> {
        let Some(required) = required else { return Ok(self) };
        match self.runs.iter().find_map(|run| coverage::below(&run.coverage, required)) {
            Some(why) => Err(Obstacle::BelowLevel(why)),
            None => Ok(self),
        }
    }
}

/// Tests a side that was built; the folders of its runs begin with `folder` and end with their number.
///
/// # Errors
/// What stands in the way.
pub fn test(
    subject: &Subject,
    built: &Built,
    plan: &Plan<'_>,
    folder: &Path,
    tell: &mut dyn FnMut(&str),
) -> Result<Tested, Obstacle> {
    let mut tested = Tested { runs: Vec::new(), folders: Vec::new(), reused: 0 };
    for number in 1..=plan.repeat {
        let out = numbered(folder, number);
        let key =
            Some(subject).filter(|subject| subject.is_lasting).and_then(|subject| key(subject, built, plan, number));
        let found = key.as_deref().filter(|_| plan.reuse).and_then(|key| store::find(key, &out));
        let run = match found {
            Some(run) => {
                tell(&format!("{}: its run of {} is reused", subject.name, run.began.started));
                tested.reused += 1;
                run
            }
            None => run_once(subject, plan.libtest, &out, tell)?,
        };
        if let Some(key) = &key {
            store::keep(key, &out);
        }
        tested.runs.push(run);
        tested.folders.push(out);
    }
    Ok(tested)
}

fn numbered(folder: &Path, number: u32) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(format!("-{number}"));
    PathBuf::from(name)
}

/// The name by which a finished run is found again.
fn key(subject: &Subject, built: &Built, plan: &Plan<'_>, number: u32) -> Option<String> {
    let modules = built.modules.as_ref()?.display().to_string();
    let words = [subject.guest.words_of_guest(), subject.guest.words_of_running(), plan.libtest.to_vec()].concat();
    store::key(&[&built.release, &modules, &words.join("\n")], number)
}

/// Has all that the guest needs.
///
/// # Errors
/// What stands in the way.
pub fn build(subject: &Subject, tell: &mut dyn FnMut(&str)) -> Result<Built, Obstacle> {
    go_on()?;
    let lab = QemuLab::new(subject.guest.clone(), PathBuf::new());
    let built = lab.build(&mut |step| tell(&format!("{}: {step}", subject.name)));
    go_on()?;
    match built {
        Ok(built) => Ok(built),
        Err(ModulesError::Unapplied(why)) => Err(Obstacle::PatchDoesNotApply(why.0)),
        Err(ModulesError::Present(why)) => Err(Obstacle::AlreadyApplied(why.0)),
        Err(ModulesError::Unbuilt(why)) => Err(Obstacle::DoesNotBuild(why.0)),
        Err(ModulesError::Environment(why)) => Err(Obstacle::Environment(why.0)),
    }
}

/// Runs the checks once, in a process whose output is ours to read.
///
/// # Errors
/// What stands in the way.
pub fn run_once(
    subject: &Subject,
    libtest: &[String],
    out: &Path,
    tell: &mut dyn FnMut(&str),
) -> Result<Run, Obstacle> {
    let failed = |why: std::io::Error| Obstacle::Environment(format!("failed to run the checks: {why}"));
    let mut command = Command::new(local::this_program().map_err(failed)?);
    command.arg("qemu").args(subject.guest.words_of_all()).args(subject.guest.words_of_running());
    command.arg("--out").arg(out).arg("--").args(libtest);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    go_on()?;
    tell(&format!("{}: booting", subject.name));
    let mut child = die_with_parent(&mut command).spawn().map_err(failed)?;
    let passed_on = stop::pass_on_to(&child);
    let stderr = child.stderr.take();
    // Read beside, so that neither pipe fills up while we wait at the other.
    let said = std::thread::spawn(move || {
        let mut text = Vec::new();
        stderr.map(|mut stderr| stderr.read_to_end(&mut text));
        String::from_utf8_lossy(&text).into_owned()
    });
    if let Some(stdout) = child.stdout.take() {
        tell_chapters(&subject.name, BufReader::new(stdout), tell);
    }
    let status = child.wait().map_err(failed)?;
    drop(passed_on);
    let said = said.join().unwrap_or_default();
    go_on()?;
    let complaint = complaint(&said);
    let run = Run::read(&out.join(JOURNAL)).map_err(|error| {
        Obstacle::Environment(killed_by(status).or(complaint.clone()).unwrap_or_else(|| error.to_string()))
    })?;
    if status.code() == Some(Exit::Usage as i32) && run.ready.is_some() {
        // It was refused, and the journal is not its own.
        return Err(Obstacle::Environment(complaint.unwrap_or(said)));
    }
    match obstacle(&run, killed_by(status).or(complaint)) {
        Some(obstacle) => Err(obstacle),
        None => Ok(run),
    }
}

/// What was cut short is compared with nothing.
fn go_on() -> Result<(), Obstacle> {
    stop::requested().map_or(Ok(()), |signal| Err(Obstacle::Stopped(signal)))
}

/// That a signal ended the process that ran the checks.
fn killed_by(status: ExitStatus) -> Option<String> {
    let signal = status.signal()?;
    Some(format!("the process that ran the checks was killed by signal {signal}; run the gate again"))
}

/// Says which chapter the trials have come to.
fn tell_chapters(name: &str, trials: impl BufRead, tell: &mut dyn FnMut(&str)) {
    let mut chapter = String::new();
    for line in trials.lines().map_while(Result::ok) {
        let Some(check) = line.strip_prefix("test ").and_then(|rest| rest.split_once("::")) else { continue };
        if check.0 != chapter {
            check.0.clone_into(&mut chapter);
            tell(&format!("{name}: chapter {chapter}"));
        }
    }
}

/// What the process complained of.
fn complaint(said: &str) -> Option<String> {
    let at = said.find("vfio-conform: ")?;
    let text = said[at..].trim_start_matches("vfio-conform: ").trim_end();
    Some(text.to_owned())
}

/// Why a run is none, if its guest never could run checks. A guest that was killed, or whose run was cut off before it was
/// known what became of it, says nothing of its kernel.
fn obstacle(run: &Run, complaint: Option<String>) -> Option<Obstacle> {
    // A driver that keeps its device from being opened is a result.
    if run.ready.is_some() || run.checks.is_empty() || run.has_incidents() {
        return None;
    }
    let Some(LabFailure { reason, killed }) = &run.lab_failure else {
        let why = complaint.unwrap_or_else(|| "it was cut off".to_owned());
        return Some(Obstacle::Environment(format!("the run ended before its device was open: {why}")));
    };
    let reason = reason.clone();
    Some(match (run.timeline.power_on, run.timeline.guest_up) {
        _ if *killed => {
            Obstacle::Environment(format!("its guest was killed, which says nothing of its kernel: {reason}"))
        }
        (None, _) => Obstacle::Environment(reason),
        (Some(_), None) => Obstacle::DoesNotBoot(reason),
        (Some(_), Some(_)) => Obstacle::NoDevice(reason),
    })
}

/// Reads a finished run, of which the selected checks count.
///
/// # Errors
/// Why it is none.
pub fn read(folder: &Path, selection: &Selection) -> Result<Tested, Obstacle> {
    // What is wrong with a folder that cannot be opened is said when its journal is read.
    if matches!(FolderLock::shared(folder), Err(LockError::InUse)) {
        return Err(Obstacle::Environment(format!("the run in {} is still going on", folder.display())));
    }
    let mut run = Run::read(&folder.join(JOURNAL)).map_err(|error| Obstacle::Environment(error.to_string()))?;
    selection.keep_in(&mut run);
    match obstacle(&run, None) {
        Some(obstacle) => Err(obstacle),
        None => Ok(Tested { runs: vec![run], folders: vec![folder.to_owned()], reused: 0 }),
    }
}

/// The folder of a comparison, in which there was none before, with the lock on it.
///
/// # Errors
/// Why it cannot be had.
pub fn make_folder(folder: &Path) -> Result<FolderLock, String> {
    let failed = |why: &dyn std::fmt::Display| {
        format!("failed to write {}: {why}\n    choose another folder with --out", folder.display())
    };
    fs::create_dir_all(folder).map_err(|error| failed(&error))?;
    let lock = FolderLock::exclusive(folder).map_err(|error| failed(&error))?;
    let mut entries = fs::read_dir(folder).map_err(|error| failed(&error))?;
    match entries.next() {
        None => Ok(lock),
        Some(_) => Err(failed(&"there is something in it already")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::journal::{Event, Stage};
    use crate::report::sample::{self, journal};

    fn obstacle_of(stages: &[Stage], failure: Option<bool>) -> Option<Obstacle> {
        let stages = stages.iter().map(|stage| Event::Stage { stage: *stage });
        let failure = failure.map(|killed| Event::LabFailed { reason: "QEMU ended".to_owned(), killed });
        let events = [sample::began(&["fsm::a"])].into_iter().chain(stages).chain(failure);
        obstacle(&Run::of(&journal(events.collect())).unwrap(), None)
    }

    #[test]
    fn kernel_does_not_boot_only_if_nothing_outside_ended_its_guest() {
        use Stage::{GuestUp, PowerOn};
        let ended = || "QEMU ended".to_owned();
        assert_eq!(obstacle_of(&[], Some(false)), Some(Obstacle::Environment(ended())));
        assert_eq!(obstacle_of(&[PowerOn], Some(false)), Some(Obstacle::DoesNotBoot(ended())));
        assert_eq!(obstacle_of(&[PowerOn, GuestUp], Some(false)), Some(Obstacle::NoDevice(ended())));
        for stages in [&[PowerOn][..], &[PowerOn, GuestUp]] {
            assert!(matches!(obstacle_of(stages, Some(true)), Some(Obstacle::Environment(_))), "killed");
            assert!(matches!(obstacle_of(stages, None), Some(Obstacle::Environment(_))), "cut off");
        }
    }

    #[test]
    fn signal_that_ended_a_run_is_named() {
        assert!(killed_by(ExitStatus::from_raw(9)).is_some_and(|why| why.contains("signal 9")));
        assert_eq!(killed_by(ExitStatus::from_raw(2 << 8)), None);
    }
}
