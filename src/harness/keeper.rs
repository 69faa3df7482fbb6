//! The keeper: starts the executor, holds it to its deadline, and finds out what became of it.
//!
//! In the local lab it lives in the supervisor; in the qemu lab in the guest's init.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use super::journal::LabReady;
use super::kernel_log::{KernelLog, MARK, Said, taint_letters};
use super::outcome::Outcome;
use super::record;
use super::trace;
use super::verdict::Verdict;
use super::wire::{Done, Receiver, Reply, Request, WireError, send};
use crate::requirement::{Requirement, health};

/// A killed process that is not stuck in the kernel is gone well within this.
const GRACE: Duration = Duration::from_secs(2);

/// What an executor is started with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecutorSpec {
    /// The device's name.
    pub device: String,
    /// The way to open it, if one was forced.
    pub via: Option<crate::device::Via>,
    /// Whether calls may be made that are known to wedge the kernel.
    pub may_hang: bool,
    /// How long a check may take.
    pub deadline: Duration,
    /// How long opening the device may take.
    pub open_deadline: Duration,
}

/// Keeps an executor.
#[derive(Debug)]
pub struct Keeper {
    program: PathBuf,
    spec: ExecutorSpec,
    record: File,
    log: KernelLog,
    /// Where to write what the kernel says during checks.
    console: Option<File>,
    executor: Option<Executor>,
}

#[derive(Debug)]
struct Executor {
    child: Child,
    requests: ChildStdin,
    replies: Receiver<ChildStdout>,
}

/// How an executor ended.
enum End {
    /// It is gone, with this status.
    Gone(ExitStatus),
    /// It was killed and does not die.
    Stuck,
}

impl Keeper {
    /// A keeper that will start this program as executor.
    ///
    /// # Errors
    /// What making the record answered.
    pub fn new(program: PathBuf, spec: ExecutorSpec, console: Option<File>) -> std::io::Result<Keeper> {
        let record = memfd_create("vfio-conform-record", MFdFlags::MFD_CLOEXEC)?;
        Ok(Keeper { program, spec, record: File::from(record), log: KernelLog::open(), console, executor: None })
    }

    /// Starts an executor and has it open the device.
    ///
    /// # Errors
    /// Why the device could not be opened.
    pub fn start(&mut self) -> Result<LabReady, String> {
        let (executor, ready) = self.spawn()?;
        self.executor = Some(executor);
        // What loading modules and opening the device left in the log is nobody's finding.
        self.log.look();
        Ok(ready)
    }

    fn spawn(&self) -> Result<(Executor, LabReady), String> {
        let record = format!("/proc/{}/fd/{}", std::process::id(), self.record.as_raw_fd());
        let mut words: Vec<OsString> = vec!["executor".into(), "--device".into(), self.spec.device.clone().into()];
        words.extend(["--record".into(), record.into()]);
        if let Some(via) = self.spec.via {
            words.extend(["--via".into(), via.to_string().into()]);
        }
        if self.spec.may_hang {
            words.push("--may-hang".into());
        }
        let mut command = Command::new(&self.program);
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let failed = |error: std::io::Error| format!("failed to start the executor: {error}");
        let mut child = command.spawn().map_err(failed)?;
        let (Some(requests), Some(replies)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("failed to start the executor: it has no pipes".to_owned());
        };
        let replies = Receiver::new(replies);
        let mut executor = Executor { child, requests, replies };
        match executor.replies.receive(self.spec.open_deadline) {
            Ok(Reply::Ready(ready)) => Ok((executor, *ready)),
            Ok(Reply::NotReady(why)) => Err(why),
            Ok(other) => Err(format!("the executor said {other:?} instead of being ready")),
            Err(WireError::TimedOut(bound)) => {
                executor.kill();
                Err(format!("failed to open the device: it did not open within {bound:?}"))
            }
            Err(error) => {
                let how = match executor.kill() {
                    End::Gone(status) => tell_status(status),
                    End::Stuck => "is stuck in the kernel".to_owned(),
                };
                Err(format!("failed to open the device: {error}; the executor {how}"))
            }
        }
    }

    /// Runs one check, whatever becomes of the executor.
    pub fn run(&mut self, check: &str) -> Done {
        let began = Instant::now();
        let mut executor = match self.executor.take().map_or_else(|| self.revive(), Ok) {
            Ok(executor) => executor,
            Err(why) => return lost_before(&why),
        };
        let request = Request::Run(check.to_owned());
        let answer = send(&mut executor.requests, &request)
            .map_err(WireError::from)
            .and_then(|()| executor.replies.receive(self.spec.deadline));
        let mut done = match answer {
            Ok(Reply::Done(done)) => {
                self.executor = Some(executor);
                *done
            }
            Ok(other) => {
                executor.kill();
                let why = format!("the executor said {other:?} instead of a result");
                Done { outcome: Outcome::without_judgement(Verdict::Blocked, why), lost: None }
            }
            Err(error) => self.post_mortem(executor, &error),
        };
        let said = self.log.look();
        self.copy(check, &said);
        accuse(&mut done, said);
        if done.outcome.seconds == 0.0 {
            done.outcome.seconds = began.elapsed().as_secs_f64();
        }
        done
    }

    /// The kernel's own log stays readable; this copy of what belongs to the run is a convenience.
    fn copy(&mut self, check: &str, said: &Said) {
        if let Some(console) = self.console.as_mut().filter(|_| !said.lines.is_empty()) {
            let _ = writeln!(console, "{MARK}{check}\n{}", said.lines.join("\n"));
        }
    }

    fn revive(&mut self) -> Result<Executor, String> {
        let (executor, _) = self.spawn()?;
        Ok(executor)
    }

    /// No result came: the executor is late, or dead.
    fn post_mortem(&mut self, mut executor: Executor, error: &WireError) -> Done {
        let process = executor.child.id();
        let end = executor.kill();
        let operations = self.read_record();
        let doing = operations.last().filter(|operation| operation.result.is_none()).map_or_else(
            || "no operation was going on".to_owned(),
            |operation| format!("{} never came back", operation.what),
        );
        let late = matches!(error, WireError::TimedOut(_));
        let (verdict, message, lost) = match (late, end) {
            (_, End::Stuck) => {
                let why = format!(
                    "{doing} within {:?}, and the process cannot be killed: it is stuck in the kernel",
                    self.spec.deadline
                );
                let lost = "a call is stuck in the kernel, so the device is lost until a reboot";
                (Verdict::Hang, why, Some(lost.to_owned()))
            }
            (true, End::Gone(_)) => {
                let why = format!("{doing} within {:?}; the process could be killed", self.spec.deadline);
                (Verdict::Hang, why, None)
            }
            (false, End::Gone(status)) => {
                let why = format!("the executor {} while {doing}", tell_status(status));
                (Verdict::Crash, why.replace("while no", "when no"), None)
            }
        };
        if lost.is_none() {
            trace::clean_up(process);
        }
        let mut outcome = Outcome::without_judgement(verdict, message);
        outcome.evidence.operations = operations;
        Done { outcome, lost }
    }

    fn read_record(&mut self) -> Vec<super::outcome::Operation> {
        let mut text = Vec::new();
        let read = self.record.seek(SeekFrom::Start(0)).and_then(|_| self.record.read_to_end(&mut text));
        match read {
            Ok(_) => record::read_back(&String::from_utf8_lossy(&text)),
            Err(_) => Vec::new(),
        }
    }

    /// Ends the executor, so that the device is closed.
    pub fn stop(&mut self) {
        let Some(mut executor) = self.executor.take() else {
            return;
        };
        // One that does not listen is killed below.
        let _ = send(&mut executor.requests, &Request::End);
        if executor.wait(GRACE).is_none() {
            executor.kill();
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Executor {
    fn kill(&mut self) -> End {
        // It may be gone already, which is as good.
        let _ = self.child.kill();
        match self.wait(GRACE) {
            Some(status) => End::Gone(status),
            None => End::Stuck,
        }
    }

    fn wait(&mut self, bound: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + bound;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(2)),
                Ok(None) | Err(_) => return None,
            }
        }
    }
}

fn tell_status(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was killed by signal {signal}"),
        (None, Some(code)) => format!("ended with code {code}"),
        (None, None) => "ended".to_owned(),
    }
}

fn lost_before(why: &str) -> Done {
    let why = format!("the device could not be opened again: {why}");
    Done { outcome: Outcome::without_judgement(Verdict::Blocked, why.clone()), lost: Some(why) }
}

/// What the kernel said overrules what the check found: an oops in a passing check is no pass.
fn accuse(done: &mut Done, said: Said) {
    let outcome = &mut done.outcome;
    if !said.lines.is_empty() && (said.report.is_some() || outcome.verdict != Verdict::Pass) {
        outcome.evidence.kernel_log = said.lines;
    }
    let mut accused: Vec<(&'static Requirement, String)> = Vec::new();
    if let Some(report) = said.report {
        accused.push((&health::LOG, report));
    }
    if said.new_taint != 0 {
        let letters = taint_letters(said.new_taint);
        accused.push((&health::TAINT, format!("new taint {letters} ({:#x})", said.new_taint)));
    }
    for (requirement, actual) in accused {
        if matches!(outcome.verdict, Verdict::Pass | Verdict::Warn | Verdict::Skip) {
            outcome.verdict = Verdict::Fail;
            outcome.message = format!("the kernel reports: {actual}");
        }
        if outcome.verdict == Verdict::Crash && requirement.id == health::LOG.id {
            outcome.message = format!("{}; the kernel reports: {actual}", outcome.message);
            // The dead process may have held locks, so nothing that follows could be trusted.
            let why = "the kernel oopsed, so nothing that follows could be trusted";
            done.lost.get_or_insert(why.to_owned());
        }
        outcome.accuse(requirement, actual);
    }
}
