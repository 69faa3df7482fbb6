//! Who uses the block devices of a function.

use std::path::Path;

use super::super::{Claim, Host, read};
use super::parts::{Part, Parts};
use super::{Doubt, User, Uses};
use crate::device::kernel::sysfs;

/// Where the kernel says which block devices it exports, and in which file each path stands.
const EXPORTS: [(&str, &str); 2] = [
    // NVMe over fabrics: subsystems/NAME/namespaces/N/device_path
    ("sys/kernel/config/nvmet/subsystems", "device_path"),
    // SCSI targets: core/BACKEND/NAME/udev_path
    ("sys/kernel/config/target/core", "udev_path"),
];

/// Looks at each block device, partitions included.
pub fn look(host: &Host, parts: &Parts, uses: &mut Uses) {
    let tables = Tables::of(host);
    let mut used: Vec<&Part> = Vec::new();
    for part in parts.of_class("block") {
        let users = tables.users(host, part);
        if !users.is_empty() {
            used.push(part);
        }
        uses.users.extend(users);
    }
    for part in parts.of_class("block") {
        // The path of a shared drive has no node, and a disk is claimed with each of its partitions.
        let is_named = used.iter().any(|other| other.path.starts_with(&part.path));
        if part.number.is_none() || is_named {
            continue;
        }
        match (host.claim)(&host.path("dev").join(part.node())) {
            Claim::Free => {}
            Claim::Held => {
                used.push(part);
                let is_below = parts.below(part).any(|below| below.class == "block" && is_held(host, below));
                if !is_below {
                    uses.users.push(User::Claimed(part.name.clone()));
                }
            }
            Claim::Unknown(why) => uses.doubts.push(Doubt::Block { block: part.name.clone(), why }),
        }
    }
}

fn is_held(host: &Host, part: &Part) -> bool {
    matches!((host.claim)(&host.path("dev").join(part.node())), Claim::Held)
}

/// What the kernel says of all block devices.
struct Tables {
    mounts: String,
    swaps: String,
    /// Loop devices and the file each shows.
    loops: Vec<(String, String)>,
    /// Exported paths, and who exports each.
    exports: Vec<(String, String)>,
    /// File systems with several disks, and those disks.
    members: Vec<(String, Vec<String>)>,
}

impl Tables {
    fn of(host: &Host) -> Tables {
        let backing = |name: String| Some((host.text(&format!("sys/block/{name}/loop/backing_file"))?, name));
        let members = |id: String| {
            let disks = host.entries(&format!("sys/fs/btrfs/{id}/devices"));
            (!disks.is_empty()).then(|| (format!("btrfs {id}"), disks))
        };
        let mut exports = Vec::new();
        for (folder, file) in EXPORTS {
            find_files(&host.path(folder), file, 4, &mut |path| {
                let by = host.shown(path.parent().unwrap_or(path)).display().to_string();
                exports.extend(read(path).filter(|device| !device.is_empty()).map(|device| (device, by)));
            });
        }
        Tables {
            mounts: host.text("proc/self/mountinfo").unwrap_or_default(),
            swaps: host.text("proc/swaps").unwrap_or_default(),
            loops: host.entries("sys/block").into_iter().filter_map(backing).map(|(file, name)| (name, file)).collect(),
            exports,
            members: host.entries("sys/fs/btrfs").into_iter().filter_map(members).collect(),
        }
    }

    fn users(&self, host: &Host, part: &Part) -> Vec<User> {
        let block = &part.name;
        let node = format!("/dev/{}", part.node());
        let number = part.number.clone().unwrap_or_default();
        let mut users: Vec<User> = self
            .mounts
            .lines()
            .filter_map(|line| mount_point(line, &number, &node))
            .map(|at| User::Mounted { block: block.clone(), at: at.to_owned() })
            .collect();
        // The line of a mount names only one disk of a file system with several.
        if users.is_empty() {
            let of = self.members.iter().filter(|(_, disks)| disks.contains(block));
            users.extend(of.map(|(of, _)| User::Member { block: block.clone(), of: of.clone() }));
        }
        if self.swaps.lines().any(|line| line.split_whitespace().next() == Some(node.as_str())) {
            users.push(User::Swap(block.clone()));
        }
        let on_top = self.loops.iter().filter(|(_, file)| *file == node).map(|(name, _)| name.clone());
        let holders = sysfs::entries(&part.path.join("holders")).into_iter().chain(on_top);
        users.extend(holders.map(|holder| User::Holder { block: block.clone(), holder }));
        let exported = self.exports.iter().filter(|(path, _)| is_same(host, path, &node));
        users.extend(exported.map(|(_, by)| User::Exported { block: block.clone(), by: by.clone() }));
        users
    }
}

/// Whether a path that somebody typed is that node, links followed.
fn is_same(host: &Host, path: &str, node: &str) -> bool {
    let real = host.path(path.trim_start_matches('/')).canonicalize();
    path == node || real.is_ok_and(|real| host.shown(&real) == Path::new(node))
}

fn find_files(folder: &Path, name: &str, depth: usize, found: &mut dyn FnMut(&Path)) {
    for entry in sysfs::entries(folder) {
        let path = folder.join(&entry);
        match entry == name {
            true => found(&path),
            false if depth > 0 && path.is_dir() => find_files(&path, name, depth - 1, found),
            false => {}
        }
    }
}

/// Where a line of mountinfo says that this block device is mounted. Some file systems have numbers of their own, so
/// the name of the node counts too.
fn mount_point<'a>(line: &'a str, number: &str, node: &str) -> Option<&'a str> {
    let (mount, source) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(2);
    let (device, at) = (fields.next()?, fields.nth(1)?);
    (device == number || source.split(' ').nth(1) == Some(node)).then_some(at)
}
