use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::device::model::{Fault, ModelDevice, ModelSpec};
use crate::device::scripted::{Doctored, Scripted};
use crate::requirement::precopy;
use crate::uapi::memory::DmaMemory;
use crate::uapi::stream::Readiness;
use crate::walk::sessions::Live;
use crate::walk::traffic::{self, Traffic};

const READABLE: Readiness = Readiness { readable: true, writable: false, error: false, hang_up: false };

/// The last of these steps on a device; those before it break nothing.
fn last(world: &mut World<'_>, steps: &str) -> Step {
    let mut taken: Vec<Step> = Vec::new();
    for step in steps.split("; ") {
        let broken = taken.last().and_then(|step| step.violation.as_ref());
        assert!(broken.is_none(), "{steps}: {broken:?}");
        taken.push(world.step(step.parse().expect("an operation")));
    }
    taken.pop().expect("a step")
}

/// The id of what the last of these steps breaks, and as what.
fn broken(device: &mut dyn Device, steps: &str) -> Option<(&'static str, Symptom)> {
    let good = good();
    let step = last(&mut World::new(device, Capabilities::FULL, true, &good), steps);
    step.violation.map(|violation| (violation.requirement.id, violation.symptom))
}

fn broken_by(fault: Fault, steps: &str) -> Option<&'static str> {
    broken(&mut ModelDevice::new(ModelSpec::faulty(fault)), steps).map(|(id, _)| id)
}

/// A stream that the model accepts.
fn good() -> Vec<u8> {
    let device = ModelDevice::new(ModelSpec::default());
    let stream = (&device as &dyn Device).set_state(State::StopCopy.number()).expect("it saves").stream;
    let mut good = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(bytes @ 1..) = stream.as_ref().expect("a data_fd").read(&mut chunk) {
        good.extend(&chunk[..bytes]);
    }
    good
}

/// A doctor who has so many requests for a state done, and fails the next one.
fn fails_after(done: usize) -> impl Fn(&ModelDevice, &mut FeatureCall) -> Option<Result<i32, Errno>> + Send + Sync {
    let asked = AtomicUsize::new(0);
    move |_, call| {
        let is_last = is_set(call) && asked.fetch_add(1, Ordering::Relaxed) == done;
        is_last.then_some(Err(Errno::EIO))
    }
}

fn is_set(call: &FeatureCall) -> bool {
    call.flags == Feature::MigDeviceState.number() | Verb::Set.bits()
}

#[test]
fn each_operation_is_done_where_there_is_something_to_do_it_to() {
    let good = good();
    let whole = Answer::Moved(Ok(good.len()));
    for (steps, answer) in [
        ("dirty 1", Answer::Done(true)),
        ("SET STOP; dirty 1", Answer::Nothing),
        ("enter_error", Answer::Done(true)),
        ("SET STOP; enter_error", Answer::Nothing),
        ("read 1", Answer::Nothing),
        ("SET STOP_COPY; read 1", Answer::Moved(Ok(1))),
        ("SET STOP_COPY; read to the end", Answer::Drained(good.len(), Ok(0))),
        ("SET STOP_COPY; use against direction", Answer::Moved(Err(Errno::EBADF))),
        ("SET STOP_COPY; close data_fd; close data_fd", Answer::Nothing),
        ("SET STOP_COPY; SET STOP; close old data_fd", Answer::Done(true)),
        ("SET STOP_COPY; SET STOP; use old data_fd", Answer::Moved(Err(Errno::ENODEV))),
        ("SET RESUMING; write the rest", whole),
        ("SET RESUMING; write 3", Answer::Moved(Ok(3))),
        ("SET RESUMING; write 3 corrupt", Answer::Moved(Ok(3))),
        ("poll old data_fd", Answer::Nothing),
        ("MIG_PRECOPY_INFOv2", Answer::Returned(Ok(0))),
        ("SET STOP_COPY; read 0", Answer::Moved(Ok(0))),
        ("SET STOP_COPY; readv 100", Answer::Moved(Ok(100))),
        ("SET RESUMING; write 0", Answer::Moved(Ok(0))),
        ("SET RESUMING; writev 100; writev the rest", Answer::Moved(Ok(good.len() - 100))),
        ("SET STOP_COPY; set O_NONBLOCK", Answer::Done(true)),
        ("set O_NONBLOCK", Answer::Nothing),
        ("dup data_fd", Answer::Nothing),
        ("SET STOP_COPY; use other data_fd", Answer::Nothing),
        ("SET STOP_COPY; close other data_fd", Answer::Nothing),
        ("SET STOP_COPY; dup data_fd; dup data_fd", Answer::Nothing),
        ("SET STOP_COPY; dup data_fd; close other data_fd; read 1", Answer::Moved(Ok(1))),
        ("SET STOP_COPY; dup data_fd; close data_fd; read 1", Answer::Moved(Ok(1))),
        ("SET STOP_COPY; dup data_fd; use other data_fd; close other data_fd; read 1", Answer::Moved(Ok(1))),
        ("SET STOP_COPY; dup data_fd; close data_fd; close data_fd; read 1", Answer::Nothing),
        ("SET PRE_COPY; dup data_fd; SET STOP; use old data_fd", Answer::Moved(Err(Errno::ENODEV))),
        ("SET STOP_COPY; dup data_fd; use other data_fd", Answer::Done(true)),
        ("SET STOP_COPY; dup data_fd; close other data_fd", Answer::Done(true)),
        ("SET STOP_COPY; poll", Answer::Ready(Ok(READABLE))),
        ("SET PRE_COPY; PRECOPY_INFO argsz_small", Answer::Returned(Err(Errno::EINVAL))),
        ("SET PRE_COPY; PRECOPY_INFO unwritable", Answer::Returned(Err(Errno::EFAULT))),
        ("reconfigure", Answer::Done(true)),
        ("SET STOP; reconfigure", Answer::Nothing),
        ("DMA write page 3", Answer::Nothing),
        ("interrupt", Answer::Nothing),
        ("DMA_LOGGING_START", Answer::Returned(Ok(0))),
        ("DMA_LOGGING_START; DMA_LOGGING_REPORT", Answer::Returned(Ok(0))),
        ("DMA_LOGGING_STOP", Answer::Returned(Ok(0))),
        ("RESET", Answer::Returned(Ok(0))),
        ("reopen", Answer::Done(true)),
    ] {
        let mut device = ModelDevice::new(ModelSpec::default());
        let step = last(&mut World::new(&mut device, Capabilities::FULL, true, &good), steps);
        assert_eq!((step.answer, step.violation), (answer, None), "{steps}");
    }
}

#[test]
fn only_what_breaks_a_device_dooms_it() {
    for (steps, is_doomed) in
        [("dirty 1", false), ("reconfigure", false), ("enter_error", true), ("enter_error; dirty 1", true)]
    {
        let mut device = ModelDevice::new(ModelSpec::default());
        let mut world = World::new(&mut device, Capabilities::FULL, true, &[]);
        last(&mut world, steps);
        assert_eq!(world.is_doomed, is_doomed, "{steps}");
    }
}

#[test]
fn nothing_is_promised_any_more_of_a_device_that_is_configured_anew() {
    let missing = |steps: &str| {
        let stream = Scripted::default().infos([(Ok(0), 0, 100, 0); 30]).reads([Err(Errno::ENOMSG)]);
        let mut device = ModelDevice::new(ModelSpec::default());
        let mut world = World::new(&mut device, Capabilities::FULL, true, &[]);
        world.state = State::PreCopy;
        world.sessions.begin(Some(Box::new(stream)), State::PreCopy);
        last(&mut world, steps).violation.map(|violation| violation.requirement.id)
    };
    assert_eq!(missing("PRECOPY_INFO; read 1"), Some(Rule::Delivers.requirement().id));
    assert_eq!(missing("PRECOPY_INFO; reconfigure; read 1"), None);
}

#[test]
fn a_device_is_operational_where_it_runs_and_nothing_has_broken_it() {
    let mut device = ModelDevice::new(ModelSpec::default());
    let mut world = World::new(&mut device, Capabilities::FULL, true, &[]);
    for state in State::ALL {
        world.state = state;
        world.is_doomed = false;
        assert_eq!(world.is_operational(), matches!(state, State::Running | State::PreCopy), "{state}");
        world.is_doomed = true;
        assert!(!world.is_operational(), "{state}");
    }
}

#[test]
fn what_goes_on_beside_needs_its_surroundings_and_a_device_that_is_operational() -> Result<(), Errno> {
    let after = |steps: &str| {
        let mut device = ModelDevice::new(ModelSpec::default());
        device.map(traffic::IOVA, &DmaMemory::new(traffic::AREA_BYTES)?)?;
        let world = World::new(&mut device, Capabilities::FULL, true, &[]);
        let mut world = world.with_traffic(Traffic::new(true, None));
        let step = last(&mut world, steps);
        assert_eq!(step.violation, None, "{steps}");
        Ok((step.answer, world.may_log()))
    };
    assert_eq!(after("DMA write page 3")?, (Answer::Done(true), false));
    assert_eq!(after("SET STOP; DMA write page 3")?, (Answer::Nothing, false));
    assert_eq!(after("DMA_LOGGING_START; GET; DMA read page 3")?, (Answer::Done(true), true));
    let (_, ended) = after("DMA_LOGGING_START; DMA_LOGGING_STOP; SET STOP")?;
    let (_, broken) = after("DMA_LOGGING_START; DMA_LOGGING_STOP; enter_error; SET STOP")?;
    assert_eq!((ended, broken), (false, true), "nobody knows what is left of it in ERROR");
    Ok(())
}

#[test]
fn a_session_is_in_doubt_once_its_last_data_fd_is_closed() {
    for (steps, doubt) in [
        ("SET STOP_COPY; dup data_fd; close data_fd", None),
        ("SET STOP_COPY; dup data_fd; close data_fd; close data_fd", Some(&session::EARLY_CLOSE)),
        ("SET STOP_COPY; close data_fd", Some(&session::EARLY_CLOSE)),
    ] {
        let mut device = ModelDevice::new(ModelSpec::default());
        let mut world = World::new(&mut device, Capabilities::FULL, true, &[]);
        last(&mut world, steps);
        assert_eq!(world.doubtful, doubt, "{steps}");
    }
}

#[test]
fn who_only_looks_gets_nothing_but_the_state() {
    let says = |returned: i32, data_fd: i32| {
        let answer = move |_: &ModelDevice, call: &mut FeatureCall| {
            let state = MigState { device_state: State::Running.number(), data_fd };
            (call.number() == Feature::MigDeviceState.number() && !is_set(call)).then(|| {
                call.payload = state.to_bytes();
                Ok(returned)
            })
        };
        broken(&mut Doctored::new(ModelSpec::default(), answer), "GET").map(|(id, _)| id)
    };
    assert_eq!(says(0, -1), None);
    for (returned, data_fd) in [(0, 7), (0, 1), (1, -1), (1, 7)] {
        assert_eq!(says(returned, data_fd), Some(fsm::GET_ONLY_LOOKS.id), "{returned}, {data_fd}");
    }
}

#[test]
fn a_transition_may_fail_where_a_load_is_not_whole_or_the_device_is_doomed() {
    let good = good();
    let may_fail = |steps: &str, is_sure: bool| {
        let mut device = ModelDevice::new(ModelSpec::default());
        let mut world = World::new(&mut device, Capabilities::FULL, true, &good);
        last(&mut world, steps);
        if !is_sure {
            world.sessions.doubt();
        }
        world.may_fail()
    };
    assert!(!may_fail("SET RESUMING; write the rest", true));
    assert!(may_fail("SET RESUMING; write the rest", false));
    assert!(may_fail("SET RESUMING; write 3", true));
    assert!(!may_fail("SET STOP", true) && may_fail("enter_error", true));
}

#[test]
fn a_load_that_lacks_its_end_must_not_be_left() {
    let truncated = Some(Rule::TruncatedRefused.requirement().id);
    assert_eq!(broken_by(Fault::TruncatedStreamAccepted, "SET RESUMING; write 3; SET STOP"), truncated);
    assert_eq!(broken_by(Fault::TruncatedStreamAccepted, "SET RESUMING; write the rest; SET STOP"), None);
}

#[test]
fn nothing_is_said_of_estimates_in_error() {
    let fails = |_: &ModelDevice, call: &mut FeatureCall| {
        (call.number() == Feature::MigDataSize.number()).then_some(Err(Errno::EIO))
    };
    let mut device = Doctored::new(ModelSpec::default(), fails);
    assert_eq!(broken(&mut device, "enter_error; SET STOP; MIG_DATA_SIZE"), None);
}

#[test]
fn a_device_that_is_stopped_is_not_touched() {
    for state in ["STOP", "STOP_COPY", "RESUMING"] {
        assert_eq!(broken_by(Fault::TouchedWhileStoppedWedges, &format!("SET {state}; dirty 1; RESET")), None);
    }
    let mut device = ModelDevice::new(ModelSpec::default());
    let mut world = World::new(&mut device, Capabilities::FULL, true, &[]);
    for state in State::ALL {
        world.state = state;
        let runs = !matches!(state, State::Error | State::Stop | State::StopCopy | State::Resuming);
        assert_eq!(world.is_running(), runs, "{state}");
    }
}

#[test]
fn what_is_passed_in_as_flags_must_not_come_back_after_the_opt_in() {
    let echoes = |steps| broken_by(Fault::PrecopyInfoEchoesFlags, steps);
    assert_eq!(echoes("MIG_PRECOPY_INFOv2; SET PRE_COPY; PRECOPY_INFO"), Some(precopy::V2_FLAGS.id));
    assert_eq!(echoes("SET PRE_COPY; PRECOPY_INFO"), None);
    assert_eq!(echoes("MIG_PRECOPY_INFOv2; RESET; SET PRE_COPY; PRECOPY_INFO"), Some(precopy::V2_FLAGS.id));
    assert_eq!(echoes("MIG_PRECOPY_INFOv2; reopen; SET PRE_COPY; PRECOPY_INFO"), None);
}

#[test]
fn what_asking_for_the_same_state_must_not_do_is_told_apart() {
    let answers = |returned: Result<i32, Errno>, data_fd: i32| {
        let answer = move |_: &ModelDevice, call: &mut FeatureCall| {
            let state = MigState { device_state: State::Running.number(), data_fd };
            is_set(call).then(|| {
                call.payload = state.to_bytes();
                returned
            })
        };
        broken(&mut Doctored::new(ModelSpec::default(), answer), "SET RUNNING")
    };
    let same_state = |symptom| Some((fsm::SAME_STATE.id, symptom));
    assert_eq!(answers(Ok(0), -1), None);
    assert_eq!(answers(Ok(0), -2), same_state(Symptom::WrongFd));
    assert_eq!(answers(Ok(1), -1), same_state(Symptom::PositiveReturn));
    assert_eq!(answers(Err(Errno::EIO), -1), same_state(Symptom::Failed));
}

#[test]
fn a_request_that_fails_speaks_against_what_may_have_spoiled_it() {
    for (steps, suspect) in [
        ("SET RUNNING_P2P", &fsm::ARC),
        ("SET STOP_COPY", &fsm::COMBINATION),
        ("RESET; SET RUNNING_P2P", &reset::WORKS_AFTERWARDS),
        ("RESET; SET RUNNING_P2P; SET RUNNING", &fsm::ARC),
        ("reopen; SET RUNNING_P2P", &fsm::ARC),
        ("SET STOP_COPY; close data_fd; SET STOP", &session::EARLY_CLOSE),
        ("SET PRE_COPY; close data_fd; SET STOP_COPY; SET STOP", &session::EARLY_CLOSE),
        ("SET STOP_COPY; close data_fd; SET STOP; SET RUNNING_P2P", &fsm::ARC),
    ] {
        let mut device = Doctored::new(ModelSpec::default(), fails_after(steps.matches("SET ").count() - 1));
        let expected = Some((suspect.id, Symptom::Failed));
        assert_eq!(broken(&mut device, steps), expected, "{steps}");
    }
}

#[test]
fn a_data_fd_comes_where_a_session_begins_and_nowhere_else() {
    let mut device = ModelDevice::new(ModelSpec::default());
    let world = World::new(&mut device, Capabilities::FULL, true, &[]);
    let begins = Path::of(vec![State::Stop, State::StopCopy]);
    let ends = Path::of(vec![State::StopCopy, State::Stop]);
    let judged = |path: &Path| {
        [-2, -1, 0, 7].map(|data_fd| world.judge_fd(path, data_fd, String::new).err().map(|it| it.requirement.id))
    };
    let (comes, absent) = (Some(session::FD_COMES.id), Some(session::FD_ABSENT.id));
    assert_eq!(judged(&begins), [comes, comes, None, None]);
    assert_eq!(judged(&ends), [absent, None, absent, absent]);
}

#[test]
fn after_a_failure_a_session_goes_on_in_doubt_or_is_another_one() {
    // Where the device ends up when it cannot go to the target, and the stream of the session there.
    let lands = |from: &str, target: State, landed: State| {
        let lands = move |model: &ModelDevice, call: &mut FeatureCall| {
            let number = MigState::from_bytes(&call.payload).map(|wanted| wanted.device_state);
            if !is_set(call) || number != Some(target.number()) {
                return None;
            }
            let landed = (model as &dyn Device).set_state(landed.number());
            Some(landed.and(Err(Errno::EIO)))
        };
        let mut device = Doctored::new(ModelSpec::default(), lands);
        let mut world = World::new(&mut device, Capabilities::FULL, true, &[]);
        last(&mut world, &format!("SET {from}"));
        world.is_doomed = true;
        let step = last(&mut world, &format!("SET {}", target.name()));
        assert_eq!(step.violation, None);
        assert_eq!(world.state, landed);
        world.sessions.live.as_ref().map(|live: &Live| (live.stream.is_some(), live.is_sure))
    };
    assert_eq!(lands("PRE_COPY", State::StopCopy, State::PreCopy), Some((true, false)), "it did not move");
    assert_eq!(lands("PRE_COPY", State::StopCopy, State::PreCopyP2p), Some((false, false)), "nobody has its data_fd");
    assert_eq!(lands("RUNNING", State::Resuming, State::Resuming), Some((false, false)), "nor this one's");
    assert_eq!(lands("RUNNING", State::Resuming, State::Stop), None);
}

#[test]
fn a_blocked_arc_is_asked_for_only_where_no_kernel_hangs_on_it() {
    let asked = |may_ask_blocked: bool, steps: &str| {
        let mut device = ModelDevice::new(ModelSpec::default());
        let step = last(&mut World::new(&mut device, Capabilities::FULL, may_ask_blocked, &[]), steps);
        assert_eq!(step.violation, None, "{steps}");
        step.answer != Answer::Nothing
    };
    for way in ["SET PRE_COPY", "SET PRE_COPY unanswerable"] {
        let steps = format!("SET STOP_COPY; {way}");
        assert!(asked(true, &steps) && !asked(false, &steps), "{way}");
    }
    for way in ["SET STOP", "SET STOP unanswerable"] {
        assert!(asked(true, way) && asked(false, way), "{way}");
    }
}

#[test]
fn who_cannot_be_answered_asks_as_everybody_does() {
    let asked = Mutex::new(Vec::new());
    let listen = |_: &ModelDevice, call: &mut FeatureCall| {
        if is_set(call) {
            asked.lock().expect("no panic").push((MigState::from_bytes(&call.payload), call.placement));
        }
        None
    };
    assert_eq!(broken(&mut Doctored::new(ModelSpec::default(), listen), "SET STOP unanswerable"), None);
    let wanted = MigState { device_state: State::Stop.number(), data_fd: -1 };
    assert_eq!(*asked.lock().expect("no panic"), [(Some(wanted), Placement::ReadOnly)]);
}

#[test]
fn an_estimate_of_the_stream_is_a_success_and_no_absurd_number() {
    let says = |state: &'static str, returned: Result<i32, Errno>, bytes: u64| {
        let answer = move |_: &ModelDevice, call: &mut FeatureCall| {
            (call.number() == Feature::MigDataSize.number()).then(|| {
                call.payload = bytes.to_ne_bytes().to_vec();
                returned
            })
        };
        let steps = format!("SET {state}; MIG_DATA_SIZE");
        broken(&mut Doctored::new(ModelSpec::default(), answer), &steps).map(|(id, _)| id)
    };
    let (most, sane) = (i64::MAX as u64, Some(Rule::SizeSane.requirement().id));
    assert_eq!(says("STOP", Ok(0), 0), None);
    assert_eq!(says("STOP", Ok(0), most), None);
    assert_eq!(says("STOP", Ok(0), most + 1), sane);
    assert_eq!(says("STOP", Ok(8), 8), Some(discover::SUCCESS_IS_ZERO.id));
    assert_eq!(says("STOP", Err(Errno::ENOTTY), 0), None);
    assert_eq!(says("STOP", Err(Errno::EIO), 0), Some(Rule::SizeAnywhere.requirement().id));
}
