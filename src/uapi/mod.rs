//! The VFIO uAPI as typed Rust, over the structures and numbers of `vfio-bindings`.
//!
//! This is the only room with `unsafe`. Two rules hold everywhere in it: an errno is returned as it came, never
//! merged with another or turned into a message; and what an ioctl returned is handed on as the number that it was,
//! because a positive number where the uAPI promises 0 is a defect that somebody has to see.

pub mod dma_logging;
pub mod feature;
pub mod group;
pub mod iommu;
pub mod iommufd;
pub mod memory;
pub mod precopy;
pub mod process;
pub mod state;
pub mod stop;
pub mod stream;
pub mod vfio_device;

mod sys;

pub use nix::errno::Errno;
