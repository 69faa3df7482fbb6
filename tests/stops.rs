//! Whatever is stopped for a while, at whatever moment: no check is accused of it, and a device that hangs still is.
//!
//! The moments are random. The seed is printed; `VFIO_CONFORM_SEED` repeats it.

mod processes;
mod program;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tempfile::TempDir;

use vfio_conform::harness::verdict::Exit;
use vfio_conform::report::{JOURNAL, JSON};

use processes::executors_of;

/// How many stops there are in a run.
const STOPS: usize = 5;
/// How long a check may take: less than each stop lasts.
const DEADLINE: &str = "1";
const STOP: Duration = Duration::from_millis(1500);

/// What is stopped.
#[derive(Debug, Clone, Copy)]
enum Whom {
    Supervisor,
    Executor,
    /// As Ctrl-Z does.
    Both,
}

#[test]
fn a_stopped_executor_is_accused_of_nothing() {
    nothing_is_found_while_stopping(Whom::Executor);
}

#[test]
fn a_stopped_supervisor_accuses_of_nothing() {
    nothing_is_found_while_stopping(Whom::Supervisor);
}

#[test]
fn a_run_that_is_stopped_as_a_whole_finds_nothing() {
    nothing_is_found_while_stopping(Whom::Both);
}

fn nothing_is_found_while_stopping(whom: Whom) {
    let given = std::env::var("VFIO_CONFORM_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("VFIO_CONFORM_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let folder = TempDir::new().expect("a temporary folder");
    let mut run = start(folder.path(), "model", &["precopy::"]);
    wait_until(|| journal(folder.path()).contains("\"lab_ready\""));
    let mut stops = 0;
    while stops < STOPS && run.try_wait().expect("a status").is_none() {
        // The first stop comes at once: the chapter takes a fifth of a second.
        stops += usize::from(stop_for(STOP, whom, &run));
        thread::sleep(Duration::from_millis(random.random_range(0..30)));
    }
    assert!(stops > 0, "the run was over before a stop");
    let code = run.wait().expect("a status").code();
    let report = report(folder.path());
    let bad = |check: &&Value| !["pass", "skip"].contains(&check["verdict"].as_str().unwrap_or_default());
    let bad: Vec<&Value> = report["checks"].as_array().expect("checks").iter().filter(bad).collect();
    assert_eq!((code, bad), (Some(Exit::Conforms as i32), Vec::new()), "{stops} stops");
}

#[test]
fn a_device_that_hangs_still_does_beside_a_stop() {
    let check = "fsm::stop_copy_to_pre_copy";
    let folder = TempDir::new().expect("a temporary folder");
    let began = Instant::now();
    let mut run = start(folder.path(), "model:fault=blocked-arc-hangs", &["--exact", check]);
    wait_until(|| journal(folder.path()).contains("\"check_started\""));
    thread::sleep(Duration::from_millis(200));
    assert!(stop_for(STOP, Whom::Executor, &run), "there is no executor");
    let code = run.wait().expect("a status").code();
    // Two runs of the check, a stop, and what a busy machine takes to start the program.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let report = report(folder.path());
    let outcome = &report["checks"][0];
    assert_eq!((code, &outcome["verdict"]), (Some(Exit::Findings as i32), &Value::from("hang")), "{outcome}");
    let notes = outcome["evidence"]["notes"].to_string();
    assert!(notes.contains("does not count"), "{outcome}");
}

fn start(folder: &Path, device: &str, libtest: &[&str]) -> Child {
    let mut command = program::vfio_conform(folder);
    command.args(["run", device, "--out", "out", "--deadline", DEADLINE, "--"]).args(libtest);
    command.stdout(Stdio::null()).stderr(Stdio::null()).process_group(0).spawn().expect("started")
}

/// Whether there was somebody to stop.
fn stop_for(time: Duration, whom: Whom, run: &Child) -> bool {
    let supervisor = Pid::from_raw(i32::try_from(run.id()).expect("a process"));
    let signal = |signal: Signal| match whom {
        Whom::Supervisor => kill(supervisor, signal).is_ok(),
        Whom::Both => killpg(supervisor, signal).is_ok(),
        Whom::Executor => executors_of(run.id()).into_iter().filter(|pid| kill(*pid, signal).is_ok()).count() > 0,
    };
    let is_stopped = signal(Signal::SIGSTOP);
    if is_stopped {
        thread::sleep(time);
        signal(Signal::SIGCONT);
    }
    is_stopped
}

fn journal(folder: &Path) -> String {
    fs::read_to_string(folder.join("out").join(JOURNAL)).unwrap_or_default()
}

fn report(folder: &Path) -> Value {
    serde_json::from_slice(&fs::read(folder.join("out").join(JSON)).expect("a report")).expect("JSON")
}

fn wait_until(mut arrived: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !arrived() {
        assert!(Instant::now() < end, "it did not happen within a minute");
        thread::sleep(Duration::from_millis(2));
    }
}
