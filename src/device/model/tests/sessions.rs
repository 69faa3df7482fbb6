//! What flows through data_fds.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::stimulus::Stimulus;
use crate::uapi::feature::{Feature, FeatureCall, Placement, Verb};
use crate::uapi::precopy::PrecopyInfoCall;
use crate::uapi::stream::{Interest, Readiness};

const NOW: Duration = Duration::ZERO;
const LONG: Duration = Duration::from_secs(60);

const READABLE: Readiness = Readiness { readable: true, writable: false, error: false, hang_up: false };
const OVER: Readiness = Readiness { readable: false, writable: false, error: true, hang_up: true };

fn dirty(device: &ModelDevice, bytes: usize) {
    device.stimulate(Stimulus::Dirty(bytes)).unwrap();
}

fn info(stream: &dyn Stream) -> PrecopyInfoCall {
    let mut call = PrecopyInfoCall::default();
    assert_eq!(stream.precopy_info(&mut call), Ok(0));
    call
}

#[test]
fn what_was_saved_is_restored_after_a_reset_and_elsewhere() {
    for set in Capabilities::ALL {
        let device = conforming(set);
        dirty(&device, 5000);
        let (memory, stream) = (memory_of(&device), save(&device));
        assert_eq!(save(&device), stream);
        assert_eq!(device.reset(), Ok(0));
        assert_ne!(memory_of(&device), memory);
        let elsewhere = conforming(set);
        for device in [device, elsewhere] {
            assert_eq!(restore(&device, &stream), Ok(()));
            assert_eq!(memory_of(&device), memory);
        }
    }
}

#[test]
fn leaving_pre_copy_at_any_point_gives_a_stream_that_restores() {
    for read_before in [0, 1, 1000, usize::MAX] {
        let device = conforming(Capabilities::FULL);
        let stream = begin(&device, State::PreCopy);
        dirty(&device, 3000);
        let mut saved = vec![0; read_before.min(1 << 20)];
        let read = stream.read(&mut saved).unwrap_or_default();
        saved.truncate(read);
        dirty(&device, 10);
        assert!(enter(&device, State::StopCopy).is_none());
        saved.extend(drain(&*stream));
        let memory = memory_of(&device);
        assert_eq!(device.reset(), Ok(0));
        assert_eq!(restore(&device, &saved), Ok(()));
        assert_eq!(memory_of(&device), memory);
    }
}

#[test]
fn the_end_in_pre_copy_is_temporary_and_in_stop_copy_permanent() {
    let device = conforming(Capabilities::FULL);
    let stream = begin(&device, State::PreCopy);
    assert_eq!(info(&*stream).dirty_bytes, 0);
    assert_eq!(stream.poll(Interest::Read, NOW), Ok(READABLE));
    assert_eq!(drain(&*stream).len() as u64, info_at_first());
    assert_eq!(stream.read(&mut [0; 8]), Err(Errno::ENOMSG));
    assert_eq!(stream.poll(Interest::Read, NOW), Ok(Readiness::default()));
    assert_eq!((info(&*stream).initial_bytes, info(&*stream).dirty_bytes), (0, 0));

    dirty(&device, 10);
    assert_eq!(stream.poll(Interest::Read, NOW), Ok(READABLE));
    let promised = info(&*stream).dirty_bytes;
    assert_eq!(drain_by(&*stream, 1).len() as u64, promised);
    assert_eq!(stream.read(&mut [0; 8]), Err(Errno::ENOMSG));
    assert_eq!(stream.read(&mut []), Ok(0));

    enter(&device, State::StopCopy);
    drain(&*stream);
    for _ in 0..3 {
        assert_eq!(stream.read(&mut [0; 8]), Ok(0));
        assert_eq!(stream.poll(Interest::Read, NOW), Ok(READABLE));
    }
}

fn info_at_first() -> u64 {
    let device = conforming(Capabilities::FULL);
    let stream = begin(&device, State::PreCopy);
    info(&*stream).initial_bytes
}

#[test]
fn data_size_is_what_stop_copy_streams() {
    let size = |device: &ModelDevice| {
        let mut call = FeatureCall::new(Feature::MigDataSize, Verb::Get);
        assert_eq!(device.feature(&mut call), Ok(0));
        crate::uapi::feature::u64_from_bytes(&call.payload).unwrap()
    };
    let device = conforming(Capabilities::FULL);
    let at_first = size(&device);
    let stream = begin(&device, State::StopCopy);
    assert_eq!(size(&device), at_first);
    assert_eq!(drain(&*stream).len() as u64, at_first);
    assert_eq!(size(&device), 0);
    enter(&device, State::Running);
    let stream = begin(&device, State::PreCopy);
    drain(&*stream);
    dirty(&device, 1);
    let left = size(&device);
    enter(&device, State::StopCopy);
    assert_eq!(drain(&*stream).len() as u64, left);
}

#[test]
fn precopy_info_follows_its_rules() {
    let device = conforming(Capabilities::FULL);
    let stream = begin(&device, State::PreCopy);
    let answer = |call| stream.precopy_info(&mut { call });
    let good = PrecopyInfoCall::default();
    for state in [State::PreCopy, State::PreCopyP2p] {
        enter(&device, state);
        assert_eq!(answer(good), Ok(0));
        assert_eq!(answer(PrecopyInfoCall { argsz: 23, ..good }), Err(Errno::EINVAL));
        assert_eq!(answer(PrecopyInfoCall { argsz: 4096, ..good }), Ok(0));
        assert_eq!(answer(PrecopyInfoCall { placement: Placement::ReadOnly, ..good }), Err(Errno::EFAULT));
    }
    enter(&device, State::StopCopy);
    assert_eq!(answer(good), Err(Errno::EINVAL));
    enter(&device, State::Stop);
    assert_eq!(answer(good), Err(Errno::ENODEV));
    let resuming = begin(&device, State::Resuming);
    assert_eq!(resuming.precopy_info(&mut { good }), Err(Errno::ENOTTY));
    let without = conforming(Capabilities { pre_copy: false, ..Capabilities::FULL });
    assert_eq!(begin(&without, State::StopCopy).precopy_info(&mut { good }), Err(Errno::ENOTTY));
}

#[test]
fn flags_of_precopy_info_are_an_answer_after_the_opt_in_and_until_closing() {
    let mut device = conforming(Capabilities::FULL);
    let flags = |device: &ModelDevice| {
        let stream = begin(device, State::PreCopy);
        let mut call = PrecopyInfoCall { flags: 0xdead_beef, ..PrecopyInfoCall::default() };
        assert_eq!(stream.precopy_info(&mut call), Ok(0));
        enter(device, State::Running);
        call.flags
    };
    assert_eq!(flags(&device), 0xdead_beef);
    let mut opt_in = FeatureCall::new(Feature::MigPrecopyInfoV2, Verb::Set);
    assert_eq!(device.feature(&mut opt_in), Ok(0));
    assert_eq!(flags(&device), 0);
    assert_eq!(device.reset(), Ok(0));
    assert_eq!(flags(&device), 0);
    device.reopen().unwrap();
    assert_eq!(flags(&device), 0xdead_beef);
}

#[test]
fn sessions_that_ended_are_dead_at_once_and_for_good() {
    let device = conforming(Capabilities::FULL);
    let saving = begin(&device, State::PreCopy);
    enter(&device, State::Stop);
    let stream = save(&device);
    let resuming = begin(&device, State::Resuming);
    assert_eq!(resuming.poll(Interest::Write, NOW).map(|ready| ready.writable), Ok(true));
    assert_eq!(resuming.write(&stream), Ok(stream.len()));
    enter(&device, State::Running);
    let next = begin(&device, State::PreCopy);
    assert_ne!(next.number(), saving.number());
    assert_eq!(saving.read(&mut [0; 8]), Err(Errno::ENODEV));
    assert_eq!(saving.precopy_info(&mut PrecopyInfoCall::default()), Err(Errno::ENODEV));
    assert_eq!(resuming.write(&stream), Err(Errno::ENODEV));
    assert_eq!(saving.poll(Interest::Read, LONG), Ok(OVER));
    assert_eq!(resuming.poll(Interest::Write, LONG), Ok(OVER));
    assert!(!drain(&*next).is_empty());
}

#[test]
fn a_data_fd_goes_one_way_and_is_closed_on_exec() {
    let device = conforming(Capabilities::FULL);
    let saving = begin(&device, State::StopCopy);
    assert_eq!(saving.write(&[0]), Err(Errno::EBADF));
    let resuming = begin(&device, State::Resuming);
    assert_eq!(resuming.read(&mut [0]), Err(Errno::EBADF));
    assert_eq!(resuming.is_close_on_exec(), Ok(true));
}

#[test]
fn a_data_fd_is_taken_once_and_gone_once_closed() {
    let device = conforming(Capabilities::FULL);
    let stream = begin(&device, State::StopCopy);
    let again = device.stream(stream.number());
    assert_eq!(again.read(&mut [0]), Err(Errno::EBADF));
    drop(again);
    assert_eq!(stream.read(&mut [0]), Ok(1));
    let number = stream.number();
    drop(stream);
    assert_eq!(device.stream(number).read(&mut [0]), Err(Errno::EBADF));
}

#[test]
fn a_session_goes_on_without_its_data_fd_and_without_its_device() {
    let device = conforming(Capabilities::FULL);
    let stream = save(&device);
    let resuming = begin(&device, State::Resuming);
    assert_eq!(resuming.write(&stream), Ok(stream.len()));
    drop(resuming);
    enter(&device, State::Running);

    let stream = begin(&device, State::StopCopy);
    drop(device);
    assert!(stream.read(&mut [0; 8]).is_ok());
}

#[test]
fn bad_streams_end_in_error_and_leave_the_memory_alone() {
    let device = conforming(Capabilities::FULL);
    dirty(&device, 100);
    let good = save(&device);
    let memory = memory_of(&device);
    let cut = &good[..good.len() - 1];
    let mut wrong = good.clone();
    wrong[0] ^= 1;
    let long: Vec<u8> = good.iter().copied().chain([0]).collect();
    for bad in [&[], cut, &wrong, &long] {
        assert_eq!(device.reset(), Ok(0));
        dirty(&device, 100);
        assert_eq!(memory_of(&device), memory);
        let stream = begin(&device, State::Resuming);
        let written = stream.write(bad);
        assert!(written == Ok(bad.len()) || written == Err(Errno::EINVAL));
        assert_eq!(set(&device, State::Running).err(), Some(Errno::EINVAL));
        assert_eq!(state(&device), State::Error);
        assert_eq!(memory_of(&device), memory);
        assert_eq!(stream.write(bad), Err(Errno::ENODEV));
    }
}

/// Polls in another thread at the temporary end, and says how that ended after something was done.
fn poll_while(action: impl FnOnce(&ModelDevice)) -> Readiness {
    let device = conforming(Capabilities::FULL);
    let stream = begin(&device, State::PreCopy);
    drain(&*stream);
    thread::scope(|scope| {
        let poller = scope.spawn(|| {
            let began = Instant::now();
            (stream.poll(Interest::Read, LONG), began.elapsed())
        });
        thread::sleep(Duration::from_millis(10));
        action(&device);
        let (ready, took) = poller.join().unwrap();
        assert!(took < LONG / 2);
        ready.unwrap()
    })
}

#[test]
fn a_waiting_poll_is_woken() {
    assert_eq!(poll_while(|device| dirty(device, 1)), READABLE);
    assert_eq!(poll_while(|device| assert_eq!(device.region_write(0, 2000, &[1]), Ok(1))), READABLE);
    assert_eq!(poll_while(|device| drop(enter(device, State::StopCopy))), READABLE);
    assert_eq!(poll_while(|device| drop(enter(device, State::Running))), OVER);
    assert_eq!(poll_while(|device| assert_eq!(device.reset(), Ok(0))), OVER);
}

#[test]
fn a_poll_ends_with_its_timeout() {
    let device = conforming(Capabilities::FULL);
    let stream = begin(&device, State::PreCopy);
    drain(&*stream);
    let began = Instant::now();
    let timeout = Duration::from_millis(20);
    assert_eq!(stream.poll(Interest::Read, timeout), Ok(Readiness::default()));
    assert!(began.elapsed() >= timeout);
}

#[test]
fn no_wakeup_is_lost() {
    let device = conforming(Capabilities::FULL);
    let stream = begin(&device, State::PreCopy);
    drain(&*stream);
    let (drained, next_round) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            for () in next_round {
                dirty(&device, 1);
            }
        });
        for _ in 0..300 {
            drained.send(()).unwrap();
            assert_eq!(stream.poll(Interest::Read, LONG), Ok(READABLE));
            drain(&*stream);
        }
        drop(drained);
    });
}

#[test]
fn nothing_is_left_after_many_sessions() {
    let device = conforming(Capabilities::FULL);
    for _ in 0..100 {
        let stream = begin(&device, State::PreCopy);
        stream.read(&mut [0; 100]).unwrap();
        enter(&device, State::Running);
    }
    assert_eq!(device.shared.lock().sessions.count(), 0);
}
