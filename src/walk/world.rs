//! What a walk knows of the device, and whether an answer is one that the protocol allows there.

use std::time::Duration;

use super::features::Malformed;
use super::operation::{Malformation, Operation};
use super::rules::Rule;
use super::sessions::{Asking, Flow, Sessions, Spoiled};
use super::traffic::Traffic;
use super::vector::Call;
use super::{Answer, Symptom, Violation};
use crate::device::migration::{StateAnswer, Transition};
use crate::device::{Device, Stream};
use crate::fsm::{Arc, Refusal, Route, route};
use crate::harness::bench::{tell_return, tell_state};
use crate::requirement::{Requirement, discover, fsm, reset, session};
use crate::stimulus::nature::{Corruption, Nature};
use crate::stimulus::{KeyUse, ProfileKey, Stimulus};
use crate::uapi::Errno;
use crate::uapi::feature::{Feature, FeatureCall, MigState, Placement, Verb, u64_from_bytes};
use crate::uapi::precopy::PrecopyInfoCall;
use crate::uapi::state::{Capabilities, State, name_of};
use crate::uapi::stream::Interest;

/// Every read of one call fits in here.
const BUFFER: usize = 64 << 10;
/// Flags that nobody has defined.
const PASSED_IN: u32 = 0x60;
/// More bytes than any stream of a sane device.
const STREAM_LIMIT: usize = 1 << 30;

/// The device as a walk knows it.
pub struct World<'a> {
    device: &'a mut dyn Device,
    routes: Routes,
    may_ask_blocked: bool,
    /// A stream that RESUMING accepts.
    good: &'a [u8],
    state: State,
    sessions: Sessions,
    traffic: Traffic,
    /// Whether a transition may fail, since that was asked for.
    is_doomed: bool,
    /// Keys of the profile that do not do what they are for: steps that would play them do nothing.
    unusable: Vec<ProfileKey>,
    /// What the next request that fails speaks against, if it is not simply broken.
    doubtful: Option<&'static Requirement>,
    /// Whether no transition was asked for since a reset.
    just_reset: bool,
    /// Whether the user has opted in to the flags of PRECOPY_INFO.
    has_opted_in: bool,
    /// What the device can tell of bad streams.
    nature: Nature,
    /// Which keys of the profile the walk asked for.
    keys: KeyUse,
    has_pre_copy: bool,
    /// Whether nothing happened since the state was last asked for.
    just_looked: bool,
    buffer: Vec<u8>,
}

/// What came of one step.
pub struct Step {
    /// What it answered.
    pub answer: Answer,
    /// Where the device said that it was afterwards, if it was asked.
    pub look: Option<Result<StateAnswer, Errno>>,
    /// What the step broke.
    pub violation: Option<Box<Violation>>,
}

type Judged<T = ()> = Result<T, Box<Violation>>;

impl<'a> World<'a> {
    /// A device that has just been reset and is in RUNNING.
    pub fn new(
        device: &'a mut dyn Device,
        capabilities: Capabilities,
        may_ask_blocked: bool,
        good: &'a [u8],
    ) -> World<'a> {
        World {
            nature: device.nature(),
            keys: KeyUse::default(),
            has_pre_copy: capabilities.pre_copy,
            device,
            routes: Routes::of(capabilities),
            may_ask_blocked,
            good,
            state: State::Running,
            sessions: Sessions::default(),
            traffic: Traffic::default(),
            is_doomed: false,
            unusable: Vec::new(),
            doubtful: None,
            just_reset: true,
            has_opted_in: false,
            just_looked: false,
            buffer: vec![0; BUFFER],
        }
    }

    /// The same device, on which these keys of the profile are not played.
    pub fn without(self, unusable: Vec<ProfileKey>) -> World<'a> {
        World { unusable, ..self }
    }

    /// The same device with this around it.
    pub fn with_traffic(self, traffic: Traffic) -> World<'a> {
        World { traffic, ..self }
    }

    /// Which keys of the profile the walk asked for.
    pub fn into_keys(mut self) -> KeyUse {
        self.keys.extend(self.traffic.into_keys());
        self.keys
    }

    /// Whether a log of DMA may be going on.
    pub fn may_log(&self) -> bool {
        self.traffic.may_log()
    }

    /// Does one step and judges it.
    pub fn step(&mut self, operation: Operation) -> Step {
        let mut step = Step { answer: Answer::Nothing, look: None, violation: None };
        if let Err(violation) = self.take(operation, &mut step) {
            step.violation = Some(violation);
        }
        self.just_looked = step.look.is_some();
        step
    }

    fn take(&mut self, operation: Operation, step: &mut Step) -> Judged {
        if operation.key().is_some_and(|key| self.unusable.contains(&key)) {
            return Ok(());
        }
        match operation {
            Operation::Set(number) => self.set(number, step),
            Operation::SetUnanswerable(number) => self.set_unanswerable(number, step),
            Operation::Get => self.get(step),
            Operation::Reset => self.reset(step),
            Operation::Reopen => self.reopen(step),
            Operation::Malformed(feature, how) => self.malformed(feature, how, step),
            Operation::OptIn => {
                // Where PRE_COPY is not there it is refused, which the discover chapter judges.
                let opted = self.device.use_precopy_info_v2();
                self.has_opted_in |= opted.is_ok();
                step.answer = Answer::Returned(opted);
                Ok(())
            }
            Operation::DataSize => self.data_size(step),
            Operation::Dirty(_) | Operation::EnterError | Operation::Reconfigure => {
                step.answer = self.stimulate(operation);
                Ok(())
            }
            Operation::Dma(..) | Operation::Interrupt if !self.is_operational() => Ok(()),
            Operation::Dma(..)
            | Operation::Interrupt
            | Operation::StartLog
            | Operation::StopLog
            | Operation::ReportLog => {
                step.answer = self.go_beside(operation)?;
                Ok(())
            }
            Operation::Close => {
                step.answer = self.sessions.close();
                if step.answer == Answer::Done(true) && self.sessions.is_out_of_reach() {
                    self.doubtful = Some(&session::EARLY_CLOSE);
                    self.sessions.doubt();
                }
                Ok(())
            }
            Operation::CloseOld => {
                step.answer = self.sessions.close_old();
                Ok(())
            }
            Operation::UseOld => {
                step.answer = self.sessions.use_old(&mut self.buffer[..64])?;
                Ok(())
            }
            Operation::PollOld => {
                let old = self.sessions.old_stream();
                step.answer =
                    old.map_or(Answer::Nothing, |old| Answer::Ready(old.poll(Interest::Read, Duration::ZERO)));
                Ok(())
            }
            other => self.use_session(other, step),
        }
    }

    /// Does something to the device's state. A device that is stopped is not to be touched: what comes of it is nobody's
    /// promise.
    fn stimulate(&mut self, operation: Operation) -> Answer {
        let stimulus = match operation {
            Operation::Dirty(bytes) => Stimulus::Dirty(bytes as usize),
            Operation::Reconfigure => Stimulus::Reconfigure,
            _ => Stimulus::EnterError,
        };
        if !self.is_running() {
            return Answer::Nothing;
        }
        let answer = self.device.stimulate(stimulus);
        // Nothing is reconfigured for a user that has no PRE_COPY to see it.
        if stimulus != Stimulus::Reconfigure || self.has_pre_copy {
            self.keys.note(stimulus.into(), &answer);
        }
        let is_done = answer.is_ok();
        match (stimulus, &mut self.sessions.live) {
            (Stimulus::EnterError, _) => self.is_doomed |= is_done,
            // What was promised is to be read anew.
            (Stimulus::Reconfigure, Some(live)) => live.forget_promise(),
            _ => {}
        }
        Answer::Done(is_done)
    }

    /// Does what has nothing to do with the migration.
    fn go_beside(&mut self, operation: Operation) -> Judged<Answer> {
        let (device, state) = (&*self.device, self.state);
        match operation {
            Operation::Dma(direction, page) => self.traffic.dma(device, direction, page),
            Operation::Interrupt => self.traffic.interrupt(device),
            Operation::StartLog => self.traffic.start_log(device, state),
            Operation::StopLog => self.traffic.stop_log(device, state),
            _ => self.traffic.report_log(device, state),
        }
    }

    fn use_session(&mut self, operation: Operation, step: &mut Step) -> Judged {
        let Some(live) = &mut self.sessions.live else {
            return Ok(());
        };
        let (state, buffer) = (self.state, &mut self.buffer[..]);
        // What is passed in as flags must make no difference.
        let info = PrecopyInfoCall { flags: PASSED_IN, ..PrecopyInfoCall::default() };
        let has_pre_copy = self.routes.capabilities.pre_copy;
        let asking = Asking { state, has_pre_copy, has_opted_in: self.has_opted_in };
        step.answer = match operation {
            Operation::Read(bytes) => live.read(&mut buffer[..(bytes as usize).min(BUFFER)], state)?,
            Operation::ReadVector(bytes) => {
                live.read_by(Call::Vector, &mut buffer[..(bytes as usize).min(BUFFER)], state)?
            }
            Operation::ReadAll => live.read_all(buffer, state, STREAM_LIMIT)?,
            Operation::Poll => live.poll(state)?,
            Operation::Info => live.info(info, asking)?,
            Operation::InfoSmall => live.info(PrecopyInfoCall { argsz: 8, ..info }, asking)?,
            Operation::InfoUnwritable => {
                live.info(PrecopyInfoCall { placement: Placement::ReadOnly, ..info }, asking)?
            }
            Operation::Write(portion) => live.write_by(Call::Plain, self.good, portion.most(), state)?,
            Operation::WriteVector(portion) => live.write_by(Call::Vector, self.good, portion.most(), state)?,
            Operation::WriteCorrupt(bytes) => live.write_corrupt(self.good, bytes as usize),
            Operation::AgainstDirection => live.against_direction(buffer),
            Operation::Nonblocking(nonblocking) => live.set_nonblocking(nonblocking),
            Operation::Duplicate => live.duplicate(),
            Operation::UseOther => live.use_other(),
            Operation::CloseOther => live.close_other(),
            _ => Answer::Nothing,
        };
        Ok(())
    }

    fn is_running(&self) -> bool {
        matches!(self.state, State::Running | State::RunningP2p | State::PreCopy | State::PreCopyP2p)
    }

    /// Whether the device is fully operational, and nothing was done to break it.
    fn is_operational(&self) -> bool {
        matches!(self.state, State::Running | State::PreCopy) && !self.is_doomed
    }

    /// Asks where the device is; it must be where it has to be.
    fn look(&mut self, suspect: &'static Requirement, asked: impl Fn() -> String, step: &mut Step) -> Judged {
        let answer = self.device.state();
        step.look = Some(answer);
        let is_there = matches!(answer, Ok(answer) if answer.device_state == self.state.number());
        if is_there {
            return Ok(());
        }
        Err(violation(suspect, Symptom::WrongState, asked(), format!("the state {}", self.state), tell_state(&answer)))
    }

    fn get(&mut self, step: &mut Step) -> Judged {
        let suspect = match self.just_looked {
            true => &fsm::GET_ONLY_LOOKS,
            false => &fsm::STEADY,
        };
        let state = self.state;
        let asked = || format!("GET in {state}");
        self.look(suspect, asked, step)?;
        let Some(Ok(answer)) = step.look else {
            return Ok(());
        };
        step.answer = Answer::State(Ok(answer));
        if answer.returned == 0 && answer.data_fd == -1 {
            return Ok(());
        }
        let actual = format!("return {}, data_fd {}", answer.returned, answer.data_fd);
        let symptom = Symptom::WrongFd;
        Err(violation(&fsm::GET_ONLY_LOOKS, symptom, asked(), "return 0, data_fd -1", actual))
    }

    fn set(&mut self, number: u32, step: &mut Step) -> Judged {
        let route = self.routes.find(self.state, number);
        if matches!(route, Some(Way::Refused(Refusal::Blocked))) && !self.may_ask_blocked {
            return Ok(());
        }
        let way = route.cloned().unwrap_or(Way::Refused(Refusal::OutOfRange(number)));
        let from = self.state;
        let asked = || format!("SET {} in {from}", name_of(number));
        let answer = self.device.set_state(number);
        step.answer = Answer::Set(match &answer {
            Ok(transition) => Ok((transition.returned, transition.data_fd)),
            Err(errno) => Err(*errno),
        });
        match way {
            Way::Refused(refusal) => self.set_refused(refusal, answer, asked, step),
            Way::Stay => self.set_stayed(answer, asked, step),
            Way::Path(path) => match answer {
                Ok(transition) => self.set_arrived(&path, transition, asked, step),
                Err(_) => self.set_failed(&path, asked, step),
            },
        }
    }

    fn set_refused(
        &mut self,
        refusal: Refusal,
        answer: Result<Transition, Errno>,
        asked: impl Fn() -> String,
        step: &mut Step,
    ) -> Judged {
        if answer.is_ok() {
            let requirement = match refusal {
                Refusal::ErrorAsTarget => &fsm::ERROR_AS_TARGET,
                Refusal::FromError => &fsm::FROM_ERROR,
                Refusal::NotAdvertised(_) => &fsm::NOT_ADVERTISED,
                Refusal::OutOfRange(_) => &fsm::OUT_OF_RANGE,
                Refusal::Blocked => &fsm::BLOCKED,
            };
            let expected = format!("an error, since {refusal}");
            let actual = step.answer.to_string();
            return Err(violation(requirement, Symptom::NotRefused, asked(), expected, actual));
        }
        self.sessions.suspect(&fsm::REFUSAL_KEEPS_SESSION);
        self.look(&fsm::REFUSAL_KEEPS_STATE, asked, step)
    }

    fn set_stayed(&mut self, answer: Result<Transition, Errno>, asked: impl Fn() -> String, step: &mut Step) -> Judged {
        let kept = matches!(&answer, Ok(transition) if transition.returned == 0 && transition.data_fd == -1);
        if !kept {
            let symptom = match &answer {
                Ok(transition) if transition.returned != 0 => Symptom::PositiveReturn,
                Ok(_) => Symptom::WrongFd,
                Err(_) => Symptom::Failed,
            };
            let actual = step.answer.to_string();
            return Err(violation(&fsm::SAME_STATE, symptom, asked(), "success (0), no data_fd", actual));
        }
        self.sessions.suspect(&fsm::SAME_STATE);
        self.look(&fsm::SAME_STATE, asked, step)
    }

    fn set_arrived(
        &mut self,
        path: &Path,
        transition: Transition,
        asked: impl Fn() -> String,
        step: &mut Step,
    ) -> Judged {
        let requirement = path.requirement();
        if transition.returned != 0 {
            let symptom = Symptom::PositiveReturn;
            return Err(violation(requirement, symptom, asked(), "success (0)", step.answer.to_string()));
        }
        if let Some((rule, why)) = self.why_refuse_to_leave() {
            let expected = format!("an error, since {why}");
            let actual = step.answer.to_string();
            return Err(violation(rule.requirement(), Symptom::NotRefused, asked(), expected, actual));
        }
        self.just_reset = false;
        self.state = path.target();
        self.traffic.moved();
        // Where the device is comes first: if it is not there, its descriptor says nothing.
        self.look(requirement, &asked, step)?;
        self.judge_fd(path, transition.data_fd, &asked)?;
        self.doubtful = self.doubtful.filter(|doubt| *doubt == &session::EARLY_CLOSE && !path.ends_session);
        self.follow_sessions(path, transition.stream, &session::ENDED);
        Ok(())
    }

    fn judge_fd(&self, path: &Path, data_fd: i32, asked: impl Fn() -> String) -> Judged {
        let (requirement, expected): (&'static Requirement, _) = match path.brings_data_fd {
            true if data_fd < 0 => (&session::FD_COMES, "a new data_fd"),
            false if data_fd != -1 => (&session::FD_ABSENT, "data_fd -1"),
            _ => return Ok(()),
        };
        Err(violation(requirement, Symptom::WrongFd, asked(), expected, format!("data_fd {data_fd}")))
    }

    /// What a path that was gone to its end means for the sessions.
    fn follow_sessions(&mut self, path: &Path, stream: Option<Box<dyn Stream>>, blame: &'static Requirement) {
        if path.ends_session {
            self.sessions.end(Some(blame));
        }
        if path.brings_data_fd {
            self.sessions.begin(stream, self.state);
            return;
        }
        if let Some(live) = &mut self.sessions.live {
            live.forget_promise();
            live.suspect = &session::SAME_SESSION;
        }
    }

    fn set_failed(&mut self, path: &Path, asked: impl Fn() -> String, step: &mut Step) -> Judged {
        if !self.may_fail() {
            let requirement = self.doubtful.unwrap_or(path.requirement());
            let symptom = Symptom::Failed;
            return Err(violation(requirement, symptom, asked(), "success (0)", step.answer.to_string()));
        }
        self.land(path, || format!("{}, which fails", asked()), step)
    }

    /// Whether a transition may fail here.
    fn may_fail(&self) -> bool {
        let is_loaded = self.sessions.live.as_ref().is_some_and(|live| live.is_loaded(self.good) && live.is_sure);
        self.is_doomed || (self.state == State::Resuming && !is_loaded)
    }

    /// Why RESUMING must not be left, if it must not.
    fn why_refuse_to_leave(&self) -> Option<(Rule, &'static str)> {
        let live = self.sessions.live.as_ref().filter(|live| live.is_sure)?;
        let Flow::Resuming(resuming) = &live.flow else {
            return None;
        };
        if resuming.spoiled == Spoiled::Failed {
            return Some((Rule::FailureSticks, "a write has failed"));
        }
        let corruption = resuming.corruption(self.good).filter(|corruption| self.nature.detects(*corruption))?;
        match corruption {
            Corruption::Empty => Some((Rule::EmptyRefused, "nothing was written")),
            Corruption::Truncated => Some((Rule::TruncatedRefused, "the stream lacks its end")),
            Corruption::Trailing => Some((Rule::TrailingRefused, "there was more behind the end of the stream")),
            Corruption::Header => None,
        }
    }

    /// After a failure the device is in its origin, on the path, or in ERROR.
    fn land(&mut self, path: &Path, asked: impl Fn() -> String, step: &mut Step) -> Judged {
        let answer = self.device.state();
        step.look = Some(answer);
        let landed = answer.ok().and_then(|answer| State::from_number(answer.device_state));
        let is_on_path = |state: &State| *state == State::Error || path.states.contains(state);
        let Some(landed) = landed.filter(is_on_path) else {
            let allowed = path.states.iter().chain([&State::Error]).map(|state| state.name());
            let expected = format!("one of {}", allowed.collect::<Vec<_>>().join(", "));
            let symptom = Symptom::WrongState;
            return Err(violation(&fsm::FAILURE_LANDS, symptom, asked(), expected, tell_state(&answer)));
        };
        self.just_reset = false;
        if landed != self.state {
            // What became of the session on the way is not said.
            self.sessions.end(None);
            if landed.is_saving() || landed == State::Resuming {
                self.sessions.begin(None, landed);
            }
        }
        self.sessions.doubt();
        self.state = landed;
        if landed == State::Error {
            self.traffic.doubt();
        }
        Ok(())
    }

    fn set_unanswerable(&mut self, number: u32, step: &mut Step) -> Judged {
        let way = self.routes.find(self.state, number).cloned();
        let is_blocked = matches!(way, Some(Way::Refused(Refusal::Blocked)));
        if is_blocked && !self.may_ask_blocked {
            return Ok(());
        }
        let from = self.state;
        let asked = || format!("SET {} in {from}, in memory that cannot be written", name_of(number));
        let wanted = MigState { device_state: number, data_fd: -1 };
        let mut call = FeatureCall::new(Feature::MigDeviceState, Verb::Set)
            .with_payload(wanted.to_bytes())
            .placed(Placement::ReadOnly);
        let answer = self.device.feature(&mut call);
        step.answer = Answer::Returned(answer);
        if answer.is_ok() {
            let actual = tell_return(&answer);
            return Err(violation(&session::LOST_FD, Symptom::NotRefused, asked(), "EFAULT", actual));
        }
        match way {
            Some(Way::Path(path)) => self.land(&path, asked, step),
            _ => {
                self.sessions.suspect(&fsm::REFUSAL_KEEPS_SESSION);
                self.look(&fsm::REFUSAL_KEEPS_STATE, asked, step)
            }
        }
    }

    fn reset(&mut self, step: &mut Step) -> Judged {
        let from = self.state;
        let asked = || format!("RESET in {from}");
        let requirement = match self.just_reset {
            true => &reset::REPEATED,
            false => &reset::RUNNING,
        };
        let answer = self.device.reset();
        step.answer = Answer::Returned(answer);
        if answer != Ok(0) {
            let actual = tell_return(&answer);
            return Err(violation(requirement, Symptom::Failed, asked(), "success (0)", actual));
        }
        self.start_over(&reset::ENDS_SESSION);
        // That a log outlives a reset is no more than an advice.
        self.traffic.doubt();
        self.just_reset = true;
        self.doubtful = Some(&reset::WORKS_AFTERWARDS);
        self.look(&reset::RUNNING, asked, step)
    }

    fn reopen(&mut self, step: &mut Step) -> Judged {
        let from = self.state;
        let asked = || format!("close the device in {from}, open it again");
        let reopened = self.device.reopen();
        step.answer = Answer::Done(reopened.is_ok());
        if let Err(error) = reopened {
            let expected = "the device to open again";
            return Err(violation(&fsm::OPENS_RUNNING, Symptom::Failed, asked(), expected, error.to_string()));
        }
        self.start_over(&session::DEVICE_CLOSED);
        self.traffic.reopened(&*self.device);
        self.has_opted_in = false;
        self.look(&fsm::OPENS_RUNNING, asked, step)
    }

    fn start_over(&mut self, blame: &'static Requirement) {
        self.sessions.end(Some(blame));
        self.state = State::Running;
        self.is_doomed = false;
        self.doubtful = None;
        self.just_reset = false;
    }

    fn malformed(&mut self, feature: Feature, how: Malformation, step: &mut Step) -> Judged {
        let mut malformed = Malformed::new(feature, how, self.state);
        let answer = self.device.feature(&mut malformed.call);
        step.answer = Answer::Returned(answer);
        malformed.judge(how, answer)?;
        if feature == Feature::DmaLoggingReport && answer.is_err() {
            // After any error of REPORT the log counts as corrupted.
            self.traffic.doubt();
        }
        self.sessions.suspect(malformed.suspect());
        let state = self.state;
        let asked = || format!("malformed {} {} in {state}", feature.name(), how.word());
        self.look(malformed.suspect(), asked, step)
    }

    fn data_size(&mut self, step: &mut Step) -> Judged {
        let mut call = FeatureCall::new(Feature::MigDataSize, Verb::Get);
        let returned = self.device.feature(&mut call);
        let answer = returned.map(|_| u64_from_bytes(&call.payload).unwrap_or_default());
        step.answer = Answer::Size(answer);
        let state = self.state;
        let asked = format!("GET MIG_DATA_SIZE in {state}");
        match answer {
            Ok(_) if returned != Ok(0) => {
                let symptom = Symptom::PositiveReturn;
                Err(violation(&discover::SUCCESS_IS_ZERO, symptom, asked, "success (0)", tell_return(&returned)))
            }
            Ok(bytes) if bytes > i64::MAX as u64 => {
                let rule = Rule::SizeSane.requirement();
                Err(violation(rule, Symptom::WrongEstimate, asked, "at most INT64_MAX", format!("{bytes}")))
            }
            // A device may lack it as a whole, and nothing is said of ERROR.
            Ok(_) | Err(Errno::ENOTTY) => Ok(()),
            Err(_) if state == State::Error => Ok(()),
            Err(_) => {
                let rule = Rule::SizeAnywhere.requirement();
                Err(violation(rule, Symptom::Failed, asked, "success (0)", step.answer.to_string()))
            }
        }
    }
}

/// What is wrong with an answer.
pub(super) fn violation(
    requirement: &'static Requirement,
    symptom: Symptom,
    asked: String,
    expected: impl Into<String>,
    actual: String,
) -> Box<Violation> {
    Box::new(Violation { requirement, symptom, asked, expected: expected.into(), actual })
}

/// What the oracle says to every pair of states, found once.
struct Routes {
    capabilities: Capabilities,
    ways: Vec<Vec<Way>>,
}

#[derive(Debug, Clone)]
enum Way {
    Stay,
    Path(std::sync::Arc<Path>),
    Refused(Refusal),
}

/// A way along arcs, with what it means.
#[derive(Debug)]
struct Path {
    states: Vec<State>,
    brings_data_fd: bool,
    ends_session: bool,
}

impl Path {
    fn of(states: Vec<State>) -> Path {
        let arcs = || states.windows(2).map(|pair| Arc { from: pair[0], to: pair[1] });
        Path { brings_data_fd: arcs().any(Arc::begins_session), ends_session: arcs().any(Arc::ends_session), states }
    }

    fn target(&self) -> State {
        self.states.last().copied().unwrap_or(State::Error)
    }

    fn requirement(&self) -> &'static Requirement {
        match self.states.len() {
            2 => &fsm::ARC,
            _ => &fsm::COMBINATION,
        }
    }
}

impl Routes {
    fn of(capabilities: Capabilities) -> Routes {
        let way = |from: State, to: State| match route(capabilities, from, to.number()) {
            Route::Stay => Way::Stay,
            Route::Path(path) => Way::Path(Path::of(path).into()),
            Route::Refused(refusal) => Way::Refused(refusal),
        };
        let ways = State::ALL.map(|from| State::ALL.map(|to| way(from, to)).to_vec()).to_vec();
        Routes { capabilities, ways }
    }

    fn find(&self, from: State, to: u32) -> Option<&Way> {
        self.ways.get(from.number() as usize)?.get(usize::try_from(to).ok()?)
    }
}

#[cfg(test)]
mod tests;
