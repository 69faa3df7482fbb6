//! Doing the steps of a profile on a device.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::Profile;
use super::command;
use super::step::{Dump, Place, Read, Space, Step, Wait, Width, Write};
use super::value::{Given, Value};
use crate::stimulus::trial::StepDone;
use crate::stimulus::{Observation, ProfileKey, Stimulus, StimulusError};
use crate::uapi::Errno;
use crate::uapi::memory::DmaMemory;

/// Where buffers begin that name no address: below 4 GiB, and where machines reserve nothing.
const FIRST_IOVA: u64 = 0x6000_0000;

/// From one look at a register to the next.
const PAUSE: Duration = Duration::from_micros(200);

/// What the steps need of a device.
pub trait Port {
    /// Reads from a region by its index.
    ///
    /// # Errors
    /// The errno as it came.
    fn read(&self, region: u32, offset: u64, buffer: &mut [u8]) -> Result<usize, Errno>;

    /// Writes to a region by its index.
    ///
    /// # Errors
    /// The errno as it came.
    fn write(&self, region: u32, offset: u64, bytes: &[u8]) -> Result<usize, Errno>;

    /// Lets the device reach memory.
    ///
    /// # Errors
    /// The errno as it came.
    fn map(&self, iova: u64, memory: &DmaMemory) -> Result<i32, Errno>;

    /// The device's name, for programs of the host.
    fn name(&self) -> &str;
}

/// The buffers of a profile. They are mapped when a step first needs one, and stay as long as this does.
#[derive(Debug, Default)]
pub struct Buffers {
    all: OnceLock<Result<BTreeMap<String, Mapped>, String>>,
    /// The steps that were played, while they are written down.
    trace: Mutex<Option<Vec<StepDone>>>,
}

impl Buffers {
    /// Has the steps that are played written down from now on, or no longer. Returns those that were.
    pub fn trace(&self, is_on: bool) -> Vec<StepDone> {
        let mut trace = self.trace.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *trace, is_on.then(Vec::new)).unwrap_or_default()
    }

    fn note(&self, step: &Step, done: &Result<Did, Trouble>, began: Instant) {
        let mut trace = self.trace.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(steps) = trace.as_mut() {
            let result = match done {
                Ok(did) => did.describe(),
                Err(Trouble::Lacking) => Some("it cannot do it on this device".to_owned()),
                Err(Trouble::Failed(why)) => Some(why.clone()),
            };
            steps.push(StepDone { what: step.to_string(), result, micros: began.elapsed().as_secs_f64() * 1e6 });
        }
    }
}

#[derive(Debug)]
struct Mapped {
    iova: u64,
    memory: DmaMemory,
}

/// A profile with a device in its hands.
pub struct Player<'a> {
    /// The profile.
    pub profile: &'a Profile,
    /// The device.
    pub port: &'a dyn Port,
    /// The profile's buffers at that device.
    pub buffers: &'a Buffers,
}

/// What a stimulus gives its steps.
#[derive(Debug, Clone, Copy, Default)]
struct Gift {
    iova: Option<u64>,
    bytes: Option<u64>,
    delay: Option<Duration>,
}

impl Player<'_> {
    /// Does a stimulus.
    ///
    /// # Errors
    /// That the profile does not have it, or which step failed and why.
    pub fn stimulate(&self, stimulus: Stimulus) -> Result<(), StimulusError> {
        let gift = match stimulus {
            Stimulus::Dirty(bytes) => Gift { bytes: Some(bytes as u64), ..Gift::default() },
            Stimulus::Interrupt { after } => Gift { delay: Some(after), ..Gift::default() },
            Stimulus::Dma { iova, bytes, after, .. } => {
                Gift { iova: Some(iova), bytes: Some(bytes), delay: Some(after) }
            }
            _ => Gift::default(),
        };
        self.play(stimulus.into(), stimulus.to_string(), gift).map(drop)
    }

    /// Looks at the device.
    ///
    /// # Errors
    /// That the profile does not say how, or which step failed and why.
    pub fn observe(&self, observation: Observation) -> Result<Vec<u8>, StimulusError> {
        self.play(observation.into(), observation.to_string(), Gift::default())
    }

    fn play(&self, key: ProfileKey, what: String, gift: Gift) -> Result<Vec<u8>, StimulusError> {
        let name = key.name();
        let Some(steps) = self.profile.steps(name) else {
            return Err(StimulusError::Lacking(key));
        };
        let mut scene = Scene { player: self, gift, read: BTreeMap::new(), seen: Vec::new() };
        for (number, step) in (1..).zip(steps) {
            let began = Instant::now();
            let done = scene.step(name, step);
            self.buffers.note(step, &done, began);
            match done {
                Ok(_) => {}
                Err(Trouble::Lacking) => return Err(StimulusError::Declined(key)),
                Err(Trouble::Failed(why)) => {
                    return Err(StimulusError::Failed { key, what, why: format!("step {number} of {name}: {why}") });
                }
            }
        }
        Ok(scene.seen)
    }

    fn buffer(&self, name: &str) -> Result<&Mapped, Trouble> {
        let all = self.buffers.all.get_or_init(|| self.map_buffers()).as_ref().map_err(Trouble::failed)?;
        all.get(name).ok_or_else(|| Trouble::failed(format!("there is no buffer {name:?}")))
    }

    fn map_buffers(&self) -> Result<BTreeMap<String, Mapped>, String> {
        let mut next = FIRST_IOVA;
        let mut all = BTreeMap::new();
        for buffer in &self.profile.buffer {
            let failed = |errno: Errno| format!("failed to map the buffer {:?}: {errno:?}", buffer.name);
            let memory = DmaMemory::new(buffer.bytes as usize).map_err(failed)?;
            let iova = buffer.iova.as_ref().map_or(next, |iova| *iova.get_ref());
            self.port.map(iova, &memory).map_err(failed)?;
            next = next.max(iova.saturating_add(memory.bytes() as u64));
            all.insert(buffer.name.clone(), Mapped { iova, memory });
        }
        Ok(all)
    }
}

/// Why a step was not done.
enum Trouble {
    Lacking,
    Failed(String),
}

impl Trouble {
    fn failed(why: impl Display) -> Trouble {
        Trouble::Failed(why.to_string())
    }
}

/// What a step did.
enum Did {
    Wrote(u64),
    Read(u64),
    Moved(u64),
}

impl Did {
    fn describe(&self) -> Option<String> {
        Some(match self {
            Did::Wrote(value) => format!("wrote {value:#x}"),
            Did::Read(value) => format!("read {value:#x}"),
            Did::Moved(bytes) => format!("{bytes} bytes"),
        })
    }
}

/// Steps that are being done.
struct Scene<'a> {
    player: &'a Player<'a>,
    gift: Gift,
    /// What was read `into` a variable.
    read: BTreeMap<&'a str, u64>,
    /// What was observed.
    seen: Vec<u8>,
}

impl<'a> Scene<'a> {
    fn step(&mut self, name: &str, step: &'a Step) -> Result<Did, Trouble> {
        match step {
            Step::Write(write) => self.write(write),
            Step::Fill(place) => {
                let bytes = self.gift.bytes.unwrap_or_default();
                self.put(place, &noise(bytes))?;
                Ok(Did::Moved(bytes))
            }
            Step::Read(read) => self.read(read),
            Step::Dump(dump) => self.dump(dump),
            Step::Wait(wait) => self.wait(wait),
            Step::Command(program) => {
                let within = self.limit(program.within_ms);
                let words = self.words(name);
                let folder = &self.player.profile.folder;
                let said = command::run(&program.program, &words, folder, within)?;
                let did = Did::Moved(said.len() as u64);
                self.seen.extend(said);
                Ok(did)
            }
        }
    }

    fn write(&self, write: &Write) -> Result<Did, Trouble> {
        let Write { place, value, width } = write;
        let value = self.value(value.get_ref(), *width)?;
        self.put(place, &value.to_le_bytes()[..width.bytes()])?;
        Ok(Did::Wrote(value))
    }

    fn value(&self, value: &Value, width: Width) -> Result<u64, Trouble> {
        let value = match value {
            Value::Number(number) => *number,
            // A register for the lower half of an address is what it is.
            Value::Given(Given::Iova) => self.given(Given::Iova)? & width.ones(),
            Value::Given(given) => self.given(*given)?,
            Value::Named(name) => self.named(name, width)?,
        };
        width.holds(value).map_err(Trouble::failed)?;
        Ok(value)
    }

    fn given(&self, given: Given) -> Result<u64, Trouble> {
        let micros = |delay: Duration| u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        let value = match given {
            Given::Iova => self.gift.iova,
            Given::IovaHigh => self.gift.iova.map(|iova| iova >> 32),
            Given::Bytes => self.gift.bytes,
            Given::DelayUs => self.gift.delay.map(micros),
            Given::DelayMs => self.gift.delay.map(|delay| micros(delay).div_ceil(1000)),
        };
        value.ok_or_else(|| Trouble::failed(format!("{} has no value here", given.name())))
    }

    fn named(&self, name: &str, width: Width) -> Result<u64, Trouble> {
        if let Some(value) = self.read.get(name) {
            return Ok(*value);
        }
        if self.player.profile.buffer.iter().any(|buffer| buffer.name == name) {
            return Ok(self.player.buffer(name)?.iova & width.ones());
        }
        let buffer = name.strip_suffix("_high").unwrap_or(name);
        Ok(self.player.buffer(buffer)?.iova >> 32)
    }

    fn put(&self, place: &Place, bytes: &[u8]) -> Result<(), Trouble> {
        let region = match &place.space {
            Space::Region(region) => region.index(),
            Space::Buffer(name) => {
                let memory = &self.player.buffer(name.get_ref())?.memory;
                within(memory, place, bytes.len())?;
                memory.write(place.offset as usize, bytes);
                return Ok(());
            }
        };
        let mut done = 0;
        while done < bytes.len() {
            match self.player.port.write(region, place.offset.saturating_add(done as u64), &bytes[done..]) {
                Ok(0) => return Err(Trouble::failed(format!("writing {place} moved nothing"))),
                Ok(count) => done += count,
                Err(errno) => return Err(Trouble::failed(format!("writing {place} answered {errno:?}"))),
            }
        }
        Ok(())
    }

    fn get(&self, place: &Place, bytes: usize) -> Result<Vec<u8>, Trouble> {
        let region = match &place.space {
            Space::Region(region) => region.index(),
            Space::Buffer(name) => {
                let memory = &self.player.buffer(name.get_ref())?.memory;
                within(memory, place, bytes)?;
                return Ok(memory.read(place.offset as usize, bytes));
            }
        };
        let mut got = vec![0; bytes];
        let mut done = 0;
        while done < bytes {
            match self.player.port.read(region, place.offset.saturating_add(done as u64), &mut got[done..]) {
                Ok(0) => return Err(Trouble::failed(format!("reading {place} moved nothing"))),
                Ok(count) => done += count,
                Err(errno) => return Err(Trouble::failed(format!("reading {place} answered {errno:?}"))),
            }
        }
        Ok(got)
    }

    fn register(&self, place: &Place, width: Width, mask: u64) -> Result<u64, Trouble> {
        let mut eight = [0; 8];
        eight[..width.bytes()].copy_from_slice(&self.get(place, width.bytes())?);
        Ok(u64::from_le_bytes(eight) & mask)
    }

    fn read(&mut self, read: &'a Read) -> Result<Did, Trouble> {
        let Read { place, width, mask, value, into } = read;
        let got = self.register(place, *width, *mask)?;
        if let Some(wanted) = value.filter(|wanted| *wanted != got) {
            return Err(Trouble::failed(format!("reading {place} gave {got:#x} instead of {wanted:#x}")));
        }
        match into {
            Some(name) => drop(self.read.insert(name, got)),
            None => self.seen.extend(&got.to_le_bytes()[..width.bytes()]),
        }
        Ok(Did::Read(got))
    }

    fn dump(&mut self, dump: &Dump) -> Result<Did, Trouble> {
        let bytes = self.get(&dump.place, dump.bytes)?;
        let did = Did::Moved(bytes.len() as u64);
        self.seen.extend(bytes);
        Ok(did)
    }

    fn wait(&self, wait: &Wait) -> Result<Did, Trouble> {
        let Wait { place, width, mask, until, within_ms } = wait;
        let limit = self.limit(*within_ms);
        let began = Instant::now();
        loop {
            let is_last = began.elapsed() >= limit;
            let got = self.register(place, *width, *mask)?;
            if until.is_met_by(got) {
                return Ok(Did::Read(got));
            }
            if is_last {
                let why = format!("{place} is {got:#x} after {} ms, where {until} was waited for", limit.as_millis());
                return Err(Trouble::failed(why));
            }
            sleep(PAUSE);
        }
    }

    fn limit(&self, within_ms: Option<u64>) -> Duration {
        Duration::from_millis(within_ms.unwrap_or(self.player.profile.timeouts.step_ms))
    }

    /// What a program is told.
    fn words(&self, name: &str) -> Vec<String> {
        let mut words = vec![format!("do={name}"), format!("device={}", self.player.port.name())];
        for given in Given::ALL {
            // Programs need no halves.
            if given != Given::IovaHigh
                && let Ok(value) = self.given(given)
            {
                words.push(format!("{}={value}", given.name()));
            }
        }
        words
    }
}

impl From<command::CommandError> for Trouble {
    fn from(error: command::CommandError) -> Trouble {
        match error {
            command::CommandError::Lacking => Trouble::Lacking,
            other => Trouble::failed(other),
        }
    }
}

fn within(memory: &DmaMemory, place: &Place, bytes: usize) -> Result<(), Trouble> {
    match place.offset.saturating_add(bytes as u64) > memory.bytes() as u64 {
        true => Err(Trouble::failed(format!("{bytes} bytes in {place} are more than its {}", memory.bytes()))),
        false => Ok(()),
    }
}

/// Bytes that differ from one call to the next, so that they change what is there.
fn noise(bytes: u64) -> Vec<u8> {
    use std::sync::atomic::{AtomicU8, Ordering};
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let first = NEXT.fetch_add(1, Ordering::Relaxed);
    (0..bytes).map(|at| first.wrapping_add((at % 251) as u8)).collect()
}
