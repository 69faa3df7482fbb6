//! A session and a device for tests that answer as they were told to, so that what judges answers can be given any.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::model::{ModelDevice, ModelSpec};
use super::{Device, EpollSet, Footprint, Identity, OpenError, RebindError, Stream};
use crate::stimulus::nature::Nature;
use crate::stimulus::{Observation, Stimulus, StimulusError};
use crate::uapi::Errno;
use crate::uapi::dma_logging::{LoggingReport, LoggingStart};
use crate::uapi::feature::FeatureCall;
use crate::uapi::memory::DmaMemory;
use crate::uapi::precopy::PrecopyInfoCall;
use crate::uapi::stream::{Interest, Readiness, Trigger};
use crate::uapi::vfio_device::{DeviceInfo, IrqInfo, RegionInfo};

/// What a call of PRECOPY_INFO returns, and the flags, initial_bytes and dirty_bytes that it leaves behind.
pub type Info = (Result<i32, Errno>, u32, u64, u64);

/// It fails the test if it is asked for more than it was told.
#[derive(Default, Clone)]
pub struct Scripted {
    reads: Answers<Result<usize, Errno>>,
    writes: Answers<Result<usize, Errno>>,
    polls: Answers<Result<Readiness, Errno>>,
    infos: Answers<Info>,
    asked: Arc<Mutex<Vec<String>>>,
}

type Answers<T> = Arc<Mutex<VecDeque<T>>>;

impl Scripted {
    /// The same, and its reads answer this.
    pub fn reads(self, answers: impl IntoIterator<Item = Result<usize, Errno>>) -> Scripted {
        self.reads.lock().expect("no panic").extend(answers);
        self
    }

    /// The same, and its writes answer this.
    pub fn writes(self, answers: impl IntoIterator<Item = Result<usize, Errno>>) -> Scripted {
        self.writes.lock().expect("no panic").extend(answers);
        self
    }

    /// The same, and its polls answer this.
    pub fn polls(self, answers: impl IntoIterator<Item = Result<Readiness, Errno>>) -> Scripted {
        self.polls.lock().expect("no panic").extend(answers);
        self
    }

    /// The same, and PRECOPY_INFO answers this.
    pub fn infos(self, answers: impl IntoIterator<Item = Info>) -> Scripted {
        self.infos.lock().expect("no panic").extend(answers);
        self
    }

    /// What it was asked, in order; the same for all clones.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }

    /// How many answers are left in all.
    pub fn left(&self) -> usize {
        let (reads, writes) = (self.reads.lock().expect("no panic").len(), self.writes.lock().expect("no panic").len());
        let (polls, infos) = (self.polls.lock().expect("no panic").len(), self.infos.lock().expect("no panic").len());
        reads + writes + polls + infos
    }

    fn answer<T>(&self, answers: &Answers<T>, what: &str, with: &dyn Debug) -> T {
        self.asked.lock().expect("no panic").push(format!("{what} {with:?}"));
        answers.lock().expect("no panic").pop_front().unwrap_or_else(|| panic!("nobody expects to {what} {with:?}"))
    }
}

impl Stream for Scripted {
    fn number(&self) -> i32 {
        7
    }

    fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.answer(&self.reads, "read", &buffer.len())
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        self.answer(&self.writes, "write", &bytes)
    }

    fn poll(&self, interest: Interest, _timeout: Duration) -> Result<Readiness, Errno> {
        self.answer(&self.polls, "poll", &interest)
    }

    fn epoll(&self, trigger: Trigger) -> Result<Box<dyn EpollSet>, Errno> {
        self.asked.lock().expect("no panic").push(format!("epoll {trigger:?}"));
        Ok(Box::new(ScriptedSet(self.clone())))
    }

    fn precopy_info(&self, call: &mut PrecopyInfoCall) -> Result<i32, Errno> {
        let (answer, flags, initial_bytes, dirty_bytes) = self.answer(&self.infos, "info", &call.argsz);
        (call.flags, call.initial_bytes, call.dirty_bytes) = (flags, initial_bytes, dirty_bytes);
        answer
    }

    fn read_into_unwritable(&self, _bytes: usize) -> Result<usize, Errno> {
        Err(Errno::ENOSYS)
    }

    fn write_from_unreadable(&self, _bytes: usize) -> Result<usize, Errno> {
        Err(Errno::ENOSYS)
    }

    fn readv(&self, buffers: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        let sizes: Vec<usize> = buffers.iter().map(|buffer| buffer.len()).collect();
        self.answer(&self.reads, "readv", &sizes)
    }

    fn writev(&self, _buffers: &[IoSlice<'_>]) -> Result<usize, Errno> {
        Err(Errno::ENOSYS)
    }

    fn pread(&self, _buffer: &mut [u8]) -> Result<usize, Errno> {
        Err(Errno::ENOSYS)
    }

    fn pwrite(&self, _bytes: &[u8]) -> Result<usize, Errno> {
        Err(Errno::ENOSYS)
    }

    fn seek(&self) -> Result<u64, Errno> {
        Err(Errno::ENOSYS)
    }

    fn read_in_child(&self, _bytes: usize) -> Result<Vec<u8>, Errno> {
        Err(Errno::ENOSYS)
    }

    fn set_nonblocking(&self, _nonblocking: bool) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    fn duplicate(&self) -> Result<Box<dyn Stream>, Errno> {
        Err(Errno::ENOSYS)
    }

    fn close_at_once(&self) -> Result<(), Errno> {
        Err(Errno::ENOSYS)
    }

    fn is_close_on_exec(&self) -> Result<bool, Errno> {
        Err(Errno::ENOSYS)
    }
}

struct ScriptedSet(Scripted);

impl EpollSet for ScriptedSet {
    fn wait(&self, _timeout: Duration) -> Result<Readiness, Errno> {
        self.0.answer(&self.0.polls, "wait", &())
    }
}

/// A model whose answers to feature calls somebody doctors.
pub struct Doctored<F> {
    model: ModelDevice,
    doctor: F,
}

impl<F> Doctored<F>
where
    F: Fn(&ModelDevice, &mut FeatureCall) -> Option<Result<i32, Errno>> + Send + Sync,
{
    /// What the doctor does not answer, the model does.
    pub fn new(spec: ModelSpec, doctor: F) -> Doctored<F> {
        Doctored { model: ModelDevice::new(spec), doctor }
    }
}

impl<F> Device for Doctored<F>
where
    F: Fn(&ModelDevice, &mut FeatureCall) -> Option<Result<i32, Errno>> + Send + Sync,
{
    fn feature(&self, call: &mut FeatureCall) -> Result<i32, Errno> {
        (self.doctor)(&self.model, call).unwrap_or_else(|| self.model.feature(call))
    }

    fn identity(&self) -> &Identity {
        self.model.identity()
    }

    fn feature_without_descriptors(&self, call: &mut FeatureCall) -> Result<i32, Errno> {
        self.model.feature_without_descriptors(call)
    }

    fn open_descriptors(&self) -> Result<usize, Errno> {
        self.model.open_descriptors()
    }

    fn dma_logging_start(&self, start: &mut LoggingStart) -> Result<i32, Errno> {
        self.model.dma_logging_start(start)
    }

    fn dma_logging_report(&self, report: &mut LoggingReport) -> Result<i32, Errno> {
        self.model.dma_logging_report(report)
    }

    fn stream(&self, data_fd: i32) -> Box<dyn Stream> {
        self.model.stream(data_fd)
    }

    fn reset(&self) -> Result<i32, Errno> {
        self.model.reset()
    }

    fn info(&self) -> Result<DeviceInfo, Errno> {
        self.model.info()
    }

    fn region_info(&self, index: u32) -> Result<RegionInfo, Errno> {
        self.model.region_info(index)
    }

    fn irq_info(&self, index: u32) -> Result<IrqInfo, Errno> {
        self.model.irq_info(index)
    }

    fn region_read(&self, index: u32, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.model.region_read(index, offset, buffer)
    }

    fn region_write(&self, index: u32, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        self.model.region_write(index, offset, bytes)
    }

    fn set_irqs(&self, index: u32, events: &[BorrowedFd<'_>]) -> Result<i32, Errno> {
        self.model.set_irqs(index, events)
    }

    fn map(&self, iova: u64, memory: &DmaMemory) -> Result<i32, Errno> {
        self.model.map(iova, memory)
    }

    fn unmap(&self, iova: u64, bytes: u64) -> Result<u64, Errno> {
        self.model.unmap(iova, bytes)
    }

    fn reopen(&mut self) -> Result<(), OpenError> {
        self.model.reopen()
    }

    fn rebind(&mut self) -> Result<(), RebindError> {
        self.model.rebind()
    }

    fn footprint(&self) -> Footprint {
        self.model.footprint()
    }

    fn freed_within(&self) -> Option<Duration> {
        self.model.freed_within()
    }

    fn stimulate(&self, stimulus: Stimulus) -> Result<(), StimulusError> {
        self.model.stimulate(stimulus)
    }

    fn observe(&self, observation: Observation) -> Result<Vec<u8>, StimulusError> {
        self.model.observe(observation)
    }

    fn nature(&self) -> Nature {
        self.model.nature()
    }
}
