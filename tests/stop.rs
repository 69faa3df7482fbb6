//! What a signal makes of a run: it ends in order, with every report, and can be resumed.

mod processes;
mod program;

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

use vfio_conform::harness::verdict::{Exit, Verdict};
use vfio_conform::report::{HTML, JOURNAL, JSON, JUNIT, MARKDOWN, Run};

use processes::executors_of;

/// A device with a call that does not come back, and the check that makes it.
const HANGING: &str = "model:fault=blocked-arc-hangs";
const HANGS: &str = "fsm::stop_copy_to_pre_copy";
/// Far longer than a test waits, so that nothing but the signal ends the check.
const DEADLINE: &str = "300";
/// The grace of two seconds, the time to kill an executor, and a machine that does much else.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// A program that leads its process group, as a shell starts it.
struct Running {
    folder: TempDir,
    child: Child,
}

impl Running {
    fn start(arguments: &[&str]) -> Running {
        let folder = TempDir::new().expect("a temporary folder");
        let program = program::vfio_conform(folder.path());
        // A CI system may start the tests with SIGINT or SIGHUP ignored, which a child inherits.
        let mut command = Command::new("/usr/bin/env");
        command.arg("--default-signal=INT,HUP,TERM").arg(program.get_program()).args(arguments);
        command.env_clear().current_dir(folder.path());
        Running::spawn(folder, command)
    }

    fn spawn(folder: TempDir, mut command: Command) -> Running {
        let errors = fs::File::create(folder.path().join("stderr")).expect("writable");
        command.process_group(0).stdout(Stdio::null()).stderr(errors);
        let child = command.spawn().expect("started");
        Running { folder, child }
    }

    /// The run whose check hangs, once it does.
    fn hanging() -> Running {
        let running = Running::start(&["run", HANGING, "--deadline", DEADLINE, "--out", "out", "--", "--exact", HANGS]);
        running.wait_for("out", "\"check_started\"");
        // The call itself, and not what comes before it.
        thread::sleep(Duration::from_millis(200));
        running
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits until the journal of a run has this in it.
    fn wait_for(&self, run: &str, what: &str) {
        let end = Instant::now() + ENDS_WITHIN;
        while !fs::read_to_string(self.path(run).join(JOURNAL)).is_ok_and(|journal| journal.contains(what)) {
            assert!(Instant::now() < end, "{what} never came: {}", self.said());
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// What Ctrl-C at a terminal does.
    fn signal_group(&self, signal: Signal) {
        killpg(self.pid(), signal).expect("our own child");
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"))
    }

    fn said(&self) -> String {
        fs::read_to_string(self.path("stderr")).unwrap_or_default()
    }

    fn end(&mut self) -> ExitStatus {
        let end = Instant::now() + ENDS_WITHIN;
        loop {
            if let Some(status) = self.child.try_wait().expect("a status") {
                return status;
            }
            assert!(Instant::now() < end, "it does not end: {}", self.said());
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn ends_with(&mut self, exit: Exit) {
        assert_eq!(self.end().code(), Some(exit as i32), "{}", self.said());
    }

    fn run(&self, name: &str) -> Run {
        Run::read(&self.path(name).join(JOURNAL)).expect("a journal")
    }

    /// Every report is there, and is of the whole journal.
    fn has_reports(&self, name: &str, run: &Run) {
        for report in [HTML, MARKDOWN, JUNIT, JSON] {
            assert!(self.path(name).join(report).is_file(), "{report}");
        }
        let json: Value =
            serde_json::from_slice(&fs::read(self.path(name).join(JSON)).expect("a report")).expect("JSON");
        assert_eq!(json["exit"], run.exit as u8);
        assert_eq!(json["stopped_by"], serde_json::to_value(run.stopped_by).expect("JSON"));
        assert_eq!(json["left"], serde_json::to_value(run.remaining()).expect("JSON"));
    }

    fn finished(&self, name: &str) -> Value {
        let journal = fs::read_to_string(self.path(name).join(JOURNAL)).expect("a journal");
        serde_json::from_str(journal.lines().last().expect("a line")).expect("JSON")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn run_that_is_stopped_writes_its_reports_and_is_resumed() {
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        let mut running = Running::start(&["run", "model", "--out", "out", "--", "session::"]);
        running.wait_for("out", "\"check_finished\"");
        running.signal_group(signal);
        running.ends_with(Exit::Unfinished);
        let run = running.run("out");
        assert_eq!((run.exit, run.cut_off, run.notes.len()), (Exit::Unfinished, false, 0), "{:?}", run.notes);
        assert_eq!(run.stopped_by.map(|stop| stop.to_string()).as_deref(), Some(signal.as_str()));
        // The executor has survived the signal: no check is accused, and what was running may have ended.
        assert_eq!(run.counts().pass + run.left.waiting, run.checks.len());
        assert_eq!(run.left.interrupted, 0);
        running.has_reports("out", &run);
        let finished = running.finished("out");
        assert_eq!((&finished["event"], &finished["exit"]), (&Value::from("run_finished"), &Value::from(3)));
        assert_eq!(finished["left"], run.left.waiting);
        assert_eq!(executors_of(running.child.id()), []);

        let mut resumed = program::vfio_conform(running.folder.path());
        let output = resumed.args(["run", "--resume", "out"]).output().expect("started");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(Exit::Conforms as i32), "{said}");
        assert!(said.contains(&format!("going on with {} of", run.left.waiting)), "{said}");
        let run = running.run("out");
        assert_eq!((run.counts().pass, run.left.waiting, run.stopped_by), (run.checks.len(), 0, None));
    }
}

#[test]
fn check_that_would_not_end_is_ended_and_not_accused() {
    let mut running = Running::hanging();
    let began = Instant::now();
    running.signal_group(Signal::SIGTERM);
    running.ends_with(Exit::Unfinished);
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let run = running.run("out");
    let outcome = &run.checks[0].outcome;
    assert_eq!(outcome.verdict, Verdict::Blocked);
    assert_eq!(outcome.message, "was running when the run was asked to stop (SIGTERM)");
    assert_eq!((run.left.waiting, run.left.interrupted), (1, 0));
    running.has_reports("out", &run);
    assert_eq!(executors_of(running.child.id()), []);
}

#[test]
fn second_signal_ends_at_once() {
    let mut running = Running::hanging();
    running.signal_group(Signal::SIGTERM);
    // As soon as it counts as another one, and well within the grace of the first.
    thread::sleep(Duration::from_millis(600));
    running.signal_group(Signal::SIGINT);
    assert_eq!(running.end().signal(), Some(Signal::SIGINT as i32), "{}", running.said());
    let end = Instant::now() + ENDS_WITHIN;
    while !executors_of(running.child.id()).is_empty() {
        assert!(Instant::now() < end, "an executor is left");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(running.run("out").cut_off);
}

#[test]
fn run_under_timeout_is_asked_twice_and_ends_in_order() {
    let folder = TempDir::new().expect("a temporary folder");
    let mut command = Command::new("timeout");
    command.args(["--preserve-status", "3", env!("CARGO_BIN_EXE_vfio-conform"), "run", HANGING]);
    command.args(["--deadline", DEADLINE, "--out", "out", "--", "--exact", HANGS]).current_dir(folder.path());
    let mut running = Running::spawn(folder, command);
    running.ends_with(Exit::Unfinished);
    let run = running.run("out");
    assert_eq!(run.stopped_by.map(|stop| stop.to_string()).as_deref(), Some("SIGTERM"));
    running.has_reports("out", &run);
}

#[test]
fn signal_that_was_ignored_at_the_start_stays_ignored() {
    let folder = TempDir::new().expect("a temporary folder");
    let mut command = Command::new("sh");
    let script = "trap '' HUP; exec \"$0\" run model --out out -- session::";
    command.args(["-c", script, env!("CARGO_BIN_EXE_vfio-conform")]).current_dir(folder.path());
    let mut running = Running::spawn(folder, command);
    running.wait_for("out", "\"check_finished\"");
    running.signal_group(Signal::SIGHUP);
    running.ends_with(Exit::Conforms);
}

#[test]
fn walk_that_is_stopped_writes_its_reports() {
    let mut running = Running::start(&["walk", "model", "--for", "10m", "--out", "out"]);
    running.wait_for("out", "\"check_started\"");
    thread::sleep(Duration::from_millis(300));
    running.signal_group(Signal::SIGINT);
    running.ends_with(Exit::Unfinished);
    let run = running.run("out");
    assert_eq!(run.checks[0].outcome.verdict, Verdict::Blocked);
    assert_eq!(run.remaining(), None, "a walk cannot be resumed");
    running.has_reports("out", &run);
    assert!(running.said().contains("until then, nothing found"), "{}", running.said());
}

#[test]
fn certificate_that_is_stopped_leaves_reports_and_no_seal() {
    let mut running = Running::start(&["certify", "model", "--out", "out"]);
    running.wait_for("out/runs/1", "\"check_finished\"");
    running.signal_group(Signal::SIGTERM);
    running.ends_with(Exit::Unfinished);
    assert!(running.said().contains("no certificate"), "{}", running.said());
    let run = running.run("out/runs/1");
    running.has_reports("out/runs/1", &run);
    assert!(!running.path("out/SHA256SUMS").exists() && !running.path("out/walk").exists());
}

#[test]
fn proof_that_is_stopped_reports_the_faults_that_were_tried() {
    let mut running = Running::start(&["faults", "run", "--place", "model", "--full", "--out", "out"]);
    let end = Instant::now() + ENDS_WITHIN;
    while executors_of(running.child.id()).is_empty() {
        assert!(Instant::now() < end, "no executor: {}", running.said());
        thread::sleep(Duration::from_millis(2));
    }
    kill(running.pid(), Signal::SIGTERM).expect("our own child");
    running.ends_with(Exit::Unfinished);
    for report in ["faults.json", "faults.html"] {
        assert!(running.path("out").join(report).is_file(), "{report}");
    }
}

#[test]
fn executor_holds_no_channel_of_whoever_called() {
    let folder = TempDir::new().expect("a temporary folder");
    let mut command = program::vfio_conform(folder.path());
    command.args(["run", HANGING, "--deadline", DEADLINE, "--out", "out", "--", "--exact", HANGS]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    let end = Instant::now() + ENDS_WITHIN;
    let executor = loop {
        if let [executor] = executors_of(child.id())[..] {
            break executor;
        }
        assert!(Instant::now() < end, "no executor");
        thread::sleep(Duration::from_millis(2));
    };
    let ours: Vec<PathBuf> = (0..3).filter_map(|number| link(child.id(), number)).collect();
    let its: Vec<PathBuf> = (0..64).filter_map(|number| link(executor, number)).collect();
    assert_eq!(ours.len(), 3);
    assert!(its.len() >= 3 && its.iter().all(|channel| !ours.contains(channel)), "{its:?} has one of {ours:?}");
    child.kill().expect("our own child");
    child.wait().expect("a status");
}

fn link(process: impl std::fmt::Display, descriptor: u32) -> Option<PathBuf> {
    fs::read_link(Path::new("/proc").join(process.to_string()).join("fd").join(descriptor.to_string())).ok()
}
