//! The keeper: starts the executor, holds it to its deadline, and finds out what became of it.
//!
//! In the local lab it lives in the supervisor; in the qemu lab in the guest's init.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};

use super::executor::SUBCOMMAND;
use super::incident::{Incident, Phase, Stop};
use super::journal::LabReady;
use super::kernel_log::{KernelLog, MARK, OOPS, Said, Told, killed_for_memory, taint_letters};
use super::outcome::{Operation, Outcome};
use super::slot::{SLOT_BYTES, Slot};
use super::stopwatch::Stopwatch;
use super::trace;
use super::verdict::Verdict;
use super::wire::{Done, Receiver, Reply, Request, WireError, send};
use crate::requirement::{Requirement, health};
use crate::suites;

/// A killed process that is not stuck in the kernel is gone well within this.
const GRACE: Duration = Duration::from_secs(2);

/// How long to wait for what a dead executor has written, if a child of it still has its standard error.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// What an executor is started with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecutorSpec {
    /// The device's name.
    pub device: String,
    /// The way to open it, if one was forced.
    pub via: Option<crate::device::Via>,
    /// How to stimulate the device, if a profile was given.
    pub profile: Option<PathBuf>,
    /// Whether that profile is played whatever device it is for.
    #[serde(default)]
    pub force_profile: bool,
    /// Whether calls may be made that are known to wedge the kernel.
    pub may_hang: bool,
    /// How many sessions each batch of the wear chapter has, if that was asked for.
    #[serde(default)]
    pub wear: Option<usize>,
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
    record: Record,
    log: KernelLog,
    /// Where to write what the kernel says during checks.
    console: Option<File>,
    executor: Option<Executor>,
    /// What went wrong while no check ran, until it is asked for.
    incidents: Vec<Incident>,
    /// Whether an executor of this device was opened before.
    opened: bool,
    /// Whether the kernel oopsed or keeps a dead executor, so that nothing that hangs later accuses the driver anew.
    wounded: bool,
    /// Whether the last check was ended since this process was asked to stop.
    stopped: bool,
}

/// Where executors write down what they do.
#[derive(Debug)]
struct Record {
    memory: PathBuf,
    number: usize,
    slot: Slot,
    /// Keeps the memory, if it is this process's own.
    _file: Option<File>,
}

impl Record {
    /// In memory of this process, which outlives them.
    fn own() -> std::io::Result<Record> {
        let file = File::from(memfd_create("vfio-conform-record", MFdFlags::MFD_CLOEXEC)?);
        file.set_len(SLOT_BYTES as u64)?;
        let memory = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()).into();
        Ok(Record { _file: Some(file), ..Record::open(memory, 0)? })
    }

    /// In the slot of that number, of memory that is there.
    fn open(memory: PathBuf, number: usize) -> std::io::Result<Record> {
        let slot = Slot::open(&memory, number)?;
        Ok(Record { memory, number, slot, _file: None })
    }
}

#[derive(Debug)]
struct Executor {
    child: Child,
    requests: ChildStdin,
    replies: Receiver<ChildStdout>,
    errors: Errors,
}

/// Passes on what an executor writes to standard error. An executor that cannot be killed must hold no channel of whoever
/// called us: an ssh session, for one, ends only once all of its channels are closed.
#[derive(Debug)]
struct Errors {
    ended: mpsc::Receiver<()>,
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
        Ok(Keeper {
            program,
            spec,
            record: Record::own()?,
            log: KernelLog::open(),
            console,
            executor: None,
            incidents: Vec::new(),
            opened: false,
            wounded: false,
            stopped: false,
        })
    }

    /// The same, whose executors write down what they do where it outlives this machine, in the slot of that number.
    ///
    /// # Errors
    /// Why that memory cannot be had.
    pub fn recording_in(mut self, memory: PathBuf, slot: usize) -> std::io::Result<Keeper> {
        self.record = Record::open(memory, slot)?;
        Ok(self)
    }

    /// The same, beside others on the same kernel: what one of them has told of its log before a check begins is none of
    /// the check's doing.
    pub fn beside(mut self, told: &Arc<Told>) -> Keeper {
        self.log.share(told);
        self
    }

    /// Starts an executor and has it open the device.
    ///
    /// # Errors
    /// Why the device could not be opened.
    pub fn start(&mut self) -> Result<LabReady, String> {
        // One that lost the device may still hold it.
        self.stop();
        let (executor, ready) = self.open()?;
        self.executor = Some(executor);
        Ok(ready)
    }

    /// What went wrong while no check ran, since it was last asked for.
    pub fn take_incidents(&mut self) -> Vec<Incident> {
        std::mem::take(&mut self.incidents)
    }

    /// Opens the device. An executor that is killed from outside is started once more.
    fn open(&mut self) -> Result<(Executor, LabReady), String> {
        if self.opened {
            self.watch(Phase::BetweenChecks, None);
        }
        self.open_once()
            .or_else(|why| match why.is_intruders {
                true => self.open_once(),
                false => Err(why),
            })
            .map_err(|why| why.why)
    }

    fn open_once(&mut self) -> Result<(Executor, LabReady), NotOpen> {
        self.record.slot.clear();
        let taint = self.log.taint_before();
        match self.spawn() {
            Ok(open) => {
                self.opened = true;
                self.watch(Phase::Open, None);
                Ok(open)
            }
            Err(why) => Err(self.not_open(why, taint)),
        }
    }

    /// Why the device is not open, as far as the kernel's log tells.
    fn not_open(&mut self, mut why: NotOpen, taint: u64) -> NotOpen {
        let said = self.log.outside_checks();
        let could_tell = self.log.is_readable() || taint & OOPS == 0;
        if let (Some(Stop::Killed { signal }), Some(process)) = (why.stop, why.process)
            && let Some(intruder) = intruder(signal, process, &said, could_tell)
        {
            why = NotOpen { why: format!("failed to open the device: {intruder}"), is_intruders: true, ..why };
        }
        // A process that hangs on what an earlier one left behind is no new finding.
        let stop = why.stop.filter(|_| !self.wounded && !why.is_intruders);
        self.note(Phase::Open, stop, said);
        why
    }

    /// Writes down what the kernel logged while no check ran, if that, or what stopped, is an incident.
    fn watch(&mut self, phase: Phase, stop: Option<Stop>) {
        let said = self.log.outside_checks();
        self.note(phase, stop, said);
    }

    fn note(&mut self, phase: Phase, stop: Option<Stop>, said: Said) {
        self.copy(&phase.to_string(), &said);
        // An executor that ends by itself is the driver's doing only if the kernel says so.
        let stop = stop.filter(|stop| !matches!(stop, Stop::Ended { .. }) || said.report.is_some());
        let operations = if stop.is_some() { self.record.slot.operations() } else { Vec::new() };
        let Some(incident) = Incident::of(phase, stop, said, operations) else {
            return;
        };
        self.wounded |= stop.is_some();
        self.incidents.push(incident);
    }

    fn spawn(&self) -> Result<(Executor, LabReady), NotOpen> {
        let mut words: Vec<OsString> = vec![SUBCOMMAND.into(), "--device".into(), self.spec.device.clone().into()];
        words.extend(["--record".into(), self.record_path().into()]);
        words.extend(["--slot".into(), self.record.number.to_string().into()]);
        if let Some(via) = self.spec.via {
            words.extend(["--via".into(), via.to_string().into()]);
        }
        if let Some(profile) = &self.spec.profile {
            words.extend(["--profile".into(), profile.clone().into()]);
        }
        if self.spec.force_profile {
            words.push("--force-profile".into());
        }
        if self.spec.may_hang {
            words.push("--may-hang".into());
        }
        if let Some(wear) = self.spec.wear {
            words.extend(["--wear".into(), wear.to_string().into()]);
        }
        let mut command = Command::new(&self.program);
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C at a terminal is for us, who then end it in order.
        command.process_group(0);
        let failed = |error: std::io::Error| format!("failed to start the executor: {error}");
        let mut child = command.spawn().map_err(failed)?;
        let (Some(requests), Some(replies), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err("failed to start the executor: it has no pipes".to_owned().into());
        };
        let replies = Receiver::new(replies);
        let errors = Errors::pass_on(errors, std::io::stderr()).map_err(failed)?;
        let mut executor = Executor { child, requests, replies, errors };
        let answer = executor.replies.receive_by(&mut executor.watch(), self.spec.open_deadline);
        if let Ok(Reply::Ready(ready)) = answer {
            return Ok((executor, *ready));
        }
        let process = Some(executor.child.id());
        let end = executor.kill();
        let late = Stop::Late { seconds: self.spec.open_deadline.as_secs_f64(), stuck: matches!(end, End::Stuck) };
        let not_open = |why: String, stop| NotOpen { process, stop, ..why.into() };
        Err(match (answer, end) {
            (Ok(Reply::NotReady(why)), _) => why.into(),
            (Ok(other), _) => format!("the executor said {other:?} instead of being ready").into(),
            // It says nothing of the device.
            (Err(error @ WireError::AskedToStop), _) => format!("failed to open the device: {error}").into(),
            (Err(WireError::TimedOut(bound)), _) => {
                not_open(format!("failed to open the device: it did not open within {bound:?}"), Some(late))
            }
            (Err(error), End::Gone(status)) => {
                let why = format!("failed to open the device: {error}; the executor {}", tell_status(status));
                not_open(why, stop_of(status))
            }
            (Err(error), End::Stuck) => {
                not_open(format!("failed to open the device: {error}; the executor is stuck in the kernel"), Some(late))
            }
        })
    }

    /// The memory in which executors write down what they do.
    pub fn record_path(&self) -> PathBuf {
        self.record.memory.clone()
    }

    /// Has an executor again where the last one is gone. It goes away with the thread that starts it, so whoever runs
    /// checks in a thread for each asks for this before.
    ///
    /// # Errors
    /// Why the device could not be opened.
    pub fn ensure_executor(&mut self) -> Result<(), String> {
        if self.executor.is_none() {
            self.executor = Some(self.open()?.0);
        }
        Ok(())
    }

    fn take_executor(&mut self) -> Result<Executor, String> {
        self.ensure_executor()?;
        self.executor.take().ok_or_else(|| "there is no executor".to_owned())
    }

    /// Runs one check, whatever becomes of the executor. One whose executor is killed from outside is run once more, in
    /// what is left of its time: whoever waits for it knows of one deadline.
    pub fn run(&mut self, check: &str) -> Done {
        let began = Instant::now();
        let deadline = suites::deadline(check, self.spec.deadline);
        let (done, intruder) = self.run_within(check, deadline);
        let Some(intruder) = intruder else {
            return done;
        };
        let left = deadline.saturating_sub(began.elapsed());
        if left < deadline / 2 {
            return done;
        }
        let (mut again, _) = self.run_within(check, left);
        again.outcome.evidence.notes.push(format!("this is the second try: in the first one {intruder}"));
        if again.outcome.verdict == Verdict::Hang && again.lost.is_none() {
            return done;
        }
        again
    }

    /// Runs one check once, and says who killed the executor, if that was neither this program nor the driver.
    fn run_within(&mut self, check: &str, deadline: Duration) -> (Done, Option<String>) {
        let began = Instant::now();
        let mut executor = match self.take_executor() {
            Ok(executor) => executor,
            Err(why) => {
                let why = format!("the device could not be opened again: {why}");
                return (Done::lost(Verdict::Blocked, why), None);
            }
        };
        // What an earlier check did is nobody's evidence if the executor dies before this one begins.
        self.record.slot.clear();
        self.stopped = false;
        let before = self.log.begin_check();
        self.note(Phase::BetweenChecks, None, before);
        let (taint, process) = (self.log.taint_before(), executor.child.id());
        let request = Request::Run(check.to_owned());
        let mut watch = executor.watch();
        let answer = send(&mut executor.requests, &request)
            .map_err(WireError::from)
            .and_then(|()| executor.answer(&mut watch, deadline));
        let (mut is_last, mut died) = (false, None);
        let mut done = match answer {
            Ok(Reply::Done(done)) => {
                self.executor = Some(executor);
                *done
            }
            Ok(Reply::Last(done)) => {
                self.executor = Some(executor);
                is_last = true;
                *done
            }
            Ok(other) => {
                executor.kill();
                let why = format!("the executor said {other:?} instead of a result");
                Done { outcome: Outcome::without_judgement(Verdict::Blocked, why), lost: None }
            }
            Err(error) => {
                let (done, signal) = self.post_mortem(executor, &error, deadline);
                died = signal;
                done
            }
        };
        done.outcome.evidence.stood_still = watch.stood_still().as_secs_f64();
        let said = self.log.end_check();
        let could_tell = self.log.is_readable() || taint & OOPS == 0;
        let intruder = died.and_then(|signal| intruder(signal, process, &said, could_tell));
        if let Some(intruder) = &intruder {
            done.outcome.verdict = Verdict::Blocked;
            done.outcome.message = intruder.clone();
        }
        self.copy(check, &said);
        accuse(&mut done, said);
        self.wounded |= done.outcome.verdict == Verdict::Crash && done.lost.is_some();
        if done.outcome.seconds == 0.0 {
            done.outcome.seconds = began.elapsed().as_secs_f64();
        }
        if is_last {
            self.stop();
        }
        (done, intruder)
    }

    /// The kernel's own log stays readable; this copy of what belongs to the run is a convenience.
    fn copy(&mut self, what: &str, said: &Said) {
        if let Some(console) = self.console.as_mut().filter(|_| !said.lines.is_empty()) {
            let _ = writeln!(console, "{MARK}{what}\n{}", said.lines.join("\n"));
            // What the kernel says last before a machine goes down matters most.
            let _ = console.sync_data();
        }
    }

    /// No result came: the executor is late, or dead. Returns the signal that killed it, if it died by itself.
    fn post_mortem(&mut self, mut executor: Executor, error: &WireError, deadline: Duration) -> (Done, Option<i32>) {
        let process = executor.child.id();
        let end = executor.kill();
        self.stopped = matches!(error, WireError::AskedToStop);
        let operations = self.record.slot.operations();
        let signal = match (error, &end) {
            (WireError::Closed | WireError::Io(_), End::Gone(status)) => status.signal(),
            _ => None,
        };
        self.wounded |= matches!(end, End::Stuck);
        let (verdict, message, lost) = match (error, end) {
            (WireError::AskedToStop, _) => {
                (Verdict::Blocked, "was ended since the run was asked to stop".to_owned(), None)
            }
            (_, End::Stuck) => {
                let what = tell_late(&operations, deadline);
                let why = format!("{what}, and the process cannot be killed: it is stuck in the kernel");
                let lost = "a call is stuck in the kernel, so the device is lost until a reboot";
                (Verdict::Hang, why, Some(lost.to_owned()))
            }
            (WireError::TimedOut(_), End::Gone(_)) => {
                let what = tell_late(&operations, deadline);
                (Verdict::Hang, format!("{what}; the process could be killed"), None)
            }
            (WireError::Stopped, End::Gone(_)) => {
                let why = "a signal stopped the executor, and nothing continued it";
                (Verdict::Blocked, why.to_owned(), None)
            }
            (WireError::Garbage(_), End::Gone(_)) => {
                (Verdict::Blocked, format!("the executor did not say what came of the check: {error}"), None)
            }
            (WireError::Closed | WireError::Io(_), End::Gone(status)) => {
                let when = match going_on(&operations) {
                    Some(what) => format!("during {what}"),
                    None => "while no operation was going on".to_owned(),
                };
                (Verdict::Crash, format!("the executor {} {when}", tell_status(status)), None)
            }
        };
        if lost.is_none() {
            trace::clean_up(process);
        }
        let mut outcome = Outcome::without_judgement(verdict, message);
        outcome.evidence.operations = operations;
        (Done { outcome, lost }, signal)
    }

    /// Whether the last check was ended since this process was asked to stop, and has no result.
    pub fn was_stopped(&self) -> bool {
        self.stopped
    }

    /// Ends the executor, so that the device is closed.
    pub fn stop(&mut self) {
        let Some(mut executor) = self.executor.take() else {
            return;
        };
        self.watch(Phase::BetweenChecks, None);
        self.record.slot.clear();
        // One that does not listen is killed below.
        let _ = send(&mut executor.requests, &Request::End);
        let end = match executor.wait(GRACE) {
            Some(status) => End::Gone(status),
            None => executor.kill(),
        };
        let stop = match end {
            End::Gone(status) if died_in_the_kernel(status) => stop_of(status),
            End::Gone(_) => None,
            // Closing a device may take its time, and a killed process does it too.
            End::Stuck => match executor.wait(self.spec.open_deadline) {
                Some(_) => None,
                None => Some(Stop::Late { seconds: self.spec.open_deadline.as_secs_f64(), stuck: true }),
            },
        };
        self.watch(Phase::Close, stop.filter(|_| !self.wounded));
    }
}

/// Why the device is not open.
struct NotOpen {
    why: String,
    /// The executor, where it did more than refuse.
    process: Option<u32>,
    /// What stopped, where it was more than a refusal.
    stop: Option<Stop>,
    /// Whether somebody else killed the executor.
    is_intruders: bool,
}

impl From<String> for NotOpen {
    fn from(why: String) -> NotOpen {
        NotOpen { why, process: None, stop: None, is_intruders: false }
    }
}

/// What an executor's end means that nobody asked for.
fn stop_of(status: ExitStatus) -> Option<Stop> {
    match (status.signal(), status.code()) {
        (Some(signal), _) => Some(Stop::Killed { signal }),
        (None, code) => code.map(|code| Stop::Ended { code }),
    }
}

/// Whether an executor that was asked to end died by a signal that neither this program nor a person sends.
fn died_in_the_kernel(status: ExitStatus) -> bool {
    status.signal().is_some_and(|signal| !OUTSIDE.contains(&signal))
}

/// The signals that people, service managers and the memory killer send. The kernel also uses SIGKILL after an oops.
const OUTSIDE: [i32; 5] = [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGKILL, libc::SIGTERM];

/// Who killed an executor, where the kernel's log shows that it was not the driver. `could_tell` is whether an oops would
/// have been seen.
fn intruder(signal: i32, process: u32, said: &Said, could_tell: bool) -> Option<String> {
    if !OUTSIDE.contains(&signal) || said.report.is_some() || said.new_taint & OOPS != 0 {
        return None;
    }
    if let Some(line) = killed_for_memory(&said.lines, process) {
        return Some(format!("the kernel killed the executor because memory ran out: {line}"));
    }
    (could_tell || signal != libc::SIGKILL).then(|| {
        format!("signal {signal} from another process killed the executor; the kernel reports no error of its own")
    })
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Executor {
    /// Measures the time in which it could run, and we too.
    fn watch(&self) -> Stopwatch {
        Stopwatch::start([self.child.id()])
    }

    /// What becomes of a check that may take so long, and each calibration before it too.
    fn answer(&mut self, watch: &mut Stopwatch, deadline: Duration) -> Result<Reply, WireError> {
        loop {
            match self.replies.receive_by(watch, deadline) {
                Ok(Reply::Calibrating) => {}
                answer => return answer,
            }
        }
    }

    fn kill(&mut self) -> End {
        // It may be gone already, which is as good.
        let _ = self.child.kill();
        match self.wait(GRACE) {
            Some(status) => End::Gone(status),
            None => End::Stuck,
        }
    }

    fn wait(&mut self, bound: Duration) -> Option<ExitStatus> {
        let status = wait_for_end(&mut self.child, bound)?;
        self.errors.wait();
        Some(status)
    }
}

/// How a child ended, if it does within the bound.
pub fn wait_for_end(child: &mut Child, bound: Duration) -> Option<ExitStatus> {
    const PERIOD: Duration = Duration::from_millis(2);
    let mut watch = Stopwatch::start([]);
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if watch.ran() < bound => std::thread::sleep(PERIOD),
            Ok(None) | Err(_) => return None,
        }
        watch.look(PERIOD);
    }
}

impl Errors {
    /// Passes on what comes until its writer is gone, whether or not anyone can read it.
    fn pass_on(mut from: impl Read + Send + 'static, mut to: impl Write + Send + 'static) -> std::io::Result<Errors> {
        let (end, ended) = mpsc::channel();
        std::thread::Builder::new().spawn(move || {
            let mut text = [0u8; 4096];
            while let Ok(count @ 1..) = from.read(&mut text) {
                let _ = to.write_all(&text[..count]);
            }
            drop::<mpsc::Sender<()>>(end);
        })?;
        Ok(Errors { ended })
    }

    /// Waits until all was passed on that a process has written which is gone.
    fn wait(&self) {
        let _ = self.ended.recv_timeout(LAST_WORDS);
    }
}

/// The operation that never came back.
pub fn going_on(operations: &[Operation]) -> Option<&str> {
    operations.last().filter(|operation| operation.result.is_none()).map(|operation| operation.what.as_str())
}

fn tell_late(operations: &[Operation], deadline: Duration) -> String {
    match going_on(operations) {
        Some(what) => format!("{what} never came back within {deadline:?}"),
        None => format!("the check did not end within {deadline:?}, though no operation was going on"),
    }
}

fn tell_status(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("was killed by signal {signal}"),
        (None, Some(code)) => format!("ended with code {code}"),
        (None, None) => "ended".to_owned(),
    }
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
        if matches!(outcome.verdict, Verdict::Pass | Verdict::Warn | Verdict::Skip | Verdict::Blocked) {
            let without = outcome.reason();
            outcome.message = format!("the kernel reports: {actual}");
            (outcome.blocked_by, outcome.hindered_by) = (None, None);
            if !without.is_empty() {
                outcome.evidence.notes.push(format!("{} without the kernel's report: {without}", outcome.verdict));
            }
            outcome.verdict = Verdict::Fail;
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

#[cfg(test)]
mod tests {
    use super::*;

    fn done(verdict: Verdict, message: &str) -> Done {
        let mut outcome = Outcome::without_judgement(verdict, message);
        outcome.proven.push(health::LOG.id.to_owned());
        Done { outcome, lost: None }
    }

    fn oops() -> Said {
        let line = "[    1.0] BUG: kernel NULL pointer dereference, address: 0".to_owned();
        Said { lines: vec![line.clone()], report: Some(line), new_taint: 1 << 7 }
    }

    fn broken(done: &Done) -> Vec<&str> {
        done.outcome.broken.iter().map(|broken| broken.requirement.as_str()).collect()
    }

    #[test]
    fn what_the_kernel_says_makes_every_quiet_verdict_a_finding() {
        for verdict in [Verdict::Pass, Verdict::Warn, Verdict::Skip, Verdict::Blocked] {
            let mut done = done(verdict, "why it was so");
            accuse(&mut done, oops());
            assert_eq!(done.outcome.verdict, Verdict::Fail, "{verdict}");
            assert_eq!(broken(&done), [health::LOG.id, health::TAINT.id]);
            assert!(done.outcome.proven.is_empty());
            assert_eq!(done.outcome.evidence.notes, [format!("{verdict} without the kernel's report: why it was so")]);
            assert_eq!(done.lost, None);
        }
    }

    #[test]
    fn an_oops_that_killed_the_executor_ends_all_trust() {
        let mut done = done(Verdict::Crash, "the executor was killed by signal 9");
        accuse(&mut done, oops());
        assert_eq!(done.outcome.verdict, Verdict::Crash);
        assert!(done.outcome.message.contains("NULL pointer"), "{}", done.outcome.message);
        assert!(done.lost.is_some());
    }

    #[test]
    fn signal_without_oops_is_from_outside() {
        let quiet = Said::default();
        for signal in OUTSIDE {
            assert!(intruder(signal, 7, &quiet, true).is_some(), "{signal}");
            assert_eq!(intruder(signal, 7, &oops(), true), None, "{signal}");
        }
        for signal in [libc::SIGSEGV, libc::SIGABRT, libc::SIGBUS] {
            assert_eq!(intruder(signal, 7, &quiet, true), None, "{signal}");
        }
        // An oops that could not be seen also ends in SIGKILL.
        assert_eq!(intruder(libc::SIGKILL, 7, &quiet, false), None);
        assert!(intruder(libc::SIGTERM, 7, &quiet, false).is_some());
    }

    #[test]
    fn memory_killer_is_named() {
        let line = "[   12.3] Out of memory: Killed process 412 (init) total-vm:12kB".to_owned();
        let said = Said { lines: vec![line.clone()], ..Said::default() };
        let why = intruder(libc::SIGKILL, 412, &said, false).unwrap_or_default();
        assert!(why.contains("memory ran out") && why.ends_with(&line), "{why}");
        let other = intruder(libc::SIGKILL, 413, &said, true).unwrap_or_default();
        assert!(other.contains("another process"), "{other}");
    }

    #[test]
    fn last_words_are_passed_on_before_the_wait_is_over() -> std::io::Result<()> {
        let (from, mut executor) = std::io::pipe()?;
        let (mut reader, to) = std::io::pipe()?;
        let errors = Errors::pass_on(from, to)?;
        executor.write_all(b"thread panicked\n")?;
        drop(executor);
        errors.wait();
        let mut text = String::new();
        reader.read_to_string(&mut text)?;
        assert_eq!(text, "thread panicked\n");
        Ok(())
    }

    #[test]
    fn chatter_is_evidence_of_findings_only() {
        let said = || Said { lines: vec!["[    1.0] mtty: hello".to_owned()], ..Said::default() };
        let (mut passed, mut failed) = (done(Verdict::Pass, ""), done(Verdict::Fail, "a must is broken"));
        accuse(&mut passed, said());
        accuse(&mut failed, said());
        assert_eq!(passed, done(Verdict::Pass, ""));
        assert_eq!(failed.outcome.evidence.kernel_log, said().lines);
        assert_eq!(failed.outcome.verdict, Verdict::Fail);
    }
}
