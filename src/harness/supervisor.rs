//! The supervisor: the libtest-mimic program. It lists, filters and orders trials, and each trial is a request to the
//! lab. It holds no device; what it holds is the journal.

mod folder;
mod resume;
mod walk;
mod whole;

use std::io::Write;
use std::panic::{self, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use libtest_mimic::{Arguments, Completion, Failed, FormatSetting, Trial};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::lab::qemu::QemuOptions;
use crate::lab::{Announced, Answer, Lab, LabError, Progress, Watch};
use crate::report;
use crate::suites;
use crate::uapi::stop;

use super::check::Check;
use super::clock::BootMoment;
use super::coverage::VerdictLevel;
use super::journal::{DeviceOptions, Event, FORMAT, Journal, LabReady, PlannedCheck, RunStarted, Stage};
use super::outcome::Outcome;
use super::verdict::{Exit, Verdict};
use super::wire::Done;
pub use folder::{RunFolder, new_name, reports_folder};
pub use resume::{Unfinished, resume};
pub use walk::{Length, Walk, replay, walk, walk_silently};
pub use whole::{Whole, whole};

/// What a run is asked to do.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The device as it was named.
    pub device: String,
    /// `local`, `qemu`.
    pub lab: &'static str,
    /// Which emulated device, where the lab starts one.
    pub target: Option<String>,
    /// Which kernel was asked for, where the lab boots one.
    pub kernel: Option<String>,
    /// Whether a broken should counts like a broken must.
    pub strict: bool,
    /// The level that the verdict is asked for; `None` if any will do.
    pub require: Option<VerdictLevel>,
    /// Whether the machine itself may die under a check, so that the journal must reach the disk.
    pub durable: bool,
    /// The command that repeats a check; `{check}` stands for its name.
    pub reproduce: String,
    /// The guest, where the lab boots one.
    pub guest: Option<QemuOptions>,
    /// How the device is handled, where the run can be resumed.
    pub options: Option<DeviceOptions>,
    /// The baselines of its reports.
    pub baseline: Vec<PathBuf>,
}

/// Why a run could not begin, or not go on.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The folder of the run cannot be made or written.
    #[error("failed to write {}: {why}\n    choose another folder with --out, or make room", .path.display())]
    Folder {
        /// The folder or the file in it.
        path: PathBuf,
        /// What the system answered.
        why: std::io::Error,
    },
    /// The folder holds a run already.
    #[error("failed to begin a run in {}: it holds the journal of another run\n    choose another folder with --out", .0.display())]
    Occupied(PathBuf),
    /// Another run writes to the folder at this moment.
    #[error("failed to begin a run in {}: another run writes to it\n    wait for its end, or choose another folder with --out", .0.display())]
    InUse(PathBuf),
    /// The journal is not the one that this run has written.
    #[error("failed to report on the run: {} was removed or replaced while it was going on\n    run it again, in a folder that nothing else touches", .0.display())]
    Replaced(PathBuf),
    /// The run in the folder cannot be gone on with.
    #[error("failed to go on with the run in {}: {why}", .path.display())]
    Resume {
        /// The folder.
        path: PathBuf,
        /// Why, and what to do.
        why: String,
    },
    /// The lab did not come up.
    #[error("{0}")]
    Lab(#[from] LabError),
    /// The reports could not be made.
    #[error("{0}")]
    Report(#[from] report::ReportError),
}

impl RunError {
    /// The exit code that it means.
    pub fn exit(&self) -> Exit {
        Exit::Usage
    }
}

/// Lists the checks, as `--list` of a libtest program does.
pub fn list(arguments: &Arguments) {
    let trials = suites::all().iter().map(|check| Trial::test(check.name(), || Ok(()))).collect();
    let _ = libtest_mimic::run(arguments, trials);
}

/// Runs the checks that the arguments leave, in a lab, and makes the reports.
///
/// # Errors
/// Why the run could not begin, or its reports not be made.
pub fn run(
    options: &RunOptions,
    folder: &RunFolder,
    mut arguments: Arguments,
    lab: Box<dyn Lab>,
) -> Result<Exit, RunError> {
    // One device, one check at a time; in one thread, since that is the one that children die with.
    arguments.test_threads = Some(1);
    let checks = suites::all();
    let planned = planned(&arguments, &checks);
    let journal = begin(options, folder, &planned, Some(checks.len()))?;
    let mut supervisor = Supervisor::new(lab, journal, planned.len());
    if planned.is_empty() {
        let supervisor = try_all(supervisor, checks, &planned, &arguments, folder);
        return conclude(&mut lock(&supervisor), folder, &arguments);
    }
    supervisor.announce(&checks, &planned);
    if supervisor.start()?.is_none() {
        return conclude(&mut supervisor, folder, &arguments);
    }
    let supervisor = try_all(supervisor, checks, &planned, &arguments, folder);
    conclude(&mut lock(&supervisor), folder, &arguments)
}

/// Runs the checks that the arguments leave, as trials.
fn try_all(
    supervisor: Supervisor,
    checks: Vec<Check>,
    planned: &[PlannedCheck],
    arguments: &Arguments,
    folder: &RunFolder,
) -> Arc<Mutex<Supervisor>> {
    let shared = Arc::new(Mutex::new(supervisor));
    let trials = checks.into_iter().map(|check| trial(&shared, check)).collect();
    let is_heard = unless_output_is_gone(|| libtest_mimic::run(arguments, trials));
    if !is_heard {
        lock(&shared).run_rest(planned, folder);
    }
    shared
}

/// Ends the run, and makes its reports.
fn conclude(supervisor: &mut Supervisor, folder: &RunFolder, arguments: &Arguments) -> Result<Exit, RunError> {
    let run = supervisor.finish(folder)?;
    summarize(&run, folder, arguments);
    Ok(run.exit)
}

/// Does what prints; false if it could not print to its end. libtest-mimic panics when its output is gone: a pipe that
/// was closed, a disk that is full.
fn unless_output_is_gone<T>(print: impl FnOnce() -> T) -> bool {
    // A panic inside a trial is the trial's message; this one is told below.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let printed = panic::catch_unwind(AssertUnwindSafe(print));
    panic::set_hook(hook);
    printed.is_ok()
}

fn planned(arguments: &Arguments, checks: &[Check]) -> Vec<PlannedCheck> {
    let is_wanted = |check: &&Check| {
        let trial = Trial::test(check.name(), || Ok(()));
        !arguments.is_filtered_out(&trial) && !arguments.is_ignored(&trial)
    };
    checks.iter().filter(is_wanted).map(plan).collect()
}

/// The plan of a run of all these checks.
pub fn plan_of(checks: &[Check]) -> Vec<PlannedCheck> {
    checks.iter().map(plan).collect()
}

fn plan(check: &Check) -> PlannedCheck {
    PlannedCheck {
        name: check.name().to_owned(),
        requirements: check.requirements().iter().map(|r| r.id.to_owned()).collect(),
    }
}

/// Begins the journal of a run of a suite of so many checks; `None` for what is no run of the suite.
fn begin(
    options: &RunOptions,
    folder: &RunFolder,
    planned: &[PlannedCheck],
    suite: Option<usize>,
) -> Result<Journal, RunError> {
    let failed = |why| RunError::Folder { path: folder.journal(), why };
    // Taken before the journal's own time begins: this moment plus the last line's `t` is never later than the run's end.
    let clock = BootMoment::now();
    let mut journal = Journal::create(&folder.journal(), options.durable).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => RunError::Occupied(folder.path().to_owned()),
        _ => failed(error),
    })?;
    let started = RunStarted {
        format: FORMAT,
        run: folder.name(),
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        started: OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(),
        clock,
        device: options.device.clone(),
        lab: options.lab.to_owned(),
        target: options.target.clone(),
        kernel: options.kernel.clone(),
        strict: options.strict,
        require: options.require,
        suite,
        reproduce: options.reproduce.clone(),
        options: options.options.clone(),
        planned: planned.to_vec(),
        guest: options.guest.as_ref().map(|guest| Box::new(guest.anchored())),
        baseline: options.baseline.iter().map(|path| std::path::absolute(path).unwrap_or(path.clone())).collect(),
    };
    journal.write(Event::RunStarted(Box::new(started))).map_err(failed)?;
    Ok(journal)
}

fn trial(shared: &Arc<Mutex<Supervisor>>, check: Check) -> Trial {
    let shared = Arc::clone(shared);
    let name = check.name().to_owned();
    Trial::ignorable_test(check.name(), move || match lock(&shared).run(&name) {
        Some(outcome) => completion(&outcome),
        None => Ok(Completion::ignored_with("the run was asked to stop")),
    })
}

/// What libtest-mimic makes of an outcome. It knows no warning; the summary does.
fn completion(outcome: &Outcome) -> Result<Completion, Failed> {
    match outcome.verdict {
        Verdict::Pass | Verdict::Warn => Ok(Completion::Completed),
        Verdict::Skip => Ok(Completion::ignored_with(&outcome.message)),
        Verdict::Fail | Verdict::Hang | Verdict::Crash | Verdict::Blocked => {
            Err(format!("{}: {}", outcome.verdict, outcome.reason()).into())
        }
    }
}

/// Says something to people, if anyone is there to read it.
fn say(what: &str) {
    let _ = writeln!(std::io::stderr(), "vfio-conform: {what}");
}

fn lock(shared: &Mutex<Supervisor>) -> MutexGuard<'_, Supervisor> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A restart may meet the same accident as the run did (somebody kills processes, say), but not for ever.
const RECOVERY_TRIES: usize = 2;
/// How often the lab is restarted without a check that comes to a verdict meanwhile.
const RESTARTS_WITHOUT_PROGRESS: usize = 6;

struct Supervisor {
    lab: Box<dyn Lab>,
    journal: Journal,
    /// Why the lab is lost, until it is recovered.
    lost: Option<Lost>,
    /// How often it was recovered since a check came to a verdict.
    restarts: usize,
    /// How many checks the run has in all.
    planned: usize,
    /// The verdicts of those that have one.
    verdicts: Vec<Verdict>,
    /// Whether an incident keeps the device from being opened.
    kept_shut: bool,
    /// Whether the device was open in this run, also before it was resumed.
    was_open: bool,
    /// How many were not run since the lab was lost for good.
    passed_over: usize,
    /// Whether people know that the run was asked to stop.
    has_said_stop: bool,
    /// The first error of the journal. Nothing is run any more once what happens cannot be written down.
    broken: Option<std::io::Error>,
}

/// What came of asking the lab for a check.
enum Attempt {
    /// This.
    Over(Box<Outcome>),
    /// Nothing; it is to be asked once more.
    Again,
    /// Nothing, since the run was asked to stop.
    Stopped,
}

enum Lost {
    /// The next check begins with an attempt to recover.
    Recoverable(String),
    /// There is no way back in this run.
    ForGood(String),
}

/// What a lab does goes to the journal, and to people.
struct Told<'a> {
    journal: &'a mut Journal,
    broken: &'a mut Option<std::io::Error>,
    progress: Progress,
    /// Whether the guest that was booted last was killed.
    killed: bool,
}

impl Watch for Told<'_> {
    fn stage(&mut self, stage: Stage) {
        if stage == Stage::PowerOn {
            self.killed = false;
        }
        if self.broken.is_none() {
            *self.broken = self.journal.write(Event::Stage { stage }).err();
        }
    }

    fn guest_killed(&mut self) {
        self.killed = true;
    }

    fn step(&mut self, what: &str) {
        self.progress.step(what);
    }
}

impl Supervisor {
    fn new(lab: Box<dyn Lab>, journal: Journal, planned: usize) -> Supervisor {
        Supervisor {
            lab,
            journal,
            lost: None,
            restarts: 0,
            planned,
            verdicts: Vec::new(),
            passed_over: 0,
            kept_shut: false,
            was_open: false,
            has_said_stop: false,
            broken: None,
        }
    }

    /// Whether the run was asked to stop. Nothing begins any more then.
    fn is_stopping(&mut self) -> bool {
        let Some(signal) = stop::requested() else {
            return false;
        };
        if !std::mem::replace(&mut self.has_said_stop, true) {
            say(&format!("{signal}: the run stops; its reports are written now"));
        }
        true
    }

    /// Tells the lab which of these checks will be asked for.
    fn announce(&mut self, checks: &[Check], planned: &[PlannedCheck]) {
        let is_planned = |check: &&Check| planned.iter().any(|planned| planned.name == check.name());
        self.lab.announce(checks.iter().filter(is_planned).map(Announced::from).collect());
    }

    /// Opens the device; `None` if the driver prevents that by an incident, which is then the result of the run, or if the
    /// run was asked to stop before.
    fn start(&mut self) -> Result<Option<LabReady>, LabError> {
        let ready = self.open()?;
        if let Some(ready) = &ready {
            self.write_ready(ready.clone());
        }
        Ok(ready)
    }

    fn open(&mut self) -> Result<Option<LabReady>, LabError> {
        let mut told =
            Told { journal: &mut self.journal, broken: &mut self.broken, progress: Progress::new(), killed: false };
        let ready = self.lab.start(&mut told);
        let killed = told.killed;
        drop(told);
        self.write_incidents();
        match ready {
            Ok(ready) => Ok(Some(ready)),
            Err(error) if self.kept_shut => {
                say(&error.to_string());
                Ok(None)
            }
            Err(_) if self.is_stopping() => Ok(None),
            Err(error) => {
                self.write(Event::LabFailed { reason: error.to_string(), killed });
                Err(error)
            }
        }
    }

    fn write_ready(&mut self, ready: LabReady) {
        self.kept_shut = false;
        self.was_open = true;
        self.write(Event::LabReady(Box::new(ready)));
    }

    /// What went wrong while no check ran goes to the journal.
    fn write_incidents(&mut self) {
        for incident in self.lab.incidents() {
            self.kept_shut |= incident.keeps_shut(self.was_open);
            self.write(Event::Incident(Box::new(incident)));
        }
    }

    /// Runs a check; `None` if the run was asked to stop before there was a result.
    fn run(&mut self, check: &str) -> Option<Outcome> {
        if self.is_stopping() {
            return None;
        }
        if self.broken.is_some() {
            let why = "the journal could not be written any more";
            return Some(Outcome::without_judgement(Verdict::Blocked, why));
        }
        self.recover();
        // One that is not run was not started either: the journal tells the two apart.
        if !matches!(self.lost, Some(Lost::ForGood(_))) {
            self.write(Event::CheckStarted { check: check.to_owned() });
        }
        let outcome = match self.attempt(check) {
            Attempt::Over(outcome) => *outcome,
            // The lab runs it alone now, so that this happens once.
            Attempt::Again => return self.run(check),
            Attempt::Stopped => return None,
        };
        self.conclude(check, &outcome);
        Some(outcome)
    }

    /// Has the lab run a check, if there still is one.
    fn attempt(&mut self, check: &str) -> Attempt {
        if let Some(Lost::ForGood(why)) = &self.lost {
            self.passed_over += 1;
            return Attempt::Over(Box::new(Outcome::without_judgement(Verdict::Blocked, why.clone())));
        }
        let answer = self.lab.run(check);
        self.write_incidents();
        match answer {
            Answer::Done(done) => {
                let Done { outcome, lost } = *done;
                self.lost = lost.map(Lost::Recoverable);
                Attempt::Over(Box::new(outcome))
            }
            Answer::Again(why) => {
                self.lost = Some(Lost::Recoverable(why));
                Attempt::Again
            }
            Answer::Stopped => Attempt::Stopped,
        }
    }

    /// What comes of something that is not in the plan; `None` if the run was asked to stop before.
    fn outcome_of(&mut self, order: &str) -> Option<Outcome> {
        while !self.is_stopping() {
            self.recover();
            match self.attempt(order) {
                Attempt::Over(outcome) => return Some(*outcome),
                Attempt::Again => {}
                Attempt::Stopped => break,
            }
        }
        None
    }

    fn conclude(&mut self, check: &str, outcome: &Outcome) {
        if outcome.verdict != Verdict::Blocked {
            self.restarts = 0;
        }
        self.verdicts.push(outcome.verdict);
        self.write(Event::CheckFinished { check: check.to_owned(), outcome: Box::new(outcome.clone()) });
    }

    /// Runs the checks that are left when nobody can be told of each any more.
    fn run_rest(&mut self, planned: &[PlannedCheck], folder: &RunFolder) {
        let folder = folder.path().display();
        say(&format!("the output cannot be written any more; the checks run on, and {folder} will have the reports"));
        for check in planned.iter().skip(self.verdicts.len()) {
            self.run(&check.name);
        }
    }

    fn recover(&mut self) {
        if self.is_stopping() {
            return;
        }
        let Some(Lost::Recoverable(reason)) = self.lost.take_if(|lost| matches!(lost, Lost::Recoverable(_))) else {
            return;
        };
        if self.restarts >= RESTARTS_WITHOUT_PROGRESS {
            let why = format!("the lab was lost {} times in a row and no check came to a verdict", self.restarts + 1);
            self.lost = Some(Lost::ForGood(format!("{why}; the last time: {reason}")));
            return;
        }
        self.restarts += 1;
        for _ in 0..RECOVERY_TRIES {
            self.write(Event::LabRestarted { reason: reason.clone() });
            let mut told = Told {
                journal: &mut self.journal,
                broken: &mut self.broken,
                progress: Progress::between_trials(),
                killed: false,
            };
            let recovered = self.lab.recover(&mut told);
            drop(told);
            self.write_incidents();
            match recovered {
                Ok(ready) => {
                    self.lost = None;
                    self.write_ready(ready);
                    return;
                }
                Err(error) => self.lost = Some(Lost::ForGood(format!("{reason}; {error}"))),
            }
        }
    }

    /// Puts the lab away, ends the journal, and makes the reports of it.
    fn finish(&mut self, folder: &RunFolder) -> Result<report::Run, RunError> {
        self.stage(Stage::ChecksDone);
        let mut told =
            Told { journal: &mut self.journal, broken: &mut self.broken, progress: Progress::new(), killed: false };
        self.lab.stop(&mut told);
        drop(told);
        self.write_incidents();
        let missing = self.planned.saturating_sub(self.verdicts.len());
        let stopped_by = stop::requested().filter(|_| missing > 0);
        if self.broken.is_none() {
            // Judged from what is on disk, as every report will be.
            let report::Run { verdict, exit, .. } =
                report::Run::read(&folder.journal()).map_err(report::ReportError::Journal)?;
            self.write(Event::RunFinished { verdict, exit, left: missing + self.passed_over, stopped_by });
        }
        match self.broken.take() {
            Some(error) => Err(RunError::Folder { path: folder.journal(), why: error }),
            None => folder.report(&self.journal),
        }
    }

    fn stage(&mut self, stage: Stage) {
        self.write(Event::Stage { stage });
    }

    fn write(&mut self, event: Event) {
        if self.broken.is_some() {
            return;
        }
        if let Err(error) = self.journal.write(event) {
            self.broken = Some(error);
        }
    }
}

/// The summary goes where the trials went, unless that is a machine's.
fn summarize(run: &report::Run, folder: &RunFolder, arguments: &Arguments) {
    let to_machine = arguments.format == Some(FormatSetting::Json) || arguments.logfile.is_some();
    let choice = match arguments.color {
        Some(libtest_mimic::ColorSetting::Always) => anstream::ColorChoice::Always,
        Some(libtest_mimic::ColorSetting::Never) => anstream::ColorChoice::Never,
        _ => anstream::ColorChoice::Auto,
    };
    // A summary that nobody can read is no reason for another exit code.
    let _ = match to_machine {
        true => {
            let mut out = anstream::AutoStream::new(std::io::stderr(), choice);
            report::console::write(run, folder.path(), report::console::terminal_width(), &mut out)
                .and_then(|()| out.flush())
        }
        false => {
            let mut out = anstream::AutoStream::new(std::io::stdout(), choice);
            report::console::write(run, folder.path(), report::console::terminal_width(), &mut out)
                .and_then(|()| out.flush())
        }
    };
}
