//! Going on with a run that was cut off, or that lost its device: the checks that have no verdict yet.
//!
//! A check that was running when the host went down is `blocked`, not `crash`: nothing proves that it was to blame, since
//! a power cut looks the same. It is not run again by itself, since it may well take the host down again.

use std::fs::{File, TryLockError};
use std::io::Read;
use std::path::Path;

use libtest_mimic::Arguments;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::{RunError, RunFolder, Supervisor, conclude, say, summarize, try_all};
use crate::baseline::{BaselineError, BaselineOptions};
use crate::device::DeviceName;
use crate::harness::clock::BootMoment;
use crate::harness::folder_lock::{FolderLock, LockError};
use crate::harness::journal::{Continuation, DeviceOptions, Event, Journal, LabReady, PlannedCheck};
use crate::harness::verdict::{Exit, Verdict};
use crate::lab::Lab;
use crate::lab::qemu::QemuOptions;
use crate::report::{self, JOURNAL, JournalError, Left, Run};
use crate::suites;

const THIS_TOOL: &str = env!("CARGO_PKG_VERSION");

/// A run that has ended early.
pub struct Unfinished {
    folder: RunFolder,
    journal: File,
    run: Run,
    left: Left,
}

impl Unfinished {
    /// Reads the run in a folder, which nobody else may go on with meanwhile.
    ///
    /// # Errors
    /// Why this program cannot go on with it.
    pub fn open(path: &Path) -> Result<Unfinished, RunError> {
        let refused = |why: String| RunError::Resume { path: path.to_owned(), why };
        let journal = path.join(JOURNAL);
        let mut file = File::options().read(true).write(true).open(&journal).map_err(|error| {
            refused(format!("{}: {error}\n    name the folder that `vfio-conform run` said", journal.display()))
        })?;
        let still_going_on = || refused("it is still going on\n    wait for its end".to_owned());
        let lock = FolderLock::exclusive(path).map_err(|error| match error {
            LockError::InUse => still_going_on(),
            LockError::Unreadable(why) => refused(why.to_string()),
        })?;
        // Some file systems lock files only.
        if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
            return Err(still_going_on());
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| refused(format!("{}: {error}", journal.display())))?;
        let (run, left) = report::fold_to_go_on(&bytes)
            .map_err(|fault| report::ReportError::Journal(JournalError { path: journal, fault }))?;
        let unfinished = Unfinished { folder: RunFolder::existing(path, lock), journal: file, run, left };
        match unfinished.why_not() {
            Some(why) => Err(refused(why)),
            None => Ok(unfinished),
        }
    }

    /// The run whose reports know what is expected: what these options name, else what was named when it began.
    ///
    /// # Errors
    /// What is wrong with the baseline.
    pub fn with_stored_baseline(self, given: &BaselineOptions) -> Result<Unfinished, BaselineError> {
        let baseline = match given.baseline.is_empty() {
            true => BaselineOptions { baseline: self.run.began.baseline.clone() }.read()?,
            false => given.read()?,
        };
        Ok(Unfinished { folder: self.folder.with_baseline(baseline), ..self })
    }

    /// The folder of the run.
    pub fn folder(&self) -> &RunFolder {
        &self.folder
    }

    /// The device as it was named.
    pub fn device(&self) -> &str {
        &self.run.began.device
    }

    /// How the device was handled.
    ///
    /// # Errors
    /// That the journal does not say so.
    pub fn options(&self) -> Result<&DeviceOptions, RunError> {
        let nothing = || {
            self.refuse("its journal does not hold the options that it was begun with\n    begin a new run".to_owned())
        };
        self.run.began.options.as_ref().ok_or_else(nothing)
    }

    /// The guest that it was in, if it was in one.
    pub fn guest(&self) -> Option<&QemuOptions> {
        self.run.began.guest.as_deref()
    }

    /// The refusal of anything but the way that the run was begun.
    pub fn refuse(&self, why: String) -> RunError {
        RunError::Resume { path: self.folder.path().to_owned(), why }
    }

    fn why_not(&self) -> Option<String> {
        let began = &self.run.began;
        if began.lab != "local" && began.guest.is_none() {
            return Some("its journal does not say which guest it was in\n    begin a new run".to_owned());
        }
        if began.tool != THIS_TOOL {
            let tool = &began.tool;
            return Some(format!(
                "vfio-conform {tool} began it, and this is {THIS_TOOL}\n    use vfio-conform {tool}, or begin a new run"
            ));
        }
        let checks = suites::all();
        let stranger = began.planned.iter().find(|planned| !checks.iter().any(|check| check.name() == planned.name));
        stranger.map(|planned| {
            format!("this vfio-conform has no check {}\n    begin a new run; walks cannot be resumed", planned.name)
        })
    }

    /// The checks that are to run now.
    fn turns(&self, retry: bool) -> Vec<PlannedCheck> {
        let has_turn = |planned: &&PlannedCheck| {
            self.left.waiting.contains(&planned.name) || (retry && self.left.interrupted.contains(&planned.name))
        };
        self.run.began.planned.iter().filter(has_turn).cloned().collect()
    }

    /// The verdicts of the checks that do not run now.
    fn verdicts(&self, turns: &[PlannedCheck]) -> Vec<Verdict> {
        let others = self.run.checks.iter().filter(|check| turns.iter().all(|turn| turn.name != check.name));
        others.map(|check| check.outcome.verdict).collect()
    }

    /// Where the journal continues.
    fn continuation(&self, clock: Option<&BootMoment>, wall: OffsetDateTime) -> Continuation {
        let seconds = seconds_since_begin(&self.run, clock, wall);
        Continuation { lines: self.left.lines, bytes: self.left.bytes, seconds }
    }
}

/// Seconds since the run began, never less than its journal already has. No clock but the wall's spans two boots.
fn seconds_since_begin(run: &Run, clock: Option<&BootMoment>, wall: OffsetDateTime) -> f64 {
    let in_this_boot = clock.zip(run.began.clock.as_ref()).and_then(|(now, began)| now.since(began));
    let by_the_wall =
        || OffsetDateTime::parse(&run.began.started, &Rfc3339).map_or(0.0, |began| (wall - began).as_seconds_f64());
    in_this_boot.unwrap_or_else(by_the_wall).max(run.timeline.last_event)
}

/// Goes on with a run, and makes its reports. With `retry` also the checks are run that were running when it was cut off.
///
/// # Errors
/// Why it cannot be gone on with, or its reports not be made.
pub fn resume(
    unfinished: Unfinished,
    mut arguments: Arguments,
    retry: bool,
    lab: Box<dyn Lab>,
) -> Result<Exit, RunError> {
    arguments.test_threads = Some(1);
    let turns = unfinished.turns(retry);
    let folder = unfinished.folder.clone();
    if turns.is_empty() {
        say("nothing is left to run");
        let run = folder.report_of(unfinished.run)?;
        summarize(&run, &folder, &arguments);
        return Ok(run.exit);
    }
    say(&format!("going on with {} of {} checks", turns.len(), unfinished.run.began.planned.len()));
    let verdicts = unfinished.verdicts(&turns);
    let failed = |why| RunError::Folder { path: folder.journal(), why };
    let (clock, wall) = (BootMoment::now(), OffsetDateTime::now_utc());
    let from = unfinished.continuation(clock.as_ref(), wall);
    let durable =
        unfinished.guest().is_none() && !unfinished.device().parse().is_ok_and(|device: DeviceName| device.is_model());
    let Unfinished { journal, run, .. } = unfinished;
    let mut journal = Journal::go_on(journal, durable, &from).map_err(failed)?;
    let resumed = wall.format(&Rfc3339).unwrap_or_default();
    journal.write(Event::RunResumed { tool: THIS_TOOL.to_owned(), resumed, clock }).map_err(failed)?;

    let mut supervisor = Supervisor::new(lab, journal, run.checks.len());
    let mut checks = suites::all();
    checks.retain(|check| turns.iter().any(|turn| turn.name == check.name()));
    supervisor.announce(&checks, &turns);
    supervisor.was_open = run.ready.is_some();
    let Some(ready) = supervisor.open()? else {
        supervisor.verdicts.extend(verdicts);
        return conclude(&mut supervisor, &folder, &arguments);
    };
    if let Some(difference) = run.ready.as_ref().and_then(|before| difference(before, &ready)) {
        let why = format!("{difference}\n    make it as it was, or begin a new run");
        return Err(RunError::Resume { path: folder.path().to_owned(), why });
    }
    supervisor.write_ready(ready);

    let shared = try_all(supervisor, checks, &turns, &arguments, &folder);
    let mut supervisor = super::lock(&shared);
    supervisor.verdicts.extend(verdicts);
    conclude(&mut supervisor, &folder, &arguments)
}

/// What is not as it was when the run began.
fn difference(before: &LabReady, now: &LabReady) -> Option<String> {
    let told = |what: &str, before: &str, now: &str| {
        (before != now).then(|| format!("the {what} was {before} when it began, and is {now}"))
    };
    let version = |ready: &LabReady| ready.identity.driver_version.clone().unwrap_or_default();
    told("kernel", &before.kernel, &now.kernel)
        .or_else(|| told("device", &before.identity.name, &now.identity.name))
        .or_else(|| told("driver", &before.identity.driver, &now.identity.driver))
        .or_else(|| told("driver's version", &version(before), &version(now)))
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;
    use crate::report::sample;

    #[test]
    fn resume_in_the_same_boot_ignores_a_wall_clock_that_was_set() {
        let began = datetime!(2026-11-23 05:24:00 UTC);
        let mut run = Run::of(&sample::journal(vec![sample::began(&[])])).expect("a good journal");
        run.timeline.last_event = 10.0;
        let moment = |boot: &str, seconds: f64| BootMoment { boot: boot.to_owned(), seconds };
        run.began.clock = Some(moment("one", 100.0));
        let seconds = |clock: Option<BootMoment>, wall: i64| {
            seconds_since_begin(&run, clock.as_ref(), began + Duration::seconds(wall))
        };
        for wall in [-86_400, -5, 30, 86_400] {
            assert_eq!(seconds(Some(moment("one", 130.0)), wall), 30.0, "wall clock {wall} s after the beginning");
        }
        assert_eq!(seconds(Some(moment("two", 5.0)), 60), 60.0);
        assert_eq!(seconds(None, 60), 60.0);
        assert_eq!(seconds(Some(moment("two", 5.0)), -5), 10.0, "never before the last line");
    }
}
