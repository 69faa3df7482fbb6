//! One guest: a QEMU process, the channel to its init, and its console.

use std::fs;
use std::io::Write;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::harness::incident::Phase;
use crate::harness::keeper::wait_for_end;
use crate::harness::kernel_log::{MARK, is_mark, is_report};
use crate::harness::outcome::Operation;
use crate::harness::slot::{self, SLOT_BYTES};
use crate::harness::stopwatch::Stopwatch;
use crate::harness::verdict::Verdict;
use crate::harness::wire::{Channel, Done, GuestRequest, Receiver, Reply, WireError, send};
use crate::lab::LabError;
use crate::lab::guest::PORT_NAME;
use crate::lab::pci::{self, MOST_DEVICES, PciTarget};
use crate::lab::room::hint_if_full;
use crate::requirement::health;
use crate::uapi::process::die_with_parent;
use vfio_conform_pci_target::registers::layout;

use super::TAIL_LINES;
use super::console_watch::ConsoleWatch;
use super::death::{self, First};
use super::monitor::{Monitor, file_uri};

/// The initramfs in a guest's folder.
pub const INITRAMFS: &str = "initramfs";

/// A QEMU that nothing hinders is gone well within this.
pub(super) const END_BOUND: Duration = Duration::from_secs(5);
/// What QEMU takes to end once its devices see that it does.
const FOLLOWS_WITHIN: Duration = Duration::from_millis(500);
/// Ten times what a boot takes under TCG on a quiet machine.
const FIRST_BOOT_BOUND: Duration = Duration::from_secs(60);
/// QEMU connects to the channel before it starts the guest.
const CONNECT_BOUND: Duration = Duration::from_secs(30);
/// To write or read some hundred MiB, which a guest uses.
const SAVE_BOUND: Duration = Duration::from_secs(20);
/// What QEMU says when KVM gives up on a guest, which then stands still.
const KVM_ERROR: &str = "KVM internal error";
/// What a guest shares with us: a slot for each device that it may have. A power of two, as windows of PCI are.
const MIRROR_BYTES: u64 = (SLOT_BYTES * MOST_DEVICES as usize) as u64;
/// How often a wait looks whether QEMU still lives.
const TICK: Duration = Duration::from_millis(100);

/// Everything that a guest is made of, but the accelerator.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The words that start QEMU.
    pub qemu: Vec<String>,
    /// The kernel's image.
    pub image: PathBuf,
    /// The initramfs.
    pub initramfs: PathBuf,
    /// Where the sockets of the channels are made.
    pub sockets: PathBuf,
    /// What the guest's kernel prints is appended here.
    pub console: PathBuf,
    /// Further words for the kernel's command line.
    pub append: Option<String>,
    /// The size of the guest's memory.
    pub memory: &'static str,
    /// The bundled PCI devices, if the guest has them.
    pub pci: Option<PciDevices>,
}

/// The bundled PCI devices of a guest.
#[derive(Debug, Clone)]
pub struct PciDevices {
    /// How many there are.
    pub count: u8,
    /// The size of each one's memory.
    pub memory: String,
}

/// Why a guest did not come up.
#[derive(Debug)]
pub enum BootError {
    /// It said nothing until its bound was over.
    Silent(LabError),
    /// A signal ended QEMU or an emulated device, which may go well the next time.
    Killed(LabError),
    /// It ended, or said what it should not.
    Failed(LabError),
}

impl From<LabError> for BootError {
    fn from(error: LabError) -> Self {
        BootError::Failed(error)
    }
}

impl From<BootError> for LabError {
    fn from((BootError::Silent(error) | BootError::Killed(error) | BootError::Failed(error)): BootError) -> Self {
        error
    }
}

/// Boots a guest, and boots it once more if it was silent: an emulated processor that its host neglects in the first
/// moments finds no clock that it trusts and then waits for ever, about once in some hundred boots of a busy machine.
/// The first try is given what a boot takes, the second all of `bound`.
///
/// # Errors
/// Why the guest did not come up the last time.
pub fn boot_patiently<T>(
    bound: Duration,
    mut boot: impl FnMut(Duration) -> Result<T, BootError>,
    again: impl FnOnce(),
) -> Result<T, BootError> {
    match boot(bound.min(FIRST_BOOT_BOUND)) {
        Err(BootError::Silent(_)) if bound > FIRST_BOOT_BOUND => again(),
        booted => return booted,
    }
    boot(bound)
}

/// A guest that stands still in a file, from which it can go on any number of times.
#[derive(Debug, Clone)]
pub struct Snapshot {
    file: PathBuf,
    channel: Channel,
}

/// A guest that is switched on. Dropping it switches it off.
pub struct Vm {
    pub(super) qemu: Child,
    monitor: Monitor,
    talks_over: Channel,
    channel: UnixStream,
    replies: Receiver<UnixStream>,
    // Until the guest has said over which channel it talks.
    virtio: Option<UnixStream>,
    console: PathBuf,
    /// Where in the console's file this guest begins: those before it wrote there too.
    console_from: u64,
    errors: PathBuf,
    mirror: PathBuf,
    devices: Vec<PciTarget>,
    pub(super) console_watch: ConsoleWatch,
    /// Sees when we, QEMU, a device or the guest stand still.
    watch: Stopwatch,
    /// What of it is known already.
    known_stops: Duration,
}

impl Vm {
    /// Switches a guest on.
    ///
    /// # Errors
    /// Why QEMU did not start.
    pub fn start(machine: &Machine, accelerator: &str) -> Result<Vm, BootError> {
        Vm::spawn(machine, machine.command(accelerator)?)
    }

    /// Switches a guest on and waits until its init is up; `again` is told if that takes a second try.
    ///
    /// # Errors
    /// Why it is not.
    pub fn boot(machine: &Machine, accelerator: &str, bound: Duration, again: impl FnOnce()) -> Result<Vm, BootError> {
        let boot = |bound| {
            let mut vm = Vm::start(machine, accelerator)?;
            vm.wait_until_up(bound)?;
            Ok(vm)
        };
        boot_patiently(bound, boot, again)
    }

    /// Has a guest go on that was saved, with another QEMU.
    ///
    /// # Errors
    /// Why QEMU did not start.
    pub fn resume(machine: &Machine, accelerator: &str, snapshot: &Snapshot) -> Result<Vm, BootError> {
        let mut command = machine.command(accelerator)?;
        command.arg("-incoming").arg(file_uri(&snapshot.file));
        let mut vm = Vm::spawn(machine, command)?;
        vm.monitor.go_on(SAVE_BOUND)?;
        vm.go_over(snapshot.channel)?;
        Ok(vm)
    }

    fn spawn(machine: &Machine, mut command: Command) -> Result<Vm, BootError> {
        let failed = |error: std::io::Error| machine.failed("start QEMU", error);
        let listeners = [machine.socket(Channel::Serial), machine.socket(Channel::Virtio), machine.monitor_socket()];
        let [serial, virtio, monitor] = listeners.map(|socket| listen(&socket));
        let (serial, virtio, monitor) = (serial.map_err(failed)?, virtio.map_err(failed)?, monitor.map_err(failed)?);
        let mut devices = machine.start_devices()?;
        let mirror = machine.mirror();
        // With all of its room, since a guest that meets a full file system there is killed.
        fs::File::create(&mirror).and_then(|file| take_room(&file, MIRROR_BYTES)).map_err(failed)?;
        let errors = machine.sockets.join("stderr");
        let stderr = fs::File::create(&errors).map_err(failed)?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr);
        let mut qemu = die_with_parent(&mut command).spawn().map_err(failed)?;
        let mut accept_all = || {
            let serial = accept(&serial, &mut qemu, &errors)?;
            let virtio = accept(&virtio, &mut qemu, &errors)?;
            let monitor = accept(&monitor, &mut qemu, &errors)?;
            let monitor = Monitor::new(monitor, qemu.id())?;
            Ok((serial, virtio, monitor))
        };
        let (channel, virtio, monitor) = match accept_all() {
            Ok(accepted) => accepted,
            Err(error) => return Err(explain_start(error, machine, &mut qemu, &mut devices)),
        };
        let replies = Receiver::new(channel.try_clone().map_err(failed)?);
        let console = machine.console.clone();
        let watch = Stopwatch::start(devices.iter().map(PciTarget::id).chain([qemu.id()]));
        Ok(Vm {
            qemu,
            monitor,
            talks_over: Channel::Serial,
            channel,
            replies,
            virtio: Some(virtio),
            // Moved on once its init is up.
            console_watch: ConsoleWatch::new(Phase::BetweenChecks, console_length(&console)),
            console_from: console_length(&console),
            console,
            errors,
            mirror,
            devices,
            watch,
            known_stops: Duration::ZERO,
        })
    }

    /// Saves the guest in a file.
    ///
    /// # Errors
    /// Why it cannot go on from there. This one goes on in any case, or is found to be gone when it is next asked.
    pub fn save(&mut self, file: PathBuf) -> Result<Snapshot, LabError> {
        match self.monitor.save(&file, SAVE_BOUND) {
            Ok(()) => Ok(Snapshot { file, channel: self.talks_over }),
            Err(LabError(why)) => {
                let full = file.parent().map(hint_if_full).unwrap_or_default();
                // A part of a guest takes room and is of no use.
                let _ = fs::remove_file(&file);
                Err(LabError(format!("{why}{full}")))
            }
        }
    }

    /// Goes on over the channel that the guest talks over.
    fn go_over(&mut self, channel: Channel) -> Result<(), LabError> {
        let virtio = self.virtio.take();
        if let (Channel::Virtio, Some(virtio)) = (channel, virtio) {
            let failed = |error| LabError::failed("talk to the guest", error);
            self.replies = Receiver::new(virtio.try_clone().map_err(failed)?);
            self.channel = virtio;
            self.talks_over = channel;
        }
        Ok(())
    }

    /// Waits until the guest's init is up, and goes on over the channel that it names.
    ///
    /// # Errors
    /// What came instead.
    pub fn wait_until_up(&mut self, bound: Duration) -> Result<(), BootError> {
        match self.receive(bound) {
            Ok(Reply::Up(channel)) => {
                self.console_watch = ConsoleWatch::new(Phase::Load, self.console_length());
                Ok(self.go_over(channel)?)
            }
            other => Err(self.explain_boot("boot the guest", other)),
        }
    }

    /// Asks something of the guest.
    ///
    /// # Errors
    /// That the guest is gone.
    pub fn ask(&mut self, request: &GuestRequest) -> Result<(), WireError> {
        send(&self.channel, request).map_err(|error| match error.kind() {
            std::io::ErrorKind::BrokenPipe => WireError::Closed,
            _ => WireError::Io(error),
        })
    }

    /// The guest's next message. Neither a QEMU that stopped its guest because KVM failed ends, nor one whose device is
    /// gone, so that is looked for while waiting. Time in which one of them or we stood still does not count.
    ///
    /// # Errors
    /// Why none came.
    pub fn receive(&mut self, bound: Duration) -> Result<Reply, WireError> {
        let end = self.watch.ran() + bound;
        loop {
            let left = end.saturating_sub(self.watch.ran());
            let received = self.replies.receive_by(&mut self.watch, left.min(TICK));
            self.look_at_guest();
            match received {
                // A guest without its device may go on for long, but what it says means nothing.
                Err(WireError::TimedOut(_)) if left > TICK && !self.is_stopped() && self.device_end().is_none() => {}
                Err(WireError::TimedOut(_)) if left > TICK => return Err(WireError::Closed),
                Err(WireError::TimedOut(_)) => return Err(WireError::TimedOut(bound)),
                Ok(Reply::Entered(phase)) => self.console_watch.phase = phase,
                Ok(Reply::Incident(incident)) => self.console_watch.incident(*incident),
                Ok(reply) => {
                    self.heard(&reply);
                    return Ok(reply);
                }
                other => return other,
            }
        }
    }

    fn heard(&mut self, reply: &Reply) {
        match reply {
            Reply::Ran { done, .. } => self.console_watch.done(done),
            Reply::Ready(_) => self.console_watch.phase = Phase::BetweenChecks,
            _ => {}
        }
    }

    /// A guest that somebody pauses stands still although QEMU does not.
    fn look_at_guest(&mut self) {
        if self.monitor.was_paused() {
            self.watch.interrupt();
        }
        self.watch.hold(self.monitor.is_paused());
    }

    /// How long the guest, what it consists of, or we stood still, since this was asked last.
    pub fn stood_still(&mut self) -> Duration {
        self.look_at_guest();
        self.watch.look(Duration::ZERO);
        let before = std::mem::replace(&mut self.known_stops, self.watch.stood_still());
        self.known_stops - before
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.errors().contains(KVM_ERROR)
    }

    fn errors(&self) -> String {
        let said = fs::read_to_string(&self.errors).unwrap_or_default();
        // Of its options that another version will not take any more.
        let lines = said.lines().filter(|line| !line.contains(": warning: ")).map(str::trim_end);
        lines.collect::<Vec<_>>().join("\n").trim().to_owned()
    }

    /// Waits until the guest powers off by itself.
    ///
    /// # Errors
    /// That it did not, or not well.
    pub fn wait_for_end(mut self, bound: Duration) -> Result<(), BootError> {
        match self.receive(bound) {
            Err(WireError::Closed) if !self.is_stopped() => {}
            other => return Err(self.explain_boot("boot a bare guest", other)),
        }
        match wait_for_end(&mut self.qemu, END_BOUND) {
            Some(status) if status.success() && self.panic().is_none() => Ok(()),
            _ => Err(self.explain_boot("boot a bare guest", Err(WireError::Closed))),
        }
    }

    fn explain_boot(&mut self, what: &str, instead: Result<Reply, WireError>) -> BootError {
        let is_silent = matches!(instead, Err(WireError::TimedOut(_)));
        let error = self.explain(what, instead);
        match is_silent {
            true => BootError::Silent(error),
            false => self.failed_to_start(error),
        }
    }

    /// What an error makes of a start: one that was killed may be tried again.
    pub fn failed_to_start(&mut self, error: LabError) -> BootError {
        let qemu = self.qemu.try_wait().ok().flatten();
        let is_killed = qemu.is_some_and(|status| death::is_killed(status, &self.errors()));
        match is_killed || self.devices.iter_mut().any(PciTarget::is_killed) {
            true => BootError::Killed(error),
            false => BootError::Failed(error),
        }
    }

    /// What this guest's kernel printed when it panicked.
    pub(super) fn panic(&self) -> Option<String> {
        let lines = console_lines(&self.console, self.console_from);
        lines.into_iter().rev().find(|line| line.contains("Kernel panic"))
    }

    /// Writes a line into the console's file, so that whoever reads it knows which check was running. In the guest, each
    /// byte of it would cost an exit.
    ///
    /// Returns where in the file it is.
    pub fn mark(&self, what: &str) -> u64 {
        let place = self.console_length();
        // Without it the console is still all that the guest has said.
        let console = fs::OpenOptions::new().append(true).open(&self.console);
        let _ = console.and_then(|mut console| writeln!(console, "{MARK}{what}"));
        place
    }

    /// How much the guest has printed so far, in bytes.
    pub fn console_length(&self) -> u64 {
        console_length(&self.console)
    }

    /// What the guest printed since then.
    pub fn console_since(&self, length: u64) -> Vec<String> {
        console_lines(&self.console, length)
    }

    /// What the executor of a device has done in its last check, as far as it came.
    pub fn operations(&self, device: usize) -> Vec<Operation> {
        fs::read(&self.mirror).map(|memory| slot::read_back(&memory, device)).unwrap_or_default()
    }

    /// Finds out why the guest went away in the middle of a check, since when its console has grown from there.
    pub fn autopsy(&mut self, error: &WireError, console: u64) -> Done {
        let bound = if self.devices.iter_mut().any(PciTarget::has_ended) { FOLLOWS_WITHIN } else { END_BOUND };
        let status = wait_for_end(&mut self.qemu, bound);
        let mut done = match (self.first(status), self.panic()) {
            (Some(First::Guest), Some(panic)) => {
                let mut done = Done::lost(Verdict::Crash, "the guest's kernel panicked".to_owned());
                done.outcome.accuse(&health::LOG, panic);
                return done;
            }
            (Some(First::Guest), None) => {
                return Done::lost(Verdict::Crash, "the guest went down by itself".to_owned());
            }
            (Some(first), _) => {
                let why = format!("{}, which is no fault of the device", self.describe(first, status));
                Done::lost(Verdict::Blocked, why)
            }
            (None, _) => Done::lost(Verdict::Hang, format!("the guest stopped talking: {error}")),
        };
        // Whoever else died: what the kernel said before is not lost.
        if let Some(report) = self.console_since(console).into_iter().find(|line| is_report(line)) {
            done.outcome.message = format!("the kernel reports: {report}; then {}", done.outcome.message);
            if done.outcome.verdict == Verdict::Blocked {
                done.outcome.verdict = Verdict::Fail;
            }
            done.outcome.accuse(&health::LOG, report);
        }
        done
    }

    pub(super) fn first(&mut self, qemu: Option<ExitStatus>) -> Option<First> {
        let devices: Vec<_> = self.devices.iter_mut().map(PciTarget::status).collect();
        death::first(qemu, &self.errors(), &devices)
    }

    fn describe(&mut self, first: First, qemu: Option<ExitStatus>) -> String {
        let of_qemu = |vm: &Vm| qemu.map(|status| format!("QEMU {}", vm.tell_end(status))).unwrap_or_default();
        let of_device = |vm: &mut Vm, device: usize| vm.devices.get_mut(device).map(PciTarget::end).unwrap_or_default();
        match first {
            First::Guest => "the guest went down".to_owned(),
            First::Qemu => of_qemu(self),
            First::Device(device) => of_device(self, device),
            First::Both(device) => format!("{}, and {}", of_qemu(self), of_device(self, device)),
        }
    }

    /// Why an emulated device ended, if it did so before its guest: afterwards it ends in any case, but then by itself.
    pub fn device_end(&mut self) -> Option<String> {
        if !self.devices.iter_mut().any(PciTarget::has_ended) {
            return None;
        }
        // A QEMU that is just going has closed its sockets before it is gone.
        let qemu = wait_for_end(&mut self.qemu, FOLLOWS_WITHIN);
        match self.first(qemu)? {
            First::Guest | First::Qemu => None,
            first => Some(self.describe(first, qemu)),
        }
    }

    fn tell_end(&self, status: ExitStatus) -> String {
        let how = death::describe(status);
        let full = self.mirror.parent().map(hint_if_full).unwrap_or_default();
        match self.errors() {
            said if said.is_empty() => format!("{how}{full}"),
            said => format!("{how} and said: {said}{full}"),
        }
    }

    /// Says what went wrong instead of the message that was waited for, with the end of the console.
    pub fn explain(&mut self, what: &str, instead: Result<Reply, WireError>) -> LabError {
        let device_end = self.device_end();
        let why = match instead {
            Ok(reply) => format!("the guest said {reply:?}"),
            Err(_) if self.is_stopped() => {
                let errors = self.errors();
                errors.lines().find(|line| line.contains(KVM_ERROR)).unwrap_or(KVM_ERROR).to_owned()
            }
            Err(WireError::Closed) => {
                let status = wait_for_end(&mut self.qemu, END_BOUND);
                match self.first(status) {
                    Some(first) => self.describe(first, status),
                    None => "the guest closed its channel".to_owned(),
                }
            }
            Err(error) => error.to_string(),
        };
        let why = device_end.unwrap_or(why);
        let lines = console_lines(&self.console, self.console_from);
        let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        let tail: String = tail.iter().map(|line| format!("\n    | {line}")).collect();
        LabError(format!("failed to {what}: {why}{tail}"))
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        end(&mut self.qemu);
    }
}

impl Machine {
    /// A guest without devices or further words, all of whose files are in this folder.
    pub fn plain(qemu: Vec<String>, image: &Path, folder: &Path, memory: &'static str) -> Machine {
        Machine {
            qemu,
            image: image.to_owned(),
            initramfs: folder.join(INITRAMFS),
            sockets: folder.to_owned(),
            console: folder.join("console.log"),
            append: None,
            memory,
            pci: None,
        }
    }

    fn socket(&self, channel: Channel) -> PathBuf {
        self.sockets.join(match channel {
            Channel::Serial => "serial",
            Channel::Virtio => "virtio",
        })
    }

    /// The memory that a guest shares with us.
    fn mirror(&self) -> PathBuf {
        self.sockets.join("mirror")
    }

    fn monitor_socket(&self) -> PathBuf {
        self.sockets.join("monitor")
    }

    /// Whether a guest of this kind can be saved: QEMU cannot tell the state of a device that another process emulates.
    pub fn can_be_saved(&self) -> bool {
        self.pci.is_none()
    }

    fn pci_socket(&self, index: u8) -> PathBuf {
        self.sockets.join(format!("pci{index}"))
    }

    /// The error of making something in the guest's folder.
    fn failed(&self, what: &str, error: std::io::Error) -> LabError {
        LabError::failed(what, format!("{error}{}", hint_if_full(&self.sockets)))
    }

    fn start_devices(&self) -> Result<Vec<PciTarget>, BootError> {
        let Some(PciDevices { count, memory }) = &self.pci else {
            return Ok(Vec::new());
        };
        (0..*count).map(|index| PciTarget::start(&self.pci_socket(index), memory)).collect()
    }

    fn command(&self, accelerator: &str) -> Result<Command, LabError> {
        let Some((program, words)) = self.qemu.split_first() else {
            return Err(LabError::failed("start QEMU", "the environment names no program"));
        };
        let cpu = match accelerator {
            "kvm" => "host",
            // String instructions are emulated word by word; without these two the guest's kernel copies in plain loops, which
            // is twice as fast.
            _ => "max,-erms,-fsrm",
        };
        let mut command = Command::new(program);
        command.args(words).args(["-nodefaults", "-no-user-config", "-display", "none"]);
        // What a device's reset moves in the memory map costs more the more there is in it, and once more for each other view
        // of the map, as system management has one for each processor.
        let machine = "q35,memory-backend=memory,sata=off,smbus=off,i8042=off,smm=off,hpet=off,vmport=off";
        command.args(["-machine", machine, "-cpu", cpu]);
        let backend = match &self.pci {
            // The devices reach the guest's memory through a descriptor.
            Some(_) => "memory-backend-memfd,share=on",
            // To save it takes half as long as with a descriptor.
            None => "memory-backend-ram",
        };
        command.arg("-object").arg(format!("{backend},id=memory,size={}", self.memory));
        command.args(["-smp", "2", "-m", self.memory, "-no-reboot"]);
        // Remapping interrupts needs the local APIC in the kernel and the others in QEMU.
        command.arg("-accel").arg(match accelerator {
            "kvm" => "kvm,kernel-irqchip=split",
            other => other,
        });
        command.arg("-chardev").arg(option("file,id=console,append=on,path=", &self.console));
        command.args(["-serial", "chardev:console"]);
        for (channel, name) in [(Channel::Serial, "serial"), (Channel::Virtio, "virtio")] {
            command.arg("-chardev").arg(option(&format!("socket,id={name},path="), &self.socket(channel)));
        }
        command.arg("-chardev").arg(option("socket,id=monitor,path=", &self.monitor_socket()));
        command.args(["-mon", "chardev=monitor,mode=control"]);
        command.args(["-serial", "chardev:serial", "-device", "virtio-serial-pci"]);
        command.arg("-device").arg(format!("virtserialport,chardev=virtio,name={PORT_NAME}"));
        let mirror = format!("memory-backend-file,id=mirror,share=on,size={MIRROR_BYTES},mem-path=");
        command.arg("-object").arg(option(&mirror, &self.mirror()));
        // One that is no master cannot be saved.
        command.args(["-device", "ivshmem-plain,memdev=mirror,master=on"]);
        if let Some(PciDevices { count, .. }) = &self.pci {
            command.args(["-device", "intel-iommu,intremap=on,caching-mode=on"]);
            for index in 0..*count {
                let socket = serde_json::json!({ "type": "unix", "path": self.pci_socket(index) });
                // Without a root port, of which each would be one more bridge to look through when a BAR moves.
                let slot = format!("{:x}", pci::slot(index));
                // A reset reads the ids time and again: QEMU answers for the device, which saves a message each.
                let device = serde_json::json!({
                    "driver": "vfio-user-pci", "bus": "pcie.0", "addr": slot, "socket": socket,
                    "x-pci-vendor-id": layout::VENDOR_ID, "x-pci-device-id": layout::DEVICE_ID,
                    "x-pci-sub-vendor-id": layout::VENDOR_ID, "x-pci-sub-device-id": layout::DEVICE_ID,
                });
                command.arg("-device").arg(device.to_string());
            }
        }
        command.arg("-kernel").arg(&self.image).arg("-initrd").arg(&self.initramfs);
        // A panic ends QEMU; warnings and worse go to the console, since that is what a dead guest leaves behind. A guest
        // that gets too little time panics at its check of the timer.
        let words = "console=ttyS0 panic=-1 loglevel=5 no_timer_check intel_iommu=on iommu.strict=1";
        command.arg("-append").arg(format!("{words} {}", self.append.as_deref().unwrap_or_default()));
        Ok(command)
    }
}

/// QEMU ends when it cannot talk to its device, and says less about it than the device does.
fn explain_start(error: LabError, machine: &Machine, qemu: &mut Child, devices: &mut [PciTarget]) -> BootError {
    // One that closes its sockets is about to end.
    let status = wait_for_end(qemu, FOLLOWS_WITHIN);
    let is_killed = status.is_some_and(|status| death::is_killed(status, ""));
    let is_killed = is_killed || devices.iter_mut().any(PciTarget::is_killed);
    let why = devices.iter_mut().find_map(PciTarget::failed).map(|why| format!("; {why}")).unwrap_or_default();
    end(qemu);
    let error = LabError(format!("{error}{why}{}", hint_if_full(&machine.sockets)));
    match is_killed {
        true => BootError::Killed(error),
        false => BootError::Failed(error),
    }
}

/// Gives a file its size, with the room for it.
fn take_room(file: &fs::File, bytes: u64) -> std::io::Result<()> {
    let length = i64::try_from(bytes).map_err(std::io::Error::other)?;
    match nix::fcntl::fallocate(file, nix::fcntl::FallocateFlags::empty(), 0, length) {
        // Not every file system can promise it.
        Err(nix::errno::Errno::EOPNOTSUPP) => file.set_len(bytes),
        answer => answer.map_err(std::io::Error::from),
    }
}

/// QEMU wants commas in values doubled.
fn option(head: &str, path: &Path) -> String {
    format!("{head}{}", path.display().to_string().replace(',', ",,"))
}

fn listen(socket: &Path) -> std::io::Result<UnixListener> {
    // Left over from the guest before.
    let _ = fs::remove_file(socket);
    UnixListener::bind(socket)
}

fn accept(listener: &UnixListener, qemu: &mut Child, errors: &Path) -> Result<UnixStream, LabError> {
    let failed = |error: std::io::Error| LabError::failed("start QEMU", error);
    listener.set_nonblocking(true).map_err(failed)?;
    let period = Duration::from_millis(5);
    let mut watch = Stopwatch::start([qemu.id()]);
    while watch.ran() < CONNECT_BOUND && !watch.is_stopped_for_good() {
        match listener.accept() {
            Ok((channel, _)) => {
                channel.set_nonblocking(false).map_err(failed)?;
                return Ok(channel);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(failed(error)),
        }
        if let Ok(Some(status)) = qemu.try_wait() {
            let said = fs::read_to_string(errors).unwrap_or_default();
            let why = format!("it ended at once ({status}) and said: {}", said.trim());
            return Err(LabError::failed("start QEMU", why));
        }
        std::thread::sleep(period);
        watch.look(period);
    }
    let why = format!("it did not connect within {CONNECT_BOUND:?}");
    Err(LabError::failed("start QEMU", why))
}

fn end(qemu: &mut Child) {
    // It may have ended by itself.
    let _ = qemu.kill();
    let _ = qemu.wait();
}

fn console_length(console: &Path) -> u64 {
    fs::metadata(console).map(|meta| meta.len()).unwrap_or_default()
}

fn console_lines(console: &Path, from: u64) -> Vec<String> {
    let bytes = fs::read(console).unwrap_or_default();
    let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
    String::from_utf8_lossy(&bytes[from..])
        .lines()
        .map(|line| line.trim_end().to_owned())
        .filter(|line| !line.is_empty() && !is_mark(line))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot_with(answers: &[Result<u8, BootError>], bound: u64) -> (Result<u8, String>, Vec<u64>) {
        let mut bounds = Vec::new();
        let answer = |answer: &Result<u8, BootError>| match answer {
            Ok(up) => Ok(*up),
            Err(BootError::Silent(error)) => Err(BootError::Silent(LabError(error.0.clone()))),
            Err(BootError::Killed(error)) => Err(BootError::Killed(LabError(error.0.clone()))),
            Err(BootError::Failed(error)) => Err(BootError::Failed(LabError(error.0.clone()))),
        };
        let boot = |bound: Duration| {
            bounds.push(bound.as_secs());
            answer(&answers[bounds.len() - 1])
        };
        (boot_patiently(Duration::from_secs(bound), boot, || ()).map_err(|error| LabError::from(error).0), bounds)
    }

    #[test]
    fn a_silent_guest_is_booted_once_more_and_any_other_is_not() {
        let silent = || Err(BootError::Silent(LabError("silent".to_owned())));
        let failed = || Err(BootError::Failed(LabError("failed".to_owned())));
        assert_eq!(boot_with(&[Ok(1)], 180), (Ok(1), vec![60]));
        assert_eq!(boot_with(&[silent(), Ok(2)], 180), (Ok(2), vec![60, 180]));
        assert_eq!(boot_with(&[silent(), silent()], 180), (Err("silent".to_owned()), vec![60, 180]));
        assert_eq!(boot_with(&[failed()], 180), (Err("failed".to_owned()), vec![60]));
        // A trial of KVM is not repeated.
        assert_eq!(boot_with(&[silent()], 20), (Err("silent".to_owned()), vec![20]));
    }
}
