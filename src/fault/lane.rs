//! Where faults can be switched on: the model, and guests with the bundled PCI target.

use std::path::PathBuf;
use std::time::Duration;

use vfio_conform_pci_target::fault::Fault as DeviceFault;

use super::catalogue::{Fault, Need, Place};
use crate::baseline::Baseline;
use crate::device::model::{self, ModelSpec};
use crate::harness::incident::{Incident, Phase};
use crate::harness::journal::LabReady;
use crate::harness::keeper::{ExecutorSpec, Keeper};
use crate::harness::outcome::Outcome;
use crate::harness::verdict::Verdict;
use crate::harness::wire::{Done, Parameter};
use crate::lab::qemu::{CORE_HAS_FAULTS, QemuLab, QemuOptions};
use crate::lab::{Answer, Lab, LabError, Watch, local, pci};
use crate::requirement::health;
use crate::uapi::state::Capabilities;

/// How long a check may take on the model, which waits for nothing. Checks themselves give each of up to four sleepers two
/// seconds to wake.
const MODEL_DEADLINE: Duration = Duration::from_secs(10);
/// How long, where the fault makes a call hang: it does not matter how late the others are.
const HANGS_WITHIN: Duration = Duration::from_millis(500);
const OPEN_DEADLINE: Duration = Duration::from_secs(20);
/// How long, where opening hangs: a process that opens the model at once is much faster, also on a busy machine.
const OPEN_HANGS_WITHIN: Duration = Duration::from_secs(5);

/// A place with devices that can be given a fault.
pub trait Lane {
    /// Has the fault from here on, and a device that was just opened.
    ///
    /// # Errors
    /// Why it cannot be had.
    fn enter(&mut self, fault: &Fault, watch: &mut dyn Watch) -> Result<(), LabError>;

    /// Runs one check, whatever becomes of it.
    fn run(&mut self, check: &str) -> Done;

    /// Has a device again after a check that lost it, still with the fault.
    ///
    /// # Errors
    /// Why there is none.
    fn recover(&mut self, watch: &mut dyn Watch) -> Result<(), LabError>;

    /// Closes and unbinds the device, still with the fault.
    fn leave(&mut self, watch: &mut dyn Watch);

    /// Whether the kernel's configuration says that it lacks this.
    fn is_built_without(&mut self, need: Need) -> bool;

    /// What went wrong while no check ran, since this was last asked.
    fn incidents(&mut self) -> Vec<Incident>;
}

/// Models, each in an executor of its own.
#[derive(Debug, Default)]
pub struct ModelLane {
    keeper: Option<Keeper>,
}

impl Lane for ModelLane {
    fn enter(&mut self, fault: &Fault, _watch: &mut dyn Watch) -> Result<(), LabError> {
        let known = model::Fault::from_name(&fault.name).filter(|_| fault.place == Place::Model);
        let spec = ModelSpec { capabilities: fault.capabilities(), fault: known, variation: None };
        let failed = |error: std::io::Error| LabError::failed("start a model", error);
        let hangs = fault.ends == Some(Verdict::Hang);
        let spec = ExecutorSpec {
            device: format!("model:{spec}"),
            via: None,
            profile: None,
            force_profile: false,
            may_hang: true,
            wear: None,
            deadline: if hangs { HANGS_WITHIN } else { MODEL_DEADLINE },
            open_deadline: if hangs { OPEN_HANGS_WITHIN } else { OPEN_DEADLINE },
        };
        let mut keeper = Keeper::new(local::this_program().map_err(failed)?, spec, None).map_err(failed)?;
        let started = keeper.start();
        self.keeper = Some(keeper);
        started.map(drop).map_err(LabError)
    }

    fn run(&mut self, check: &str) -> Done {
        match &mut self.keeper {
            Some(keeper) => keeper.run(check),
            None => Done::lost(Verdict::Blocked, "no fault was entered"),
        }
    }

    fn recover(&mut self, _watch: &mut dyn Watch) -> Result<(), LabError> {
        match &mut self.keeper {
            Some(keeper) => keeper.start().map(drop).map_err(LabError),
            None => Ok(()),
        }
    }

    fn is_built_without(&mut self, _need: Need) -> bool {
        false
    }

    fn leave(&mut self, _watch: &mut dyn Watch) {
        self.keeper.iter_mut().for_each(Keeper::stop);
    }

    fn incidents(&mut self) -> Vec<Incident> {
        self.keeper.iter_mut().flat_map(Keeper::take_incidents).collect()
    }
}

impl Drop for ModelLane {
    fn drop(&mut self) {
        if let Some(keeper) = &mut self.keeper {
            keeper.stop();
        }
    }
}

/// Guests with the bundled PCI target, whose hardware, driver and VFIO core have faults. One guest does for as many faults
/// as leave it alive. The driver is told its capability set when it is loaded, so each set has a guest of its own.
pub struct GuestLane {
    options: QemuOptions,
    console: PathBuf,
    // Of the lab's driver, where it is not the driver's own.
    caps: Option<Capabilities>,
    lab: QemuLab,
    guest: Guest,
    // What the last guest said of itself.
    ready: Option<LabReady>,
    parameters: Vec<Parameter>,
    // What its kernel is accused of without any fault.
    baseline: Baseline,
    /// The fault that the driver is loaded with, where it shows before a parameter can be set.
    loaded_with: Option<String>,
    incidents: Vec<Incident>,
}

/// What can be said of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Guest {
    /// There was none yet.
    None,
    /// It is as good as new.
    Good,
    /// It lost its device, or its kernel has complained, which it does about some things once only.
    Spent,
}

impl GuestLane {
    /// A lane with guests as these options say; what their kernels print is appended to `console`. What the baseline
    /// expects of them is no fault's doing.
    pub fn new(options: QemuOptions, console: PathBuf, baseline: Baseline) -> GuestLane {
        let lab = QemuLab::with_faults(options.clone(), console.clone());
        let caps = options.caps;
        GuestLane {
            options,
            console,
            caps,
            lab,
            guest: Guest::None,
            ready: None,
            parameters: Vec::new(),
            baseline,
            loaded_with: None,
            incidents: Vec::new(),
        }
    }

    /// Has the driver offer the capability set that the fault needs, or else the one that was asked for, and loads it with
    /// the fault if that shows while it is loaded or bound.
    fn offer(&mut self, fault: &Fault) {
        let caps = fault.caps.or(self.options.caps);
        let is_early = [Phase::Load, Phase::Bind].iter().any(|phase| fault.shows_in(*phase));
        let loaded_with = (is_early && fault.place == Place::Driver).then(|| fault.name.clone());
        if caps == self.caps && loaded_with == self.loaded_with {
            return;
        }
        let mut options = QemuOptions { caps, ..self.options.clone() };
        if let Some(name) = &loaded_with {
            let parameter = format!("{}.fault={name}", pci::DRIVER);
            options.append = Some(options.append.map_or(parameter.clone(), |words| format!("{words} {parameter}")));
        }
        self.lab = QemuLab::with_faults(options, self.console.clone());
        self.guest = Guest::None;
        self.caps = caps;
        self.loaded_with = loaded_with;
    }

    /// Has an open device with the fault, in the guest that runs or else in a new one.
    fn switch(&mut self, watch: &mut dyn Watch) -> Result<(), LabError> {
        if self.guest == Guest::Good && self.lab.set_parameters(self.parameters.clone()).is_ok() {
            return Ok(());
        }
        match self.guest {
            Guest::None => self.lab.start(watch)?,
            Guest::Good | Guest::Spent => self.lab.recover(watch)?,
        };
        self.guest = Guest::Good;
        self.ready = Some(self.lab.set_parameters(self.parameters.clone())?);
        Ok(())
    }

    fn is_expected(&self, check: &str, outcome: &Outcome) -> bool {
        self.ready.as_ref().is_some_and(|ready| self.baseline.explains(ready, check, outcome))
    }
}

impl Lane for GuestLane {
    fn enter(&mut self, fault: &Fault, watch: &mut dyn Watch) -> Result<(), LabError> {
        self.parameters = parameters(fault)?;
        self.offer(fault);
        // What closing the device brought to light was the last fault's.
        let switched = self.switch(watch);
        let incidents = self.lab.incidents();
        self.incidents.extend(incidents.into_iter().filter(|incident| incident.phase.is_before_checks()));
        switched
    }

    fn run(&mut self, check: &str) -> Done {
        let mut done = match self.lab.run(check) {
            Answer::Done(done) => *done,
            Answer::Again(why) => Done::lost(Verdict::Blocked, why),
            Answer::Stopped => Done::lost(Verdict::Blocked, "it was asked to stop"),
        };
        self.incidents.extend(self.lab.incidents());
        let is_health = |id: &str| [health::LOG.id, health::TAINT.id].contains(&id);
        let complained = done.outcome.broken.iter().any(|broken| is_health(&broken.requirement));
        if done.lost.is_some() || complained {
            self.guest = Guest::Spent;
        }
        if self.is_expected(check, &done.outcome) {
            let why = format!("expected of this kernel: {} {}", done.outcome.verdict, done.outcome.message);
            done.outcome = Outcome::without_judgement(Verdict::Skip, why);
        }
        done
    }

    fn recover(&mut self, watch: &mut dyn Watch) -> Result<(), LabError> {
        self.switch(watch)
    }

    fn is_built_without(&mut self, need: Need) -> bool {
        let option = match need {
            // Shows in the checks.
            Need::DmaLogging => return false,
            Need::TwoDevices => return true,
            Need::AtomicSleepDebugging => "CONFIG_DEBUG_ATOMIC_SLEEP=y",
        };
        let configuration = self.lab.surroundings().configuration;
        let text = configuration.and_then(|path| std::fs::read_to_string(path).ok());
        text.is_some_and(|text| !text.lines().any(|line| line == option))
    }

    fn leave(&mut self, watch: &mut dyn Watch) {
        self.lab.stop(watch);
        self.guest = Guest::Spent;
    }

    fn incidents(&mut self) -> Vec<Incident> {
        self.incidents.extend(self.lab.incidents());
        // The kernel says some things once only.
        if !self.incidents.is_empty() {
            self.guest = Guest::Spent;
        }
        std::mem::take(&mut self.incidents)
    }
}

/// What switches this fault on and all others off.
fn parameters(fault: &Fault) -> Result<Vec<Parameter>, LabError> {
    let name_in = |place| if fault.place == place { fault.name.clone() } else { String::new() };
    let device = match fault.place {
        Place::Device => DeviceFault::from_name(&fault.name)
            .ok_or_else(|| LabError::failed("switch the fault on", "the emulated device does not have it"))?
            .number(),
        _ => 0,
    };
    let parameter = |module: &str, name: &str, value| Parameter { module: module.into(), name: name.into(), value };
    let mut parameters = vec![
        parameter(pci::DRIVER, "fault", name_in(Place::Driver)),
        parameter(pci::DRIVER, "device_fault", device.to_string()),
    ];
    if CORE_HAS_FAULTS {
        parameters.push(parameter("vfio", "fault", name_in(Place::Core)));
    }
    Ok(parameters)
}
