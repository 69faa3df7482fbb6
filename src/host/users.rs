//! Who uses a device now. What is in use is not taken away from its user.

use std::fmt;
use std::fs;
use std::path::Path;

use super::{Host, read};
use crate::device::kernel::sysfs::{self, Found};

/// The bit of `flags` that says that a network interface is up.
const IFF_UP: u32 = 1;

/// Somebody who uses a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum User {
    /// A file system on one of its block devices.
    Mounted { block: String, at: String },
    /// Swap space on one of its block devices.
    Swap(String),
    /// A block device on top of one of its own (device mapper, RAID).
    Holder { block: String, holder: String },
    /// A network interface that is up.
    Network(String),
    /// It has virtual functions, which go away with its driver.
    Functions(u32),
    /// A process that has it open.
    Process { pid: u32, command: String },
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            User::Mounted { block, at } => write!(f, "{block} is mounted on {at}"),
            User::Swap(block) => write!(f, "{block} is swap space"),
            User::Holder { block, holder } => write!(f, "{holder} is made of {block}"),
            User::Network(interface) => write!(f, "the network interface {interface} is up"),
            User::Functions(number) => write!(f, "it has {number} virtual functions, which its driver keeps"),
            User::Process { pid, command } => write!(f, "{command} (process {pid}) has it open"),
        }
    }
}

impl User {
    /// What to type, for a device of this address.
    pub fn remedy(&self, address: &str) -> String {
        match self {
            User::Mounted { at, .. } => format!("sudo umount {at}"),
            User::Swap(block) => format!("sudo swapoff /dev/{block}"),
            User::Holder { holder, .. } => format!("lsblk /dev/{holder}    # shows what it is for"),
            User::Network(interface) => format!("sudo ip link set {interface} down"),
            User::Functions(_) => {
                format!("name one of them instead: ls -d /sys/bus/pci/devices/{address}/virtfn*")
            }
            User::Process { pid, .. } => format!("end it, or wait for it: ps -fp {pid}"),
        }
    }
}

/// All who use a device.
pub fn of(host: &Host, found: &Found) -> Vec<User> {
    let mut users = blocks(host, found);
    users.extend(interfaces(host, found));
    let functions = read(&found.path.join("sriov_numvfs")).and_then(|number| number.parse().ok());
    users.extend(functions.filter(|number| *number > 0).map(User::Functions));
    users.extend(processes(host, found));
    users
}

/// The names of a class whose devices are parts of this one.
fn parts(host: &Host, found: &Found, class: &str) -> Vec<String> {
    let folder = host.path(class);
    let belongs = |name: &String| folder.join(name).canonicalize().is_ok_and(|path| path.starts_with(&found.path));
    sysfs::entries(&folder).into_iter().filter(belongs).collect()
}

fn blocks(host: &Host, found: &Found) -> Vec<User> {
    let mounts = host.text("proc/self/mountinfo").unwrap_or_default();
    let swaps = host.text("proc/swaps").unwrap_or_default();
    let mut users = Vec::new();
    for block in parts(host, found, "sys/class/block") {
        let number = host.text(&format!("sys/class/block/{block}/dev")).unwrap_or_default();
        let node = format!("/dev/{block}");
        users.extend(mounts.lines().filter_map(|line| {
            let at = mount_point(line, &number, &node)?;
            Some(User::Mounted { block: block.clone(), at: at.to_owned() })
        }));
        if swaps.lines().any(|line| line.split_whitespace().next() == Some(node.as_str())) {
            users.push(User::Swap(block.clone()));
        }
        let holders = host.entries(&format!("sys/class/block/{block}/holders"));
        users.extend(holders.into_iter().map(|holder| User::Holder { block: block.clone(), holder }));
    }
    users
}

/// Where a line of mountinfo says that this block device is mounted. Some file systems have numbers of their own, so
/// the name of the node counts too.
fn mount_point<'a>(line: &'a str, number: &str, node: &str) -> Option<&'a str> {
    let (mount, source) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(2);
    let (device, at) = (fields.next()?, fields.nth(1)?);
    (device == number || source.split(' ').nth(1) == Some(node)).then_some(at)
}

fn interfaces(host: &Host, found: &Found) -> impl Iterator<Item = User> {
    let is_up = |name: &String| {
        let flags = host.text(&format!("sys/class/net/{name}/flags"));
        let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim_start_matches("0x"), 16).ok());
        flags.is_some_and(|flags| flags & IFF_UP != 0)
    };
    let up: Vec<String> = parts(host, found, "sys/class/net").into_iter().filter(is_up).collect();
    up.into_iter().map(User::Network)
}

/// Those that have its group or its character device open, as far as we may see.
fn processes(host: &Host, found: &Found) -> Vec<User> {
    let group = found.group.map(|number| format!("/dev/vfio/{number}"));
    let cdev = found.vfio_dev.as_ref().map(|name| format!("/dev/vfio/devices/{name}"));
    let nodes: Vec<String> = group.into_iter().chain(cdev).collect();
    let is_open = |descriptors: &Path| {
        fs::read_dir(descriptors).is_ok_and(|descriptors| {
            let links = descriptors.flatten().filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
            links.into_iter().any(|link| nodes.iter().any(|node| link == Path::new(node)))
        })
    };
    let numbers = host.entries("proc").into_iter().filter_map(|name| name.parse::<u32>().ok());
    let holders = numbers.filter(|pid| is_open(&host.path(&format!("proc/{pid}/fd"))));
    let user = |pid| User::Process {
        pid,
        command: host.text(&format!("proc/{pid}/comm")).unwrap_or_else(|| "a process".to_owned()),
    };
    holders.map(user).collect()
}
