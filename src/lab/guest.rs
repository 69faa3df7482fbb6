//! The guest's side of the qemu lab: this program as the init of a guest.
//!
//! It mounts what is needed, loads the modules, brings the target up, and runs what the host asks for over the
//! second serial port, which nothing else writes to. Whatever goes wrong is said there, or by the guest's end.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};

use super::initramfs::{GuestPlan, MODULES, PLAN};
use super::qemu::Target;
use crate::harness::keeper::{ExecutorSpec, Keeper};
use crate::harness::wire::{Receiver, Reply, Request, send};

/// Where the host listens.
const CHANNEL: &str = "/dev/ttyS1";
/// Any number will do for an mdev that lives as long as its guest.
pub const MTTY_UUID: &str = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";
const MTTY_TYPE: &str = "/sys/devices/virtual/mtty/mtty/mdev_supported_types/mtty-2/create";
// The host decides how long it takes; a guest that nobody asks anything is ended by it.
const NO_BOUND: Duration = Duration::from_secs(u32::MAX as u64);

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
        GuestPlan::Check { target, modules, executor } => {
            mount_all()?;
            check(target, &modules, executor)
        }
    }
}

fn check(target: Target, modules: &[String], executor: ExecutorSpec) -> Lived {
    let channel = open_channel()?;
    send(&channel, &Reply::Up)?;
    let keeper = bring_up(target, modules).and_then(|()| {
        Keeper::new("/init".into(), executor).map_err(|error| format!("failed to prepare the executor: {error}"))
    });
    let mut keeper = match keeper {
        Ok(keeper) => keeper,
        Err(why) => return Ok(send(&channel, &Reply::NotReady(why))?),
    };
    match keeper.start() {
        Ok(ready) => send(&channel, &Reply::Ready(Box::new(ready)))?,
        Err(why) => return Ok(send(&channel, &Reply::NotReady(why))?),
    }
    let mut requests = Receiver::new(channel.try_clone()?);
    while let Request::Run(name) = requests.receive(NO_BOUND)? {
        announce(&name);
        let done = keeper.run(&name);
        send(&channel, &Reply::Done(Box::new(done)))?;
    }
    Ok(())
}

/// Marks the kernel log, so that whoever reads the console knows which check was running.
fn announce(check: &str) {
    if let Ok(mut kmsg) = OpenOptions::new().write(true).open("/dev/kmsg") {
        let _ = kmsg.write_all(format!("<4>vfio-conform: {check}").as_bytes());
    }
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

fn open_channel() -> Result<File, Box<dyn std::error::Error>> {
    let channel = OpenOptions::new().read(true).write(true).open(CHANNEL)?;
    let mut settings = tcgetattr(&channel)?;
    cfmakeraw(&mut settings);
    tcsetattr(&channel, SetArg::TCSANOW, &settings)?;
    Ok(channel)
}

fn bring_up(target: Target, modules: &[String]) -> Result<(), String> {
    for name in modules {
        load(name).map_err(|error| format!("failed to load the module {name}: {error}"))?;
    }
    match target {
        Target::Mtty => {
            fs::write(MTTY_TYPE, MTTY_UUID).map_err(|error| format!("failed to create the mtty device: {error}"))
        }
    }
}

fn load(name: &str) -> std::io::Result<()> {
    let file = File::open(Path::new(MODULES).join(name))?;
    finit_module(&file, c"", ModuleInitFlags::empty()).map_err(std::io::Error::from)
}
