//! The model as its users see it: through [`Device`] and [`Stream`].

mod calls;
mod faults;
mod sessions;
mod stimuli;
mod variations;
mod walk;

use std::fmt::Debug;

use super::{ModelDevice, ModelSpec};
use crate::device::migration::Transition;
use crate::device::{Device, Stream};
use crate::uapi::Errno;
use crate::uapi::state::{Capabilities, State};

/// A conforming device.
fn conforming(set: Capabilities) -> ModelDevice {
    ModelDevice::new(ModelSpec::conforming(set))
}

/// What the calls in protocol words want.
fn api(device: &ModelDevice) -> &dyn Device {
    device
}

fn set(device: &ModelDevice, target: State) -> Result<Transition, Errno> {
    api(device).set_state(target.number())
}

/// Goes there, and gets the session if one begins.
fn enter(device: &ModelDevice, target: State) -> Option<Box<dyn Stream>> {
    set(device, target).unwrap_or_else(|errno| panic!("-> {target}: {errno}")).stream
}

/// Goes there, where a session has to begin.
fn begin(device: &ModelDevice, target: State) -> Box<dyn Stream> {
    enter(device, target).unwrap_or_else(|| panic!("-> {target} began no session"))
}

fn state(device: &ModelDevice) -> State {
    let number = api(device).state().unwrap().device_state;
    State::from_number(number).unwrap()
}

/// Reads until there is nothing more for now; a long read in case a fault never ends.
fn drain(stream: &dyn Stream) -> Vec<u8> {
    drain_by(stream, 4096)
}

fn drain_by(stream: &dyn Stream, step: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = vec![0; step];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        bytes.extend(&buffer[..read]);
    }
    bytes
}

/// Saves a device, which is in STOP afterwards.
fn save(device: &ModelDevice) -> Vec<u8> {
    let bytes = drain(&*begin(device, State::StopCopy));
    enter(device, State::Stop);
    bytes
}

/// Restores a device, which is in STOP afterwards if that works.
fn restore(device: &ModelDevice, bytes: &[u8]) -> Result<(), Errno> {
    let stream = begin(device, State::Resuming);
    stream.write(bytes)?;
    set(device, State::Stop).map(drop)
}

fn memory_of(device: &ModelDevice) -> Vec<u8> {
    let region = device.region_info(0).unwrap();
    let mut bytes = vec![0; region.size as usize];
    assert_eq!(device.region_read(0, 0, &mut bytes), Ok(bytes.len()));
    bytes
}

fn show(value: impl Debug) -> String {
    format!("{value:?}")
}
