//! Feature calls that must be refused, or must have no effect.

use super::operation::Malformation;
use super::{Symptom, Violation};
use crate::harness::bench::{names_of, tell_return};
use crate::requirement::{Requirement, discover};
use crate::uapi::Errno;
use crate::uapi::feature::{Feature, FeatureCall, HEADER_BYTES, MigState, Placement, Verb};
use crate::uapi::state::State;

/// A number that no kernel has used for a feature.
const UNKNOWN: u32 = 0xffe0;
/// A flag that is not defined.
const UNKNOWN_FLAG: u32 = 1 << 19;

/// A call, and what it must come to.
pub(super) struct Malformed {
    pub(super) call: FeatureCall,
    requirement: &'static Requirement,
    /// The errnos of which each will do; success will do too if there are none.
    allowed: &'static [Errno],
}

// A feature that is not there may say so before the rest of the call is looked at.
const EINVAL: &[Errno] = &[Errno::EINVAL, Errno::ENOTTY];
const EFAULT: &[Errno] = &[Errno::EFAULT, Errno::ENOTTY, Errno::EINVAL];

impl Malformed {
    /// A call that would show, in a device in this state, if it were performed.
    pub(super) fn new(feature: Feature, how: Malformation, state: State) -> Malformed {
        let verb = match feature {
            Feature::MigDeviceState => Verb::Set,
            _ if feature.can_get() => Verb::Get,
            _ => Verb::Set,
        };
        let call = telling(feature, verb, state);
        let (call, requirement, allowed) = match how {
            Malformation::Small if feature.payload_bytes() == 0 => {
                (call.with_argsz(HEADER_BYTES - 1), &discover::ARGSZ_SMALL, EINVAL)
            }
            Malformation::Small => {
                let argsz = HEADER_BYTES + feature.payload_bytes() - 1;
                (call.with_argsz(argsz), &discover::ARGSZ_SMALL, EINVAL)
            }
            Malformation::UnknownFlag => (flagged(call, UNKNOWN_FLAG), &discover::UNKNOWN_FLAGS, EINVAL),
            Malformation::GetAndSet => (verbal(call, Verb::GetSet), &discover::GET_AND_SET, EINVAL),
            Malformation::Neither => (verbal(call, Verb::Nothing), &discover::GET_AND_SET, EINVAL),
            Malformation::WrongDirection => {
                let (wrong, requirement) = match (feature.can_get(), feature.can_set()) {
                    (true, false) => (Verb::Set, &discover::WRONG_DIRECTION),
                    (false, true) => (Verb::Get, &discover::WRONG_DIRECTION),
                    // It has both, so at once they are what is wrong.
                    _ => (Verb::GetSet, &discover::GET_AND_SET),
                };
                (verbal(call, wrong), requirement, EINVAL)
            }
            Malformation::Unmapped => (call.placed(Placement::Unmapped), &discover::BAD_MEMORY, EFAULT),
            Malformation::UnknownFeature => {
                let call = FeatureCall { flags: UNKNOWN | verb.bits(), ..call };
                (call, &discover::UNKNOWN_FEATURE, EINVAL)
            }
            Malformation::Probe => {
                let flags = Verb::Probe.bits();
                (flagged(call, flags), &discover::PROBE_CHANGES_NOTHING, &[][..])
            }
        };
        Malformed { call, requirement, allowed }
    }

    /// What has to be accused if the device is in another state afterwards.
    pub(super) fn suspect(&self) -> &'static Requirement {
        match self.allowed.is_empty() {
            true => &discover::PROBE_CHANGES_NOTHING,
            false => &discover::REFUSAL_CHANGES_NOTHING,
        }
    }

    /// Judges what the call returned.
    pub(super) fn judge(&self, how: Malformation, answer: Result<i32, Errno>) -> Result<(), Box<Violation>> {
        let is_kept = match answer {
            Ok(_) => self.allowed.is_empty(),
            Err(errno) => self.allowed.is_empty() || self.allowed.contains(&errno),
        };
        if is_kept {
            return Ok(());
        }
        Err(Box::new(Violation {
            requirement: self.requirement,
            symptom: Symptom::NotRefused,
            asked: format!("{}, {}", self.call.describe(), how.word()),
            expected: names_of(&self.allowed[..1]),
            actual: tell_return(&answer),
        }))
    }
}

fn telling(feature: Feature, verb: Verb, state: State) -> FeatureCall {
    let call = FeatureCall::new(feature, verb);
    if feature != Feature::MigDeviceState {
        return call;
    }
    let other = match state {
        State::Stop => State::Running,
        _ => State::Stop,
    };
    call.with_payload(MigState { device_state: other.number(), data_fd: -1 }.to_bytes())
}

fn flagged(call: FeatureCall, bits: u32) -> FeatureCall {
    FeatureCall { flags: call.flags | bits, ..call }
}

fn verbal(call: FeatureCall, verb: Verb) -> FeatureCall {
    FeatureCall { flags: call.number() | verb.bits(), ..call }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(feature: Feature, how: Malformation) -> u32 {
        Malformed::new(feature, how, State::Running).call.flags
    }

    #[test]
    fn each_call_is_wrong_in_its_flags_alone_or_not_there_at_all() {
        let (get, set, probe) = (Verb::Get.bits(), Verb::Set.bits(), Verb::Probe.bits());
        for (feature, verb) in [(Feature::MigDeviceState, set), (Feature::MigDataSize, get)] {
            let number = feature.number();
            assert_eq!(flags(feature, Malformation::Small), number | verb);
            assert_eq!(flags(feature, Malformation::UnknownFlag), number | verb | 0x8_0000);
            assert_eq!(flags(feature, Malformation::GetAndSet), number | get | set);
            assert_eq!(flags(feature, Malformation::Neither), number);
            assert_eq!(flags(feature, Malformation::Probe), number | verb | probe);
            assert_eq!(flags(feature, Malformation::UnknownFeature), UNKNOWN | verb);
        }
    }

    #[test]
    fn a_call_that_were_performed_would_show() {
        let asked = |state| {
            let call = Malformed::new(Feature::MigDeviceState, Malformation::UnknownFlag, state).call;
            MigState::from_bytes(&call.payload).expect("a whole structure")
        };
        for state in State::ALL {
            let other = if state == State::Stop { State::Running } else { State::Stop };
            assert_eq!(asked(state), MigState { device_state: other.number(), data_fd: -1 }, "{state}");
        }
        let size = Malformed::new(Feature::MigDataSize, Malformation::UnknownFlag, State::Running).call;
        assert_eq!(size.payload, [0; 8], "that says no state");
    }

    #[test]
    fn only_the_right_errno_is_a_refusal_and_a_probe_may_come_to_anything() {
        let judge = |how, answer| Malformed::new(Feature::Migration, how, State::Running).judge(how, answer).is_ok();
        for (answer, is_refusal, is_unmapped) in [
            (Err(Errno::EINVAL), true, true),
            (Err(Errno::ENOTTY), true, true),
            (Err(Errno::EFAULT), false, true),
            (Err(Errno::EBUSY), false, false),
            (Ok(0), false, false),
        ] {
            assert_eq!(judge(Malformation::UnknownFlag, answer), is_refusal, "{answer:?}");
            assert_eq!(judge(Malformation::Unmapped, answer), is_unmapped, "{answer:?}");
            assert!(judge(Malformation::Probe, answer), "{answer:?}");
        }
    }
}
