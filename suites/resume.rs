//! RESUMING: a good stream loads however it is written, a bad one is refused, and reset is the way to abort.
//!
//! A stream that was refused leaves only a reset as the way out, which takes a tenth of a second on PCI. So each kind of
//! bad stream is tried with few examples.

use rand::rngs::ChaCha8Rng;
use rand::{Rng, SeedableRng};

use crate::harness::bench::{Bench, Saved, Segmentation, tell_size};
use crate::harness::check::{Check, Judgement};
use crate::harness::session::Session;
use crate::requirement::resume::*;
use crate::requirement::{Requirement, reset};
use crate::stimulus::nature::Corruption;
use crate::uapi::state::State;

use super::does_not_apply;

/// In how many parts of a stream a bit is flipped, each of which needs a reset.
const FLIPPED_PARTS: usize = 4;
/// Where and which follows from this.
const FLIP_SEED: u64 = 1;
/// Enough for two threads to meet.
const WRITTEN_AT_ONCE: usize = 256 << 10;

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![
        Check::new("resume::restores", &[&RESTORES], restores),
        Check::new("resume::replaces", &[&REPLACES], replaces),
        Check::new("resume::size_of_writes", &[&ANY_WRITE], size_of_writes),
        Check::new("resume::writes_of_nothing", &[&EMPTY_WRITE], writes_of_nothing),
        Check::new("resume::empty", &[&EMPTY, &REFUSED_LANDS, &ABORT_RESET], empty),
    ];
    for (part, places) in [
        ("beginning", places_at_the_beginning as fn(usize) -> Vec<usize>),
        ("middle", places_in_the_middle),
        ("end", places_at_the_end),
    ] {
        let judged = [&TRUNCATED, &FAILURE_STICKS, &REFUSED_LANDS, &ABORT_RESET];
        let name = format!("resume::truncated_at_the_{part}");
        checks.push(Check::new(name, &judged, move |bench| truncated(bench, places)));
    }
    let judged = [&FOREIGN, &FAILURE_STICKS, &REFUSED_LANDS, &FLIPS];
    checks.push(Check::new("resume::foreign", &judged, foreign));
    let judged = [&TRAILING, &FAILURE_STICKS, &REFUSED_LANDS, &ABORT_RESET];
    checks.push(Check::new("resume::trailing", &judged, trailing));
    checks.extend([
        Check::new("resume::good_after_bad", &[&FAILURE_STICKS, &REFUSED_LANDS], good_after_bad),
        Check::new("resume::corrupt", &[&FLIPS], corrupt),
        Check::new("resume::aborted_by_reset", &[&ABORT_RESET], aborted_by_reset),
        Check::new("resume::aborted_by_closing", &[&ABORT_REOPEN], aborted_by_closing),
        Check::new("resume::two_writers", &[&TWO_WRITERS], two_writers),
        Check::new("resume::huge_write", &[&HUGE_WRITE, &REFUSED_LANDS], huge_write),
    ]);
    checks
}

fn restores(bench: &mut Bench) -> Judgement {
    let saved = bench.saved_device()?;
    bench.reset_or_open_again()?;
    bench.expect_loads(&RESTORES, "RESET", &saved)
}

/// Loads the state after a reset into a device that has changed since.
fn replaces(bench: &mut Bench) -> Judgement {
    bench.reset_or_open_again()?;
    let state = bench.observe_state()?;
    let session = bench.bring_to_session(State::StopCopy)?;
    let stream = bench.save(&session)?;
    let saved = Saved { stream, state };
    bench.close(session);
    bench.move_to(State::StopCopy, State::Running)?;
    bench.require_loads(&saved)?;
    bench.lose(&saved)?;
    bench.expect_loads(&REPLACES, "save, change the device", &saved)
}

fn size_of_writes(bench: &mut Bench) -> Judgement {
    let saved = bench.saved_device()?;
    for segmentation in Segmentation::UNUSUAL {
        bench.lose(&saved)?;
        bench.expect_still_loads(&ANY_WRITE, "save, change the device", &saved, segmentation)?;
    }
    Ok(())
}

fn writes_of_nothing(bench: &mut Bench) -> Judgement {
    let saved = bench.saved_device()?;
    bench.lose(&saved)?;
    let session = bench.bring_to_session(State::Resuming)?;
    let (beginning, rest) = saved.stream.split_at(saved.stream.len() / 2);
    for part in [beginning, rest, &[]] {
        let answer = bench.write(&session, &[]);
        bench.judge(&EMPTY_WRITE, answer == Ok(0), "write 0 bytes in RESUMING", "0", tell_size(&answer))?;
        bench.load_part(&session, part)?;
    }
    bench.expect_loaded(&EMPTY_WRITE, "write a stream, with writes of 0 bytes in it", &saved)
}

fn empty(bench: &mut Bench) -> Judgement {
    if !bench.detects(Corruption::Empty) {
        return any_outcome(bench, &ABORT_RESET, "SET RESUMING and write nothing", &[]);
    }
    let _session = bench.bring_to_session(State::Resuming)?;
    let asked = "SET RESUMING and write nothing";
    bench.expect_stop_refused(&EMPTY, &REFUSED_LANDS, asked)?;
    comes_back(bench, &ABORT_RESET, asked)
}

/// How much of a stream is written. Where its pieces begin is the driver's secret.
fn places_at_the_beginning(_: usize) -> Vec<usize> {
    vec![1, 16, 64]
}

fn places_in_the_middle(bytes: usize) -> Vec<usize> {
    vec![bytes / 3, bytes / 3 * 2]
}

fn places_at_the_end(bytes: usize) -> Vec<usize> {
    [1, 16].map(|lacking| bytes.saturating_sub(lacking)).to_vec()
}

fn truncated(bench: &mut Bench, places: fn(usize) -> Vec<usize>) -> Judgement {
    let saved = bench.saved_device()?;
    let detects = bench.detects(Corruption::Truncated);
    let bytes = saved.stream.len();
    for place in places(bytes).into_iter().filter(|place| (1..bytes).contains(place)) {
        let asked = format!("SET RESUMING, write {place} of {bytes} bytes");
        let part = &saved.stream[..place];
        match detects {
            true => refused(bench, &TRUNCATED, &ABORT_RESET, &asked, &[part])?,
            false => any_outcome(bench, &ABORT_RESET, &asked, part)?,
        }
    }
    Ok(())
}

/// Where a stream says whose it is, and of which version, nobody but the driver knows, so all of its beginning is
/// made another one.
fn foreign(bench: &mut Bench) -> Judgement {
    let saved = bench.saved_device()?;
    let detects = bench.detects(Corruption::Header);
    for (what, range) in [("the first byte", 0..1), ("the first 16 bytes", 0..16)] {
        let mut stream = saved.stream.clone();
        let range = range.start..range.end.min(stream.len());
        stream[range].iter_mut().for_each(|byte| *byte = !*byte);
        let asked = format!("SET RESUMING, write a stream with {what} inverted");
        match detects {
            true => refused(bench, &FOREIGN, &FLIPS, &asked, &[&stream])?,
            false => any_outcome(bench, &FLIPS, &asked, &stream)?,
        }
    }
    Ok(())
}

fn trailing(bench: &mut Bench) -> Judgement {
    let saved = bench.saved_device()?;
    let detects = bench.detects(Corruption::Trailing);
    let stream = saved.stream.as_slice();
    let longer = [stream, &[0]].concat();
    for (what, writes) in
        [("a stream and one byte in one write", vec![longer.as_slice()]), ("a stream twice", vec![stream, stream])]
    {
        let asked = format!("SET RESUMING, write {what}");
        match detects {
            true => refused(bench, &TRAILING, &ABORT_RESET, &asked, &writes)?,
            false => any_outcome(bench, &ABORT_RESET, &asked, &writes.concat())?,
        }
    }
    Ok(())
}

/// A write that is refused makes a hole that nothing fills.
fn good_after_bad(bench: &mut Bench) -> Judgement {
    let saved = bench.saved_device()?;
    let mut stream = saved.stream.clone();
    stream.iter_mut().take(16).for_each(|byte| *byte = !*byte);
    let session = bench.bring_to_session(State::Resuming)?;
    if bench.write_all(&session, &stream).is_ok() {
        let why = "no write was refused: this device judges a stream when RESUMING is left";
        return Err(does_not_apply(why));
    }
    // Whether it takes what follows does not matter.
    let _ = bench.write_all(&session, &saved.stream);
    let asked = "SET RESUMING, write a stream that is refused, then a good one";
    bench.expect_stop_refused(&FAILURE_STICKS, &REFUSED_LANDS, asked)
}

/// Bytes of a stream that are made other ones.
struct Damage {
    at: usize,
    bytes: usize,
    change: Change,
}

/// What becomes of a byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// These bits are flipped.
    Flip(u8),
    /// This one stands in its place.
    Put(u8),
}

impl Change {
    fn of(self, byte: u8) -> u8 {
        match self {
            Change::Flip(bits) => byte ^ bits,
            Change::Put(other) => other,
        }
    }
}

/// A bit in each part of a stream, the same ones each time.
fn flips(total: usize) -> Vec<Damage> {
    let mut random = ChaCha8Rng::seed_from_u64(FLIP_SEED);
    // By hand, since how a library makes a number below a bound may change from one version to the next.
    let mut below = |bound: usize| ((u64::from(random.next_u32()) * bound as u64) >> 32) as usize;
    let mut flip = |part: usize| {
        let at = total * part / FLIPPED_PARTS + below(total.div_ceil(FLIPPED_PARTS));
        Damage { at: at.min(total.saturating_sub(1)), bytes: 1, change: Change::Flip(1 << below(8)) }
    };
    (0..FLIPPED_PARTS).map(&mut flip).collect()
}

/// Single bits, and fields that hold the largest and the most negative number, wherever the fields are.
fn corrupt(bench: &mut Bench) -> Judgement {
    let saved = bench.saved_device()?;
    let total = saved.stream.len();
    let mut damages = vec![
        Damage { at: total / 2, bytes: 1, change: Change::Flip(0x10) },
        Damage { at: 4, bytes: 8, change: Change::Put(0xff) },
        Damage { at: 8, bytes: 8, change: Change::Put(0x80) },
        Damage { at: total / 3, bytes: 64, change: Change::Put(0xff) },
    ];
    damages.extend(flips(total));
    for Damage { at, bytes, change } in damages {
        let mut stream = saved.stream.clone();
        stream.iter_mut().skip(at).take(bytes).for_each(|byte| *byte = change.of(*byte));
        let asked = format!("SET RESUMING, write a stream that is changed from byte {at} to byte {}", at + bytes - 1);
        any_outcome(bench, &FLIPS, &asked, &stream)?;
    }
    bench.expect_still_loads(&FLIPS, "load corrupt streams, RESET", &saved, Segmentation::Chunks)
}

fn aborted_by_reset(bench: &mut Bench) -> Judgement {
    let saved = bench.saved_device()?;
    for part in [saved.stream.len() / 3, saved.stream.len()] {
        let session = bench.bring_to_session(State::Resuming)?;
        bench.load_part(&session, &saved.stream[..part])?;
        let asked = format!("SET RESUMING, write {part} of {} bytes", saved.stream.len());
        bench.expect_reset_helps(&ABORT_RESET, &asked)?;
        bench.close(session);
        let asked = format!("{asked}, RESET");
        bench.expect_still_loads(&ABORT_RESET, &asked, &saved, Segmentation::Chunks)?;
    }
    Ok(())
}

fn aborted_by_closing(bench: &mut Bench) -> Judgement {
    let saved = bench.saved_device()?;
    let session = bench.bring_to_session(State::Resuming)?;
    bench.load_part(&session, &saved.stream[..saved.stream.len() / 3])?;
    bench.open_again()?;
    let asked = "SET RESUMING, write a third of a stream, close the device, open it";
    bench.expect_state(&ABORT_REOPEN, asked, State::Running)?;
    bench.close(session);
    bench.expect_still_loads(&ABORT_REOPEN, asked, &saved, Segmentation::Chunks)
}

fn two_writers(bench: &mut Bench) -> Judgement {
    let saved = bench.saved_device()?;
    let session = bench.bring_to_session(State::Resuming)?;
    bench.write_twice_at_once(&session, &saved.stream[..saved.stream.len().min(WRITTEN_AT_ONCE)]);
    let asked = "SET RESUMING, write the beginning of a stream from two threads at once";
    // What came of it is open.
    bench.request(State::Resuming, State::Stop.number());
    bench.expect_comes_back(&TWO_WRITERS, &format!("{asked}, SET STOP"))?;
    bench.close(session);
    bench.expect_still_loads(&TWO_WRITERS, &format!("{asked}, RESET"), &saved, Segmentation::Chunks)
}

fn huge_write(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_session(State::Resuming)?;
    let answer = bench.write_huge(&session)?;
    let asked = format!("SET RESUMING, write 2 GiB of zeroes, which answered {}", tell_size(&answer));
    match answer {
        // A part may have been taken, which is no stream either.
        Ok(_) if bench.detects(Corruption::Header) => {
            bench.expect_stop_refused(&HUGE_WRITE, &REFUSED_LANDS, &asked)?;
        }
        // A write that failed has done what is asked for, whatever the transition does.
        _ => drop(bench.request(State::Resuming, State::Stop.number())),
    }
    bench.expect_comes_back(&HUGE_WRITE, &asked)
}

/// A bad stream is refused, by the write or by the transition, and a reset leads out.
fn refused(
    bench: &mut Bench,
    requirement: &'static Requirement,
    aborted: &'static Requirement,
    asked: &str,
    writes: &[&[u8]],
) -> Judgement {
    let session = bench.bring_to_session(State::Resuming)?;
    match write_until_refused(bench, &session, writes) {
        true => bench.expect_stop_refused(requirement, &REFUSED_LANDS, asked)?,
        false => {
            bench.judge(requirement, true, asked, "", "")?;
            bench.expect_stop_refused(&FAILURE_STICKS, &REFUSED_LANDS, &format!("{asked}, which is refused"))?;
        }
    }
    comes_back(bench, aborted, asked)
}

/// A reset leads out of RESUMING. Where it never does, which other checks judge, the device is opened again, so that the
/// next bad stream has its turn.
fn comes_back(bench: &mut Bench, requirement: &'static Requirement, asked: &str) -> Judgement {
    match bench.expect_reset_helps(requirement, asked) {
        Err(interruption) if interruption.is_by(&reset::RUNNING) => bench.open_again(),
        other => other,
    }
}

/// Whether all was taken.
fn write_until_refused(bench: &mut Bench, session: &Session, writes: &[&[u8]]) -> bool {
    writes.iter().all(|bytes| bench.write_all(session, bytes).is_ok())
}

/// A stream of which nothing is known comes to some end, and a reset leads out.
fn any_outcome(bench: &mut Bench, requirement: &'static Requirement, asked: &str, stream: &[u8]) -> Judgement {
    let session = bench.bring_to_session(State::Resuming)?;
    // Neither answer is judged, nor is one needed for the other.
    let _ = bench.write_all(&session, stream);
    bench.request(State::Resuming, State::Stop.number());
    let asked = format!("{asked}, SET STOP");
    match requirement == &ABORT_RESET {
        true => bench.expect_reset_helps(requirement, &asked),
        false => bench.expect_comes_back(requirement, &asked),
    }
}
