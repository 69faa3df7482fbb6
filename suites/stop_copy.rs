//! STOP_COPY: the stream is complete, however it is read, and has a permanent end.

use crate::harness::bench::{Bench, Drained, Saved, Segmentation, tell_difference, tell_size};
use crate::harness::check::{Check, Interruption, Judgement, Skip};
use crate::harness::measure::Sample;
use crate::harness::session::Session;
use crate::harness::stream::StreamEnd;
use crate::requirement::stop_copy::*;
use crate::requirement::{fsm, session as session_rules};
use crate::stimulus::Stimulus;
use crate::uapi::Errno;
use crate::uapi::state::State;

use super::{lower, start_to_work};

/// Reads behind the end: of nothing, of little and of more than a stream has.
const READS_AT_END: [usize; 4] = [1, 0, 4096, 1 << 20];

/// No file is longer.
const LARGEST_FILE: u64 = i64::MAX as u64;

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![
        Check::new("stop_copy::permanent_end", &[&NO_ENOMSG, &END_PERMANENT, &END_READABLE], permanent_end),
        Check::new("stop_copy::end_after_pre_copy", &[&NO_ENOMSG, &END_PERMANENT, &END_READABLE], end_after_pre_copy),
        Check::new("stop_copy::round_trip", &[&COMPLETE], round_trip),
        Check::new("stop_copy::round_trip_from_pre_copy", &[&COMPLETE], round_trip_from_pre_copy),
        Check::new("stop_copy::round_trip_after_work", &[&COMPLETE], round_trip_after_work),
        Check::new("stop_copy::size_of_reads", &[&ANY_READ], size_of_reads),
        Check::new("stop_copy::reads_of_nothing", &[&EMPTY_READ], reads_of_nothing),
        Check::new("stop_copy::again", &[&AGAIN, &SAME_BYTES], again),
        Check::new("stop_copy::again_after_a_part", &[&AGAIN], again_after_a_part),
        Check::new("stop_copy::size_estimate", &[&SIZE_ESTIMATE], size_estimate),
    ];
    for state in State::ALL {
        let name = format!("stop_copy::size_in_{}", lower(state));
        checks.push(Check::new(name, &[&SIZE_ANY_STATE, &SIZE_SANE], move |bench| size_in(bench, state)));
    }
    checks
}

fn permanent_end(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_session(State::StopCopy)?;
    stays_at_its_end(bench, &session, "read in STOP_COPY to the end")
}

/// The same session had a temporary end before.
fn end_after_pre_copy(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_session(State::PreCopy)?;
    bench.drain(&session);
    bench.move_to(State::PreCopy, State::StopCopy)?;
    let asked = "read in PRE_COPY to the end, SET STOP_COPY, read to the end";
    stays_at_its_end(bench, &session, asked)
}

fn stays_at_its_end(bench: &mut Bench, session: &Session, asked: &str) -> Judgement {
    let drained = bench.drain(session);
    let actual = drained.to_string();
    match drained.end {
        // A session that does not live is for the session chapter to judge.
        StreamEnd::Failed(Errno::ENODEV) => {
            let requirement = bench.broken_by_end(State::StopCopy, &drained.end);
            return Err(Interruption::blocked_by(requirement, format!("{asked}: {actual}")));
        }
        StreamEnd::Temporary => bench.judge(&NO_ENOMSG, false, asked, "an end that is not ENOMSG", &actual)?,
        StreamEnd::Permanent | StreamEnd::Failed(_) | StreamEnd::None => {
            let kept = drained.end == StreamEnd::Permanent;
            bench.judge(&END_PERMANENT, kept, asked, "data, then 0", &actual)?;
        }
    }
    for bytes in READS_AT_END {
        let asked = format!("{asked}, then read {bytes}");
        let answer = bench.read(session, &mut vec![0; bytes]);
        let kept = answer != Err(Errno::ENOMSG);
        bench.judge(&NO_ENOMSG, kept, &asked, "0", tell_size(&answer))?;
        bench.judge(&END_PERMANENT, answer == Ok(0), &asked, "0", tell_size(&answer))?;
        bench.expect_readable(&END_READABLE, &format!("{asked}, then poll"), session)?;
    }
    // Asking for the state that the device is in begins nothing anew.
    bench.move_to(State::StopCopy, State::StopCopy)?;
    let asked = format!("{asked}, SET STOP_COPY once more, read");
    match bench.read(session, &mut [0; 64]) {
        Err(errno) => {
            Err(Interruption::blocked_by(&fsm::SAME_STATE, format!("{asked}: {errno:?}, so the session has ended")))
        }
        answer => bench.judge(&END_PERMANENT, answer == Ok(0), asked, "0", tell_size(&answer)),
    }
}

fn round_trip(bench: &mut Bench) -> Judgement {
    bench.dirty()?;
    let state = bench.observe_state()?;
    let session = bench.bring_to_session(State::StopCopy)?;
    let stream = bench.save(&session)?;
    bench.close(session);
    restores_after_reset(bench, "save in STOP_COPY, RESET", &Saved { stream, state })
}

/// The device has changed its state by itself, everywhere.
fn round_trip_after_work(bench: &mut Bench) -> Judgement {
    start_to_work(bench)?;
    bench.stimulate(Stimulus::StopWork)?;
    let state = bench.observe_state()?;
    let session = bench.bring_to_session(State::StopCopy)?;
    let stream = bench.save(&session)?;
    bench.close(session);
    restores_after_reset(bench, "work, save in STOP_COPY, RESET", &Saved { stream, state })
}

/// One session through all of the saving group. The state changes when most of the stream was read.
fn round_trip_from_pre_copy(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_session(State::PreCopy)?;
    let Drained { bytes: mut stream, .. } = bench.drain(&session);
    bench.dirty()?;
    let state = bench.observe_state()?;
    bench.move_to(State::PreCopy, State::StopCopy)?;
    stream.extend(bench.save(&session)?);
    bench.close(session);
    let asked = "read in PRE_COPY to the end, change the device, save the rest in STOP_COPY, RESET";
    restores_after_reset(bench, asked, &Saved { stream, state })
}

fn restores_after_reset(bench: &mut Bench, asked: &str, saved: &Saved) -> Judgement {
    bench.reset_or_open_again()?;
    bench.expect_loads(&COMPLETE, asked, saved)
}

fn size_of_reads(bench: &mut Bench) -> Judgement {
    let saved = saved_in_stop_copy(bench)?;
    for segmentation in Segmentation::UNUSUAL {
        let session = go_round(bench)?;
        let drained = bench.drain_in(&session, segmentation, saved.stream.len());
        bench.close(session);
        let asked = format!("save in STOP_COPY, SET STOP, SET STOP_COPY, read {segmentation}");
        let loaded_it = bench.expect_as_good(&ANY_READ, &asked, drained, &saved)?;
        if loaded_it {
            // The state is the same, but the device is in RUNNING.
            drop(bench.bring_to(State::StopCopy)?);
        }
    }
    Ok(())
}

fn reads_of_nothing(bench: &mut Bench) -> Judgement {
    let saved = saved_in_stop_copy(bench)?;
    let session = go_round(bench)?;
    expect_empty_read(bench, &session, "begin to save in STOP_COPY, read 0 bytes")?;
    let mut beginning = vec![0; saved.stream.len() / 2];
    // What was saved before shows that reads work without one of nothing.
    let answer = bench.read(&session, &mut beginning);
    let asked = "begin to save in STOP_COPY, read 0 bytes, then half of the stream";
    bench.judge(&EMPTY_READ, answer.is_ok(), asked, "a read that works", tell_size(&answer))?;
    let count = answer.map_err(read_failed)?;
    expect_empty_read(bench, &session, "read half of a stream, then 0 bytes")?;
    let mut drained = bench.drain(&session);
    drained.bytes.splice(..0, beginning[..count].iter().copied());
    let asked = "read to the end in STOP_COPY, with reads of 0 bytes before and in the middle";
    bench.expect_as_good(&EMPTY_READ, asked, drained, &saved).map(drop)
}

fn expect_empty_read(bench: &mut Bench, session: &Session, asked: &str) -> Judgement {
    let answer = bench.read(session, &mut []);
    bench.judge(&EMPTY_READ, answer == Ok(0), asked, "0", tell_size(&answer))
}

fn again(bench: &mut Bench) -> Judgement {
    let saved = saved_in_stop_copy(bench)?;
    let asked = "save in STOP_COPY, SET STOP, SET STOP_COPY, save";
    let second = go_round(bench)?;
    let drained = bench.drain(&second);
    let same = drained.bytes == saved.stream;
    let difference = tell_difference(&saved.stream, &drained.bytes);
    bench.judge(&SAME_BYTES, same, asked, "the same bytes twice", difference)?;
    bench.expect_as_good(&AGAIN, asked, drained, &saved).map(drop)
}

fn again_after_a_part(bench: &mut Bench) -> Judgement {
    let saved = saved_in_stop_copy(bench)?;
    let first = go_round(bench)?;
    let part = saved.stream.len() / 3;
    bench.read_part(&first, part).map_err(read_failed)?;
    bench.close(first);
    let second = go_round(bench)?;
    let drained = bench.drain(&second);
    let asked = format!("read {part} bytes in STOP_COPY, SET STOP, SET STOP_COPY, save");
    bench.expect_as_good(&AGAIN, &asked, drained, &saved).map(drop)
}

fn read_failed(errno: Errno) -> Interruption {
    Interruption::blocked_by(&session_rules::NEW_WORKS, format!("read answered {errno:?}"))
}

/// STOP_COPY -> STOP -> STOP_COPY.
fn go_round(bench: &mut Bench) -> Judgement<Session> {
    bench.move_to(State::StopCopy, State::Stop)?;
    let requested = bench.request(State::Stop, State::StopCopy.number());
    bench.require_session(requested, State::StopCopy)
}

/// A device state other than the one after a reset, saved. The device stays in STOP_COPY, where its state cannot change.
fn saved_in_stop_copy(bench: &mut Bench) -> Judgement<Saved> {
    bench.dirty()?;
    let state = bench.observe_state()?;
    let session = bench.bring_to_session(State::StopCopy)?;
    let stream = bench.save(&session)?;
    bench.close(session);
    Ok(Saved { stream, state })
}

fn size_in(bench: &mut Bench, state: State) -> Judgement {
    let _session = bench.bring_to(state)?;
    let answer = size(bench)?;
    let told = tell(answer);
    let asked = format!("GET MIG_DATA_SIZE in {state}");
    let kept = answer.is_ok() || state == State::Error;
    bench.judge(&SIZE_ANY_STATE, kept, &asked, "a size", &told)?;
    let kept = !matches!(answer, Ok(bytes) if bytes > LARGEST_FILE);
    bench.judge(&SIZE_SANE, kept, asked, "a size that a file can have", told)
}

fn size_estimate(bench: &mut Bench) -> Judgement {
    let running = size(bench)?;
    let session = bench.bring_to_session(State::StopCopy)?;
    let begun = size(bench)?;
    let bytes = bench.save(&session)?.len() as u64;
    let figures = format!(
        "{bytes} bytes were streamed in STOP_COPY; MIG_DATA_SIZE said {} in RUNNING, {} when STOP_COPY was entered and {} \
         at the end",
        tell(running),
        tell(begun),
        tell(size(bench)?)
    );
    let Ok(begun) = begun else {
        return Err(Interruption::blocked_by(&SIZE_ANY_STATE, figures));
    };
    bench.measured(Sample::DataSize { estimated: begun, streamed: bytes });
    let kept = begun >= bytes / 2 && begun / 2 <= bytes;
    let expected = format!("between {} and {} bytes", bytes / 2, bytes * 2);
    bench.judge(&SIZE_ESTIMATE, kept, "GET MIG_DATA_SIZE in STOP_COPY, then read to the end", expected, &figures)?;
    bench.note(figures);
    Ok(())
}

/// What MIG_DATA_SIZE answers; a device without it makes the check skip.
fn size(bench: &mut Bench) -> Judgement<Result<u64, Errno>> {
    match bench.data_size() {
        Err(Errno::ENOTTY) => Err(Interruption::Skip(Skip::CorrectlyAbsent {
            what: "MIG_DATA_SIZE is not there, and answers ENOTTY".to_owned(),
        })),
        answer => Ok(answer),
    }
}

fn tell(answer: Result<u64, Errno>) -> String {
    match answer {
        Ok(bytes) => format!("{bytes} bytes"),
        Err(errno) => format!("{errno:?}"),
    }
}
