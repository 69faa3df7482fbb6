//! What stands in the way of testing a device on this host, and what to type.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use super::Host;
use super::users::{self, Doubt, User, Uses};
use crate::device::kernel::before::{Before, By, StateFolder};
use crate::device::kernel::sysfs::{self, Found};
use crate::device::{DeviceName, KernelName, OpenError, OpenFailure, Via};
use crate::harness::bench::{Fix, KernelVersion};
use crate::suites;

/// The first kernel with the second version of the protocol.
const PROTOCOL: KernelVersion = KernelVersion::new(5, 18);
/// Whoever has it may pin as much memory as there is.
const CAP_IPC_LOCK: u32 = 14;
/// What the checks pin at most, with room for the buffers of a profile.
const PINNED: u64 = 16 << 20;

/// Something that has to be mended before the device can be tested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// What there is.
    what: String,
    /// Why it matters.
    why: &'static str,
    /// What to type.
    remedy: Vec<String>,
}

impl Obstacle {
    fn new(what: impl Into<String>, why: &'static str, remedy: impl Into<String>) -> Obstacle {
        Obstacle { what: what.into(), why, remedy: vec![remedy.into()] }
    }

    /// One that opening the device would meet too, in the same words.
    fn opening(found: &Found, failure: OpenFailure, why: &'static str) -> Obstacle {
        let error = found.failed(failure);
        Obstacle { what: error.why.to_string(), why, remedy: error.remedy }
    }
}

/// What was found out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diagnosis {
    /// What was looked at, a line each.
    pub facts: Vec<String>,
    /// What has to be mended.
    pub obstacles: Vec<Obstacle>,
    /// What is good to know.
    pub notes: Vec<String>,
}

impl Diagnosis {
    /// Whether nothing stands in the way.
    pub fn is_ready(&self) -> bool {
        self.obstacles.is_empty()
    }
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fact in &self.facts {
            writeln!(f, "{fact}")?;
        }
        for obstacle in &self.obstacles {
            writeln!(f, "\nobstacle  {}; {}", obstacle.what, obstacle.why)?;
            for line in &obstacle.remedy {
                writeln!(f, "    {line}")?;
            }
        }
        if !self.notes.is_empty() {
            writeln!(f)?;
        }
        for note in &self.notes {
            writeln!(f, "note      {note}")?;
        }
        Ok(())
    }
}

/// Looks at the host alone.
fn host(host: &Host) -> Diagnosis {
    let groups = host.entries("sys/kernel/iommu_groups").len();
    let units = host.entries("sys/class/iommu");
    let iommu = match groups {
        0 => "none".to_owned(),
        _ => format!("{} with {groups} groups", if units.is_empty() { "on".to_owned() } else { units.join(", ") }),
    };
    let facts = vec![format!("kernel    {}", host.release()), format!("IOMMU     {iommu}")];
    let obstacles = [kernel(host), vfio(host), no_iommu(groups), memory_lock(host)];
    let notes = [lockdown(host), hanging(host), huge_pages(host)];
    Diagnosis {
        facts,
        obstacles: obstacles.into_iter().flatten().collect(),
        notes: notes.into_iter().flatten().collect(),
    }
}

/// Looks at the host, and for functions that are still as `bind` left them.
pub fn whole_host(host: &Host, state: &StateFolder) -> Diagnosis {
    let mut diagnosis = self::host(host);
    let functions = host.entries("sys/bus/pci/devices");
    diagnosis.notes.extend(functions.iter().filter_map(|address| bound_by_us(host, state, address)));
    diagnosis
}

/// Looks at the host and at one device of it.
///
/// # Errors
/// That there is no such device.
pub fn device(host: &Host, name: &KernelName, state: &StateFolder) -> Result<Diagnosis, OpenError> {
    let found = sysfs::find_in(&host.root, name)?;
    let mut diagnosis = self::host(host);
    diagnosis.facts.insert(0, fact(&found));
    let obstacles = &mut diagnosis.obstacles;
    if found.group.is_none() && !host.entries("sys/kernel/iommu_groups").is_empty() {
        let why = "without a group the kernel gives it to nobody";
        obstacles.push(Obstacle::opening(&found, OpenFailure::NoIommu, why));
    }
    obstacles.extend(driver(host, &found));
    let neighbours = found.foreign_neighbours();
    if let Some(group) = found.group.filter(|_| neighbours.iter().any(|name| *name != found.name)) {
        let others = neighbours.into_iter().filter(|name| *name != found.name).collect();
        let why = "the kernel gives a group only as a whole, since its devices can reach each other's memory";
        obstacles.push(Obstacle::opening(&found, OpenFailure::GroupNotViable(group, others), why));
    }
    obstacles.extend(permissions(host, &found));
    let Uses { users, doubts } = users::of(host, &found);
    obstacles.extend(users.iter().map(|user| used(user, &found)));
    obstacles.extend(doubts.iter().map(|doubt| in_doubt(doubt, &found)));
    diagnosis.notes.extend(bound_by_us(host, state, &found.name));
    Ok(diagnosis)
}

/// That a function is still as `bind` left it.
fn bound_by_us(host: &Host, state: &StateFolder, address: &str) -> Option<String> {
    let before = match state.read(address, &host.boot()) {
        Ok(kept) => kept?,
        Err(error) => return Some(error.to_string()),
    };
    let now = sysfs::link_name(&host.path("sys/bus/pci/devices").join(address).join("driver"));
    match before.by {
        By::Bind => {
            let had = before.before();
            Some(format!("vfio-conform bound {address}; it had {had}: sudo vfio-conform unbind {address}"))
        }
        By::Run if now.is_none() => {
            let had = before.before();
            Some(format!("a run that was killed took {address} from {had}: sudo vfio-conform unbind {address}"))
        }
        // It was killed after it had given the function back.
        By::Run => None,
    }
}

/// The functions that could be tested: a VFIO driver drives them, or one fits.
pub fn candidates(host: &Host) -> Vec<String> {
    let rows = host.functions().into_iter().filter_map(|name| {
        let found = sysfs::find_in(&host.root, &name).ok()?;
        let variant = host.variant(&found);
        let is_vfio = found.vfio_dev.is_some();
        if variant.is_none() && !is_vfio {
            return None;
        }
        let next = match (is_vfio, &variant) {
            (true, None) => "vfio-conform doctor".to_owned(),
            (true, Some(module)) if is_driven_by(&found, module) => "vfio-conform doctor".to_owned(),
            (_, Some(module)) => match users::of(host, &found).users.first() {
                Some(user) => format!("in use: {user}"),
                None => format!("vfio-conform bind    # to {module}"),
            },
            (false, None) => return None,
        };
        let driver = found.driver.clone().unwrap_or_else(|| "-".to_owned());
        let group = found.group.map_or("-".to_owned(), |group| group.to_string());
        let id = found.pci_id().unwrap_or_default();
        Some(format!("{:<14}{id:<11}{driver:<20}{group:<7}{next}", found.name))
    });
    let rows: Vec<String> = rows.collect();
    let head =
        (!rows.is_empty()).then(|| format!("{:<14}{:<11}{:<20}{:<7}{}", "function", "id", "driver", "group", "next"));
    head.into_iter().chain(rows).collect()
}

/// A module and its driver may differ in their hyphens.
fn is_driven_by(found: &Found, module: &str) -> bool {
    found.driver.as_ref().is_some_and(|driver| driver.replace('-', "_") == module)
}

fn fact(found: &Found) -> String {
    let id = found.pci_id().map_or(String::new(), |id| format!(" ({id})"));
    let driver = found.driver.as_ref().map_or("no driver".to_owned(), |driver| format!("driver {driver}"));
    let group = found.group.map_or("no group".to_owned(), |group| format!("group {group}"));
    format!("device    {}{id}, {driver}, {group}", found.name)
}

fn kernel(host: &Host) -> Option<Obstacle> {
    host.kernel().filter(|kernel| *kernel < PROTOCOL).map(|kernel| {
        Obstacle::new(
            format!("the kernel is {kernel}"),
            "the protocol that is tested came with 5.18",
            format!("boot a kernel from {PROTOCOL} on"),
        )
    })
}

fn vfio(host: &Host) -> Option<Obstacle> {
    if host.path("dev/vfio/vfio").exists() || host.path("dev/iommu").exists() {
        return None;
    }
    let modules = format!("lib/modules/{}/modules.dep", host.release());
    let is_there = host.text(&modules).is_some_and(|modules| modules.contains("/vfio.ko"));
    let remedy = match is_there {
        true => "sudo modprobe -a vfio_iommu_type1 vfio-pci".to_owned(),
        false => "install the kernel's modules, or a kernel with CONFIG_VFIO_PCI".to_owned(),
    };
    let why = "a device is opened through VFIO's nodes below /dev";
    Some(Obstacle::new(OpenFailure::NoVfio.to_string(), why, remedy))
}

fn no_iommu(groups: usize) -> Option<Obstacle> {
    (groups == 0).then(|| {
        Obstacle::new(
            "the kernel has no IOMMU groups: the IOMMU is off, or there is none",
            "nothing would keep the device from writing anywhere",
            "enable VT-d, AMD-Vi or SMMU in the firmware; on Intel also boot with intel_iommu=on",
        )
    })
}

fn memory_lock(host: &Host) -> Option<Obstacle> {
    let status = host.text("proc/self/status")?;
    let capabilities = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    if u64::from_str_radix(capabilities.trim(), 16).is_ok_and(|set| set >> CAP_IPC_LOCK & 1 == 1) {
        return None;
    }
    let limits = host.text("proc/self/limits")?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max locked memory"))?;
    // "unlimited" is no number.
    let limit: u64 = line.split_whitespace().next()?.parse().ok()?;
    (limit < PINNED).then(|| {
        Obstacle::new(
            format!("this user may lock {} KiB of memory", limit >> 10),
            "what a device reaches by DMA is locked",
            "run as root, or: ulimit -l 16384    # the hard limit stands in /etc/security/limits.conf",
        )
    })
}

fn lockdown(host: &Host) -> Option<String> {
    let modes = host.text("sys/kernel/security/lockdown")?;
    let mode = modes.split_once('[')?.1.split_once(']')?.0.to_owned();
    let says = match mode.as_str() {
        "none" => return None,
        "integrity" => "only signed modules are loaded, so sign a variant driver that you built",
        _ => "only signed modules are loaded, and the kernel's own path through the states cannot be seen",
    };
    Some(format!("the kernel is locked down ({mode}): {says}"))
}

fn hanging(host: &Host) -> Option<String> {
    let kernel = host.kernel()?;
    let fixes: Vec<&Fix> =
        suites::all().iter().filter_map(|check| check.hangs_without()).filter(|fix| !fix.is_in(kernel)).collect();
    let names: BTreeSet<String> = fixes.iter().map(ToString::to_string).collect();
    (!fixes.is_empty()).then(|| {
        format!(
            "{} checks can wedge this kernel until a reboot and are left out: Linux {} have the fix; --may-hang runs them",
            fixes.len(),
            names.into_iter().collect::<Vec<_>>().join("; ")
        )
    })
}

fn huge_pages(host: &Host) -> Option<String> {
    let memory = host.text("proc/meminfo")?;
    let number = memory.lines().find_map(|line| line.strip_prefix("HugePages_Total:"))?.trim();
    (number != "0").then(|| format!("{number} huge pages are reserved; the checks need none"))
}

fn driver(host: &Host, found: &Found) -> Option<Obstacle> {
    let variant = host.variant(found);
    let remedy = match &variant {
        _ if Before::driver_lost_by_a_run(found).is_some() => {
            format!("sudo vfio-conform unbind {}    # a run that was killed had taken it from its driver", found.name)
        }
        Some(module) => format!("sudo vfio-conform bind {}    # to {module}", found.name),
        None if found.is_pci() => {
            "install the variant driver for it: no module of this kernel says that it is one".to_owned()
        }
        None => "create the device with a driver that has migration".to_owned(),
    };
    match (&found.vfio_dev, found.driver.as_deref()) {
        (Some(_), Some("vfio-pci")) => Some(Obstacle::new(
            "it is bound to vfio-pci",
            "that driver knows no device's state, so it has no migration",
            remedy,
        )),
        (Some(_), _) => None,
        (None, driver) => {
            let failure = OpenFailure::WrongDriver(driver.map(str::to_owned));
            Some(Obstacle::new(failure.to_string(), "only a VFIO driver lets programs have the device", remedy))
        }
    }
}

/// The nodes that opening the device takes, as far as they are there.
fn permissions(host: &Host, found: &Found) -> Vec<Obstacle> {
    if found.vfio_dev.is_none() {
        return Vec::new();
    }
    let via = if found.has_cdev() { Via::Cdev } else { Via::Group };
    let nodes: Vec<PathBuf> = match via {
        Via::Cdev => vec![found.cdev_path(), host.path("dev/iommu")],
        Via::Group => {
            let group = found.group.map(|number| host.path(&format!("dev/vfio/{number}")));
            [Some(host.path("dev/vfio/vfio")), group].into_iter().flatten().collect()
        }
    };
    let why = "the device is opened through it";
    let closed = nodes.into_iter().filter(|node| node.exists() && !(host.may_open)(node));
    closed.map(|node| Obstacle::opening(found, OpenFailure::NoPermission(host.shown(&node)), why)).collect()
}

fn used(user: &User, found: &Found) -> Obstacle {
    Obstacle::new(user.to_string(), "testing resets the device under its user", user.remedy(&found.name))
}

fn in_doubt(doubt: &Doubt, found: &Found) -> Obstacle {
    let mut remedy = doubt.remedy();
    remedy.push(format!("if nothing uses it: sudo vfio-conform bind {} --force", found.name));
    Obstacle { what: doubt.to_string(), why: "what may be in use is not taken from its driver", remedy }
}

/// The device of the kernel that is meant.
///
/// # Errors
/// That it is the model, which needs nothing of a host.
pub fn kernel_name(device: &DeviceName) -> Result<&KernelName, String> {
    match device {
        DeviceName::Kernel(name) => Ok(name),
        DeviceName::Model(_) => Err(format!(
            "failed to look for {device} on this host: the model needs none\n    vfio-conform run {device}"
        )),
    }
}
