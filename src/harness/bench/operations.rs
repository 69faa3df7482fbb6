//! Doing things to the device. Each is written down.

use std::fmt;
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::eventfd::EventFd;

use super::tell::{errno_name, placement_name, tell_done, tell_return, tell_size, tell_transition};
use super::{Arrival, Bench, Migration, Requested, SessionHistory};
use crate::device::migration::StateAnswer;
use crate::device::{Footprint, RebindError};
use crate::fsm::route;
use crate::harness::measure::Sample;
use crate::harness::outcome::ObservedPath;
use crate::harness::session::Session;
use crate::harness::stream::{Moved, StreamEnd, drain_into};
use crate::uapi::Errno;
use crate::uapi::feature::{FeatureCall, Placement};
use crate::uapi::memory::DmaMemory;
use crate::uapi::state::{Capabilities, State, name_of};
use crate::uapi::vfio_device::{DeviceInfo, IrqInfo, RegionInfo};

/// More bytes than any stream of a sane device; reading stops there, so that a stream without an end is a finding
/// and not a full memory.
pub(super) const STREAM_LIMIT_BYTES: u64 = 1 << 30;

/// So often somebody who waits for memory looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What came out of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drained {
    /// All bytes.
    pub bytes: Vec<u8>,
    /// How it ended.
    pub end: StreamEnd,
}

impl fmt::Display for Drained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, then {}", self.bytes.len(), self.end)
    }
}

fn tell_footprint(footprint: &Footprint) -> String {
    let Footprint { module_references, kernel_bytes, objects } = footprint;
    let told = |number: &Option<u64>| number.map_or_else(|| "unknown".to_owned(), |number| number.to_string());
    let objects: u64 = objects.values().sum();
    let (references, bytes) = (told(module_references), told(kernel_bytes));
    format!("{references} references to the module, {bytes} bytes, {objects} objects")
}

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
        self.follow_kernel();
        self.asked = State::from_number(to);
        let device = self.device.as_ref();
        let answer = self.recorder.operation(format!("SET {}", name_of(to)), || device.set_state(to), tell_transition);
        if answer.is_ok() {
            self.arrival = Arrival::Transition;
            self.stands_in = State::from_number(to);
            self.session = self.session.after(from, State::from_number(to));
        }
        if let (Ok(transition), Some(state)) = (&answer, State::from_number(to))
            && transition.returned == 0
            && route.is_direct()
        {
            self.measure(|micros| Sample::Arc { from, to: state, micros });
        }
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
        let through = self.follow_kernel();
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
        let answer = self.recorder.operation("RESET".into(), || device.reset(), tell_return);
        self.arrival = Arrival::Reset;
        self.session = SessionHistory::None;
        answer
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
        let answer = self.recorder.operation("close, open".into(), || device.reopen(), tell_done);
        self.arrival = Arrival::Reopen;
        self.session = SessionHistory::None;
        answer
    }

    /// Closes the device, has its driver give it up and take it again, and opens it.
    ///
    /// # Errors
    /// Why it is not open again.
    pub fn rebind(&mut self) -> Result<(), RebindError> {
        let device = self.device.as_mut();
        self.recorder.operation("close, unbind, bind, open".into(), || device.rebind(), tell_done)
    }

    /// Reads once from a session.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn read(&mut self, session: &Session, buffer: &mut [u8]) -> Result<usize, Errno> {
        let what = format!("read {} from data_fd {}", buffer.len(), session.stream().number());
        self.recorder.operation(what, || session.stream().read(buffer), tell_size)
    }

    /// Reads from a session into memory that cannot be written.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn read_into_unwritable(&mut self, session: &Session, bytes: usize) -> Result<usize, Errno> {
        let what =
            format!("read {bytes} from data_fd {} into memory that cannot be written", session.stream().number());
        self.recorder.operation(what, || session.stream().read_into_unwritable(bytes), tell_size)
    }

    /// Writes to a session from memory that cannot be read.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn write_from_unreadable(&mut self, session: &Session, bytes: usize) -> Result<usize, Errno> {
        let what = format!("write {bytes} to data_fd {} from memory that cannot be read", session.stream().number());
        self.recorder.operation(what, || session.stream().write_from_unreadable(bytes), tell_size)
    }

    /// Reads from a session to its end, permanent or temporary.
    pub fn drain(&mut self, session: &Session) -> Drained {
        let stream = session.stream();
        let what = format!("read data_fd {} to its end", stream.number());
        let drained = self.recorder.operation(
            what,
            || {
                let mut bytes = Vec::new();
                match drain_into(stream, &mut bytes, STREAM_LIMIT_BYTES) {
                    Ok(Moved { end, .. }) => Drained { bytes, end },
                    // A `Vec` takes everything.
                    Err(_) => Drained { bytes, end: StreamEnd::None },
                }
            },
            Drained::to_string,
        );
        if drained.end == StreamEnd::Permanent && !drained.bytes.is_empty() {
            self.measure(|micros| Sample::Save { bytes: drained.bytes.len() as u64, micros });
        }
        drained
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

    /// Writes once to a session.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn write(&mut self, session: &Session, bytes: &[u8]) -> Result<usize, Errno> {
        let what = format!("write {} to data_fd {}", bytes.len(), session.stream().number());
        self.recorder.operation(what, || session.stream().write(bytes), tell_size)
    }

    /// Asks for the estimate of what STOP_COPY will stream.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn data_size(&mut self) -> Result<u64, Errno> {
        let device = self.device.as_ref();
        self.recorder.operation(
            "GET MIG_DATA_SIZE".into(),
            || device.mig_data_size(),
            |answer| match answer {
                Ok(bytes) => format!("{bytes} bytes"),
                Err(errno) => errno_name(*errno),
            },
        )
    }

    /// What the device and its sessions hold on to just now.
    pub fn footprint(&mut self) -> Footprint {
        let device = self.device.as_ref();
        let what = "look at what is in use".to_owned();
        self.recorder.operation(what, || device.footprint(), tell_footprint)
    }

    /// Whether anybody can say when all that was freed is given back, which may take a moment to find out.
    pub fn can_settle(&self) -> bool {
        self.device.freed_within().is_some()
    }

    /// The footprint once it is not so large any more, or as soon as nothing that was freed can be held back any more. `None`
    /// where nobody can say when that is.
    pub fn settled_footprint(&mut self, is_large: impl Fn(&Footprint) -> bool) -> Option<Footprint> {
        let device = self.device.as_ref();
        let what = "wait until what was freed is given back, and look at what is in use".to_owned();
        let wait = || {
            let end = Instant::now() + device.freed_within()?;
            loop {
                let footprint = device.footprint();
                if !is_large(&footprint) || Instant::now() >= end {
                    return Some(footprint);
                }
                thread::sleep(LOOK_EVERY);
            }
        };
        self.recorder.operation(what, wait, |footprint| match footprint {
            Some(footprint) => tell_footprint(footprint),
            None => "nobody can say when".to_owned(),
        })
    }

    /// Closes the data_fd of a session.
    pub fn close(&mut self, session: Session) {
        let what = format!("close data_fd {}", session.stream().number());
        self.recorder.operation(what, || drop(session), |()| "ok".to_owned());
        if self.session != SessionHistory::None {
            self.session = SessionHistory::Closed;
        }
    }

    /// Keeps how long the last operation took.
    pub(super) fn measure(&mut self, sample: impl FnOnce(f64) -> Sample) {
        self.samples.extend(self.recorder.last_micros().map(sample));
    }

    /// Keeps a figure for the report.
    pub fn measured(&mut self, sample: Sample) {
        self.samples.push(sample);
    }

    /// Leaves a remark in the outcome, once.
    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}
