//! Calls from several threads at once. In which order they are served is nobody's promise; that the device survives
//! them is.

use crate::harness::bench::{Act, Bench, no_session};
use crate::harness::check::{Check, Judgement};
use crate::requirement::concurrency::*;
use crate::uapi::state::{State, name_of};

use super::lower;

/// How often the first thread does its part: many where that is cheap, few where each needs a reset of 0.1 s.
const ROUNDS: usize = 4;
const ROUNDS_WITH_RESET: usize = 2;

/// How many threads ask for one session.
const RIVALS: usize = 4;

pub(super) fn checks() -> Vec<Check> {
    let crowd = |name: &str, body: fn(&mut Bench) -> Judgement| Check::new(name, &[&COME_BACK, &REAL_STATE], body);
    let mut checks = vec![
        crowd("concurrency::transitions", transitions),
        crowd("concurrency::transitions_while_reading", transitions_while_reading),
        crowd("concurrency::closing_while_reading", closing_while_reading),
        crowd("concurrency::closing_under_calls", closing_under_calls),
        crowd("concurrency::resets_while_saving", resets_while_saving),
        crowd("concurrency::resets_while_loading", resets_while_loading),
    ];
    for state in [State::PreCopy, State::StopCopy, State::Resuming] {
        let name = format!("concurrency::one_owner_of_{}", lower(state));
        checks.push(Check::new(name, &[&ONE_OWNER], move |bench| one_owner(bench, state)));
    }
    checks
}

fn transitions(bench: &mut Bench) -> Judgement {
    let scripts: [&[Act]; 4] = [
        &[Act::Set(State::Stop), Act::Set(State::Running)],
        &[Act::Set(State::StopCopy), Act::Set(State::Running)],
        &[Act::Get, Act::DataSize],
        &[Act::Info, Act::Get],
    ];
    survives(bench, &scripts, ROUNDS)
}

fn transitions_while_reading(bench: &mut Bench) -> Judgement {
    let scripts: [&[Act]; 4] = [
        &[Act::Set(State::PreCopy), Act::Set(State::StopCopy), Act::Set(State::Running)],
        &[Act::Read],
        &[Act::Poll, Act::PrecopyInfo],
        &[Act::Get],
    ];
    survives(bench, &scripts, ROUNDS)
}

fn closing_while_reading(bench: &mut Bench) -> Judgement {
    let scripts: [&[Act]; 4] = [
        &[Act::Set(State::StopCopy), Act::Read, Act::Close, Act::Set(State::Stop)],
        &[Act::Read],
        &[Act::Poll, Act::Read],
        &[Act::Get],
    ];
    survives(bench, &scripts, ROUNDS)
}

/// The data_fd goes away while others read it and wait for it, before its session has ended and after that.
fn closing_under_calls(bench: &mut Bench) -> Judgement {
    let state = match bench.capabilities().pre_copy {
        true => State::PreCopy,
        false => State::StopCopy,
    };
    let scripts: [&[Act]; 4] = [
        &[
            Act::Set(state),
            Act::Read,
            Act::CloseAtOnce,
            Act::Set(State::Running),
            Act::Set(State::Resuming),
            Act::Poll,
            Act::CloseAtOnce,
            Act::Reset,
        ],
        &[Act::Read, Act::Write],
        &[Act::Poll],
        &[Act::Poll, Act::PrecopyInfo],
    ];
    survives(bench, &scripts, ROUNDS_WITH_RESET)
}

fn resets_while_saving(bench: &mut Bench) -> Judgement {
    let scripts: [&[Act]; 4] = [
        &[Act::Reset],
        &[Act::Set(State::StopCopy), Act::Read, Act::Set(State::Running)],
        &[Act::Poll, Act::Read, Act::PrecopyInfo],
        &[Act::Get, Act::DataSize],
    ];
    survives(bench, &scripts, ROUNDS_WITH_RESET)
}

fn resets_while_loading(bench: &mut Bench) -> Judgement {
    let scripts: [&[Act]; 4] = [
        &[Act::Set(State::Resuming), Act::Write, Act::Reset],
        &[Act::Write],
        &[Act::Set(State::Stop), Act::Poll],
        &[Act::Get],
    ];
    survives(bench, &scripts, ROUNDS_WITH_RESET)
}

fn survives(bench: &mut Bench, scripts: &[&[Act]], rounds: usize) -> Judgement {
    let asked = format!("{} threads at once", scripts.len());
    let seen = bench.crowd(scripts, rounds);
    let set = bench.capabilities();
    let is_real = |number: &u32| State::from_number(*number).is_some_and(|state| set.has(state));
    let strange: Vec<String> = seen.states.iter().filter(|n| !is_real(n)).map(|n| name_of(*n).to_string()).collect();
    let actual = strange.join(", ");
    bench.judge(&REAL_STATE, strange.is_empty(), &asked, "states of the capability set from GET", actual)?;
    bench.expect_survived(&COME_BACK, &asked)
}

fn one_owner(bench: &mut Bench, state: State) -> Judgement {
    if !bench.capabilities().has(state) {
        return bench.bring_to(state).map(drop);
    }
    let rounds = match state {
        State::Resuming => ROUNDS_WITH_RESET,
        _ => ROUNDS,
    };
    for round in 0..rounds {
        let ask: &[Act] = &[Act::Set(state)];
        let seen = bench.crowd(&[ask; RIVALS], 1);
        let asked = format!("SET {state} from {RIVALS} threads at once");
        // The others may ask more than once until the first one is served.
        if seen.data_fds == 0 && round == 0 {
            return Err(no_session(state));
        }
        let actual = format!("{} data_fds", seen.data_fds);
        bench.judge(&ONE_OWNER, seen.data_fds == 1, asked, "one data_fd", actual)?;
        bench.bring_back()?;
    }
    Ok(())
}
