//! The data transfer session: when its data_fd comes, that it lives inside the saving group, and that it is dead
//! afterwards.

use crate::fsm::{Route, route};
use crate::harness::bench::{Bench, Requested, Rounds, Wait, no_session, tell_size, tell_transition};
use crate::harness::check::{Check, Interruption, Judgement};
use crate::harness::session::{Direction, Session};
use crate::requirement::session::*;
use crate::requirement::{Requirement, fsm, precopy, stop_copy};
use crate::uapi::Errno;
use crate::uapi::feature::{Feature, FeatureCall, MigState, Verb};
use crate::uapi::state::State;

use super::{lower, set_unanswerable, stream_for};

/// Every move inside the saving group that some capability set has.
const INSIDE_SAVING_GROUP: [(State, State); 4] = [
    (State::PreCopy, State::PreCopyP2p),
    (State::PreCopyP2p, State::PreCopy),
    (State::PreCopy, State::StopCopy),
    (State::PreCopyP2p, State::StopCopy),
];

/// The states in which a session is open.
const WITH_SESSION: [State; 4] = [State::PreCopy, State::PreCopyP2p, State::StopCopy, State::Resuming];

/// Enough to see a leak, and what runs full.
const LOST: usize = 100;
/// The same in another state, where what it has in common was seen already.
const LOST_TOO: usize = 20;
/// The same where each needs a reset, which takes a PCI device a tenth of a second.
const LOST_SLOWLY: usize = 4;

/// What is read or written with a bad buffer: less than any stream has.
const IN_BAD_BUFFER: usize = 64;

/// What another process reads of a stream: less than any stream has, and no round number.
const READ_BY_CHILD: usize = 77;

pub(super) fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for from in State::ALL.into_iter().filter(|state| *state != State::Error) {
        let name = format!("session::fd_comes_from_{}", lower(from));
        checks.push(Check::new(name, &[&FD_COMES, &FD_ABSENT], move |bench| fd_comes_when_it_should(bench, from)));
    }
    for (from, to) in INSIDE_SAVING_GROUP {
        let name = format!("session::lives_from_{}_to_{}", lower(from), lower(to));
        checks.push(Check::new(name, &[&SAME_SESSION], move |bench| lives(bench, from, to)));
    }
    for state in WITH_SESSION {
        let name = lower(state);
        checks.extend([
            Check::new(format!("session::dead_after_{name}"), &[&ENDED, &ENDED_ENODEV], move |b| dead_after(b, state)),
            Check::new(
                format!("session::stays_dead_after_{name}"),
                &[&STAYS_DEAD, &NEW_WORKS, &ENDED_ENODEV],
                move |bench| stays_dead(bench, state),
            ),
            Check::new(format!("session::closed_early_in_{name}"), &[&EARLY_CLOSE], move |bench| {
                closed_early(bench, state)
            }),
            Check::new(format!("session::descriptor_of_{name}"), &[&CLOSE_ON_EXEC, &ONE_DIRECTION], move |bench| {
                descriptor(bench, state)
            }),
            Check::new(format!("session::not_handed_over_{name}"), &[&LOST_FD], move |bench| {
                not_handed_over(bench, state)
            }),
            Check::new(format!("session::none_free_{name}"), &[&NONE_FREE], move |bench| none_free(bench, state)),
            Check::new(format!("session::no_seek_in_{name}"), &[&NO_SEEK], move |bench| no_seek(bench, state)),
            Check::new(format!("session::duplicated_{name}"), &[&DUPLICATE, &ENDED_ENODEV], move |bench| {
                duplicated(bench, state)
            }),
            Check::new(format!("session::device_closed_in_{name}"), &[&DEVICE_CLOSED, &ENDED_ENODEV], move |bench| {
                device_closed(bench, state)
            }),
        ]);
    }
    for state in WITH_SESSION {
        let name = format!("session::bad_buffer_in_{}", lower(state));
        let judged: &[&'static Requirement] = match state {
            State::StopCopy => &[&BAD_BUFFER, &AFTER_EFAULT],
            _ => &[&BAD_BUFFER],
        };
        checks.push(Check::new(name, judged, move |bench| bad_buffer(bench, state)));
    }
    for state in WITH_SESSION.into_iter().filter(|state| state.is_saving()) {
        let name = lower(state);
        checks.extend([
            Check::new(format!("session::left_during_a_read_in_{name}"), &[&WAKES_READER], move |bench| {
                left_during_a_read(bench, state)
            }),
            Check::new(format!("session::closed_during_a_read_in_{name}"), &[&WAKES_READER], move |bench| {
                closed_during_a_read(bench, state)
            }),
        ]);
    }
    for state in [State::PreCopy, State::PreCopyP2p] {
        let name = lower(state);
        checks.extend([
            Check::new(format!("session::left_during_polls_in_{name}"), &[&WAKES_POLLER], move |bench| {
                left_during_polls(bench, state)
            }),
            Check::new(format!("session::closed_during_polls_in_{name}"), &[&WAKES_POLLER], move |bench| {
                closed_during_polls(bench, state)
            }),
        ]);
    }
    checks.extend([
        Check::new("session::lost_again_and_again", &[&LOST_LEAVES_NOTHING], |bench| {
            lost_again_and_again(bench, State::StopCopy, LOST)
        }),
        Check::new("session::lost_again_and_again_in_pre_copy", &[&LOST_LEAVES_NOTHING], |bench| {
            lost_again_and_again(bench, State::PreCopy, LOST_TOO)
        }),
        Check::new("session::lost_again_and_again_in_resuming", &[&LOST_LEAVES_NOTHING], |bench| {
            lost_again_and_again(bench, State::Resuming, LOST_SLOWLY)
        }),
        Check::new("session::read_by_another_process", &[&OTHER_PROCESS], read_by_another_process),
    ]);
    checks
}

/// Asks for every state that can be reached from this one, and looks at the data_fd only.
fn fd_comes_when_it_should(bench: &mut Bench, from: State) -> Judgement {
    if !bench.capabilities().has(from) {
        return bench.bring_to(from).map(drop);
    }
    let stream = stream_for(bench, from)?;
    let mut arrived = false;
    for to in State::ALL {
        let Route::Path(_) = route(bench.capabilities(), from, to.number()) else {
            continue;
        };
        let before = bench.bring_to(from)?;
        if from == State::Resuming && before.is_none() {
            return Err(no_session(from));
        }
        load_if_resuming(bench, before.as_ref(), &stream)?;
        let requested = bench.request(from, to.number());
        if arrives(bench, &requested, to) {
            arrived = true;
            match requested.route.brings_data_fd() {
                true => bench.expect_fd(&FD_COMES, &requested)?,
                false => bench.expect_no_fd(&FD_ABSENT, &requested)?,
            }
        }
        bench.bring_back()?;
    }
    unless_nothing_worked(arrived, from)
}

/// Whether a request led where it should. What did not is for the fsm chapter to judge, and nothing is known then of
/// sessions.
fn arrives(bench: &mut Bench, requested: &Requested, to: State) -> bool {
    requested.answer.is_ok() && matches!(bench.get_state(), Ok(answer) if answer.device_state == to.number())
}

fn unless_nothing_worked(something_did: bool, from: State) -> Judgement {
    match something_did {
        true => Ok(()),
        false => {
            Err(Interruption::blocked_by(&fsm::ARC, format!("no way out of {from} works, so nothing can be judged")))
        }
    }
}

fn lives(bench: &mut Bench, from: State, to: State) -> Judgement {
    if !bench.capabilities().has(to) {
        return bench.bring_to(to).map(drop);
    }
    let session = bench.bring_to_session(from)?;
    let requested = bench.request(from, to.number());
    if !arrives(bench, &requested, to) {
        let why = format!("{} did not lead there", requested.asked);
        return Err(Interruption::blocked_by(requested.requirement(), why));
    }
    bench.expect_alive(&SAME_SESSION, &requested.asked, &session, &[])
}

/// Ends the session in every way that there is, and looks at the old descriptor.
fn dead_after(bench: &mut Bench, state: State) -> Judgement {
    if !bench.capabilities().has(state) {
        return bench.bring_to(state).map(drop);
    }
    let stream = stream_for(bench, state)?;
    let mut arrived = false;
    for to in State::ALL {
        if !route(bench.capabilities(), state, to.number()).ends_session() {
            continue;
        }
        let session = bench.bring_to_session(state)?;
        load_if_resuming(bench, Some(&session), &stream)?;
        let requested = bench.request(state, to.number());
        if arrives(bench, &requested, to) {
            arrived = true;
            bench.expect_dead(&ENDED, &ENDED_ENODEV, &requested.asked, &session.ended())?;
        }
        bench.bring_back()?;
    }
    unless_nothing_worked(arrived, state)
}

fn stays_dead(bench: &mut Bench, state: State) -> Judgement {
    let stream = stream_for(bench, state)?;
    let old = bench.bring_to_session(state)?;
    load_if_resuming(bench, Some(&old), &stream)?;
    leave(bench, state)?;
    let ended = old.ended();
    let new = bench.bring_to_session(state)?;
    let asked = format!("begin a second session in {state} while the first data_fd is open");
    bench.expect_dead(&STAYS_DEAD, &ENDED_ENODEV, &asked, &ended)?;
    bench.expect_alive(&NEW_WORKS, &asked, &new, &stream)
}

fn closed_early(bench: &mut Bench, state: State) -> Judgement {
    let session = bench.bring_to_session(state)?;
    bench.close(session);
    let asked = format!("close the data_fd in {state}, then bring the device to RUNNING");
    if state == State::Resuming {
        // Nothing was loaded, so only a reset is sure to lead out.
        bench.expect_comes_back(&EARLY_CLOSE, &asked)?;
    } else {
        // What SET answers shows in the state.
        bench.request(state, State::Running.number());
        bench.expect_state(&EARLY_CLOSE, &asked, State::Running)?;
    }
    bench.expect_reachable(&EARLY_CLOSE, &asked, state)
}

fn descriptor(bench: &mut Bench, state: State) -> Judgement {
    let session: Session = bench.bring_to_session(state)?;
    let asked = format!("begin a session in {state}");
    bench.expect_close_on_exec(&CLOSE_ON_EXEC, &asked, &session)?;
    bench.expect_one_direction(&ONE_DIRECTION, &asked, &session)
}

fn not_handed_over(bench: &mut Bench, state: State) -> Judgement {
    if !bench.capabilities().has(state) {
        return bench.bring_to(state).map(drop);
    }
    let (asked, answer) = set_unanswerable(bench, state);
    bench.expect_errno(&LOST_FD, &asked, answer, &[Errno::EFAULT])?;
    bench.expect_comes_back(&LOST_FD, &asked)
}

fn none_free(bench: &mut Bench, state: State) -> Judgement {
    if !bench.capabilities().has(state) {
        return bench.bring_to(state).map(drop);
    }
    let (asked, answer) = set_with_none_free(bench, state);
    bench.expect_errno(&NONE_FREE, &asked, answer, &[Errno::EMFILE])?;
    bench.expect_comes_back(&NONE_FREE, &asked)
}

/// Loses a data_fd in both ways by turns, and counts descriptors.
fn lost_again_and_again(bench: &mut Bench, state: State, times: usize) -> Judgement {
    if !bench.capabilities().has(state) {
        return bench.bring_to(state).map(drop);
    }
    let before = bench.open_descriptors()?;
    let asked = format!("SET {state} {times} times without room for its answer or its data_fd");
    bench.repeat(&LOST_LEAVES_NOTHING, &asked, Rounds { times, kinds: 2 }, |bench, time| {
        let ((asked, answer), requirement) = match time % 2 {
            0 => (set_unanswerable(bench, state), &LOST_FD),
            _ => (set_with_none_free(bench, state), &NONE_FREE),
        };
        if answer.is_ok() {
            return Err(Interruption::blocked_by(requirement, format!("{asked} succeeded")));
        }
        bench.bring_back()
    })?;
    let after = bench.open_descriptors()?;
    let expected = format!("no more descriptors than the {before} before");
    bench.judge(&LOST_LEAVES_NOTHING, after <= before, asked, expected, format!("{after} descriptors"))
}

/// Asks for a state from RUNNING while this process can open no descriptor. Returns what was asked, in words, and what
/// came back.
fn set_with_none_free(bench: &mut Bench, to: State) -> (String, Result<i32, Errno>) {
    let wanted = MigState { device_state: to.number(), data_fd: -1 };
    let mut call = FeatureCall::new(Feature::MigDeviceState, Verb::Set).with_payload(wanted.to_bytes());
    let answer = bench.feature_without_descriptors(&mut call);
    (format!("SET {to} in RUNNING, with no descriptor free"), answer)
}

/// The session is asked for data, or given some, through memory that the kernel cannot reach.
fn bad_buffer(bench: &mut Bench, state: State) -> Judgement {
    let session = bench.bring_to_session(state)?;
    let (what, answer) = match session.direction() {
        Direction::Saving => {
            ("read into memory that cannot be written", bench.read_into_unwritable(&session, IN_BAD_BUFFER))
        }
        Direction::Resuming => {
            ("write from memory that cannot be read", bench.write_from_unreadable(&session, IN_BAD_BUFFER))
        }
    };
    if answer == Err(Errno::ENOMSG) {
        let requirement = match state {
            State::PreCopy | State::PreCopyP2p => &precopy::INITIAL_AT_FIRST,
            _ => &stop_copy::NO_ENOMSG,
        };
        return Err(Interruption::blocked_by(
            requirement,
            format!("there is no data in {state}: read answered ENOMSG"),
        ));
    }
    let asked = format!("{what} in {state}");
    bench.judge(&BAD_BUFFER, answer == Err(Errno::EFAULT), &asked, "EFAULT", tell_size(&answer))?;
    match state {
        State::StopCopy => continues(bench, &session, &asked),
        _ => Ok(()),
    }
}

/// What is read from here on is the whole stream, so it loads.
fn continues(bench: &mut Bench, session: &Session, asked: &str) -> Judgement {
    let drained = bench.drain(session);
    bench.require_permanent_end(&drained)?;
    bench.bring_back()?;
    let session = bench.bring_to_session(State::Resuming)?;
    let asked = format!("{asked}, then read to the end, and load that");
    let written = bench.write_all(&session, &drained.bytes);
    let loaded = bench.request(State::Resuming, State::Stop.number());
    let actual = format!("{} written, then {}", tell_size(&written), tell_transition(&loaded.answer));
    let kept = written == Ok(drained.bytes.len()) && loaded.answer.is_ok();
    bench.judge(&AFTER_EFAULT, kept, asked, "the whole stream, which loads", actual)
}

fn no_seek(bench: &mut Bench, state: State) -> Judgement {
    let session = bench.bring_to_session(state)?;
    let sought = bench.seek(&session);
    let answer = sought.map(|position| position as usize);
    bench.judge(&NO_SEEK, sought.is_err(), format!("lseek in {state}"), "an error", tell_size(&answer))?;
    let moved = bench.transfer_at(&session);
    let call = match session.direction() {
        Direction::Saving => "pread",
        Direction::Resuming => "pwrite",
    };
    bench.judge(&NO_SEEK, moved.is_err(), format!("{call} in {state}"), "an error", tell_size(&moved))
}

fn duplicated(bench: &mut Bench, state: State) -> Judgement {
    let stream = stream_for(bench, state)?;
    let first = bench.bring_to_session(state)?;
    let second = bench.duplicate(&first)?;
    bench.close(first);
    let asked = format!("duplicate the data_fd in {state}, close the first one");
    bench.expect_alive(&DUPLICATE, &asked, &second, &stream)?;
    bench.bring_back()?;
    let asked = format!("{asked}, bring the device to RUNNING");
    bench.expect_dead(&DUPLICATE, &ENDED_ENODEV, &asked, &second.ended())
}

/// A part of the stream goes to a child, the rest to us; together they are a stream.
fn read_by_another_process(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_session(State::StopCopy)?;
    let read = bench.read_in_child(&session, READ_BY_CHILD);
    let asked = "fork in STOP_COPY, and read in the child";
    let told = tell_size(&read.as_ref().map(Vec::len).map_err(|errno| *errno));
    bench.judge(&OTHER_PROCESS, matches!(&read, Ok(bytes) if !bytes.is_empty()), asked, "data", told)?;
    let mut stream = read.unwrap_or_default();
    let drained = bench.drain(&session);
    bench.require_permanent_end(&drained)?;
    stream.extend(drained.bytes);
    bench.bring_back()?;
    let session = bench.bring_to_session(State::Resuming)?;
    let asked = format!("{asked}, the rest in the parent, and load all of it");
    let written = bench.write_all(&session, &stream);
    let kept = written == Ok(stream.len());
    bench.judge(&OTHER_PROCESS, kept, &asked, "the stream to be taken", tell_size(&written))?;
    bench.request(State::Resuming, State::Stop.number());
    bench.expect_state(&OTHER_PROCESS, &asked, State::Stop)
}

fn device_closed(bench: &mut Bench, state: State) -> Judgement {
    let stream = stream_for(bench, state)?;
    let session = bench.bring_to_session(state)?;
    bench.open_again()?;
    let asked = format!("close the device in {state} while its data_fd is open, open the device again");
    let ended = session.ended();
    bench.expect_dead(&DEVICE_CLOSED, &ENDED_ENODEV, &asked, &ended)?;
    let again = bench.bring_to_session(state)?;
    let asked = format!("{asked}, begin a new session");
    bench.expect_dead(&DEVICE_CLOSED, &ENDED_ENODEV, &asked, &ended)?;
    bench.expect_alive(&DEVICE_CLOSED, &asked, &again, &stream)
}

fn left_during_a_read(bench: &mut Bench, state: State) -> Judgement {
    let session = bench.bring_to_session(state)?;
    let waited = bench.while_waiting(&session, &[Wait::Read], |bench| bench.bring_back())?;
    bench.expect_woken(&WAKES_READER, &format!("leave {state} for RUNNING"), &waited)
}

fn closed_during_a_read(bench: &mut Bench, state: State) -> Judgement {
    let session = bench.bring_to_session(state)?;
    let waited = bench.while_waiting(&session, &[Wait::Read], Bench::open_again)?;
    bench.expect_woken(&WAKES_READER, &format!("close the device in {state}"), &waited)
}

fn left_during_polls(bench: &mut Bench, state: State) -> Judgement {
    let session = bench.bring_to_quiet_end(state)?;
    let waited = bench.while_waiting(&session, &Wait::POLLS, |bench| bench.bring_back())?;
    bench.expect_woken(&WAKES_POLLER, &format!("leave {state} for RUNNING"), &waited)
}

fn closed_during_polls(bench: &mut Bench, state: State) -> Judgement {
    let session = bench.bring_to_quiet_end(state)?;
    let waited = bench.while_waiting(&session, &Wait::POLLS, Bench::open_again)?;
    bench.expect_woken(&WAKES_POLLER, &format!("close the device in {state}"), &waited)
}

/// Ends the session by a transition, also in RESUMING, where the device was given a whole stream. What a reset ends is for
/// the reset chapter to judge.
fn leave(bench: &mut Bench, state: State) -> Judgement {
    match state {
        State::Resuming => bench.move_to(State::Resuming, State::Running),
        _ => bench.bring_back(),
    }
}

/// Only a device that was given a whole stream has to leave RESUMING.
fn load_if_resuming(bench: &mut Bench, session: Option<&Session>, stream: &[u8]) -> Judgement {
    match session {
        Some(session) if session.direction() == Direction::Resuming => bench.load(session, stream),
        _ => Ok(()),
    }
}
