//! The qemu lab: a guest that we boot, with a real kernel, its real VFIO core and a real driver.
//!
//! The journal and the supervisor stay on the host; the guest's init keeps the executor and does what it is asked over
//! a serial port. So a guest that hangs or panics costs one check and a restart, and nothing that was known.

mod accelerator;
mod bare;
mod console_watch;
mod death;
pub mod errand;
mod monitor;
mod options;
mod schedule;
mod shut_down;
mod vm;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::harness::incident::Incident;
use crate::harness::journal::{LabReady, Stage};
use crate::harness::keeper::{ExecutorSpec, going_on};
use crate::harness::verdict::Verdict;
use crate::harness::wire::{Done, GuestRequest, Parameter, Reply, WireError};

use crate::suites;
use crate::uapi::stop;

use super::environment::{Environment, Kernel, ModuleOptions, Modules, ModulesError};
use super::initramfs::{self, GuestPlan};
use super::scratch::Scratch;
use super::{Announced, Answer, Lab, LabError, Surroundings, Watch, pci};
use accelerator::Accelerator;
pub use accelerator::AcceleratorChoice;
pub use bare::{Bare, bare};
pub use options::{QemuOptions, Target};
use schedule::{Landing, Schedule};
pub(super) use vm::BootError;
use vm::{INITRAMFS, Machine, Snapshot, Vm};

/// How long a guest may take to its init under TCG on a slow machine, KASAN kernels included.
const BOOT_BOUND: Duration = Duration::from_secs(180);
/// How often a guest is booted that is killed before its device is open.
const BOOTS: usize = 3;
const SILENT: &str = "the guest is silent; booting it once more";
/// How long the guest may take to load its modules and open the device.
const OPEN_BOUND: Duration = Duration::from_secs(60);
/// What the guest needs above a check's deadline to say that it passed: the time to kill the executor, and a margin.
const REPLY_MARGIN: Duration = Duration::from_secs(10);
/// Where the profile that was given is in the guest.
const PROFILE: &str = "/profile.toml";
/// What a guest needs at least.
const GUEST_MEMORY: &str = "1G";
/// How many lines of a console are worth showing.
const TAIL_LINES: usize = 25;

/// The faults of the VFIO core, each behind the parameter `fault` of the module `vfio`.
const FAULTY_CORE: &str = include_str!("../../fixtures/faults/core.patch");

/// Whether the VFIO core of a lab with faults has any, and so the parameter.
pub const CORE_HAS_FAULTS: bool = !FAULTY_CORE.is_empty();

/// The names of the faults that the core's patch has, as often as it asks for them.
#[cfg(test)]
pub fn core_fault_names() -> impl Iterator<Item = &'static str> {
    FAULTY_CORE.split("vfio_has_fault(\"").skip(1).filter_map(|rest| rest.split_once('"')).map(|(name, _)| name)
}

/// Checks run in a guest.
pub struct QemuLab {
    options: QemuOptions,
    console: PathBuf,
    faulty: bool,
    prepared: Option<Prepared>,
    fresh: Option<Fresh>,
    vm: Option<Vm>,
    /// What this guest and those after it run on, once one was up.
    accelerator: Option<Accelerator>,
    spare: Option<Vm>,
    /// How many spare guests were booted.
    spares: u32,
    schedule: Schedule,
    /// Where in the console each check begins.
    marks: HashMap<String, u64>,
    /// Whether a check has spoilt the guest, so that what it does from here on accuses nobody.
    is_spoilt: bool,
    incidents: Vec<Incident>,
}

/// What the environment has made for a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Built {
    /// `uname -r` of the kernel.
    pub release: String,
    /// The folder of the modules, which has another name whenever anything differs that they are made from; `None` if there
    /// are none.
    pub modules: Option<PathBuf>,
}

/// A guest in which the device is open and no check has run yet: with it a restart needs no boot.
struct Fresh {
    snapshot: Snapshot,
    accelerator: &'static str,
    ready: LabReady,
}

/// What a guest is started from.
struct Prepared {
    machine: Machine,
    kernel: Kernel,
    // Holds the initramfs, the sockets and a saved guest, and goes away with the lab.
    folder: Scratch,
}

impl QemuLab {
    /// A lab; what the guest's kernel prints is appended to `console`.
    pub fn new(options: QemuOptions, console: PathBuf) -> QemuLab {
        let schedule = Schedule::new(options.devices().len());
        QemuLab {
            options,
            console,
            faulty: false,
            prepared: None,
            fresh: None,
            vm: None,
            accelerator: None,
            spare: None,
            spares: 0,
            schedule,
            marks: HashMap::new(),
            is_spoilt: false,
            incidents: Vec::new(),
        }
    }

    /// A lab whose driver and VFIO core can be given faults.
    pub fn with_faults(options: QemuOptions, console: PathBuf) -> QemuLab {
        QemuLab { faulty: true, ..QemuLab::new(options, console) }
    }

    /// A lab whose driver is loaded with this fault.
    pub fn with_driver_fault(options: QemuOptions, console: PathBuf, fault: &str) -> QemuLab {
        let words = options.append.iter().cloned().chain([format!("{}.fault={fault}", pci::DRIVER)]);
        let append = Some(words.collect::<Vec<_>>().join(" "));
        QemuLab::with_faults(QemuOptions { append, ..options }, console)
    }

    /// Closes the device, sets parameters of the guest's modules, and opens it again.
    ///
    /// # Errors
    /// Why it could not be opened again, or that there is no guest any more.
    pub fn set_parameters(&mut self, parameters: Vec<Parameter>) -> Result<LabReady, LabError> {
        let Some(vm) = &mut self.vm else {
            return Err(LabError::failed("set parameters", "there is no guest"));
        };
        let answer =
            vm.ask(&GuestRequest::SetParameters(parameters)).and_then(|()| vm.receive(OPEN_BOUND + REPLY_MARGIN));
        self.incidents.extend(vm.take_incidents());
        match answer {
            Ok(Reply::Ready(ready)) => Ok(*ready),
            Ok(Reply::NotReady(why)) => Err(LabError(why)),
            other => {
                self.incidents.extend(other.as_ref().err().and_then(|error| vm.last_incident(error)));
                let error = vm.explain("set parameters in the guest", other);
                self.vm = None;
                Err(error)
            }
        }
    }

    /// What the guest's modules are built from, written to this folder.
    fn module_options(&self, folder: &Path) -> Result<ModuleOptions, LabError> {
        let QemuOptions { core, extra, .. } = &self.options;
        let mut options = ModuleOptions { driver: None, core: core.clone(), extra: extra.clone() };
        if self.options.target == Target::Mtty {
            return Ok(options);
        }
        let driver = folder.join("driver");
        if self.faulty {
            pci::write_faulty_driver(&driver)?;
            if CORE_HAS_FAULTS {
                let patch = folder.join("core.patch");
                fs::write(&patch, FAULTY_CORE)
                    .map_err(|error| LabError::failed("write the patch of the core", error))?;
                options.core.patch.push(patch);
            }
        } else {
            pci::write_driver(&driver)?;
        }
        options.driver = Some(driver);
        Ok(options)
    }

    fn executor(&self, device: String) -> ExecutorSpec {
        ExecutorSpec {
            device,
            via: self.options.via,
            // The targets' own profiles are bundled.
            profile: self.options.profile.as_ref().map(|_| PROFILE.into()),
            force_profile: false,
            // A guest that hangs is only restarted.
            may_hang: true,
            wear: self.options.wear,
            deadline: self.options.check_deadline(),
            open_deadline: OPEN_BOUND,
        }
    }

    /// Has the environment make all that a guest is started from, which a run then finds there.
    ///
    /// # Errors
    /// Why it cannot be had; that a patch does not apply, or the VFIO core does not build, is told apart.
    pub fn build(&self, tell: &mut dyn FnMut(&str)) -> Result<Built, ModulesError> {
        let mut environment = Environment::new(tell);
        environment.qemu()?;
        let kernel = environment.kernel(&self.options.kernel)?;
        let folder = Scratch::new()?;
        let options = self.module_options(folder.path())?;
        let modules = environment.modules(&self.options.kernel, &self.options.target.to_string(), &options)?;
        let folder = modules.files.first().and_then(|file| file.parent());
        Ok(Built { release: kernel.release, modules: folder.map(Path::to_owned) })
    }

    fn prepare(&mut self, watch: &mut dyn Watch) -> Result<Prepared, LabError> {
        let mut tell = |step: &str| watch.step(step);
        let mut environment = Environment::new(&mut tell);
        let qemu = environment.qemu()?;
        let kernel = environment.kernel(&self.options.kernel)?;
        let target = self.options.target.to_string();
        let folder = Scratch::new()?;
        let options = self.module_options(folder.path())?;
        let modules = environment.modules(&self.options.kernel, &target, &options)?;
        let executors = self.options.devices().into_iter().map(|device| self.executor(device)).collect();
        let plan = GuestPlan::Check { target: self.options.target, modules: modules.names(), executors };
        let profile = self.options.profile.iter().map(|file| (PROFILE.into(), file.clone())).collect::<Vec<_>>();
        initramfs::write_with(&folder.path().join(INITRAMFS), &modules, &plan, &profile)?;
        let machine = Machine {
            console: self.console.clone(),
            pci: self.options.pci(),
            append: self.options.words(),
            ..Machine::plain(qemu, &kernel.image, folder.path(), GUEST_MEMORY)
        };
        Ok(Prepared { machine, kernel, folder })
    }

    fn boot_on(
        prepared: &Prepared,
        accelerator: &Accelerator,
        bound: Duration,
        watch: &mut dyn Watch,
    ) -> Result<Vm, BootError> {
        watch.step(&format!("booting {} under {accelerator}", prepared.kernel.release));
        watch.stage(Stage::PowerOn);
        let vm = Vm::boot(&prepared.machine, accelerator.name(), bound, || watch.step(SILENT))?;
        watch.stage(Stage::GuestUp);
        watch.step("loading the modules and opening the device");
        Ok(vm)
    }

    /// From power-on to an open device, with another try where something outside kills QEMU or a device on the way.
    fn bring_up(&mut self, watch: &mut dyn Watch) -> Result<LabReady, LabError> {
        for _ in 1..BOOTS {
            match self.bring_up_once(watch) {
                Err(BootError::Killed(LabError(why))) => {
                    watch.guest_killed();
                    let why = why.lines().next().unwrap_or_default();
                    watch.step(&format!("{why}; booting the guest again"));
                }
                up => return Ok(up?),
            }
        }
        let up = self.bring_up_once(watch);
        if matches!(up, Err(BootError::Killed(_))) {
            watch.guest_killed();
        }
        Ok(up?)
    }

    fn bring_up_once(&mut self, watch: &mut dyn Watch) -> Result<LabReady, BootError> {
        let Some(prepared) = &self.prepared else {
            return Err(LabError::failed("boot a guest", "the lab was not prepared").into());
        };
        let (vm, accelerator) = accelerator::start_on(self.options.accel, BOOT_BOUND, |accelerator, bound| {
            Self::boot_on(prepared, accelerator, bound, watch)
        })?;
        self.open(vm, accelerator, watch)
    }

    /// From a guest that is up to an open device.
    fn open(&mut self, mut vm: Vm, accelerator: Accelerator, watch: &mut dyn Watch) -> Result<LabReady, BootError> {
        self.is_spoilt = false;
        let answer = vm.receive(OPEN_BOUND + REPLY_MARGIN);
        self.incidents.extend(vm.take_incidents());
        if let Err(error) = &answer {
            self.incidents.extend(vm.last_incident(error));
        }
        let ready = match answer {
            Ok(Reply::Ready(ready)) => LabReady { accelerator: Some(accelerator.name().to_owned()), ..*ready },
            Ok(Reply::NotReady(why)) => {
                let why = LabError(vm.device_end().unwrap_or(why));
                return Err(vm.failed_to_start(why));
            }
            other => {
                let why = vm.explain("open the device in the guest", other);
                return Err(vm.failed_to_start(why));
            }
        };
        self.keep_fresh(&mut vm, &accelerator, &ready, watch);
        self.vm = Some(vm);
        self.accelerator = Some(accelerator);
        self.schedule.know_kernel(&ready.kernel);
        watch.stage(Stage::DeviceReady);
        Ok(ready)
    }

    /// Saves the guest as it is now, if it can be and was not yet.
    fn keep_fresh(&mut self, vm: &mut Vm, accelerator: &Accelerator, ready: &LabReady, watch: &mut dyn Watch) {
        let Some(prepared) = self.prepared.as_ref().filter(|prepared| prepared.machine.can_be_saved()) else {
            return;
        };
        if self.fresh.is_some() {
            return;
        }
        match vm.save(prepared.folder.path().join("fresh")) {
            Ok(snapshot) => {
                self.fresh = Some(Fresh { snapshot, accelerator: accelerator.name(), ready: ready.clone() });
            }
            Err(why) => watch.step(&format!("{why}; each restart boots the guest again")),
        }
    }

    /// Boots another guest while this one is about to be wedged. Without it one is booted afterwards.
    fn boot_spare(&mut self) {
        let (Some(prepared), Some(accelerator), None) = (&self.prepared, &self.accelerator, &self.fresh) else {
            return;
        };
        if self.spare.is_some() {
            return;
        }
        self.spares += 1;
        let sockets = prepared.folder.path().join(format!("spare{}", self.spares));
        let machine = Machine { sockets, ..prepared.machine.clone() };
        self.spare = fs::create_dir(&machine.sockets).ok().and_then(|()| Vm::start(&machine, accelerator.name()).ok());
    }

    /// From a spare guest to an open device.
    fn relieve(&mut self, mut vm: Vm, watch: &mut dyn Watch) -> Result<LabReady, LabError> {
        let Some(accelerator) = self.accelerator.clone() else {
            return Err(LabError::failed("use the spare guest", "no guest was up before"));
        };
        watch.stage(Stage::PowerOn);
        vm.wait_until_up(BOOT_BOUND)?;
        watch.stage(Stage::GuestUp);
        Ok(self.open(vm, accelerator, watch)?)
    }
}

impl QemuLab {
    /// From the guest as it was before the first check to an open device.
    fn go_back(&mut self, fresh: &Fresh, watch: &mut dyn Watch) -> Result<LabReady, LabError> {
        let Some(prepared) = &self.prepared else {
            return Err(LabError::failed("restart the guest", "the lab was not prepared"));
        };
        watch.stage(Stage::PowerOn);
        let mut vm = Vm::resume(&prepared.machine, fresh.accelerator, &fresh.snapshot)?;
        // Its answer is of no interest, but that it answers.
        let asked = vm.ask(&GuestRequest::Surroundings(self.options.device()));
        match asked.and_then(|()| vm.receive(REPLY_MARGIN)) {
            Ok(Reply::Surroundings(_)) => {
                self.vm = Some(vm);
                self.is_spoilt = false;
                watch.stage(Stage::GuestUp);
                watch.stage(Stage::DeviceReady);
                Ok(fresh.ready.clone())
            }
            other => Err(vm.explain("restart the guest", other)),
        }
    }

    /// Gives every device something to do and waits for the next result.
    ///
    /// # Errors
    /// What is to be said of the check that is wanted, since the guest is gone.
    fn go_on(&mut self, wanted: &str) -> Result<(), Answer> {
        let Some(mut vm) = self.vm.take() else {
            return Err(Done::lost(Verdict::Blocked, "there is no guest").into());
        };
        self.schedule.stood_still(vm.stood_still());
        let ordinary = self.options.check_deadline();
        let deadline = |check: &str| suites::deadline(check, ordinary) + REPLY_MARGIN;
        let bound = deadline(wanted);
        let dispatched = match stop::requested() {
            // What was begun is waited for, and nothing else begins.
            Some(_) => Ok(()),
            None => self.dispatch(wanted, &mut vm),
        };
        let answer = dispatched.and_then(|()| vm.receive(self.schedule.patience(deadline)));
        self.schedule.stood_still(vm.stood_still());
        self.incidents.extend(vm.take_incidents());
        let mut done = match answer {
            Ok(Reply::Ran { device, done }) => match vm.device_end() {
                None => {
                    self.is_spoilt |= done.lost.is_some();
                    self.land(device, *done)?;
                    // Its next check began when this one was over.
                    if let Some(check) = self.schedule.check_of(device) {
                        self.marks.insert(check.to_owned(), vm.mark(check));
                    }
                    self.vm = Some(vm);
                    return Ok(());
                }
                // What was judged was judged of a device that is not there.
                Some(why) => Done::lost(Verdict::Blocked, why),
            },
            Ok(other) => Done::lost(Verdict::Blocked, format!("the guest said {other:?} instead of a result")),
            Err(WireError::AskedToStop) => return Err(Answer::Stopped),
            Err(WireError::TimedOut(_)) => {
                Done::lost(Verdict::Hang, format!("the whole guest was silent for {bound:?}"))
            }
            Err(error) => {
                let console = self.marks_of_flights().unwrap_or_else(|| vm.console_length());
                vm.autopsy(&error, console)
            }
        };
        let console = self.marks_of_flights().unwrap_or_else(|| vm.console_length());
        let operations = self.schedule.device_of(wanted).map(|device| vm.operations(device)).unwrap_or_default();
        let is_the_devices = matches!(done.outcome.verdict, Verdict::Crash | Verdict::Hang);
        if let Some(what) = going_on(&operations).filter(|_| is_the_devices) {
            done.outcome.message = format!("{} during {what}", done.outcome.message);
        }
        done.outcome.evidence.operations = operations;
        done.outcome.seconds = self.schedule.longest().as_secs_f64();
        done.outcome.evidence.kernel_log = vm.console_since(console);
        let why = done.lost.clone().unwrap_or_default();
        Err(self.schedule.crash(done).map_or(Answer::Again(why), Answer::from))
    }

    /// Gives every device something to do, now and next.
    fn dispatch(&mut self, wanted: &str, vm: &mut Vm) -> Result<(), WireError> {
        for (device, check) in self.schedule.dispatch(wanted) {
            if self.schedule.check_of(device) == Some(&check) {
                self.marks.insert(check.clone(), vm.mark(&check));
            }
            let will_be_lost = self.schedule.wedges(&check);
            vm.ask(&GuestRequest::Run { device, check })?;
            if will_be_lost {
                self.boot_spare();
            }
        }
        Ok(())
    }

    /// Where in the console the check begins that runs longest.
    fn marks_of_flights(&self) -> Option<u64> {
        self.schedule.in_the_air().filter_map(|check| self.marks.get(check)).min().copied()
    }

    fn land(&mut self, device: usize, done: Done) -> Result<(), Answer> {
        match self.schedule.land(device, done) {
            Ok(Landing::Goes) => Ok(()),
            Ok(Landing::Spent(why)) => Err(Answer::Again(why)),
            Err(why) => Err(Done::lost(Verdict::Blocked, why).into()),
        }
    }
}

impl Lab for QemuLab {
    fn start(&mut self, watch: &mut dyn Watch) -> Result<LabReady, LabError> {
        let prepared = self.prepare(watch)?;
        self.prepared = Some(prepared);
        watch.stage(Stage::EnvironmentReady);
        self.bring_up(watch)
    }

    fn announce(&mut self, checks: Vec<Announced>) {
        self.schedule.announce(checks);
    }

    fn run(&mut self, check: &str) -> Answer {
        loop {
            if let Some(done) = self.schedule.take(check) {
                return done.into();
            }
            if let Err(ran) = self.go_on(check) {
                return ran;
            }
        }
    }

    fn recover(&mut self, watch: &mut dyn Watch) -> Result<LabReady, LabError> {
        self.vm = None;
        watch.step("restarting the guest");
        if let Some(spare) = self.spare.take() {
            match self.relieve(spare, watch) {
                Ok(ready) => return Ok(ready),
                Err(why) => watch.step(&format!("{why}; booting another one")),
            }
        }
        // What went wrong with a saved guest once would do so again.
        if let Some(fresh) = self.fresh.take() {
            match self.go_back(&fresh, watch) {
                Ok(ready) => {
                    self.fresh = Some(fresh);
                    return Ok(ready);
                }
                Err(why) => watch.step(&format!("{why}; booting it anew")),
            }
        }
        self.bring_up(watch)
    }

    fn surroundings(&mut self) -> Surroundings {
        let configuration = self.prepared.as_ref().and_then(|prepared| prepared.kernel.configuration());
        let device = self.options.device();
        let asked = self.vm.as_mut().and_then(|vm| {
            vm.ask(&GuestRequest::Surroundings(device)).ok()?;
            vm.receive(REPLY_MARGIN).ok()
        });
        match asked {
            Some(Reply::Surroundings(surroundings)) => Surroundings { configuration, ..*surroundings },
            // The next check finds out what became of the guest.
            _ => Surroundings { configuration, ..Surroundings::default() },
        }
    }

    fn incidents(&mut self) -> Vec<Incident> {
        std::mem::take(&mut self.incidents)
    }

    fn stop(&mut self, watch: &mut dyn Watch) {
        self.spare = None;
        if let Some(vm) = self.vm.take().filter(|_| !self.is_spoilt) {
            watch.step("closing the device and powering the guest off");
            self.incidents.extend(vm.shut_down());
        }
        watch.stage(Stage::PowerOff);
    }
}

impl Modules {
    fn names(&self) -> Vec<String> {
        self.files.iter().filter_map(|file| file.file_name()).map(|name| name.to_string_lossy().into_owned()).collect()
    }
}
