//! The type1 IOMMU of a container: which I/O addresses reach which memory.

use std::fs::File;
use std::os::fd::AsFd;

use nix::errno::Errno;
use vfio_bindings::bindings::vfio as raw;

use super::memory::DmaMemory;
use super::sys::{ioctl_struct, vfio_request};

const MAP_DMA: u8 = 13;
const UNMAP_DMA: u8 = 14;

/// A container with a type1 IOMMU.
#[derive(Debug)]
pub struct Type1Container(File);

impl Type1Container {
    pub(crate) fn new(container: File) -> Type1Container {
        Type1Container(container)
    }

    /// Lets devices read and write memory through the I/O address `iova`.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn map(&self, iova: u64, memory: &DmaMemory) -> Result<i32, Errno> {
        let mut map = raw::vfio_iommu_type1_dma_map {
            argsz: size_of::<raw::vfio_iommu_type1_dma_map>() as u32,
            flags: raw::VFIO_DMA_MAP_FLAG_READ | raw::VFIO_DMA_MAP_FLAG_WRITE,
            vaddr: memory.address() as u64,
            iova,
            size: memory.bytes() as u64,
        };
        ioctl_struct(self.0.as_fd(), vfio_request(MAP_DMA), &mut map)
    }

    /// Takes a mapping away. Returns how many bytes were unmapped.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn unmap(&self, iova: u64, bytes: u64) -> Result<u64, Errno> {
        // The structure ends in a flexible array that `argsz` does not count.
        let mut unmap = raw::vfio_iommu_type1_dma_unmap {
            argsz: size_of::<raw::vfio_iommu_type1_dma_unmap>() as u32,
            iova,
            size: bytes,
            ..Default::default()
        };
        ioctl_struct(self.0.as_fd(), vfio_request(UNMAP_DMA), &mut unmap)?;
        Ok(unmap.size)
    }
}
