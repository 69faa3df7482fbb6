//! The rules of `VFIO_DEVICE_FEATURE`, and the rest of the device's calls.

use super::*;
use crate::uapi::feature::{Feature, FeatureCall, HEADER_BYTES, MigState, Placement, Verb};

fn call(device: &ModelDevice, mut call: FeatureCall) -> Result<i32, Errno> {
    device.feature(&mut call)
}

/// SET of the state as a raw call.
fn set_call(target: State) -> FeatureCall {
    let wanted = MigState { device_state: target.number(), data_fd: 7 };
    FeatureCall::new(Feature::MigDeviceState, Verb::Set).with_payload(wanted.to_bytes())
}

/// Every well-formed call of every feature that the full set has.
fn good_calls() -> Vec<FeatureCall> {
    let offered = [Feature::Migration, Feature::MigDeviceState, Feature::MigDataSize, Feature::MigPrecopyInfoV2];
    let mut calls = Vec::new();
    for feature in offered {
        if feature.can_get() {
            calls.push(FeatureCall::new(feature, Verb::Get));
        }
        if feature == Feature::MigPrecopyInfoV2 {
            calls.push(FeatureCall::new(feature, Verb::Set));
        }
    }
    calls.push(set_call(State::Stop));
    calls
}

#[test]
fn good_calls_work_with_more_room_than_needed_and_not_with_less() {
    for good in good_calls() {
        let device = conforming(Capabilities::FULL);
        let enough = good.argsz;
        for argsz in 0..enough {
            let name = good.describe();
            assert_eq!(call(&device, good.clone().with_argsz(argsz)), Err(Errno::EINVAL), "{name} {argsz}");
        }
        assert_eq!(state(&device), State::Running);
        for argsz in [enough, enough + 1, 4096, u32::MAX] {
            assert_eq!(call(&device, good.clone().with_argsz(argsz)), Ok(0));
        }
    }
}

#[test]
fn unknown_bits_are_refused() {
    let device = conforming(Capabilities::FULL);
    for good in good_calls() {
        for bit in 19..32 {
            let flags = good.flags | 1 << bit;
            assert_eq!(call(&device, FeatureCall { flags, ..good.clone() }), Err(Errno::EINVAL));
        }
    }
    assert_eq!(state(&device), State::Running);
}

#[test]
fn verbs_must_fit_the_feature() {
    let device = conforming(Capabilities::FULL);
    for feature in good_calls().iter().map(FeatureCall::number) {
        let feature = Feature::ALL.into_iter().find(|known| known.number() == feature).unwrap();
        let answer = |verb| call(&device, FeatureCall::new(feature, verb));
        let if_possible = |possible| if possible { Ok(0) } else { Err(Errno::EINVAL) };
        assert_eq!(answer(Verb::Nothing), Err(Errno::EINVAL));
        assert_eq!(answer(Verb::GetSet), Err(Errno::EINVAL));
        assert_eq!(answer(Verb::Probe), Ok(0));
        assert_eq!(answer(Verb::ProbeGet), if_possible(feature.can_get()));
        assert_eq!(answer(Verb::ProbeSet), if_possible(feature.can_set()));
        assert_eq!(answer(Verb::ProbeGetSet), if_possible(feature.can_get() && feature.can_set()));
        if !feature.can_get() {
            assert_eq!(answer(Verb::Get), Err(Errno::EINVAL));
        }
        if !feature.can_set() {
            assert_eq!(answer(Verb::Set), Err(Errno::EINVAL));
        }
    }
}

#[test]
fn probing_does_nothing_and_needs_no_payload() {
    let device = conforming(Capabilities::FULL);
    let probe = FeatureCall { flags: set_call(State::Stop).flags | Verb::Probe.bits(), ..set_call(State::Stop) };
    assert_eq!(call(&device, probe.clone()), Ok(0));
    assert_eq!(call(&device, probe.clone().with_argsz(HEADER_BYTES)), Ok(0));
    assert_eq!(call(&device, probe.clone().placed(Placement::HeaderOnly)), Ok(0));
    assert_eq!(call(&device, probe.placed(Placement::ReadOnly)), Ok(0));
    assert_eq!(state(&device), State::Running);
}

#[test]
fn memory_that_is_not_there_is_noticed_where_it_is_needed() {
    for good in good_calls() {
        let device = conforming(Capabilities::FULL);
        let answer = |placement| call(&device, good.clone().placed(placement));
        let if_needed = if good.payload.is_empty() { Ok(0) } else { Err(Errno::EFAULT) };
        assert_eq!(answer(Placement::Unmapped), Err(Errno::EFAULT));
        assert_eq!(answer(Placement::HeaderOnly), if_needed, "{}", good.describe());
        assert_eq!(state(&device), State::Running);
        assert_eq!(answer(Placement::ReadOnly), if_needed, "{}", good.describe());
    }
}

#[test]
fn a_transition_has_happened_when_its_answer_cannot_be_written() {
    let device = conforming(Capabilities::FULL);
    let unwritable = set_call(State::StopCopy).placed(Placement::ReadOnly);
    assert_eq!(call(&device, unwritable), Err(Errno::EFAULT));
    assert_eq!(state(&device), State::StopCopy);
    // Nobody holds the session's descriptor, and the device can be brought back.
    let next = begin_again(&device);
    assert_eq!(device.stream(next.number() - 1).read(&mut [0; 8]), Err(Errno::EBADF));
}

fn begin_again(device: &ModelDevice) -> Box<dyn Stream> {
    enter(device, State::Stop);
    begin(device, State::StopCopy)
}

#[test]
fn the_data_fd_is_answered_even_if_it_is_none() {
    let device = conforming(Capabilities::FULL);
    let mut get = FeatureCall::new(Feature::MigDeviceState, Verb::Get);
    assert_eq!(device.feature(&mut get), Ok(0));
    let running = MigState { device_state: State::Running.number(), data_fd: -1 };
    assert_eq!(MigState::from_bytes(&get.payload), Some(running));

    let mut refused = set_call(State::Error);
    assert_eq!(device.feature(&mut refused), Err(Errno::EINVAL));
    let untouched = MigState { device_state: State::Error.number(), data_fd: -1 };
    assert_eq!(MigState::from_bytes(&refused.payload), Some(untouched));
}

#[test]
fn what_the_device_does_not_have_is_enotty() {
    let device = conforming(Capabilities::FULL);
    let unknown = FeatureCall { flags: 0xfff0 | Verb::Get.bits(), ..set_call(State::Stop) };
    assert_eq!(call(&device, unknown), Err(Errno::ENOTTY));
}

#[test]
fn a_device_that_cannot_migrate_answers_enotty_to_all_of_it() {
    let device = ModelDevice::new(ModelSpec { capabilities: None, ..ModelSpec::default() });
    for feature in Feature::ALL {
        for verb in [Verb::Probe, Verb::Get, Verb::Set] {
            assert_eq!(call(&device, FeatureCall::new(feature, verb)), Err(Errno::ENOTTY));
        }
    }
    assert_eq!(device.reset(), Ok(0));
}

#[test]
fn the_capability_set_is_answered() {
    for set in Capabilities::ALL {
        let device = conforming(set);
        assert_eq!(api(&device).migration_flags(), Ok(set.flags()));
        let v2 = call(&device, FeatureCall::new(Feature::MigPrecopyInfoV2, Verb::Probe));
        assert_eq!(v2.is_ok(), set.pre_copy);
    }
}

#[test]
fn there_is_one_region_and_one_interrupt() {
    let device = conforming(Capabilities::FULL);
    let info = device.info().unwrap();
    assert!(info.can_reset());
    assert!(device.region_info(info.regions - 1).is_ok());
    assert_eq!(device.region_info(info.regions), Err(Errno::EINVAL));
    assert!(device.irq_info(info.irqs - 1).is_ok());
    assert_eq!(device.irq_info(info.irqs), Err(Errno::EINVAL));
    assert_eq!(device.region_write(0, 100, b"hello"), Ok(5));
    assert_eq!(memory_of(&device)[100..105], *b"hello");
    assert_eq!(device.region_write(1, 100, b"hello"), Err(Errno::EINVAL));
}
