//! Bringing the device to where a check begins. What fails here is for other checks to judge.

use super::Bench;
use super::tell::{errno_name, tell_return, tell_size, tell_state};
use crate::fsm::{Route, route};
use crate::harness::check::{Interruption, Judgement, Skip};
use crate::harness::measure::Sample;
use crate::harness::session::Session;
use crate::stimulus::{ProfileKey, Stimulus};
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
        let Route::Path(path) = route(self.capabilities(), State::Running, state.number()) else {
            return Ok(None);
        };
        let mut session = None;
        for arc in path.windows(2) {
            let requested = self.request(arc[0], arc[1].number());
            if let Err(errno) = requested.answer {
                return Err(Interruption::Blocked(format!(
                    "the device could not be brought to {state}: {} answered {}",
                    requested.asked,
                    errno_name(errno)
                )));
            }
            session = requested.session();
        }
        self.has_come_to(state)?;
        Ok(session)
    }

    /// Brings the device from a state to another one, in which the session goes on.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn bring_on(&mut self, from: State, to: State) -> Judgement {
        let requested = self.request(from, to.number());
        match requested.answer {
            Ok(_) => self.has_come_to(to),
            Err(errno) => Err(Interruption::Blocked(format!(
                "the device could not be brought to {to}: {} answered {}",
                requested.asked,
                errno_name(errno)
            ))),
        }
    }

    fn has_come_to(&mut self, state: State) -> Judgement {
        match self.get_state() {
            Ok(answer) if answer.device_state == state.number() => Ok(()),
            answer => Err(Interruption::Blocked(format!(
                "the device could not be brought to {state}: it says that it is in {}",
                tell_state(&answer)
            ))),
        }
    }

    /// Brings the device to a state that has a session.
    ///
    /// # Errors
    /// The skip, or what stood in the way.
    pub fn bring_to_session(&mut self, state: State) -> Judgement<Session> {
        self.bring_to(state)?.ok_or_else(|| Interruption::Blocked(format!("no data_fd came on the way to {state}")))
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
            Ok(_) => Err(Interruption::Blocked(format!("{state} is not advertised, yet asking for it succeeds"))),
        }
    }

    /// Makes a transition that other checks judge.
    ///
    /// # Errors
    /// That it did not lead there.
    pub fn move_to(&mut self, from: State, to: State) -> Judgement {
        let requested = self.request(from, to.number());
        if let Err(errno) = requested.answer {
            let why = format!("{} answered {}", requested.asked, errno_name(errno));
            return Err(Interruption::Blocked(why));
        }
        match self.get_state() {
            Ok(answer) if answer.device_state == to.number() => Ok(()),
            answer => Err(Interruption::Blocked(format!("{} led to {}", requested.asked, tell_state(&answer)))),
        }
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
        Err(Interruption::Blocked(why))
    }

    /// Brings the device back to RUNNING between two rounds of a check, by a transition where that leads there, else by
    /// reset.
    ///
    /// # Errors
    /// That neither did.
    pub fn bring_back(&mut self) -> Judgement {
        self.return_to_running(true).map_err(|reset| {
            let answered = tell_return(&reset);
            Interruption::Blocked(format!("the device could not be brought back to RUNNING: reset answered {answered}"))
        })
    }

    /// A stream of this device that RESUMING accepts. It is saved once, and the device is in RUNNING again after it.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn saved_stream(&mut self) -> Judgement<Vec<u8>> {
        Ok(self.saved_device()?.stream.clone())
    }
}
