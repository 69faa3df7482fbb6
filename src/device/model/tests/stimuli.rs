//! What the model does by itself, once it was stirred up, and that it stops when it should.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::*;
use crate::stimulus::{DmaDirection, Observation, Stimulus};
use crate::uapi::feature::{Feature, FeatureCall, Verb};
use crate::uapi::memory::DmaMemory;
use crate::uapi::precopy::{PRECOPY_INFO_REINIT, PrecopyInfoCall};

const IOVA: u64 = 0x10_0000;
const SOON: Duration = Duration::from_millis(5);
/// No busy machine takes this long to run a thread.
const EVER: Duration = Duration::from_secs(20);

fn progress(device: &ModelDevice) -> Vec<u8> {
    device.observe(Observation::Progress).unwrap()
}

fn comes_true(mut condition: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + EVER;
    while Instant::now() < until {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    false
}

fn write_by_dma(bytes: u64) -> Stimulus {
    Stimulus::Dma { direction: DmaDirection::ToMemory, iova: IOVA, bytes, after: SOON }
}

#[test]
fn work_goes_on_while_the_device_runs() {
    let device = conforming(Capabilities::FULL);
    device.stimulate(Stimulus::StartWork).unwrap();
    let begun = progress(&device);
    assert!(comes_true(|| progress(&device) != begun));
    enter(&device, State::Stop);
    let frozen = device.observe(Observation::State).unwrap();
    std::thread::sleep(SOON);
    assert_eq!(device.observe(Observation::State).unwrap(), frozen);
    enter(&device, State::Running);
    let stopped = progress(&device);
    assert!(comes_true(|| progress(&device) != stopped));
    device.stimulate(Stimulus::StopWork).unwrap();
    let last = progress(&device);
    std::thread::sleep(SOON);
    assert_eq!(progress(&device), last);
}

#[test]
fn dma_waits_while_the_device_is_quiet_and_goes_on_later() {
    for state in [State::Stop, State::RunningP2p, State::PreCopyP2p] {
        let device = conforming(Capabilities::FULL);
        let memory = DmaMemory::new(8192).unwrap();
        device.map(IOVA, &memory).unwrap();
        device.stimulate(write_by_dma(8192)).unwrap();
        let before = memory.read(0, 8192);
        let _session = enter(&device, state);
        // On a busy machine it may be over already.
        let quiet = memory.read(0, 8192);
        std::thread::sleep(SOON * 2);
        assert_eq!(memory.read(0, 8192), quiet, "{state}");
        enter(&device, State::Running);
        assert_eq!(device.stimulate(Stimulus::FinishDma), Ok(()));
        assert_ne!(memory.read(0, 8192), before);
    }
}

#[test]
fn dma_that_ends_badly_says_so() {
    let device = conforming(Capabilities::FULL);
    assert!(device.stimulate(Stimulus::FinishDma).is_err());
    device.stimulate(write_by_dma(1)).unwrap();
    let why = device.stimulate(Stimulus::FinishDma).unwrap_err().to_string();
    assert!(why.contains("0x100000"), "{why}");
}

#[test]
fn an_interrupt_signals_its_event_unless_the_device_is_stopped() {
    let device = conforming(Capabilities::FULL);
    let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
    device.set_irqs(0, &[event.as_fd()]).unwrap();
    enter(&device, State::Stop);
    device.stimulate(Stimulus::Interrupt { after: Duration::ZERO }).unwrap();
    std::thread::sleep(SOON);
    assert!(event.read().is_err());
    enter(&device, State::Running);
    assert!(comes_true(|| event.read().is_ok()));
}

#[test]
fn a_reconfigured_device_streams_initial_data_anew_and_says_so_once_where_that_was_agreed() {
    for agreed in [false, true] {
        let device = conforming(Capabilities::FULL);
        if agreed {
            device.feature(&mut FeatureCall::new(Feature::MigPrecopyInfoV2, Verb::Set)).unwrap();
        }
        let stream = begin(&device, State::PreCopy);
        drain(&*stream);
        device.stimulate(Stimulus::Dirty(100)).unwrap();
        device.stimulate(Stimulus::Reconfigure).unwrap();
        let info = || {
            let mut call = PrecopyInfoCall::default();
            stream.precopy_info(&mut call).unwrap();
            call
        };
        let first = info();
        let promised = first.initial_bytes + first.dirty_bytes;
        assert_eq!(first.initial_bytes > 0, agreed);
        assert_eq!(first.flags, if agreed { PRECOPY_INFO_REINIT } else { 0 });
        assert_eq!(info().flags, 0);
        assert_eq!(drain(&*stream).len() as u64, promised);
        enter(&device, State::StopCopy);
    }
}
