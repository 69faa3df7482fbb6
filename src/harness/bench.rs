//! The bench: the device under test with everything that a check needs around it.
//!
//! A check says three things to it: bring the device there (`bring_to`, which accuses nobody when it fails), do one
//! thing (`request`, `reset`, `read`), and judge (`expect_...`, each of which names the requirement that it proves).
//! The bench writes down all that is done, and puts the device back when the check is over.

use std::fmt;
use std::os::fd::AsFd;
use std::time::Instant;

use nix::sys::eventfd::EventFd;

use crate::device::migration::{StateAnswer, Transition};
use crate::device::{Device, Identity};
use crate::fsm::{Route, route};
use crate::requirement::{Level, Requirement};
use crate::stimulus::{Stimulus, StimulusError};
use crate::uapi::Errno;
use crate::uapi::feature::{FeatureCall, Placement};
use crate::uapi::memory::DmaMemory;
use crate::uapi::state::{Capabilities, State, name_of};
use crate::uapi::vfio_device::{DeviceInfo, IrqInfo, RegionInfo};

use super::check::{Check, Interruption, Judgement, Needs, Skip};
use super::outcome::{Broken, Evidence, ObservedPath, Outcome};
use super::record::Recorder;
use super::session::{Direction, EndedSession, Session};
use super::trace::{Step, Tracer};
use super::verdict::{Verdict, verdict_of};

/// More bytes than any stream of a sane device; reading stops there, so that a stream without an end is a finding
/// and not a full memory.
const STREAM_LIMIT_BYTES: usize = 1 << 30;
const CHUNK_BYTES: usize = 64 << 10;

/// The device under test, and all that happened to it since the check began.
pub struct Bench {
    device: Box<dyn Device>,
    migration: Migration,
    state_at_open: Result<u32, Errno>,
    host: Host,
    tracer: Result<Tracer, String>,
    recorder: Recorder,
    proven: Vec<&'static Requirement>,
    broken: Vec<Broken>,
    paths: Vec<ObservedPath>,
    notes: Vec<String>,
    saved: Option<Vec<u8>>,
}

/// What the device says of its own migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Migration {
    /// It has this set.
    Has(Capabilities),
    /// It has none.
    Absent,
    /// It answers flags that the uAPI does not define, or an errno that it should not.
    Nonsense(Result<u64, Errno>),
}

/// The kernel's version, as far as rules depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl KernelVersion {
    /// Newer than all.
    pub const NEWEST: KernelVersion = KernelVersion { major: u32::MAX, minor: 0 };

    /// Reads `7.3.4+deb13-amd64`.
    pub fn parse(release: &str) -> Option<KernelVersion> {
        let mut numbers = release.split(['.', '-', '+']).map(str::parse::<u32>);
        let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
            return None;
        };
        Some(KernelVersion { major, minor })
    }
}

/// The kernel that the device lives in, and what it may suffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// Its version.
    pub kernel: KernelVersion,
    /// Whether a call may be made that is known to wedge this kernel until a reboot.
    pub may_hang: bool,
}

impl Host {
    /// What is not in a kernel (the model) is held to the newest text, and can wedge nothing.
    pub const NEWEST: Host = Host { kernel: KernelVersion::NEWEST, may_hang: true };
}

/// A request for a state, and what came of it.
pub struct Requested {
    /// What was asked.
    pub asked: String,
    /// What the protocol says about it.
    pub route: Route,
    /// What the device answered.
    pub answer: Result<Transition, Errno>,
}

impl Requested {
    /// Takes the session that the request began.
    pub fn session(self) -> Option<Session> {
        let transition = self.answer.ok()?;
        let direction = match State::from_number(transition.device_state) {
            Some(State::Resuming) => Direction::Resuming,
            _ => Direction::Saving,
        };
        Some(Session::new(transition.stream?, direction))
    }
}

/// Where a read to the end of a stream stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEnd {
    /// read returned 0: the permanent end.
    Permanent,
    /// read answered ENOMSG: the temporary end.
    Temporary,
    /// read failed.
    Failed(Errno),
    /// There was no end within the limit.
    None,
}

/// What came out of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drained {
    /// All bytes.
    pub bytes: Vec<u8>,
    /// How it ended.
    pub end: StreamEnd,
}

/// What a bench leaves behind after one check.
pub struct Ran {
    /// The check's outcome.
    pub outcome: Outcome,
    /// Why the device cannot be used any more, if it cannot.
    pub lost: Option<String>,
}

impl Bench {
    /// Takes an open device.
    pub fn new(device: Box<dyn Device>, host: Host, tracer: Result<Tracer, String>, recorder: Recorder) -> Bench {
        let migration = match device.migration_flags() {
            Err(Errno::ENOTTY) => Migration::Absent,
            answer => match answer.ok().and_then(Capabilities::from_flags) {
                Some(set) => Migration::Has(set),
                None => Migration::Nonsense(answer),
            },
        };
        let state_at_open = device.state().map(|answer| answer.device_state);
        Bench {
            device,
            migration,
            state_at_open,
            host,
            tracer,
            recorder,
            proven: Vec::new(),
            broken: Vec::new(),
            paths: Vec::new(),
            notes: Vec::new(),
            saved: None,
        }
    }

    /// What the device is.
    pub fn identity(&self) -> &Identity {
        self.device.identity()
    }

    /// What the device says of its migration.
    pub fn migration(&self) -> Migration {
        self.migration
    }

    /// Whether the kernel's own path can be seen, and if not, why.
    pub fn tracing(&self) -> Result<(), String> {
        self.tracer.as_ref().map(|_| ()).map_err(Clone::clone)
    }

    /// The kernel that the device lives in.
    pub fn kernel(&self) -> KernelVersion {
        self.host.kernel
    }

    /// Runs one check from RUNNING, and puts the device back to RUNNING.
    pub fn run(&mut self, check: &Check) -> Ran {
        let began = Instant::now();
        self.begin();
        let judgement = self.applies(check).and_then(|()| check.body(self));
        let mut outcome = self.outcome(judgement);
        outcome.evidence.operations = self.recorder.take();
        let nothing_went_wrong = matches!(outcome.verdict, Verdict::Pass | Verdict::Skip);
        let lost = self.put_back(nothing_went_wrong);
        if lost.is_some() {
            outcome.evidence.operations.extend(self.recorder.take());
        }
        outcome.seconds = began.elapsed().as_secs_f64();
        Ran { outcome, lost }
    }

    fn begin(&mut self) {
        self.recorder.clear();
        self.proven.clear();
        self.broken.clear();
        self.paths.clear();
        self.notes.clear();
    }

    fn applies(&self, check: &Check) -> Judgement {
        if let Some(fixed) = check.hangs_before().filter(|fixed| self.host.kernel < *fixed && !self.host.may_hang) {
            return lacking(&format!(
                "needs --may-hang: on kernels before {fixed} (stable ones may have the fix) it can leave a process \
                 spinning in the kernel until a reboot"
            ));
        }
        match (check.needs(), self.migration) {
            (Needs::Migration, Migration::Absent) => lacking("the device has no migration"),
            (Needs::NoMigration, Migration::Has(_) | Migration::Nonsense(_)) => lacking("the device has migration"),
            (Needs::Migration, Migration::Nonsense(answer)) => Err(Interruption::Blocked(format!(
                "the capability set is not known: GET MIGRATION answers {}",
                match answer {
                    Ok(flags) => format!("flags {flags:#x}"),
                    Err(errno) => errno_name(errno),
                }
            ))),
            _ => Ok(()),
        }
    }

    fn outcome(&mut self, judgement: Judgement) -> Outcome {
        let (verdict, message) = match judgement {
            Ok(()) | Err(Interruption::Broken) => self.judged(),
            Err(Interruption::Skip(skip)) if self.broken.is_empty() => (Verdict::Skip, skip.to_string()),
            Err(Interruption::Blocked(why)) if self.broken.is_empty() => (Verdict::Blocked, why),
            Err(Interruption::Skip(_) | Interruption::Blocked(_)) => self.judged(),
        };
        Outcome {
            verdict,
            message,
            seconds: 0.0,
            proven: self.proven.iter().map(|r| r.id.to_owned()).collect(),
            broken: std::mem::take(&mut self.broken),
            evidence: Evidence {
                operations: Vec::new(),
                paths: std::mem::take(&mut self.paths),
                kernel_log: Vec::new(),
                notes: std::mem::take(&mut self.notes),
            },
        }
    }

    /// The verdict of what was judged: the worst level that is broken.
    fn judged(&self) -> (Verdict, String) {
        let worst = self.broken.iter().min_by_key(|broken| match broken.level {
            Level::Must => 0,
            Level::Should => 1,
            Level::Advice => 2,
        });
        match worst {
            Some(broken) => (
                verdict_of(broken.level),
                format!("{}: expected {}, got {}", broken.asked, broken.expected, broken.actual),
            ),
            None if self.proven.is_empty() => {
                (Verdict::Blocked, "the check judged nothing, which is a defect of the check; please report it".into())
            }
            None => (Verdict::Pass, String::new()),
        }
    }

    /// Back to RUNNING after a check: the gentle way if nothing went wrong, else by reset, or by opening again where
    /// reset does not help.
    fn put_back(&mut self, nothing_went_wrong: bool) -> Option<String> {
        self.drain_trace();
        if self.migration == Migration::Absent {
            return None;
        }
        let reset = self.return_to_running(nothing_went_wrong).err()?;
        let reopened = self.reopen();
        if self.is_running() {
            return None;
        }
        Some(format!(
            "the device could not be put back to RUNNING: reset answered {}, opening it again {}",
            tell_return(&reset),
            match reopened {
                Ok(()) => "helped nothing".to_owned(),
                Err(why) => format!("failed ({why})"),
            }
        ))
    }

    /// To RUNNING by a transition where that may be tried and leads there, else by reset. A function level reset takes a
    /// tenth of a second by the rules of PCI, a transition next to nothing, and a suite that resets after every check
    /// spends most of its time on it. Fails with what reset answered.
    fn return_to_running(&mut self, by_transition: bool) -> Result<(), Result<i32, Errno>> {
        let here = self.get_state().ok().and_then(|answer| State::from_number(answer.device_state));
        if here == Some(State::Running) || (by_transition && self.walk_back(here)) {
            return Ok(());
        }
        let reset = self.reset();
        match self.is_running() {
            true => Ok(()),
            false => Err(reset),
        }
    }

    /// Asks for RUNNING, where it is a way out: not from ERROR, nor from a RESUMING that was not given a whole stream.
    fn walk_back(&mut self, here: Option<State>) -> bool {
        let Some(here) = here.filter(|state| !matches!(state, State::Error | State::Resuming)) else {
            return false;
        };
        self.request(here, State::Running.number()).answer.is_ok() && self.is_running()
    }

    fn is_running(&mut self) -> bool {
        matches!(self.get_state(), Ok(answer) if answer.device_state == State::Running.number())
    }

    fn drain_trace(&mut self) -> Vec<Step> {
        self.tracer.as_mut().map(Tracer::take).unwrap_or_default()
    }
}

/// Doing things to the device. Each is written down.
impl Bench {
    /// The device's capability set. A check with [`Needs::Migration`] only runs when there is one.
    pub fn capabilities(&self) -> Capabilities {
        match self.migration {
            Migration::Has(set) => set,
            Migration::Absent | Migration::Nonsense(_) => Capabilities { p2p: false, pre_copy: false },
        }
    }

    /// The state that the device was in when it was first opened.
    pub fn state_at_open(&self) -> Result<u32, Errno> {
        self.state_at_open
    }

    /// Asks for a state by number, from a state that the check knows the device to be in.
    pub fn request(&mut self, from: State, to: u32) -> Requested {
        let route = route(self.capabilities(), from, to);
        self.drain_trace();
        let device = self.device.as_ref();
        let answer = self.recorder.operation(format!("SET {}", name_of(to)), || device.set_state(to), tell_transition);
        Requested { asked: format!("SET {} in {from}", name_of(to)), route, answer }
    }

    /// The kernel's steps of the request just made: the states that it stood in. `None`, with a note, where it cannot
    /// be seen.
    pub fn observed_path(&mut self, to: State) -> Option<Vec<State>> {
        if let Err(why) = &self.tracer {
            let note = format!("the kernel's own path was not observed: {why}");
            self.notes.push(note);
            return None;
        }
        let steps = self.drain_trace();
        let mut through: Vec<State> =
            steps.into_iter().filter(|step| step.target == to).map(|step| step.current).collect();
        through.dedup();
        self.paths.push(ObservedPath { to, through: through.clone() });
        Some(through)
    }

    /// Asks for the state.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn get_state(&mut self) -> Result<StateAnswer, Errno> {
        let device = self.device.as_ref();
        self.recorder.operation(
            "GET state".into(),
            || device.state(),
            |answer| match answer {
                Ok(answer) => format!("{}, data_fd {}", name_of(answer.device_state), answer.data_fd),
                Err(errno) => errno_name(*errno),
            },
        )
    }

    /// Makes any feature call.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn feature(&mut self, call: &mut FeatureCall) -> Result<i32, Errno> {
        let mut what = call.describe();
        if call.placement != Placement::Ordinary {
            what += &format!(" in {}", placement_name(call.placement));
        }
        let device = self.device.as_ref();
        self.recorder.operation(what, || device.feature(call), tell_return)
    }

    /// Resets the device.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn reset(&mut self) -> Result<i32, Errno> {
        let device = self.device.as_ref();
        self.recorder.operation("RESET".into(), || device.reset(), tell_return)
    }

    /// What the device is made of.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn info(&mut self) -> Result<DeviceInfo, Errno> {
        let device = self.device.as_ref();
        self.recorder.operation(
            "GET_INFO".into(),
            || device.info(),
            |info| match info {
                Ok(info) => format!("flags {:#x}, {} regions, {} irqs", info.flags, info.regions, info.irqs),
                Err(errno) => errno_name(*errno),
            },
        )
    }

    /// What a region index is.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn region_info(&mut self, index: u32) -> Result<RegionInfo, Errno> {
        let device = self.device.as_ref();
        self.recorder.operation(
            format!("GET_REGION_INFO {index}"),
            || device.region_info(index),
            |info| match info {
                Ok(info) => format!("flags {:#x}, {} bytes", info.flags, info.size),
                Err(errno) => errno_name(*errno),
            },
        )
    }

    /// What an interrupt index is.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn irq_info(&mut self, index: u32) -> Result<IrqInfo, Errno> {
        let device = self.device.as_ref();
        self.recorder.operation(
            format!("GET_IRQ_INFO {index}"),
            || device.irq_info(index),
            |info| match info {
                Ok(info) => format!("flags {:#x}, {} irqs", info.flags, info.count),
                Err(errno) => errno_name(*errno),
            },
        )
    }

    /// Reads from the beginning of a region.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn region_read(&mut self, index: u32, buffer: &mut [u8]) -> Result<usize, Errno> {
        let device = self.device.as_ref();
        let what = format!("read {} from region {index}", buffer.len());
        self.recorder.operation(what, || device.region_read(index, 0, buffer), tell_size)
    }

    /// Has the first interrupt of an index signal an event, then turns the index off again. Returns the first errno.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn try_irq(&mut self, index: u32) -> Result<i32, Errno> {
        let device = self.device.as_ref();
        self.recorder.operation(
            format!("SET_IRQS {index} to an event, then to none"),
            || {
                let event = EventFd::new()?;
                device.set_irqs(index, &[event.as_fd()])?;
                device.set_irqs(index, &[])
            },
            tell_return,
        )
    }

    /// Lets the device reach memory through an I/O address.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn map(&mut self, iova: u64, memory: &DmaMemory) -> Result<i32, Errno> {
        let device = self.device.as_ref();
        let what = format!("map {} bytes at {iova:#x}", memory.bytes());
        self.recorder.operation(what, || device.map(iova, memory), tell_return)
    }

    /// Takes a mapping away.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn unmap(&mut self, iova: u64, bytes: usize) -> Result<u64, Errno> {
        let device = self.device.as_ref();
        let what = format!("unmap {bytes} bytes at {iova:#x}");
        self.recorder.operation(
            what,
            || device.unmap(iova, bytes as u64),
            |unmapped| match unmapped {
                Ok(bytes) => format!("{bytes} bytes"),
                Err(errno) => errno_name(*errno),
            },
        )
    }

    /// Closes the device and opens it again.
    ///
    /// # Errors
    /// Why it could not be opened again.
    pub fn reopen(&mut self) -> Result<(), crate::device::OpenError> {
        let device = self.device.as_mut();
        self.recorder.operation(
            "close, open".into(),
            || device.reopen(),
            |result| match result {
                Ok(()) => "ok".to_owned(),
                Err(error) => error.to_string(),
            },
        )
    }

    /// Reads once from a session.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn read(&mut self, session: &Session, buffer: &mut [u8]) -> Result<usize, Errno> {
        let what = format!("read {} from data_fd {}", buffer.len(), session.stream().number());
        self.recorder.operation(what, || session.stream().read(buffer), tell_size)
    }

    /// Reads from a session to its end, permanent or temporary.
    pub fn drain(&mut self, session: &Session) -> Drained {
        let stream = session.stream();
        let what = format!("read data_fd {} to its end", stream.number());
        self.recorder.operation(
            what,
            || {
                let mut bytes = Vec::new();
                let mut chunk = vec![0u8; CHUNK_BYTES];
                loop {
                    let end = match stream.read(&mut chunk) {
                        Ok(0) => StreamEnd::Permanent,
                        Ok(_) if bytes.len() > STREAM_LIMIT_BYTES => StreamEnd::None,
                        Ok(count) => {
                            bytes.extend(&chunk[..count]);
                            continue;
                        }
                        Err(Errno::ENOMSG) => StreamEnd::Temporary,
                        Err(errno) => StreamEnd::Failed(errno),
                    };
                    return Drained { bytes, end };
                }
            },
            |drained| format!("{} bytes, then {}", drained.bytes.len(), drained.end),
        )
    }

    /// Writes all bytes to a session, in as few calls as the device takes.
    ///
    /// # Errors
    /// The errno as it came; EIO if a write moved nothing.
    pub fn write_all(&mut self, session: &Session, bytes: &[u8]) -> Result<usize, Errno> {
        let stream = session.stream();
        let what = format!("write {} to data_fd {}", bytes.len(), stream.number());
        self.recorder.operation(
            what,
            || {
                let mut written = 0;
                while written < bytes.len() {
                    match stream.write(&bytes[written..])? {
                        0 => return Err(Errno::EIO),
                        count => written += count,
                    }
                }
                Ok(written)
            },
            tell_size,
        )
    }

    /// Closes the data_fd of a session.
    pub fn close(&mut self, session: Session) {
        let what = format!("close data_fd {}", session.stream().number());
        self.recorder.operation(what, || drop(session), |()| "ok".to_owned());
    }

    /// Makes the device do something; a device that lacks the stimulus makes the check skip.
    ///
    /// # Errors
    /// The skip.
    pub fn stimulate(&mut self, stimulus: Stimulus) -> Judgement {
        let device = self.device.as_ref();
        self.recorder
            .operation(
                format!("stimulus: {stimulus}"),
                || device.stimulate(stimulus),
                |result| match result {
                    Ok(()) => "ok".to_owned(),
                    Err(error) => error.to_string(),
                },
            )
            .map_err(|error| match error {
                StimulusError::Lacking(_) => Interruption::Skip(Skip::Lacking(error.to_string())),
                StimulusError::Failed { .. } => Interruption::Blocked(error.to_string()),
            })
    }

    /// Leaves a remark in the outcome.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

/// Bringing the device to where a check begins. What fails here is for other checks to judge.
impl Bench {
    /// Brings the device from RUNNING to a state, arc by arc, and returns the session that is open there.
    ///
    /// A state that the device does not advertise makes the check skip, once asking for it was seen to be refused.
    ///
    /// # Errors
    /// The skip, or what stood in the way.
    pub fn bring_to(&mut self, state: State) -> Judgement<Option<Session>> {
        if state == State::Error {
            return self.bring_to_error().map(|()| None);
        }
        if !self.capabilities().has(state) {
            return self.correctly_absent(state).map(|()| None);
        }
        let Route::Path(path) = route(self.capabilities(), State::Running, state.number()) else {
            return Ok(None);
        };
        let mut session = None;
        for arc in path.windows(2) {
            let requested = self.request(arc[0], arc[1].number());
            if let Err(errno) = requested.answer {
                return Err(Interruption::Blocked(format!(
                    "the device could not be brought to {state}: {} answered {}",
                    requested.asked,
                    errno_name(errno)
                )));
            }
            session = requested.session();
        }
        match self.get_state() {
            Ok(answer) if answer.device_state == state.number() => Ok(session),
            answer => Err(Interruption::Blocked(format!(
                "the device could not be brought to {state}: it says that it is in {}",
                tell_state(&answer)
            ))),
        }
    }

    /// Brings the device to a state that has a session.
    ///
    /// # Errors
    /// The skip, or what stood in the way.
    pub fn bring_to_session(&mut self, state: State) -> Judgement<Session> {
        self.bring_to(state)?.ok_or_else(|| Interruption::Blocked(format!("no data_fd came on the way to {state}")))
    }

    fn bring_to_error(&mut self) -> Judgement {
        self.stimulate(Stimulus::EnterError)?;
        let requested = self.request(State::Running, State::Stop.number());
        drop(requested.session());
        match self.get_state() {
            Ok(answer) if answer.device_state == State::Error.number() => Ok(()),
            answer => Err(Interruption::Blocked(format!(
                "the device could not be brought to ERROR: it says that it is in {}",
                tell_state(&answer)
            ))),
        }
    }

    fn correctly_absent(&mut self, state: State) -> Judgement {
        let requested = self.request(State::Running, state.number());
        match requested.answer {
            Err(_) => Err(Interruption::Skip(Skip::CorrectlyAbsent(format!(
                "{state} is not advertised, and asking for it is refused"
            )))),
            Ok(_) => Err(Interruption::Blocked(format!("{state} is not advertised, yet asking for it succeeds"))),
        }
    }

    /// Gives a resuming session a whole stream.
    ///
    /// # Errors
    /// That it does not take it.
    pub fn load(&mut self, session: &Session, stream: &[u8]) -> Judgement {
        let written = self.write_all(session, stream);
        if written == Ok(stream.len()) {
            return Ok(());
        }
        let why = format!("the device could not be loaded: write answered {}", tell_size(&written));
        Err(Interruption::Blocked(why))
    }

    /// Brings the device back to RUNNING between two rounds of a check, by a transition where that leads there, else by
    /// reset.
    ///
    /// # Errors
    /// That neither did.
    pub fn bring_back(&mut self) -> Judgement {
        self.return_to_running(true).map_err(|reset| {
            let answered = tell_return(&reset);
            Interruption::Blocked(format!("the device could not be brought back to RUNNING: reset answered {answered}"))
        })
    }

    /// A stream of this device that RESUMING accepts. It is saved once, and the device is in RUNNING again after it.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn saved_stream(&mut self) -> Judgement<Vec<u8>> {
        if let Some(saved) = &self.saved {
            return Ok(saved.clone());
        }
        let session = self.bring_to_session(State::StopCopy)?;
        let drained = self.drain(&session);
        if drained.end != StreamEnd::Permanent {
            let why = format!("the device could not be saved: the stream ended with {}", drained.end);
            return Err(Interruption::Blocked(why));
        }
        let requested = self.request(State::StopCopy, State::Running.number());
        if let Err(errno) = requested.answer {
            let why = format!("{} answered {}", requested.asked, errno_name(errno));
            return Err(Interruption::Blocked(why));
        }
        self.saved = Some(drained.bytes.clone());
        Ok(drained.bytes)
    }
}

/// Judging. Each names the requirement, so that what passes proves it and what fails accuses it.
impl Bench {
    /// Judges one thing.
    ///
    /// # Errors
    /// That a must is broken. A should or an advice that is broken is written down, and the check goes on.
    pub fn judge(
        &mut self,
        requirement: &'static Requirement,
        kept: bool,
        asked: impl Into<String>,
        expected: impl Into<String>,
        actual: impl Into<String>,
    ) -> Judgement {
        if kept {
            if !self.proven.contains(&requirement) {
                self.proven.push(requirement);
            }
            return Ok(());
        }
        self.proven.retain(|proven| *proven != requirement);
        self.broken.push(Broken {
            requirement: requirement.id.to_owned(),
            level: requirement.level,
            statement: requirement.statement.to_owned(),
            asked: asked.into(),
            expected: expected.into(),
            actual: actual.into(),
        });
        match requirement.level {
            Level::Must => Err(Interruption::Broken),
            Level::Should | Level::Advice => Ok(()),
        }
    }

    /// The device is in this state now.
    ///
    /// # Errors
    /// That it is not.
    pub fn expect_state(&mut self, requirement: &'static Requirement, asked: &str, state: State) -> Judgement {
        let answer = self.get_state();
        let kept = matches!(&answer, Ok(answer) if answer.device_state == state.number());
        let expected = format!("the state {state} afterwards");
        self.judge(requirement, kept, asked, expected, tell_state(&answer))
    }

    /// The request was refused, with whatever errno.
    ///
    /// # Errors
    /// That it succeeded.
    pub fn expect_refused(&mut self, requirement: &'static Requirement, requested: &Requested) -> Judgement {
        let expected = match &requested.route {
            Route::Refused(refusal) => format!("an error, since {refusal}"),
            Route::Stay | Route::Path(_) => "an error".to_owned(),
        };
        let kept = requested.answer.is_err();
        let actual = tell_transition(&requested.answer);
        self.judge(requirement, kept, &requested.asked, expected, actual)
    }

    /// The request succeeded, with 0.
    ///
    /// # Errors
    /// That it did not.
    pub fn expect_success(&mut self, requirement: &'static Requirement, requested: &Requested) -> Judgement {
        let kept = matches!(&requested.answer, Ok(transition) if transition.returned == 0);
        let actual = tell_transition(&requested.answer);
        self.judge(requirement, kept, &requested.asked, "success (0)", actual)
    }

    /// The request, which succeeded, brought a data_fd.
    ///
    /// # Errors
    /// That it did not.
    pub fn expect_fd(&mut self, requirement: &'static Requirement, requested: &Requested) -> Judgement {
        let kept = matches!(&requested.answer, Ok(transition) if transition.data_fd >= 0);
        let actual = tell_transition(&requested.answer);
        self.judge(requirement, kept, &requested.asked, "a new data_fd", actual)
    }

    /// The request, which succeeded, brought no data_fd.
    ///
    /// # Errors
    /// That it did.
    pub fn expect_no_fd(&mut self, requirement: &'static Requirement, requested: &Requested) -> Judgement {
        let kept = matches!(&requested.answer, Ok(transition) if transition.data_fd == -1);
        let actual = tell_transition(&requested.answer);
        self.judge(requirement, kept, &requested.asked, "data_fd -1", actual)
    }

    /// The device, which is in RUNNING, can be brought to this state.
    ///
    /// # Errors
    /// That it cannot.
    pub fn expect_reachable(&mut self, requirement: &'static Requirement, asked: &str, state: State) -> Judgement {
        let (kept, actual) = match self.bring_to(state) {
            Ok(_) => (true, String::new()),
            Err(Interruption::Blocked(why)) => (false, why),
            Err(other) => return Err(other),
        };
        self.judge(requirement, kept, asked, format!("{state} to be reached again"), actual)
    }

    /// A call answered one of these errnos.
    ///
    /// # Errors
    /// That it answered anything else.
    pub fn expect_errno(
        &mut self,
        requirement: &'static Requirement,
        asked: &str,
        answer: Result<i32, Errno>,
        allowed: &[Errno],
    ) -> Judgement {
        let kept = matches!(answer, Err(errno) if allowed.contains(&errno));
        self.judge(requirement, kept, asked, names_of(allowed), tell_return(&answer))
    }

    /// The session still works: a saving one can be read, to its temporary or permanent end if it is there already;
    /// a resuming one takes a whole stream.
    ///
    /// # Errors
    /// That it does not.
    pub fn expect_alive(
        &mut self,
        requirement: &'static Requirement,
        asked: &str,
        session: &Session,
        stream: &[u8],
    ) -> Judgement {
        match session.direction() {
            Direction::Saving => {
                let mut byte = [0u8];
                let answer = self.read(session, &mut byte);
                let kept = matches!(answer, Ok(_) | Err(Errno::ENOMSG | Errno::EAGAIN));
                let expected = "the open session to be readable, or at its end";
                self.judge(requirement, kept, asked, expected, tell_size(&answer))
            }
            Direction::Resuming => {
                let answer = self.write_all(session, stream);
                let kept = answer == Ok(stream.len());
                let expected = "the open session to take a whole stream";
                self.judge(requirement, kept, asked, expected, tell_size(&answer))
            }
        }
    }

    /// The session has data, and an end after it. Which end is right there is for others to judge.
    ///
    /// # Errors
    /// That it has not.
    pub fn expect_streams_to_end(
        &mut self,
        requirement: &'static Requirement,
        asked: &str,
        session: &Session,
    ) -> Judgement {
        let drained = self.drain(session);
        let ended = matches!(drained.end, StreamEnd::Permanent | StreamEnd::Temporary);
        let kept = ended && !drained.bytes.is_empty();
        let asked = format!("{asked}, then read the open session to its end");
        let actual = format!("{} bytes, then {}", drained.bytes.len(), drained.end);
        self.judge(requirement, kept, asked, "data, then the end", actual)
    }

    /// The session is dead: its descriptor fails, moves no data, and says so with the customary errno.
    ///
    /// # Errors
    /// That it is not.
    pub fn expect_dead(
        &mut self,
        dead: &'static Requirement,
        customary: &'static Requirement,
        asked: &str,
        ended: &EndedSession,
    ) -> Judgement {
        let stream = ended.stream();
        let mut buffer = [0u8; 64];
        let answer = match ended.direction() {
            Direction::Saving => self.recorder.operation(
                format!("read 64 from data_fd {} of the ended session", stream.number()),
                || stream.read(&mut buffer),
                tell_size,
            ),
            Direction::Resuming => self.recorder.operation(
                format!("write 1 to data_fd {} of the ended session", stream.number()),
                || stream.write(&buffer[..1]),
                tell_size,
            ),
        };
        let asked = match ended.direction() {
            Direction::Saving => format!("{asked}, then read from the data_fd of the ended session"),
            Direction::Resuming => format!("{asked}, then write to the data_fd of the ended session"),
        };
        self.judge(dead, answer.is_err(), &asked, "an error", tell_size(&answer))?;
        let kept = answer == Err(Errno::ENODEV);
        self.judge(customary, kept, asked, "ENODEV", tell_size(&answer))
    }

    /// The data_fd of this session goes away on exec.
    ///
    /// # Errors
    /// That a must is broken.
    pub fn expect_close_on_exec(
        &mut self,
        requirement: &'static Requirement,
        asked: &str,
        session: &Session,
    ) -> Judgement {
        let answer = session.stream().is_close_on_exec();
        let actual = match answer {
            Ok(true) => "FD_CLOEXEC is set".to_owned(),
            Ok(false) => "FD_CLOEXEC is not set".to_owned(),
            Err(errno) => errno_name(errno),
        };
        self.judge(requirement, answer == Ok(true), asked, "FD_CLOEXEC to be set", actual)
    }

    /// The session refuses the direction that is not its own.
    ///
    /// # Errors
    /// That a must is broken.
    pub fn expect_one_direction(
        &mut self,
        requirement: &'static Requirement,
        asked: &str,
        session: &Session,
    ) -> Judgement {
        let stream = session.stream();
        let mut byte = [0u8];
        let what = match session.direction() {
            Direction::Saving => "write",
            Direction::Resuming => "read",
        };
        let told = self.recorder.operation(
            format!("{what} 1 against the direction of data_fd {}", stream.number()),
            || match session.direction() {
                Direction::Saving => stream.write(&byte),
                Direction::Resuming => stream.read(&mut byte),
            },
            tell_size,
        );
        let asked = format!("{asked}, then {what} on its data_fd");
        self.judge(requirement, told.is_err(), asked, "an error", tell_size(&told))
    }
}

impl fmt::Display for StreamEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamEnd::Permanent => f.write_str("0, the permanent end"),
            StreamEnd::Temporary => f.write_str("ENOMSG, the temporary end"),
            StreamEnd::Failed(errno) => f.write_str(&errno_name(*errno)),
            StreamEnd::None => f.write_str("no end in sight"),
        }
    }
}

fn lacking(what: &str) -> Judgement {
    Err(Interruption::Skip(Skip::Lacking(what.to_owned())))
}

/// An errno as people know it: `EINVAL`.
pub fn errno_name(errno: Errno) -> String {
    format!("{errno:?}")
}

/// Errnos of which each will do: `ENOTTY or EINVAL`.
pub fn names_of(errnos: &[Errno]) -> String {
    let names: Vec<String> = errnos.iter().map(|errno| errno_name(*errno)).collect();
    names.join(" or ")
}

fn placement_name(placement: Placement) -> &'static str {
    match placement {
        Placement::Ordinary => "ordinary memory",
        Placement::ReadOnly => "memory that cannot be written",
        Placement::Unmapped => "memory that is not there",
        Placement::HeaderOnly => "memory that ends behind the header",
    }
}

/// A call's return, in words.
pub fn tell_return(answer: &Result<i32, Errno>) -> String {
    match answer {
        Ok(0) => "success (0)".to_owned(),
        Ok(number) => format!("the positive return {number}"),
        Err(errno) => errno_name(*errno),
    }
}

/// A read's or write's return, in words.
pub fn tell_size(answer: &Result<usize, Errno>) -> String {
    match answer {
        Ok(0) => "0".to_owned(),
        Ok(1) => "1 byte".to_owned(),
        Ok(bytes) => format!("{bytes} bytes"),
        Err(errno) => errno_name(*errno),
    }
}

/// A GET's answer, in words.
pub fn tell_state(answer: &Result<StateAnswer, Errno>) -> String {
    match answer {
        Ok(answer) => format!("the state {}", name_of(answer.device_state)),
        Err(errno) => format!("{} from GET", errno_name(*errno)),
    }
}

/// A SET's answer, in words.
pub fn tell_transition(answer: &Result<Transition, Errno>) -> String {
    match answer {
        Ok(Transition { returned: 0, data_fd: -1, .. }) => "success (0), no data_fd".to_owned(),
        Ok(Transition { returned: 0, data_fd, .. }) => format!("success (0), data_fd {data_fd}"),
        Ok(transition) => format!("the positive return {}", transition.returned),
        Err(errno) => errno_name(*errno),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_are_ordered_by_number() {
        let parse = |text| KernelVersion::parse(text).unwrap();
        assert!(parse("6.12.94+deb13-amd64") < parse("7.0.0-rc1"));
        assert!(parse("7.3.4+deb13-amd64") < KernelVersion::NEWEST);
        assert_eq!(KernelVersion::parse("next"), None);
    }
}
