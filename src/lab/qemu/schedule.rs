//! Which check runs on which of the devices that stand side by side.
//!
//! The supervisor asks for one check after the other; while a device runs that one, the others run ahead with those that
//! come next, one that mostly waits beside one that works. Each device is told its next check while it runs one, so that it
//! need not wait for its host.
//!
//! What the kernel reports, and a guest that is lost, cannot be laid at the door of one of the checks that ran just then, so
//! each of them is done again with nothing beside it. If none of them does it again, the last one is told what was seen: a
//! finding is never lost. A guest whose QEMU or device somebody killed is no finding, so that there the second run counts; and
//! so does that of a check while which something stood still. A check that is known to wedge the kernel at hand runs alone from the first, which spares its
//! company a guest that is lost.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::harness::bench::KernelVersion;
use crate::harness::outcome::Outcome;
use crate::harness::stopwatch::Repeats;
use crate::harness::verdict::Verdict;
use crate::harness::wire::Done;
use crate::lab::Announced;
use crate::requirement::{health, wear};

/// How far the others may run ahead: far enough that a check of seconds holds up nobody, and that beside a chapter of waiting
/// there is work to be found.
const AHEAD: usize = 100;
/// The last ones are given to whoever is idle first: what waits behind a long one then holds up the whole run.
const LAST: usize = 12;

/// How often a check is run again that was running when the guest was lost by no fault of its driver.
const MOST_LOSSES: usize = 2;

/// What runs, what comes next, and what is over and not yet asked for.
#[derive(Debug)]
pub struct Schedule {
    /// What was announced, in order, without what was taken already.
    next: Vec<Announced>,
    /// The kernel that all of it runs on, as far as its release tells.
    kernel: KernelVersion,
    over: HashMap<String, Done>,
    devices: Vec<Option<Flight>>,
    suspicions: Vec<Suspicion>,
    /// Checks that run again alone since they measure what belongs to the whole guest, each with its first result.
    measured: HashMap<String, Done>,
    /// Checks that run again alone since they failed or were blocked beside others: the first result, and what ran beside it.
    apart: HashMap<String, (Done, Vec<String>)>,
    /// What is known of earlier runs of checks, which do not count.
    earlier: HashMap<String, Earlier>,
}

/// The earlier runs of a check.
#[derive(Debug, Default)]
struct Earlier {
    /// Those in which something stood still.
    repeats: Repeats,
    /// Why each of the others was lost.
    losses: Vec<String>,
}

/// A check that a device runs.
#[derive(Debug, Clone, PartialEq)]
struct Flight {
    check: String,
    began: Instant,
    /// How long the guest, its host or a device stood still since then.
    stood_still: Duration,
    /// The others that ran meanwhile.
    company: HashSet<String>,
    /// What the device was told to run when it is done. A guest reports a check before it begins the next one, so that what
    /// happens until then is none of this one's doing.
    next: Option<String>,
}

/// Something happened while several checks ran.
#[derive(Debug)]
struct Suspicion {
    /// Those of them that are still to be done again.
    suspects: HashSet<String>,
    /// What was seen, until one of them does it again.
    seen: Option<Done>,
}

/// What became of a check, or of all that ran.
#[derive(Debug, PartialEq)]
pub enum Landing {
    /// The others go on.
    Goes,
    /// The guest is of no use any more, for this reason; what ran is to be done again.
    Spent(String),
}

impl Schedule {
    /// For so many devices, none of which does anything yet.
    pub fn new(devices: usize) -> Schedule {
        Schedule {
            next: Vec::new(),
            kernel: KernelVersion::NEWEST,
            over: HashMap::new(),
            devices: vec![None; devices],
            suspicions: Vec::new(),
            measured: HashMap::new(),
            apart: HashMap::new(),
            earlier: HashMap::new(),
        }
    }

    /// What will be asked for, in order.
    pub fn announce(&mut self, checks: Vec<Announced>) {
        self.next = checks;
    }

    /// The kernel is of this release.
    pub fn know_kernel(&mut self, release: &str) {
        self.kernel = KernelVersion::parse(release).unwrap_or(KernelVersion::NEWEST);
    }

    /// The result of a check that is over.
    pub fn take(&mut self, check: &str) -> Option<Done> {
        let done = self.over.remove(check)?;
        if let Some(at) = self.next.iter().position(|next| next.name == check) {
            self.next.drain(..=at);
        }
        Some(done)
    }

    /// What to tell which device, now that this check is wanted: idle ones begin what comes next, the others do it when they
    /// are done.
    pub fn dispatch(&mut self, wanted: &str) -> Vec<(usize, String)> {
        let mut told = Vec::new();
        while let Some(device) = self.devices.iter().position(Option::is_none) {
            let Some(check) = self.choose(wanted, device) else {
                return told;
            };
            self.take_off(device, check.clone());
            told.push((device, check));
        }
        if self.next.len() <= LAST {
            return told;
        }
        for device in 0..self.devices.len() {
            let Some(check) = self.choose(wanted, device) else {
                return told;
            };
            if let Some(flight) = self.devices[device].as_mut().filter(|flight| flight.next.is_none()) {
                flight.next = Some(check.clone());
                told.push((device, check));
            }
        }
        told
    }

    fn choose(&self, wanted: &str, device: usize) -> Option<String> {
        let is_free = |check: &str| !self.over.contains_key(check) && !self.flies(check) && !self.is_next(check);
        let nothing_flies = self.devices.iter().all(Option::is_none);
        let is_wanted_now = is_free(wanted);
        if self.runs_alone(wanted) {
            return (is_wanted_now && nothing_flies).then(|| wanted.to_owned());
        }
        if is_wanted_now {
            return Some(wanted.to_owned());
        }
        let can_begin = |check: &&Announced| is_free(&check.name) && !self.runs_alone(&check.name);
        let mut ahead = self.next.iter().take(AHEAD).filter(can_begin).peekable();
        let first = ahead.peek().copied();
        let fits_best = match self.company_waits(device) {
            Some(waits) => ahead.find(|check| check.waits != waits),
            None => None,
        };
        fits_best.or(first).map(|check| check.name.clone())
    }

    /// Whether one of those waits that run beside what this device is to do, if any do.
    fn company_waits(&self, device: usize) -> Option<bool> {
        let others = self.devices.iter().enumerate().filter(|(at, _)| *at != device);
        let waits = |flight: &Flight| self.next.iter().any(|next| next.name == flight.check && next.waits);
        others.filter_map(|(_, flight)| flight.as_ref()).map(waits).reduce(|one, other| one || other)
    }

    fn runs_alone(&self, check: &str) -> bool {
        self.is_suspect(check) || self.wedges(check)
    }

    /// Whether it is known to wedge the kernel at hand.
    pub fn wedges(&self, check: &str) -> bool {
        let announced = self.next.iter().find(|next| next.name == check);
        announced.and_then(|next| next.hangs_without).is_some_and(|fix| !fix.is_in(self.kernel))
    }

    fn is_suspect(&self, check: &str) -> bool {
        self.suspicions.iter().any(|suspicion| suspicion.suspects.contains(check))
            || self.measured.contains_key(check)
            || self.apart.contains_key(check)
    }

    fn flies(&self, check: &str) -> bool {
        self.flights().any(|flight| flight.check == check)
    }

    fn is_next(&self, check: &str) -> bool {
        self.flights().any(|flight| flight.next.as_deref() == Some(check))
    }

    fn flights(&self) -> impl Iterator<Item = &Flight> {
        self.devices.iter().flatten()
    }

    fn take_off(&mut self, device: usize, check: String) {
        let mut company = HashSet::new();
        for other in self.devices.iter_mut().flatten() {
            other.company.insert(check.clone());
            company.insert(other.check.clone());
        }
        if let Some(place) = self.devices.get_mut(device) {
            *place = Some(Flight { check, began: Instant::now(), stood_still: Duration::ZERO, company, next: None });
        }
    }

    /// How long to wait for the next result, if each check may take so long.
    pub fn patience(&self, deadline: impl Fn(&str) -> Duration) -> Duration {
        let took = |flight: &Flight| flight.began.elapsed().saturating_sub(flight.stood_still);
        let left = |flight: &Flight| deadline(&flight.check).saturating_sub(took(flight));
        self.flights().map(left).min().unwrap_or(deadline(""))
    }

    /// Something that all of them need has stood still.
    pub fn stood_still(&mut self, how_long: Duration) {
        self.devices.iter_mut().flatten().for_each(|flight| flight.stood_still += how_long);
    }

    /// The checks that run.
    pub fn in_the_air(&self) -> impl Iterator<Item = &str> {
        self.flights().map(|flight| flight.check.as_str())
    }

    /// The device that runs this check.
    pub fn device_of(&self, check: &str) -> Option<usize> {
        self.devices.iter().position(|device| device.as_ref().is_some_and(|flight| flight.check == check))
    }

    /// The check that this device runs.
    pub fn check_of(&self, device: usize) -> Option<&str> {
        self.devices.get(device)?.as_ref().map(|flight| flight.check.as_str())
    }

    /// How long the check runs that has run longest.
    pub fn longest(&self) -> Duration {
        self.flights().map(|flight| flight.began.elapsed()).max().unwrap_or_default()
    }

    /// A device has a result.
    ///
    /// # Errors
    /// That nothing ran there.
    pub fn land(&mut self, device: usize, done: Done) -> Result<Landing, String> {
        let flight = self.devices.get_mut(device).and_then(Option::take);
        let mut flight =
            flight.ok_or_else(|| format!("the guest has a result of device {device}, which ran nothing"))?;
        // A guest that is of no use any more is ended before the next one matters.
        if let Some(check) = flight.next.take().filter(|_| done.lost.is_none()) {
            self.take_off(device, check);
        }
        let lost = done.lost.clone();
        let Some(done) = self.unless_disturbed(&flight, done) else {
            return Ok(lost.map_or(Landing::Goes, |why| self.spend(why)));
        };
        if is_trouble(&done) && !flight.company.is_empty() {
            return Ok(self.suspect(&flight, done));
        }
        if self.is_suspect(&flight.check) && !flight.company.is_empty() {
            // It ran when something happened, and will be done again.
            return Ok(Landing::Goes);
        }
        if is_measured_of_all(&done) && !flight.company.is_empty() {
            self.measured.insert(flight.check, done);
            return Ok(Landing::Goes);
        }
        if may_depend_on_siblings(&done) && !flight.company.is_empty() {
            let mut company: Vec<String> = flight.company.into_iter().collect();
            company.sort_unstable();
            self.apart.insert(flight.check, (done, company));
            return Ok(Landing::Goes);
        }
        let done = self.clear(&flight.check, done);
        self.over.insert(flight.check, done);
        Ok(Landing::Goes)
    }

    /// The guest is gone with all that ran. The result is that of the check, if it ran alone.
    pub fn crash(&mut self, done: Done) -> Option<Done> {
        let flights: Vec<Flight> = self.devices.iter_mut().filter_map(Option::take).collect();
        let settled: Vec<Done> =
            flights.iter().filter_map(|flight| self.unless_disturbed(flight, done.clone())).collect();
        if settled.is_empty() && !flights.is_empty() {
            return None;
        }
        match &flights[..] {
            [] => Some(done),
            [only] if only.company.is_empty() => {
                let done = settled.into_iter().next().unwrap_or(done);
                match self.may_be_lost_again(&only.check, &done) {
                    true => None,
                    false => Some(self.clear(&only.check, done)),
                }
            }
            all => {
                for flight in all {
                    self.may_be_lost_again(&flight.check, &done);
                }
                let suspects = all.iter().map(|flight| flight.check.clone()).collect();
                self.suspicions.push(Suspicion { suspects, seen: finding(done) });
                None
            }
        }
    }

    /// The result of a check, unless it may be what it is since something stood still: then it is run again.
    fn unless_disturbed(&mut self, flight: &Flight, mut done: Done) -> Option<Done> {
        done.outcome.evidence.stood_still += flight.stood_still.as_secs_f64();
        self.earlier.entry(flight.check.clone()).or_default().repeats.take(done)
    }

    /// Whether a check is to be run again that was lost by no fault of the driver: not for ever, since what a driver does
    /// may end QEMU too.
    fn may_be_lost_again(&mut self, check: &str, done: &Done) -> bool {
        let losses = &mut self.earlier.entry(check.to_owned()).or_default().losses;
        if done.outcome.verdict != Verdict::Blocked || losses.len() >= MOST_LOSSES {
            return false;
        }
        losses.push(done.outcome.message.clone());
        true
    }

    fn spend(&mut self, why: String) -> Landing {
        self.devices.fill(None);
        Landing::Spent(why)
    }

    fn suspect(&mut self, flight: &Flight, done: Done) -> Landing {
        let beside: HashSet<String> = self.flights().map(|other| other.check.clone()).collect();
        let spent = done.lost.clone();
        let mut suspects: HashSet<String> = flight.company.intersection(&beside).cloned().collect();
        suspects.insert(flight.check.clone());
        match self.suspicions.iter_mut().find(|old| !old.suspects.is_disjoint(&suspects)) {
            Some(old) => old.suspects.extend(suspects),
            None => self.suspicions.push(Suspicion { suspects, seen: finding(done) }),
        }
        spent.map_or(Landing::Goes, |why| self.spend(why))
    }

    /// A suspect was done again with nothing beside it. One that does it again is the culprit; if nobody is, the last one
    /// is told what was seen.
    fn clear(&mut self, check: &str, mut done: Done) -> Done {
        if let Some(first) = self.measured.remove(check) {
            done.outcome.evidence.notes.extend(notes_of_first(&first));
        }
        if let Some((first, company)) = self.apart.remove(check) {
            done.outcome = Outcome::beside_and_alone(first.outcome, done.outcome, company);
        }
        if let Some(Earlier { losses, .. }) = self.earlier.remove(check) {
            let told = losses.into_iter().map(|why| format!("an earlier run of this check does not count: {why}"));
            done.outcome.evidence.notes.extend(told);
        }
        let Some(at) = self.suspicions.iter().position(|suspicion| suspicion.suspects.contains(check)) else {
            return done;
        };
        let suspicion = &mut self.suspicions[at];
        suspicion.suspects.remove(check);
        if is_trouble(&done) {
            suspicion.seen = None;
        }
        if !suspicion.suspects.is_empty() {
            return done;
        }
        if let Some(seen) = self.suspicions.swap_remove(at).seen {
            done = Done { lost: None, ..seen };
            done.outcome.evidence.notes.push("seen while other checks ran beside it, and not again alone".to_owned());
        }
        done
    }
}

/// What accuses the device; that a guest is lost, by itself, does not.
fn finding(done: Done) -> Option<Done> {
    (done.outcome.verdict.is_finding() || !done.outcome.broken.is_empty()).then_some(done)
}

/// Whether it may be another check's doing: the kernel has said something, or the lab is lost.
fn is_trouble(done: &Done) -> bool {
    let is_health = |id: &str| [health::LOG.id, health::TAINT.id].contains(&id);
    done.lost.is_some()
        || matches!(done.outcome.verdict, Verdict::Hang | Verdict::Crash)
        || done.outcome.broken.iter().any(|broken| is_health(&broken.requirement))
}

/// Whether a sibling device may be the reason: the check failed or could not run, and the lab is whole.
fn may_depend_on_siblings(done: &Done) -> bool {
    matches!(done.outcome.verdict, Verdict::Fail | Verdict::Warn | Verdict::Blocked)
}

/// Whether it accuses the device by a figure of the whole guest, which what ran beside it has a part in.
fn is_measured_of_all(done: &Done) -> bool {
    done.outcome.broken.iter().any(|broken| is_figure_of_all(&broken.requirement))
}

fn is_figure_of_all(id: &str) -> bool {
    [wear::MEMORY.id, wear::MODULE.id].contains(&id)
}

/// What was measured while other checks ran, for the result that counts.
fn notes_of_first(first: &Done) -> impl Iterator<Item = String> {
    let figures = first.outcome.broken.iter().filter(|broken| is_figure_of_all(&broken.requirement));
    figures.map(|broken| {
        format!("run again alone, since {} was broken beside other checks: {}", broken.requirement, broken.actual)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::bench::Fix;

    const LONG: Duration = Duration::from_secs(60);

    fn pass() -> Done {
        Done { outcome: Outcome::without_judgement(Verdict::Pass, ""), lost: None }
    }

    fn report() -> Done {
        let mut done = Done { outcome: Outcome::without_judgement(Verdict::Fail, "WARNING"), lost: None };
        done.outcome.accuse(&health::LOG, "WARNING".to_owned());
        done
    }

    fn schedule(devices: usize, checks: &[&str]) -> Schedule {
        let mut schedule = Schedule::new(devices);
        schedule.announce(checks.iter().map(|check| announced(check)).collect());
        schedule
    }

    fn announced(check: &str) -> Announced {
        Announced { name: check.to_owned(), hangs_without: None, waits: false }
    }

    fn begun(schedule: &mut Schedule, wanted: &str) -> Vec<String> {
        schedule.dispatch(wanted).into_iter().map(|(device, check)| format!("{device} {check}")).collect()
    }

    #[test]
    fn idle_devices_run_ahead() {
        let mut schedule = schedule(2, &["a", "b", "c"]);
        assert_eq!(begun(&mut schedule, "a"), ["0 a", "1 b"]);
        assert_eq!(begun(&mut schedule, "a"), [""; 0]);
        assert_eq!(schedule.land(1, pass()), Ok(Landing::Goes));
        assert_eq!(begun(&mut schedule, "a"), ["1 c"]);
        assert_eq!((schedule.take("a"), schedule.take("b")), (None, Some(pass())));
    }

    fn with(verdict: Verdict) -> Done {
        Done { outcome: Outcome::without_judgement(verdict, "EBUSY"), lost: None }
    }

    #[test]
    fn check_that_fails_or_is_blocked_beside_another_runs_again_alone() {
        for (beside, counts) in [(Verdict::Fail, Verdict::Fail), (Verdict::Blocked, Verdict::Pass)] {
            let mut schedule = schedule(2, &["a", "b", "c"]);
            assert_eq!(begun(&mut schedule, "a"), ["0 a", "1 b"]);
            assert_eq!(schedule.land(0, with(beside)), Ok(Landing::Goes));
            assert_eq!(begun(&mut schedule, "a"), [""; 0], "b still runs");
            assert_eq!(schedule.land(1, pass()), Ok(Landing::Goes));
            assert_eq!(begun(&mut schedule, "a"), ["0 a"]);
            assert_eq!(schedule.land(0, pass()), Ok(Landing::Goes));
            let outcome = schedule.take("a").unwrap().outcome;
            let sibling = outcome.sibling.unwrap();
            assert_eq!((outcome.verdict, sibling.beside, sibling.alone), (counts, beside, Verdict::Pass));
            assert_eq!(sibling.checks, ["b"]);
            assert_eq!(schedule.take("b"), Some(pass()), "it is not run again");
        }
    }

    #[test]
    fn check_that_fails_alone_as_well_depends_on_no_sibling() {
        let mut schedule = schedule(2, &["a", "b"]);
        assert_eq!(begun(&mut schedule, "a"), ["0 a", "1 b"]);
        assert_eq!(schedule.land(0, with(Verdict::Fail)), Ok(Landing::Goes));
        assert_eq!(schedule.land(1, with(Verdict::Fail)), Ok(Landing::Goes));
        for check in ["a", "b"] {
            assert_eq!(begun(&mut schedule, check), [format!("0 {check}")]);
            assert_eq!(schedule.land(0, with(Verdict::Fail)), Ok(Landing::Goes));
            assert_eq!(schedule.take(check), Some(with(Verdict::Fail)));
        }
    }

    #[test]
    fn what_waits_runs_beside_what_works() {
        let mut schedule = Schedule::new(2);
        let waiting = |check| Announced { waits: true, ..announced(check) };
        schedule.announce(vec![
            announced("a"),
            announced("b"),
            waiting("c"),
            waiting("d"),
            announced("e"),
            waiting("f"),
        ]);
        assert_eq!(begun(&mut schedule, "a"), ["0 a", "1 c"]);
        assert_eq!(schedule.land(1, pass()), Ok(Landing::Goes));
        assert_eq!(begun(&mut schedule, "a"), ["1 d"]);
        assert_eq!(schedule.land(0, pass()), Ok(Landing::Goes));
        assert_eq!(schedule.take("a"), Some(pass()));
        assert_eq!(begun(&mut schedule, "b"), ["0 b"]);
        assert_eq!(schedule.land(0, pass()), Ok(Landing::Goes));
        assert_eq!((schedule.take("b"), schedule.take("c")), (Some(pass()), Some(pass())));
        assert_eq!(begun(&mut schedule, "d"), ["0 e"]);
        assert_eq!(schedule.land(0, pass()), Ok(Landing::Goes));
        assert_eq!(begun(&mut schedule, "d"), ["0 f"], "there is no work left");
    }

    #[test]
    fn one_that_waits_is_company_enough() {
        let mut schedule = Schedule::new(3);
        let waiting = |check| Announced { waits: true, ..announced(check) };
        schedule.announce(vec![announced("a"), waiting("b"), waiting("c"), announced("d")]);
        assert_eq!(begun(&mut schedule, "a"), ["0 a", "1 b", "2 d"]);
    }

    #[test]
    fn a_device_without_company_keeps_the_order() {
        let mut schedule = Schedule::new(1);
        let mut checks: Vec<_> = (0..2 * LAST).map(|number| announced(&number.to_string())).collect();
        checks[3].waits = true;
        schedule.announce(checks);
        assert_eq!(begun(&mut schedule, "0"), ["0 0", "0 1"]);
    }

    #[test]
    fn what_was_passed_over_is_not_run_any_more() {
        let mut schedule = schedule(1, &["a", "b", "c", "d"]);
        assert_eq!(begun(&mut schedule, "c"), ["0 c"]);
        assert_eq!(schedule.land(0, pass()), Ok(Landing::Goes));
        assert_eq!(schedule.take("c"), Some(pass()));
        assert_eq!(begun(&mut schedule, "d"), ["0 d"]);
        assert_eq!(schedule.land(0, pass()), Ok(Landing::Goes));
        assert_eq!(begun(&mut schedule, "d"), [""; 0]);
    }

    #[test]
    fn who_began_first_has_the_least_time_left() {
        const SHORT: Duration = Duration::from_millis(5);
        let mut schedule = schedule(2, &["a"]);
        assert_eq!((schedule.longest(), schedule.patience(|_| LONG)), (Duration::ZERO, LONG), "nothing runs");
        assert_eq!(begun(&mut schedule, "a"), ["0 a"]);
        std::thread::sleep(SHORT);
        assert_eq!(begun(&mut schedule, "b"), ["1 b"]);
        assert!(schedule.longest() >= SHORT && schedule.longest() < LONG);
        assert!(schedule.patience(|_| LONG) <= LONG - SHORT && schedule.patience(|_| LONG) > Duration::ZERO);
        assert_eq!(schedule.patience(|_| Duration::ZERO), Duration::ZERO, "it has had its time");
    }

    /// So many that devices are told their next check too.
    fn long(devices: usize) -> Schedule {
        let mut schedule = Schedule::new(devices);
        schedule.announce((0..2 * LAST).map(|number| announced(&number.to_string())).collect());
        schedule
    }

    #[test]
    fn each_device_knows_its_next_check_and_begins_it_when_it_is_done() {
        let mut schedule = long(2);
        assert_eq!(begun(&mut schedule, "0"), ["0 0", "1 1", "0 2", "1 3"]);
        assert_eq!(begun(&mut schedule, "0"), [""; 0]);
        assert_eq!((schedule.check_of(1), schedule.device_of("3")), (Some("1"), None), "it has not begun");
        assert_eq!(schedule.land(1, pass()), Ok(Landing::Goes));
        assert_eq!((schedule.check_of(1), schedule.device_of("3")), (Some("3"), Some(1)));
        assert_eq!(begun(&mut schedule, "0"), ["1 4"]);
    }

    #[test]
    fn the_last_checks_wait_behind_nobody() {
        let mut schedule = long(1);
        let mut told = 0;
        for number in 0..2 * LAST {
            let wanted = number.to_string();
            told += schedule.dispatch(&wanted).len();
            assert_eq!(told - number, if 2 * LAST - number > LAST { 2 } else { 1 }, "{number}");
            assert_eq!(schedule.land(0, pass()), Ok(Landing::Goes));
            assert_eq!(schedule.take(&wanted), Some(pass()));
        }
    }

    #[test]
    fn what_had_not_begun_when_something_happened_is_not_suspected() {
        let mut schedule = long(2);
        assert_eq!(begun(&mut schedule, "0").len(), 4);
        assert_eq!(schedule.crash(Done::lost(Verdict::Crash, "panic")), None);
        for check in ["0", "1"] {
            assert_eq!(begun(&mut schedule, check), [format!("0 {check}")], "alone");
            assert_eq!(schedule.land(0, pass()), Ok(Landing::Goes));
            assert!(schedule.take(check).is_some());
        }
        assert_eq!(begun(&mut schedule, "2"), ["0 2", "1 3", "0 4", "1 5"]);

        let mut schedule = long(1);
        assert_eq!(begun(&mut schedule, "0"), ["0 0", "0 1"]);
        let crash = Done::lost(Verdict::Crash, "panic");
        assert_eq!(schedule.crash(crash.clone()), Some(crash), "nothing ran beside it");
        assert_eq!(begun(&mut schedule, "1")[0], "0 1");
    }

    #[test]
    fn nothing_begins_in_a_guest_that_is_lost() {
        let stuck = || Done::lost(Verdict::Hang, "stuck");
        let mut schedule = long(1);
        assert_eq!(begun(&mut schedule, "0"), ["0 0", "0 1"]);
        assert_eq!(schedule.land(0, stuck()), Ok(Landing::Goes));
        assert_eq!((schedule.take("0"), schedule.check_of(0)), (Some(stuck()), None));
        assert_eq!(begun(&mut schedule, "1")[0], "0 1");

        let mut schedule = long(2);
        assert_eq!(begun(&mut schedule, "0").len(), 4);
        assert_eq!(schedule.land(1, stuck()), Ok(Landing::Spent("stuck".to_owned())));
        assert_eq!(begun(&mut schedule, "0"), ["0 0"], "alone, and what was in line is not");
    }

    #[test]
    fn nobody_runs_too_far_ahead() {
        let mut schedule = Schedule::new(2);
        schedule.announce((0..3 * AHEAD).map(|number| announced(&number.to_string())).collect());
        let mut told = schedule.dispatch("0").len();
        while schedule.check_of(1).is_some() {
            assert_eq!(schedule.land(1, pass()), Ok(Landing::Goes));
            told += schedule.dispatch("0").len();
        }
        assert_eq!(told, AHEAD);
    }

    #[test]
    fn one_device_has_no_company_and_bad_news_are_its_own() {
        let mut schedule = schedule(1, &["a", "b"]);
        assert_eq!(begun(&mut schedule, "a"), ["0 a"]);
        assert_eq!(schedule.land(0, report()), Ok(Landing::Goes));
        assert_eq!(schedule.take("a"), Some(report()));
    }

    #[test]
    fn who_ran_when_the_kernel_spoke_runs_again_alone() {
        let mut schedule = schedule(2, &["a", "b", "c"]);
        assert_eq!(begun(&mut schedule, "a"), ["0 a", "1 b"]);
        assert_eq!(schedule.land(0, report()), Ok(Landing::Goes));
        assert_eq!(begun(&mut schedule, "a"), [""; 0], "b still runs");
        assert_eq!(schedule.land(1, pass()), Ok(Landing::Goes));
        assert_eq!(begun(&mut schedule, "a"), ["0 a"], "nothing beside it");
        assert_eq!(schedule.land(0, report()), Ok(Landing::Goes));
        assert_eq!(schedule.take("a"), Some(report()));
        assert_eq!(begun(&mut schedule, "b"), ["0 b"]);
        assert_eq!(schedule.land(0, pass()), Ok(Landing::Goes));
        assert_eq!(schedule.take("b"), Some(pass()), "it was the other");
        assert_eq!(begun(&mut schedule, "c"), ["0 c"]);
    }

    fn leak() -> Done {
        let mut done = Done { outcome: Outcome::without_judgement(Verdict::Fail, "memory is left"), lost: None };
        done.outcome.accuse(&wear::MEMORY, "[9, 9, 9] bytes more".to_owned());
        done
    }

    #[test]
    fn memory_left_beside_other_checks_is_measured_again_alone() {
        for (second, verdict) in [(pass(), Verdict::Pass), (leak(), Verdict::Fail)] {
            let mut schedule = schedule(2, &["a", "b", "c"]);
            assert_eq!(begun(&mut schedule, "a"), ["0 a", "1 b"]);
            assert_eq!(schedule.land(0, leak()), Ok(Landing::Goes));
            assert_eq!(begun(&mut schedule, "a"), [""; 0], "b still runs");
            assert_eq!(schedule.land(1, pass()), Ok(Landing::Goes));
            assert_eq!(begun(&mut schedule, "a"), ["0 a"], "nothing beside it");
            assert_eq!(schedule.land(0, second), Ok(Landing::Goes));
            let outcome = schedule.take("a").expect("a result").outcome;
            assert_eq!(outcome.verdict, verdict, "the second result counts");
            assert!(outcome.evidence.notes[0].ends_with("[9, 9, 9] bytes more"), "{:?}", outcome.evidence.notes);
            assert_eq!(schedule.take("b"), Some(pass()), "b has nothing to do with it");
        }
    }

    #[test]
    fn memory_left_by_a_check_that_ran_alone_is_its_own() {
        let mut schedule = schedule(1, &["a"]);
        assert_eq!(begun(&mut schedule, "a"), ["0 a"]);
        assert_eq!(schedule.land(0, leak()), Ok(Landing::Goes));
        assert_eq!(schedule.take("a"), Some(leak()));
    }

    #[test]
    fn a_hang_and_a_lost_guest_are_trouble_each_by_itself() {
        let blocked = Done { lost: Some("stuck".to_owned()), ..pass() };
        let hang = Done { outcome: Outcome::without_judgement(Verdict::Hang, "stuck"), lost: None };
        for trouble in [blocked, hang] {
            let mut schedule = schedule(2, &["a", "b"]);
            assert_eq!(begun(&mut schedule, "a").len(), 2);
            assert!(schedule.land(0, trouble).is_ok());
            assert_eq!(schedule.take("a"), None, "it is done again");
        }
    }

    #[test]
    fn troubles_of_others_are_told_apart() {
        let mut schedule = schedule(2, &["a", "b", "c", "d"]);
        assert_eq!(begun(&mut schedule, "a"), ["0 a", "1 b"]);
        assert_eq!(schedule.crash(Done::lost(Verdict::Crash, "panic")), None);
        assert_eq!(begun(&mut schedule, "c"), ["0 c", "1 d"]);
        assert_eq!(schedule.land(0, report()), Ok(Landing::Goes));
        assert_eq!(schedule.land(1, pass()), Ok(Landing::Goes));
        // One of the first two is found out, and neither of the others.
        for (check, alone, verdict) in [
            ("a", report(), Verdict::Fail),
            ("b", pass(), Verdict::Pass),
            ("c", pass(), Verdict::Pass),
            ("d", pass(), Verdict::Fail),
        ] {
            assert_eq!(begun(&mut schedule, check), [format!("0 {check}")]);
            assert_eq!(schedule.land(0, alone), Ok(Landing::Goes));
            assert_eq!(schedule.take(check).map(|done| done.outcome.verdict), Some(verdict), "{check}");
        }
    }

    #[test]
    fn who_had_company_until_just_now_is_not_accused_of_a_crash_at_once() {
        let mut schedule = schedule(2, &["a", "b"]);
        assert_eq!(begun(&mut schedule, "a").len(), 2);
        assert_eq!(schedule.land(1, pass()), Ok(Landing::Goes));
        let crash = Done::lost(Verdict::Crash, "panic");
        assert_eq!(schedule.crash(crash.clone()), None);
        assert_eq!(begun(&mut schedule, "a"), ["0 a"]);
        assert_eq!(schedule.crash(crash.clone()), Some(crash), "it did it again alone");
    }

    #[test]
    fn what_nobody_does_again_is_told_all_the_same() {
        let mut schedule = schedule(2, &["a", "b"]);
        assert_eq!(begun(&mut schedule, "a").len(), 2);
        assert_eq!(schedule.crash(Done::lost(Verdict::Crash, "panic")), None);
        for (check, verdict) in [("a", Verdict::Pass), ("b", Verdict::Crash)] {
            assert_eq!(begun(&mut schedule, check), [format!("0 {check}")]);
            assert_eq!(schedule.land(0, pass()), Ok(Landing::Goes));
            let done = schedule.take(check).expect("a result");
            assert_eq!((done.outcome.verdict, done.lost), (verdict, None));
        }
    }

    #[test]
    fn a_lost_guest_takes_all_that_ran_with_it() {
        let mut schedule = schedule(2, &["a", "b"]);
        assert_eq!(begun(&mut schedule, "a").len(), 2);
        let lost = Done::lost(Verdict::Hang, "stuck");
        assert_eq!(schedule.land(1, lost.clone()), Ok(Landing::Spent("stuck".to_owned())));
        assert_eq!(begun(&mut schedule, "a"), ["0 a"]);
        assert_eq!(schedule.land(0, pass()), Ok(Landing::Goes));
        assert_eq!(schedule.take("a"), Some(pass()));
        assert_eq!(begun(&mut schedule, "b"), ["0 b"]);
        assert_eq!(schedule.crash(lost.clone()), Some(lost), "it ran alone");
    }

    #[test]
    fn what_wedges_this_kernel_runs_alone() {
        let wedging = || Announced { hangs_without: Some(&Fix::BLOCKED_ARCS), ..announced("b") };
        let on = |release: &str| {
            let mut schedule = Schedule::new(2);
            schedule.announce(vec![announced("a"), wedging(), announced("c"), announced("d")]);
            schedule.know_kernel(release);
            schedule
        };
        assert_eq!(begun(&mut on("6.12.96"), "a"), ["0 a", "1 b"]);
        let mut schedule = on("6.12.95+deb12-amd64");
        assert_eq!(begun(&mut schedule, "a"), ["0 a", "1 c"]);
        assert_eq!(schedule.land(0, pass()), Ok(Landing::Goes));
        assert_eq!(begun(&mut schedule, "b"), [""; 0], "c still runs");
        assert_eq!(schedule.land(1, pass()), Ok(Landing::Goes));
        assert_eq!(begun(&mut schedule, "b"), ["0 b"], "nothing beside it");
        let stuck = Done::lost(Verdict::Hang, "stuck");
        assert_eq!(schedule.land(0, stuck.clone()), Ok(Landing::Goes));
        assert_eq!(schedule.take("b"), Some(stuck), "nobody else is suspected");
    }

    fn killed() -> Done {
        Done::lost(Verdict::Blocked, "QEMU was killed by signal 9 (SIGKILL), which is no fault of the device")
    }

    #[test]
    fn of_a_guest_that_somebody_killed_the_second_run_counts() {
        let mut schedule = schedule(2, &["a", "b"]);
        assert_eq!(begun(&mut schedule, "a").len(), 2);
        assert_eq!(schedule.crash(killed()), None);
        for check in ["a", "b"] {
            assert_eq!(begun(&mut schedule, check), [format!("0 {check}")]);
            assert_eq!(schedule.land(0, pass()), Ok(Landing::Goes));
            let done = schedule.take(check).expect("a result");
            assert_eq!(done.outcome.verdict, Verdict::Pass, "{check}");
            assert!(done.outcome.evidence.notes[0].contains("signal 9"), "{:?}", done.outcome.evidence.notes);
        }
    }

    #[test]
    fn of_a_guest_with_one_device_that_somebody_killed_the_second_run_counts_too() {
        let mut schedule = schedule(1, &["a"]);
        for _ in 0..MOST_LOSSES {
            assert_eq!(begun(&mut schedule, "a"), ["0 a"]);
            assert_eq!(schedule.crash(killed()), None);
        }
        assert_eq!(begun(&mut schedule, "a"), ["0 a"]);
        let done = schedule.crash(killed()).expect("a result, since it may be the check that does it");
        assert_eq!((done.outcome.verdict, done.outcome.evidence.notes.len()), (Verdict::Blocked, MOST_LOSSES));
    }

    #[test]
    fn what_the_kernel_reported_before_somebody_killed_the_guest_is_not_lost() {
        let mut schedule = schedule(2, &["a", "b"]);
        assert_eq!(begun(&mut schedule, "a").len(), 2);
        assert_eq!(schedule.crash(Done { lost: killed().lost, ..report() }), None);
        for (check, verdict) in [("a", Verdict::Pass), ("b", Verdict::Fail)] {
            assert_eq!(begun(&mut schedule, check), [format!("0 {check}")]);
            assert_eq!(schedule.land(0, pass()), Ok(Landing::Goes));
            assert_eq!(schedule.take(check).map(|done| done.outcome.verdict), Some(verdict), "{check}");
        }
    }

    #[test]
    fn what_ran_while_something_stood_still_runs_again_unless_it_passed() {
        const LONG_STOP: Duration = Duration::from_secs(1000);
        let hang = || Done { outcome: Outcome::without_judgement(Verdict::Hang, "late"), lost: None };
        let mut schedule = schedule(2, &["a", "b", "c"]);
        assert_eq!(begun(&mut schedule, "a"), ["0 a", "1 b"]);
        schedule.stood_still(LONG_STOP);
        assert!(schedule.patience(|_| LONG) > LONG / 2, "the time of the stop does not count");
        assert_eq!(schedule.land(0, hang()), Ok(Landing::Goes));
        assert_eq!(schedule.land(1, pass()), Ok(Landing::Goes));
        assert_eq!(schedule.take("b").map(|done| done.outcome.verdict), Some(Verdict::Pass));
        assert_eq!((schedule.take("a"), begun(&mut schedule, "a")), (None, vec!["0 a".into(), "1 c".into()]));
        assert_eq!(schedule.land(0, pass()), Ok(Landing::Goes));
        let done = schedule.take("a").expect("a result");
        assert_eq!((done.outcome.verdict, done.outcome.evidence.notes.len()), (Verdict::Pass, 1));
    }

    #[test]
    fn a_guest_that_is_lost_while_something_stood_still_accuses_nobody() {
        let mut schedule = schedule(2, &["a", "b"]);
        assert_eq!(begun(&mut schedule, "a").len(), 2);
        schedule.stood_still(LONG);
        assert_eq!(schedule.crash(Done::lost(Verdict::Hang, "silent")), None);
        assert_eq!(begun(&mut schedule, "a"), ["0 a", "1 b"], "neither is suspected");
        schedule.stood_still(LONG);
        assert_eq!(schedule.land(1, Done::lost(Verdict::Hang, "stuck")), Ok(Landing::Spent("stuck".to_owned())));
        assert_eq!(begun(&mut schedule, "a"), ["0 a", "1 b"]);
    }

    #[test]
    fn a_result_out_of_nowhere_is_refused() {
        assert!(schedule(1, &[]).land(0, pass()).is_err());
        assert!(schedule(1, &[]).land(7, pass()).is_err());
    }
}
