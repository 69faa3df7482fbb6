//! The keeper with real executors: what it makes of those that are late, dead, or in the way.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use vfio_conform::harness::keeper::{ExecutorSpec, Keeper};
use vfio_conform::harness::outcome::Outcome;
use vfio_conform::harness::verdict::Verdict;

const ORDINARY: &str = "fsm::running_to_stop";
const LATE: &str = "fsm::stop_copy_to_pre_copy";
const DEADLY: &str = "fsm::running_to_resuming";

fn keeper(device: &str) -> Keeper {
    let spec = ExecutorSpec {
        device: device.to_owned(),
        via: None,
        profile: None,
        force_profile: false,
        may_hang: false,
        wear: None,
        deadline: Duration::from_millis(300),
        open_deadline: Duration::from_secs(60),
    };
    let program = PathBuf::from(env!("CARGO_BIN_EXE_vfio-conform"));
    Keeper::new(program, spec, None).expect("a keeper")
}

/// What the executor was doing when nothing more was heard of it.
fn last_operation(outcome: &Outcome) -> (&str, Option<&str>) {
    let last = outcome.evidence.operations.last().expect("an operation");
    (&last.what, last.result.as_deref())
}

#[test]
fn a_late_executor_is_killed_and_its_check_hangs() {
    let mut keeper = keeper("model:fault=blocked-arc-hangs");
    keeper.start().expect("a model");
    let done = keeper.run(LATE);
    assert_eq!(done.outcome.verdict, Verdict::Hang);
    assert_eq!(done.outcome.message, "SET PRE_COPY never came back within 300ms; the process could be killed");
    assert_eq!(last_operation(&done.outcome), ("SET PRE_COPY", None));
    assert_eq!(done.lost, None, "the model is as good as new for the next executor");
    assert_eq!(keeper.run(ORDINARY).outcome.verdict, Verdict::Pass);
}

#[test]
fn an_executor_that_dies_in_a_call_is_a_crash_of_its_check() {
    let mut keeper = keeper("model:fault=crash");
    keeper.start().expect("a model");
    let done = keeper.run(DEADLY);
    assert_eq!(done.outcome.verdict, Verdict::Crash);
    assert_eq!(done.outcome.message, "the executor was killed by signal 6 during SET RESUMING");
    assert_eq!(last_operation(&done.outcome), ("SET RESUMING", None));
    assert_eq!(keeper.run(ORDINARY).outcome.verdict, Verdict::Pass);
}

#[test]
fn executor_killed_from_outside_costs_no_verdict() {
    let mut keeper = keeper("model");
    keeper.start().expect("a model");
    assert_eq!(keeper.run(ORDINARY).outcome.verdict, Verdict::Pass);
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        for executor in executors_of(&keeper) {
            kill(executor, signal).expect("our own grandchild");
        }
        let outcome = keeper.run(ORDINARY).outcome;
        assert_eq!(outcome.verdict, Verdict::Pass, "{}", outcome.message);
        let number = signal as i32;
        let why = format!(
            "this is the second try: in the first one signal {number} from another process killed the executor; \
             the kernel reports no error of its own"
        );
        assert_eq!(outcome.evidence.notes.last(), Some(&why));
    }
    assert_eq!(keeper.take_incidents(), []);
}

#[test]
fn an_executor_that_is_short_of_descriptors_makes_room_for_another() {
    let mut keeper = keeper("model");
    keeper.start().expect("a model");
    for executor in executors_of(&keeper) {
        let limited = Command::new("prlimit").args(["--nofile=5:", "--pid", &executor.to_string()]).status();
        assert!(limited.expect("prlimit").success());
    }
    assert_eq!(keeper.run(ORDINARY).outcome.verdict, Verdict::Pass);
    assert_eq!(executors_of(&keeper), []);
    assert_eq!(keeper.run(ORDINARY).outcome.verdict, Verdict::Pass);
    assert_eq!(executors_of(&keeper).len(), 1);
}

#[test]
fn a_start_ends_the_executor_that_may_hold_the_device() {
    let mut keeper = keeper("model");
    keeper.start().expect("a model");
    let first = executors_of(&keeper);
    keeper.start().expect("a model");
    let second = executors_of(&keeper);
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_ne!(first, second);
    keeper.stop();
    assert_eq!(executors_of(&keeper), []);
}

#[test]
fn a_device_that_cannot_be_opened_is_said_and_leaves_no_process() {
    let mut keeper = keeper("0000:ff:1f.7");
    let why = keeper.start().expect_err("no such device");
    assert!(why.starts_with("failed to open 0000:ff:1f.7: there is no such device"), "{why}");
    assert_eq!(executors_of(&keeper), []);
    let done = keeper.run(ORDINARY);
    assert_eq!(done.outcome.verdict, Verdict::Blocked);
    assert!(done.lost.is_some_and(|why| why.contains("there is no such device")));
}

/// Its executors are those of our children that were told of its record.
fn executors_of(keeper: &Keeper) -> Vec<Pid> {
    let record = keeper.record_path();
    let processes = fs::read_dir("/proc").expect("/proc").flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_told = |id: &i32| {
        let words = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        words.split(|byte| *byte == 0).any(|word| word == record.as_os_str().as_encoded_bytes())
    };
    ids.filter(is_told).map(Pid::from_raw).collect()
}
