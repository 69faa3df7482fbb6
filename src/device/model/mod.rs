//! The model: a device in this process that keeps the protocol for every capability set, or breaks it in one chosen
//! place.
//!
//! It answers as a kernel with a careful variant driver would, and was written from the uAPI text alone, without the
//! oracle in [`crate::fsm`]. With it every check can run anywhere and in no time; with a [`Fault`] every check can be
//! shown to fail.

mod arcs;
mod dma;
mod dma_log;
mod fault;
mod feature;
mod machine;
mod memory;
mod named;
mod record;
mod registers;
mod resuming;
mod saving;
mod session;
mod spec;
mod stream;
#[cfg(test)]
mod tests;
mod variation;

use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use vfio_bindings::bindings::vfio as raw;

use super::{Device, Footprint, Identity, OpenError, RebindError, Stream};
use crate::stimulus::nature::{InterruptLine, Nature};
use crate::stimulus::profile::{Buffers, Player, Profile};
use crate::stimulus::trial::StepDone;
use crate::stimulus::{Observation, ProfileKey, Stimulus, StimulusError};
use crate::uapi::Errno;
use crate::uapi::dma_logging::{LoggingReport, LoggingStart};
use crate::uapi::feature::FeatureCall;
use crate::uapi::memory::DmaMemory;
use crate::uapi::stream::Readiness;
use crate::uapi::vfio_device::{DeviceInfo, IrqInfo, RegionInfo};
use machine::Machine;
use registers::{ModelPort, Registers};
use stream::ModelStream;

pub use fault::Fault;
pub use spec::ModelSpec;
pub use variation::Variation;

/// The index of the only region: the device memory.
const MEMORY_REGION: u32 = 0;

/// The index of the only interrupt.
const ONLY_IRQ: u32 = 0;

/// How long nobody listens with [`Fault::WakeupLost`].
const GAP: Duration = Duration::from_millis(2);

/// How long a transition takes with [`Fault::ResetDuringTransitionDooms`].
const SLOW_TRANSITION: Duration = Duration::from_millis(10);

/// How long RESUMING -> STOP takes with [`Variation::SlowLoad`].
const SLOW_LOAD: Duration = Duration::from_millis(50);

/// How often a model that does something by itself looks at the time.
const CLOCK_PERIOD: Duration = Duration::from_millis(1);

/// A transfer that can go on is over within this.
const DMA_LIMIT: Duration = Duration::from_secs(2);

/// A device in this process. Its sessions may outlive it, as a data_fd may outlive the device's descriptor.
pub struct ModelDevice {
    identity: Identity,
    shared: Arc<Shared>,
    /// How it is stimulated, where a profile was given; else it needs none.
    profile: Option<Profile>,
    buffers: Buffers,
    registers: Registers,
    closing: Closing,
}

/// What closing the device does to the process.
#[derive(Debug, Default)]
struct Closing {
    crashes: bool,
}

impl Drop for Closing {
    fn drop(&mut self) {
        if self.crashes {
            std::process::abort();
        }
    }
}

impl ModelDevice {
    /// Opens a device of that kind for a process that may hang or die of it.
    pub fn open(spec: ModelSpec) -> ModelDevice {
        match spec.fault {
            Some(Fault::OpenCrashes) => std::process::abort(),
            Some(Fault::OpenHangs) => loop {
                std::thread::park();
            },
            fault => {
                let mut device = ModelDevice::new(spec);
                device.closing.crashes = fault == Some(Fault::CloseCrashes);
                device
            }
        }
    }

    /// A device of that kind, just opened.
    pub fn new(spec: ModelSpec) -> ModelDevice {
        let identity = Identity {
            name: format!("model:{spec}"),
            driver: "model".to_owned(),
            driver_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            pci_id: None,
            via: "model".to_owned(),
        };
        ModelDevice {
            identity,
            shared: Arc::new(Shared::new(spec)),
            profile: None,
            buffers: Buffers::default(),
            registers: Registers::default(),
            closing: Closing::default(),
        }
    }

    /// The same, stimulated as this profile says.
    pub fn with_profile(self, profile: Option<Profile>) -> ModelDevice {
        ModelDevice { profile, ..self }
    }

    /// Does something with the profile that was given.
    fn play<T>(&self, play: impl FnOnce(&Player<'_>) -> T) -> Option<T> {
        let profile = self.profile.as_ref()?;
        let port = ModelPort { name: &self.identity.name, shared: &self.shared, registers: &self.registers };
        Some(play(&Player { profile, port: &port, buffers: &self.buffers }))
    }
}

impl Device for ModelDevice {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn feature(&self, call: &mut FeatureCall) -> Result<i32, Errno> {
        if self.shared.lock().has(Fault::ResetDuringTransitionDooms) {
            self.shared.lock().transitions += 1;
            thread::sleep(SLOW_TRANSITION);
            self.shared.lock().transitions -= 1;
        }
        if self.shared.lock().loads_slowly(call) {
            thread::sleep(SLOW_LOAD);
        }
        self.shared.change(|machine| machine.feature(call))
    }

    fn feature_without_descriptors(&self, call: &mut FeatureCall) -> Result<i32, Errno> {
        self.shared.change(|machine| {
            machine.sessions.is_full = true;
            let answer = machine.feature(call);
            machine.sessions.is_full = false;
            answer
        })
    }

    fn open_descriptors(&self) -> Result<usize, Errno> {
        Ok(self.shared.lock().sessions.descriptors())
    }

    fn dma_logging_start(&self, start: &mut LoggingStart) -> Result<i32, Errno> {
        self.shared.change(|machine| machine.start_log_as(start))
    }

    fn dma_logging_report(&self, report: &mut LoggingReport) -> Result<i32, Errno> {
        self.shared.change(|machine| machine.report_log_as(report))
    }

    fn stream(&self, data_fd: i32) -> Box<dyn Stream> {
        Box::new(ModelStream::take(Arc::clone(&self.shared), data_fd))
    }

    fn reset(&self) -> Result<i32, Errno> {
        self.shared.change(Machine::reset).map(|()| 0)
    }

    fn info(&self) -> Result<DeviceInfo, Errno> {
        let flags = match self.shared.lock().has(Fault::ResetNotAdvertised) {
            true => 0,
            false => raw::VFIO_DEVICE_FLAGS_RESET,
        };
        Ok(DeviceInfo { flags, regions: MEMORY_REGION + 1, irqs: ONLY_IRQ + 1 })
    }

    fn region_info(&self, index: u32) -> Result<RegionInfo, Errno> {
        require_memory_region(index)?;
        Ok(RegionInfo {
            flags: raw::VFIO_REGION_INFO_FLAG_READ | raw::VFIO_REGION_INFO_FLAG_WRITE,
            size: memory::MEMORY_BYTES as u64,
            offset: 0,
        })
    }

    fn irq_info(&self, index: u32) -> Result<IrqInfo, Errno> {
        if index != ONLY_IRQ {
            return Err(Errno::EINVAL);
        }
        Ok(IrqInfo { flags: raw::VFIO_IRQ_INFO_EVENTFD, count: 1 })
    }

    fn region_read(&self, index: u32, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
        require_memory_region(index)?;
        self.shared.lock().memory.read(offset, buffer)
    }

    fn region_write(&self, index: u32, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        require_memory_region(index)?;
        self.shared.change(|machine| machine.write_memory(offset, bytes))
    }

    fn set_irqs(&self, index: u32, events: &[BorrowedFd<'_>]) -> Result<i32, Errno> {
        let irqs = self.irq_info(index)?.count as usize;
        if events.len() > irqs {
            return Err(Errno::EINVAL);
        }
        let event = events.first().map(BorrowedFd::try_clone_to_owned).transpose().map_err(|_| Errno::EMFILE)?;
        self.shared.lock().set_interrupt_event(event).map(|()| 0)
    }

    fn map(&self, iova: u64, memory: &DmaMemory) -> Result<i32, Errno> {
        self.shared.lock().map(iova, memory)
    }

    fn unmap(&self, iova: u64, bytes: u64) -> Result<u64, Errno> {
        self.shared.lock().unmap(iova, bytes)
    }

    fn reopen(&mut self) -> Result<(), OpenError> {
        self.shared.change(Machine::reopen);
        Ok(())
    }

    fn rebind(&mut self) -> Result<(), RebindError> {
        self.shared.change(Machine::rebind);
        Ok(())
    }

    fn footprint(&self) -> Footprint {
        self.shared.lock().footprint()
    }

    fn freed_within(&self) -> Option<Duration> {
        Some(Duration::ZERO)
    }

    fn stimulate(&self, stimulus: Stimulus) -> Result<(), StimulusError> {
        if let Some(played) = self.play(|player| player.stimulate(stimulus)) {
            return played;
        }
        self.shared.change(|machine| machine.stimulate(stimulus));
        match stimulus {
            Stimulus::FinishDma => self.shared.finish_dma(),
            _ => Ok(()),
        }
    }

    fn observe(&self, observation: Observation) -> Result<Vec<u8>, StimulusError> {
        if let Some(played) = self.play(|player| player.observe(observation)) {
            return played;
        }
        Ok(self.shared.change(|machine| machine.observe(observation)))
    }

    fn trace_steps(&self, is_on: bool) -> Vec<StepDone> {
        self.buffers.trace(is_on)
    }

    fn nature(&self) -> Nature {
        if let Some(profile) = &self.profile {
            return profile.nature();
        }
        let line = InterruptLine { index: ONLY_IRQ, vector: 0, within: Duration::from_secs(2) };
        Nature { interrupt: Some(line), ..Nature::default() }
    }
}

fn require_memory_region(index: u32) -> Result<(), Errno> {
    if index == MEMORY_REGION { Ok(()) } else { Err(Errno::EINVAL) }
}

/// What the device and its streams share.
struct Shared {
    machine: Mutex<Machine>,
    changed: Condvar,
    /// How many wait for that. To wake nobody is a system call, which is most of what a call of the model takes.
    waiting: AtomicUsize,
}

impl Shared {
    fn new(spec: ModelSpec) -> Shared {
        Shared { machine: Mutex::new(Machine::new(spec)), changed: Condvar::new(), waiting: AtomicUsize::new(0) }
    }

    /// A check that panics in one thread must not hide what the device does in the others.
    fn lock(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something that those who wait may want to know of.
    fn change<R>(self: &Arc<Self>, action: impl FnOnce(&mut Machine) -> R) -> R {
        let mut machine = self.lock();
        machine.tick(Instant::now());
        let result = action(&mut machine);
        self.wind_clock(&mut machine);
        drop(machine);
        self.wake();
        result
    }

    /// Whoever waits counts itself while it holds the machine, so it has seen the change or is counted here.
    fn wake(&self) {
        if self.waiting.load(Ordering::SeqCst) > 0 {
            self.changed.notify_all();
        }
    }

    /// Has somebody look at the time, as long as there is reason to and the device is there.
    fn wind_clock(self: &Arc<Self>, machine: &mut Machine) {
        if machine.has_clock || !machine.needs_clock() {
            return;
        }
        let shared = Arc::downgrade(self);
        let clock = move || {
            while let Some(shared) = shared.upgrade() {
                let mut machine = shared.lock();
                machine.tick(Instant::now());
                machine.has_clock = machine.needs_clock();
                let goes_on = machine.has_clock;
                drop(machine);
                shared.wake();
                if !goes_on {
                    return;
                }
                drop(shared);
                thread::sleep(CLOCK_PERIOD);
            }
        };
        // Without a thread to be had, time passes with the next call.
        machine.has_clock = thread::Builder::new().spawn(clock).is_ok();
    }

    fn finish_dma(&self) -> Result<(), StimulusError> {
        let waiting = |machine: &mut Machine| machine.dma_outcome().is_none();
        let machine = self.sleep_while(self.lock(), DMA_LIMIT, waiting);
        let outcome = machine.dma_outcome().unwrap_or_else(|| Err(format!("it is not over after {DMA_LIMIT:?}")));
        outcome.map_err(|why| StimulusError::Failed {
            key: ProfileKey::FinishDma,
            what: Stimulus::FinishDma.to_string(),
            why,
        })
    }

    /// Sleeps as long as this is so, at most this long.
    fn sleep_while<'a>(
        &'a self,
        machine: MutexGuard<'a, Machine>,
        timeout: Duration,
        condition: impl FnMut(&mut Machine) -> bool,
    ) -> MutexGuard<'a, Machine> {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let waited = self.changed.wait_timeout_while(machine, timeout, condition);
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        waited.unwrap_or_else(PoisonError::into_inner).0
    }

    /// Waits until something has come about, at most this long.
    fn wait_until(&self, timeout: Duration, arrived: impl Fn(&Machine) -> bool) {
        drop(self.sleep_while(self.lock(), timeout, |machine| !arrived(machine)));
    }

    /// As the kernel does it: looks, sleeps until the driver wakes those who wait, looks again; and looks once more
    /// when the time is up.
    fn poll(
        &self,
        timeout: Duration,
        readiness: impl Fn(&Machine) -> Result<Readiness, Errno>,
    ) -> Result<Readiness, Errno> {
        let end = Instant::now() + timeout;
        loop {
            let machine = self.lock();
            let ready = readiness(&machine)?;
            let left = end.saturating_duration_since(Instant::now());
            if ready.is_any() || left.is_zero() {
                return Ok(ready);
            }
            self.sleep(machine, left);
        }
    }

    /// Sleeps until the driver wakes those who wait, at most this long.
    fn sleep(&self, machine: MutexGuard<'_, Machine>, timeout: Duration) {
        let machine = if machine.has(Fault::WakeupLost) { self.forget_for_a_moment(machine) } else { machine };
        let seen = machine.sessions.wakes();
        let sleeps_on = |machine: &mut Machine| match machine.spec.effect() {
            Some(Fault::PollerNotWoken) => true,
            Some(Fault::OneWaiterWoken) => machine.sessions.wakes() == seen || !machine.sessions.take_turn(),
            _ => machine.sessions.wakes() == seen,
        };
        drop(self.sleep_while(machine, timeout, sleeps_on));
    }

    /// The place of the fault that has a gap between looking and sleeping.
    fn forget_for_a_moment<'a>(&'a self, machine: MutexGuard<'a, Machine>) -> MutexGuard<'a, Machine> {
        drop(machine);
        let began = Instant::now();
        // Not asleep, so that nobody takes it for waiting.
        while began.elapsed() < GAP {
            thread::yield_now();
        }
        self.lock()
    }
}
