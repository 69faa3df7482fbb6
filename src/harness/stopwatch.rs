//! Measures how long something takes without the time in which it could not go on: a process that a signal stopped
//! (Ctrl-Z, SIGSTOP), a frozen container, a suspended machine, a guest that is paused.
//!
//! Whoever waits looks at its stopwatch every [`TICK`]. Much more time between two looks than was slept is time in which
//! this process, or the whole machine, stood still, unless the thread waited for a processor: the kernel counts that, so a
//! busy machine is not mistaken for one that stood still. Of its children the kernel says which one is stopped, and which
//! one was.

use std::fmt::Write as _;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;

use super::outcome::Outcome;
use super::verdict::Verdict;
use super::wire::Done;
use crate::requirement::health;

/// How often to look at least.
pub const TICK: Duration = Duration::from_millis(50);
/// A thread that a processor is free for wakes up well within this.
const LATE: Duration = Duration::from_millis(100);
/// The same where the kernel does not say how long a thread waited for a processor.
const LATE_FOR_UNKNOWN_REASON: Duration = Duration::from_millis(500);
/// A child that a signal stopped is waited for no longer than this while its parent runs.
const STOPPED_BOUND: Duration = Duration::from_secs(600);
/// How often a check is run again since something stood still while it ran.
const MOST_REPEATS: usize = 3;

/// Adds up the time in which this thread and the children that it watches could run.
#[derive(Debug)]
pub struct Stopwatch {
    children: Vec<Pid>,
    statistics: Option<File>,
    last: Moment,
    ran: Duration,
    stood_still: Duration,
    children_stopped: Duration,
    is_held: bool,
}

/// What is known at one look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Moment {
    /// Since the machine was booted, suspension included.
    now: Duration,
    /// How long this thread was on a processor, or wanted to be; `None` where the kernel does not say.
    busy: Option<Duration>,
}

/// What the kernel says of a child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Child {
    Runs,
    /// A signal has stopped it.
    IsStopped,
    /// A signal had stopped it, and another one has continued it since the last look.
    WasStopped,
}

impl Stopwatch {
    /// Starts to measure, for the thread that calls this, beside these children of its process.
    pub fn start(children: impl IntoIterator<Item = u32>) -> Stopwatch {
        let children: Vec<Pid> =
            children.into_iter().filter_map(|id| i32::try_from(id).ok()).map(Pid::from_raw).collect();
        // What happened to them before is of no interest.
        for child in &children {
            look_at(*child);
        }
        let statistics = File::open("/proc/thread-self/schedstat").ok();
        let last = Moment::now(statistics.as_ref());
        Stopwatch {
            children,
            statistics,
            last,
            ran: Duration::ZERO,
            stood_still: Duration::ZERO,
            children_stopped: Duration::ZERO,
            is_held: false,
        }
    }

    /// Takes the time since the last look, of which the caller wanted to sleep at most `slept`.
    pub fn look(&mut self, slept: Duration) {
        let children: Vec<Child> = self.children.iter().map(|child| look_at(*child)).collect();
        let now = Moment::now(self.statistics.as_ref());
        self.take(now, slept, &children);
    }

    fn take(&mut self, now: Moment, slept: Duration, children: &[Child]) {
        let elapsed = now.now.saturating_sub(self.last.now);
        let gap = gap(self.last, now, slept);
        self.last = now;
        if self.is_held || children.iter().any(|child| *child != Child::Runs) {
            self.stood_still += elapsed;
            self.children_stopped += elapsed - gap;
            return;
        }
        self.stood_still += gap;
        self.ran += elapsed - gap;
        self.children_stopped = Duration::ZERO;
    }

    /// Holds the watch, or lets it run again: something that it does not see by itself stands still.
    pub fn hold(&mut self, hold: bool) {
        self.is_held = hold;
    }

    /// Something stood still for a moment that it did not see by itself.
    pub fn interrupt(&mut self) {
        self.stood_still += TICK;
    }

    /// How long everything could run, until the last look.
    pub fn ran(&self) -> Duration {
        self.ran
    }

    /// How long something stood still, until the last look.
    pub fn stood_still(&self) -> Duration {
        self.stood_still
    }

    /// Whether a child is stopped for so long that nobody will continue it.
    pub fn is_stopped_for_good(&self) -> bool {
        self.children_stopped > STOPPED_BOUND
    }
}

impl Moment {
    fn now(statistics: Option<&File>) -> Moment {
        let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
        Moment { now, busy: statistics.and_then(busy) }
    }
}

/// How long a thread was on a processor, or waited for one.
fn busy(statistics: &File) -> Option<Duration> {
    let mut text = [0u8; 128];
    let length = statistics.read_at(&mut text, 0).ok()?;
    let text = std::str::from_utf8(text.get(..length)?).ok()?;
    let mut numbers = text.split_whitespace().map(str::parse::<u64>);
    let (Ok(on_processor), Ok(waited)) = (numbers.next()?, numbers.next()?) else {
        return None;
    };
    // A kernel that counts nothing shows zeros.
    (on_processor > 0).then(|| Duration::from_nanos(on_processor.saturating_add(waited)))
}

/// How much of the time between two looks this thread, or its machine, stood still.
fn gap(last: Moment, now: Moment, slept: Duration) -> Duration {
    let (busy, late) = match (last.busy, now.busy) {
        (Some(before), Some(after)) => (after.saturating_sub(before), LATE),
        _ => (Duration::ZERO, LATE_FOR_UNKNOWN_REASON),
    };
    let gap = now.now.saturating_sub(last.now).saturating_sub(slept + busy);
    if gap > late { gap } else { Duration::ZERO }
}

fn look_at(child: Pid) -> Child {
    let ask = |flags| waitid(Id::Pid(child), flags | WaitPidFlag::WNOHANG);
    // Left to be seen again, for as long as it is so. One that has ended is no matter of ours.
    let stopped = ask(WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT);
    let continued = ask(WaitPidFlag::WCONTINUED);
    match (stopped, continued) {
        (Ok(WaitStatus::Stopped(..)), _) => Child::IsStopped,
        (_, Ok(WaitStatus::Continued(_))) => Child::WasStopped,
        _ => Child::Runs,
    }
}

/// The runs of one check in which something stood still, and which do not count therefore.
#[derive(Debug, Default)]
pub struct Repeats {
    notes: Vec<String>,
}

impl Repeats {
    /// Takes the result of a run of the check; `None` if the check is to be run again.
    pub fn take(&mut self, mut done: Done) -> Option<Done> {
        let outcome = &done.outcome;
        let is_disturbed = outcome.evidence.stood_still > 0.0 && !is_settled(outcome);
        if is_disturbed && self.notes.len() < MOST_REPEATS {
            self.notes.push(note(outcome));
            return None;
        }
        if is_disturbed {
            let mut note = format!("something stood still in each of {} runs of this check", self.notes.len() + 1);
            let _ = write!(note, "; run it again on a machine where nothing is stopped");
            self.notes.push(note);
        }
        done.outcome.evidence.notes.append(&mut self.notes);
        Some(done)
    }
}

/// Whether time that stood still cannot be the reason of it.
fn is_settled(outcome: &Outcome) -> bool {
    let is_reported = outcome
        .broken
        .iter()
        .filter(|broken| [health::LOG.id, health::TAINT.id].contains(&&*broken.requirement))
        .any(|broken| !is_stall(&broken.actual));
    is_reported || matches!(outcome.verdict, Verdict::Pass | Verdict::Skip | Verdict::Crash)
}

/// Whether the kernel reports nothing but that something took long.
fn is_stall(report: &str) -> bool {
    let stalls = ["soft lockup", "hard LOCKUP", "detected stalls", "self-detected stall", "blocked for more than"];
    let workqueue = ["workqueue lockup", "new taint L "];
    stalls.iter().chain(&workqueue).any(|stall| report.contains(stall))
}

fn note(outcome: &Outcome) -> String {
    let Outcome { verdict, message, evidence, .. } = outcome;
    let seconds = evidence.stood_still;
    format!(
        "an earlier run of this check does not count, since the suite, the device or the machine stood still for \
         {seconds:.1} s meanwhile ({verdict}: {message})"
    )
}

#[cfg(test)]
mod tests {
    use std::process::{Child as Process, Command};
    use std::thread::sleep;

    use nix::sys::signal::{Signal, kill};

    use super::*;
    use crate::harness::outcome::Broken;

    const MILLI: Duration = Duration::from_millis(1);

    fn moment(now: u32, busy: u32) -> Moment {
        Moment { now: now * MILLI, busy: Some(busy * MILLI) }
    }

    fn watch() -> Stopwatch {
        let mut watch = Stopwatch::start([]);
        watch.last = moment(0, 0);
        watch
    }

    #[test]
    fn time_in_which_the_process_stood_still_is_not_counted() {
        let mut watch = watch();
        watch.take(moment(50, 0), TICK, &[]);
        watch.take(moment(5050, 1), TICK, &[]);
        assert_eq!((watch.ran(), watch.stood_still()), (101 * MILLI, 4949 * MILLI));
    }

    #[test]
    fn time_in_which_the_process_waited_for_a_processor_is_counted() {
        let mut watch = watch();
        watch.take(moment(5000, 4940), TICK, &[]);
        assert_eq!((watch.ran(), watch.stood_still()), (5000 * MILLI, Duration::ZERO));
    }

    #[test]
    fn a_kernel_that_counts_no_waits_is_given_more_time() {
        let mut watch = watch();
        watch.take(Moment { busy: None, ..moment(400, 0) }, TICK, &[]);
        assert_eq!(watch.stood_still(), Duration::ZERO);
        watch.take(Moment { busy: None, ..moment(2400, 0) }, TICK, &[]);
        assert_eq!(watch.stood_still(), 1950 * MILLI);
    }

    #[test]
    fn time_of_a_stopped_child_is_not_counted() {
        let mut watch = watch();
        watch.take(moment(50, 0), TICK, &[Child::Runs, Child::IsStopped]);
        watch.take(moment(100, 0), TICK, &[Child::WasStopped, Child::Runs]);
        watch.take(moment(150, 0), TICK, &[Child::Runs, Child::Runs]);
        assert_eq!((watch.ran(), watch.stood_still()), (50 * MILLI, 100 * MILLI));
    }

    #[test]
    fn a_child_that_nobody_continues_is_given_up_but_a_suspended_machine_is_not() {
        let mut watch = watch();
        watch.take(moment(10_000_000, 0), TICK, &[Child::IsStopped]);
        assert!(!watch.is_stopped_for_good(), "it was the machine");
        for look in 1..13_000 {
            watch.take(moment(10_000_000 + 50 * look, 0), TICK, &[Child::IsStopped]);
        }
        assert!(watch.is_stopped_for_good());
    }

    fn sleeper() -> Process {
        Command::new("sleep").arg("100").spawn().expect("a child")
    }

    #[test]
    fn the_kernel_says_which_child_is_stopped_and_which_was() {
        let mut child = sleeper();
        let pid = Pid::from_raw(child.id() as i32);
        let until = |wanted| {
            (0..1000).any(|_| {
                look_at(pid) == wanted || {
                    sleep(MILLI);
                    false
                }
            })
        };
        assert_eq!(look_at(pid), Child::Runs);
        kill(pid, Signal::SIGSTOP).expect("stopped");
        assert!(until(Child::IsStopped));
        assert_eq!(look_at(pid), Child::IsStopped, "it still is");
        kill(pid, Signal::SIGCONT).expect("continued");
        assert!(until(Child::WasStopped));
        assert_eq!(look_at(pid), Child::Runs);
        // A stop between two looks is seen too.
        kill(pid, Signal::SIGSTOP).expect("stopped");
        assert!(until(Child::IsStopped));
        kill(pid, Signal::SIGCONT).expect("continued");
        assert!(until(Child::WasStopped));
        child.kill().expect("killed");
        child.wait().expect("a status");
    }

    fn done(verdict: Verdict, stood_still: f64) -> Done {
        let mut outcome = Outcome::without_judgement(verdict, "why");
        outcome.evidence.stood_still = stood_still;
        Done { outcome, lost: None }
    }

    #[test]
    fn a_check_that_met_a_stop_is_run_again_unless_it_passed() {
        for verdict in [Verdict::Fail, Verdict::Warn, Verdict::Hang, Verdict::Blocked] {
            let mut repeats = Repeats::default();
            assert_eq!(repeats.take(done(verdict, 1.0)), None, "{verdict}");
            let passed = repeats.take(done(Verdict::Pass, 0.0)).expect("a result");
            assert_eq!(passed.outcome.verdict, Verdict::Pass);
            assert_eq!(passed.outcome.evidence.notes.len(), 1);
            assert_eq!(Repeats::default().take(done(verdict, 0.0)), Some(done(verdict, 0.0)), "nothing stood still");
        }
        for verdict in [Verdict::Pass, Verdict::Skip, Verdict::Crash] {
            assert_eq!(Repeats::default().take(done(verdict, 1.0)), Some(done(verdict, 1.0)));
        }
    }

    #[test]
    fn a_check_that_meets_stops_without_end_keeps_its_verdict() {
        let mut repeats = Repeats::default();
        assert!((0..MOST_REPEATS).all(|_| repeats.take(done(Verdict::Fail, 1.0)).is_none()));
        let last = repeats.take(done(Verdict::Fail, 1.0)).expect("a result");
        assert_eq!(last.outcome.verdict, Verdict::Fail);
        assert_eq!(last.outcome.evidence.notes.len(), MOST_REPEATS + 1);
    }

    #[test]
    fn what_the_kernel_reports_stands_unless_it_only_took_long() {
        let reported = |line: &str| {
            let mut done = done(Verdict::Fail, 30.0);
            done.outcome.accuse(&health::LOG, line.to_owned());
            assert!(matches!(&done.outcome.broken[..], [Broken { .. }]));
            done
        };
        let oops = reported("BUG: kernel NULL pointer dereference, address: 0");
        assert_eq!(Repeats::default().take(oops.clone()), Some(oops));
        let lockup = reported("watchdog: BUG: soft lockup - CPU#0 stuck for 31s! [vfio-conform:71]");
        assert_eq!(Repeats::default().take(lockup), None);
    }
}
