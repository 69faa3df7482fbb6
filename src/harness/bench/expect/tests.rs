use super::super::Host;
use super::super::tests::bench;
use super::*;
use crate::device::migration::Transition;
use crate::device::model::{Fault, ModelDevice, ModelSpec};
use crate::device::scripted::{Doctored, Scripted};
use crate::fsm::Refusal;
use crate::harness::record::Recorder;
use crate::requirement::{fsm, session};
use crate::uapi::feature::{FeatureCall, Verb};
use crate::uapi::stream::Readiness;

#[test]
fn what_was_broken_once_is_not_proven_and_all_else_still_is() {
    let mut bench = bench(Host::NEWEST);
    for requirement in [&fsm::ARC, &fsm::STEADY, &fsm::ARC] {
        assert!(bench.judge(requirement, true, "", "", "").is_ok());
    }
    assert_eq!(bench.proven, [&fsm::ARC, &fsm::STEADY]);
    assert!(matches!(bench.judge(&fsm::ARC, false, "", "", ""), Err(Interruption::Broken)));
    assert_eq!(bench.proven, [&fsm::STEADY]);
    assert_eq!(bench.broken.iter().map(|broken| &*broken.requirement).collect::<Vec<_>>(), [fsm::ARC.id]);
}

#[test]
fn what_is_no_must_is_written_down_and_the_check_goes_on() {
    let mut bench = bench(Host::NEWEST);
    assert!(session::CLOSE_ON_EXEC.level != Level::Must);
    assert!(bench.judge(&session::CLOSE_ON_EXEC, false, "", "", "").is_ok());
    assert_eq!(bench.broken.len(), 1);
}

#[test]
fn a_saving_session_is_alive_if_it_has_data_and_an_end() {
    for (reads, is_kept) in [
        (&[Ok(4), Ok(0)][..], true),
        (&[Ok(4), Err(Errno::ENOMSG)], true),
        (&[Ok(0)], false),
        (&[Err(Errno::ENOMSG)], false),
        (&[Ok(4), Err(Errno::EIO)], false),
        (&[Err(Errno::EIO)], false),
    ] {
        let stream = Scripted::default().reads(reads.iter().copied());
        let session = Session::new(Box::new(stream), Direction::Saving);
        let judged = bench(Host::NEWEST).expect_alive(&fsm::ARC, "", &session, &[]);
        assert_eq!(judged.is_ok(), is_kept, "{reads:?}");
    }
}

#[test]
fn a_dead_session_accuses_nobody_of_it_where_none_streams() {
    for (fault, is_accused) in [(None, true), (Some(Fault::NewSessionDiesOfOldFd), false)] {
        let model = ModelDevice::new(ModelSpec { fault, ..ModelSpec::default() });
        let recorder = Recorder::new(None);
        let mut bench = Bench::new(Box::new(model), Host::NEWEST, Err("not asked for".to_owned()), recorder);
        let _old = bench.bring_to_session(State::StopCopy).ok();
        let dead = Session::new(Box::new(Scripted::default().reads([Err(Errno::ENODEV)])), Direction::Saving);
        let judged = bench.expect_alive(&fsm::ARC, "", &dead, &[]);
        assert_eq!(matches!(judged, Err(Interruption::Broken)), is_accused);
        assert_eq!(matches!(judged, Err(Interruption::Blocked { .. })), !is_accused);
    }
}

const READABLE: Readiness = Readiness { readable: true, writable: false, error: false, hang_up: false };
const NOT_READY: Readiness = Readiness { readable: false, ..READABLE };

/// What came of a request that succeeded with this return value and this data_fd.
fn answered(returned: i32, data_fd: i32) -> Requested {
    let transition = Transition { returned, device_state: State::StopCopy.number(), data_fd, stream: None };
    Requested { asked: "SET STOP_COPY".to_owned(), route: Route::Stay, answer: Ok(transition) }
}

fn refused(errno: Errno) -> Requested {
    let route = Route::Refused(Refusal::ErrorAsTarget);
    Requested { asked: "SET ERROR".to_owned(), route, answer: Err(errno) }
}

/// Whether a requirement that is a must was kept, and what was expected if it was not.
fn judged(expect: impl FnOnce(&mut Bench) -> Judgement) -> Result<(), String> {
    let mut bench = bench(Host::NEWEST);
    let judgement = expect(&mut bench);
    match (judgement, bench.broken.pop()) {
        (Ok(()), None) => {
            assert_eq!(bench.proven, [&fsm::ARC], "what is kept is proven");
            Ok(())
        }
        (Err(Interruption::Broken), Some(broken)) => {
            assert!(bench.proven.is_empty(), "what is broken is not proven");
            Err(broken.expected)
        }
        (judgement, broken) => panic!("{judgement:?}, {broken:?}"),
    }
}

#[test]
fn no_data_fd_is_minus_one_and_no_other_number() {
    assert_eq!(judged(|bench| bench.expect_no_fd(&fsm::ARC, &answered(0, -1))), Ok(()));
    for number in [i32::MIN, -1000, -2, 0, 1, 7, i32::MAX] {
        let judged = judged(|bench| bench.expect_no_fd(&fsm::ARC, &answered(0, number)));
        assert_eq!(judged, Err("data_fd -1".to_owned()), "data_fd {number}");
    }
    assert!(judged(|bench| bench.expect_no_fd(&fsm::ARC, &refused(Errno::EINVAL))).is_err());
}

#[test]
fn data_fd_is_any_number_from_zero_on() {
    for (number, is_kept) in [(i32::MIN, false), (-2, false), (-1, false), (0, true), (1, true), (i32::MAX, true)] {
        let judged = judged(|bench| bench.expect_fd(&fsm::ARC, &answered(0, number)));
        assert_eq!(judged.is_ok(), is_kept, "data_fd {number}");
    }
    assert!(judged(|bench| bench.expect_fd(&fsm::ARC, &refused(Errno::EINVAL))).is_err());
}

#[test]
fn success_is_a_return_value_of_zero() {
    for (returned, is_kept) in [(0, true), (1, false), (-1, false), (24, false)] {
        let judged = judged(|bench| bench.expect_success(&fsm::ARC, &answered(returned, -1)));
        assert_eq!(judged.is_ok(), is_kept, "{returned}");
    }
    assert!(judged(|bench| bench.expect_success(&fsm::ARC, &refused(Errno::EINVAL))).is_err());
}

#[test]
fn refusal_is_any_errno_and_no_success() {
    for errno in [Errno::EINVAL, Errno::EBUSY, Errno::ENOTTY] {
        assert_eq!(judged(|bench| bench.expect_refused(&fsm::ARC, &refused(errno))), Ok(()));
    }
    for returned in [0, 1] {
        assert!(judged(|bench| bench.expect_refused(&fsm::ARC, &answered(returned, -1))).is_err());
    }
}

#[test]
fn errno_is_one_of_those_that_are_allowed() {
    let of =
        |answer, allowed: &'static [Errno]| judged(move |bench| bench.expect_errno(&fsm::ARC, "", answer, allowed));
    assert!(of(Err(Errno::ENOTTY), &[Errno::EINVAL, Errno::ENOTTY]).is_ok());
    assert!(of(Err(Errno::EBUSY), &[Errno::EINVAL, Errno::ENOTTY]).is_err());
    assert!(of(Ok(0), &[Errno::EINVAL]).is_err());
}

/// A driver whose poll takes the readiness away with the first look is seen by the second.
#[test]
fn readable_session_is_asked_twice() {
    for (polls, is_kept) in [
        ([Ok(READABLE), Ok(READABLE)], true),
        ([Ok(READABLE), Ok(NOT_READY)], false),
        ([Ok(READABLE), Err(Errno::EIO)], false),
        ([Ok(NOT_READY), Ok(READABLE)], false),
        ([Ok(Readiness { error: true, ..NOT_READY }), Ok(READABLE)], false),
        ([Err(Errno::EIO), Ok(READABLE)], false),
    ] {
        let stream = Scripted::default().polls(polls);
        let session = Session::new(Box::new(stream.clone()), Direction::Saving);
        let judged = judged(|bench| bench.expect_readable(&fsm::ARC, "", &session));
        assert_eq!(judged.is_ok(), is_kept, "{polls:?}");
        let asked = if polls[0] == Ok(READABLE) { 2 } else { 1 };
        assert_eq!(stream.asked(), vec!["poll Read"; asked], "{polls:?}");
    }
}

#[test]
fn ended_session_fails_and_with_the_customary_errno() {
    for (answer, is_dead, is_customary) in [
        (Err(Errno::ENODEV), true, true),
        (Err(Errno::EBADF), true, false),
        (Ok(0), false, false),
        (Ok(1), false, false),
    ] {
        for direction in [Direction::Saving, Direction::Resuming] {
            let stream = match direction {
                Direction::Saving => Scripted::default().reads([answer]),
                Direction::Resuming => Scripted::default().writes([answer]),
            };
            let ended = Session::new(Box::new(stream.clone()), direction).ended();
            let mut bench = bench(Host::NEWEST);
            let judgement = bench.expect_dead(&fsm::ARC, &fsm::STEADY, "", &ended);
            assert_eq!(judgement.is_ok(), is_dead && is_customary, "{answer:?}");
            assert_eq!(bench.proven.contains(&&fsm::ARC), is_dead, "{answer:?}");
            assert_eq!(bench.proven.contains(&&fsm::STEADY), is_customary, "{answer:?}");
            assert_eq!(stream.left(), 0, "it was asked");
        }
    }
}

#[test]
fn session_refuses_the_direction_that_is_not_its_own() {
    for (answer, is_kept) in [(Err(Errno::EBADF), true), (Err(Errno::EINVAL), true), (Ok(0), false), (Ok(1), false)] {
        for direction in [Direction::Saving, Direction::Resuming] {
            let stream = match direction {
                Direction::Saving => Scripted::default().writes([answer]),
                Direction::Resuming => Scripted::default().reads([answer]),
            };
            let session = Session::new(Box::new(stream.clone()), direction);
            let judged = judged(|bench| bench.expect_one_direction(&fsm::ARC, "", &session));
            assert_eq!((judged.is_ok(), stream.left()), (is_kept, 0), "{answer:?}");
        }
    }
}

#[test]
fn resuming_session_is_alive_if_it_takes_the_whole_stream() {
    for (writes, is_kept) in [(&[Ok(4)][..], true), (&[Ok(3), Ok(1)], true), (&[Ok(3), Err(Errno::EIO)], false)] {
        let session = Session::new(Box::new(Scripted::default().writes(writes.iter().copied())), Direction::Resuming);
        let judged = judged(|bench| bench.expect_alive(&fsm::ARC, "", &session, &[1, 2, 3, 4]));
        assert_eq!(judged.is_ok(), is_kept, "{writes:?}");
    }
}

#[test]
fn state_is_that_which_the_device_reports() {
    assert_eq!(judged(|bench| bench.expect_state(&fsm::ARC, "", State::Running)), Ok(()));
    let wrong = judged(|bench| bench.expect_state(&fsm::ARC, "", State::Stop));
    assert_eq!(wrong, Err("the state STOP afterwards".to_owned()));
    assert_eq!(judged(|bench| bench.expect_reachable(&fsm::ARC, "", State::StopCopy)), Ok(()));
}

#[test]
fn state_that_the_device_refuses_is_not_reachable() {
    let refuse = |_: &ModelDevice, call: &mut FeatureCall| {
        let is_set = call.flags & Verb::Set.bits() != 0;
        is_set.then_some(Err(Errno::EIO))
    };
    let device = Box::new(Doctored::new(ModelSpec::default(), refuse));
    let mut bench = Bench::new(device, Host::NEWEST, Err("not asked for".to_owned()), Recorder::new(None));
    let judgement = bench.expect_reachable(&fsm::ARC, "", State::Stop);
    assert_eq!((judgement, bench.broken.len()), (Err(Interruption::Broken), 1));
}

#[test]
fn descriptor_whose_flags_cannot_be_read_is_not_close_on_exec() {
    let session = Session::new(Box::new(Scripted::default()), Direction::Saving);
    assert!(judged(|bench| bench.expect_close_on_exec(&fsm::ARC, "", &session)).is_err());
}
