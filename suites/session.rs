//! The data transfer session: when its data_fd comes, that it lives inside the saving group, and that it is dead
//! afterwards.

use crate::fsm::{Route, route};
use crate::harness::bench::{Bench, Requested, tell_return};
use crate::harness::check::{Check, Interruption, Judgement};
use crate::harness::session::{Direction, Session};
use crate::requirement::session::*;
use crate::uapi::Errno;
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
        ]);
    }
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
        false => Err(Interruption::Blocked(format!("no way out of {from} works, so nothing can be judged"))),
    }
}

fn lives(bench: &mut Bench, from: State, to: State) -> Judgement {
    if !bench.capabilities().has(to) {
        return bench.bring_to(to).map(drop);
    }
    let session = bench.bring_to_session(from)?;
    let requested = bench.request(from, to.number());
    if !arrives(bench, &requested, to) {
        return Err(blocked(&requested.asked, "did not lead there"));
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
    bench.bring_back()?;
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
        let _ = bench.reset();
    } else {
        // What SET answers shows in the state.
        bench.request(state, State::Running.number());
    }
    bench.expect_state(&EARLY_CLOSE, &asked, State::Running)?;
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
    let reset = bench.reset();
    let asked = format!("{asked}, then RESET");
    bench.judge(&LOST_FD, reset == Ok(0), &asked, "success (0)", tell_return(&reset))?;
    bench.expect_state(&LOST_FD, &asked, State::Running)
}

/// Only a device that was given a whole stream has to leave RESUMING.
fn load_if_resuming(bench: &mut Bench, session: Option<&Session>, stream: &[u8]) -> Judgement {
    match session {
        Some(session) if session.direction() == Direction::Resuming => bench.load(session, stream),
        _ => Ok(()),
    }
}

fn blocked(what: &str, how: &str) -> Interruption {
    Interruption::Blocked(format!("{what} {how}, so what follows cannot be judged"))
}
