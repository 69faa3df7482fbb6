//! This host: whether a device can be tested on it, what stands in the way, and which driver a function is bound to.
//!
//! Everything is read below one root, so that tests can make up a host in a folder.

mod alias;
mod bind;
pub mod command;
mod doctor;
#[cfg(test)]
mod tests;
mod users;

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::unistd::{AccessFlags, access};

use crate::device::KernelName;
use crate::device::kernel::before;
use crate::device::kernel::sysfs::{self, Found};
use crate::harness::bench::KernelVersion;

/// Whether somebody has a block device for themselves alone.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Claim {
    /// Nobody has.
    Free,
    /// The kernel (a file system, RAID, ZFS, swap) or a program has.
    Held,
    /// It cannot be asked, for this reason.
    Unknown(String),
}

/// Asks by claiming it for a moment. Nothing is read or written, and a drive without a medium does not wait for one.
fn claim(node: &Path) -> Claim {
    let exclusive = OFlag::O_EXCL | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    match OpenOptions::new().read(true).custom_flags(exclusive.bits()).open(node) {
        Ok(_) => Claim::Free,
        Err(error) if error.raw_os_error() == Some(Errno::EBUSY as i32) => Claim::Held,
        Err(error) if error.raw_os_error() == Some(Errno::ENOMEDIUM as i32) => Claim::Free,
        Err(error) => Claim::Unknown(format!("{}: {error}", node.display())),
    }
}

/// How an attribute of sysfs is written. Made-up hosts have a kernel of their own here.
type WriteAttribute = dyn Fn(&Path, &str) -> io::Result<()>;

/// A host.
struct Host {
    root: PathBuf,
    /// Whether we may open a device node.
    may_open: fn(&Path) -> bool,
    write: Box<WriteAttribute>,
    /// Whether somebody has claimed a block device.
    claim: fn(&Path) -> Claim,
    /// The program that loads modules.
    modprobe: PathBuf,
}

impl Host {
    /// The host whose file system begins there.
    fn at(root: &Path) -> Host {
        Host {
            root: root.to_owned(),
            may_open: |node| access(node, AccessFlags::R_OK | AccessFlags::W_OK).is_ok(),
            write: Box::new(|path, text| OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())),
            claim,
            modprobe: PathBuf::from("modprobe"),
        }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The path as people on that host know it.
    fn shown(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).map_or_else(|_| path.to_owned(), |path| Path::new("/").join(path))
    }

    /// What a small file says, if there is one.
    fn text(&self, path: &str) -> Option<String> {
        read(&self.path(path))
    }

    fn entries(&self, path: &str) -> Vec<String> {
        sysfs::entries(&self.path(path))
    }

    /// `uname -r`.
    fn release(&self) -> String {
        self.text("proc/sys/kernel/osrelease").unwrap_or_default()
    }

    fn kernel(&self) -> Option<KernelVersion> {
        KernelVersion::parse(&self.release())
    }

    /// What tells this boot from others.
    fn boot(&self) -> String {
        before::boot(&self.root)
    }

    /// The best variant driver for a function, by its module; `vfio_pci` itself is none.
    fn variant(&self, found: &Found) -> Option<String> {
        let modalias = read(&found.path.join("modalias"))?;
        let aliases = self.text(&format!("lib/modules/{}/modules.alias", self.release()))?;
        alias::best(&aliases, &modalias).filter(|module| module != "vfio_pci")
    }

    /// The addresses of all PCI functions.
    fn functions(&self) -> Vec<KernelName> {
        self.entries("sys/bus/pci/devices").into_iter().map(KernelName::Pci).collect()
    }
}

/// What a small file says, without the newline at its end.
fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok().map(|text| text.trim_end().to_owned())
}
