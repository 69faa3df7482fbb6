//! Devices of the kernel: found in sysfs, opened through group and container or through cdev and iommufd.

pub(crate) mod before;
mod footprint;
pub mod hardware;
mod open;
mod rebind;
pub(crate) mod sysfs;

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::stimulus::nature::Nature;
use crate::stimulus::profile::{Buffers, Player, Port, Profile};
use crate::stimulus::trial::StepDone;
use crate::stimulus::{Observation, Stimulus, StimulusError};
use crate::uapi::Errno;
use crate::uapi::dma_logging::{LoggingReport, LoggingStart};
use crate::uapi::feature::FeatureCall;
use crate::uapi::memory::DmaMemory;
use crate::uapi::precopy::PrecopyInfoCall;
use crate::uapi::process;
use crate::uapi::stream::{self, DataFd, Interest, Readiness, Trigger};
use crate::uapi::vfio_device::{DeviceInfo, IrqInfo, RegionInfo, VfioDevice};

use super::name::KernelName;
use super::{Device, EpollSet, Footprint, Identity, OpenError, OpenFailure, RebindError, Stream, Via, require_match};
use open::Way;
use rebind::Driver;
use sysfs::Found;

/// Refuses a name that does not mean one device with a VFIO driver, before anything is touched.
///
/// # Errors
/// What the name means instead, and what to type.
pub fn refuse_unusable(name: &KernelName) -> Result<(), OpenError> {
    let found = sysfs::find(name)?;
    match before::Before::driver_lost_by_a_run(&found) {
        // Opening it gives it back.
        Some(_) => Ok(()),
        None => found.is_driven_by_vfio(),
    }
}

/// An open device of the kernel.
#[derive(Debug)]
pub struct KernelDevice {
    // Closed before the way is: the kernel wants it in this order.
    device: Option<VfioDevice>,
    way: Option<Way>,
    found: Found,
    identity: Identity,
    profile: Option<Profile>,
    buffers: Buffers,
}

impl KernelDevice {
    /// Opens the device of that name, with the bundled profile that fits it unless another is given.
    ///
    /// # Errors
    /// Why it cannot be opened, with what would mend it.
    pub fn open(name: &KernelName, via: Option<Via>, profile: Option<Profile>) -> Result<KernelDevice, OpenError> {
        let found = rebind::put_back(sysfs::find(name)?)?;
        let mut identity = Identity {
            name: found.name.clone(),
            driver: found.driver.clone().unwrap_or_default(),
            driver_version: found.driver_version(),
            pci_id: found.pci_id(),
            via: String::new(),
        };
        // Before the device is opened, which resets it.
        found.is_driven_by_vfio()?;
        require_match(&identity, profile.as_ref())?;
        let (way, device) = open::open(&found, via)?;
        identity.via = way.via().to_string();
        let bundled = || Profile::bundled(identity.pci_id.as_deref(), &identity.driver);
        let profile = profile.or_else(bundled);
        Ok(KernelDevice { device: Some(device), way: Some(way), found, identity, profile, buffers: Buffers::default() })
    }

    fn player(&self) -> Option<Player<'_>> {
        let profile = self.profile.as_ref()?;
        Some(Player { profile, port: self, buffers: &self.buffers })
    }

    fn device(&self) -> Result<&VfioDevice, Errno> {
        self.device.as_ref().ok_or(Errno::EBADF)
    }

    fn way(&self) -> Result<&Way, Errno> {
        self.way.as_ref().ok_or(Errno::EBADF)
    }
}

impl Device for KernelDevice {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn feature(&self, call: &mut FeatureCall) -> Result<i32, Errno> {
        self.device()?.feature(call)
    }

    fn feature_without_descriptors(&self, call: &mut FeatureCall) -> Result<i32, Errno> {
        let device = self.device()?;
        process::without_free_descriptors(|| device.feature(call))?
    }

    fn open_descriptors(&self) -> Result<usize, Errno> {
        process::open_descriptors()
    }

    fn dma_logging_start(&self, start: &mut LoggingStart) -> Result<i32, Errno> {
        self.device()?.dma_logging_start(start)
    }

    fn dma_logging_report(&self, report: &mut LoggingReport) -> Result<i32, Errno> {
        self.device()?.dma_logging_report(report)
    }

    fn stream(&self, data_fd: i32) -> Box<dyn Stream> {
        Box::new(VfioDevice::data_fd(data_fd))
    }

    fn reset(&self) -> Result<i32, Errno> {
        self.device()?.reset()
    }

    fn info(&self) -> Result<DeviceInfo, Errno> {
        self.device()?.info()
    }

    fn region_info(&self, index: u32) -> Result<RegionInfo, Errno> {
        self.device()?.region_info(index)
    }

    fn irq_info(&self, index: u32) -> Result<IrqInfo, Errno> {
        self.device()?.irq_info(index)
    }

    fn region_read(&self, index: u32, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        let device = self.device()?;
        device.region_read(device.region_info(index)?, offset, buffer)
    }

    fn region_write(&self, index: u32, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let device = self.device()?;
        device.region_write(device.region_info(index)?, offset, bytes)
    }

    fn set_irqs(&self, index: u32, events: &[BorrowedFd<'_>]) -> Result<i32, Errno> {
        self.device()?.set_irqs(index, events)
    }

    fn map(&self, iova: u64, memory: &DmaMemory) -> Result<i32, Errno> {
        self.way()?.map(iova, memory)
    }

    fn unmap(&self, iova: u64, bytes: u64) -> Result<u64, Errno> {
        self.way()?.unmap(iova, bytes)
    }

    fn reopen(&mut self) -> Result<(), OpenError> {
        self.device = None;
        let way = self.way().map_err(|errno| self.found.failed(OpenFailure::Refused("opening".to_owned(), errno)))?;
        self.device = Some(way.device(&self.found)?);
        Ok(())
    }

    fn rebind(&mut self) -> Result<(), RebindError> {
        let driver = Driver::of(&self.found)?;
        let via = self.way().ok().map(Way::via);
        // The driver waits for as long as anyone holds the device.
        self.device = None;
        self.way = None;
        self.buffers = Buffers::default();
        driver.take_away(&self.found)?;
        driver.give_back(&self.found)?;
        self.found = self.found.again()?;
        let (way, device) = open::open(&self.found, via)?;
        self.way = Some(way);
        self.device = Some(device);
        Ok(())
    }

    fn footprint(&self) -> Footprint {
        footprint::footprint(&self.found)
    }

    fn freed_within(&self) -> Option<Duration> {
        footprint::freed_within()
    }

    fn stimulate(&self, stimulus: Stimulus) -> Result<(), StimulusError> {
        let player = self.player().ok_or_else(|| StimulusError::Lacking(stimulus.into()))?;
        player.stimulate(stimulus)
    }

    fn observe(&self, observation: Observation) -> Result<Vec<u8>, StimulusError> {
        let player = self.player().ok_or_else(|| StimulusError::Lacking(observation.into()))?;
        player.observe(observation)
    }

    fn trace_steps(&self, is_on: bool) -> Vec<StepDone> {
        self.buffers.trace(is_on)
    }

    fn nature(&self) -> Nature {
        self.profile.as_ref().map_or_else(Nature::default, Profile::nature)
    }
}

impl Port for KernelDevice {
    fn read(&self, region: u32, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.region_read(region, offset, buffer)
    }

    fn write(&self, region: u32, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        self.region_write(region, offset, bytes)
    }

    fn map(&self, iova: u64, memory: &DmaMemory) -> Result<i32, Errno> {
        self.way()?.map(iova, memory)
    }

    fn name(&self) -> &str {
        &self.identity.name
    }
}

impl Stream for DataFd {
    fn number(&self) -> i32 {
        DataFd::number(self)
    }

    fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        DataFd::read(self, buffer)
    }

    fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        DataFd::write(self, bytes)
    }

    fn read_into_unwritable(&self, bytes: usize) -> Result<usize, Errno> {
        DataFd::read_into_unwritable(self, bytes)
    }

    fn write_from_unreadable(&self, bytes: usize) -> Result<usize, Errno> {
        DataFd::write_from_unreadable(self, bytes)
    }

    fn readv(&self, buffers: &mut [IoSliceMut<'_>]) -> Result<usize, Errno> {
        DataFd::readv(self, buffers)
    }

    fn writev(&self, buffers: &[IoSlice<'_>]) -> Result<usize, Errno> {
        DataFd::writev(self, buffers)
    }

    fn pread(&self, buffer: &mut [u8]) -> Result<usize, Errno> {
        DataFd::pread(self, buffer)
    }

    fn pwrite(&self, bytes: &[u8]) -> Result<usize, Errno> {
        DataFd::pwrite(self, bytes)
    }

    fn seek(&self) -> Result<u64, Errno> {
        DataFd::seek(self)
    }

    fn read_in_child(&self, bytes: usize) -> Result<Vec<u8>, Errno> {
        DataFd::read_in_child(self, bytes)
    }

    fn poll(&self, interest: Interest, timeout: Duration) -> Result<Readiness, Errno> {
        DataFd::poll(self, interest, timeout)
    }

    fn epoll(&self, trigger: Trigger) -> Result<Box<dyn EpollSet>, Errno> {
        Ok(Box::new(DataFd::epoll(self, trigger)?))
    }

    fn set_nonblocking(&self, nonblocking: bool) -> Result<(), Errno> {
        DataFd::set_nonblocking(self, nonblocking)
    }

    fn duplicate(&self) -> Result<Box<dyn Stream>, Errno> {
        Ok(Box::new(DataFd::duplicate(self)?))
    }

    fn close_at_once(&self) -> Result<(), Errno> {
        DataFd::close_at_once(self)
    }

    fn precopy_info(&self, call: &mut PrecopyInfoCall) -> Result<i32, Errno> {
        DataFd::precopy_info(self, call)
    }

    fn is_close_on_exec(&self) -> Result<bool, Errno> {
        DataFd::is_close_on_exec(self)
    }
}

impl EpollSet for stream::EpollSet {
    fn wait(&self, timeout: Duration) -> Result<Readiness, Errno> {
        stream::EpollSet::wait(self, timeout)
    }
}
