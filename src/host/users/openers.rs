//! The processes that have a node or a file of a function open, or mapped.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{major, minor};

use super::super::Host;
use super::parts::Parts;
use super::{Doubt, User};
use crate::device::kernel::sysfs::Found;

/// The first PID namespace, which all processes belong to (`PROC_PID_INIT_INO`).
const WHOLE_MACHINE: &str = "pid:[4026531836]";

/// Who has something of a function open.
#[derive(Debug, Default)]
pub struct Openers {
    /// The processes that were seen.
    pub users: Vec<User>,
    /// Why there may be others.
    pub doubts: Vec<Doubt>,
}

/// What is looked for.
struct Wanted {
    /// Nodes by their names on this host.
    nodes: Vec<PathBuf>,
    /// Nodes by whether they are block devices, and `major:minor`: in a container a node may have another name.
    numbers: Vec<(bool, String)>,
    /// The function's folder, as the host knows it: the files of its registers are in it.
    folder: PathBuf,
}

impl Openers {
    /// Looks at all processes.
    pub fn of(host: &Host, found: &Found, parts: &Parts) -> Openers {
        let group = found.group.map(|number| format!("/dev/vfio/{number}"));
        let unguarded = found.group.map(|number| format!("/dev/vfio/noiommu-{number}"));
        let cdev = found.vfio_dev.as_ref().map(|name| format!("/dev/vfio/devices/{name}"));
        let with_nodes = || parts.all.iter().filter(|part| part.number.is_some());
        let nodes = with_nodes().map(|part| format!("/dev/{}", part.node()));
        let wanted = Wanted {
            nodes: group.into_iter().chain(unguarded).chain(cdev).chain(nodes).map(PathBuf::from).collect(),
            numbers: with_nodes().filter_map(|part| Some((part.class == "block", part.number.clone()?))).collect(),
            folder: host.shown(&found.path),
        };
        let mut openers = Openers::default();
        let mut hidden = 0;
        for pid in host.entries("proc").into_iter().filter_map(|name| name.parse::<u32>().ok()) {
            match wanted.held_by(host, pid) {
                Ok(held) => {
                    let command = || host.text(&format!("proc/{pid}/comm")).unwrap_or_else(|| "a process".to_owned());
                    let user =
                        |path: PathBuf| User::Process { pid, command: command(), what: path.display().to_string() };
                    openers.users.extend(held.into_iter().map(user));
                }
                Err(ErrorKind::PermissionDenied) => hidden += 1,
                // It has ended meanwhile.
                Err(_) => {}
            }
        }
        if hidden > 0 {
            openers.doubts.push(Doubt::Hidden(hidden));
        }
        let namespace = fs::read_link(host.path("proc/self/ns/pid"));
        if namespace.is_ok_and(|namespace| namespace != Path::new(WHOLE_MACHINE)) {
            openers.doubts.push(Doubt::Container);
        }
        openers
    }
}

impl Wanted {
    /// What of it a process has open or mapped.
    fn held_by(&self, host: &Host, pid: u32) -> Result<BTreeSet<PathBuf>, ErrorKind> {
        let descriptors = fs::read_dir(host.path(&format!("proc/{pid}/fd"))).map_err(|error| error.kind())?;
        let open = descriptors.flatten().filter_map(|descriptor| self.wanted_of(&descriptor.path()));
        let mut held: BTreeSet<PathBuf> = open.collect();
        // What was mapped stays so when its descriptor is closed.
        let maps = host.text(&format!("proc/{pid}/maps")).unwrap_or_default();
        let mapped = maps.lines().filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])));
        held.extend(mapped.filter(|path| self.is_wanted(path)).map(Path::to_owned));
        Ok(held)
    }

    fn wanted_of(&self, descriptor: &Path) -> Option<PathBuf> {
        let path = fs::read_link(descriptor).ok()?;
        let is_it = self.is_wanted(&path) || (is_among_nodes(&path) && self.has_number(descriptor));
        is_it.then_some(path)
    }

    fn is_wanted(&self, path: &Path) -> bool {
        self.nodes.iter().any(|node| node == path) || path.starts_with(&self.folder)
    }

    fn has_number(&self, descriptor: &Path) -> bool {
        let Ok(metadata) = fs::metadata(descriptor) else { return false };
        let (kind, number) = (metadata.file_type(), metadata.rdev());
        if !kind.is_block_device() && !kind.is_char_device() {
            return false;
        }
        let number = format!("{}:{}", major(number), minor(number));
        self.numbers.iter().any(|(is_block, wanted)| *is_block == kind.is_block_device() && *wanted == number)
    }
}

/// Only these are asked for their numbers: to ask a file on a server that is away would not come back.
fn is_among_nodes(path: &Path) -> bool {
    path.is_absolute() && path.components().any(|component| component.as_os_str() == "dev")
}
