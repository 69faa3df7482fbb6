//! Wear: what many sessions, and opening the device again and again, leave behind.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::device::{Footprint, RebindError};
use crate::harness::bench::{Batch, Bench, errno_name};
use crate::harness::check::{Check, Interruption, Judgement, Lack, Obstacle, Skip};
use crate::harness::session::{Direction, Session};
use crate::requirement::Requirement;
use crate::requirement::reset as reset_rules;
use crate::requirement::session::LOST_FD;
use crate::requirement::wear::*;
use crate::uapi::state::State;

use super::{lower, no_method, set_unanswerable, stream_for};

/// Others on the machine take and give too, so growth counts only if it is there in so many batches in a row.
const BATCHES: usize = 3;
/// Sessions of a batch, at least.
const SESSIONS: usize = 8;
/// Those of a batch that end in a way that takes a PCI device a tenth of a second or more.
const SLOW_SESSIONS: usize = 3;
/// Where the user wants many sessions, one of so many is of this kind.
const SLOW_ONE_OF: usize = 10;
/// Small objects that seem to be left are looked for again after so many, or as many as there is time for.
const MANY_SESSIONS: usize = 600;
const TIME_FOR_MANY: Duration = Duration::from_secs(4);
/// What each processor keeps prepared of them may grow by as many for a while.
const PREPARED: i64 = 150;
/// How often the driver of a batch gives the device up and takes it again.
const REBINDS: usize = 2;
/// Less than this for each session, or each time, is lost in what else goes on.
const NOTICEABLE_BYTES: u64 = 64 << 10;

/// Nobody watches for longer what others do.
const LONGEST_IDLE: Duration = Duration::from_secs(1);

/// A check may take this much longer than others: what the kernel holds back is waited for before a finding, and a finding is
/// measured twice.
pub const WAITS: Duration = Duration::from_secs(30);

pub(super) fn checks() -> Vec<Check> {
    // The longest ones first, so that none of them is left over where devices share the work.
    let mut checks = vec![
        Check::new("wear::bound_again", &[&REBIND, &DESCRIPTORS, &MEMORY, &MODULE], bound_again),
        Check::new("wear::opened_again", &[&BEGINS_AGAIN, &DESCRIPTORS, &MEMORY, &MODULE], opened_again),
    ];
    for state in [State::PreCopy, State::StopCopy, State::Resuming] {
        let name = format!("wear::sessions_of_{}", lower(state));
        checks.push(Check::new(name, &[&BEGINS_AGAIN, &DESCRIPTORS, &MEMORY, &MODULE], move |bench| {
            sessions(bench, state)
        }));
    }
    for (name, state) in [
        ("wear::lost_data_fds", State::StopCopy),
        ("wear::lost_data_fds_of_pre_copy", State::PreCopy),
        ("wear::lost_data_fds_of_resuming", State::Resuming),
    ] {
        checks.push(Check::new(name, &[&BEGINS_AGAIN, &DESCRIPTORS, &MEMORY, &MODULE], move |bench| {
            lost_data_fds(bench, state)
        }));
    }
    checks.extend([
        Check::new("wear::closed_in_a_session", &[&BEGINS_AGAIN, &DESCRIPTORS, &MEMORY, &MODULE], |bench| {
            ended_from_outside(bench, "closing the device", Bench::open_again)
        }),
        Check::new("wear::reset_in_a_session", &[&BEGINS_AGAIN, &DESCRIPTORS, &MEMORY, &MODULE], |bench| {
            ended_from_outside(bench, "a reset", reset)
        }),
    ]);
    checks
}

fn sessions(bench: &mut Bench, state: State) -> Judgement {
    let stream = stream_for(bench, state)?;
    wears_nothing(bench, &format!("sessions in {state}"), Pace::Quick, |bench| one_session(bench, state, &stream))
}

/// How often something is done in a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// As often as it fits into a moment, but not less often than a few times.
    Quick,
    /// A few times, since each takes a while.
    Slow,
}

impl Pace {
    fn batch(self, bench: &mut Bench, round: impl Fn(&mut Bench) -> Judgement) -> Judgement<Batch> {
        let slow = bench.wear().map_or(SLOW_SESSIONS, |sessions| SLOW_SESSIONS.max(sessions / SLOW_ONE_OF));
        match self {
            Pace::Quick => bench.wear_out(SESSIONS, round),
            Pace::Slow => bench.wear_out_times(slow, round),
        }
    }
}

/// What is done again and again leaves nothing.
fn wears_nothing(bench: &mut Bench, what: &str, pace: Pace, round: impl Fn(&mut Bench) -> Judgement) -> Judgement {
    // What is needed once is not wear.
    round(bench)?;
    let descriptors = bench.open_descriptors()?;
    let measured = measure(bench, |bench| pace.batch(bench, &round), &round);
    let worn = begins_again(bench, &BEGINS_AGAIN, what, measured)?;
    let asked = format!("{} {what}", worn.in_all);
    bench.judge(&BEGINS_AGAIN, true, &asked, "each to begin as the first did", "")?;
    no_descriptor_is_left(bench, &asked, descriptors)?;
    let asked = format!("{} {what}", worn.times);
    no_reference_is_left(bench, &asked, &worn)?;
    memory_is_given_back(bench, &asked, &worn)
}

/// What was done once has worked, so what blocks it later is what the times before have left.
fn begins_again<T>(
    bench: &mut Bench,
    requirement: &'static Requirement,
    what: &str,
    done: Judgement<T>,
) -> Judgement<T> {
    let Err(Interruption::Blocked { by: Obstacle::Requirement(_), why }) = done else {
        return done;
    };
    bench.judge(requirement, false, format!("many {what}"), "each to begin as the first did", why)?;
    Err(Interruption::Broken)
}

/// What it has left behind to do something many times.
struct Many {
    times: usize,
    before: Footprint,
    after: Footprint,
}

impl Many {
    /// How many objects have come on top, at least, if every third time has left one.
    fn least(&self) -> i64 {
        every_third(self.times).max(PREPARED)
    }
}

/// What batches have left behind.
struct Worn {
    /// How often it was done in a batch, at least.
    times: usize,
    /// How often it was done in all.
    in_all: usize,
    /// How long one took, at most.
    took: Duration,
    /// What was in use before the first batch and after each of them.
    footprints: Vec<Footprint>,
    /// What was in use before and after nothing was done for as long.
    idle: Option<[Footprint; 2]>,
    /// What was seen of many times more, where small objects seemed to be left.
    many: Option<Many>,
    /// What is in use once all that was freed is given back, where that is worth waiting for and can be said.
    settled: Option<Footprint>,
}

/// Measures a second time where the first time shows something left. Memory and references are figures of the whole machine,
/// so what happens only once may be another's doing: the second measurement counts, and a note has both.
fn measure(
    bench: &mut Bench,
    batch: impl Fn(&mut Bench) -> Judgement<Batch>,
    round: impl Fn(&mut Bench) -> Judgement,
) -> Judgement<Worn> {
    let first = wear(bench, &batch, &round)?;
    if !first.keeps_references() && first.memory_left() != Some(true) {
        return Ok(first);
    }
    let second = wear(bench, &batch, &round)?;
    bench.note(format!("measured twice: first {}; then {}", first.figures(), second.figures()));
    Ok(Worn { in_all: first.in_all + second.in_all, ..second })
}

/// Does a batch again and again, as long as something grows, and many where small objects seem to be left.
fn wear(
    bench: &mut Bench,
    batch: impl Fn(&mut Bench) -> Judgement<Batch>,
    round: impl Fn(&mut Bench) -> Judgement,
) -> Judgement<Worn> {
    let footprints = vec![bench.footprint()];
    let mut worn =
        Worn { times: usize::MAX, in_all: 0, took: Duration::ZERO, footprints, idle: None, many: None, settled: None };
    for _ in 0..BATCHES {
        let Batch { times, took } = batch(bench)?;
        worn.times = worn.times.min(times);
        worn.in_all += times;
        worn.took = worn.took.max(took);
        worn.footprints.push(bench.footprint());
        if !worn.grows() {
            return Ok(worn);
        }
    }
    if worn.memory_grows() {
        let before = bench.footprint();
        bench.watch(worn.took.min(LONGEST_IDLE));
        worn.idle = Some([before, bench.footprint()]);
    }
    // Where nobody can say when what was freed is given back, nobody is accused either.
    if !worn.objects().is_empty() && bench.can_settle() {
        let before = bench.footprint();
        let Batch { times, .. } = bench.wear_out_within(MANY_SESSIONS, TIME_FOR_MANY, round)?;
        worn.in_all += times;
        worn.many = Some(Many { times, before, after: bench.footprint() });
    }
    if worn.memory_grows() {
        worn.settled = bench.settled_footprint(|footprint| worn.is_more_than_before(footprint));
    }
    Ok(worn)
}

impl Worn {
    /// What came on top in each batch, as far as it is known.
    fn growth(&self, of: impl Fn(&Footprint) -> Option<u64>) -> Option<Vec<i64>> {
        self.footprints.windows(2).map(|pair| grown(&pair[0], &pair[1], &of)).collect()
    }

    /// Whether about as much comes on top while nothing is done, which is the doing of others then.
    fn is_others(&self, growth: &[i64], of: impl Fn(&Footprint) -> Option<u64>) -> bool {
        let idle = self.idle.as_ref().and_then(|[before, after]| grown(before, after, of));
        let longer = self.took.as_secs_f64() / self.took.min(LONGEST_IDLE).as_secs_f64().max(f64::MIN_POSITIVE);
        let in_all: i64 = growth.iter().sum();
        idle.is_some_and(|idle| idle as f64 * longer * (4 * BATCHES) as f64 > in_all as f64)
    }

    fn bytes_grow(&self) -> bool {
        let of = |footprint: &Footprint| footprint.kernel_bytes;
        self.bytes().is_some_and(|growth| is_steady(&growth, self.noticeable_bytes()) && !self.is_others(&growth, of))
    }

    fn references(&self) -> Option<Vec<i64>> {
        self.growth(|footprint| footprint.module_references)
    }

    fn bytes(&self) -> Option<Vec<i64>> {
        self.growth(|footprint| footprint.kernel_bytes)
    }

    /// What came on top of each kind of objects of which there were more after each batch, as if one was left every third
    /// time. A few of them are anybody's.
    fn objects(&self) -> BTreeMap<&str, Vec<i64>> {
        if self.times < SESSIONS {
            return BTreeMap::new();
        }
        let kinds = self.footprints[0].objects.keys().map(String::as_str);
        let is_left = |kind: &str, growth: &[i64]| {
            let of = count_of(kind);
            is_steady(growth, every_third(self.times)) && !self.is_others(growth, &of) && self.has_come_many_times(of)
        };
        kinds
            .filter_map(|kind| Some((kind, self.growth(count_of(kind))?)))
            .filter(|(kind, growth)| is_left(kind, growth))
            .collect()
    }

    /// Whether it came on top when it was done many times, if it was.
    fn has_come_many_times(&self, of: impl Fn(&Footprint) -> Option<u64>) -> bool {
        let has_come = |many: &Many| grown(&many.before, &many.after, of).is_some_and(|grown| grown >= many.least());
        self.many.as_ref().is_none_or(has_come)
    }

    fn noticeable_bytes(&self) -> i64 {
        (NOTICEABLE_BYTES * self.times as u64).cast_signed()
    }

    fn memory_grows(&self) -> bool {
        self.bytes_grow() || !self.objects().is_empty()
    }

    fn grows(&self) -> bool {
        let references = self.references().is_some_and(|growth| is_steady(&growth, self.times as i64));
        references || self.memory_grows()
    }

    /// Whether each of the batches has left a reference to the module for each time.
    fn keeps_references(&self) -> bool {
        self.references().is_some_and(|growth| growth.len() == BATCHES && is_steady(&growth, self.times as i64))
    }

    /// Whether memory is left; `None` where the kernel holds back what is freed, so that this cannot be known.
    fn memory_left(&self) -> Option<bool> {
        match self.footprints.len() > BATCHES && self.memory_grows() {
            true => self.settled.as_ref().map(|settled| self.is_more_than_before(settled)),
            false => Some(false),
        }
    }

    /// What came on top in each batch, in words.
    fn figures(&self) -> String {
        let references = self.references().map(|growth| format!("{growth:?} references, ")).unwrap_or_default();
        let bytes = self.bytes().map_or_else(|| "an unknown number of".to_owned(), |growth| format!("{growth:?}"));
        let objects: String = self.objects().iter().map(|(kind, growth)| format!(", {growth:?} of {kind}")).collect();
        format!("{references}{bytes} bytes{objects} more in {} batches", self.footprints.len() - 1)
    }

    /// Whether what has grown steadily is still there.
    fn is_more_than_before(&self, now: &Footprint) -> bool {
        let first = &self.footprints[0];
        let batches = BATCHES as i64;
        let has_kept = |of: &dyn Fn(&Footprint) -> Option<u64>, least: i64| {
            grown(first, now, of).is_some_and(|grown| grown >= least)
        };
        let bytes =
            self.bytes_grow() && has_kept(&|footprint| footprint.kernel_bytes, self.noticeable_bytes() * batches);
        let least = every_third(self.times) * batches + self.many.as_ref().map_or(0, Many::least);
        bytes || self.objects().keys().any(|kind| has_kept(&count_of(kind), least))
    }
}

/// What came on top between two looks, as far as it is known.
fn grown(before: &Footprint, after: &Footprint, of: impl Fn(&Footprint) -> Option<u64>) -> Option<i64> {
    Some(of(after)?.cast_signed() - of(before)?.cast_signed())
}

/// How many objects of a kind there are.
fn count_of(kind: &str) -> impl Fn(&Footprint) -> Option<u64> {
    move |footprint| footprint.objects.get(kind).copied()
}

/// How many objects there are more, at least, if every third of so many sessions leaves one.
fn every_third(sessions: usize) -> i64 {
    (sessions / 3) as i64
}

/// Whether each batch has brought so much.
fn is_steady(growth: &[i64], least: i64) -> bool {
    growth.iter().all(|growth| *growth >= least)
}

fn one_session(bench: &mut Bench, state: State, stream: &[u8]) -> Judgement {
    let session = bench.bring_to_session(state)?;
    use_it(bench, &session, stream)?;
    bench.move_to(state, State::Running)?;
    bench.close(session);
    Ok(())
}

fn use_it(bench: &mut Bench, session: &Session, stream: &[u8]) -> Judgement {
    match session.direction() {
        // A session that was left early has most to clear away.
        Direction::Saving => bench.read_part(session, 1).map(drop).or(Ok(())),
        Direction::Resuming => bench.load(session, stream),
    }
}

/// The session is ended from outside, and its data_fd is closed after that.
fn ended_from_outside(bench: &mut Bench, how: &str, end: fn(&mut Bench) -> Judgement) -> Judgement {
    let what = format!("sessions in STOP_COPY, each ended by {how}, and the data_fd closed later");
    wears_nothing(bench, &what, Pace::Slow, |bench| {
        let session = bench.bring_to_session(State::StopCopy)?;
        end(bench)?;
        bench.close(session);
        bench.bring_back()
    })
}

fn opened_again(bench: &mut Bench) -> Judgement {
    wears_nothing(bench, "times close the device, and open it", Pace::Quick, Bench::open_again)
}

fn reset(bench: &mut Bench) -> Judgement {
    bench.reset().map(drop).map_err(|errno| {
        Interruption::blocked_by(&reset_rules::RUNNING, format!("RESET answered {}", errno_name(errno)))
    })
}

/// Sessions whose data_fd nobody got, so nobody can close it.
fn lost_data_fds(bench: &mut Bench, state: State) -> Judgement {
    if !bench.capabilities().has(state) {
        return bench.bring_to(state).map(drop);
    }
    let pace = match state {
        // Without a stream it is left by a reset.
        State::Resuming => Pace::Slow,
        _ => Pace::Quick,
    };
    let what = format!("sessions in {state} whose data_fd could not be handed over");
    wears_nothing(bench, &what, pace, |bench| lose_data_fd(bench, state))
}

fn lose_data_fd(bench: &mut Bench, state: State) -> Judgement {
    let (asked, answer) = set_unanswerable(bench, state);
    if answer.is_ok() {
        return Err(Interruption::blocked_by(&LOST_FD, format!("{asked}: it did not fail")));
    }
    bench.bring_back()
}

/// The driver gives the device up after a session, and takes it again.
fn bound_again(bench: &mut Bench) -> Judgement {
    let asked = "a session, then close the device, unbind it from its driver, bind it, and open it";
    // What is needed once is not wear.
    rebind(bench)?;
    let descriptors = bench.open_descriptors()?;
    let round = |bench: &mut Bench| {
        rebind(bench)?;
        bench.expect_state(&REBIND, asked, State::Running)
    };
    let measured = measure(bench, |bench| bench.wear_out_times(REBINDS, round), round);
    let worn = begins_again(bench, &REBIND, &format!("times {asked}"), measured)?;
    begin_to_save(bench)?;
    bench.judge(&REBIND, true, asked, "a device that can be saved", "")?;
    no_descriptor_is_left(bench, &format!("{} times {asked}", worn.in_all), descriptors)?;
    let asked = format!("{REBINDS} times {asked}");
    no_reference_is_left(bench, &asked, &worn)?;
    memory_is_given_back(bench, &asked, &worn)
}

fn begin_to_save(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_session(State::StopCopy)?;
    bench.close(session);
    Ok(())
}

fn rebind(bench: &mut Bench) -> Judgement {
    begin_to_save(bench)?;
    match bench.rebind() {
        Ok(()) => Ok(()),
        Err(RebindError::NotByHand) => Err(no_method("only a PCI function can be unbound from its driver")),
        Err(RebindError::NotAllowed(path)) => {
            let what = Lack::Permission { path: path.display().to_string() };
            Err(Interruption::Skip(Skip::Lacks { what }))
        }
        Err(error) => {
            let asked = "unbind the device from its driver, bind it, and open it";
            bench.judge(&REBIND, false, asked, "the device to open again", error.to_string())
        }
    }
}

fn no_descriptor_is_left(bench: &mut Bench, asked: &str, had: usize) -> Judgement {
    let has = bench.open_descriptors()?;
    bench.judge(&DESCRIPTORS, has <= had, asked, format!("{had} descriptors as before"), has.to_string())
}

fn no_reference_is_left(bench: &mut Bench, asked: &str, worn: &Worn) -> Judgement {
    let Some(growth) = worn.references() else {
        bench.note("sysfs does not say how often the driver's module is referred to");
        return Ok(());
    };
    let is_kept = !worn.keeps_references();
    let expected = "no reference to the module more for each of them";
    let seen = format!("{growth:?} more, one time after the other");
    bench.judge(&MODULE, is_kept, in_batches(asked), expected, seen)
}

fn memory_is_given_back(bench: &mut Bench, asked: &str, worn: &Worn) -> Judgement {
    let Some(bytes) = worn.bytes() else {
        bench.note("the kernel does not say how much memory it uses");
        return Ok(());
    };
    let Some(is_left) = worn.memory_left() else {
        bench.note("KASAN holds back what is freed, so nobody can say what is left");
        return Ok(());
    };
    let noticeable = worn.noticeable_bytes();
    let expected = format!("less than {noticeable} bytes more, and no object more for every third of them");
    let objects: String = worn.objects().iter().map(|(kind, growth)| format!(", {growth:?} of {kind}")).collect();
    let seen = format!("{bytes:?} bytes more{objects}, one time after the other");
    bench.judge(&MEMORY, !is_left, in_batches(asked), expected, seen)
}

fn in_batches(asked: &str) -> String {
    format!("{asked}, {BATCHES} times")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: u64 = 20;

    fn footprint(bytes: u64, objects: u64) -> Footprint {
        let objects = [("kmalloc-512".to_owned(), objects), ("filp".to_owned(), 100)].into();
        Footprint { module_references: Some(1), kernel_bytes: Some(bytes), objects }
    }

    /// Batches that leave so many bytes and objects each.
    fn worn(bytes: [u64; BATCHES], objects: [u64; BATCHES]) -> Worn {
        let sums = |growth: [u64; BATCHES]| {
            growth.into_iter().scan(1 << 30, |sum: &mut u64, more| {
                *sum += more;
                Some(*sum)
            })
        };
        let first = footprint(1 << 30, 1 << 30);
        let after = sums(bytes).zip(sums(objects)).map(|(bytes, objects)| footprint(bytes, objects));
        let footprints = std::iter::once(first).chain(after).collect();
        Worn {
            times: TIMES as usize,
            in_all: TIMES as usize * BATCHES,
            took: Duration::from_millis(100),
            footprints,
            idle: None,
            many: None,
            settled: None,
        }
    }

    #[test]
    fn only_what_grows_with_each_batch_is_suspicious() {
        let enough = NOTICEABLE_BYTES * TIMES;
        assert!(worn([enough; BATCHES], [0; BATCHES]).grows());
        assert!(worn([0; BATCHES], [TIMES / 3; BATCHES]).grows());
        for (bytes, objects) in [
            ([enough, enough, enough - 1], [0; BATCHES]),
            ([0; BATCHES], [TIMES, TIMES, TIMES / 3 - 1]),
            ([0, 10 * enough, enough], [100 * TIMES, 0, 100 * TIMES]),
        ] {
            assert!(!worn(bytes, objects).grows(), "{bytes:?}, {objects:?}");
        }
    }

    #[test]
    fn what_processors_keep_prepared_does_not_grow_with_many_sessions() {
        let left = |times: usize, objects: u64| {
            let mut worn = worn([0; BATCHES], [TIMES; BATCHES]);
            let (before, after) = (footprint(0, 1000), footprint(0, 1000 + objects));
            worn.many = Some(Many { times, before, after });
            let batches = (1 << 30) + 3 * (TIMES / 3);
            let settled = |more| worn.is_more_than_before(&footprint(1 << 30, batches + more));
            (!worn.objects().is_empty(), settled(objects), settled(objects - 1))
        };
        assert_eq!(left(MANY_SESSIONS, 200), (true, true, false));
        assert_eq!(left(MANY_SESSIONS, 199), (false, false, false));
        // Where there was time for a few, they are no more than anybody's.
        assert_eq!(left(100, 150), (true, true, false));
        assert_eq!(left(100, 149), (false, false, false));
    }

    #[test]
    fn what_is_given_back_late_is_not_left() {
        let small = worn([0; BATCHES], [TIMES; BATCHES]);
        let left = |objects| small.is_more_than_before(&footprint(1 << 30, (1 << 30) + objects));
        assert!(left(3 * TIMES) && left(3 * (TIMES / 3)));
        assert!(!left(3 * (TIMES / 3) - 1) && !left(0));
        let large = worn([NOTICEABLE_BYTES * TIMES; BATCHES], [0; BATCHES]);
        let left = |bytes| large.is_more_than_before(&footprint((1 << 30) + bytes, (1 << 30) + 1000));
        assert!(left(3 * NOTICEABLE_BYTES * TIMES) && !left(3 * NOTICEABLE_BYTES * TIMES - 1));
    }

    #[test]
    fn what_grows_while_nothing_is_done_is_the_doing_of_others() {
        let grows = |bytes, objects| {
            let mut worn = worn([NOTICEABLE_BYTES * TIMES; BATCHES], [TIMES; BATCHES]);
            worn.idle = Some([footprint(0, 0), footprint(bytes, objects)]);
            (worn.bytes_grow(), !worn.objects().is_empty())
        };
        let (byte_noise, object_noise) = (NOTICEABLE_BYTES * TIMES / 4, TIMES / 4);
        assert_eq!(grows(0, 0), (true, true));
        assert_eq!(grows(byte_noise, object_noise), (true, true));
        assert_eq!(grows(byte_noise + 1, object_noise), (false, true));
        assert_eq!(grows(byte_noise, object_noise + 1), (true, false));
    }

    #[test]
    fn a_few_objects_are_anybodys() {
        let mut worn = worn([0; BATCHES], [TIMES; BATCHES]);
        worn.times = SESSIONS - 1;
        assert!(!worn.grows());
    }

    #[test]
    fn where_nothing_is_known_nothing_grows() {
        let unknown = vec![Footprint::default(); BATCHES + 1];
        let worn = Worn { footprints: unknown, ..worn([0; BATCHES], [0; BATCHES]) };
        assert!(!worn.grows() && worn.references().is_none() && worn.bytes().is_none() && worn.objects().is_empty());
    }
}
