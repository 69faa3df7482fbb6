//! Bringing the device to where a check begins. What fails here is for other checks to judge.

use super::tell::{errno_name, tell_size, tell_state};
use super::{Arrival, Bench, Requested, SessionHistory};
use crate::fsm::{Route, route};
use crate::harness::check::{Interruption, Judgement, Skip};
use crate::harness::measure::Sample;
use crate::harness::session::Session;
use crate::harness::stream::StreamEnd;
use crate::requirement::{Requirement, fsm, precopy, reset, resume, session, stop_copy};
use crate::stimulus::{ProfileKey, Stimulus};
use crate::uapi::Errno;
use crate::uapi::state::State;

impl Bench {
    /// Brings the device from RUNNING to a state, arc by arc, and returns the session that is open there.
    ///
    /// A state that the device does not advertise makes the check skip, once asking for it was seen to be refused.
    ///
    /// # Errors
    /// The skip, or what stood in the way.
    pub fn bring_to(&mut self, state: State) -> Judgement<Option<Session>> {
        if state == State::Error {
            return self.bring_to_error().map(|()| None);
        }
        if !self.capabilities().has(state) {
            return self.correctly_absent(state).map(|()| None);
        }
        self.stands_in_running()?;
        let Route::Path(path) = route(self.capabilities(), State::Running, state.number()) else {
            return Ok(None);
        };
        let mut session = None;
        for arc in path.windows(2) {
            let requested = self.request(arc[0], arc[1].number());
            if let Err(errno) = requested.answer {
                let why = format!(
                    "the device could not be brought to {state}: {} answered {}",
                    requested.asked,
                    errno_name(errno)
                );
                return Err(Interruption::blocked_by(self.broken_by_refusing(&requested), why));
            }
            session = requested.session();
        }
        self.has_come_to(state, &fsm::ARC)?;
        Ok(session)
    }

    /// Brings the device from a state to another one, in which the session goes on.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn bring_on(&mut self, from: State, to: State) -> Judgement {
        let requested = self.request(from, to.number());
        match requested.answer {
            Ok(_) => self.has_come_to(to, requested.requirement()),
            Err(errno) => Err(Interruption::blocked_by(
                self.broken_by_refusing(&requested),
                format!("the device could not be brought to {to}: {} answered {}", requested.asked, errno_name(errno)),
            )),
        }
    }

    fn has_come_to(&mut self, state: State, requirement: &'static Requirement) -> Judgement {
        match self.get_state() {
            Ok(answer) if answer.device_state == state.number() => Ok(()),
            answer => Err(Interruption::blocked_by(
                requirement,
                format!("the device could not be brought to {state}: it says that it is in {}", tell_state(&answer)),
            )),
        }
    }

    /// A permitted transition, which other checks judge, succeeded.
    ///
    /// # Errors
    /// That it did not.
    pub fn require_success(&self, requested: &Requested) -> Judgement {
        match requested.answer {
            Ok(_) => Ok(()),
            Err(errno) => Err(Interruption::blocked_by(
                self.broken_by_refusing(requested),
                format!("{} answered {}", requested.asked, errno_name(errno)),
            )),
        }
    }

    /// Which requirement a device breaks that refuses a permitted transition. One that a reset has just brought to
    /// RUNNING has to work afterwards.
    fn broken_by_refusing(&self, requested: &Requested) -> &'static Requirement {
        match (self.session, self.arrival) {
            (SessionHistory::Closed, _) => &session::EARLY_CLOSE,
            (_, Arrival::Reset) => &reset::WORKS_AFTERWARDS,
            (_, Arrival::Transition | Arrival::Reopen) => requested.requirement(),
        }
    }

    /// Which requirement a device breaks whose session is dead.
    fn broken_by_death(&self) -> &'static Requirement {
        match self.session {
            SessionHistory::Moved => &session::SAME_SESSION,
            SessionHistory::AskedAgain => &fsm::SAME_STATE,
            SessionHistory::None | SessionHistory::Begun | SessionHistory::Closed => &session::NEW_WORKS,
        }
    }

    /// Which requirement a session breaks that was read in this state and ended so.
    pub fn broken_by_end(&self, state: State, end: &StreamEnd) -> &'static Requirement {
        match (end, state) {
            (StreamEnd::Failed(Errno::ENODEV), _) => self.broken_by_death(),
            (_, State::PreCopy | State::PreCopyP2p) => &precopy::EOS_ENOMSG,
            (StreamEnd::Temporary, _) => &stop_copy::NO_ENOMSG,
            (StreamEnd::Permanent | StreamEnd::Failed(_) | StreamEnd::None, _) => &stop_copy::END_PERMANENT,
        }
    }

    /// Which requirement a session breaks whose PRECOPY_INFO answers so in PRE_COPY.
    pub fn broken_by_info(&self, answer: Result<i32, Errno>) -> &'static Requirement {
        match answer {
            Err(Errno::ENODEV) => self.broken_by_death(),
            Ok(_) | Err(_) => &precopy::INFO_WORKS,
        }
    }

    /// The session that a request for a state began, in which the device has to be then.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn require_session(&mut self, requested: Requested, state: State) -> Judgement<Session> {
        self.require_success(&requested)?;
        self.has_come_to(state, requested.requirement())?;
        requested.session().ok_or_else(|| no_session(state))
    }

    /// The device is in RUNNING, where every way begins. Opening it again is tried where a reset does not lead there, so
    /// that a broken reset hides nothing else.
    fn stands_in_running(&mut self) -> Judgement {
        if self.arrival == Arrival::Transition || self.is_running() {
            return Ok(());
        }
        if self.arrival == Arrival::Reopen && self.leaves_stale_state() {
            return Ok(());
        }
        self.return_to_running(false)
    }

    /// Asks a device for RUNNING that was opened in another state. A reset would hide what a driver does that has freed the
    /// data of that state.
    fn leaves_stale_state(&mut self) -> bool {
        let here = self.get_state().ok().and_then(|answer| State::from_number(answer.device_state));
        let Some(here) = here.filter(|state| *state != State::Error) else {
            return false;
        };
        drop(self.request(here, State::Running.number()));
        self.is_running()
    }

    /// Brings the device to a state that has a session.
    ///
    /// # Errors
    /// The skip, or what stood in the way.
    pub fn bring_to_session(&mut self, state: State) -> Judgement<Session> {
        let session = self.bring_to(state)?;
        session.ok_or_else(|| no_session(state))
    }

    fn bring_to_error(&mut self) -> Judgement {
        self.stimulate(Stimulus::EnterError)?;
        let requested = self.request(State::Running, State::Stop.number());
        drop(requested.session());
        match self.get_state() {
            Ok(answer) if answer.device_state == State::Error.number() => Ok(()),
            answer => {
                let why = format!("the next transition does not lead to ERROR: the state is {}", tell_state(&answer));
                Err(self.disprove(ProfileKey::EnterError, why))
            }
        }
    }

    fn correctly_absent(&mut self, state: State) -> Judgement {
        let requested = self.request(State::Running, state.number());
        match requested.answer {
            Err(_) => Err(Interruption::Skip(Skip::CorrectlyAbsent {
                what: format!("{state} is not advertised, and asking for it is refused"),
            })),
            Ok(_) => Err(Interruption::blocked_by(
                &fsm::NOT_ADVERTISED,
                format!("{state} is not advertised, yet asking for it succeeds"),
            )),
        }
    }

    /// Makes a transition that other checks judge.
    ///
    /// # Errors
    /// That it did not lead there.
    pub fn move_to(&mut self, from: State, to: State) -> Judgement {
        let requested = self.request(from, to.number());
        self.require_success(&requested)?;
        match self.get_state() {
            Ok(answer) if answer.device_state == to.number() => Ok(()),
            answer => Err(Interruption::blocked_by(
                requested.requirement(),
                format!("{} led to {}", requested.asked, tell_state(&answer)),
            )),
        }
    }

    /// Closes the device and opens it again, which other checks judge.
    ///
    /// # Errors
    /// That it does not open.
    pub fn open_again(&mut self) -> Judgement {
        self.reopen().map_err(|error| Interruption::blocked_by(&fsm::OPENS_RUNNING, error.to_string()))
    }

    /// Resets the device. Where that does not lead to RUNNING, which other checks judge, opening it again does.
    ///
    /// # Errors
    /// That neither did.
    pub fn reset_or_open_again(&mut self) -> Judgement {
        // What it answers shows in the state.
        let _ = self.reset();
        self.stands_in_running()
    }

    /// Gives a resuming session a whole stream.
    ///
    /// # Errors
    /// That it does not take it.
    pub fn load(&mut self, session: &Session, stream: &[u8]) -> Judgement {
        let written = self.write_all(session, stream);
        if written == Ok(stream.len()) {
            self.measure(|micros| Sample::Load { bytes: stream.len() as u64, micros });
            return Ok(());
        }
        let why = format!("the device could not be loaded: write answered {}", tell_size(&written));
        Err(Interruption::blocked_by(&resume::RESTORES, why))
    }

    /// Gives a resuming session a part of a stream.
    ///
    /// # Errors
    /// That it does not take it.
    pub fn load_part(&mut self, session: &Session, part: &[u8]) -> Judgement {
        let written = self.write_all(session, part);
        if written == Ok(part.len()) {
            return Ok(());
        }
        let why = format!("a part of a stream could not be loaded: write answered {}", tell_size(&written));
        Err(Interruption::blocked_by(&resume::ANY_WRITE, why))
    }

    /// Brings the device back to RUNNING between two rounds of a check: by a transition where that leads there, else by
    /// reset, else by opening it again.
    ///
    /// # Errors
    /// That none of them did.
    pub fn bring_back(&mut self) -> Judgement {
        self.return_to_running(true)
    }

    /// A stream of this device that RESUMING accepts. It is saved once, and the device is in RUNNING again after it.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn saved_stream(&mut self) -> Judgement<Vec<u8>> {
        Ok(self.saved_device()?.stream.clone())
    }
}

impl SessionHistory {
    /// What it is once a transition has succeeded.
    pub(super) fn after(self, from: State, to: Option<State>) -> SessionHistory {
        let Some(to) = to else { return self };
        let has_session = to.is_saving() || to == State::Resuming;
        match (self, has_session) {
            (SessionHistory::None, true) => SessionHistory::Begun,
            (_, true) if from == to => SessionHistory::AskedAgain,
            (_, true) if from.is_saving() && to.is_saving() => SessionHistory::Moved,
            (_, true) => SessionHistory::Begun,
            (_, false) => SessionHistory::None,
        }
    }
}

/// A check that needs a data_fd met a device that gave none, which is for the session chapter to judge.
pub fn no_session(state: State) -> Interruption {
    Interruption::blocked_by(&session::FD_COMES, format!("no data_fd came on the way to {state}"))
}
