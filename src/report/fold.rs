//! Folds the events of a journal into a [`Run`].
//!
//! A run may die at any byte of its journal, so a last line without its newline is left out. Anything else that is
//! not as the harness writes it is refused: a report that has to guess is worse than none.

use std::collections::HashMap;

use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::incident::tests_of;
use super::journal_error::{Contradiction, JournalFault};
use super::run::{CheckRun, LabFailure, Remaining, Restart, Run, Timeline};
use crate::harness::coverage::{Tally, judge};
use crate::harness::incident::Incident;
use crate::harness::journal::{Entry, Event, FORMAT, LabReady, RunStarted, Stage};
use crate::harness::outcome::Outcome;
use crate::harness::verdict::{Exit, Extent, RunVerdict, Verdict};
use crate::requirement::Level;
use crate::uapi::stop::StopSignal;

/// Makes a run of the bytes of its journal.
pub fn fold(bytes: &[u8]) -> Result<Run, JournalFault> {
    Ok(fold_all(bytes)?.end())
}

/// What a run has left to do, and where its journal is gone on with.
pub struct Left {
    /// The checks that were never run.
    pub waiting: Vec<String>,
    /// The checks that were running when the run, or its lab, was lost.
    pub interrupted: Vec<String>,
    /// The end of what is whole in the journal.
    pub lines: u64,
    /// How many bytes that is.
    pub bytes: u64,
}

/// Makes a run of the bytes of its journal, and says what it has left to do.
pub fn fold_to_go_on(bytes: &[u8]) -> Result<(Run, Left), JournalFault> {
    let fold = fold_all(bytes)?;
    let those = |wanted: fn(&Progress) -> bool| {
        let checks = fold.began.planned.iter().zip(&fold.progress);
        checks.filter(|(_, progress)| wanted(progress)).map(|(planned, _)| planned.name.clone()).collect()
    };
    let left = Left {
        waiting: those(Progress::is_waiting),
        interrupted: those(Progress::is_interrupted),
        lines: fold.next,
        bytes: split_tail(bytes).0.len() as u64,
    };
    Ok((fold.end(), left))
}

fn fold_all(bytes: &[u8]) -> Result<Fold, JournalFault> {
    let (whole, rest) = split_tail(bytes);
    let mut lines = whole.split_inclusive(|byte| *byte == b'\n');
    let first = lines.next().ok_or(JournalFault::Empty)?;

    let mut fold = Fold::begin(first)?;
    for (index, line) in lines.enumerate() {
        fold.take(index + 2, line)?;
    }
    if !rest.is_empty() {
        fold.notes.push(format!("the last line of the journal was cut off after {} bytes and is left out", rest.len()));
    }
    Ok(fold)
}

/// Separates the whole lines from what follows the last newline.
fn split_tail(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(newline) => bytes.split_at(newline + 1),
        None => (&[], bytes),
    }
}

/// How far a planned check has come.
enum Progress {
    /// It has not started.
    Waiting,
    /// It is running.
    Running,
    /// It was running when the lab was lost for this reason, and may start again.
    Lost(String),
    /// It was running when the run was cut off, and may start again now that the run was resumed.
    Interrupted,
    /// It was running when the run was asked to stop, and may start again once the run is resumed.
    Stopped(StopSignal),
    /// It was run, and is over.
    Over(Box<Outcome>),
    /// It was not run, and this says why.
    PassedOver(Box<Outcome>),
}

impl Progress {
    /// Whether the check runs when the run is resumed.
    fn is_waiting(&self) -> bool {
        matches!(self, Progress::Waiting | Progress::PassedOver(_) | Progress::Stopped(_))
    }

    /// Whether the check runs when the run is resumed with `--retry`.
    fn is_interrupted(&self) -> bool {
        matches!(self, Progress::Running | Progress::Lost(_) | Progress::Interrupted)
    }

    /// Whether the check was run, or told to be one that does not apply.
    fn had_its_turn(&self) -> bool {
        matches!(self, Progress::Over(_))
    }
}

/// What is known after some lines.
struct Fold {
    began: RunStarted,
    /// Where each check stands in the plan.
    place: HashMap<String, usize>,
    progress: Vec<Progress>,
    ready: Option<LabReady>,
    timeline: Timeline,
    restarts: Vec<Restart>,
    incidents: Vec<Incident>,
    /// Whether an incident kept the device from being opened, as far as it is known.
    kept_shut: bool,
    finished: Option<(RunVerdict, Exit)>,
    stopped_by: Option<StopSignal>,
    lab_failure: Option<LabFailure>,
    notes: Vec<String>,
    next: u64,
}

impl Fold {
    /// Reads the first line, which says what the run is.
    fn begin(line: &[u8]) -> Result<Fold, JournalFault> {
        refuse_newer(line)?;
        let contradiction = |what| Err(JournalFault::Contradictory { line: 1, what });
        let entry = parse(1, line, 0)?;
        let Event::RunStarted(began) = entry.event else {
            return contradiction(Contradiction::NotBegun);
        };
        if OffsetDateTime::parse(&began.started, &Rfc3339).is_err() {
            return contradiction(Contradiction::NoDate(began.started));
        }
        let mut place = HashMap::new();
        for (index, check) in began.planned.iter().enumerate() {
            if place.insert(check.name.clone(), index).is_some() {
                return contradiction(Contradiction::PlannedTwice(check.name.clone()));
            }
        }
        Ok(Fold {
            progress: began.planned.iter().map(|_| Progress::Waiting).collect(),
            began: *began,
            place,
            ready: None,
            timeline: Timeline { last_event: entry.t, ..Timeline::default() },
            restarts: Vec::new(),
            incidents: Vec::new(),
            kept_shut: false,
            finished: None,
            stopped_by: None,
            lab_failure: None,
            notes: Vec::new(),
            next: 1,
        })
    }

    /// Reads one more line.
    fn take(&mut self, line: usize, text: &[u8]) -> Result<(), JournalFault> {
        let entry = parse(line, text, self.next)?;
        self.next += 1;
        self.timeline.last_event = entry.t;
        self.event(entry.t, entry.event).map_err(|what| JournalFault::Contradictory { line, what })
    }

    fn event(&mut self, t: f64, event: Event) -> Result<(), Contradiction> {
        if self.finished.is_some() && !matches!(event, Event::RunResumed { .. }) {
            return Err(Contradiction::AfterTheEnd);
        }
        match event {
            Event::RunStarted(_) => return Err(Contradiction::BegunTwice),
            Event::Stage { stage } => self.timeline.reach(stage, t),
            Event::LabReady(ready) => self.lab_ready(t, *ready),
            Event::LabFailed { reason, killed } => self.lab_failure = Some(LabFailure { reason, killed }),
            Event::CheckStarted { check } => self.check_started(check)?,
            Event::CheckFinished { check, outcome } => self.check_finished(check, outcome)?,
            Event::Incident(incident) => {
                self.kept_shut |= incident.keeps_shut(self.ready.is_some());
                self.incidents.push(*incident);
            }
            Event::LabRestarted { reason } => self.lab_restarted(t, reason),
            Event::RunResumed { .. } => self.run_resumed(t),
            Event::RunFinished { verdict, exit, stopped_by, .. } => {
                self.timeline.verdict = Some(t);
                self.finished = Some((verdict, exit));
                self.run_stopped(stopped_by);
            }
        }
        Ok(())
    }

    fn lab_ready(&mut self, t: f64, ready: LabReady) {
        self.kept_shut = false;
        self.lab_failure = None;
        if let Some(restart) = self.restarts.last_mut() {
            restart.ready.get_or_insert(t);
        }
        let Some(first) = &self.ready else {
            self.ready = Some(ready);
            return;
        };
        let same = first.kernel == ready.kernel
            && first.identity == ready.identity
            && first.beside == ready.beside
            && first.capabilities == ready.capabilities;
        if !same {
            self.notes.push(format!(
                "after a restart the lab was not the same: kernel {}, device {}, driver {}",
                ready.kernel, ready.identity.name, ready.identity.driver
            ));
        }
    }

    fn lab_restarted(&mut self, t: f64, reason: String) {
        for progress in &mut self.progress {
            if matches!(progress, Progress::Running) {
                *progress = Progress::Lost(reason.clone());
            }
        }
        self.restarts.push(Restart { at: t, ready: None, reason });
    }

    /// Nothing is to blame for what was running when somebody asked the run to stop.
    fn run_stopped(&mut self, by: Option<StopSignal>) {
        self.stopped_by = by;
        let Some(by) = by else { return };
        for progress in &mut self.progress {
            if matches!(progress, Progress::Running | Progress::Lost(_)) {
                *progress = Progress::Stopped(by);
            }
        }
    }

    /// What has a verdict keeps it. What never ran has its turn again.
    fn run_resumed(&mut self, t: f64) {
        self.finished = None;
        self.stopped_by = None;
        for progress in &mut self.progress {
            match progress {
                Progress::PassedOver(_) | Progress::Stopped(_) => *progress = Progress::Waiting,
                Progress::Running | Progress::Lost(_) => *progress = Progress::Interrupted,
                Progress::Waiting | Progress::Interrupted | Progress::Over(_) => {}
            }
        }
        self.restarts.push(Restart {
            at: t,
            ready: None,
            reason: "the run had ended early and was resumed".to_owned(),
        });
    }

    fn check_started(&mut self, check: String) -> Result<(), Contradiction> {
        let progress = self.progress_of(&check)?;
        match progress {
            Progress::Waiting | Progress::Lost(_) | Progress::Interrupted => *progress = Progress::Running,
            Progress::Running | Progress::Over(_) | Progress::PassedOver(_) | Progress::Stopped(_) => {
                return Err(Contradiction::StartedTwice(check));
            }
        }
        Ok(())
    }

    fn check_finished(&mut self, check: String, outcome: Box<Outcome>) -> Result<(), Contradiction> {
        if keeps_what_it_broke(&outcome) {
            return Err(Contradiction::KeptAndBroken(check));
        }
        let verdict = outcome.verdict;
        let progress = self.progress_of(&check)?;
        let possible = match progress {
            Progress::Running => true,
            Progress::Waiting if verdict == Verdict::Blocked => {
                *progress = Progress::PassedOver(outcome);
                return Ok(());
            }
            Progress::Waiting => verdict == Verdict::Skip,
            Progress::Lost(_) => verdict != Verdict::Pass,
            Progress::Interrupted | Progress::Stopped(_) => false,
            Progress::Over(_) | Progress::PassedOver(_) => return Err(Contradiction::FinishedTwice(check)),
        };
        if !possible {
            return Err(Contradiction::FinishedUnstarted(check));
        }
        *progress = Progress::Over(outcome);
        Ok(())
    }

    fn progress_of(&mut self, check: &str) -> Result<&mut Progress, Contradiction> {
        self.place
            .get(check)
            .and_then(|place| self.progress.get_mut(*place))
            .ok_or_else(|| Contradiction::Unplanned(check.to_owned()))
    }

    /// Judges what there is.
    fn end(mut self) -> Run {
        let cut_off = self.finished.is_none();
        let left = self.left();
        let never_ran = self.why_checks_never_ran();
        // Where the driver keeps the device from being opened, that is the result of the whole run.
        let extent = match self.kept_shut || self.progress.iter().all(Progress::had_its_turn) {
            true => Extent::Whole,
            false => Extent::Part,
        };
        let mut checks: Vec<CheckRun> = self
            .began
            .planned
            .iter()
            .zip(self.progress)
            .map(|(planned, progress)| CheckRun {
                name: planned.name.clone(),
                requirements: planned.requirements.clone(),
                outcome: outcome_of(progress, cut_off, &never_ran),
            })
            .collect();
        let mut tally = Tally::new(self.began.suite, self.began.require);
        for check in &checks {
            tally.take(check.requirements.iter().map(String::as_str), &check.outcome);
        }
        let incidents = tests_of(&self.incidents);
        incidents.iter().for_each(|incident| tally.take_incident(&incident.outcome));
        checks.extend(incidents);

        let verdicts: Vec<Verdict> = checks.iter().map(|check| check.outcome.verdict).collect();
        let coverage = tally.coverage();
        let (verdict, exit) = judge(&verdicts, extent, self.began.strict, &coverage);
        if let Some(written) = self.finished
            && written != (verdict, exit)
        {
            self.notes.push(format!(
                "the journal ends with \"{}\" (exit code {}), but its checks come to \"{verdict}\" (exit code {})",
                written.0, written.1 as u8, exit as u8
            ));
        }
        self.timeline.sum_up();
        Run {
            began: self.began,
            ready: self.ready,
            lab_failure: self.lab_failure,
            timeline: self.timeline,
            restarts: self.restarts,
            checks,
            cut_off,
            stopped_by: self.stopped_by,
            left,
            notes: self.notes,
            extent,
            baseline: None,
            coverage,
            verdict,
            exit,
        }
    }

    fn why_checks_never_ran(&self) -> String {
        if let Some(signal) = self.stopped_by {
            return format!("did not run: the run was asked to stop ({signal})");
        }
        if self.kept_shut {
            return "did not run: the device could not be opened".to_owned();
        }
        let why = match (self.finished.is_some(), self.ready.is_some()) {
            (true, _) => "the run ended without it",
            (false, false) => "the run was cut off before the lab was ready",
            (false, true) => "the run was cut off before its turn",
        };
        format!("did not run: {why}")
    }

    /// How many checks `run --resume` would run.
    fn left(&self) -> Remaining {
        let count = |wanted: fn(&Progress) -> bool| self.progress.iter().filter(|progress| wanted(progress)).count();
        Remaining { waiting: count(Progress::is_waiting), interrupted: count(Progress::is_interrupted) }
    }
}

impl Timeline {
    fn reach(&mut self, stage: Stage, t: f64) {
        match stage {
            Stage::EnvironmentReady => self.environment_ready = self.environment_ready.or(Some(t)),
            Stage::PowerOn => self.power_on = self.power_on.or(Some(t)),
            Stage::GuestUp => self.guest_up = self.guest_up.or(Some(t)),
            Stage::DeviceReady => self.device_ready = self.device_ready.or(Some(t)),
            Stage::ChecksDone => self.checks_done = Some(t),
            Stage::PowerOff => self.power_off = Some(t),
        }
    }

    fn sum_up(&mut self) {
        let microseconds = |seconds: f64| (seconds * 1e6).round() / 1e6;
        self.power_on_to_verdict =
            self.verdict.zip(self.power_on).map(|(verdict, power_on)| microseconds(verdict - power_on));
    }
}

fn outcome_of(progress: Progress, cut_off: bool, never_ran: &str) -> Outcome {
    let blocked = |message: &str| Outcome::without_judgement(Verdict::Blocked, message);
    match progress {
        Progress::Over(outcome) | Progress::PassedOver(outcome) => *outcome,
        Progress::Waiting => blocked(never_ran),
        Progress::Stopped(signal) => blocked(&format!("was running when the run was asked to stop ({signal})")),
        Progress::Interrupted => blocked("was running when the run was cut off; --resume with --retry runs it again"),
        Progress::Lost(reason) => blocked(&format!("was running when the lab was lost: {reason}")),
        Progress::Running if cut_off => blocked("was running when the run was cut off"),
        Progress::Running => blocked("started, but the run ended without its result"),
    }
}

/// Whether an outcome accuses the device of nothing although it broke more than advice.
fn keeps_what_it_broke(outcome: &Outcome) -> bool {
    !outcome.verdict.is_finding() && outcome.broken.iter().any(|broken| broken.level != Level::Advice)
}

/// Reads one line, whose event has this number.
fn parse(line: usize, text: &[u8], expected: u64) -> Result<Entry, JournalFault> {
    let entry: Entry =
        serde_json::from_slice(text).map_err(|error| JournalFault::Garbled { line, why: without_place(&error) })?;
    if entry.seq != expected {
        return Err(JournalFault::OutOfSequence { line, expected, found: entry.seq });
    }
    Ok(entry)
}

/// Refuses a form that this version does not know, before it stumbles over what is new in it.
fn refuse_newer(line: &[u8]) -> Result<(), JournalFault> {
    #[derive(Deserialize)]
    struct Head {
        format: u32,
        #[serde(default)]
        tool: String,
    }
    match serde_json::from_slice::<Head>(line) {
        Ok(head) if head.format > FORMAT => Err(JournalFault::Newer { found: head.format, tool: head.tool }),
        _ => Ok(()),
    }
}

/// What the JSON reader says, without its own count of lines: it sees one line at a time.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(place) => text[..place].to_owned(),
        None => text,
    }
}
