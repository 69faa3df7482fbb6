//! Wear: what many sessions, and opening the device again and again, leave behind.

use crate::device::{Footprint, RebindError};
use crate::harness::bench::{Bench, errno_name};
use crate::harness::check::{Check, Interruption, Judgement};
use crate::harness::session::{Direction, Session};
use crate::requirement::Requirement;
use crate::requirement::wear::*;
use crate::uapi::state::State;

use super::{lacking, lower, set_unanswerable, stream_for};

/// Others on the machine take and give too, so growth counts only if it is there in so many batches in a row.
const BATCHES: usize = 3;
/// Sessions of a batch.
const SESSIONS: usize = 8;
/// Those of a batch that end in a way that takes a PCI device a tenth of a second or more.
const SLOW_SESSIONS: usize = 3;
/// How often the driver of a batch gives the device up and takes it again.
const REBINDS: usize = 3;
/// Less than this for each session, or each time, is lost in what else goes on.
const NOTICEABLE_BYTES: u64 = 64 << 10;

pub(super) fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for state in [State::PreCopy, State::StopCopy, State::Resuming] {
        let name = format!("wear::sessions_of_{}", lower(state));
        checks.push(Check::new(name, &[&DESCRIPTORS, &MEMORY, &MODULE], move |bench| sessions(bench, state)));
    }
    checks.extend([
        Check::new("wear::closed_in_a_session", &[&DESCRIPTORS, &MODULE], |bench| {
            ended_from_outside(bench, "closing the device", reopen)
        }),
        Check::new("wear::reset_in_a_session", &[&DESCRIPTORS, &MODULE], |bench| {
            ended_from_outside(bench, "a reset", reset)
        }),
        Check::new("wear::lost_data_fds", &[&DESCRIPTORS, &MODULE], lost_data_fds),
        Check::new("wear::bound_again", &[&REBIND, &DESCRIPTORS, &MEMORY, &MODULE], bound_again),
    ]);
    checks
}

fn sessions(bench: &mut Bench, state: State) -> Judgement {
    let stream = stream_for(bench, state)?;
    // What is needed once is not wear.
    one_session(bench, state, &stream)?;
    let descriptors = bench.open_descriptors()?;
    let asked = format!("{SESSIONS} sessions in {state}");
    let batches = batches(bench, |bench| {
        for _ in 0..SESSIONS {
            one_session(bench, state, &stream)?;
        }
        Ok(())
    })?;
    no_descriptor_is_left(bench, &asked, descriptors)?;
    no_reference_is_left(bench, &asked, &batches, SESSIONS)?;
    memory_is_given_back(bench, &asked, &batches, SESSIONS)
}

/// What came on top in one batch; `None` where it is not known.
struct Growth {
    references: Option<i64>,
    bytes: Option<i64>,
}

/// Does a batch again and again, as long as something grows.
fn batches(bench: &mut Bench, batch: impl Fn(&mut Bench) -> Judgement) -> Judgement<Vec<Growth>> {
    let mut batches = Vec::new();
    for _ in 0..BATCHES {
        let before = bench.footprint();
        batch(bench)?;
        let growth = growth(before, bench.footprint());
        let is_suspicious = [growth.references, growth.bytes].into_iter().flatten().any(|growth| growth > 0);
        batches.push(growth);
        if !is_suspicious {
            break;
        }
    }
    Ok(batches)
}

fn growth(before: Footprint, after: Footprint) -> Growth {
    let grown = |before: Option<u64>, after: Option<u64>| Some(after?.cast_signed() - before?.cast_signed());
    Growth {
        references: grown(before.module_references, after.module_references),
        bytes: grown(before.kernel_bytes, after.kernel_bytes),
    }
}

fn one_session(bench: &mut Bench, state: State, stream: &[u8]) -> Judgement {
    let session = bench.bring_to_session(state)?;
    use_it(bench, &session, stream)?;
    let requested = bench.request(state, State::Running.number());
    if let Err(errno) = requested.answer {
        return Err(Interruption::Blocked(format!("{} answered {}", requested.asked, errno_name(errno))));
    }
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
    let descriptors = bench.open_descriptors()?;
    let batches = batches(bench, |bench| {
        for _ in 0..SLOW_SESSIONS {
            let session = bench.bring_to_session(State::StopCopy)?;
            end(bench)?;
            bench.close(session);
            bench.bring_back()?;
        }
        Ok(())
    })?;
    let asked = format!("{SLOW_SESSIONS} sessions in STOP_COPY, each ended by {how}, and the data_fd closed later");
    no_descriptor_is_left(bench, &asked, descriptors)?;
    no_reference_is_left(bench, &asked, &batches, SLOW_SESSIONS)
}

fn reopen(bench: &mut Bench) -> Judgement {
    bench.reopen().map_err(|error| Interruption::Blocked(error.to_string()))
}

fn reset(bench: &mut Bench) -> Judgement {
    bench.reset().map(drop).map_err(|errno| Interruption::Blocked(format!("RESET answered {}", errno_name(errno))))
}

/// Sessions whose data_fd nobody got, so nobody can close it.
fn lost_data_fds(bench: &mut Bench) -> Judgement {
    lose_data_fd(bench)?;
    let descriptors = bench.open_descriptors()?;
    let batches = batches(bench, |bench| (0..SESSIONS).try_for_each(|_| lose_data_fd(bench)))?;
    let asked = format!("{SESSIONS} sessions in STOP_COPY whose data_fd could not be handed over");
    no_descriptor_is_left(bench, &asked, descriptors)?;
    no_reference_is_left(bench, &asked, &batches, SESSIONS)
}

fn lose_data_fd(bench: &mut Bench) -> Judgement {
    let (asked, answer) = set_unanswerable(bench, State::StopCopy);
    if answer.is_ok() {
        return Err(Interruption::Blocked(format!("{asked}: it did not fail")));
    }
    bench.bring_back()
}

/// The driver gives the device up after a session, and takes it again.
fn bound_again(bench: &mut Bench) -> Judgement {
    let asked = "a session, then close the device, unbind it from its driver, bind it, and open it";
    // What is needed once is not wear.
    rebind(bench)?;
    let descriptors = bench.open_descriptors()?;
    let batches = batches(bench, |bench| {
        (0..REBINDS).try_for_each(|_| {
            rebind(bench)?;
            bench.expect_state(&REBIND, asked, State::Running)
        })
    })?;
    begin_to_save(bench)?;
    bench.judge(&REBIND, true, asked, "a device that can be saved", "")?;
    let asked = format!("{REBINDS} times {asked}");
    no_descriptor_is_left(bench, &asked, descriptors)?;
    no_reference_is_left(bench, &asked, &batches, REBINDS)?;
    memory_is_given_back(bench, &asked, &batches, REBINDS)
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
        Err(RebindError::NotByHand) => Err(lacking("needs a PCI function")),
        Err(RebindError::NotAllowed(path)) => {
            Err(lacking(&format!("needs a user who may write to {}", path.display())))
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

fn no_reference_is_left(bench: &mut Bench, asked: &str, batches: &[Growth], sessions: usize) -> Judgement {
    let Some(growth) = batches.iter().map(|batch| batch.references).collect::<Option<Vec<i64>>>() else {
        bench.note("sysfs does not say how often the driver's module is referred to");
        return Ok(());
    };
    let expected = "no reference to the module more for each of them".to_owned();
    is_not_steady(bench, &MODULE, asked, &growth, sessions as i64, expected)
}

fn memory_is_given_back(bench: &mut Bench, asked: &str, batches: &[Growth], times: usize) -> Judgement {
    let Some(growth) = batches.iter().map(|batch| batch.bytes).collect::<Option<Vec<i64>>>() else {
        bench.note("the kernel does not say how much memory it uses, or KASAN holds back what is freed");
        return Ok(());
    };
    let noticeable = (NOTICEABLE_BYTES * times as u64).cast_signed();
    is_not_steady(bench, &MEMORY, asked, &growth, noticeable, format!("less than {noticeable} bytes more"))
}

fn is_not_steady(
    bench: &mut Bench,
    requirement: &'static Requirement,
    asked: &str,
    growth: &[i64],
    noticeable: i64,
    expected: String,
) -> Judgement {
    let is_steady = growth.len() == BATCHES && growth.iter().all(|growth| *growth >= noticeable);
    let asked = format!("{asked}, {BATCHES} times");
    bench.judge(requirement, !is_steady, asked, expected, format!("{growth:?} more, one time after the other"))
}
