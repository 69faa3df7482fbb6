//! Judging. Each names the requirement, so that what passes proves it and what fails accuses it.

use super::tell::{errno_name, names_of, tell_readiness, tell_return, tell_size, tell_state, tell_transition};
use super::{Bench, Drained, Requested};
use crate::fsm::Route;
use crate::harness::check::{Interruption, Judgement};
use crate::harness::outcome::Broken;
use crate::harness::session::{Direction, EndedSession, Session};
use crate::harness::stream::StreamEnd;
use crate::requirement::{Level, Requirement};
use crate::uapi::Errno;
use crate::uapi::state::State;

impl Bench {
    /// Judges one thing.
    ///
    /// # Errors
    /// That a must is broken. A should or an advice that is broken is written down, and the check goes on.
    pub fn judge(
        &mut self,
        requirement: &'static Requirement,
        kept: bool,
        asked: impl Into<String>,
        expected: impl Into<String>,
        actual: impl Into<String>,
    ) -> Judgement {
        if self.declared.as_ref().is_some_and(|declared| !declared.allow(requirement, kept)) {
            self.undeclared.get_or_insert(requirement);
        }
        if kept {
            if !self.proven.contains(&requirement) {
                self.proven.push(requirement);
            }
            return Ok(());
        }
        self.proven.retain(|proven| *proven != requirement);
        self.broken.push(Broken {
            requirement: requirement.id.to_owned(),
            level: requirement.level,
            statement: requirement.statement.to_owned(),
            asked: asked.into(),
            expected: expected.into(),
            actual: actual.into(),
        });
        match requirement.level {
            Level::Must => Err(Interruption::Broken),
            Level::Should | Level::Advice => Ok(()),
        }
    }

    /// The device is in this state now.
    ///
    /// # Errors
    /// That it is not.
    pub fn expect_state(&mut self, requirement: &'static Requirement, asked: &str, state: State) -> Judgement {
        let answer = self.get_state();
        let kept = matches!(&answer, Ok(answer) if answer.device_state == state.number());
        let expected = format!("the state {state} afterwards");
        self.judge(requirement, kept, asked, expected, tell_state(&answer))
    }

    /// The request was refused, with whatever errno.
    ///
    /// # Errors
    /// That it succeeded.
    pub fn expect_refused(&mut self, requirement: &'static Requirement, requested: &Requested) -> Judgement {
        let expected = match &requested.route {
            Route::Refused(refusal) => format!("an error, since {refusal}"),
            Route::Stay | Route::Path(_) => "an error".to_owned(),
        };
        let kept = requested.answer.is_err();
        let actual = tell_transition(&requested.answer);
        self.judge(requirement, kept, &requested.asked, expected, actual)
    }

    /// The request succeeded, with 0.
    ///
    /// # Errors
    /// That it did not.
    pub fn expect_success(&mut self, requirement: &'static Requirement, requested: &Requested) -> Judgement {
        let kept = matches!(&requested.answer, Ok(transition) if transition.returned == 0);
        let actual = tell_transition(&requested.answer);
        self.judge(requirement, kept, &requested.asked, "success (0)", actual)
    }

    /// The request, which succeeded, brought a data_fd.
    ///
    /// # Errors
    /// That it did not.
    pub fn expect_fd(&mut self, requirement: &'static Requirement, requested: &Requested) -> Judgement {
        let kept = matches!(&requested.answer, Ok(transition) if transition.data_fd >= 0);
        let actual = tell_transition(&requested.answer);
        self.judge(requirement, kept, &requested.asked, "a new data_fd", actual)
    }

    /// The request, which succeeded, brought no data_fd.
    ///
    /// # Errors
    /// That it did.
    pub fn expect_no_fd(&mut self, requirement: &'static Requirement, requested: &Requested) -> Judgement {
        let kept = matches!(&requested.answer, Ok(transition) if transition.data_fd == -1);
        let actual = tell_transition(&requested.answer);
        self.judge(requirement, kept, &requested.asked, "data_fd -1", actual)
    }

    /// The device, which is in RUNNING, can be brought to this state.
    ///
    /// # Errors
    /// That it cannot.
    pub fn expect_reachable(&mut self, requirement: &'static Requirement, asked: &str, state: State) -> Judgement {
        let (kept, actual) = match self.bring_to(state) {
            Ok(_) => (true, String::new()),
            Err(Interruption::Blocked { why, .. }) => (false, why),
            Err(other) => return Err(other),
        };
        self.judge(requirement, kept, asked, format!("{state} to be reached again"), actual)
    }

    /// A call answered one of these errnos.
    ///
    /// # Errors
    /// That it answered anything else.
    pub fn expect_errno(
        &mut self,
        requirement: &'static Requirement,
        asked: &str,
        answer: Result<i32, Errno>,
        allowed: &[Errno],
    ) -> Judgement {
        let kept = matches!(answer, Err(errno) if allowed.contains(&errno));
        self.judge(requirement, kept, asked, names_of(allowed), tell_return(&answer))
    }

    /// The session still works: a saving one, of which nothing was read, has data and an end after it; a resuming one takes
    /// a whole stream. Which end is right there is for others to judge. A device that streams nothing in an undisturbed
    /// session either is not accused.
    ///
    /// # Errors
    /// That it does not, or what stood in the way.
    pub fn expect_alive(
        &mut self,
        requirement: &'static Requirement,
        asked: &str,
        session: &Session,
        stream: &[u8],
    ) -> Judgement {
        match session.direction() {
            Direction::Saving => {
                let drained = self.drain(session);
                let kept = has_data_and_an_end(&drained);
                if !kept {
                    self.unless_none_streams()?;
                }
                let asked = format!("{asked}, then read the open session to its end");
                self.judge(requirement, kept, asked, "data, then the end", drained.to_string())
            }
            Direction::Resuming => {
                let answer = self.write_all(session, stream);
                let kept = answer == Ok(stream.len());
                let expected = "the open session to take a whole stream";
                self.judge(requirement, kept, asked, expected, tell_size(&answer))
            }
        }
    }

    /// Makes a control experiment: a new session in the state that the device is in.
    fn unless_none_streams(&mut self) -> Judgement {
        let here = self.get_state().ok().and_then(|answer| State::from_number(answer.device_state));
        let Some(here) = here.filter(|state| state.is_saving()) else {
            return Ok(());
        };
        self.bring_back()?;
        let session = self.bring_to_session(here)?;
        let drained = self.drain(&session);
        match has_data_and_an_end(&drained) {
            true => Ok(()),
            false => Err(Interruption::blocked_by(
                self.broken_by_end(here, &drained.end),
                format!("no session streams in {here}: a new one came to {drained}"),
            )),
        }
    }

    /// The session is dead: its descriptor fails, moves no data, and says so with the customary errno.
    ///
    /// # Errors
    /// That it is not.
    pub fn expect_dead(
        &mut self,
        dead: &'static Requirement,
        customary: &'static Requirement,
        asked: &str,
        ended: &EndedSession,
    ) -> Judgement {
        let stream = ended.stream();
        let mut buffer = [0u8; 64];
        let answer = match ended.direction() {
            Direction::Saving => self.recorder.operation(
                format!("read 64 from data_fd {} of the ended session", stream.number()),
                || stream.read(&mut buffer),
                tell_size,
            ),
            Direction::Resuming => self.recorder.operation(
                format!("write 1 to data_fd {} of the ended session", stream.number()),
                || stream.write(&buffer[..1]),
                tell_size,
            ),
        };
        let asked = match ended.direction() {
            Direction::Saving => format!("{asked}, then read from the data_fd of the ended session"),
            Direction::Resuming => format!("{asked}, then write to the data_fd of the ended session"),
        };
        self.judge(dead, answer.is_err(), &asked, "an error", tell_size(&answer))?;
        let kept = answer == Err(Errno::ENODEV);
        self.judge(customary, kept, asked, "ENODEV", tell_size(&answer))
    }

    /// poll says at once that the session can be read, and goes on to say so.
    ///
    /// # Errors
    /// That it does not.
    pub fn expect_readable(&mut self, requirement: &'static Requirement, asked: &str, session: &Session) -> Judgement {
        for _ in 0..2 {
            let answer = self.poll(session);
            let kept = matches!(answer, Ok(readiness) if readiness.readable);
            self.judge(requirement, kept, asked, "readable", tell_readiness(&answer))?;
        }
        Ok(())
    }

    /// The data_fd of this session goes away on exec.
    ///
    /// # Errors
    /// That a must is broken.
    pub fn expect_close_on_exec(
        &mut self,
        requirement: &'static Requirement,
        asked: &str,
        session: &Session,
    ) -> Judgement {
        let answer = session.stream().is_close_on_exec();
        let actual = match answer {
            Ok(true) => "FD_CLOEXEC is set".to_owned(),
            Ok(false) => "FD_CLOEXEC is not set".to_owned(),
            Err(errno) => errno_name(errno),
        };
        self.judge(requirement, answer == Ok(true), asked, "FD_CLOEXEC to be set", actual)
    }

    /// The session refuses the direction that is not its own.
    ///
    /// # Errors
    /// That a must is broken.
    pub fn expect_one_direction(
        &mut self,
        requirement: &'static Requirement,
        asked: &str,
        session: &Session,
    ) -> Judgement {
        let stream = session.stream();
        let mut byte = [0u8];
        let what = match session.direction() {
            Direction::Saving => "write",
            Direction::Resuming => "read",
        };
        let told = self.recorder.operation(
            format!("{what} 1 against the direction of data_fd {}", stream.number()),
            || match session.direction() {
                Direction::Saving => stream.write(&byte),
                Direction::Resuming => stream.read(&mut byte),
            },
            tell_size,
        );
        let asked = format!("{asked}, then {what} on its data_fd");
        self.judge(requirement, told.is_err(), asked, "an error", tell_size(&told))
    }
}

fn has_data_and_an_end(drained: &Drained) -> bool {
    matches!(drained.end, StreamEnd::Permanent | StreamEnd::Temporary) && !drained.bytes.is_empty()
}

#[cfg(test)]
mod tests;
