//! The device descriptor: what there is of regions and interrupts, access to them, reset, features.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use nix::errno::Errno;
use serde::{Deserialize, Serialize};
use vfio_bindings::bindings::vfio as raw;

use super::dma_logging::{LoggingReport, LoggingStart};
use super::feature::FeatureCall;
use super::stream::DataFd;
use super::sys::{Argument, ioctl, ioctl_struct, vfio_request};

const GET_INFO: u8 = 7;
const GET_REGION_INFO: u8 = 8;
const GET_IRQ_INFO: u8 = 9;
const SET_IRQS: u8 = 10;
const RESET: u8 = 11;

/// The answer of `VFIO_DEVICE_GET_INFO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceInfo {
    /// `VFIO_DEVICE_FLAGS_*`.
    pub flags: u32,
    /// How many region indexes there are.
    pub regions: u32,
    /// How many interrupt indexes there are.
    pub irqs: u32,
}

impl DeviceInfo {
    /// Whether `VFIO_DEVICE_RESET` is there.
    pub fn can_reset(self) -> bool {
        self.flags & raw::VFIO_DEVICE_FLAGS_RESET != 0
    }
}

/// The answer of `VFIO_DEVICE_GET_REGION_INFO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegionInfo {
    /// `VFIO_REGION_INFO_FLAG_*`.
    pub flags: u32,
    /// Bytes of the region; 0 if the device does not have it.
    pub size: u64,
    /// Where it begins in the device descriptor.
    pub offset: u64,
}

/// The answer of `VFIO_DEVICE_GET_IRQ_INFO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct IrqInfo {
    /// `VFIO_IRQ_INFO_*`.
    pub flags: u32,
    /// How many interrupts the index has.
    pub count: u32,
}

/// An open VFIO device of the kernel.
#[derive(Debug)]
pub struct VfioDevice(File);

impl VfioDevice {
    pub(crate) fn new(fd: OwnedFd) -> VfioDevice {
        VfioDevice(File::from(fd))
    }

    /// What the device is made of.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn info(&self) -> Result<DeviceInfo, Errno> {
        let mut info = raw::vfio_device_info { argsz: size_of::<raw::vfio_device_info>() as u32, ..Default::default() };
        ioctl_struct(self.0.as_fd(), vfio_request(GET_INFO), &mut info)?;
        Ok(DeviceInfo { flags: info.flags, regions: info.num_regions, irqs: info.num_irqs })
    }

    /// What a region index is.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn region_info(&self, index: u32) -> Result<RegionInfo, Errno> {
        let mut info =
            raw::vfio_region_info { argsz: size_of::<raw::vfio_region_info>() as u32, index, ..Default::default() };
        ioctl_struct(self.0.as_fd(), vfio_request(GET_REGION_INFO), &mut info)?;
        Ok(RegionInfo { flags: info.flags, size: info.size, offset: info.offset })
    }

    /// Reads from a region, `offset` bytes behind its beginning.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn region_read(&self, region: RegionInfo, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        self.0.read_at(buffer, region.offset + offset).map_err(errno_of)
    }

    /// Writes to a region, `offset` bytes behind its beginning.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn region_write(&self, region: RegionInfo, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        self.0.write_at(bytes, region.offset + offset).map_err(errno_of)
    }

    /// What an interrupt index is.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn irq_info(&self, index: u32) -> Result<IrqInfo, Errno> {
        let mut info =
            raw::vfio_irq_info { argsz: size_of::<raw::vfio_irq_info>() as u32, index, ..Default::default() };
        ioctl_struct(self.0.as_fd(), vfio_request(GET_IRQ_INFO), &mut info)?;
        Ok(IrqInfo { flags: info.flags, count: info.count })
    }

    /// Has the interrupts of an index, from the first one, signal these event descriptors; none of them turns the
    /// index off.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn set_irqs(&self, index: u32, events: &[BorrowedFd<'_>]) -> Result<i32, Errno> {
        let data = match events {
            [] => raw::VFIO_IRQ_SET_DATA_NONE,
            _ => raw::VFIO_IRQ_SET_DATA_EVENTFD,
        };
        let header = size_of::<raw::vfio_irq_set>() as u32;
        let mut bytes: Vec<u8> = Vec::new();
        for field in
            [header + 4 * events.len() as u32, data | raw::VFIO_IRQ_SET_ACTION_TRIGGER, index, 0, events.len() as u32]
        {
            bytes.extend(field.to_ne_bytes());
        }
        for event in events {
            bytes.extend(event.as_raw_fd().to_ne_bytes());
        }
        let mut words: Vec<u64> = bytes
            .chunks(8)
            .map(|chunk| {
                let mut eight = [0u8; 8];
                eight[..chunk.len()].copy_from_slice(chunk);
                u64::from_ne_bytes(eight)
            })
            .collect();
        ioctl(self.0.as_fd(), vfio_request(SET_IRQS), Argument::Memory(&mut words))
    }

    /// `VFIO_DEVICE_RESET`.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn reset(&self) -> Result<i32, Errno> {
        ioctl(self.0.as_fd(), vfio_request(RESET), Argument::Number(0))
    }

    /// `VFIO_DEVICE_FEATURE`, whatever the call holds.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn feature(&self, call: &mut FeatureCall) -> Result<i32, Errno> {
        call.make(self.0.as_fd())
    }

    /// `VFIO_DEVICE_FEATURE_DMA_LOGGING_START`.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn dma_logging_start(&self, start: &mut LoggingStart) -> Result<i32, Errno> {
        start.make(self.0.as_fd())
    }

    /// `VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT`.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn dma_logging_report(&self, report: &mut LoggingReport) -> Result<i32, Errno> {
        report.make(self.0.as_fd())
    }

    /// Takes over a data_fd that SET of the device state has just answered. Each number is taken over once.
    pub fn data_fd(number: i32) -> DataFd {
        DataFd::adopt(number)
    }
}

fn errno_of(error: std::io::Error) -> Errno {
    // `write_at` and `read_at` make one system call, so there is an errno; EIO stands in for the one error that the
    // library makes up by itself (a call that wrote nothing).
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
