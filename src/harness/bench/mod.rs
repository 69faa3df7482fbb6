//! The bench: the device under test with everything that a check needs around it.
//!
//! A check says three things to it: bring the device there (`bring_to`, which accuses nobody when it fails), do one
//! thing (`request`, `reset`, `read`), and judge (`expect_...`, each of which names the requirement that it proves).
//! The bench writes down all that is done, and puts the device back when the check is over.

mod bring;
mod calibration;
mod crowd;
mod data_fd;
mod expect;
mod kernel_version;
mod operations;
mod stimuli;
mod tell;
mod transfer;
mod waiting;
mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::device::migration::Transition;
use crate::device::{Device, Identity};
use crate::fsm::Route;
use crate::requirement::{Level, Requirement, discover, fsm, reset};
use crate::stimulus::KeyUse;
use crate::uapi::Errno;
use crate::uapi::state::{Capabilities, State};

use super::check::{Check, Environment, Interruption, Judgement, Lack, Needs, Obstacle, Skip};
use super::measure::Sample;
use super::outcome::{Broken, ObservedPath, Outcome};
use super::record::Recorder;
use super::session::{Direction, Session};
use super::trace::Tracer;
use super::verdict::{Verdict, verdict_of};
pub use bring::no_session;
use calibration::Calibration;
pub use crowd::{Act, Seen};
pub use data_fd::Estimates;
pub use kernel_version::{Fix, Host, KernelVersion};
pub use operations::Drained;
use stimuli::Stirred;
pub use stimuli::{DmaArea, Interrupts};
pub use tell::{
    errno_name, names_of, placement_name, tell_readiness, tell_return, tell_size, tell_state, tell_transition,
};
pub use transfer::{Saved, Segmentation, tell_difference};
pub use waiting::{Raced, Wait, WaitEnd, Waited};
pub use walk::{Detail, Walked};

/// How long the repetitions of one check may take.
const REPETITION_LIMIT: Duration = Duration::from_millis(1500);

/// How long what wears a device out takes at once.
const MOMENT: Duration = Duration::from_millis(40);
/// How often that is at most.
const MOST_WEAR: usize = 100;

/// The device under test, and all that happened to it since the check began.
pub struct Bench {
    device: Box<dyn Device>,
    migration: Migration,
    state_at_open: Result<u32, Errno>,
    host: Host,
    tracer: Result<Tracer, String>,
    recorder: Recorder,
    proven: Vec<&'static Requirement>,
    broken: Vec<Broken>,
    /// What the check that runs declares; `None` outside a check.
    declared: Option<Declared>,
    /// What it judged all the same.
    undeclared: Option<&'static Requirement>,
    /// What has brought the device to the state that it is in.
    arrival: Arrival,
    /// Where the last request led that succeeded.
    stands_in: Option<State>,
    /// Where it stood when threads began to wait.
    waited_in: Option<State>,
    /// What was done with the session since it began.
    session: SessionHistory,
    paths: Vec<ObservedPath>,
    /// The kernel's steps of every request, whether a check looked at them or not.
    trail: Vec<ObservedPath>,
    /// The state that was asked for last, until the kernel's steps to it were taken.
    asked: Option<State>,
    notes: Vec<String>,
    samples: Vec<Sample>,
    /// Requirements of the check that it does not judge, though it goes to its end.
    left_out: BTreeMap<String, Skip>,
    /// Which keys of the profile the check asked for.
    keys: KeyUse,
    saved: Option<Arc<Saved>>,
    calibration: Calibration,
    stirred: Stirred,
    /// How many areas were mapped for DMA.
    areas: u32,
}

/// What has brought the device to the state that it is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrival {
    /// A transition, or the first open.
    Transition,
    /// A reset.
    Reset,
    /// Closing and opening.
    Reopen,
}

/// What was done with the session that the device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SessionHistory {
    /// There is none.
    None,
    /// It began.
    Begun,
    /// The device moved inside the saving group.
    Moved,
    /// The state that the device was in was asked for.
    AskedAgain,
    /// Its data_fd was closed.
    Closed,
}

/// What a check declares.
struct Declared {
    requirements: Vec<&'static Requirement>,
    accuses_any: bool,
}

impl Declared {
    fn allow(&self, requirement: &'static Requirement, kept: bool) -> bool {
        (self.accuses_any && !kept) || self.requirements.contains(&requirement)
    }
}

/// What the device says of its own migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migration {
    /// It has this set.
    Has(Capabilities),
    /// It has none.
    Absent,
    /// It answers flags that the uAPI does not define, or an errno that it should not.
    Nonsense(Result<u64, Errno>),
}

/// A request for a state, and what came of it.
pub struct Requested {
    /// What was asked.
    pub asked: String,
    /// What the protocol says about it.
    pub route: Route,
    /// What the device answered.
    pub answer: Result<Transition, Errno>,
}

impl Requested {
    /// The requirement that a permitted transition has to lead to its target.
    pub fn requirement(&self) -> &'static Requirement {
        match self.route.is_direct() {
            true => &fsm::ARC,
            false => &fsm::COMBINATION,
        }
    }

    /// Takes the session that the request began.
    pub fn session(self) -> Option<Session> {
        let transition = self.answer.ok()?;
        let direction = match State::from_number(transition.device_state) {
            Some(State::Resuming) => Direction::Resuming,
            _ => Direction::Saving,
        };
        Some(Session::new(transition.stream?, direction))
    }
}

/// What was done again and again, to wear a device out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batch {
    /// How often.
    pub times: usize,
    /// How long that took.
    pub took: Duration,
}

/// How often something is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rounds {
    /// How many rounds there are at most.
    pub times: usize,
    /// Of how many kinds they are, by turns.
    pub kinds: usize,
}

/// What a bench leaves behind after one check.
pub struct Ran {
    /// The check's outcome.
    pub outcome: Outcome,
    /// Why the device cannot be used any more, if it cannot.
    pub lost: Option<String>,
}

impl Bench {
    /// Takes an open device.
    pub fn new(device: Box<dyn Device>, host: Host, tracer: Result<Tracer, String>, recorder: Recorder) -> Bench {
        let migration = match device.migration_flags() {
            Err(Errno::ENOTTY) => Migration::Absent,
            answer => match answer.ok().and_then(Capabilities::from_flags) {
                Some(set) => Migration::Has(set),
                None => Migration::Nonsense(answer),
            },
        };
        let state_at_open = device.state().map(|answer| answer.device_state);
        Bench {
            device,
            migration,
            state_at_open,
            host,
            tracer,
            recorder,
            proven: Vec::new(),
            broken: Vec::new(),
            declared: None,
            undeclared: None,
            arrival: Arrival::Transition,
            stands_in: None,
            waited_in: None,
            session: SessionHistory::None,
            paths: Vec::new(),
            trail: Vec::new(),
            asked: None,
            notes: Vec::new(),
            samples: Vec::new(),
            left_out: BTreeMap::new(),
            keys: KeyUse::default(),
            saved: None,
            calibration: Calibration::default(),
            stirred: Stirred::default(),
            areas: 0,
        }
    }

    /// What the device is.
    pub fn identity(&self) -> &Identity {
        self.device.identity()
    }

    /// What the device says of its migration.
    pub fn migration(&self) -> Migration {
        self.migration
    }

    /// Whether the kernel's own path can be seen, and if not, why.
    pub fn tracing(&self) -> Result<(), String> {
        self.tracer.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    /// The kernel that the device lives in.
    pub fn kernel(&self) -> KernelVersion {
        self.host.kernel
    }

    /// Does something, and says how long it took.
    ///
    /// # Errors
    /// Its interruption.
    pub fn timed<T>(&mut self, action: impl FnOnce(&mut Bench) -> Judgement<T>) -> Judgement<(T, Duration)> {
        let began = Instant::now();
        let done = action(self)?;
        Ok((done, began.elapsed()))
    }

    /// Does something again and again; fewer times, with a remark, on a device that is too slow for all of them. The
    /// rounds are of so many kinds, by turns. A device that breaks off once a round of each kind has worked breaks the
    /// requirement that is about repetition.
    ///
    /// # Errors
    /// The first interruption.
    pub fn repeat(
        &mut self,
        requirement: &'static Requirement,
        asked: &str,
        Rounds { times, kinds }: Rounds,
        mut round: impl FnMut(&mut Bench, usize) -> Judgement,
    ) -> Judgement {
        let began = Instant::now();
        for time in 0..times {
            if began.elapsed() > REPETITION_LIMIT {
                self.note(format!("there was time for {time} of {times} rounds"));
                return Ok(());
            }
            let done = round(self, time);
            self.judge_round(requirement, asked, time >= kinds, time, done)?;
        }
        Ok(())
    }

    /// What blocks a round that has worked before is not another requirement, but what the rounds before have left.
    fn judge_round(
        &mut self,
        requirement: &'static Requirement,
        asked: &str,
        has_worked: bool,
        time: usize,
        done: Judgement,
    ) -> Judgement {
        match done {
            Err(Interruption::Blocked { by: Obstacle::Requirement(_), why }) if has_worked => {
                let actual = format!("round {}: {why}", time + 1);
                self.judge(requirement, false, asked, "each round to work as the first did", actual)
            }
            done => done,
        }
    }

    /// Does the same thing as often as it fits into a moment, but not less often than that, nor more often than a hundred
    /// times; or as often as the user wants it. Says how often. What was done is written down of the first time.
    ///
    /// # Errors
    /// The first interruption.
    pub fn wear_out(&mut self, least: usize, round: impl Fn(&mut Bench) -> Judgement) -> Judgement<Batch> {
        let wanted = self.host.wear;
        let is_enough = |times: usize, took: Duration| match wanted {
            Some(wanted) => times >= wanted.max(least),
            None => times >= least && (times >= MOST_WEAR || took > MOMENT),
        };
        self.wear_out_until(is_enough, round)
    }

    /// The same so many times.
    ///
    /// # Errors
    /// The first interruption.
    pub fn wear_out_times(&mut self, times: usize, round: impl Fn(&mut Bench) -> Judgement) -> Judgement<Batch> {
        self.wear_out_until(|done, _| done >= times, round)
    }

    /// The same so many times, or as often as it fits into the time.
    ///
    /// # Errors
    /// The first interruption.
    pub fn wear_out_within(
        &mut self,
        times: usize,
        limit: Duration,
        round: impl Fn(&mut Bench) -> Judgement,
    ) -> Judgement<Batch> {
        self.wear_out_until(|done, took| done >= times || took > limit, round)
    }

    fn wear_out_until(
        &mut self,
        is_enough: impl Fn(usize, Duration) -> bool,
        round: impl Fn(&mut Bench) -> Judgement,
    ) -> Judgement<Batch> {
        let began = Instant::now();
        let mut times = 0;
        while !is_enough(times, began.elapsed()) {
            self.round_of_wear(times, &round)?;
            times += 1;
        }
        Ok(Batch { times, took: began.elapsed() })
    }

    fn round_of_wear(&mut self, time: usize, round: impl Fn(&mut Bench) -> Judgement) -> Judgement {
        let done = self.recorder.recorded();
        round(self)?;
        if time > 0 {
            self.recorder.forget_since(done);
        }
        Ok(())
    }

    /// How many sessions each batch of the wear chapter has, if the user wants so many.
    pub fn wear(&self) -> Option<usize> {
        self.host.wear
    }

    /// Says why requirements of the check are not judged although it runs to its end.
    pub fn leave_out(&mut self, requirements: &[&'static Requirement], why: &Skip) {
        self.left_out.extend(requirements.iter().map(|requirement| (requirement.id.to_owned(), why.clone())));
    }

    /// Runs one check from RUNNING, and puts the device back to RUNNING.
    pub fn run(&mut self, check: &Check) -> Ran {
        let began = Instant::now();
        self.begin(check);
        self.calibration.judges(true);
        let judgement = self.applies(check).and_then(|()| check.body(self));
        let mut judgement = self.again_with_keys(check, judgement);
        if self.may_be_helped(&judgement) {
            self.begin_anew(check);
            let second = check.body(self);
            judgement = self.again_with_keys(check, second);
        }
        self.calibration.judges(false);
        let mut outcome = self.outcome(judgement);
        outcome.evidence.operations = self.recorder.take();
        // A walk plays everything, and names the steps that matter.
        if outcome.verdict.is_finding() && check.chapter() != "walk" {
            outcome.evidence.notes.extend(self.what_was_played(&outcome.played));
        }
        let nothing_went_wrong = matches!(outcome.verdict, Verdict::Pass | Verdict::Skip);
        if !nothing_went_wrong && self.migration != Migration::Absent && self.reset().is_err() {
            // What is wrong may not show in the state. Whether this works shows there.
            let _ = self.reopen();
        }
        let lost = self.put_back(nothing_went_wrong);
        if lost.is_some() {
            outcome.evidence.operations.extend(self.recorder.take());
        }
        outcome.seconds = began.elapsed().as_secs_f64();
        Ran { outcome, lost }
    }

    fn begin(&mut self, check: &Check) {
        self.recorder.clear();
        self.declared =
            Some(Declared { requirements: check.requirements().to_vec(), accuses_any: check.may_accuse_any() });
        self.undeclared = None;
        self.proven.clear();
        self.broken.clear();
        self.paths.clear();
        self.trail.clear();
        self.asked = None;
        self.notes.clear();
        self.samples.clear();
        self.left_out.clear();
        self.keys = KeyUse::default();
    }

    /// A check that uses a key of the profile before anything is known of it is run again once something is.
    fn again_with_keys(&mut self, check: &Check, mut judgement: Judgement) -> Judgement {
        while let Some(key) = self.take_wanted() {
            if let Some(why) = self.put_back(true).or_else(|| self.calibrate(key)) {
                return Err(Interruption::BlockedByKey { key, why });
            }
            self.begin(check);
            judgement = check.body(self);
        }
        judgement
    }

    /// Whether opening the device again may let a blocked check judge. It may stand in a state of which GET says nothing.
    fn may_be_helped(&self, judgement: &Judgement) -> bool {
        let is_blocked = matches!(judgement, Err(Interruption::Blocked { by: Obstacle::Requirement(_), .. }));
        is_blocked && self.broken.is_empty() && matches!(self.migration, Migration::Has(_))
    }

    fn begin_anew(&mut self, check: &Check) {
        // What both answer shows when the check runs again.
        let _ = self.return_to_running(true);
        let _ = self.settle();
        let _ = self.reopen();
        self.begin(check);
    }

    fn applies(&self, check: &Check) -> Judgement {
        if let Some(fix) = check.hangs_without().filter(|fix| !fix.is_in(self.host.kernel) && !self.host.may_hang) {
            let why = format!(
                "on this kernel ({}) it can leave a process spinning in the kernel until a reboot; Linux {fix} have the \
                 fix",
                self.host.kernel
            );
            let what = Lack::Option { option: "--may-hang".to_owned(), why };
            return Err(Interruption::Skip(Skip::Lacks { what }));
        }
        match (check.needs(), self.migration) {
            (Needs::Migration, Migration::Absent) => does_not_apply("the device has no migration"),
            (Needs::NoMigration, Migration::Has(_) | Migration::Nonsense(_)) => {
                does_not_apply("the device has migration")
            }
            (Needs::Migration, Migration::Nonsense(answer)) => Err(Interruption::blocked_by(
                &discover::FLAGS,
                format!(
                    "the capability set is not known: GET MIGRATION answers {}",
                    match answer {
                        Ok(flags) => format!("flags {flags:#x}"),
                        Err(errno) => errno_name(errno),
                    }
                ),
            )),
            _ => Ok(()),
        }
    }

    fn outcome(&mut self, judgement: Judgement) -> Outcome {
        let mut outcome = match (judgement, self.undeclared) {
            (_, Some(undeclared)) if self.broken.is_empty() => {
                defect(&format!("judges {}, which it does not declare", undeclared.id))
            }
            (Err(Interruption::Skip(skip)), _) if self.broken.is_empty() => Outcome::skipped(skip),
            (Err(Interruption::Blocked { by, why }), _) if self.broken.is_empty() => Outcome::blocked(by, why),
            (Err(Interruption::BlockedByKey { key, why }), _) if self.broken.is_empty() => {
                Outcome { blocked_by_key: Some(key), ..Outcome::without_judgement(Verdict::Blocked, why) }
            }
            _ => self.judged(),
        };
        outcome.proven = self.proven.iter().map(|r| r.id.to_owned()).collect();
        outcome.broken = std::mem::take(&mut self.broken);
        outcome.left_out = std::mem::take(&mut self.left_out);
        outcome.played = std::mem::take(&mut self.keys.played);
        outcome.lacked = std::mem::take(&mut self.keys.lacked);
        outcome.samples = std::mem::take(&mut self.samples);
        outcome.evidence.paths = self.take_paths(outcome.verdict);
        outcome.evidence.notes = std::mem::take(&mut self.notes);
        outcome
    }

    /// The verdict of what was judged: the worst level that is broken.
    fn judged(&self) -> Outcome {
        let worst = self.broken.iter().min_by_key(|broken| match broken.level {
            Level::Must => 0,
            Level::Should => 1,
            Level::Advice => 2,
        });
        match worst {
            Some(broken) => Outcome::without_judgement(
                verdict_of(broken.level),
                format!("{}: expected {}, got {}", broken.asked, broken.expected, broken.actual),
            ),
            None if self.proven.is_empty() => defect("judged nothing"),
            None => Outcome::without_judgement(Verdict::Pass, ""),
        }
    }

    /// Back to RUNNING after a check: the gentle way if nothing went wrong, else by reset, or by opening again where
    /// reset does not help.
    fn put_back(&mut self, nothing_went_wrong: bool) -> Option<String> {
        self.follow_kernel();
        if self.migration == Migration::Absent {
            return None;
        }
        match self.return_to_running(nothing_went_wrong) {
            Ok(()) => {
                // A reset, which is what helps, has been tried where something could not be settled.
                let _ = self.settle();
                None
            }
            Err(Interruption::Blocked { why, .. }) => Some(why),
            Err(Interruption::Broken | Interruption::Skip(_) | Interruption::BlockedByKey { .. }) => None,
        }
    }

    /// To RUNNING by a transition where that may be tried, else by reset, else by opening again.
    fn return_to_running(&mut self, by_transition: bool) -> Judgement {
        let Err(reset) = self.return_by_reset(by_transition) else {
            return Ok(());
        };
        let answered = tell_return(&reset);
        let opened = match self.reopen() {
            Ok(()) if self.is_running() => {
                self.note(format!(
                    "RESET, which answered {answered}, did not lead to RUNNING, so the device was opened again"
                ));
                return Ok(());
            }
            Ok(()) => "did not lead there".to_owned(),
            Err(why) => format!("failed ({why})"),
        };
        Err(Interruption::blocked_by(
            &reset::RUNNING,
            format!(
                "the device could not be brought back to RUNNING: reset answered {answered}, opening it again {opened}"
            ),
        ))
    }

    /// To RUNNING by a transition where that may be tried and leads there, else by reset. A function level reset takes a
    /// tenth of a second by the rules of PCI, a transition next to nothing, and a suite that resets after every check
    /// spends most of its time on it. Fails with what reset answered.
    ///
    /// # Errors
    /// What reset answered.
    pub fn return_by_reset(&mut self, by_transition: bool) -> Result<(), Result<i32, Errno>> {
        let here = self.get_state().ok().and_then(|answer| State::from_number(answer.device_state));
        if here == Some(State::Running) || (by_transition && self.walk_back(here)) {
            return Ok(());
        }
        let reset = self.reset();
        match self.is_running() {
            true => Ok(()),
            false => Err(reset),
        }
    }

    /// Asks for RUNNING, where it is a way out: not from ERROR, nor from a RESUMING that was not given a whole stream.
    fn walk_back(&mut self, here: Option<State>) -> bool {
        let Some(here) = here.filter(|state| !matches!(state, State::Error | State::Resuming)) else {
            return false;
        };
        self.request(here, State::Running.number()).answer.is_ok() && self.is_running()
    }

    fn is_running(&mut self) -> bool {
        matches!(self.get_state(), Ok(answer) if answer.device_state == State::Running.number())
    }

    /// The paths that checks have looked at, or where something went wrong all that there were.
    fn take_paths(&mut self, verdict: Verdict) -> Vec<ObservedPath> {
        let judged = std::mem::take(&mut self.paths);
        if matches!(verdict, Verdict::Pass | Verdict::Skip) {
            return judged;
        }
        self.follow_kernel();
        std::mem::take(&mut self.trail)
    }

    /// Takes the kernel's steps of the last request. Says which states it stood in.
    fn follow_kernel(&mut self) -> Vec<State> {
        let steps = self.tracer.as_mut().map(Tracer::take).unwrap_or_default();
        let Some(to) = self.asked.take() else {
            return Vec::new();
        };
        let mut through: Vec<State> =
            steps.into_iter().filter(|step| step.target == to).map(|step| step.current).collect();
        through.dedup();
        if !through.is_empty() {
            self.trail.push(ObservedPath { to, through: through.clone() });
        }
        through
    }
}

/// The outcome of a check that is wrong itself.
fn defect(what: &str) -> Outcome {
    let why = format!("the check {what}, which is a defect of the check; please report it");
    Outcome::blocked(Obstacle::Environment(Environment::Defect), why)
}

fn does_not_apply(why: &str) -> Judgement {
    Err(Interruption::Skip(Skip::DoesNotApply { why: why.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::model::{Fault, ModelDevice, ModelSpec};

    /// A bench with a device that conforms.
    pub(super) fn bench(host: Host) -> Bench {
        let device = Box::new(ModelDevice::new(ModelSpec::default()));
        Bench::new(device, host, Err("not asked for".to_owned()), Recorder::new(None))
    }

    #[test]
    fn device_opened_in_a_stale_state_is_asked_for_running_before_it_is_reset() {
        let spec = ModelSpec { fault: Some(Fault::ReopenKeepsState), ..ModelSpec::default() };
        let device = Box::new(ModelDevice::new(spec));
        let mut bench = Bench::new(device, Host::NEWEST, Err("not asked for".to_owned()), Recorder::new(None));
        drop(bench.bring_to(State::Stop).unwrap());
        bench.open_again().unwrap();
        bench.recorder.clear();
        drop(bench.bring_to(State::Stop).unwrap());
        let done: Vec<String> = bench.recorder.take().into_iter().map(|operation| operation.what).collect();
        assert!(done.contains(&"SET RUNNING".to_owned()) && !done.contains(&"RESET".to_owned()), "{done:?}");
    }

    fn run_on(host: Host) -> Outcome {
        let mut bench = bench(host);
        let checks = crate::suites::all();
        let check = checks.iter().find(|check| check.name() == "fsm::stop_copy_to_pre_copy").unwrap();
        bench.run(check).outcome
    }

    #[test]
    fn a_check_that_wedges_this_kernel_is_left_out_and_says_which_has_the_fix() {
        let kernel = KernelVersion::parse("6.12.94+deb13-amd64").unwrap();
        let outcome = run_on(Host { kernel, may_hang: false, ..Host::NEWEST });
        assert_eq!(outcome.verdict, Verdict::Skip);
        assert_eq!(
            outcome.message,
            "not judged: needs --may-hang: on this kernel (6.12.94) it can leave a process spinning in the kernel until a reboot; \
             Linux 6.12.96, 6.18.39, 7.1.4 and 7.2 have the fix"
        );
        assert_eq!(run_on(Host { kernel, may_hang: true, ..Host::NEWEST }).verdict, Verdict::Pass);
        for fixed in ["6.12.107+deb13-amd64", "7.2.6"] {
            let kernel = KernelVersion::parse(fixed).unwrap();
            assert_eq!(run_on(Host { kernel, may_hang: false, ..Host::NEWEST }).verdict, Verdict::Pass, "{fixed}");
        }
    }
}
