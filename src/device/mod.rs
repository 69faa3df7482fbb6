//! The device under test, behind one trait, and its makers: the kernel's VFIO (group or cdev) and the model.
//!
//! The trait has the shape of the uAPI and nothing more: calls go in as the kernel would get them and answers come
//! out as the kernel gave them, so that a check can see every defect. What a check wants to say in protocol words is
//! built on top, in [`migration`].

pub mod kernel;
pub mod migration;
pub mod model;
mod name;
#[cfg(test)]
pub(crate) mod scripted;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::stimulus::nature::Nature;
use crate::stimulus::profile::{Misfit, Profile};
use crate::stimulus::trial::StepDone;
use crate::stimulus::{Observation, Stimulus, StimulusError};
use crate::uapi::Errno;
use crate::uapi::dma_logging::{LoggingReport, LoggingStart};
use crate::uapi::feature::FeatureCall;
use crate::uapi::memory::DmaMemory;
use crate::uapi::precopy::PrecopyInfoCall;
use crate::uapi::stream::{Interest, Readiness, Trigger};
use crate::uapi::vfio_device::{DeviceInfo, IrqInfo, RegionInfo};

pub use kernel::hardware::{Hardware, Module, PciIds};
pub use name::{DeviceName, KernelName, ParseDeviceNameError, Via};

/// One device, open. All calls take `&self`: the uAPI allows them from many threads at once, and so do checks.
pub trait Device: Send + Sync {
    /// What it is and how it was opened.
    fn identity(&self) -> &Identity;

    /// `VFIO_DEVICE_FEATURE`, whatever the call holds.
    ///
    /// # Errors
    /// The errno as it came.
    fn feature(&self, call: &mut FeatureCall) -> Result<i32, Errno>;

    /// The same, while the process that has the device open can open no descriptor more.
    ///
    /// # Errors
    /// The errno as it came.
    fn feature_without_descriptors(&self, call: &mut FeatureCall) -> Result<i32, Errno>;

    /// How many descriptors the process that has the device open has in all.
    ///
    /// # Errors
    /// The errno of looking.
    fn open_descriptors(&self) -> Result<usize, Errno>;

    /// `VFIO_DEVICE_FEATURE_DMA_LOGGING_START`, well-formed but for what it asks.
    ///
    /// # Errors
    /// The errno as it came.
    fn dma_logging_start(&self, start: &mut LoggingStart) -> Result<i32, Errno>;

    /// `VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT`, well-formed but for what it asks.
    ///
    /// # Errors
    /// The errno as it came.
    fn dma_logging_report(&self, report: &mut LoggingReport) -> Result<i32, Errno>;

    /// Takes over the session whose data_fd a successful SET of the device state answered. Each number is taken over
    /// at most once; dropping the stream closes it.
    fn stream(&self, data_fd: i32) -> Box<dyn Stream>;

    /// `VFIO_DEVICE_RESET`.
    ///
    /// # Errors
    /// The errno as it came.
    fn reset(&self) -> Result<i32, Errno>;

    /// `VFIO_DEVICE_GET_INFO`.
    ///
    /// # Errors
    /// The errno as it came.
    fn info(&self) -> Result<DeviceInfo, Errno>;

    /// `VFIO_DEVICE_GET_REGION_INFO`.
    ///
    /// # Errors
    /// The errno as it came.
    fn region_info(&self, index: u32) -> Result<RegionInfo, Errno>;

    /// `VFIO_DEVICE_GET_IRQ_INFO`.
    ///
    /// # Errors
    /// The errno as it came.
    fn irq_info(&self, index: u32) -> Result<IrqInfo, Errno>;

    /// Reads from a region, `offset` bytes behind its beginning.
    ///
    /// # Errors
    /// The errno as it came.
    fn region_read(&self, index: u32, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno>;

    /// Writes to a region, `offset` bytes behind its beginning.
    ///
    /// # Errors
    /// The errno as it came.
    fn region_write(&self, index: u32, offset: u64, bytes: &[u8]) -> Result<usize, Errno>;

    /// Has the interrupts of an index, from the first one, signal these event descriptors; none of them turns the index
    /// off.
    ///
    /// # Errors
    /// The errno as it came.
    fn set_irqs(&self, index: u32, events: &[BorrowedFd<'_>]) -> Result<i32, Errno>;

    /// Lets the device read and write memory through an I/O address.
    ///
    /// # Errors
    /// The errno as it came.
    fn map(&self, iova: u64, memory: &DmaMemory) -> Result<i32, Errno>;

    /// Takes a mapping away. Returns how many bytes were unmapped.
    ///
    /// # Errors
    /// The errno as it came.
    fn unmap(&self, iova: u64, bytes: u64) -> Result<u64, Errno>;

    /// Closes the device, in whatever state it is, and opens it again. Streams that are open stay open, as the
    /// uAPI has it.
    ///
    /// # Errors
    /// Why it could not be opened again; the device is closed then, and every call answers EBADF.
    fn reopen(&mut self) -> Result<(), OpenError>;

    /// Closes the device, takes it away from its driver, gives it back, and opens it again.
    ///
    /// # Errors
    /// Why it is not open again; if the driver does not have it either, that is said with what would mend it.
    fn rebind(&mut self) -> Result<(), RebindError>;

    /// What it and its sessions hold on to just now.
    fn footprint(&self) -> Footprint;

    /// How long the kernel may hold back memory that was freed; `None` if nobody can say, as under KASAN.
    fn freed_within(&self) -> Option<Duration>;

    /// Makes the device do something.
    ///
    /// # Errors
    /// That this device does not have the stimulus, or what went wrong with it.
    fn stimulate(&self, stimulus: Stimulus) -> Result<(), StimulusError>;

    /// Looks at the device in a way that changes nothing a check could see.
    ///
    /// # Errors
    /// That this device cannot show it, or what went wrong.
    fn observe(&self, observation: Observation) -> Result<Vec<u8>, StimulusError>;

    /// Has the steps of the profile written down from now on, or no longer. Returns those that were.
    fn trace_steps(&self, is_on: bool) -> Vec<StepDone> {
        let _ = is_on;
        Vec::new()
    }

    /// What kind of device it is, in what the uAPI leaves open.
    fn nature(&self) -> Nature;
}

/// The data_fd of one session. Dropping it closes it.
pub trait Stream: Send + Sync {
    /// The number of the descriptor, for people to read.
    fn number(&self) -> i32;

    /// `read`.
    ///
    /// # Errors
    /// The errno as it came.
    fn read(&self, buffer: &mut [u8]) -> Result<usize, Errno>;

    /// `write`.
    ///
    /// # Errors
    /// The errno as it came.
    fn write(&self, bytes: &[u8]) -> Result<usize, Errno>;

    /// `read` into memory that cannot be written.
    ///
    /// # Errors
    /// The errno as it came.
    fn read_into_unwritable(&self, bytes: usize) -> Result<usize, Errno>;

    /// `write` from memory that cannot be read.
    ///
    /// # Errors
    /// The errno as it came.
    fn write_from_unreadable(&self, bytes: usize) -> Result<usize, Errno>;

    /// `readv`.
    ///
    /// # Errors
    /// The errno as it came.
    fn readv(&self, buffers: &mut [IoSliceMut<'_>]) -> Result<usize, Errno>;

    /// `writev`.
    ///
    /// # Errors
    /// The errno as it came.
    fn writev(&self, buffers: &[IoSlice<'_>]) -> Result<usize, Errno>;

    /// `pread` from the beginning.
    ///
    /// # Errors
    /// The errno as it came.
    fn pread(&self, buffer: &mut [u8]) -> Result<usize, Errno>;

    /// `pwrite` to the beginning.
    ///
    /// # Errors
    /// The errno as it came.
    fn pwrite(&self, bytes: &[u8]) -> Result<usize, Errno>;

    /// `lseek` to the beginning.
    ///
    /// # Errors
    /// The errno as it came.
    fn seek(&self) -> Result<u64, Errno>;

    /// `read` in another process, which has inherited the descriptor.
    ///
    /// # Errors
    /// The errno as it came, or of what it takes to have another process.
    fn read_in_child(&self, bytes: usize) -> Result<Vec<u8>, Errno>;

    /// `poll`, at most this long.
    ///
    /// # Errors
    /// The errno as it came.
    fn poll(&self, interest: Interest, timeout: Duration) -> Result<Readiness, Errno>;

    /// `epoll_create` and `epoll_ctl`: a set with this descriptor alone, to wait for reading.
    ///
    /// # Errors
    /// The errno as it came.
    fn epoll(&self, trigger: Trigger) -> Result<Box<dyn EpollSet>, Errno>;

    /// `fcntl` for O_NONBLOCK.
    ///
    /// # Errors
    /// The errno as it came.
    fn set_nonblocking(&self, nonblocking: bool) -> Result<(), Errno>;

    /// `dup`: another descriptor of the same session.
    ///
    /// # Errors
    /// The errno as it came.
    fn duplicate(&self) -> Result<Box<dyn Stream>, Errno>;

    /// Closes the data_fd at once, though others may be in a call on it: what they hold goes away with the last of them.
    /// What is asked of it afterwards comes to nothing.
    ///
    /// # Errors
    /// The errno of closing it.
    fn close_at_once(&self) -> Result<(), Errno>;

    /// `VFIO_MIG_GET_PRECOPY_INFO`.
    ///
    /// # Errors
    /// The errno as it came.
    fn precopy_info(&self, call: &mut PrecopyInfoCall) -> Result<i32, Errno>;

    /// Whether the descriptor goes away when the process executes another program.
    ///
    /// # Errors
    /// The errno as it came.
    fn is_close_on_exec(&self) -> Result<bool, Errno>;
}

/// What a device and its sessions hold on to in the kernel, beside descriptors.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Footprint {
    /// References to the driver's module; `None` where sysfs does not say.
    pub module_references: Option<u64>,
    /// Memory that the kernel uses for itself, on the whole machine; `None` where it does not say.
    pub kernel_bytes: Option<u64>,
    /// How many objects the kernel has allocated of each kind that drivers allocate, on the whole machine; none where it
    /// does not say, as to users who are not root.
    pub objects: BTreeMap<String, u64>,
}

/// An epoll set with the data_fd of one session in it. Dropping it closes the set.
pub trait EpollSet: Send + Sync {
    /// `epoll_wait`, at most this long. Nothing is what it says when the time is up.
    ///
    /// # Errors
    /// The errno as it came.
    fn wait(&self, timeout: Duration) -> Result<Readiness, Errno>;
}

/// What the device under test is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The name it was asked for by.
    pub name: String,
    /// The driver it is bound to.
    pub driver: String,
    /// The driver module's version and srcversion, as far as sysfs tells.
    pub driver_version: Option<String>,
    /// `vendor:device` of a PCI function.
    pub pci_id: Option<String>,
    /// How it was opened: `group`, `cdev` or `model`.
    pub via: String,
}

/// Opens the device of that name. It is stimulated as the profile says, or as the bundled one that fits it; the model needs
/// none.
///
/// # Errors
/// Why it cannot be opened, with what would mend it.
pub fn open(name: &DeviceName, via: Option<Via>, profile: Option<Profile>) -> Result<Box<dyn Device>, OpenError> {
    match name {
        DeviceName::Model(spec) => {
            let model = model::ModelDevice::open(*spec);
            require_match(model.identity(), profile.as_ref())?;
            Ok(Box::new(model.with_profile(profile)))
        }
        DeviceName::Kernel(name) => Ok(Box::new(kernel::KernelDevice::open(name, via, profile)?)),
    }
}

/// What to do about a profile for other devices.
const WRONG_PROFILE_REMEDY: &str = "use the profile of this device, or --force-profile to play this one on it";

/// Refuses a profile that was written for other devices.
fn require_match(identity: &Identity, profile: Option<&Profile>) -> Result<(), OpenError> {
    let misfit = profile.and_then(|profile| profile.misfit(identity.pci_id.as_deref(), &identity.driver));
    match misfit {
        None => Ok(()),
        Some(misfit) => Err(OpenError {
            device: identity.name.clone(),
            why: OpenFailure::WrongProfile(misfit),
            remedy: vec![WRONG_PROFILE_REMEDY.to_owned()],
        }),
    }
}

/// Refuses a name that does not mean one device that can be opened, before a run leaves anything anywhere.
///
/// # Errors
/// What the name means instead, and what to type.
pub fn refuse_unusable(name: &DeviceName) -> Result<(), OpenError> {
    match name {
        DeviceName::Model(_) => Ok(()),
        DeviceName::Kernel(name) => kernel::refuse_unusable(name),
    }
}

/// Why a device could not be opened. Each reads as a sentence that ends in what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed to open {device}: {why}{}", remedy_lines(.remedy))]
pub struct OpenError {
    /// The device's name.
    pub device: String,
    /// What stands in the way.
    pub why: OpenFailure,
    /// Commands that would mend it, one a line.
    pub remedy: Vec<String>,
}

/// Why a device was not taken away from its driver, given back and opened again.
#[derive(Debug, thiserror::Error)]
pub enum RebindError {
    /// Its bus gives no device back to a driver by hand, as that of mdevs.
    #[error("only PCI functions can be given back to their driver by hand")]
    NotByHand,
    /// This user may not.
    #[error("this user may not write to {}", .0.display())]
    NotAllowed(PathBuf),
    /// The kernel refused to take it away or to give it back.
    #[error(
        "failed to write {device} to {}: {why}\n    if it is bound to nothing now: echo {device} > {}",
        .path.display(), .bind.display()
    )]
    Refused {
        /// The device's name.
        device: String,
        /// The attribute that was written to.
        path: PathBuf,
        /// What the system answered.
        why: std::io::Error,
        /// The attribute by which its driver gets it back.
        bind: PathBuf,
    },
    /// It cannot be opened again.
    #[error(transparent)]
    Open(#[from] OpenError),
}

/// What stands in the way of opening a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenFailure {
    /// sysfs knows no such device.
    NoSuchDevice,
    /// The VFIO modules are not loaded.
    NoVfio,
    /// The device has no IOMMU group.
    NoIommu,
    /// The device is bound to no driver, or to one that is none of VFIO's.
    WrongDriver(Option<String>),
    /// We may not open this file.
    NoPermission(PathBuf),
    /// Another device of the group is bound to a driver that is none of VFIO's.
    GroupNotViable(u32, Vec<String>),
    /// The group or the device is open elsewhere.
    Busy(PathBuf),
    /// The way that was asked for is not there.
    NoSuchWay(Via),
    /// A group was named whose only device has no VFIO driver: the group, the device, its driver.
    ForeignGroup(u32, String, Option<String>),
    /// A group with several devices was named, so it is not clear which is meant.
    Ambiguous(Vec<String>),
    /// The profile that was given is for other devices.
    WrongProfile(Misfit),
    /// Any other refusal, of the step that is named.
    Refused(String, Errno),
}

impl fmt::Display for OpenFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenFailure::NoSuchDevice => f.write_str("there is no such device"),
            OpenFailure::NoVfio => f.write_str("the kernel's VFIO modules are not loaded"),
            OpenFailure::NoIommu => f.write_str("it is in no IOMMU group, so no IOMMU guards it"),
            OpenFailure::WrongDriver(None) => f.write_str("it is bound to no driver"),
            OpenFailure::WrongDriver(Some(driver)) => {
                write!(f, "it is bound to {driver}, which is no VFIO driver")
            }
            OpenFailure::NoPermission(path) => {
                write!(f, "{} may not be opened by this user", path.display())
            }
            OpenFailure::GroupNotViable(group, others) => write!(
                f,
                "its IOMMU group {group} also holds {}, bound to drivers that are not VFIO's",
                others.join(", ")
            ),
            OpenFailure::Busy(path) => write!(f, "{} is open elsewhere", path.display()),
            OpenFailure::NoSuchWay(via) => write!(f, "this kernel has no {via} way to it"),
            OpenFailure::ForeignGroup(group, device, driver) => write!(
                f,
                "{group} is the number of an IOMMU group, whose device {device} is bound to {}",
                driver.as_ref().map_or("no driver".to_owned(), |driver| format!("{driver}, which is no VFIO driver"))
            ),
            OpenFailure::Ambiguous(devices) => {
                write!(f, "the group has several devices: {}", devices.join(", "))
            }
            OpenFailure::WrongProfile(misfit) => misfit.fmt(f),
            OpenFailure::Refused(step, errno) => write!(f, "{step} was refused: {errno}"),
        }
    }
}

fn remedy_lines(remedy: &[String]) -> String {
    remedy.iter().map(|line| format!("\n    {line}")).collect::<String>()
}
