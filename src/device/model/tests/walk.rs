//! Conforming walks through the states.

use super::*;
use crate::stimulus::Stimulus;

const ARBITRARY: [u32; 5] = [8, 9, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];

/// A device in that state, with its session, and with a good stream written if it is RESUMING.
fn device_in(set: Capabilities, origin: State) -> (ModelDevice, Option<Box<dyn Stream>>) {
    let device = conforming(set);
    if origin == State::Error {
        device.stimulate(Stimulus::EnterError).unwrap();
        assert_eq!(api(&device).set_state(State::Stop.number()).err(), Some(Errno::EIO));
        return (device, None);
    }
    let stream = enter(&device, origin);
    if origin == State::Resuming {
        let good = save(&conforming(set));
        stream.as_ref().unwrap().write(&good).unwrap();
    }
    (device, stream)
}

fn states(set: Capabilities) -> impl Iterator<Item = State> {
    State::ALL.into_iter().filter(move |state| set.has(*state))
}

fn pairs() -> impl Iterator<Item = (Capabilities, State, State)> {
    Capabilities::ALL
        .into_iter()
        .flat_map(|set| states(set).flat_map(move |from| states(set).map(move |target| (set, from, target))))
}

fn is_permitted(from: State, target: State) -> bool {
    let blocked = from == State::StopCopy && target.is_saving() && target != from;
    from != State::Error && target != State::Error && !blocked
}

#[test]
fn every_pair_of_states_does_what_the_text_says() {
    for (set, from, target) in pairs() {
        let (device, _stream) = device_in(set, from);
        let answer = api(&device).set_state(target.number());
        if !is_permitted(from, target) {
            assert_eq!(answer.err(), Some(Errno::EINVAL), "{set}: {from} -> {target}");
            assert_eq!(state(&device), from, "{set}: {from} -> {target}");
            continue;
        }
        let answer = answer.unwrap_or_else(|errno| panic!("{set}: {from} -> {target}: {errno}"));
        assert_eq!(answer.returned, 0);
        assert_eq!(answer.device_state, target.number());
        assert_eq!(state(&device), target);
        let begins_saving = target.is_saving() && !from.is_saving();
        let begins_resuming = target == State::Resuming && from != target;
        assert_eq!(answer.stream.is_some(), begins_saving || begins_resuming, "{set}: {from} -> {target}");
        assert_eq!(answer.data_fd >= 0, answer.stream.is_some());
        assert!(answer.stream.is_some() || answer.data_fd == -1);
    }
}

#[test]
fn what_is_no_target_is_refused_everywhere_and_harms_nothing() {
    for set in Capabilities::ALL {
        let missing = State::ALL.into_iter().filter(|state| !set.has(*state)).map(State::number);
        let refused: Vec<u32> = missing.chain(ARBITRARY).chain([State::Error.number()]).collect();
        for from in states(set) {
            let (device, stream) = device_in(set, from);
            for target in &refused {
                assert_eq!(api(&device).set_state(*target).err(), Some(Errno::EINVAL));
            }
            assert_eq!(state(&device), from);
            if let Some(stream) = stream.filter(|_| from.is_saving()) {
                assert!(!drain(&*stream).is_empty(), "{set}: {from}");
            }
        }
    }
}

#[test]
fn reset_and_reopening_lead_to_running_from_everywhere() {
    for set in Capabilities::ALL {
        let fresh = memory_of(&conforming(set));
        for from in states(set) {
            let (device, stream) = device_in(set, from);
            assert_eq!(device.reset(), Ok(0));
            let (mut other, other_stream) = device_in(set, from);
            other.reopen().unwrap();
            for (device, stream) in [(device, stream), (other, other_stream)] {
                assert_eq!(state(&device), State::Running);
                assert_eq!(memory_of(&device), fresh);
                if let Some(stream) = stream.filter(|_| from.is_saving()) {
                    assert_eq!(stream.read(&mut [0; 8]), Err(Errno::ENODEV));
                }
                assert_eq!(set_error(&device, State::StopCopy), None);
            }
        }
    }
}

fn set_error(device: &ModelDevice, target: State) -> Option<Errno> {
    set(device, target).err()
}

#[test]
fn a_failing_arc_leaves_error_and_only_reset_helps() {
    let device = conforming(Capabilities::FULL);
    let stream = begin(&device, State::PreCopy);
    device.stimulate(Stimulus::EnterError).unwrap();
    // Neither of these takes an arc.
    assert_eq!(set_error(&device, State::PreCopy), None);
    assert_eq!(set_error(&device, State::Error), Some(Errno::EINVAL));

    assert_eq!(set_error(&device, State::Stop), Some(Errno::EIO));
    assert_eq!(state(&device), State::Error);
    assert_eq!(stream.read(&mut [0; 8]), Err(Errno::ENODEV));
    for target in State::ALL {
        assert_eq!(set_error(&device, target), Some(Errno::EINVAL), "{target}");
    }
    assert_eq!(device.reset(), Ok(0));
    assert_eq!(set_error(&device, State::Stop), None);
}

#[test]
fn a_stimulus_changes_a_device_that_works_and_no_other() {
    use State::*;
    for from in State::ALL {
        let (device, _stream) = device_in(Capabilities::FULL, from);
        let before = memory_of(&device);
        device.stimulate(Stimulus::Dirty(64)).unwrap();
        let works = matches!(from, Running | RunningP2p | PreCopy | PreCopyP2p);
        assert_eq!(memory_of(&device) != before, works, "{from}");
        assert_eq!(state(&device), from);
    }
}
