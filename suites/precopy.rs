//! PRE_COPY: what PRECOPY_INFO estimates, the temporary end of the stream, and waiting for what comes after it.

use std::fmt;
use std::time::Duration;

use crate::harness::bench::{
    Bench, Drained, Estimates, KernelVersion, Raced, Rounds, Segmentation, Wait, WaitEnd, errno_name, names_of,
    placement_name, tell_readiness, tell_return, tell_size,
};
use crate::harness::check::{Check, Interruption, Judgement, Lack, Skip};
use crate::harness::measure::Sample;
use crate::harness::session::Session;
use crate::harness::stream::StreamEnd;
use crate::requirement::Requirement;
use crate::requirement::discover::{REFUSAL_CHANGES_NOTHING, UNKNOWN_FLAGS};
use crate::requirement::precopy::*;
use crate::requirement::stop_copy::ANY_READ;
use crate::stimulus::Stimulus;
use crate::uapi::Errno;
use crate::uapi::feature::{Feature, FeatureCall, Placement, Verb};
use crate::uapi::precopy::{PRECOPY_INFO_BYTES, PRECOPY_INFO_REINIT, PrecopyInfoCall};
use crate::uapi::state::State;

use super::{does_not_apply, lower, start_to_work};

const PRE_COPY_STATES: [State; 2] = [State::PreCopy, State::PreCopyP2p];

/// The first kernel whose uAPI has MIG_PRECOPY_INFOv2.
const HAS_V2: KernelVersion = KernelVersion::new(7, 1);

/// What is changed where a check does not care how much.
const CHANGED_BYTES: usize = 3000;

/// How often something is tried that a device which is never idle may spoil.
const TRIES: usize = 5;

/// Estimates that a driver renews only now and then are read again so often, so much later each time.
const LOOKS: usize = 20;
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Enough to hit a gap of a few instructions between looking and sleeping.
const RACE_ROUNDS: usize = 1000;

/// Enough to see a leak.
const CANCELLATIONS: usize = 100;

/// A flag of the feature ioctl that is not defined.
const UNKNOWN_FLAG: u32 = 1 << 19;

/// Flags that no driver answers unless it hands back what it was given.
const NONSENSE_FLAGS: u32 = 0xdead_beee;

/// How far a stream was read before something is asked of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Read {
    Nothing,
    Part,
    All,
    AllThenChanged,
}

impl Read {
    const ALL: [Read; 4] = [Read::Nothing, Read::Part, Read::All, Read::AllThenChanged];

    /// As a part of a check's name.
    fn name(self) -> &'static str {
        match self {
            Read::Nothing => "at_first",
            Read::Part => "half_way",
            Read::All => "at_the_end",
            Read::AllThenChanged => "after_a_change",
        }
    }
}

pub(super) fn checks() -> Vec<Check> {
    let check = |name: &str, requirements: &[&'static Requirement], body: fn(&mut Bench) -> Judgement| {
        Check::new(format!("precopy::{name}"), requirements, body)
    };
    let mut checks = Vec::new();
    for state in PRE_COPY_STATES {
        let name = |what: &str| format!("precopy::{what}_{}", lower(state));
        checks.extend([
            Check::new(name("info_in"), &[&INFO_WORKS], move |bench| info_works(bench, state)),
            Check::new(name("end_in"), &[&EOS_ENOMSG], move |bench| end_is_enomsg(bench, state)),
            Check::new(name("end_is_temporary_in"), &[&EOS_TEMPORARY], move |b| end_is_temporary(b, state)),
            Check::new(name("quiet_at_the_end_in"), &[&POLL_QUIET], move |bench| poll_is_quiet(bench, state)),
        ]);
    }
    checks.extend([
        check("info_in_stop_copy", &[&INFO_ELSEWHERE, &INFO_EINVAL], info_in_stop_copy),
        check("info_in_stop_copy_alone", &[&INFO_ELSEWHERE, &INFO_EINVAL], info_in_stop_copy_alone),
        check("info_in_resuming", &[&INFO_ELSEWHERE, &INFO_EINVAL], info_in_resuming),
        check("info_after_the_session", &[&INFO_ELSEWHERE, &INFO_EINVAL], info_after_the_session),
        check("info_argsz_small", &[&INFO_ARGSZ_SMALL], info_argsz_small),
        check("info_argsz_large", &[&INFO_ARGSZ_LARGE], info_argsz_large),
        check("info_bad_memory", &[&INFO_EFAULT], info_bad_memory),
        check("initial_bytes_at_first", &[&INITIAL_AT_FIRST], initial_bytes_at_first),
        check("initial_bytes_fall", &[&INITIAL_FALLS, &INITIAL_UNREAD], initial_bytes_fall),
        check("initial_bytes_reach_zero", &[&INITIAL_REACHES_ZERO], initial_bytes_reach_zero),
        check("initial_bytes_never_grow", &[&INITIAL_NEVER_GROWS], initial_bytes_never_grow),
        check("estimates_across_p2p", &[&INITIAL_NEVER_GROWS, &DELIVERS, &PROMISE], estimates_across_p2p),
        check("dirty_bytes_at_first", &[&DIRTY_AT_FIRST], dirty_bytes_at_first),
        check("dirty_bytes_unchanged", &[&DIRTY_UNCHANGED], dirty_bytes_unchanged),
        check("dirty_bytes_fall", &[&DIRTY_FALLS], dirty_bytes_fall),
        check("changes_are_streamed", &[&CHANGE_STREAMED], changes_are_streamed),
    ]);
    for read in Read::ALL {
        let name = |what: &str| format!("precopy::{what}_{}", read.name());
        checks.extend([
            Check::new(name("promise"), &[&DELIVERS, &PROMISE, &EXACT], move |bench| promise(bench, read)),
            Check::new(name("zero_is_end"), &[&ZERO_IS_END], move |bench| zero_is_end(bench, read)),
            Check::new(name("left"), &[&LEAVE], move |bench| left(bench, read)),
        ]);
    }
    checks.push(check("poll_with_data", &[&POLL_READABLE], poll_with_data));
    for (name, waits, requirement) in [
        ("poll_wakes", &[Wait::Poll] as &[Wait], None),
        ("edge_wakes", &[Wait::EpollEdge], Some(&POLL_EDGE)),
        ("several_wake", &[Wait::Poll, Wait::Poll, Wait::EpollLevel], Some(&POLL_EVERYONE)),
    ] {
        let data = requirement.unwrap_or(&POLL_WAKES_ON_DATA);
        let stop_copy = requirement.unwrap_or(&POLL_WAKES_ON_STOP_COPY);
        for (suffix, state) in [("", State::PreCopy), ("_in_p2p", State::PreCopyP2p)] {
            checks.extend([
                Check::new(format!("precopy::{name}_on_data{suffix}"), &[data], move |bench| {
                    wakes_on_data(bench, state, data, waits)
                }),
                Check::new(format!("precopy::{name}_on_stop_copy{suffix}"), &[stop_copy], move |bench| {
                    wakes_on_stop_copy(bench, state, stop_copy, waits)
                }),
            ]);
        }
    }
    checks.extend([
        check("no_wakeup_is_lost", &[&POLL_RACE], no_wakeup_is_lost),
        check("nonblocking", &[&NONBLOCK], nonblocking),
        check("left_after_work", &[&LEAVE], left_after_work),
        check("left_while_it_works", &[&LEAVE], left_while_it_works),
        check("left_through_p2p", &[&LEAVE], left_through_p2p),
        check("left_after_odd_reads", &[&LEAVE], left_after_odd_reads),
        check("cancelled", &[&CANCEL], cancelled),
        check("v2_without_pre_copy", &[&V2_NEEDS_PRE_COPY], v2_without_pre_copy),
        check("v2_opt_in", &[&V2_OPT_IN], v2_opt_in),
        check("v2_flags", &[&V2_FLAGS], v2_flags),
        check("v2_ends", &[&V2_ENDS], v2_ends),
        check("v2_refused_opt_in", &[&REFUSAL_CHANGES_NOTHING], v2_refused_opt_in),
        check("reinit_without_opt_in", &[&REINIT_NEEDS_OPT_IN, &INITIAL_NEVER_GROWS], reinit_without_opt_in),
        check("reinit", &[&REINIT_SAID, &REINIT_RESTARTS], reinit),
        check("reinit_after_a_lost_answer", &[&REINIT_AFTER_EFAULT], reinit_after_a_lost_answer),
        check("reinit_is_streamed", &[&DELIVERS, &PROMISE, &INITIAL_REACHES_ZERO, &LEAVE], reinit_is_streamed),
    ]);
    checks
}

fn info_works(bench: &mut Bench, state: State) -> Judgement {
    let session = bench.bring_to_session(state)?;
    let answer = bench.precopy_info(&session, &mut PrecopyInfoCall::default());
    let asked = format!("PRECOPY_INFO in {state}");
    bench.judge(&INFO_WORKS, answer == Ok(0), asked, "success (0)", tell_return(&answer))
}

fn info_in_stop_copy(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_session(State::PreCopy)?;
    go(bench, State::PreCopy, State::StopCopy)?;
    let answer = bench.precopy_info(&session, &mut PrecopyInfoCall::default());
    refuses_info(bench, "PRECOPY_INFO in STOP_COPY, after PRE_COPY", answer, &[Errno::EINVAL])
}

fn info_in_stop_copy_alone(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_session(State::StopCopy)?;
    let answer = bench.precopy_info(&session, &mut PrecopyInfoCall::default());
    let allowed: &[Errno] = match bench.capabilities().pre_copy {
        true => &[Errno::EINVAL],
        false => &[Errno::EINVAL, Errno::ENOTTY],
    };
    refuses_info(bench, "PRECOPY_INFO in STOP_COPY, without PRE_COPY before", answer, allowed)
}

fn info_in_resuming(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_session(State::Resuming)?;
    let answer = bench.precopy_info(&session, &mut PrecopyInfoCall::default());
    let allowed = [Errno::EINVAL, Errno::ENOTTY];
    refuses_info(bench, "PRECOPY_INFO in RESUMING", answer, &allowed)
}

fn info_after_the_session(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_session(State::PreCopy)?;
    go(bench, State::PreCopy, State::Running)?;
    let ended = session.ended();
    let answer = bench.precopy_info_of_ended(&ended);
    let allowed = [Errno::EINVAL, Errno::ENODEV];
    refuses_info(bench, "PRECOPY_INFO in RUNNING, after PRE_COPY", answer, &allowed)
}

/// It fails, and should do so with one of these.
fn refuses_info(bench: &mut Bench, asked: &str, answer: Result<i32, Errno>, customary: &[Errno]) -> Judgement {
    bench.judge(&INFO_ELSEWHERE, answer.is_err(), asked, "an error", tell_return(&answer))?;
    bench.expect_errno(&INFO_EINVAL, asked, answer, customary)
}

/// The estimates as soon as they are so, or as they are once they cannot be old any more.
fn estimates_once(bench: &mut Bench, session: &Session, is_so: impl Fn(Estimates) -> bool) -> Judgement<Estimates> {
    let mut estimates = bench.estimates(session)?;
    for _ in 1..LOOKS {
        if is_so(estimates) {
            break;
        }
        bench.watch(LOOK_EVERY);
        estimates = bench.estimates(session)?;
    }
    Ok(estimates)
}

fn info_argsz_small(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_session(State::PreCopy)?;
    for argsz in [0, 4, 8, 16, PRECOPY_INFO_BYTES - 1] {
        let answer = bench.precopy_info(&session, &mut PrecopyInfoCall { argsz, ..PrecopyInfoCall::default() });
        let asked = format!("PRECOPY_INFO with argsz {argsz}");
        bench.expect_errno(&INFO_ARGSZ_SMALL, &asked, answer, &[Errno::EINVAL])?;
    }
    Ok(())
}

fn info_argsz_large(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_session(State::PreCopy)?;
    for argsz in [PRECOPY_INFO_BYTES + 1, PRECOPY_INFO_BYTES + 8, 4096] {
        let answer = bench.precopy_info(&session, &mut PrecopyInfoCall { argsz, ..PrecopyInfoCall::default() });
        let asked = format!("PRECOPY_INFO with argsz {argsz}");
        bench.judge(&INFO_ARGSZ_LARGE, answer == Ok(0), asked, "success (0)", tell_return(&answer))?;
    }
    Ok(())
}

fn info_bad_memory(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_session(State::PreCopy)?;
    for placement in [Placement::ReadOnly, Placement::Unmapped, Placement::HeaderOnly] {
        let answer = bench.precopy_info(&session, &mut PrecopyInfoCall { placement, ..PrecopyInfoCall::default() });
        let asked = format!("PRECOPY_INFO in {}", placement_name(placement));
        bench.expect_errno(&INFO_EFAULT, &asked, answer, &[Errno::EFAULT])?;
    }
    Ok(())
}

fn initial_bytes_at_first(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_session(State::PreCopy)?;
    let estimates = bench.estimates(&session)?;
    let kept = estimates.initial_bytes > 0;
    bench.judge(&INITIAL_AT_FIRST, kept, "enter PRE_COPY", "initial_bytes above 0", estimates.to_string())
}

fn initial_bytes_fall(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_session(State::PreCopy)?;
    let first = bench.estimates(&session)?;
    if first.initial_bytes == 0 {
        return Err(Interruption::blocked_by(&INITIAL_AT_FIRST, "there is no initial data"));
    }
    let unread = bench.estimates(&session)?;
    let kept = unread.initial_bytes == first.initial_bytes;
    let asked = "PRECOPY_INFO twice with nothing read in between";
    let expected = format!("initial_bytes {} again", first.initial_bytes);
    bench.judge(&INITIAL_UNREAD, kept, asked, expected, unread.to_string())?;
    let count = read_half(bench, &session, unread.initial_bytes)?;
    let after = estimates_once(bench, &session, |now| now.initial_bytes < unread.initial_bytes)?;
    let kept = after.initial_bytes < unread.initial_bytes;
    let asked = format!("read {count} of {} initial bytes", unread.initial_bytes);
    bench.judge(&INITIAL_FALLS, kept, asked, "initial_bytes to fall", after.to_string())
}

fn initial_bytes_reach_zero(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_temporary_end(State::PreCopy)?;
    let estimates = estimates_once(bench, &session, |now| now.initial_bytes == 0)?;
    let kept = estimates.initial_bytes == 0;
    bench.judge(&INITIAL_REACHES_ZERO, kept, "read to the temporary end", "initial_bytes 0", estimates.to_string())
}

fn initial_bytes_never_grow(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_session(State::PreCopy)?;
    let first = bench.follow_estimates(&session)?;
    let mut last = first;
    let part = first.initial_bytes / 8;
    // At the end there are changes alone, first unread, then read.
    for bytes in [0, part, part, part, part, first.initial_bytes, 0, first.initial_bytes] {
        // A device that nothing changes has one reason less to break the rule.
        let changed = bench.try_stimulus(Stimulus::Dirty(CHANGED_BYTES)).is_ok();
        if bytes > 0 {
            read_up_to(bench, &session, bytes as usize)?;
        }
        let estimates = bench.follow_estimates(&session)?;
        let kept = estimates.initial_bytes <= last.initial_bytes;
        let asked = match changed {
            true => "change device state in PRE_COPY",
            false => "read in PRE_COPY",
        };
        let expected = format!("initial_bytes not above {}", last.initial_bytes);
        bench.judge(&INITIAL_NEVER_GROWS, kept, asked, expected, estimates.to_string())?;
        last = estimates;
    }
    Ok(())
}

/// PRE_COPY_P2P goes on with what PRE_COPY has begun, and PRE_COPY with that.
fn estimates_across_p2p(bench: &mut Bench) -> Judgement {
    let session = bring_to_p2p_states(bench)?;
    let mut before = read_on(bench, &session)?;
    for (from, to) in [(State::PreCopy, State::PreCopyP2p), (State::PreCopyP2p, State::PreCopy)] {
        go(bench, from, to)?;
        let after = bench.estimates(&session)?;
        let asked = format!("read a part in {from}, then go to {to}");
        let kept = after.initial_bytes <= before.initial_bytes;
        let expected = format!("initial_bytes not above {}", before.initial_bytes);
        bench.judge(&INITIAL_NEVER_GROWS, kept, asked, expected, after.to_string())?;
        before = read_on(bench, &session)?;
    }
    let drained = bench.drain(&session);
    require_temporary_end(bench, &drained)?;
    let asked = "read parts in PRE_COPY, PRE_COPY_P2P and PRE_COPY again, then what PRECOPY_INFO promises";
    keeps_promise(bench, &session, asked, before.sum(), &drained)
}

/// A session of PRE_COPY on a device that has PRE_COPY_P2P, or the skip.
fn bring_to_p2p_states(bench: &mut Bench) -> Judgement<Session> {
    match bench.capabilities().has(State::PreCopyP2p) {
        true => bench.bring_to_session(State::PreCopy),
        // Skips, once asking for it was seen to be refused.
        false => bench.bring_to_session(State::PreCopyP2p),
    }
}

/// Reads some of what is left, and returns what is left then.
fn read_on(bench: &mut Bench, session: &Session) -> Judgement<Estimates> {
    let left = bench.estimates(session)?;
    read_up_to(bench, session, (left.initial_bytes / 4).max(1) as usize)?;
    bench.estimates(session)
}

fn dirty_bytes_at_first(bench: &mut Bench) -> Judgement {
    let mut estimates = estimates_at_first(bench)?;
    for _ in 1..TRIES {
        if estimates.dirty_bytes == 0 {
            break;
        }
        bench.bring_back()?;
        estimates = estimates_at_first(bench)?;
    }
    let kept = estimates.dirty_bytes == 0;
    bench.judge(&DIRTY_AT_FIRST, kept, "enter PRE_COPY", "dirty_bytes 0", estimates.to_string())
}

fn estimates_at_first(bench: &mut Bench) -> Judgement<Estimates> {
    let session = bench.bring_to_session(State::PreCopy)?;
    bench.estimates(&session)
}

fn dirty_bytes_unchanged(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_temporary_end(State::PreCopy)?;
    let mut looks = vec![bench.estimates(&session)?.dirty_bytes];
    for _ in 1..TRIES {
        looks.push(bench.estimates(&session)?.dirty_bytes);
    }
    let least_growth = looks.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).min().unwrap_or_default();
    let asked = format!("PRECOPY_INFO {TRIES} times at the temporary end, with nothing done to the device");
    let actual = format!("dirty_bytes {looks:?}");
    bench.judge(&DIRTY_UNCHANGED, least_growth == 0, asked, "dirty_bytes not to grow each time", actual)
}

fn dirty_bytes_fall(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_temporary_end(State::PreCopy)?;
    let before = change(bench, &session)?;
    let count = read_half(bench, &session, before.dirty_bytes)?;
    let after = estimates_once(bench, &session, |now| now.dirty_bytes < before.dirty_bytes)?;
    let asked = format!("change device state, and read {count} of {} dirty bytes", before.dirty_bytes);
    bench.judge(&DIRTY_FALLS, after.dirty_bytes < before.dirty_bytes, asked, "dirty_bytes to fall", after.to_string())
}

fn changes_are_streamed(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_temporary_end(State::PreCopy)?;
    bench.stimulate(Stimulus::Dirty(CHANGED_BYTES))?;
    let estimates = estimates_once(bench, &session, |now| now.dirty_bytes > 0)?;
    let mut byte = [0u8];
    let answer = bench.read_when_ready(&session, &mut byte);
    let kept = estimates.dirty_bytes > 0 && answer == Ok(1);
    let actual = format!("{estimates}, then {} from read", tell_size(&answer));
    let asked = "change device state at the temporary end, then read";
    bench.judge(&CHANGE_STREAMED, kept, asked, "dirty_bytes above 0, then data", actual)
}

/// Compares what was promised with what came until the temporary end.
fn promise(bench: &mut Bench, read: Read) -> Judgement {
    let session = bring_to_read(bench, read)?;
    let promised = bench.estimates(&session)?.sum();
    let drained = bench.drain(&session);
    let came = drained.bytes.len() as u64;
    require_temporary_end(bench, &drained)?;
    bench.measured(Sample::Precopy { estimated: promised, read: came });
    let asked = format!("read what PRECOPY_INFO promises, {}", read.name().replace('_', " "));
    keeps_promise(bench, &session, &asked, promised, &drained)?;
    bench.judge(&EXACT, came == promised, asked, format!("{promised} bytes"), drained.to_string())
}

/// Something of what was announced comes, and should be all of it.
fn keeps_promise(bench: &mut Bench, session: &Session, asked: &str, promised: u64, drained: &Drained) -> Judgement {
    let came = drained.bytes.len() as u64;
    let actual = drained.to_string();
    if promised > 0 {
        // What was announced when it had been read already is not announced any more.
        let kept = came > 0 || estimates_once(bench, session, |now| now.sum() == 0)?.sum() == 0;
        bench.judge(&DELIVERS, kept, asked, format!("data, since {promised} bytes are announced"), &actual)?;
    }
    bench.judge(&PROMISE, came >= promised, asked, format!("at least {promised} bytes"), actual)
}

/// Where PRECOPY_INFO announces nothing, there is nothing.
fn zero_is_end(bench: &mut Bench, read: Read) -> Judgement {
    let session = bring_to_read(bench, read)?;
    let asked = format!("PRECOPY_INFO, then read, {}", read.name().replace('_', " "));
    if read != Read::All {
        // Before anything is read: what a read puts into a buffer may be announced only then.
        estimates_once(bench, &session, |now| now.sum() > 0)?;
    }
    let mut seen = look_and_read(bench, &session)?;
    for _ in 1..TRIES {
        if seen.agrees() || read != Read::All {
            break;
        }
        // A device that is never idle may have changed in between.
        bench.drain(&session);
        seen = look_and_read(bench, &session)?;
    }
    bench.judge(&ZERO_IS_END, seen.agrees(), asked, "no data if both estimates are 0", seen.to_string())
}

/// What PRECOPY_INFO said, and whether read then met the temporary end.
struct Seen {
    estimates: Estimates,
    at_end: bool,
}

impl Seen {
    /// Announced data that does not come is judged elsewhere.
    fn agrees(&self) -> bool {
        self.at_end || self.estimates.sum() > 0
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let read = if self.at_end { "the end" } else { "data" };
        write!(f, "{}, then {read} from read", self.estimates)
    }
}

fn look_and_read(bench: &mut Bench, session: &Session) -> Judgement<Seen> {
    let estimates = bench.estimates(session)?;
    match bench.read(session, &mut [0u8]) {
        Ok(1..) => Ok(Seen { estimates, at_end: false }),
        // Which of the two ends read says is judged where nothing else is.
        Ok(0) | Err(Errno::ENOMSG) => Ok(Seen { estimates, at_end: true }),
        Err(errno) => Err(read_failed(bench, errno)),
    }
}

fn end_is_enomsg(bench: &mut Bench, state: State) -> Judgement {
    let session = bench.bring_to_session(state)?;
    let drained = bench.drain(&session);
    let asked = format!("read to the temporary end in {state}");
    let kept = drained.end == StreamEnd::Temporary;
    bench.judge(&EOS_ENOMSG, kept, &asked, "ENOMSG", drained.end.to_string())?;
    for _ in 0..TRIES {
        let answer = bench.read(&session, &mut [0u8; 64]);
        // Data of a device that is never idle is no end.
        if !matches!(answer, Ok(1..)) {
            bench.judge(&EOS_ENOMSG, answer == Err(Errno::ENOMSG), &asked, "ENOMSG again", tell_size(&answer))?;
        }
    }
    Ok(())
}

fn end_is_temporary(bench: &mut Bench, state: State) -> Judgement {
    let session = bench.bring_to_temporary_end(state)?;
    let announced = change(bench, &session)?;
    let answer = bench.read_when_ready(&session, &mut [0u8; 64]);
    let asked = format!("change device state at the temporary end in {state}, then read");
    let expected = format!("data, since there are {announced}");
    bench.judge(&EOS_TEMPORARY, matches!(answer, Ok(1..)), asked, expected, tell_size(&answer))
}

fn poll_with_data(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_session(State::PreCopy)?;
    let ready = bench.poll(&session);
    let answer = bench.read(&session, &mut [0u8]);
    if answer != Ok(1) {
        return Err(Interruption::blocked_by(
            &INITIAL_AT_FIRST,
            format!("there is no data in PRE_COPY: read answered {}", tell_size(&answer)),
        ));
    }
    let kept = matches!(ready, Ok(ready) if ready.readable);
    bench.judge(&POLL_READABLE, kept, "enter PRE_COPY, then poll", "POLLIN", tell_readiness(&ready))
}

fn poll_is_quiet(bench: &mut Bench, state: State) -> Judgement {
    let session = bench.bring_to_temporary_end(state)?;
    let mut ready = bench.poll(&session);
    for _ in 1..TRIES {
        if matches!(ready, Ok(ready) if !ready.readable) {
            break;
        }
        // Data of a device that is never idle is a good reason to be readable.
        bench.drain(&session);
        ready = bench.poll(&session);
    }
    let kept = matches!(ready, Ok(ready) if !ready.readable);
    let asked = format!("read to the temporary end in {state}, then poll");
    bench.judge(&POLL_QUIET, kept, asked, "no POLLIN", tell_readiness(&ready))
}

fn wakes_on_data(bench: &mut Bench, state: State, requirement: &'static Requirement, waits: &[Wait]) -> Judgement {
    let session = bench.bring_to_quiet_end(state)?;
    let waited = bench.while_waiting(&session, waits, |bench| bench.stimulate(Stimulus::Dirty(CHANGED_BYTES)))?;
    if waited.iter().any(|waited| waited.end == WaitEnd::Never) {
        require_data(bench, &session)?;
    }
    let asked = format!("change device state at the temporary end in {state}");
    bench.expect_woken(requirement, &asked, &waited)
}

fn wakes_on_stop_copy(bench: &mut Bench, from: State, requirement: &'static Requirement, waits: &[Wait]) -> Judgement {
    let session = bench.bring_to_quiet_end(from)?;
    let waited = bench.while_waiting(&session, waits, |bench| go(bench, from, State::StopCopy))?;
    bench.expect_woken(requirement, &format!("enter STOP_COPY at the temporary end in {from}"), &waited)
}

fn no_wakeup_is_lost(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_quiet_end(State::PreCopy)?;
    let raced = bench.race_with_poller(&session, RACE_ROUNDS)?;
    match &raced {
        Raced::AllSeen(rounds) if *rounds < RACE_ROUNDS => {
            bench.note(format!("there was time for {rounds} of {RACE_ROUNDS} rounds; with --wear there is for all"));
        }
        Raced::AllSeen(_) | Raced::Lost(_) => {}
        Raced::Unstreamed(_) => return Err(unstreamed()),
        Raced::Stopped(why) => {
            return Err(Interruption::blocked_by(&EOS_ENOMSG, format!("the user could not go on: {why}")));
        }
    }
    let asked = "change device state while another thread polls and reads";
    let kept = matches!(raced, Raced::AllSeen(_));
    bench.judge(&POLL_RACE, kept, asked, "each change to be seen", raced.to_string())
}

fn nonblocking(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_temporary_end(State::PreCopy)?;
    bench.set_nonblocking(&session)?;
    let allowed = [Errno::ENOMSG, Errno::EAGAIN];
    // The second one shows whether the session has survived the first.
    for asked in ["read", "read twice"] {
        let answer = bench.read(&session, &mut [0u8; 64]);
        let kept = matches!(answer, Err(errno) if allowed.contains(&errno));
        let asked = format!("set O_NONBLOCK at the temporary end, then {asked}");
        bench.judge(&NONBLOCK, kept, asked, names_of(&allowed), tell_size(&answer))?;
    }
    Ok(())
}

/// Leaves PRE_COPY at some point.
fn left(bench: &mut Bench, read: Read) -> Judgement {
    let session = bench.bring_to_session(State::PreCopy)?;
    let stream = read_so_far(bench, &session, read)?;
    restores(bench, &session, stream, &read.name().replace('_', " "))
}

/// Leaves PRE_COPY when a part of it was read, of a device that has changed its state by itself, everywhere.
fn left_after_work(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_session(State::PreCopy)?;
    start_to_work(bench)?;
    bench.stimulate(Stimulus::StopWork)?;
    let stream = read_so_far(bench, &session, Read::Part)?;
    restores(bench, &session, stream, "half way, after the device has worked by itself")
}

/// Leaves PRE_COPY when all that was there at first was read, and the device has changed everything since.
fn left_while_it_works(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_session(State::PreCopy)?;
    let bytes = bench.estimates(&session)?.initial_bytes;
    let stream = read_up_to(bench, &session, bytes as usize)?;
    start_to_work(bench)?;
    restores(bench, &session, stream, "while the device works by itself")
}

/// Parts are read in PRE_COPY, in PRE_COPY_P2P, and in PRE_COPY again, of a device that changes in each.
fn left_through_p2p(bench: &mut Bench) -> Judgement {
    let session = bring_to_p2p_states(bench)?;
    let mut stream = Vec::new();
    for (from, to) in [(State::PreCopy, State::PreCopyP2p), (State::PreCopyP2p, State::PreCopy)] {
        stream.extend(read_so_far(bench, &session, Read::Part)?);
        // Something that has to be streamed again, where that can be had.
        let _ = bench.try_stimulus(Stimulus::Dirty(CHANGED_BYTES));
        go(bench, from, to)?;
    }
    stream.extend(read_so_far(bench, &session, Read::Part)?);
    restores(bench, &session, stream, "after PRE_COPY_P2P and PRE_COPY again")
}

/// The size of the reads makes no difference in PRE_COPY either.
fn left_after_odd_reads(bench: &mut Bench) -> Judgement {
    for segmentation in [Segmentation::Odd, Segmentation::Vectors] {
        let session = bench.bring_to_session(State::PreCopy)?;
        let bytes = bench.estimates(&session)?.initial_bytes;
        let drained = bench.drain_in(&session, segmentation, bytes as usize);
        if let StreamEnd::Failed(errno) = drained.end {
            // What is unusual are the reads, which other checks judge.
            let why = format!("read {segmentation} answered {} in PRE_COPY", errno_name(errno));
            return Err(Interruption::blocked_by(&ANY_READ, why));
        }
        require_temporary_end(bench, &drained)?;
        restores(bench, &session, drained.bytes, &format!("when it was read {segmentation}"))?;
        bench.bring_back()?;
    }
    Ok(())
}

/// Leaves PRE_COPY for STOP_COPY, reads the rest, and loads all of it.
fn restores(bench: &mut Bench, session: &Session, mut stream: Vec<u8>, when: &str) -> Judgement {
    go(bench, State::PreCopy, State::StopCopy)?;
    // A device that cannot show its state shows at least whether it takes the stream.
    let saved = bench.device_state().ok();
    let drained = bench.drain(session);
    let asked = format!("leave PRE_COPY for STOP_COPY {when}");
    bench.require_permanent_end(&drained)?;
    stream.extend(drained.bytes);
    bench.bring_back()?;
    // Something to be seen to be restored, where that can be had.
    let _ = bench.try_stimulus(Stimulus::Dirty(CHANGED_BYTES));
    let session = bench.bring_to_session(State::Resuming)?;
    let asked = format!("{asked}, read the rest, and load all of it");
    let written = bench.write_all(&session, &stream);
    let kept = written == Ok(stream.len());
    bench.judge(&LEAVE, kept, &asked, "the stream to be taken", tell_size(&written))?;
    bench.request(State::Resuming, State::Stop.number());
    bench.expect_state(&LEAVE, &asked, State::Stop)?;
    let Some(saved) = saved else {
        return Ok(());
    };
    let kept = bench.device_state()? == saved;
    bench.judge(&LEAVE, kept, asked, "the state that the device had in STOP_COPY", "another state")
}

fn cancelled(bench: &mut Bench) -> Judgement {
    let before = bench.open_descriptors()?;
    let asked = format!("PRE_COPY -> RUNNING {CANCELLATIONS} times");
    bench.repeat(&CANCEL, &asked, Rounds { times: CANCELLATIONS, kinds: 2 }, |bench, time| {
        let session = bench.bring_to_session(State::PreCopy)?;
        // Closed before the session has ended, and after that, by turns.
        match time % 2 {
            0 => {
                bench.close(session);
                go(bench, State::PreCopy, State::Running)
            }
            _ => {
                go(bench, State::PreCopy, State::Running)?;
                bench.close(session);
                Ok(())
            }
        }
    })?;
    let after = bench.open_descriptors()?;
    let expected = format!("no more descriptors than the {before} before");
    bench.judge(&CANCEL, after <= before, &asked, expected, format!("{after} descriptors"))?;
    let session = bench.bring_to_session(State::StopCopy)?;
    let drained = bench.drain(&session);
    bench.require_permanent_end(&drained)?;
    let actual = format!("{} bytes", drained.bytes.len());
    bench.judge(&CANCEL, !drained.bytes.is_empty(), format!("{asked}, then save"), "a stream", actual)
}

fn v2_without_pre_copy(bench: &mut Bench) -> Judgement {
    if bench.capabilities().pre_copy {
        return Err(does_not_apply("the device has PRE_COPY"));
    }
    let answer = opt_in(bench);
    let kept = answer.is_err();
    bench.judge(&V2_NEEDS_PRE_COPY, kept, "SET MIG_PRECOPY_INFOv2", "an error", tell_return(&answer))
}

fn v2_opt_in(bench: &mut Bench) -> Judgement {
    require_v2(bench)?;
    for time in ["once", "twice"] {
        let answer = opt_in(bench);
        let asked = format!("SET MIG_PRECOPY_INFOv2 {time}");
        bench.judge(&V2_OPT_IN, answer == Ok(0), asked, "success (0)", tell_return(&answer))?;
    }
    Ok(())
}

fn v2_flags(bench: &mut Bench) -> Judgement {
    bring_to_opted_in(bench)?;
    let session = bench.bring_to_session(State::PreCopy)?;
    for passed in [0, NONSENSE_FLAGS, u32::MAX] {
        let answered = flags(bench, &session, passed)?;
        let kept = answered & !PRECOPY_INFO_REINIT == 0;
        let asked = format!("PRECOPY_INFO with flags {passed:#x} passed in, after the opt-in");
        bench.judge(&V2_FLAGS, kept, asked, "flags 0 or REINIT", format!("flags {answered:#x}"))?;
    }
    Ok(())
}

fn v2_ends(bench: &mut Bench) -> Judgement {
    bring_to_opted_in(bench)?;
    bench.open_again()?;
    let answered = flags_of_reconfigured(bench)?;
    let kept = answered & PRECOPY_INFO_REINIT == 0;
    let asked = "opt in, close the device, open it again, reconfigure it in PRE_COPY, then PRECOPY_INFO";
    bench.judge(&V2_ENDS, kept, asked, "no REINIT", format!("flags {answered:#x}"))
}

fn v2_refused_opt_in(bench: &mut Bench) -> Judgement {
    require_v2(bench)?;
    // An earlier check may have opted in, which ends with this.
    bench.open_again()?;
    let mut call = FeatureCall::new(Feature::MigPrecopyInfoV2, Verb::Set);
    call.flags |= UNKNOWN_FLAG;
    if bench.feature(&mut call).is_ok() {
        return Err(Interruption::blocked_by(&UNKNOWN_FLAGS, "an opt-in with an unknown flag was not refused"));
    }
    let answered = flags_of_reconfigured(bench)?;
    let kept = answered & PRECOPY_INFO_REINIT == 0;
    if !kept {
        unless_all_are_told(bench)?;
    }
    let asked = "SET MIG_PRECOPY_INFOv2 with an unknown flag, which is refused, reconfigure the device in PRE_COPY, then \
                 PRECOPY_INFO";
    bench.judge(&REFUSAL_CHANGES_NOTHING, kept, asked, "no REINIT", format!("flags {answered:#x}"))
}

/// The flags of PRECOPY_INFO once the device was reconfigured in PRE_COPY; 0 if flags are no answer but come back as they
/// were, as a kernel does it for those who have not opted in.
fn flags_of_reconfigured(bench: &mut Bench) -> Judgement<u32> {
    let session = bench.bring_to_session(State::PreCopy)?;
    if flags(bench, &session, NONSENSE_FLAGS)? == NONSENSE_FLAGS {
        return Ok(0);
    }
    bench.stimulate(Stimulus::Reconfigure)?;
    flags(bench, &session, 0)
}

/// Makes a control experiment: a user who opens the device and never asks for v2.
fn unless_all_are_told(bench: &mut Bench) -> Judgement {
    bench.open_again()?;
    match flags_of_reconfigured(bench)? & PRECOPY_INFO_REINIT {
        0 => Ok(()),
        _ => Err(Interruption::blocked_by(&REINIT_NEEDS_OPT_IN, "REINIT is said to users who never asked for v2")),
    }
}

fn reinit_without_opt_in(bench: &mut Bench) -> Judgement {
    // An earlier check may have opted in, which ends with this.
    bench.open_again()?;
    let session = bench.bring_to_temporary_end(State::PreCopy)?;
    let before = bench.estimates(&session)?;
    bench.stimulate(Stimulus::Reconfigure)?;
    let mut call = PrecopyInfoCall::default();
    let after = info(bench, &session, &mut call)?;
    let asked = "reconfigure the device in PRE_COPY, without the opt-in";
    let kept = call.flags & PRECOPY_INFO_REINIT == 0;
    bench.judge(&REINIT_NEEDS_OPT_IN, kept, asked, "no REINIT", format!("flags {:#x}", call.flags))?;
    let kept = after.initial_bytes <= before.initial_bytes;
    let expected = format!("initial_bytes not above {}", before.initial_bytes);
    bench.judge(&INITIAL_NEVER_GROWS, kept, asked, expected, after.to_string())
}

fn reinit(bench: &mut Bench) -> Judgement {
    bring_to_opted_in(bench)?;
    let session = bench.bring_to_temporary_end(State::PreCopy)?;
    // What is dirty now has no meaning any more once the device begins anew.
    bench.stimulate(Stimulus::Dirty(CHANGED_BYTES))?;
    let before = bench.estimates(&session)?;
    bench.stimulate(Stimulus::Reconfigure)?;
    let asked = "reconfigure the device in PRE_COPY, after the opt-in";
    let after = expect_reinit(bench, &session, asked, before)?;
    bench.judge(&REINIT_RESTARTS, after.dirty_bytes == 0, asked, "dirty_bytes 0", after.to_string())
}

/// A driver that keeps REINIT for an answer that arrives says it again. One that does not is only noted, and nothing is
/// asked of its initial_bytes then.
fn reinit_after_a_lost_answer(bench: &mut Bench) -> Judgement {
    bring_to_opted_in(bench)?;
    let session = bench.bring_to_temporary_end(State::PreCopy)?;
    let before = bench.estimates(&session)?;
    bench.stimulate(Stimulus::Reconfigure)?;
    let mut lost = PrecopyInfoCall { placement: Placement::ReadOnly, ..PrecopyInfoCall::default() };
    if bench.precopy_info(&session, &mut lost) == Ok(0) {
        let why = "PRECOPY_INFO in memory that cannot be written did not fail";
        return Err(Interruption::blocked_by(&INFO_EFAULT, why));
    }
    let mut call = PrecopyInfoCall::default();
    let after = info(bench, &session, &mut call)?;
    let has_reinit = call.flags & PRECOPY_INFO_REINIT != 0;
    if !has_reinit && after.initial_bytes <= before.initial_bytes {
        return Err(does_not_apply("the device does not take it for a reason to begin anew"));
    }
    let asked = "reconfigure the device in PRE_COPY, after the opt-in, PRECOPY_INFO in memory that cannot be written, then \
                 PRECOPY_INFO";
    let actual = format!("flags {:#x}, {after}", call.flags);
    bench.judge(&REINIT_AFTER_EFAULT, has_reinit, asked, "REINIT, with the new initial_bytes", actual)
}

/// The estimates once the device was reconfigured, which come with REINIT if they begin anew.
fn expect_reinit(bench: &mut Bench, session: &Session, asked: &str, before: Estimates) -> Judgement<Estimates> {
    let mut call = PrecopyInfoCall::default();
    let after = info(bench, session, &mut call)?;
    let actual = format!("flags {:#x}, {after}", call.flags);
    if call.flags & PRECOPY_INFO_REINIT == 0 {
        let kept = after.initial_bytes <= before.initial_bytes;
        bench.judge(&REINIT_SAID, kept, asked, "initial_bytes not to grow without REINIT", actual)?;
        return Err(does_not_apply("the device does not take it for a reason to begin anew"));
    }
    bench.judge(&REINIT_SAID, after.initial_bytes > 0, asked, "REINIT with initial_bytes above 0", actual)?;
    Ok(after)
}

/// What begins anew is read like what has begun, and all of it together restores.
fn reinit_is_streamed(bench: &mut Bench) -> Judgement {
    bring_to_opted_in(bench)?;
    bench.dirty()?;
    let session = bench.bring_to_session(State::PreCopy)?;
    let mut stream = read_so_far(bench, &session, Read::Part)?;
    bench.stimulate(Stimulus::Reconfigure)?;
    let mut call = PrecopyInfoCall::default();
    let begun = info(bench, &session, &mut call)?;
    if call.flags & PRECOPY_INFO_REINIT == 0 {
        return Err(does_not_apply("the device does not take it for a reason to begin anew"));
    }
    let drained = bench.drain(&session);
    require_temporary_end(bench, &drained)?;
    let asked = "reconfigure the device in PRE_COPY, then read to the temporary end";
    keeps_promise(bench, &session, asked, begun.sum(), &drained)?;
    let left = estimates_once(bench, &session, |now| now.initial_bytes == 0)?;
    bench.judge(&INITIAL_REACHES_ZERO, left.initial_bytes == 0, asked, "initial_bytes 0", left.to_string())?;
    stream.extend(drained.bytes);
    restores(bench, &session, stream, "after REINIT")
}

/// One arc or a combination of them on which nothing is judged.
fn go(bench: &mut Bench, from: State, to: State) -> Judgement {
    bench.move_to(from, to)
}

/// A session of PRE_COPY that was read so far.
fn bring_to_read(bench: &mut Bench, read: Read) -> Judgement<Session> {
    let session = bench.bring_to_session(State::PreCopy)?;
    read_so_far(bench, &session, read)?;
    Ok(session)
}

fn read_so_far(bench: &mut Bench, session: &Session, read: Read) -> Judgement<Vec<u8>> {
    match read {
        Read::Nothing => Ok(Vec::new()),
        Read::Part => {
            let initial_bytes = bench.estimates(session)?.initial_bytes;
            read_up_to(bench, session, (initial_bytes / 2).max(1) as usize)
        }
        Read::All | Read::AllThenChanged => {
            let drained = bench.drain(session);
            require_temporary_end(bench, &drained)?;
            if read == Read::AllThenChanged {
                bench.stimulate(Stimulus::Dirty(CHANGED_BYTES))?;
            }
            Ok(drained.bytes)
        }
    }
}

/// Which of the two ends read says is judged where nothing else is.
fn require_temporary_end(bench: &Bench, drained: &Drained) -> Judgement {
    match drained.end {
        StreamEnd::Temporary | StreamEnd::Permanent => Ok(()),
        ref end => {
            let requirement = bench.broken_by_end(State::PreCopy, end);
            Err(Interruption::blocked_by(requirement, format!("the temporary end was not reached: read came to {end}")))
        }
    }
}

/// Reads half of what is there, and says how much that was.
fn read_half(bench: &mut Bench, session: &Session, bytes: u64) -> Judgement<usize> {
    match read_up_to(bench, session, (bytes / 2).max(1) as usize)?.len() {
        0 => {
            Err(Interruption::blocked_by(&DELIVERS, format!("nothing can be read of {bytes} bytes that were promised")))
        }
        count => Ok(count),
    }
}

/// Reads at most so many bytes.
fn read_up_to(bench: &mut Bench, session: &Session, bytes: usize) -> Judgement<Vec<u8>> {
    // An estimate may be absurd, and memory is not.
    let mut buffer = vec![0u8; bytes.min(1 << 24)];
    let count = match bench.read(session, &mut buffer) {
        Ok(count) => count,
        Err(Errno::ENOMSG) => 0,
        Err(errno) => return Err(read_failed(bench, errno)),
    };
    buffer.truncate(count);
    Ok(buffer)
}

/// Changes device state, and returns what the device says of that.
fn change(bench: &mut Bench, session: &Session) -> Judgement<Estimates> {
    bench.stimulate(Stimulus::Dirty(CHANGED_BYTES))?;
    let estimates = estimates_once(bench, session, |now| now.dirty_bytes > 0)?;
    match estimates.dirty_bytes {
        0 => Err(does_not_apply("the device leaves changes to STOP_COPY")),
        _ => Ok(estimates),
    }
}

/// Whoever was not woken has something to complain of only if there is data.
fn require_data(bench: &mut Bench, session: &Session) -> Judgement {
    match bench.read(session, &mut [0u8]) {
        Ok(1..) => Ok(()),
        _ => Err(unstreamed()),
    }
}

fn unstreamed() -> Interruption {
    does_not_apply("the device leaves changes to STOP_COPY, so there is nothing to wake for")
}

fn opt_in(bench: &mut Bench) -> Result<i32, Errno> {
    bench.feature(&mut FeatureCall::new(Feature::MigPrecopyInfoV2, Verb::Set))
}

fn require_v2(bench: &mut Bench) -> Judgement {
    if bench.kernel() < HAS_V2 {
        let what = Lack::Kernel { feature: "MIG_PRECOPY_INFOv2".to_owned(), since: HAS_V2.to_string() };
        return Err(Interruption::Skip(Skip::Lacks { what }));
    }
    if bench.capabilities().pre_copy {
        return Ok(());
    }
    // Skips.
    bench.bring_to(State::PreCopy).map(drop)
}

fn bring_to_opted_in(bench: &mut Bench) -> Judgement {
    require_v2(bench)?;
    match opt_in(bench) {
        Ok(_) => Ok(()),
        Err(errno) => {
            let why = format!("the opt-in to PRECOPY_INFOv2 answered {}", errno_name(errno));
            Err(Interruption::blocked_by(&V2_OPT_IN, why))
        }
    }
}

fn read_failed(bench: &Bench, errno: Errno) -> Interruption {
    let requirement = bench.broken_by_end(State::PreCopy, &StreamEnd::Failed(errno));
    Interruption::blocked_by(requirement, format!("read answered {} in PRE_COPY", errno_name(errno)))
}

fn info(bench: &mut Bench, session: &Session, call: &mut PrecopyInfoCall) -> Judgement<Estimates> {
    match bench.precopy_info(session, call) {
        Ok(0) => Ok(Estimates { initial_bytes: call.initial_bytes, dirty_bytes: call.dirty_bytes }),
        answer => Err(Interruption::blocked_by(
            bench.broken_by_info(answer),
            format!("PRECOPY_INFO answered {}", tell_return(&answer)),
        )),
    }
}

/// The flags that come back.
fn flags(bench: &mut Bench, session: &Session, passed: u32) -> Judgement<u32> {
    let mut call = PrecopyInfoCall { flags: passed, ..PrecopyInfoCall::default() };
    info(bench, session, &mut call)?;
    Ok(call.flags)
}
