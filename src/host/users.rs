//! Who uses a function now, and what cannot be shown to be idle. A function that is in use is never taken from its driver;
//! one that cannot be shown to be idle only by force.

mod block;
mod openers;
mod parts;

use std::fmt;

use super::{Host, read};
use crate::device::kernel::sysfs::Found;
use openers::Openers;
use parts::{Part, Parts};

/// The bit of an interface's `flags` that is set while it is up.
const IFF_UP: u32 = 1;
/// The class of a PCI function that is a bridge, in the upper 16 of its 24 bits.
const PCI_BRIDGE: u32 = 0x0604;
/// Drivers that serve nobody: VFIO's own, and the one that only keeps others away.
const IDLE_DRIVERS: [&str; 2] = ["vfio-pci", "pci-stub"];
/// Classes of devices that nobody uses but through another device or node below or beside them.
const PASSIVE: [&str; 28] = [
    "ac97",
    "ata_device",
    "ata_link",
    "ata_port",
    "auxiliary",
    "bdi",
    "enclosure",
    "hdaudio",
    "hid",
    "hwmon",
    "i2c",
    "input",
    "leds",
    "mdio_bus",
    "nvme-subsystem",
    "nvmem",
    "pci_bus",
    "pci_express",
    "scsi",
    "scsi_device",
    "scsi_disk",
    "scsi_host",
    "sound",
    "thermal",
    "usb",
    "vfio-dev",
    "virtio",
    "wakeup",
];

/// A use of a function that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum User {
    /// A file system on one of its block devices.
    Mounted { block: String, at: String },
    /// A mounted file system with several disks, one of which is its own.
    Member { block: String, of: String },
    /// Swap space on one of its block devices.
    Swap(String),
    /// A block device on top of one of its own (device mapper, RAID, loop).
    Holder { block: String, holder: String },
    /// A block device that the kernel exports to other machines.
    Exported { block: String, by: String },
    /// A block device that somebody has claimed for themselves: a ZFS pool, a mount in another namespace, a program.
    Claimed(String),
    /// A network interface that is up.
    Network(String),
    /// A network interface that is part of another one (bridge, bond, VLAN).
    Below { interface: String, upper: String },
    /// A network interface in another network namespace.
    Elsewhere,
    /// It has virtual functions, which go away with its driver.
    Functions(u32),
    /// It is a bridge to these functions.
    Bridge(Vec<String>),
    /// Its driver has made a mediated device, which goes away with it.
    Mediated(String),
    /// The kernel's console.
    Console(String),
    /// What this machine's screen shows.
    Display(String),
    /// A watchdog that runs: without its driver the machine is reset.
    Watchdog(String),
    /// A DMA channel that a part of the kernel has taken.
    Channel(String),
    /// An RDMA port that is active.
    Rdma(String),
    /// A process that has a node or a file of it open.
    Process { pid: u32, command: String, what: String },
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            User::Mounted { block, at } => write!(f, "{block} is mounted on {at}"),
            User::Member { block, of } => write!(f, "{block} is a disk of the mounted file system {of}"),
            User::Swap(block) => write!(f, "{block} is swap space"),
            User::Holder { block, holder } => write!(f, "{holder} is made of {block}"),
            User::Exported { block, by } => write!(f, "{block} is exported to other machines ({by})"),
            User::Claimed(block) => write!(f, "{block} is claimed by the kernel or by a program for itself alone"),
            User::Network(interface) => write!(f, "the network interface {interface} is up"),
            User::Below { interface, upper } => write!(f, "the network interface {interface} is part of {upper}"),
            User::Elsewhere => f.write_str("its network interface is in another network namespace"),
            User::Functions(number) => write!(f, "it has {number} virtual functions, which its driver keeps"),
            User::Bridge(children) => write!(f, "it is a bridge to {}", children.join(", ")),
            User::Mediated(uuid) => write!(f, "its driver has made the mediated device {uuid}"),
            User::Console(tty) => write!(f, "{tty} is the kernel's console"),
            User::Display(what) => write!(f, "the machine's screen shows it ({what})"),
            User::Watchdog(name) => write!(f, "{name} is running, and resets the machine if it is not fed"),
            User::Channel(name) => write!(f, "the kernel uses its DMA channel {name}"),
            User::Rdma(port) => write!(f, "the RDMA port {port} is active"),
            User::Process { pid, command, what } => write!(f, "{command} (process {pid}) has {what} open"),
        }
    }
}

impl User {
    /// What to type, for a device of this address.
    pub fn remedy(&self, address: &str) -> String {
        match self {
            User::Mounted { at, .. } if at == "/" => "this host runs from it: name another device".to_owned(),
            User::Mounted { at, .. } => format!("sudo umount {at}"),
            User::Member { block, .. } => format!("findmnt --types btrfs    # umount the one with {block}"),
            User::Swap(block) => format!("sudo swapoff /dev/{block}"),
            User::Holder { holder, .. } => format!("lsblk /dev/{holder}    # shows what it is for"),
            User::Exported { by, .. } => format!("take it out of {by}"),
            User::Claimed(block) => {
                format!("lsblk -f /dev/{block}    # names a ZFS pool, RAID or LVM group; zpool export ends one")
            }
            User::Network(interface) => format!("sudo ip link set {interface} down"),
            User::Below { interface, .. } => {
                format!("sudo ip link set {interface} nomaster    # or delete what is on top of it: ip -d link")
            }
            User::Elsewhere => {
                "sudo lsns --type net    # shows the namespaces; move it back, or end what is there".to_owned()
            }
            User::Functions(_) => {
                format!("name one of them instead: ls -d /sys/bus/pci/devices/{address}/virtfn*")
            }
            User::Bridge(children) => format!("name one of them instead: {}", children.join(" ")),
            User::Mediated(uuid) => format!("echo 1 | sudo tee /sys/bus/mdev/devices/{uuid}/remove"),
            User::Console(_) => "boot with another console= first".to_owned(),
            User::Display(_) => "boot with another display, or none, first".to_owned(),
            User::Watchdog(name) => format!("stop what feeds /dev/{name}, or the watchdog: wdctl /dev/{name}"),
            User::Channel(_) => "unload the module that uses it: lsmod".to_owned(),
            User::Rdma(_) => "rdma link; rdma resource    # show what uses it".to_owned(),
            User::Process { pid, .. } => format!("end it, or wait for it: ps -fp {pid}"),
        }
    }
}

/// Why a function cannot be shown to be idle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doubt {
    /// A block device that could not be asked whether somebody has claimed it.
    Block { block: String, why: String },
    /// A driver with nothing in sysfs by which a use would be seen.
    Driver(String),
    /// A device of a class whose use is not known.
    Class { name: String, class: String },
    /// Processes whose open files this user may not see.
    Hidden(usize),
    /// Processes outside this container are not seen.
    Container,
    /// Other functions of its IOMMU group have drivers of their own.
    Group { group: u32, others: Vec<String> },
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Doubt::Block { block, why } => write!(f, "whether {block} is in use cannot be asked ({why})"),
            Doubt::Driver(driver) => write!(f, "its driver {driver} shows nowhere whether anything uses it"),
            Doubt::Class { name, class } => write!(f, "{name} ({class}) may be in use, which is shown nowhere"),
            Doubt::Hidden(processes) => write!(f, "the open files of {processes} processes are hidden from this user"),
            Doubt::Container => f.write_str("this is a container, and processes outside it are not seen"),
            Doubt::Group { group, others } => {
                write!(
                    f,
                    "its IOMMU group {group} also holds {}, bound to drivers that are not VFIO's",
                    others.join(", ")
                )
            }
        }
    }
}

impl Doubt {
    /// What to type to have it shown, if there is something.
    pub fn remedy(&self) -> Vec<String> {
        match self {
            Doubt::Block { block, .. } => vec![format!("lsblk -f /dev/{block}    # as root")],
            Doubt::Driver(_) | Doubt::Class { .. } => Vec::new(),
            Doubt::Hidden(_) => vec!["run as root".to_owned()],
            Doubt::Container => vec!["run outside the container, or in one with the host's processes".to_owned()],
            Doubt::Group { others, .. } => others
                .iter()
                .map(|name| {
                    format!("vfio-conform doctor {name}    # shows who uses it; it has to leave its driver too")
                })
                .collect(),
        }
    }
}

/// What is known of the use of a function.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Uses {
    /// The uses that were seen.
    pub users: Vec<User>,
    /// Why there may be others.
    pub doubts: Vec<Doubt>,
}

/// Looks at all that a function's driver has made, and at all processes.
pub fn of(host: &Host, found: &Found) -> Uses {
    let parts = Parts::of(host, found);
    let mut uses = Uses::default();
    let functions = read(&found.path.join("sriov_numvfs")).and_then(|number| number.parse().ok());
    uses.users.extend(functions.filter(|number| *number > 0).map(User::Functions));
    uses.users.extend(bridge(found, &parts));
    if read(&found.path.join("boot_vga")).as_deref() == Some("1") {
        uses.users.push(User::Display("its firmware chose it".to_owned()));
    }
    block::look(host, &parts, &mut uses);
    if parts.has_hidden_interface {
        uses.users.push(User::Elsewhere);
    }
    for part in &parts.all {
        match judge(host, &parts, part) {
            Judged::Idle => {}
            Judged::Used(user) => uses.users.push(user),
            Judged::Unknown(doubt) => uses.doubts.push(doubt),
        }
    }
    let is_vfio = found.vfio_dev.is_some() || found.driver.as_deref().is_some_and(|name| IDLE_DRIVERS.contains(&name));
    if let Some(driver) =
        found.driver.as_ref().filter(|_| !is_vfio && uses.doubts.is_empty() && !parts.all.iter().any(shows_its_use))
    {
        uses.doubts.push(Doubt::Driver(driver.clone()));
    }
    let openers = Openers::of(host, found, &parts);
    uses.users.extend(openers.users);
    // Whether a VFIO device is open the kernel knows itself: it waits, and takes it from nobody.
    let has_nodes = parts.all.iter().any(|part| part.number.is_some());
    if has_nodes && !is_vfio {
        uses.doubts.extend(openers.doubts);
    }
    uses
}

/// The other functions of its IOMMU group that have drivers of their own: testing it takes them all.
pub fn group(found: &Found) -> Option<Doubt> {
    let others: Vec<String> = found.foreign_neighbours().into_iter().filter(|name| *name != found.name).collect();
    let group = found.group.filter(|_| !others.is_empty())?;
    Some(Doubt::Group { group, others })
}

fn bridge(found: &Found, parts: &Parts) -> Option<User> {
    let class = read(&found.path.join("class"))?;
    let class = u32::from_str_radix(class.trim_start_matches("0x"), 16).ok()? >> 8;
    let children: Vec<String> = parts.of_class("pci").map(|part| part.name.clone()).collect();
    (class == PCI_BRIDGE && !children.is_empty()).then_some(User::Bridge(children))
}

enum Judged {
    Idle,
    Used(User),
    Unknown(Doubt),
}

/// Whether a part would show that it is used.
fn shows_its_use(part: &Part) -> bool {
    part.number.is_some() || !PASSIVE.contains(&part.class.as_str())
}

/// Whether a part is used, as far as its own attributes show; who has its node open is asked elsewhere.
fn judge(host: &Host, parts: &Parts, part: &Part) -> Judged {
    let attribute = |name: &str| read(&part.path.join(name)).unwrap_or_default();
    let used = |is_used: bool, user: User| if is_used { Judged::Used(user) } else { Judged::Idle };
    let name = part.name.clone();
    match part.class.as_str() {
        "block" | "pci" => Judged::Idle,
        "net" => interface(part),
        "mdev" => Judged::Used(User::Mediated(name)),
        "tty" => used(is_console(host, &name), User::Console(name)),
        "watchdog" => used(attribute("state") == "active", User::Watchdog(name)),
        "dma" => used(attribute("in_use").parse::<u32>().is_ok_and(|users| users > 0), User::Channel(name)),
        "graphics" => Judged::Used(User::Display(name)),
        "drm" => used(attribute("enabled") == "enabled", User::Display(name)),
        "infiniband" => match active_port(part) {
            Some(port) => Judged::Used(User::Rdma(port)),
            None => Judged::Idle,
        },
        "virtio" if part.driver.is_some() && !parts.below(part).any(shows_its_use) => {
            Judged::Unknown(Doubt::Driver(part.driver.clone().unwrap_or_default()))
        }
        _ if part.number.is_some() => Judged::Idle,
        class if PASSIVE.contains(&class) || class.starts_with("sas_") || class.starts_with("fc_") => Judged::Idle,
        class => Judged::Unknown(Doubt::Class { name, class: class.to_owned() }),
    }
}

fn interface(part: &Part) -> Judged {
    let flags = read(&part.path.join("flags"));
    let flags = flags.and_then(|flags| u32::from_str_radix(flags.trim_start_matches("0x"), 16).ok());
    match flags {
        None => return Judged::Unknown(Doubt::Class { name: part.name.clone(), class: "net".to_owned() }),
        Some(flags) if flags & IFF_UP != 0 => return Judged::Used(User::Network(part.name.clone())),
        Some(_) => {}
    }
    let entries = crate::device::kernel::sysfs::entries(&part.path);
    let upper = entries.iter().find_map(|name| name.strip_prefix("upper_"));
    let master = crate::device::kernel::sysfs::link_name(&part.path.join("master"));
    match upper.map(str::to_owned).or(master) {
        Some(upper) => Judged::Used(User::Below { interface: part.name.clone(), upper }),
        None => Judged::Idle,
    }
}

fn is_console(host: &Host, tty: &str) -> bool {
    let active = host.text("sys/class/tty/console/active").unwrap_or_default();
    active.split_whitespace().any(|name| name == tty)
}

fn active_port(part: &Part) -> Option<String> {
    let ports = part.path.join("ports");
    let is_active = |port: &String| read(&ports.join(port).join("state")).is_some_and(|state| state.contains("ACTIVE"));
    let port = crate::device::kernel::sysfs::entries(&ports).into_iter().find(is_active)?;
    Some(format!("{}/{port}", part.name))
}
