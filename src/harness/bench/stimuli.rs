//! Making the device do something, and looking at what it does. What a check stirs up here is settled when the check is
//! over, however it ends.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::Bench;
use super::tell::{errno_name, placement_name, tell_return};
use crate::device::Device;
use crate::harness::check::{Environment, Interruption, Judgement, Lack, Skip};
use crate::stimulus::nature::{InterruptLine, Nature};
use crate::stimulus::{DmaDirection, Observation, ProfileKey, Stimulus, StimulusError};
use crate::uapi::Errno;
use crate::uapi::dma_logging::{IovaRange, LoggingReport, LoggingStart};
use crate::uapi::feature::{Feature, FeatureCall, Placement, Shape, Verb};
use crate::uapi::memory::DmaMemory;

/// What is going on at the device because the check wanted it.
#[derive(Debug, Default)]
pub(super) struct Stirred {
    working: bool,
    dma: bool,
    mapped: Vec<DmaArea>,
    listening: Option<u32>,
    pub(super) logging: bool,
}

/// Memory that the device may reach through an I/O address until the check is over. A clone is the same memory.
#[derive(Debug, Clone)]
pub struct DmaArea {
    /// The I/O address that it begins at.
    pub iova: u64,
    memory: DmaMemory,
    /// What is in it if nobody has written.
    pattern: Arc<[u8]>,
}

/// The events that the device's interrupts signal until the check is over.
#[derive(Debug)]
pub struct Interrupts {
    line: InterruptLine,
    events: Vec<EventFd>,
}

impl Stirred {
    /// Whether there is an area at this I/O address.
    pub(super) fn is_mapped(&self, iova: u64) -> bool {
        self.mapped.iter().any(|area| area.iova == iova)
    }
}

impl DmaArea {
    /// How many bytes it has.
    pub fn bytes(&self) -> usize {
        self.memory.bytes()
    }

    /// What is in it now.
    pub fn contents(&self) -> Vec<u8> {
        self.memory.read(0, self.memory.bytes())
    }

    /// Puts the pattern back, so that writes show anew.
    pub fn refresh(&self) {
        self.memory.write(0, &self.pattern);
    }

    /// How many of its pages of 4 KiB were written since then.
    pub fn pages_written(&self) -> usize {
        self.written_pages().len()
    }

    /// Which of its pages of 4 KiB those are.
    pub fn written_pages(&self) -> Vec<usize> {
        let now = self.contents();
        let pages = now.chunks(4096).zip(self.pattern.chunks(4096)).enumerate();
        pages.filter(|(_, (now, before))| now != before).map(|(page, _)| page).collect()
    }
}

impl Bench {
    /// What kind of device it is, in what the uAPI leaves open.
    pub fn nature(&self) -> Nature {
        self.device.nature()
    }

    /// Makes the device do something; a device that lacks the stimulus makes the check skip.
    ///
    /// # Errors
    /// The skip, or what went wrong.
    pub fn stimulate(&mut self, stimulus: Stimulus) -> Judgement {
        self.try_stimulus(stimulus).map_err(into_interruption)
    }

    /// The same where failing tells something about the device.
    ///
    /// # Errors
    /// What went wrong.
    pub fn try_stimulus(&mut self, stimulus: Stimulus) -> Result<(), StimulusError> {
        let key = ProfileKey::from(stimulus);
        self.require_known(key)?;
        let device = self.device.as_ref();
        let what = format!("{key}: {stimulus}");
        let result = self.recorder.operation(what, || device.stimulate(stimulus), tell);
        self.end_trace(key);
        self.keys.note(key, &result);
        match (stimulus, &result) {
            (Stimulus::StartWork, Ok(())) => self.stirred.working = true,
            (Stimulus::StopWork, Ok(())) => self.stirred.working = false,
            (Stimulus::Dma { .. }, Ok(())) => self.stirred.dma = true,
            (Stimulus::FinishDma, Ok(())) => self.stirred.dma = false,
            _ => {}
        }
        result
    }

    /// Internal state that can be compared: equal before a save and after the restore of what was saved.
    ///
    /// # Errors
    /// The skip of a device that cannot show it, or what went wrong.
    pub fn device_state(&mut self) -> Judgement<Vec<u8>> {
        self.observe(Observation::State)
    }

    /// Internal state that moves by itself while the device runs and work is started.
    ///
    /// # Errors
    /// The skip of a device that cannot show it, or what went wrong.
    pub fn progress(&mut self) -> Judgement<Vec<u8>> {
        self.observe(Observation::Progress)
    }

    fn observe(&mut self, observation: Observation) -> Judgement<Vec<u8>> {
        self.try_observe(observation).map_err(into_interruption)
    }

    /// Looks at the device where failing tells something about the profile.
    pub(super) fn try_observe(&mut self, observation: Observation) -> Result<Vec<u8>, StimulusError> {
        let key = ProfileKey::from(observation);
        self.require_known(key)?;
        let device = self.device.as_ref();
        let seen = self.recorder.operation(
            observation.to_string(),
            || device.observe(observation),
            |seen| match seen {
                Ok(bytes) => format!("{} bytes, digest {:08x}", bytes.len(), digest(bytes)),
                Err(error) => error.to_string(),
            },
        );
        self.end_trace(key);
        self.keys.note(key, &seen);
        seen
    }

    /// A key may be played, and its steps are written down where that is of interest.
    fn require_known(&mut self, key: ProfileKey) -> Result<(), StimulusError> {
        let known = self.require(key);
        if known.is_err() {
            self.keys.note(key, &known);
        }
        if self.calibration.is_on() {
            self.device.trace_steps(true);
        }
        known
    }

    fn end_trace(&mut self, key: ProfileKey) {
        if self.calibration.is_on() {
            let steps = self.device.trace_steps(false);
            self.calibration.played(key, steps);
        }
    }

    /// Lets the device reach so much memory, rounded up, from an I/O address on, until the check is over. It is filled
    /// with a pattern in which every write shows.
    ///
    /// # Errors
    /// What stood in the way.
    pub fn map_area(&mut self, iova: u64, bytes: usize) -> Judgement<DmaArea> {
        self.want(ProfileKey::DmaToMemory)?;
        let memory = DmaMemory::new(bytes).map_err(|errno| blocked("allocate memory", errno))?;
        self.map(iova, &memory).map_err(|errno| blocked("map memory for DMA", errno))?;
        self.areas += 1;
        let pattern = pattern(self.areas, memory.bytes()).into();
        let area = DmaArea { iova, memory, pattern };
        area.refresh();
        self.stirred.mapped.push(area.clone());
        Ok(area)
    }

    /// Begins one transfer into or out of an area, from its beginning on.
    ///
    /// # Errors
    /// The skip of a device without the stimulus, or what went wrong.
    pub fn begin_dma(&mut self, direction: DmaDirection, area: &DmaArea, bytes: usize, after: Duration) -> Judgement {
        self.stimulate(Stimulus::Dma { direction, iova: area.iova, bytes: bytes as u64, after })
    }

    /// Has the interrupt that the stimulus raises signal an event, until the check is over.
    ///
    /// # Errors
    /// The skip of a device without the stimulus, or what went wrong.
    pub fn listen(&mut self) -> Judgement<Interrupts> {
        let Some(line) = self.nature().interrupt else {
            self.keys.lacked.insert(ProfileKey::Interrupt);
            return Err(Interruption::Skip(Skip::without_key(ProfileKey::Interrupt)));
        };
        self.require(ProfileKey::Interrupt)?;
        let events = (0..=line.vector)
            .map(|_| EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC))
            .collect::<Result<Vec<_>, Errno>>()
            .map_err(|errno| blocked("make an eventfd", errno))?;
        let borrowed: Vec<BorrowedFd<'_>> = events.iter().map(AsFd::as_fd).collect();
        self.set_irqs(line.index, &borrowed).map_err(|errno| blocked("SET_IRQS", errno))?;
        self.stirred.listening = Some(line.index);
        Ok(Interrupts { line, events })
    }

    /// `VFIO_DEVICE_SET_IRQS`: has the interrupts of an index, from the first one, signal these events.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn set_irqs(&mut self, index: u32, events: &[BorrowedFd<'_>]) -> Result<i32, Errno> {
        let device = self.device.as_ref();
        let what = format!("SET_IRQS {index} to {} events", events.len());
        self.recorder.operation(what, || device.set_irqs(index, events), tell_return)
    }

    /// Whether an interrupt came by now, or within this time.
    pub fn interrupted(&mut self, interrupts: &Interrupts, within: Duration) -> bool {
        self.recorder.operation(
            format!("wait for an interrupt, {} ms at most", within.as_millis()),
            || interrupts.came(within),
            |came| if *came { "it came" } else { "none" }.to_owned(),
        )
    }

    /// Watches that nothing happens, for so long.
    pub fn watch(&mut self, how_long: Duration) {
        let what = format!("watch for {} ms", how_long.as_millis());
        self.recorder.operation(what, || std::thread::sleep(how_long), |()| "watched".to_owned());
    }

    /// Ends what the check has stirred up, on a device that is in RUNNING. Fails if the device goes on.
    pub(super) fn settle(&mut self) -> Result<(), ()> {
        let Stirred { working, dma, mapped, listening, logging } = std::mem::take(&mut self.stirred);
        let mut settled = Ok(());
        if working {
            settled = settled.and(self.try_stimulus(Stimulus::StopWork).map_err(drop));
        }
        if dma {
            settled = settled.and(self.try_stimulus(Stimulus::FinishDma).map_err(drop));
        }
        if logging {
            settled = settled.and(self.dma_logging_stop().map(drop).map_err(drop));
        }
        if settled.is_err() {
            // state.
            let _ = self.reset();
        }
        for area in mapped {
            // A mapping that the kernel does not give back is harmless but for the next check, which says so.
            let _ = self.unmap(area.iova, area.bytes());
        }
        if let Some(index) = listening {
            let _ = self.set_irqs(index, &[]);
        }
        self.stirred = Stirred::default();
        settled
    }

    /// Begins to log pages written by DMA, until the check is over at the latest.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn dma_logging_start(&mut self, start: &mut LoggingStart) -> Result<i32, Errno> {
        let device = self.device.as_ref();
        let claimed = start.claimed_ranges.map_or(start.ranges.len() as u64, u64::from);
        let call = told(Feature::DmaLoggingStart, Verb::Set, start.shape);
        let what = format!("{call} of {claimed} ranges in pages of {:#x}", start.page_size);
        let answer = self.recorder.operation(what, || device.dma_logging_start(start), tell_return);
        self.stirred.logging |= answer.is_ok();
        answer
    }

    /// Asks which pages were written.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn dma_logging_report(&mut self, report: &mut LoggingReport) -> Result<i32, Errno> {
        let device = self.device.as_ref();
        let IovaRange { iova, length } = report.range;
        let call = told(Feature::DmaLoggingReport, Verb::Get, report.shape);
        let what = format!("{call} of {length:#x} bytes at {iova:#x} in pages of {:#x}", report.page_size);
        self.recorder.operation(what, || device.dma_logging_report(report), tell_return)
    }

    /// Ends the log of pages written by DMA.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn dma_logging_stop(&mut self) -> Result<i32, Errno> {
        let device = self.device.as_ref();
        let answer = self.recorder.operation("SET DMA_LOGGING_STOP".into(), || device.dma_logging_stop(), tell_return);
        self.stirred.logging &= answer.is_err();
        answer
    }
}

impl Interrupts {
    /// Where they are expected, and within which time.
    pub fn line(&self) -> InterruptLine {
        self.line
    }

    /// Says to the device once more where its interrupts go, as has to be done when it was closed.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn renew(&self, device: &dyn Device) -> Result<i32, Errno> {
        let events: Vec<BorrowedFd<'_>> = self.events.iter().map(AsFd::as_fd).collect();
        device.set_irqs(self.line.index, &events)
    }

    /// Whether one came by now, or within this time.
    pub fn came(&self, within: Duration) -> bool {
        self.arrived(within).is_some()
    }

    /// The vector at which one came by now, or within this time.
    pub fn arrived(&self, within: Duration) -> Option<u32> {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let until = Instant::now() + within;
        loop {
            let mut all = (0..).zip(&self.events);
            if let Some((vector, _)) = all.find(|(_, event)| event.read().is_ok_and(|count| count > 0)) {
                return Some(vector);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            let mut fds: Vec<PollFd<'_>> =
                self.events.iter().map(|event| PollFd::new(event.as_fd(), PollFlags::POLLIN)).collect();
            // Rounded up, lest the rest of a millisecond becomes a busy loop.
            let timeout = PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX);
            // An error shows in the next read, or in time running out.
            let _ = poll(&mut fds, timeout);
        }
    }
}

/// Bytes of which no page is like another one, nor like one of another seed: what a device has read of one it may write
/// to another.
fn pattern(seed: u32, bytes: usize) -> Vec<u8> {
    let mut state = u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut all = Vec::with_capacity(bytes);
    while all.len() < bytes {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        all.extend(state.to_le_bytes());
    }
    all.truncate(bytes);
    all
}

/// A call in words, with what is unusual about it.
fn told(feature: Feature, verb: Verb, shape: Shape) -> String {
    let call = FeatureCall::new(feature, verb).shaped(shape);
    let mut words = call.describe();
    if let Some(argsz) = shape.argsz {
        words += &format!(" with argsz {argsz}");
    }
    if shape.more_flags != 0 {
        words += &format!(" with flags {:#x}", call.flags);
    }
    if shape.placement != Placement::Ordinary {
        words += &format!(" in {}", placement_name(shape.placement));
    }
    words
}

/// A short number for the record.
fn digest(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

fn tell(result: &Result<(), StimulusError>) -> String {
    match result {
        Ok(()) => "ok".to_owned(),
        Err(error) => error.to_string(),
    }
}

impl From<StimulusError> for Interruption {
    fn from(error: StimulusError) -> Interruption {
        into_interruption(error)
    }
}

pub(super) fn into_interruption(error: StimulusError) -> Interruption {
    match error {
        StimulusError::Lacking(key) => Interruption::Skip(Skip::without_key(key)),
        StimulusError::Declined(key) => Interruption::Skip(Skip::Lacks { what: Lack::Program { key } }),
        StimulusError::Failed { key, .. } | StimulusError::Unproven { key, .. } => {
            Interruption::BlockedByKey { key, why: error.to_string() }
        }
    }
}

fn blocked(what: &str, errno: Errno) -> Interruption {
    let why = format!("failed to {what}: {}", errno_name(errno));
    Interruption::hindered(Environment::Resources, why)
}
