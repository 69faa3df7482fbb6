//! What a guest says of its kernel outside checks, until it is off.

use std::time::Duration;

use crate::harness::incident::{Incident, Phase, Stop};
use crate::harness::keeper::wait_for_end;
use crate::harness::wire::{GuestRequest, Reply, WireError};

use super::TAIL_LINES;
use super::death::First;
use super::vm::{END_BOUND, Vm};

/// How long closing, unbinding and powering off may take, each.
const BOUND: Duration = Duration::from_secs(60);

impl Vm {
    /// What went wrong outside checks, as far as the guest has said it. Without its device a guest says nothing of its
    /// driver.
    pub fn take_incidents(&mut self) -> Vec<Incident> {
        let incidents = self.console_watch.take();
        if incidents.is_empty() || self.device_end().is_some() { Vec::new() } else { incidents }
    }

    /// What a guest that does not answer outside checks leaves: nothing, if its QEMU or its device is to blame.
    pub fn last_incident(&mut self, error: &WireError) -> Option<Incident> {
        if self.is_stopped() || self.device_end().is_some() {
            return None;
        }
        let stop = match error {
            WireError::TimedOut(bound) => Stop::GuestSilent { seconds: bound.as_secs_f64() },
            WireError::Closed | WireError::Io(_) => {
                let status = wait_for_end(&mut self.qemu, END_BOUND);
                match self.first(status) {
                    Some(First::Guest) if self.panic().is_some() => Stop::Panic,
                    Some(First::Guest) => Stop::GuestDown,
                    Some(First::Qemu | First::Device(_) | First::Both(_)) => return None,
                    None => Stop::GuestSilent { seconds: END_BOUND.as_secs_f64() },
                }
            }
            // Somebody stopped it, or it says what is no message.
            _ => return None,
        };
        let lines = self.console_since(self.console_watch.from);
        let mut said = self.console_watch.unsent(lines);
        if said.lines.is_empty() {
            let lines = self.console_since(self.console_watch.from);
            said.lines = lines[lines.len().saturating_sub(TAIL_LINES)..].to_vec();
        }
        Incident::of(self.console_watch.phase, Some(stop), said, Vec::new())
    }

    /// Closes and unbinds the devices and powers off, and returns all that the kernel reports until then.
    pub fn shut_down(mut self) -> Vec<Incident> {
        let mut incidents = Vec::new();
        for (phase, request) in [
            (Phase::Close, Some(GuestRequest::Close)),
            (Phase::Unbind, Some(GuestRequest::Unbind)),
            (Phase::PowerOff, None),
        ] {
            self.console_watch.phase = phase;
            let ended = match request {
                Some(request) => self.ask(&request).and_then(|()| self.wait_for(phase)),
                None => self.power_off(),
            };
            incidents.extend(self.take_incidents());
            if let Err(error) = ended {
                incidents.extend(self.last_incident(&error));
                return incidents;
            }
        }
        let lines = self.console_since(self.console_watch.from);
        let said = self.console_watch.unsent(lines);
        incidents.extend(Incident::of(Phase::PowerOff, None, said, Vec::new()));
        incidents
    }

    fn wait_for(&mut self, phase: Phase) -> Result<(), WireError> {
        loop {
            match self.receive(BOUND)? {
                Reply::Finished(finished) if finished == phase => return Ok(()),
                // Nobody waits for its result any more.
                Reply::Ran { .. } => {}
                other => return Err(WireError::Garbage(format!("{other:?}"))),
            }
        }
    }

    fn power_off(&mut self) -> Result<(), WireError> {
        self.ask(&GuestRequest::PowerOff)?;
        match wait_for_end(&mut self.qemu, BOUND) {
            Some(_) => Ok(()),
            None => Err(WireError::TimedOut(BOUND)),
        }
    }
}
