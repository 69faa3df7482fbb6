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
