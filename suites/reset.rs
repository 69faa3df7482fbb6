//! Reset: from every state to RUNNING, and nothing of before is left.

use crate::harness::bench::{Bench, Wait, tell_return};
use crate::harness::check::{Check, Judgement};
use crate::harness::session::Session;
use crate::requirement::reset::*;
use crate::requirement::session::ENDED_ENODEV;
use crate::uapi::state::State;
use crate::uapi::vfio_device::DeviceInfo;

use super::lower;

/// Enough to see a leak of state from one reset into the next, few enough for hardware that takes 0.1 s for each.
const REPEATED_RESETS: usize = 10;

/// Enough to meet transitions at different places.
const RESETS_DURING_TRANSITIONS: usize = 5;

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![Check::new("reset::is_available", &[&AVAILABLE], is_available)];
    for state in State::ALL {
        let judged = [&RUNNING, &ENDS_SESSION, &WORKS_AFTERWARDS, &ENDED_ENODEV];
        let name = format!("reset::from_{}", lower(state));
        checks.push(Check::new(name, &judged, move |bench| from(bench, state)));
    }
    checks.extend([
        Check::new("reset::many_in_a_row", &[&REPEATED], many_in_a_row),
        Check::new("reset::during_polls", &[&WAKES], during_polls),
        Check::new("reset::during_a_read", &[&WAKES], during_a_read),
        Check::new("reset::during_transitions", &[&DURING_TRANSITION], during_transitions),
    ]);
    checks
}

fn is_available(bench: &mut Bench) -> Judgement {
    let can_reset = bench.info().map(DeviceInfo::can_reset);
    let actual = match can_reset {
        Ok(true) => "VFIO_DEVICE_FLAGS_RESET".to_owned(),
        Ok(false) => "no VFIO_DEVICE_FLAGS_RESET".to_owned(),
        Err(errno) => format!("{errno:?}"),
    };
    let expected = "VFIO_DEVICE_FLAGS_RESET among the device's flags";
    bench.judge(&AVAILABLE, can_reset == Ok(true), "GET_INFO", expected, actual)
}

fn from(bench: &mut Bench, state: State) -> Judgement {
    let session = bench.bring_to(state)?;
    let asked = format!("RESET in {state}");
    let answer = bench.reset();
    bench.judge(&RUNNING, answer == Ok(0), &asked, "success (0)", tell_return(&answer))?;
    bench.expect_state(&RUNNING, &asked, State::Running)?;
    if let Some(session) = session {
        bench.expect_dead(&ENDS_SESSION, &ENDED_ENODEV, &asked, &session.ended())?;
    }
    let again = match state {
        // What cannot be asked for is no measure; a session is one.
        State::Error => State::StopCopy,
        _ => state,
    };
    bench.expect_reachable(&WORKS_AFTERWARDS, &asked, again)
}

fn many_in_a_row(bench: &mut Bench) -> Judgement {
    let asked = format!("RESET {REPEATED_RESETS} times in a row");
    for _ in 0..REPEATED_RESETS {
        let answer = bench.reset();
        bench.judge(&REPEATED, answer == Ok(0), &asked, "success (0)", tell_return(&answer))?;
    }
    bench.expect_state(&REPEATED, &asked, State::Running)
}

fn during_polls(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_quiet_end(State::PreCopy)?;
    wakes(bench, &session, &Wait::POLLS)
}

fn during_a_read(bench: &mut Bench) -> Judgement {
    let state = if bench.capabilities().pre_copy { State::PreCopy } else { State::StopCopy };
    let session = bench.bring_to_session(state)?;
    wakes(bench, &session, &[Wait::Read])
}

fn wakes(bench: &mut Bench, session: &Session, waits: &[Wait]) -> Judgement {
    let waited = bench.while_waiting(session, waits, |bench| {
        // What it answers is judged elsewhere.
        let _ = bench.reset();
        Ok(())
    })?;
    bench.expect_woken(&WAKES, "RESET", &waited)
}

fn during_transitions(bench: &mut Bench) -> Judgement {
    // What it answers is left open.
    let _ = bench.reset_during_transitions(RESETS_DURING_TRANSITIONS);
    let asked = "RESET while another thread asks for transitions, then RESET";
    let answer = bench.reset();
    bench.judge(&DURING_TRANSITION, answer == Ok(0), asked, "success (0)", tell_return(&answer))?;
    bench.expect_state(&DURING_TRANSITION, asked, State::Running)?;
    bench.expect_reachable(&DURING_TRANSITION, asked, State::StopCopy)
}
