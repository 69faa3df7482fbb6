//! Whole streams: read and written in any segmentation, and the device state that goes with them.

use std::fmt;
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

use super::operations::STREAM_LIMIT_BYTES;
use super::tell::{errno_name, tell_size, tell_state, tell_transition};
use super::{Bench, Drained};
use crate::device::Stream;
use crate::device::migration::StateAnswer;
use crate::harness::check::{Environment, Interruption, Judgement};
use crate::harness::session::Session;
use crate::harness::stream::{CHUNK_BYTES, StreamEnd};
use crate::requirement::{Requirement, reset, resume, stop_copy};
use crate::stimulus::Stimulus;
use crate::stimulus::nature::Corruption;
use crate::uapi::Errno;
use crate::uapi::memory::ZeroPages;
use crate::uapi::state::State;

/// A stream can be hundreds of MiB long, so only so much of it is moved byte by byte.
const BYTEWISE_BYTES: usize = 1 << 10;
/// And so much in odd pieces.
const ODD_BYTES: usize = 64 << 10;
/// Sizes that no record of any device is a multiple of.
const ODD_PIECES: [usize; 5] = [3, 61, 509, 1021, 4093];
/// The odd size of what comes after those.
const ODD_CHUNK_BYTES: usize = 65_521;

/// The kernel lets at most this through at a time, less a page.
const HUGE_BYTES: usize = 1 << 31;

/// Enough to be seen in a stream and in the state, little enough for hardware to write register by register.
const DIRTIED_BYTES: usize = 4096;

/// How a stream is cut into calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segmentation {
    /// Calls of 64 KiB.
    Chunks,
    /// Single bytes.
    Bytes,
    /// Pieces of odd sizes.
    Odd,
    /// One call for everything; a read asks for more than there is.
    Whole,
    /// `readv` and `writev`, with vectors that have an empty part.
    Vectors,
}

impl Segmentation {
    /// All but the ordinary one.
    pub const UNUSUAL: [Segmentation; 4] =
        [Segmentation::Bytes, Segmentation::Odd, Segmentation::Whole, Segmentation::Vectors];

    /// The parts of the call that moves what comes `at` that place of a stream of about `total` bytes.
    fn parts(self, at: usize, total: usize) -> Vec<usize> {
        match self {
            Segmentation::Bytes if at < BYTEWISE_BYTES => vec![1],
            Segmentation::Odd if at < ODD_BYTES => vec![ODD_PIECES[at % ODD_PIECES.len()]],
            Segmentation::Odd => vec![ODD_CHUNK_BYTES],
            Segmentation::Whole if at == 0 => vec![total + CHUNK_BYTES],
            Segmentation::Vectors => vec![1, 0, 7, 4093, CHUNK_BYTES],
            Segmentation::Chunks | Segmentation::Bytes | Segmentation::Whole => vec![CHUNK_BYTES],
        }
    }
}

impl fmt::Display for Segmentation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Segmentation::Chunks => "in calls of 64 KiB",
            Segmentation::Bytes => "byte by byte",
            Segmentation::Odd => "in odd pieces",
            Segmentation::Whole => "in one call",
            Segmentation::Vectors => "in vectors",
        })
    }
}

/// A device state, and the stream that it was saved in.
#[derive(Debug)]
pub struct Saved {
    /// Everything that was read until the permanent end.
    pub stream: Vec<u8>,
    /// What can be seen of the state; `None` where the profile does not say how.
    pub state: Option<Vec<u8>>,
}

impl Bench {
    /// Changes device state, so that it is not the one after a reset. Where the profile does not say how, it stays that
    /// one, and a note says so.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn dirty(&mut self) -> Judgement {
        match self.stimulate(Stimulus::Dirty(DIRTIED_BYTES)) {
            Err(Interruption::Skip(_)) => {
                self.note("no stimulus changed device state, so it is the one after a reset");
                Ok(())
            }
            result => result,
        }
    }

    /// What can be seen of device state; `None` where the profile does not say how.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn observe_state(&mut self) -> Judgement<Option<Vec<u8>>> {
        match self.device_state() {
            Ok(state) => Ok(Some(state)),
            Err(Interruption::Skip(_)) => Ok(None),
            Err(other) => Err(other),
        }
    }

    /// Whether this device has to refuse streams that are bad in this way; with a note where it has not.
    pub fn detects(&mut self, corruption: Corruption) -> bool {
        let detects = self.nature().detects(corruption);
        if !detects {
            self.note(format!(
                "the profile says that the device cannot tell such a stream from a good one ({corruption:?})"
            ));
        }
        detects
    }

    /// Reads from a session to its end, permanent or temporary, in calls of such sizes. `total` is how many bytes there
    /// are about.
    pub fn drain_in(&mut self, session: &Session, segmentation: Segmentation, total: usize) -> Drained {
        let stream = session.stream();
        let what = format!("read data_fd {} to its end, {segmentation}", stream.number());
        self.recorder.operation(what, || drain(stream, |at| segmentation.parts(at, total)), Drained::to_string)
    }

    /// Reads what is there from a session, but no more than this.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn read_part(&mut self, session: &Session, bytes: usize) -> Result<usize, Errno> {
        let stream = session.stream();
        let what = format!("read {bytes} from data_fd {} in several calls", stream.number());
        self.recorder.operation(
            what,
            || {
                let mut chunk = vec![0; bytes.min(CHUNK_BYTES)];
                let mut done = 0;
                while done < bytes {
                    let wanted = chunk.len().min(bytes - done);
                    match stream.read(&mut chunk[..wanted])? {
                        0 => break,
                        count => done += count,
                    }
                }
                Ok(done)
            },
            tell_size,
        )
    }

    /// Writes all bytes to a session, in calls of such sizes.
    ///
    /// # Errors
    /// The errno as it came; EIO if a write moved nothing.
    pub fn write_in(&mut self, session: &Session, bytes: &[u8], segmentation: Segmentation) -> Result<usize, Errno> {
        let stream = session.stream();
        let what = format!("write {} to data_fd {}, {segmentation}", bytes.len(), stream.number());
        self.recorder.operation(
            what,
            || {
                let mut at = 0;
                while at < bytes.len() {
                    match write_parts(stream, &bytes[at..], &segmentation.parts(at, bytes.len()))? {
                        0 => return Err(Errno::EIO),
                        count => at += count,
                    }
                }
                Ok(at)
            },
            tell_size,
        )
    }

    /// Writes 2 GiB of zeroes to a session in one call.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn write_huge(&mut self, session: &Session) -> Judgement<Result<usize, Errno>> {
        let zeroes = ZeroPages::new(HUGE_BYTES).map_err(|errno| {
            let why = format!("failed to map 2 GiB: {}", errno_name(errno));
            Interruption::hindered(Environment::Resources, why)
        })?;
        let stream = session.stream();
        let what = format!("write 2 GiB of zeroes to data_fd {}", stream.number());
        Ok(self.recorder.operation(what, || stream.write(zeroes.bytes()), tell_size))
    }

    /// Reads a session of STOP_COPY to its permanent end.
    ///
    /// # Errors
    /// That there was another end.
    pub fn save(&mut self, session: &Session) -> Judgement<Vec<u8>> {
        let drained = self.drain(session);
        self.require_permanent_end(&drained)?;
        Ok(drained.bytes)
    }

    /// What was read in STOP_COPY is a whole stream.
    ///
    /// # Errors
    /// That it did not end well, which is for other checks to judge.
    pub fn require_permanent_end(&self, drained: &Drained) -> Judgement {
        match &drained.end {
            StreamEnd::Permanent => Ok(()),
            end => Err(Interruption::blocked_by(
                self.broken_by_end(State::StopCopy, end),
                format!("the device could not be saved: the stream ended with {end}"),
            )),
        }
    }

    /// A device state other than the one after a reset, with its stream, which RESUMING accepts. It is saved once, and
    /// the device is in RUNNING again after it.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn saved_device(&mut self) -> Judgement<Arc<Saved>> {
        if let Some(saved) = &self.saved {
            return Ok(Arc::clone(saved));
        }
        self.dirty()?;
        let state = self.observe_state()?;
        let session = self.bring_to_session(State::StopCopy)?;
        let stream = self.save(&session)?;
        if stream.is_empty() {
            return Err(Interruption::blocked_by(&stop_copy::COMPLETE, "the stream of this device has no bytes"));
        }
        self.move_to(State::StopCopy, State::Running)?;
        let saved = Arc::new(Saved { stream, state });
        self.saved = Some(Arc::clone(&saved));
        Ok(saved)
    }

    /// Gives the device, which is in RUNNING, a state other than this one, so that loading this one can be seen.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn lose(&mut self, saved: &Saved) -> Judgement {
        if saved.state.is_none() {
            return Ok(());
        }
        if self.observe_state()? != saved.state {
            return Ok(());
        }
        self.dirty()?;
        if self.observe_state()? != saved.state {
            return Ok(());
        }
        self.reset_or_open_again()?;
        if self.observe_state()? == saved.state {
            self.note("the state that was saved is the one after a reset, so loading it proves little");
        }
        Ok(())
    }

    /// The device, which is in RUNNING, takes this stream and then has the state that goes with it. It is in RUNNING
    /// again afterwards.
    ///
    /// # Errors
    /// That it does not, or what stood in the way.
    pub fn expect_loads(&mut self, requirement: &'static Requirement, asked: &str, saved: &Saved) -> Judgement {
        let loaded = self.load_in(saved, Segmentation::Chunks)?;
        self.judge_loaded(requirement, asked, loaded)
    }

    /// The same, for a requirement about something that might disturb loading. A device that does not load this stream
    /// undisturbed either is not accused, since another check judges that.
    ///
    /// # Errors
    /// That it does not, or what stood in the way.
    pub fn expect_still_loads(
        &mut self,
        requirement: &'static Requirement,
        asked: &str,
        saved: &Saved,
        segmentation: Segmentation,
    ) -> Judgement {
        let loaded = self.load_in(saved, segmentation)?;
        self.unless_it_never_loads(&loaded, saved)?;
        self.judge_loaded(requirement, asked, loaded)
    }

    /// The device, in RESUMING, was given all of this stream in a strange way: it leaves, and has the state that goes with
    /// it.
    ///
    /// # Errors
    /// That it does not, or what stood in the way.
    pub fn expect_loaded(&mut self, requirement: &'static Requirement, asked: &str, saved: &Saved) -> Judgement {
        let loaded = self.finish_load(saved, String::new())?;
        self.unless_it_never_loads(&loaded, saved)?;
        self.judge_loaded(requirement, asked, loaded)
    }

    /// A stream that was read in another way is as good as the one that was saved: the same bytes, or at least the same
    /// state comes of it. The device is in STOP_COPY. Says whether it was loaded, and is in RUNNING now.
    ///
    /// # Errors
    /// That it is not, or what stood in the way.
    pub fn expect_as_good(
        &mut self,
        requirement: &'static Requirement,
        asked: &str,
        drained: Drained,
        saved: &Saved,
    ) -> Judgement<bool> {
        let ended = drained.end == StreamEnd::Permanent;
        let actual = drained.to_string();
        self.judge(requirement, ended, asked, "data until the permanent end", actual)?;
        if drained.bytes == saved.stream {
            return Ok(false);
        }
        let other = Saved { stream: drained.bytes, state: saved.state.clone() };
        self.bring_back()?;
        self.lose(&other)?;
        let loaded = self.load_in(&other, Segmentation::Chunks)?;
        self.unless_it_never_loads(&loaded, saved)?;
        self.judge_loaded(requirement, &format!("{asked}, then load that, which is other bytes than before"), loaded)?;
        Ok(true)
    }

    /// The device, which is in RUNNING, loads this stream in the ordinary way.
    ///
    /// # Errors
    /// That it does not, which is for another check to judge.
    pub fn require_loads(&mut self, saved: &Saved) -> Judgement {
        let loaded = self.load_in(saved, Segmentation::Chunks)?;
        if loaded.kept {
            return Ok(());
        }
        // A device that loads the stream after a reset only does not replace all of the state that it had.
        self.bring_back()?;
        self.reset_or_open_again()?;
        let requirement = match self.load_in(saved, Segmentation::Chunks)?.kept {
            true => &resume::REPLACES,
            false => &resume::RESTORES,
        };
        let why = format!(
            "the device does not load its stream in the ordinary way either: {}: {}",
            loaded.did, loaded.actual
        );
        Err(Interruption::blocked_by(requirement, why))
    }

    fn unless_it_never_loads(&mut self, loaded: &Loaded, saved: &Saved) -> Judgement {
        if loaded.kept {
            return Ok(());
        }
        self.bring_back()?;
        self.require_loads(saved)
    }

    fn judge_loaded(&mut self, requirement: &'static Requirement, asked: &str, loaded: Loaded) -> Judgement {
        let asked = format!("{asked}{}", loaded.did);
        self.judge(requirement, loaded.kept, asked, loaded.expected, loaded.actual)
    }

    fn load_in(&mut self, saved: &Saved, segmentation: Segmentation) -> Judgement<Loaded> {
        let session = self.bring_to_session(State::Resuming)?;
        let did = format!(", SET RESUMING, write the stream {segmentation}");
        let written = self.write_in(&session, &saved.stream, segmentation);
        if written == Ok(saved.stream.len()) {
            return self.finish_load(saved, did);
        }
        let expected = format!("all {} bytes to be taken", saved.stream.len());
        Ok(Loaded { did, kept: false, expected, actual: tell_size(&written) })
    }

    /// The device, in RESUMING, was given a whole stream.
    fn finish_load(&mut self, saved: &Saved, did: String) -> Judgement<Loaded> {
        let requested = self.request(State::Resuming, State::Stop.number());
        let did = format!("{did}, SET STOP");
        if requested.answer.is_err() {
            let actual = tell_transition(&requested.answer);
            return Ok(Loaded { did, kept: false, expected: "success (0)".to_owned(), actual });
        }
        self.move_to(State::Stop, State::Running)?;
        let Some(state) = &saved.state else {
            self.note("states were not compared: the profile does not say how to look at one");
            return Ok(Loaded { did, kept: true, expected: String::new(), actual: String::new() });
        };
        let found = self.observe_state()?.unwrap_or_default();
        Ok(Loaded {
            did: format!("{did}, SET RUNNING"),
            kept: found == *state,
            expected: "the state that was saved".to_owned(),
            actual: tell_difference(state, &found),
        })
    }

    /// Data in RESUMING was bad: leaving it is refused, and the device is where it may be after that.
    ///
    /// # Errors
    /// That it is not.
    pub fn expect_stop_refused(
        &mut self,
        refused: &'static Requirement,
        lands: &'static Requirement,
        asked: &str,
    ) -> Judgement {
        let requested = self.request(State::Resuming, State::Stop.number());
        let asked = format!("{asked}, then SET STOP");
        let actual = tell_transition(&requested.answer);
        self.judge(refused, requested.answer.is_err(), &asked, "an error", actual)?;
        let answer = self.get_state();
        let allowed = [State::Resuming, State::Error];
        let kept = matches!(&answer, Ok(answer) if allowed.iter().any(|state| answer.device_state == state.number()));
        self.judge(lands, kept, asked, "the state RESUMING or ERROR", tell_state(&answer))
    }

    /// A reset leads back to RUNNING. A device whose resets do not do so from this state, whatever came before, is not
    /// accused, since another check judges that.
    ///
    /// # Errors
    /// That it does not.
    pub fn expect_reset_helps(&mut self, requirement: &'static Requirement, asked: &str) -> Judgement {
        let before = self.get_state();
        // What it answers shows in the state.
        let _ = self.reset();
        let after = self.get_state();
        let kept = matches!(&after, Ok(answer) if answer.device_state == State::Running.number());
        if !kept {
            self.unless_reset_never_helps(before.ok())?;
        }
        self.judge(requirement, kept, format!("{asked}, then RESET"), "the state RUNNING", tell_state(&after))
    }

    /// A reset leads back to RUNNING; where resets never do so from this state, which another check judges, opening the
    /// device again does.
    ///
    /// # Errors
    /// That it does not come back, or what stood in the way.
    pub fn expect_comes_back(&mut self, requirement: &'static Requirement, asked: &str) -> Judgement {
        match self.expect_reset_helps(requirement, asked) {
            Err(interruption) if interruption.is_by(&reset::RUNNING) => {
                self.note("RESET does not lead to RUNNING from this state, so the device was opened again");
                self.open_again()?;
                self.expect_state(
                    requirement,
                    &format!("{asked}, then close the device, open it again"),
                    State::Running,
                )
            }
            other => other,
        }
    }

    /// Makes a control experiment: the device opened anew, brought to that state in an ordinary way, and reset.
    pub(super) fn unless_reset_never_helps(&mut self, state: Option<StateAnswer>) -> Judgement {
        self.open_again()?;
        let Some(state) = state.and_then(|answer| State::from_number(answer.device_state)) else {
            return Ok(());
        };
        if self.bring_to(state).is_err() {
            return Ok(());
        }
        // What it answers shows in the state.
        let _ = self.reset();
        match self.get_state() {
            Ok(answer) if answer.device_state == State::Running.number() => Ok(()),
            answer => Err(Interruption::blocked_by(
                &reset::RUNNING,
                format!("RESET in {state} never leads to RUNNING, but to {}", tell_state(&answer)),
            )),
        }
    }
}

/// An attempt to load a stream.
struct Loaded {
    /// What was done, to be read behind what was done before.
    did: String,
    kept: bool,
    expected: String,
    actual: String,
}

/// Reads to the end; `parts` says the parts of the call at each place.
fn drain(stream: &dyn Stream, parts: impl Fn(usize) -> Vec<usize>) -> Drained {
    let mut bytes = Vec::new();
    let mut buffer = Vec::new();
    loop {
        let parts = parts(bytes.len());
        buffer.resize(parts.iter().sum::<usize>().max(buffer.len()), 0);
        let end = match read_parts(stream, &mut buffer, &parts) {
            Ok(0) => StreamEnd::Permanent,
            Ok(_) if bytes.len() as u64 > STREAM_LIMIT_BYTES => StreamEnd::None,
            Ok(count) => {
                bytes.extend(&buffer[..count]);
                continue;
            }
            Err(Errno::ENOMSG) => StreamEnd::Temporary,
            Err(errno) => StreamEnd::Failed(errno),
        };
        return Drained { bytes, end };
    }
}

fn read_parts(stream: &dyn Stream, buffer: &mut [u8], parts: &[usize]) -> Result<usize, Errno> {
    if let [only] = parts {
        return stream.read(&mut buffer[..*only]);
    }
    let mut rest = buffer;
    let mut slices = Vec::new();
    for part in parts {
        let (slice, after) = rest.split_at_mut(*part);
        slices.push(IoSliceMut::new(slice));
        rest = after;
    }
    stream.readv(&mut slices)
}

/// Writes the beginning of `bytes`, as far as the parts reach.
fn write_parts(stream: &dyn Stream, bytes: &[u8], parts: &[usize]) -> Result<usize, Errno> {
    if let [only] = parts {
        return stream.write(&bytes[..bytes.len().min(*only)]);
    }
    let mut rest = bytes;
    let mut slices = Vec::new();
    for part in parts {
        let (slice, after) = rest.split_at(rest.len().min(*part));
        slices.push(IoSlice::new(slice));
        rest = after;
    }
    stream.writev(&slices)
}

/// Where two states or streams differ.
pub fn tell_difference(expected: &[u8], found: &[u8]) -> String {
    if expected.len() != found.len() {
        return format!("{} bytes instead of {}", found.len(), expected.len());
    }
    let mut differing = expected.iter().zip(found).enumerate().filter(|(_, (one, other))| one != other);
    match differing.next() {
        None => "no difference".to_owned(),
        Some((at, _)) => format!("{} bytes of {} differ, the first at {at:#x}", 1 + differing.count(), found.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_segmentation_gets_on() {
        for segmentation in Segmentation::UNUSUAL {
            for at in [0, 1, BYTEWISE_BYTES, ODD_BYTES, 1 << 30] {
                assert!(segmentation.parts(at, 100).iter().sum::<usize>() > 0, "{segmentation} at {at}");
            }
        }
    }

    #[test]
    fn differences_are_counted_and_placed() {
        assert_eq!(tell_difference(&[1, 2, 3], &[1, 0, 0]), "2 bytes of 3 differ, the first at 0x1");
        assert_eq!(tell_difference(&[1], &[1, 2]), "2 bytes instead of 1");
    }
}
