//! Random walks on the device of the bench.

use std::collections::BTreeSet;

use super::{Bench, Fix};
use crate::harness::check::{Interruption, Judgement};
use crate::requirement::reset;
use crate::stimulus::ProfileKey;
use crate::uapi::state::{State, name_of};
use crate::walk::{AREA_BYTES, IOVA, Operation, Step, Traffic, Violation, World};

/// What came of a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walked {
    /// How many steps were taken, the last one included.
    pub steps: usize,
    /// What the last step broke, if it did.
    pub violation: Option<Violation>,
}

/// What came of a step, in words.
fn tell(operation: Operation, step: &Step) -> String {
    match (&step.violation, &step.look) {
        (Some(violation), _) => violation.actual.clone(),
        (None, Some(Ok(answer))) if operation != Operation::Get => {
            format!("{}; then {}", step.answer, name_of(answer.device_state))
        }
        _ => step.answer.to_string(),
    }
}

/// How much of a walk is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// What each step was, for whoever finds us dead.
    Begun,
    /// What each step was and what came of it, with its time.
    Everything,
}

impl Bench {
    /// Does these operations, one after the other, beginning with a device that was just reset. It ends where one of
    /// them broke something.
    ///
    /// # Errors
    /// That the device could not be brought to where walks begin.
    pub fn walk(&mut self, operations: &[Operation], detail: Detail) -> Judgement<Walked> {
        let good = match operations.iter().any(|operation| operation.needs_stream()) {
            // A device that cannot be saved is for others to judge, and there is enough to do without a stream.
            true => self.saved_stream().unwrap_or_default(),
            false => Vec::new(),
        };
        let unusable = self.unusable_in(operations);
        self.start_afresh()?;
        let traffic = self.surround(operations);
        let may_ask_blocked = Fix::BLOCKED_ARCS.is_in(self.kernel());
        let capabilities = self.capabilities();
        let mut world = World::new(self.device.as_mut(), capabilities, may_ask_blocked, &good)
            .with_traffic(traffic)
            .without(unusable);
        let mut walked = Walked { steps: operations.len(), violation: None };
        for (index, operation) in operations.iter().enumerate() {
            let step = match detail {
                Detail::Begun => {
                    self.recorder.begun(operation);
                    world.step(*operation)
                }
                Detail::Everything => self.recorder.operation(
                    operation.to_string(),
                    || world.step(*operation),
                    |step| tell(*operation, step),
                ),
            };
            if let Some(violation) = step.violation {
                walked = Walked { steps: index + 1, violation: Some(*violation) };
                break;
            }
        }
        self.stirred.logging |= world.may_log();
        let keys = world.into_keys();
        self.keys.extend(keys);
        Ok(walked)
    }

    /// The keys of the profile that these operations play, and that do not do what they are for.
    fn unusable_in(&mut self, operations: &[Operation]) -> Vec<ProfileKey> {
        let keys: BTreeSet<ProfileKey> = operations.iter().filter_map(|operation| operation.key()).collect();
        let keys: Vec<ProfileKey> = keys.into_iter().collect();
        let working = self.working(&keys);
        let unusable: Vec<ProfileKey> = keys.into_iter().filter(|key| !working.contains(key)).collect();
        for why in unusable.iter().filter_map(|key| self.wrong(*key)).collect::<Vec<_>>() {
            self.note(format!("steps that play it were left out: {why}"));
        }
        unusable
    }

    /// Has around the device what these operations need, as far as it can be had: the same memory for each walk of a check.
    fn surround(&mut self, operations: &[Operation]) -> Traffic {
        let needs_memory = operations.iter().any(|operation| operation.needs_memory());
        let needs_listener = operations.iter().any(|operation| operation.needs_listener());
        let has_memory = needs_memory && (self.stirred.is_mapped(IOVA) || self.map_area(IOVA, AREA_BYTES).is_ok());
        let interrupts = if needs_listener { self.listen().ok() } else { None };
        Traffic::new(has_memory, interrupts)
    }

    /// Leaves out of the record what was done so far.
    pub fn forget_operations(&mut self) {
        self.recorder.take();
    }

    /// Open again and reset, so that nothing of before matters, the opt-in to PRECOPY_INFOv2 included.
    fn start_afresh(&mut self) -> Judgement {
        let reopened = self.device.reopen();
        let reset = self.device.reset();
        let answer = self.device.state();
        if matches!(answer, Ok(answer) if answer.device_state == State::Running.number()) {
            return Ok(());
        }
        let why = format!(
            "the device could not be brought to RUNNING, where walks begin: opening it again {}, then reset answered {}",
            reopened.map_or_else(|error| error.to_string(), |()| "worked".to_owned()),
            super::tell_return(&reset),
        );
        Err(Interruption::blocked_by(&reset::RUNNING, why))
    }
}
