//! A device that writes down every call that is made of it, so that a plain program can make the same ones again.
//!
//! `fixtures/plain/plain-calls.c` says how a transcript is read.

use std::collections::HashMap;
use std::fmt::Write;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::device::{Device, EpollSet, Footprint, Identity, OpenError, RebindError, Stream};
use crate::stimulus::nature::Nature;
use crate::stimulus::profile::{Buffers, Player, Port, Profile};
use crate::stimulus::{Observation, Stimulus, StimulusError};
use crate::uapi::Errno;
use crate::uapi::dma_logging::{LoggingReport, LoggingStart};
use crate::uapi::feature::{FeatureCall, Placement};
use crate::uapi::memory::DmaMemory;
use crate::uapi::precopy::PrecopyInfoCall;
use crate::uapi::stream::{Interest, Readiness, Trigger};
use crate::uapi::vfio_device::{DeviceInfo, IrqInfo, RegionInfo};

/// Every call that was made, in order, and what was written.
#[derive(Debug, Default)]
pub struct Transcript {
    /// A call a line.
    pub calls: String,
    /// What calls write, each content once.
    pub data: Vec<u8>,
    places: HashMap<Vec<u8>, usize>,
    sessions: usize,
    /// What was asked of the device that no line can say.
    pub unsaid: Vec<&'static str>,
}

impl Transcript {
    fn line(&mut self, words: &str) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.calls, "{words}");
    }

    fn place(&mut self, bytes: &[u8]) -> usize {
        if let Some(place) = self.places.get(bytes) {
            return *place;
        }
        let place = self.data.len();
        self.data.extend(bytes);
        self.places.insert(bytes.to_vec(), place);
        place
    }
}

type Shared = Arc<Mutex<Transcript>>;

fn with<T>(transcript: &Shared, note: impl FnOnce(&mut Transcript) -> T) -> T {
    note(&mut transcript.lock().unwrap_or_else(PoisonError::into_inner))
}

/// A device that is written down.
pub struct Recorded {
    device: Box<dyn Device>,
    profile: Option<Profile>,
    buffers: Buffers,
    transcript: Shared,
}

impl Recorded {
    /// Writes down what is asked of this device from now on.
    pub fn new(device: Box<dyn Device>) -> (Recorded, Shared) {
        let transcript = Shared::default();
        let identity = device.identity();
        let profile = Profile::bundled(identity.pci_id.as_deref(), &identity.driver);
        let recorded = Recorded { device, profile, buffers: Buffers::default(), transcript: Arc::clone(&transcript) };
        (recorded, transcript)
    }

    fn line(&self, words: &str) {
        with(&self.transcript, |transcript| transcript.line(words));
    }

    fn player(&self) -> Option<Player<'_>> {
        let profile = self.profile.as_ref()?;
        Some(Player { profile, port: self, buffers: &self.buffers })
    }

    fn unsaid(&self, what: &'static str) -> &dyn Device {
        with(&self.transcript, |transcript| transcript.unsaid.push(what));
        self.device.as_ref()
    }
}

/// What came of a call: a number, or an errno below zero.
fn number(answer: &Result<i32, Errno>) -> i64 {
    match answer {
        Ok(returned) => i64::from(*returned),
        Err(errno) => -i64::from(*errno as i32),
    }
}

fn size(answer: &Result<usize, Errno>) -> i64 {
    match answer {
        Ok(bytes) => i64::try_from(*bytes).unwrap_or(i64::MAX),
        Err(errno) => -i64::from(*errno as i32),
    }
}

fn memory(placement: Placement) -> &'static str {
    match placement {
        Placement::Ordinary => "plain",
        Placement::ReadOnly => "readonly",
        Placement::Unmapped => "none",
        Placement::HeaderOnly => "header",
    }
}

fn hex(bytes: &[u8]) -> String {
    match bytes.is_empty() {
        true => "-".to_owned(),
        false => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// The bits of `struct pollfd`.
fn revents(answer: &Result<Readiness, Errno>) -> i64 {
    let ready = match answer {
        Ok(ready) => ready,
        Err(errno) => return -i64::from(*errno as i32),
    };
    let bits = [(ready.readable, 0x1), (ready.writable, 0x4), (ready.error, 0x8), (ready.hang_up, 0x10)];
    bits.into_iter().filter_map(|(is, bit)| is.then_some(bit)).sum()
}

impl Device for Recorded {
    fn identity(&self) -> &Identity {
        self.device.identity()
    }

    fn feature(&self, call: &mut FeatureCall) -> Result<i32, Errno> {
        let asked = format!("feature {} {} {} {}", call.argsz, call.flags, memory(call.placement), hex(&call.payload));
        let answer = self.device.feature(call);
        self.line(&format!("{asked} {}", number(&answer)));
        answer
    }

    fn stream(&self, data_fd: i32) -> Box<dyn Stream> {
        let session = with(&self.transcript, |transcript| {
            transcript.sessions += 1;
            transcript.sessions - 1
        });
        let stream = self.device.stream(data_fd);
        Box::new(RecordedStream { stream, session, transcript: Arc::clone(&self.transcript) })
    }

    fn reset(&self) -> Result<i32, Errno> {
        let answer = self.device.reset();
        self.line(&format!("reset {}", number(&answer)));
        answer
    }

    fn reopen(&mut self) -> Result<(), OpenError> {
        self.line("reopen");
        self.device.reopen()
    }

    fn rebind(&mut self) -> Result<(), RebindError> {
        self.unsaid("unbinding");
        self.device.rebind()
    }

    fn stimulate(&self, stimulus: Stimulus) -> Result<(), StimulusError> {
        self.player().ok_or_else(|| StimulusError::Lacking(stimulus.into()))?.stimulate(stimulus)
    }

    fn observe(&self, observation: Observation) -> Result<Vec<u8>, StimulusError> {
        self.player().ok_or_else(|| StimulusError::Lacking(observation.into()))?.observe(observation)
    }

    fn nature(&self) -> Nature {
        self.device.nature()
    }

    fn footprint(&self) -> Footprint {
        self.device.footprint()
    }

    fn freed_within(&self) -> Option<Duration> {
        self.device.freed_within()
    }

    fn open_descriptors(&self) -> Result<usize, Errno> {
        self.device.open_descriptors()
    }

    fn feature_without_descriptors(&self, call: &mut FeatureCall) -> Result<i32, Errno> {
        self.unsaid("a call without free descriptors").feature_without_descriptors(call)
    }

    fn dma_logging_start(&self, start: &mut LoggingStart) -> Result<i32, Errno> {
        self.unsaid("DMA_LOGGING_START").dma_logging_start(start)
    }

    fn dma_logging_report(&self, report: &mut LoggingReport) -> Result<i32, Errno> {
        self.unsaid("DMA_LOGGING_REPORT").dma_logging_report(report)
    }

    fn info(&self) -> Result<DeviceInfo, Errno> {
        self.unsaid("GET_INFO").info()
    }

    fn region_info(&self, index: u32) -> Result<RegionInfo, Errno> {
        self.unsaid("GET_REGION_INFO").region_info(index)
    }

    fn irq_info(&self, index: u32) -> Result<IrqInfo, Errno> {
        self.unsaid("GET_IRQ_INFO").irq_info(index)
    }

    fn region_read(&self, index: u32, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let answer = self.device.region_read(index, offset, buffer);
        self.line(&format!("look {index} {offset} {} {}", buffer.len(), size(&answer)));
        answer
    }

    fn region_write(&self, index: u32, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let answer = self.device.region_write(index, offset, bytes);
        let place = with(&self.transcript, |transcript| transcript.place(bytes));
        self.line(&format!("region {index} {offset} {place} {} {}", bytes.len(), size(&answer)));
        answer
    }

    fn set_irqs(&self, index: u32, events: &[BorrowedFd<'_>]) -> Result<i32, Errno> {
        self.unsaid("SET_IRQS").set_irqs(index, events)
    }

    fn map(&self, iova: u64, memory: &DmaMemory) -> Result<i32, Errno> {
        self.unsaid("a mapping").map(iova, memory)
    }

    fn unmap(&self, iova: u64, bytes: u64) -> Result<u64, Errno> {
        self.unsaid("an unmapping").unmap(iova, bytes)
    }
}

impl Port for Recorded {
    fn read(&self, region: u32, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.region_read(region, offset, buffer)
    }

    fn write(&self, region: u32, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        self.region_write(region, offset, bytes)
    }

    fn map(&self, iova: u64, memory: &DmaMemory) -> Result<i32, Errno> {
        Device::map(self, iova, memory)
    }

    fn name(&self) -> &str {
        &self.device.identity().name
    }
}

/// A session that is written down.
struct RecordedStream {
    stream: Box<dyn Stream>,
    session: usize,
    transcript: Shared,
}

impl RecordedStream {
    fn line(&self, words: &str) {
        with(&self.transcript, |transcript| transcript.line(words));
    }

    fn unsaid(&self, what: &'static str) -> &dyn Stream {
        with(&self.transcript, |transcript| transcript.unsaid.push(what));
        self.stream.as_ref()
    }
}

impl Drop for RecordedStream {
    fn drop(&mut self) {
        self.line(&format!("close {}", self.session));
    }
}

impl Stream for RecordedStream {
    fn number(&self) -> i32 {
        self.stream.number()
    }

    fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        let answer = self.stream.read(buffer);
        self.line(&format!("read {} {} {}", self.session, buffer.len(), size(&answer)));
        answer
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        let answer = self.stream.write(bytes);
        let place = with(&self.transcript, |transcript| transcript.place(bytes));
        self.line(&format!("write {} {place} {} {}", self.session, bytes.len(), size(&answer)));
        answer
    }

    fn poll(&self, interest: Interest, timeout: Duration) -> Result<Readiness, Errno> {
        if timeout > Duration::ZERO {
            return self.unsaid("a poll that waits").poll(interest, timeout);
        }
        let answer = self.stream.poll(interest, timeout);
        let events = match interest {
            Interest::Read => 0x1,
            Interest::Write => 0x4,
        };
        self.line(&format!("poll {} {events} {}", self.session, revents(&answer)));
        answer
    }

    fn precopy_info(&self, call: &mut PrecopyInfoCall) -> Result<i32, Errno> {
        let asked = format!("info {} {} {} {}", self.session, call.argsz, call.flags, memory(call.placement));
        let answer = self.stream.precopy_info(call);
        self.line(&format!("{asked} {}", number(&answer)));
        answer
    }

    fn read_into_unwritable(&self, bytes: usize) -> Result<usize, Errno> {
        self.unsaid("a read into memory that cannot be written").read_into_unwritable(bytes)
    }

    fn write_from_unreadable(&self, bytes: usize) -> Result<usize, Errno> {
        self.unsaid("a write from memory that cannot be read").write_from_unreadable(bytes)
    }

    fn readv(&self, buffers: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        self.unsaid("readv").readv(buffers)
    }

    fn writev(&self, buffers: &[IoSlice<'_>]) -> Result<usize, Errno> {
        self.unsaid("writev").writev(buffers)
    }

    fn pread(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.unsaid("pread").pread(buffer)
    }

    fn pwrite(&self, bytes: &[u8]) -> Result<usize, Errno> {
        self.unsaid("pwrite").pwrite(bytes)
    }

    fn seek(&self) -> Result<u64, Errno> {
        self.unsaid("lseek").seek()
    }

    fn read_in_child(&self, bytes: usize) -> Result<Vec<u8>, Errno> {
        self.unsaid("a read in another process").read_in_child(bytes)
    }

    fn epoll(&self, trigger: Trigger) -> Result<Box<dyn EpollSet>, Errno> {
        self.unsaid("epoll").epoll(trigger)
    }

    fn set_nonblocking(&self, nonblocking: bool) -> Result<(), Errno> {
        self.unsaid("O_NONBLOCK").set_nonblocking(nonblocking)
    }

    fn duplicate(&self) -> Result<Box<dyn Stream>, Errno> {
        self.unsaid("dup").duplicate()
    }

    fn close_at_once(&self) -> Result<(), Errno> {
        self.unsaid("a close under calls").close_at_once()
    }

    fn is_close_on_exec(&self) -> Result<bool, Errno> {
        self.stream.is_close_on_exec()
    }
}
