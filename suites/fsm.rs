//! The state machine: every pair of states is asked for, and every number that is no state, from every state.

use std::time::Duration;

use crate::fsm::{Refusal, Route, route};
use crate::harness::bench::{Bench, Fix, Requested, no_session, tell_state};
use crate::harness::check::{Check, Interruption, Judgement, Lack, Skip};
use crate::harness::session::{Direction, Session};
use crate::requirement::fsm::*;
use crate::requirement::{Requirement, discover};
use crate::stimulus::{ProfileKey, Stimulus};
use crate::uapi::state::{Capabilities, State, name_of};

use super::{lower, set_unanswerable, stream_for};

/// Numbers that are no state: just beyond, and at the edges of the types that a driver might keep them in.
const NO_STATES: [u32; 5] = [8, 9, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

/// How long a state is watched. Long enough for a timer of the driver, short enough to be noise in a run.
const WATCH: Duration = Duration::from_millis(20);
/// How often it is looked at meanwhile.
const LOOKS: u32 = 5;

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![Check::new("fsm::opens_running", &[&OPENS_RUNNING], opens_running)];
    for from in State::ALL {
        for to in State::ALL {
            let name = format!("fsm::{}_to_{}", lower(from), lower(to));
            let check = Check::new(name, &judged_by(from, to), move |bench| one_request(bench, from, to.number()));
            checks.push(match is_blocked(from, to) {
                true => check.hanging_without(&Fix::BLOCKED_ARCS),
                false => check,
            });
        }
        let name = format!("fsm::{}_to_no_state", lower(from));
        let judged = [&OUT_OF_RANGE, &REFUSAL_KEEPS_STATE, &REFUSAL_KEEPS_SESSION];
        checks.push(Check::new(name, &judged, move |bench| to_no_state(bench, from)));
    }
    for state in State::ALL {
        let name = lower(state);
        checks.extend([
            Check::new(format!("fsm::get_in_{name}"), &[&GET_ONLY_LOOKS], move |bench| get_only_looks(bench, state)),
            Check::new(format!("fsm::{name}_is_steady"), &[&STEADY], move |bench| is_steady(bench, state)),
            Check::new(format!("fsm::reopened_in_{name}"), &[&OPENS_RUNNING], move |bench| reopened(bench, state)),
        ]);
    }
    for (name, from) in [("", State::Running), ("_in_pre_copy", State::PreCopy)] {
        let name = format!("fsm::failed_transition_lands{name}");
        checks.push(Check::new(name, &[&FAILURE_LANDS], move |bench| failed_transition_lands(bench, from)));
    }
    for to in [State::Stop, State::StopCopy, State::Resuming, State::PreCopy] {
        let name = format!("fsm::lost_answer_of_{}", lower(to));
        checks.push(Check::new(name, &[&FAILURE_LANDS], move |bench| lost_answer(bench, to)));
    }
    checks
}

fn is_blocked(from: State, to: State) -> bool {
    route(Capabilities::FULL, from, to.number()) == Route::Refused(Refusal::Blocked)
}

/// What a pair can prove depends on the capability set; these are all that it may.
fn judged_by(from: State, to: State) -> Vec<&'static Requirement> {
    let refusal = |requirement| vec![requirement, &REFUSAL_KEEPS_STATE, &REFUSAL_KEEPS_SESSION];
    match (from, to) {
        (_, State::Error) => refusal(&ERROR_AS_TARGET),
        (State::Error, State::RunningP2p | State::PreCopy | State::PreCopyP2p) => {
            [refusal(&FROM_ERROR), vec![&NOT_ADVERTISED]].concat()
        }
        (State::Error, _) => refusal(&FROM_ERROR),
        _ if is_blocked(from, to) => [refusal(&BLOCKED), vec![&NOT_ADVERTISED]].concat(),
        _ if from == to => vec![&SAME_STATE],
        (_, State::RunningP2p | State::PreCopy | State::PreCopyP2p) => {
            [refusal(&NOT_ADVERTISED), vec![&ARC, &COMBINATION, &PATH]].concat()
        }
        _ => vec![&ARC, &COMBINATION, &PATH],
    }
}

fn opens_running(bench: &mut Bench) -> Judgement {
    let answer = bench.state_at_open();
    let kept = answer == Ok(State::Running.number());
    let actual = match answer {
        Ok(number) => format!("the state {}", name_of(number)),
        Err(errno) => format!("{errno:?} from GET"),
    };
    bench.judge(&OPENS_RUNNING, kept, "open the device for the first time", "the state RUNNING", actual)
}

/// Asks for one number from one state, and judges by what the oracle says of it.
fn one_request(bench: &mut Bench, from: State, to: u32) -> Judgement {
    let stream = stream_for(bench, from)?;
    let session = bench.bring_to(from)?;
    let route = route(bench.capabilities(), from, to);
    if from == State::Resuming && matches!(route, Route::Path(_)) {
        // Only a device that was given a whole stream has to leave RESUMING.
        let session = session.as_ref().ok_or_else(|| no_session(from))?;
        bench.load(session, &stream)?;
    }
    let requested = bench.request(from, to);
    // What a request can prove depends on the capability set.
    let others: &[&Requirement] = match requested.route {
        Route::Path(_) => &[&NOT_ADVERTISED],
        Route::Refused(Refusal::NotAdvertised(_)) => &[&ARC, &COMBINATION, &PATH, &BLOCKED],
        Route::Refused(_) => &[&NOT_ADVERTISED],
        Route::Stay => &[],
    };
    let why = format!("{} is another kind of request with this capability set", requested.asked);
    bench.leave_out(others, &Skip::DoesNotApply { why });
    match requested.route.clone() {
        Route::Stay => {
            bench.expect_success(&SAME_STATE, &requested)?;
            bench.expect_no_fd(&SAME_STATE, &requested)?;
            bench.expect_state(&SAME_STATE, &requested.asked, from)?;
            still_alive(bench, &SAME_STATE, &requested.asked, session.as_ref(), &stream)
        }
        Route::Path(path) => goes_along(bench, &requested, &path),
        Route::Refused(refusal) => {
            bench.expect_refused(requirement_of(refusal), &requested)?;
            bench.expect_state(&REFUSAL_KEEPS_STATE, &requested.asked, from)?;
            still_alive(bench, &REFUSAL_KEEPS_SESSION, &requested.asked, session.as_ref(), &stream)
        }
    }
}

fn to_no_state(bench: &mut Bench, from: State) -> Judgement {
    let stream = stream_for(bench, from)?;
    let session = bench.bring_to(from)?;
    for number in NO_STATES {
        let requested = bench.request(from, number);
        bench.expect_refused(&OUT_OF_RANGE, &requested)?;
        bench.expect_state(&REFUSAL_KEEPS_STATE, &requested.asked, from)?;
    }
    let asked = format!("SET numbers that are no state in {from}");
    still_alive(bench, &REFUSAL_KEEPS_SESSION, &asked, session.as_ref(), &stream)
}

fn goes_along(bench: &mut Bench, requested: &Requested, path: &[State]) -> Judgement {
    let requirement = match requested.route.is_direct() {
        true => &ARC,
        false => &COMBINATION,
    };
    let target = path[path.len() - 1];
    let observed = bench.observed_path(target);
    bench.expect_success(requirement, requested)?;
    bench.expect_state(requirement, &requested.asked, target)?;
    let Some(observed) = observed else {
        let why = bench.tracing().err().unwrap_or_default();
        bench.leave_out(&[&PATH], &Skip::Lacks { what: Lack::Tracing { why } });
        return Ok(());
    };
    let (through, expected) = (path_of(&observed), path_of(&path[..path.len() - 1]));
    let kept = through == expected;
    let asked = format!("{}, seen in the kernel", requested.asked);
    bench.judge(&PATH, kept, asked, format!("steps chosen in {expected}"), through)
}

fn path_of(states: &[State]) -> String {
    match states.is_empty() {
        true => "none".to_owned(),
        false => crate::fsm::table::path_text(states),
    }
}

fn requirement_of(refusal: Refusal) -> &'static Requirement {
    match refusal {
        Refusal::ErrorAsTarget => &ERROR_AS_TARGET,
        Refusal::FromError => &FROM_ERROR,
        Refusal::NotAdvertised(_) => &NOT_ADVERTISED,
        Refusal::OutOfRange(_) => &OUT_OF_RANGE,
        Refusal::Blocked => &BLOCKED,
    }
}

fn still_alive(
    bench: &mut Bench,
    requirement: &'static Requirement,
    asked: &str,
    session: Option<&Session>,
    stream: &[u8],
) -> Judgement {
    let Some(session) = session else {
        return Ok(());
    };
    bench.expect_alive(requirement, asked, session, stream)?;
    if session.direction() == Direction::Saving {
        return Ok(());
    }
    // What it took was a good stream, which shows on the way out.
    bench.request(State::Resuming, State::Stop.number());
    bench.expect_state(requirement, &format!("{asked}, then load a stream and SET STOP"), State::Stop)
}

fn get_only_looks(bench: &mut Bench, state: State) -> Judgement {
    let stream = stream_for(bench, state)?;
    let session = bench.bring_to(state)?;
    for _ in 0..3 {
        let answer = bench.get_state();
        let kept = matches!(
            answer,
            Ok(answer) if answer.returned == 0
                && answer.device_state == state.number()
                && answer.data_fd == -1
        );
        let actual = match answer {
            Ok(answer) => format!(
                "return {}, state {}, data_fd {}",
                answer.returned,
                name_of(answer.device_state),
                answer.data_fd
            ),
            Err(errno) => format!("{errno:?}"),
        };
        let expected = format!("return 0, state {state}, data_fd -1");
        bench.judge(&GET_ONLY_LOOKS, kept, format!("GET in {state}"), expected, actual)?;
    }
    still_alive(bench, &GET_ONLY_LOOKS, &format!("GET in {state}"), session.as_ref(), &stream)
}

fn is_steady(bench: &mut Bench, state: State) -> Judgement {
    let _session = bench.bring_to(state)?;
    stays(bench, state, "wait")?;
    // Elsewhere the user must not touch the device, which may answer that by leaving the state.
    if !matches!(state, State::Running | State::PreCopy) {
        return Ok(());
    }
    match bench.stimulate(Stimulus::Dirty(4096)) {
        Ok(()) => stays(bench, state, "change device state and wait"),
        Err(_) => {
            bench.note("watched while idle only: no stimulus changed device state");
            Ok(())
        }
    }
}

fn stays(bench: &mut Bench, state: State, what: &str) -> Judgement {
    for _ in 0..LOOKS {
        bench.watch(WATCH / LOOKS);
        bench.expect_state(&STEADY, &format!("{what} in {state}"), state)?;
    }
    Ok(())
}

fn reopened(bench: &mut Bench, state: State) -> Judgement {
    let session = bench.bring_to(state)?;
    if let Some(session) = session {
        bench.close(session);
    }
    let asked = format!("close the device in {state}, open it again");
    let reopened = bench.reopen();
    let actual = reopened.as_ref().err().map(ToString::to_string);
    let actual = actual.unwrap_or_default();
    bench.judge(&OPENS_RUNNING, reopened.is_ok(), &asked, "the device to open again", actual)?;
    bench.expect_state(&OPENS_RUNNING, &asked, State::Running)
}

fn failed_transition_lands(bench: &mut Bench, from: State) -> Judgement {
    let _session = bench.bring_to(from)?;
    bench.stimulate(Stimulus::EnterError)?;
    let requested = bench.request(from, State::StopCopy.number());
    if requested.answer.is_ok() {
        let why = format!("`{}` did not make {} fail", ProfileKey::EnterError, requested.asked);
        return Err(Interruption::BlockedByKey { key: ProfileKey::EnterError, why });
    }
    let asked = format!("{}, which fails", requested.asked);
    lands_on(bench, &asked, &requested.route)?;
    comes_back(bench, &asked)
}

/// A transition whose answer cannot be written: the driver has done its part when the kernel finds out.
fn lost_answer(bench: &mut Bench, to: State) -> Judgement {
    if !bench.capabilities().has(to) {
        return bench.bring_to(to).map(drop);
    }
    let (asked, answer) = set_unanswerable(bench, to);
    if answer.is_ok() {
        return Err(Interruption::blocked_by(&discover::BAD_MEMORY, format!("{asked}: it did not fail")));
    }
    let route = route(bench.capabilities(), State::Running, to.number());
    lands_on(bench, &asked, &route)?;
    comes_back(bench, &asked)
}

fn lands_on(bench: &mut Bench, asked: &str, route: &Route) -> Judgement {
    let mut allowed = vec![State::Error];
    if let Route::Path(path) = route {
        allowed.extend(path);
    }
    let answer = bench.get_state();
    let landed = answer.ok().and_then(|answer| State::from_number(answer.device_state));
    let kept = landed.is_some_and(|state| allowed.contains(&state));
    let names: Vec<&str> = allowed.iter().map(|state| state.name()).collect();
    bench.judge(&FAILURE_LANDS, kept, asked, format!("one of {}", names.join(", ")), tell_state(&answer))
}

fn comes_back(bench: &mut Bench, asked: &str) -> Judgement {
    let here = bench.get_state().ok().and_then(|answer| State::from_number(answer.device_state));
    match here {
        // Only a reset leads out of ERROR, and out of a RESUMING that cannot be given a stream any more.
        None | Some(State::Error | State::Resuming) => bench.expect_comes_back(&FAILURE_LANDS, asked),
        Some(here) => {
            // What SET answers shows in the state.
            bench.request(here, State::Running.number());
            bench.expect_state(&FAILURE_LANDS, &format!("{asked}, then SET RUNNING"), State::Running)
        }
    }
}
