//! Binds a function to the variant driver that fits it best, and puts it back as it was.
//!
//! What the function was is on disk before the first change, and stays there until all is put back: whoever dies on the
//! way, `bind` and `unbind` can be said again.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Host;
use super::users::{self, Doubt, User};
use crate::device::kernel::before::{Before, By, StateError, StateFolder};
use crate::device::kernel::sysfs::{self, Found};
use crate::device::{KernelName, OpenError};

/// Why a function was not bound or put back.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// There is no such device.
    #[error(transparent)]
    Absent(#[from] OpenError),
    /// Only PCI functions have a driver that can be chosen.
    #[error("failed to bind {0}: it is no PCI function\n    its parent's driver made it, and drives it")]
    NoFunction(String),
    /// A group is not one function.
    #[error(
        "failed to {verb} {group}: it is the number of an IOMMU group, which holds {}\n    \
         name one function by its address; vfio-conform doctor ADDRESS    # shows who uses it",
        if .devices.is_empty() { "nothing".to_owned() } else { .devices.join(", ") }
    )]
    Group {
        /// What was to be done.
        verb: &'static str,
        /// The group.
        group: u32,
        /// Its devices, each with its driver.
        devices: Vec<String>,
    },
    /// It may be in use.
    #[error("failed to {verb} {device}: it cannot be shown to be idle: {}", in_doubt(.verb, .device, .doubts))]
    NotIdle {
        /// What was to be done.
        verb: &'static str,
        /// The function.
        device: String,
        /// Why not.
        doubts: Vec<Doubt>,
    },
    /// Somebody uses it.
    #[error("failed to {verb} {device}: {}", in_use(.device, .users))]
    InUse {
        /// What was to be done.
        verb: &'static str,
        /// The function.
        device: String,
        /// Who.
        users: Vec<User>,
    },
    /// No module says that it fits.
    #[error(
        "failed to choose a driver for {0}: no module of this kernel says that it is a variant driver for it\n    \
         install it, or name a driver that fits: vfio-conform bind {0} --driver NAME"
    )]
    NoVariant(String),
    /// The module cannot be loaded.
    #[error("failed to load {module}: {why}\n    install the module for this kernel, or name another with --driver")]
    Module {
        /// Its name.
        module: String,
        /// What modprobe said.
        why: String,
    },
    /// The module has no PCI driver.
    #[error("failed to bind with {0}: it is loaded, but it brings no PCI driver\n    name another with --driver")]
    NoDriver(String),
    /// What was before cannot be kept.
    #[error(transparent)]
    State(#[from] StateError),
    /// sysfs refuses.
    #[error("failed to write {}: {why}\n    run as root; dmesg may say more", .path.display())]
    Refused {
        /// The attribute.
        path: PathBuf,
        /// What the system answered.
        why: io::Error,
    },
    /// The driver did not take it.
    #[error("failed to bind {device} to {wanted}: it is bound to {} now\n    dmesg says why{put_back}", .now.as_deref().unwrap_or("nothing"))]
    NotTaken {
        /// The function.
        device: String,
        /// The driver that should have it.
        wanted: String,
        /// The one that has it.
        now: Option<String>,
        /// Whether it is as it was.
        put_back: &'static str,
    },
}

fn in_use(device: &str, users: &[User]) -> String {
    let what: Vec<String> = users.iter().map(User::to_string).collect();
    let remedy: String = users.iter().map(|user| format!("\n    {}", user.remedy(device))).collect();
    format!("{}{remedy}", what.join("; "))
}

fn in_doubt(verb: &str, device: &str, doubts: &[Doubt]) -> String {
    let reasons: Vec<String> = doubts.iter().map(Doubt::to_string).collect();
    let remedies: String = doubts.iter().flat_map(Doubt::remedy).map(|line| format!("\n    {line}")).collect();
    format!("{}{remedies}\n    if nothing uses it: sudo vfio-conform {verb} {device} --force", reasons.join("; "))
}

/// What came of it, in one sentence.
type Told = Result<String, BindError>;

/// Binds a function to a variant driver: the one that is named, or the one that fits best.
///
/// # Errors
/// Why it is not bound. If it was taken from its driver, it was given back, or the file of its state still says how.
pub fn bind(host: &Host, name: &KernelName, driver: Option<&str>, state: &StateFolder, is_forced: bool) -> Told {
    let found = find(host, name, "bind")?;
    let module = match driver {
        Some(driver) => driver.to_owned(),
        None => host.variant(&found).ok_or_else(|| BindError::NoVariant(found.name.clone()))?,
    };
    if found.vfio_dev.is_some() && drives(host, &found, &module) {
        return Ok(format!("{} is bound to {module} already", found.name));
    }
    let doubts = refuse_used(host, &found, "bind", is_forced)?;
    load(host, &module)?;
    let wanted = driver_of(host, &module).ok_or(BindError::NoDriver(module))?;
    keep_state(host, &found, state)?;
    give(host, &found, &wanted)?;
    let now = driver_now(&found);
    if now.as_deref() == Some(wanted.as_str()) {
        let forced: String = doubts.iter().map(|doubt| format!("\n    forced, although {doubt}")).collect();
        return Ok(format!(
            "{0} is bound to {wanted}{forced}\n    vfio-conform doctor {0}\n    sudo vfio-conform run {0}\n    \
             sudo vfio-conform unbind {0}    # puts it back",
            found.name
        ));
    }
    let put_back = match unbind(host, name, state, is_forced) {
        Ok(_) => "; it was put back as it was",
        Err(_) => "; vfio-conform unbind puts it back",
    };
    Err(BindError::NotTaken { device: found.name, wanted, now, put_back })
}

/// Puts a function back as it was before we bound it.
///
/// # Errors
/// Why it is not as it was; it can be tried again.
pub fn unbind(host: &Host, name: &KernelName, state: &StateFolder, is_forced: bool) -> Told {
    let found = find(host, name, "unbind")?;
    let Some(before) = state.read(&found.name, &host.boot())? else {
        state.forget(&found.name)?;
        return Ok(format!("{} was not bound by vfio-conform; nothing to put back", found.name));
    };
    let now = driver_now(&found);
    if now != before.driver {
        // Taking it away from a program would wait in the kernel until that program is done.
        refuse_used(host, &found, "unbind", is_forced)?;
    }
    set(host, &found.path.join("driver_override"), before.driver_override.as_deref().unwrap_or("\n"))?;
    if now != before.driver {
        release(host, &found)?;
        if let Some(driver) = &before.driver {
            set(host, &host.path(&format!("sys/bus/pci/drivers/{driver}/bind")), &found.name)?;
        }
    }
    let now = driver_now(&found);
    if now != before.driver {
        let wanted = before.driver.unwrap_or_else(|| "nothing".to_owned());
        return Err(BindError::NotTaken { device: found.name, wanted, now, put_back: "" });
    }
    state.forget(&found.name)?;
    Ok(format!("{} has {} again", found.name, before.before()))
}

fn find(host: &Host, name: &KernelName, verb: &'static str) -> Result<Found, BindError> {
    if let KernelName::Group(group) = name {
        let folder = format!("sys/kernel/iommu_groups/{group}/devices");
        let devices = host.entries(&folder).into_iter().map(|name| {
            let driver = sysfs::link_name(&host.path(&folder).join(&name).join("driver"));
            format!("{name} ({})", driver.as_deref().unwrap_or("no driver"))
        });
        return Err(BindError::Group { verb, group: *group, devices: devices.collect() });
    }
    let found = sysfs::find_in(&host.root, name)?;
    match found.is_pci() {
        true => Ok(found),
        false => Err(BindError::NoFunction(found.name)),
    }
}

/// Refuses a function that is in use, and one that may be unless that is forced. Returns the doubts that were overruled.
fn refuse_used(host: &Host, found: &Found, verb: &'static str, is_forced: bool) -> Result<Vec<Doubt>, BindError> {
    let device = found.name.clone();
    let mut uses = users::of(host, found);
    if !uses.users.is_empty() {
        return Err(BindError::InUse { verb, device, users: uses.users });
    }
    if verb == "bind" {
        uses.doubts.extend(users::group(found));
    }
    match uses.doubts.is_empty() || is_forced {
        true => Ok(uses.doubts),
        false => Err(BindError::NotIdle { verb, device, doubts: uses.doubts }),
    }
}

/// Whether a function is bound to the driver of this name or of this module.
fn drives(host: &Host, found: &Found, module: &str) -> bool {
    found.driver.is_some() && (found.driver.as_deref() == Some(module) || found.driver == driver_of(host, module))
}

fn load(host: &Host, module: &str) -> Result<(), BindError> {
    let failed = |why: String| BindError::Module { module: module.to_owned(), why };
    let output = Command::new(&host.modprobe)
        .args(["--", module])
        .output()
        .map_err(|error| failed(format!("{}: {error}", host.modprobe.display())))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

/// The PCI driver that a module brings, or that has this name itself.
fn driver_of(host: &Host, module: &str) -> Option<String> {
    if host.path("sys/bus/pci/drivers").join(module).exists() {
        return Some(module.to_owned());
    }
    let drivers = host.entries(&format!("sys/module/{}/drivers", module.replace('-', "_")));
    drivers.iter().find_map(|name| name.strip_prefix("pci:")).map(str::to_owned)
}

/// Writes down what the function is, unless an earlier `bind` did: that one knew what it was in the beginning. What a run
/// wrote down counts only while the function has no driver.
fn keep_state(host: &Host, found: &Found, state: &StateFolder) -> Result<(), BindError> {
    let kept = state.read(&found.name, &host.boot())?;
    if kept.is_some_and(|before| before.by == By::Bind || found.driver.is_none()) {
        return Ok(());
    }
    Ok(state.keep(&Before::of(found, By::Bind))?)
}

fn give(host: &Host, found: &Found, driver: &str) -> Result<(), BindError> {
    set(host, &found.path.join("driver_override"), driver)?;
    release(host, found)?;
    // A driver that refuses the function is seen by who has it afterwards.
    match set(host, &host.path("sys/bus/pci/drivers_probe"), &found.name) {
        Err(BindError::Refused { why, .. }) if why.kind() != io::ErrorKind::PermissionDenied => Ok(()),
        result => result,
    }
}

/// Takes it away from its driver, if it has one.
fn release(host: &Host, found: &Found) -> Result<(), BindError> {
    match driver_now(found) {
        Some(_) => set(host, &found.path.join("driver/unbind"), &found.name),
        None => Ok(()),
    }
}

fn driver_now(found: &Found) -> Option<String> {
    sysfs::link_name(&found.path.join("driver"))
}

fn set(host: &Host, path: &Path, text: &str) -> Result<(), BindError> {
    (host.write)(path, text).map_err(|why| BindError::Refused { path: host.shown(path), why })
}
