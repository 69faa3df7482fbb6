//! The guest's side of the qemu lab: this program as the init of a guest.
//!
//! It mounts what is needed, loads the modules, brings the target up, and runs what the host asks for over a channel
//! that nothing else writes to. Whatever goes wrong is said there, or by the guest's end.

use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};

use clap::ValueEnum;
use clap::builder::PossibleValue;
use nix::kmod::{DeleteModuleFlags, ModuleInitFlags, delete_module, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use serde_json::{Value, json};

use super::initramfs::{GuestPlan, MODULES, PLAIN, PLAN, SCRIPT};
use super::pci;
use super::qemu::Target;
use super::surroundings::Surroundings;
use crate::harness::beside::{Keepers, News};
use crate::harness::incident::{Incident, Phase};
use crate::harness::journal::LabReady;
use crate::harness::keeper::{ExecutorSpec, Keeper};
use crate::harness::kernel_log::KernelLog;
use crate::harness::verdict::Verdict;
use crate::harness::wire::{Channel, Done, GuestRequest, Parameter, Receiver, Reply, send};
use crate::probe::{self, Probe};

/// Where the host listens for the first word, on every kernel.
const SERIAL: &str = "/dev/ttyS1";
/// Where it listens for all others, if the kernel has virtio-serial.
const VIRTIO_PORTS: &str = "/sys/class/virtio-ports";
/// The name of our virtio-serial port.
pub const PORT_NAME: &str = "vfio-conform";
/// Any number will do for an mdev that lives as long as its guest.
pub const MTTY_UUID: &str = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
const MTTY_TYPE: &str = "/sys/devices/virtual/mtty/mtty/mdev_supported_types/mtty-2/create";
/// Vendor and device of QEMU's shared memory.
const SHARED_MEMORY: (&str, &str) = ("0x1af4", "0x1110");
const MDEV_DEVICES: &str = "/sys/bus/mdev/devices";
const PCI_BUS: &str = "/sys/bus/pci";

/// The life of the guest's init. It ends with the guest.
pub fn main() -> ! {
    if let Err(why) = live() {
        // The console is what is left to talk to.
        eprintln!("vfio-conform: {why}");
    }
    power_off()
}

fn power_off() -> ! {
    // An init that ends is a kernel panic, which ends the guest too.
    let _ = reboot(RebootMode::RB_POWER_OFF);
    std::process::exit(1)
}

type Lived = Result<(), Box<dyn std::error::Error>>;

fn live() -> Lived {
    match serde_json::from_slice(&fs::read(PLAN)?)? {
        GuestPlan::PowerOff => Ok(()),
        GuestPlan::Check { target, modules, executors } => {
            mount_all()?;
            check(target, &modules, executors)
        }
        GuestPlan::Probe { modules, probe, has_plain } => {
            mount_all()?;
            let channel = greet()?;
            let seen =
                load_all(&modules).and_then(|()| make_devices(Target::Pci)).and_then(|()| look(probe, has_plain));
            Ok(send(&channel, &Reply::Probed(seen))?)
        }
        GuestPlan::Script => {
            mount_all()?;
            let channel = greet()?;
            Ok(send(&channel, &Reply::Probed(run_script()))?)
        }
    }
}

fn check(target: Target, modules: &[String], executors: Vec<ExecutorSpec>) -> Lived {
    let channel = greet()?;
    let replies = Arc::new(Mutex::new(channel.try_clone()?));
    let answer = move |reply: &Reply| {
        let replies = replies.lock().unwrap_or_else(PoisonError::into_inner);
        send(&*replies, reply)
    };
    let report = answer.clone();
    // From here on everything that the kernel reports is a finding: what it reported before is about the machine.
    let told = Arc::default();
    let mut log = KernelLog::open();
    log.share(&told);
    let mut watch = |phase| {
        let incident = Incident::of(phase, None, log.outside_checks(), Vec::new());
        incident.map_or(Ok(()), |incident| answer(&Reply::Incident(Box::new(incident))))
    };
    answer(&Reply::Entered(Phase::Load))?;
    let loaded = load_all(modules);
    watch(Phase::Load)?;
    answer(&Reply::Entered(Phase::Bind))?;
    let keepers = loaded.and_then(|()| make_devices(target)).and_then(|()| {
        let mirror = mirror();
        let make = |slot, spec| {
            let keeper = Keeper::new("/init".into(), spec, None)?;
            Ok(match &mirror {
                Some(memory) => keeper.recording_in(memory.clone(), slot)?,
                None => keeper,
            })
        };
        // A host that does not hear it ends the guest.
        let report = move |news| {
            drop(report(&match news {
                News::Over(device, done) => Reply::Ran { device, done },
                News::Incident(incident) => Reply::Incident(incident),
            }));
        };
        Keepers::new(executors, &told, make, report).map_err(|error| format!("failed to prepare the executor: {error}"))
    });
    // After the keepers have begun to watch, so that nothing is between.
    watch(Phase::Bind)?;
    let keepers = match keepers {
        Ok(keepers) => keepers,
        Err(why) => return Ok(answer(&Reply::NotReady(why))?),
    };
    answer(&Reply::Entered(Phase::Open))?;
    answer(&opened(keepers.start()))?;
    let mut requests = Receiver::new(channel);
    loop {
        match requests.receive_next()? {
            GuestRequest::Run { device, check } => {
                if let Err(why) = keepers.run(device, check) {
                    answer(&Reply::Ran { device, done: Box::new(Done::lost(Verdict::Blocked, why)) })?;
                }
            }
            GuestRequest::Surroundings(device) => {
                answer(&Reply::Surroundings(Box::new(surroundings(&device))))?;
            }
            GuestRequest::SetParameters(parameters) => {
                answer(&opened(keepers.restart(|| parameters.iter().try_for_each(set))))?;
            }
            GuestRequest::Close => {
                keepers.close();
                answer(&Reply::Finished(Phase::Close))?;
            }
            GuestRequest::Unbind => {
                remove_devices(target);
                unload_all(modules);
                watch(Phase::Unbind)?;
                answer(&Reply::Finished(Phase::Unbind))?;
            }
            GuestRequest::PowerOff => return Ok(()),
        }
    }
}

/// The window of the memory that the guest shares with its host. Without it a guest that dies leaves its console.
fn mirror() -> Option<PathBuf> {
    let functions = fs::read_dir(Path::new(PCI_BUS).join("devices")).ok()?;
    let is = |function: &Path, attribute: &str, id: &str| {
        fs::read_to_string(function.join(attribute)).is_ok_and(|text| text.trim() == id)
    };
    let shared = functions
        .flatten()
        .map(|function| function.path())
        .find(|function| is(function, "vendor", SHARED_MEMORY.0) && is(function, "device", SHARED_MEMORY.1))?;
    // No driver does it.
    fs::write(shared.join("enable"), "1").ok()?;
    Some(shared.join("resource2"))
}

/// A name that is none of a device's has no hardware.
fn surroundings(device: &str) -> Surroundings {
    device.parse().map(|device| Surroundings::of(&device)).unwrap_or_default()
}

fn opened(ready: Result<LabReady, String>) -> Reply {
    match ready {
        Ok(ready) => Reply::Ready(Box::new(ready)),
        Err(why) => Reply::NotReady(why),
    }
}

fn set(parameter: &Parameter) -> Result<(), String> {
    let Parameter { module, name, value } = parameter;
    // An empty write is none at all; what is set is read up to the end of its line.
    fs::write(format!("/sys/module/{module}/parameters/{name}"), format!("{value}\n"))
        .map_err(|error| format!("failed to set {module}.{name} to {value:?}: {error}"))
}

/// Runs a probe in a process of its own, whose memory is then its own too.
fn look(probe: Probe, has_plain: bool) -> Result<Value, String> {
    let failed = |error: std::io::Error| format!("failed to run the probe: {error}");
    let mut command = Command::new("/init");
    let name = probe.to_possible_value();
    command.arg(probe::SUBCOMMAND).args(name.iter().map(PossibleValue::get_name));
    command.args(has_plain.then_some(["--plain", PLAIN]).into_iter().flatten());
    let output = command.output().map_err(failed)?;
    match output.status.success() {
        true => serde_json::from_slice(&output.stdout).map_err(|error| failed(error.into())),
        false => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
    }
}

/// Runs the script, and returns what it said and how it ended.
fn run_script() -> Result<Value, String> {
    let mut command = Command::new("/bin/sh");
    // What it runs talks into the same pipe, so that everything stands in the order in which it was said.
    command.args(["-c", &format!("exec 2>&1; . {SCRIPT}")]).env("PATH", "/bin");
    let output = command.output().map_err(|error| format!("failed to run the script: {error}"))?;
    Ok(json!({ "code": output.status.code(), "said": String::from_utf8_lossy(&output.stdout) }))
}

fn mount_all() -> Lived {
    for (kind, place) in [("devtmpfs", "/dev"), ("proc", "/proc"), ("sysfs", "/sys"), ("tmpfs", "/tmp")] {
        mount(Some(kind), place, Some(kind), MsFlags::empty(), None::<&str>)?;
    }
    // A kernel without tracing has no place for it; the checks then say that they did not see the path.
    let tracing = "/sys/kernel/tracing";
    let _ = mount(Some("tracefs"), tracing, Some("tracefs"), MsFlags::empty(), None::<&str>);
    Ok(())
}

/// Says that we are up, and opens the channel for all that follows.
fn greet() -> Result<File, Box<dyn std::error::Error>> {
    let serial = OpenOptions::new().read(true).write(true).open(SERIAL)?;
    let mut settings = tcgetattr(&serial)?;
    cfmakeraw(&mut settings);
    tcsetattr(&serial, SetArg::TCSANOW, &settings)?;
    let port = virtio_port().and_then(|path| OpenOptions::new().read(true).write(true).open(path).ok());
    let (channel, name) = match port {
        Some(port) => (port, Channel::Virtio),
        None => (serial.try_clone()?, Channel::Serial),
    };
    send(&serial, &Reply::Up(name))?;
    Ok(channel)
}

fn virtio_port() -> Option<PathBuf> {
    let ports = fs::read_dir(VIRTIO_PORTS).ok()?;
    let port = ports
        .flatten()
        .find(|port| fs::read_to_string(port.path().join("name")).is_ok_and(|name| name.trim() == PORT_NAME))?;
    Some(Path::new("/dev").join(port.file_name()))
}

fn load_all(modules: &[String]) -> Result<(), String> {
    for name in modules {
        load(name).map_err(|error| format!("failed to load the module {name}: {error}"))?;
    }
    Ok(())
}

/// Unloads what can be unloaded. What is in use, or cannot be unloaded, stays.
fn unload_all(modules: &[String]) {
    for file in modules.iter().rev() {
        if let Ok(name) = CString::new(module_name(file)) {
            let _ = delete_module(&name, DeleteModuleFlags::O_NONBLOCK);
        }
    }
}

/// The name by which the kernel knows the module of this file.
fn module_name(file: &str) -> String {
    file.trim_end_matches(".ko").replace('-', "_")
}

fn make_devices(target: Target) -> Result<(), String> {
    match target {
        Target::Mtty => {
            fs::write(MTTY_TYPE, MTTY_UUID).map_err(|error| format!("failed to create the mtty device: {error}"))
        }
        Target::Pci => bind_functions(),
    }
}

/// Takes the devices from their driver. What it refuses is no incident: the kernel's log says what went wrong.
fn remove_devices(target: Target) {
    match target {
        Target::Mtty => drop(fs::write(format!("{MDEV_DEVICES}/{MTTY_UUID}/remove"), "1")),
        Target::Pci => {
            for address in functions() {
                let driver = Path::new(PCI_BUS).join("devices").join(&address).join("driver");
                let _ = fs::write(driver.join("unbind"), &address);
            }
        }
    }
}

/// Binds every function of the target to its driver.
fn bind_functions() -> Result<(), String> {
    functions().try_for_each(|address| bind(&address).map_err(|error| format!("failed to bind {address}: {error}")))
}

/// The functions of the target that are there.
fn functions() -> impl Iterator<Item = String> {
    let is_there = |address: &String| Path::new(PCI_BUS).join("devices").join(address).exists();
    (0..pci::MOST_DEVICES).map(pci::address).filter(is_there)
}

/// Binds a function to its driver, which binds to nothing by itself.
fn bind(address: &str) -> std::io::Result<()> {
    let bus = Path::new(PCI_BUS);
    let function = bus.join("devices").join(address);
    fs::write(function.join("driver_override"), pci::DRIVER)?;
    fs::write(bus.join("drivers_probe"), address)?;
    match function.join("driver").exists() {
        true => Ok(()),
        false => Err(std::io::Error::other(format!("{} did not take it", pci::DRIVER))),
    }
}

fn load(name: &str) -> std::io::Result<()> {
    let file = File::open(Path::new(MODULES).join(name))?;
    let words = fs::read_to_string("/proc/cmdline")?;
    let parameters = CString::new(parameters(name, &words))?;
    finit_module(&file, &parameters, ModuleInitFlags::empty()).map_err(std::io::Error::from)
}

/// What the kernel's command line holds for a module, as modprobe would pass it on.
fn parameters(file: &str, words: &str) -> String {
    let module = module_name(file);
    let of_module: Vec<&str> = words
        .split_whitespace()
        .filter_map(|word| word.split_once('.'))
        .filter(|(name, _)| name.replace('-', "_") == module)
        .map(|(_, parameter)| parameter)
        .collect();
    of_module.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_reach_their_module_only() {
        let words = "console=ttyS0 vfio_pci.ids=1:2 stumble.how=warn stumble.from=1 a.b=c";
        assert_eq!(parameters("stumble.ko", words), "how=warn from=1");
        assert_eq!(parameters("vfio-pci.ko", words), "ids=1:2");
        assert_eq!(parameters("vfio.ko", words), "");
    }
}
