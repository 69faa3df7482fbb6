//! What a walk knows of the sessions: the one that goes on, and those that have ended.

use std::collections::VecDeque;
use std::thread;
use std::time::Duration;

use super::rules::Rule;
use super::vector::Call;
use super::{Answer, Symptom, Violation};
use crate::device::Stream;
use crate::harness::bench::errno_name;
use crate::requirement::{Requirement, fsm, session};
use crate::stimulus::nature::Corruption;
use crate::uapi::Errno;
use crate::uapi::feature::Placement;
use crate::uapi::precopy::{PRECOPY_INFO_REINIT, PrecopyInfoCall};
use crate::uapi::state::State;
use crate::uapi::stream::Interest;

/// How much is written behind the end of a stream at most.
const TRAILING: usize = 16;
/// How often estimates are read again that may be a moment old, and how much later each time.
const LOOKS: usize = 20;
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How many data_fds of sessions that have ended are kept.
const OLD: usize = 3;

/// The session that goes on.
pub(super) struct Live {
    /// Its data_fd, unless it was closed or never came.
    pub(super) stream: Option<Box<dyn Stream>>,
    /// Another descriptor of it.
    other: Option<Box<dyn Stream>>,
    pub(super) flow: Flow,
    /// Whether the protocol says that it works: not after a transition that failed.
    pub(super) is_sure: bool,
    /// What would have to be accused if it were found dead now.
    pub(super) suspect: &'static Requirement,
}

/// Which way a session moves data, and what is known of it.
pub(super) enum Flow {
    Saving(Saving),
    Resuming(Resuming),
}

/// A session out of the device.
#[derive(Default)]
pub(super) struct Saving {
    /// Whether the permanent end was seen.
    has_ended: bool,
    /// What PRECOPY_INFO promised, if nothing was read or asked since.
    promised: Option<u64>,
    /// The initial_bytes of the last answer.
    initial: Option<u64>,
    /// Whether nothing was read yet.
    is_fresh: bool,
}

/// In what situation PRECOPY_INFO is asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asking {
    pub(super) state: State,
    pub(super) has_pre_copy: bool,
    pub(super) has_opted_in: bool,
}

/// A session into the device.
#[derive(Default)]
pub(super) struct Resuming {
    /// How much of the good stream was written.
    written: usize,
    /// What else was written, or did not succeed.
    pub(super) spoiled: Spoiled,
    /// Whether a good stream was followed by more.
    has_trailing: bool,
}

/// What is wrong with what a resuming session was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Spoiled {
    /// Nothing so far.
    #[default]
    No,
    /// It was given something that is not good, and took it.
    Taken,
    /// A write failed.
    Failed,
}

/// A session that has ended, whose data_fd is still open.
pub(super) struct Old {
    stream: Box<dyn Stream>,
    is_saving: bool,
    /// What has to be accused if it is not dead; `None` where the protocol leaves it open.
    blame: Option<&'static Requirement>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Sessions {
    pub(super) live: Option<Live>,
    old: VecDeque<Old>,
}

type Judged<T> = Result<T, Box<Violation>>;

impl Sessions {
    /// A session has begun.
    pub(super) fn begin(&mut self, stream: Option<Box<dyn Stream>>, state: State) {
        let flow = match state {
            State::Resuming => Flow::Resuming(Resuming::default()),
            _ => Flow::Saving(Saving { is_fresh: true, ..Saving::default() }),
        };
        let suspect = match self.old.is_empty() {
            true => &session::FD_COMES,
            false => &session::NEW_WORKS,
        };
        self.live = Some(Live { is_sure: stream.is_some(), stream, other: None, flow, suspect });
    }

    /// What goes on has ended, and this says so.
    pub(super) fn end(&mut self, blame: Option<&'static Requirement>) {
        let Some(live) = self.live.take() else {
            return;
        };
        let blame = blame.filter(|_| live.is_sure);
        // Of two descriptors the one that came first, or was not used last, is as dead as the other.
        if let Some(stream) = live.other.or(live.stream) {
            self.old.push_back(Old { stream, is_saving: matches!(live.flow, Flow::Saving(_)), blame });
        }
        if self.old.len() > OLD {
            self.old.pop_front();
        }
        // Once there is a newer one it is the older one that comes back to life.
        for old in self.old.iter_mut().rev().skip(1) {
            old.blame = old.blame.map(|_| &session::STAYS_DEAD);
        }
    }

    /// Nobody knows any more how the sessions are.
    pub(super) fn doubt(&mut self) {
        if let Some(live) = &mut self.live {
            live.is_sure = false;
        }
    }

    /// Something happened that must not harm the session.
    pub(super) fn suspect(&mut self, requirement: &'static Requirement) {
        if let Some(live) = &mut self.live {
            live.suspect = requirement;
        }
    }

    /// Closes the descriptor that is used. If there is another one, that is used from here on.
    pub(super) fn close(&mut self) -> Answer {
        let Some(live) = self.live.as_mut().filter(|live| live.stream.is_some()) else {
            return Answer::Nothing;
        };
        live.stream = live.other.take();
        live.suspect = &session::DUPLICATE;
        Answer::Done(true)
    }

    /// Whether a session goes on of which there is no descriptor.
    pub(super) fn is_out_of_reach(&self) -> bool {
        self.live.as_ref().is_some_and(|live| live.stream.is_none())
    }

    pub(super) fn close_old(&mut self) -> Answer {
        match self.old.pop_front() {
            Some(_) => Answer::Done(true),
            None => Answer::Nothing,
        }
    }

    /// Reads from, or writes to, the newest session that has ended.
    pub(super) fn use_old(&self, buffer: &mut [u8]) -> Judged<Answer> {
        let Some(old) = self.old.back() else {
            return Ok(Answer::Nothing);
        };
        let answer = match old.is_saving {
            true => old.stream.read(buffer),
            false => old.stream.write(&buffer[..1]),
        };
        match (answer, old.blame) {
            (Ok(moved), Some(blame)) => Err(Box::new(Violation {
                requirement: blame,
                symptom: Symptom::Undead,
                asked: "read from, or write to, the data_fd of a session that has ended".to_owned(),
                expected: "an error".to_owned(),
                actual: format!("{moved} bytes"),
            })),
            _ => Ok(Answer::Moved(answer)),
        }
    }

    /// The stream of the newest session that has ended.
    pub(super) fn old_stream(&self) -> Option<&dyn Stream> {
        self.old.back().map(|old| old.stream.as_ref())
    }
}

impl Live {
    /// Whether it takes data in, all of it was good, and all of it came.
    pub(super) fn is_loaded(&self, good: &[u8]) -> bool {
        match &self.flow {
            Flow::Resuming(resuming) => {
                resuming.spoiled == Spoiled::No && resuming.written == good.len() && !good.is_empty()
            }
            Flow::Saving(_) => false,
        }
    }

    /// Something may have been dirtied, or the state has changed, so that what was promised says nothing any more.
    pub(super) fn forget_promise(&mut self) {
        if let Flow::Saving(saving) = &mut self.flow {
            saving.promised = None;
        }
    }

    /// Reads once.
    pub(super) fn read(&mut self, buffer: &mut [u8], state: State) -> Judged<Answer> {
        self.read_by(Call::Plain, buffer, state)
    }

    /// The same, by this call.
    pub(super) fn read_by(&mut self, call: Call, buffer: &mut [u8], state: State) -> Judged<Answer> {
        let (Some(stream), Flow::Saving(saving)) = (&self.stream, &mut self.flow) else {
            return Ok(Answer::Nothing);
        };
        let answer = call.read(stream.as_ref(), buffer);
        if !self.is_sure {
            return Ok(Answer::Moved(answer));
        }
        if answer == Err(Errno::ENOMSG) && saving.promised.is_some_and(|bytes| bytes > 0) && was_late(stream.as_ref()) {
            saving.promised = None;
        }
        let asked = || format!("{} {} in {state}", call.reads(), buffer.len());
        if buffer.is_empty() {
            judge_empty_read(answer, state, self.suspect, asked)?;
            self.suspect = Rule::EmptyRead.requirement();
            return Ok(Answer::Moved(answer));
        }
        if call == Call::Vector && answer.is_err_and(is_no_answer_of_read) {
            let expected = "what a read with one buffer answers";
            return Err(violation(Rule::AnyRead, Symptom::Failed, asked(), expected, Answer::Moved(answer)));
        }
        saving.judge_read(answer, state, self.suspect, asked)?;
        self.suspect = match answer {
            Err(_) => Rule::TemporaryIsTemporary.requirement(),
            Ok(_) => &session::SAME_SESSION,
        };
        Ok(Answer::Moved(answer))
    }

    /// Has reads fail instead of wait, or wait again. What that means is an advice, so only that the session goes on is
    /// judged.
    pub(super) fn set_nonblocking(&mut self, nonblocking: bool) -> Answer {
        match &self.stream {
            Some(stream) => Answer::Done(stream.set_nonblocking(nonblocking).is_ok()),
            None => Answer::Nothing,
        }
    }

    /// Makes a duplicate, and uses that from here on.
    pub(super) fn duplicate(&mut self) -> Answer {
        let Some(stream) = self.stream.as_ref().filter(|_| self.other.is_none()) else {
            return Answer::Nothing;
        };
        let Ok(duplicate) = stream.duplicate() else {
            return Answer::Done(false);
        };
        self.other = self.stream.replace(duplicate);
        self.suspect = &session::DUPLICATE;
        Answer::Done(true)
    }

    /// Uses the other one of two descriptors.
    pub(super) fn use_other(&mut self) -> Answer {
        if self.other.is_none() {
            return Answer::Nothing;
        }
        std::mem::swap(&mut self.stream, &mut self.other);
        self.suspect = &session::DUPLICATE;
        Answer::Done(true)
    }

    /// Closes the other one of two descriptors.
    pub(super) fn close_other(&mut self) -> Answer {
        if self.other.take().is_none() {
            return Answer::Nothing;
        }
        self.suspect = &session::DUPLICATE;
        Answer::Done(true)
    }

    /// Reads until there is an end, or for so many bytes.
    pub(super) fn read_all(&mut self, buffer: &mut [u8], state: State, limit: usize) -> Judged<Answer> {
        let mut bytes = 0;
        loop {
            match self.read(buffer, state)? {
                Answer::Moved(Ok(moved)) if moved > 0 && bytes < limit => bytes += moved,
                Answer::Moved(end) => return Ok(Answer::Drained(bytes, end)),
                other => return Ok(other),
            }
        }
    }

    /// Polls without waiting.
    pub(super) fn poll(&mut self, state: State) -> Judged<Answer> {
        let Some(stream) = &self.stream else {
            return Ok(Answer::Nothing);
        };
        let interest = match self.flow {
            Flow::Saving(_) => Interest::Read,
            Flow::Resuming(_) => Interest::Write,
        };
        let answer = stream.poll(interest, Duration::ZERO);
        let has_ended = matches!(&self.flow, Flow::Saving(saving) if saving.has_ended);
        match answer {
            Ok(readiness) if has_ended && self.is_sure && !readiness.readable => Err(Box::new(Violation {
                requirement: Rule::EndReadable.requirement(),
                symptom: Symptom::WrongEnd,
                asked: format!("poll at the permanent end, in {state}"),
                expected: "readable".to_owned(),
                actual: Answer::Ready(answer).to_string(),
            })),
            _ => Ok(Answer::Ready(answer)),
        }
    }

    /// Writes nothing.
    fn write_nothing(&mut self, call: Call, state: State) -> Judged<Answer> {
        let (Some(stream), Flow::Resuming(resuming)) = (&self.stream, &self.flow) else {
            return Ok(Answer::Nothing);
        };
        let answer = call.write(stream.as_ref(), &[]);
        let may_fail = resuming.spoiled != Spoiled::No || !self.is_sure;
        if answer == Ok(0) || may_fail {
            return Ok(Answer::Moved(answer));
        }
        let requirement = match answer {
            Err(Errno::ENODEV | Errno::EBADF) => self.suspect,
            _ => Rule::EmptyWrite.requirement(),
        };
        let asked = format!("write 0 bytes in {state}");
        let (expected, actual) = ("0".to_owned(), Answer::Moved(answer).to_string());
        Err(Box::new(Violation { requirement, symptom: Symptom::Dead, asked, expected, actual }))
    }

    /// Writes the next part of a good stream by this call.
    pub(super) fn write_by(&mut self, call: Call, good: &[u8], most: usize, state: State) -> Judged<Answer> {
        if most == 0 {
            return self.write_nothing(call, state);
        }
        let (Some(stream), Flow::Resuming(resuming)) = (&self.stream, &mut self.flow) else {
            return Ok(Answer::Nothing);
        };
        let begin = resuming.written.min(good.len());
        let part = &good[begin..good.len().min(begin.saturating_add(most))];
        if part.is_empty() {
            return Ok(resuming.write_behind(stream.as_ref(), good, most));
        }
        let mut written = 0;
        while written < part.len() {
            match call.write(stream.as_ref(), &part[written..]) {
                Ok(moved @ 1..) if moved <= part.len() - written => written += moved,
                answer if resuming.spoiled != Spoiled::No || !self.is_sure => {
                    resuming.note(answer);
                    return Ok(Answer::Moved(answer));
                }
                answer => {
                    return Err(Box::new(Violation {
                        requirement: match answer {
                            Err(Errno::ENODEV | Errno::EBADF) => self.suspect,
                            _ => Rule::Segmentation.requirement(),
                        },
                        symptom: Symptom::Dead,
                        asked: format!(
                            "write {} bytes of a good stream in {state}, behind its first {}",
                            part.len(),
                            begin
                        ),
                        expected: "all of them to be taken".to_owned(),
                        actual: Answer::Moved(answer).to_string(),
                    }));
                }
            }
        }
        resuming.written += written;
        self.suspect = &fsm::REFUSAL_KEEPS_SESSION;
        Ok(Answer::Moved(Ok(written)))
    }

    /// Writes the next part of a good stream with one bit flipped.
    pub(super) fn write_corrupt(&mut self, good: &[u8], most: usize) -> Answer {
        let (Some(stream), Flow::Resuming(resuming)) = (&self.stream, &mut self.flow) else {
            return Answer::Nothing;
        };
        let begin = resuming.written.min(good.len());
        let mut part = good[begin..good.len().min(begin.saturating_add(most))].to_vec();
        let middle = part.len() / 2;
        let Some(byte) = part.get_mut(middle) else {
            return Answer::Nothing;
        };
        *byte ^= 0x10;
        let answer = stream.write(&part);
        resuming.note(answer);
        resuming.written += answer.unwrap_or_default();
        Answer::Moved(answer)
    }

    /// Writes to what is to be read, or reads from what is to be written. That this fails is a should.
    pub(super) fn against_direction(&mut self, buffer: &mut [u8]) -> Answer {
        let Some(stream) = &self.stream else {
            return Answer::Nothing;
        };
        Answer::Moved(match self.flow {
            Flow::Saving(_) => stream.write(&buffer[..1]),
            Flow::Resuming(_) => stream.read(&mut buffer[..1]),
        })
    }

    /// Asks for the estimates of PRE_COPY.
    pub(super) fn info(&mut self, mut call: PrecopyInfoCall, asking: Asking) -> Judged<Answer> {
        let Asking { state, has_pre_copy, has_opted_in } = asking;
        let Some(stream) = &self.stream else {
            return Ok(Answer::Nothing);
        };
        let wanted = call;
        let answer = stream.precopy_info(&mut call);
        if !self.is_sure {
            return Ok(Answer::Returned(answer));
        }
        let asked = || format!("PRECOPY_INFO in {state}");
        let has_estimates = has_pre_copy && state_has_estimates(state) && matches!(self.flow, Flow::Saving(_));
        if answer == Err(Errno::ENODEV) && has_estimates {
            return Err(Box::new(Violation {
                requirement: self.suspect,
                symptom: Symptom::Dead,
                asked: asked(),
                expected: "the session to go on".to_owned(),
                actual: Answer::Returned(answer).to_string(),
            }));
        }
        let rule = Self::info_rule(&wanted, has_estimates);
        if let (Flow::Saving(saving), Err(Errno::EFAULT)) = (&mut self.flow, answer) {
            // Whether a REINIT that could not be written is repeated is open, and so is initial_bytes then.
            saving.initial = Some(u64::MAX);
        }
        if let Some((rule, errno)) = rule {
            let is_kept = answer.is_err_and(|came| errno.is_none_or(|errno| came == errno));
            let expected = errno.map_or_else(|| "an error".to_owned(), errno_name);
            return match is_kept {
                true => Ok(Answer::Returned(answer)),
                false => Err(violation(rule, Symptom::NotRefused, asked(), expected, Answer::Returned(answer))),
            };
        }
        if answer != Ok(0) {
            let actual = Answer::Returned(answer);
            return Err(violation(Rule::InfoWorks, Symptom::Failed, asked(), "success (0)", actual));
        }
        if has_opted_in && call.flags & !PRECOPY_INFO_REINIT != 0 {
            let (expected, actual) = ("flags 0 or REINIT", format!("flags {:#x}", call.flags));
            let requirement = Rule::InfoFlags.requirement();
            let (symptom, asked, expected) = (Symptom::WrongEstimate, asked(), expected.to_owned());
            return Err(Box::new(Violation { requirement, symptom, asked, expected, actual }));
        }
        let reinit = has_opted_in && call.flags & PRECOPY_INFO_REINIT != 0;
        let estimates = Answer::Estimates(Ok((call.initial_bytes, call.dirty_bytes)));
        if let Flow::Saving(saving) = &mut self.flow {
            saving.take_estimates(&call, reinit, asked, estimates)?;
        }
        self.suspect = &session::SAME_SESSION;
        Ok(estimates)
    }

    /// What a call that cannot succeed breaks if it does, and the errno that it has to answer, if it matters which;
    /// `None` if it can succeed.
    fn info_rule(call: &PrecopyInfoCall, has_estimates: bool) -> Option<(Rule, Option<Errno>)> {
        if !has_estimates {
            return Some((Rule::InfoElsewhere, None));
        }
        if call.argsz < PrecopyInfoCall::default().argsz {
            return Some((Rule::InfoArgsz, Some(Errno::EINVAL)));
        }
        match call.placement {
            Placement::Ordinary => None,
            _ => Some((Rule::InfoMemory, Some(Errno::EFAULT))),
        }
    }
}

/// Whether a driver that renews its estimates only now and then has announced what was read already: soon it announces nothing
/// any more.
fn was_late(stream: &dyn Stream) -> bool {
    for _ in 0..LOOKS {
        let mut call = PrecopyInfoCall::default();
        match stream.precopy_info(&mut call) {
            Ok(_) if call.initial_bytes == 0 && call.dirty_bytes == 0 => return true,
            Ok(_) => thread::sleep(LOOK_EVERY),
            Err(_) => return false,
        }
    }
    false
}

/// A read of no bytes answers 0, and in PRE_COPY that there is nothing, if there is nothing.
fn judge_empty_read(
    answer: Result<usize, Errno>,
    state: State,
    suspect: &'static Requirement,
    asked: impl Fn() -> String,
) -> Judged<()> {
    let (requirement, symptom) = match answer {
        Ok(0) => return Ok(()),
        Err(Errno::ENOMSG | Errno::EAGAIN) if state != State::StopCopy => return Ok(()),
        Err(Errno::ENODEV) => (suspect, Symptom::Dead),
        _ => (Rule::EmptyRead.requirement(), Symptom::WrongEnd),
    };
    let (expected, actual) = ("0".to_owned(), Answer::Moved(answer).to_string());
    Err(Box::new(Violation { requirement, symptom, asked: asked(), expected, actual }))
}

/// Whether PRECOPY_INFO is valid there.
fn state_has_estimates(state: State) -> bool {
    matches!(state, State::PreCopy | State::PreCopyP2p)
}

/// Whether no read of a session that goes on answers this.
fn is_no_answer_of_read(errno: Errno) -> bool {
    !matches!(errno, Errno::ENODEV | Errno::ENOMSG | Errno::EAGAIN)
}

impl Saving {
    fn judge_read(
        &mut self,
        answer: Result<usize, Errno>,
        state: State,
        suspect: &'static Requirement,
        asked: impl Fn() -> String,
    ) -> Judged<()> {
        let moved = Answer::Moved(answer);
        let wrong_end = |rule, expected| Err(violation(rule, Symptom::WrongEnd, asked(), expected, moved));
        let promised = self.promised.take();
        self.is_fresh = false;
        match (state, answer) {
            (State::StopCopy, Ok(0)) => self.has_ended = true,
            (State::StopCopy, Ok(_)) if self.has_ended => {
                return wrong_end(Rule::PermanentEnd, "0, as before");
            }
            (State::StopCopy, Err(Errno::ENOMSG)) => return wrong_end(Rule::NoTemporaryEnd, "data, or 0 at the end"),
            (_, Err(Errno::ENOMSG)) if promised.is_some_and(|bytes| bytes > 0) => {
                let expected = "data, since PRECOPY_INFO has just promised it";
                return Err(violation(Rule::Delivers, Symptom::WrongEstimate, asked(), expected, moved));
            }
            (_, Ok(0)) => return wrong_end(Rule::TemporaryEnd, "data, or ENOMSG where there is none"),
            (_, Ok(_) | Err(Errno::ENOMSG | Errno::EAGAIN)) => {}
            (State::StopCopy, Err(errno)) if self.has_ended || errno != Errno::ENODEV => {
                return wrong_end(Rule::PermanentEnd, "data, or 0 at the end");
            }
            (_, Err(errno)) if errno != Errno::ENODEV => {
                return wrong_end(Rule::TemporaryEnd, "data, or ENOMSG where there is none");
            }
            (_, Err(_)) => {
                return Err(Box::new(Violation {
                    requirement: suspect,
                    symptom: Symptom::Dead,
                    asked: asked(),
                    expected: "the session to go on".to_owned(),
                    actual: moved.to_string(),
                }));
            }
        }
        Ok(())
    }

    fn take_estimates(
        &mut self,
        call: &PrecopyInfoCall,
        reinit: bool,
        asked: impl Fn() -> String,
        estimates: Answer,
    ) -> Judged<()> {
        if self.is_fresh && self.initial.is_none() && call.initial_bytes == 0 {
            let expected = "initial_bytes above 0, since nothing was read yet";
            return Err(violation(Rule::InitialAtFirst, Symptom::WrongEstimate, asked(), expected, estimates));
        }
        if let Some(last) = self.initial.filter(|last| call.initial_bytes > *last && !reinit) {
            let expected = format!("initial_bytes not above {last}, where it was");
            return Err(violation(Rule::InitialNeverGrows, Symptom::WrongEstimate, asked(), expected, estimates));
        }
        self.initial = Some(call.initial_bytes);
        self.promised = call.initial_bytes.checked_add(call.dirty_bytes);
        Ok(())
    }
}

impl Resuming {
    /// Writes behind the end of a good stream.
    fn write_behind(&mut self, stream: &dyn Stream, good: &[u8], most: usize) -> Answer {
        if good.is_empty() || most == usize::MAX {
            return Answer::Nothing;
        }
        let answer = stream.write(&vec![0; most.min(TRAILING)]);
        self.has_trailing |= self.spoiled == Spoiled::No;
        self.note(answer);
        Answer::Moved(answer)
    }

    /// In what way what was written is no good stream, as far as that is known.
    pub(super) fn corruption(&self, good: &[u8]) -> Option<Corruption> {
        match self.spoiled {
            Spoiled::No if good.is_empty() || self.written == good.len() => None,
            Spoiled::No if self.written == 0 => Some(Corruption::Empty),
            Spoiled::No => Some(Corruption::Truncated),
            Spoiled::Taken if self.has_trailing => Some(Corruption::Trailing),
            Spoiled::Taken | Spoiled::Failed => None,
        }
    }

    /// Takes note of a write that did not do what it should.
    fn note(&mut self, answer: Result<usize, Errno>) {
        let found = match answer {
            Err(_) => Spoiled::Failed,
            Ok(_) => Spoiled::Taken,
        };
        self.spoiled = self.spoiled.max(found);
    }
}

impl Spoiled {
    fn max(self, other: Spoiled) -> Spoiled {
        match (self, other) {
            (Spoiled::Failed, _) | (_, Spoiled::Failed) => Spoiled::Failed,
            (Spoiled::Taken, _) | (_, Spoiled::Taken) => Spoiled::Taken,
            (Spoiled::No, Spoiled::No) => Spoiled::No,
        }
    }
}

fn violation(
    rule: Rule,
    symptom: Symptom,
    asked: String,
    expected: impl Into<String>,
    actual: Answer,
) -> Box<Violation> {
    Box::new(Violation {
        requirement: rule.requirement(),
        symptom,
        asked,
        expected: expected.into(),
        actual: actual.to_string(),
    })
}

#[cfg(test)]
mod tests;
