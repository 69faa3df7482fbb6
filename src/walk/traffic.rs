//! What goes on beside the migration: DMA, interrupts, and the log of pages that were written by DMA.

use std::time::Duration;

use super::world::violation;
use super::{Answer, Symptom, Violation};
use crate::device::Device;
use crate::harness::bench::{Interrupts, tell_return};
use crate::requirement::{Requirement, dma_logging, quiesce};
use crate::stimulus::{DmaDirection, KeyUse, Stimulus, StimulusError};
use crate::uapi::Errno;
use crate::uapi::dma_logging::{IovaRange, LoggingReport, LoggingStart};
use crate::uapi::state::State;

const PAGE_BYTES: u64 = 4096;
/// How many pages the device can reach.
pub(super) const PAGES: u64 = 16;
/// Where they begin: not at 0, and far from what machines reserve.
pub const IOVA: u64 = 0x200_0000;
/// How many bytes they have.
pub const AREA_BYTES: usize = (PAGES * PAGE_BYTES) as usize;

const AREA: IovaRange = IovaRange { iova: IOVA, length: AREA_BYTES as u64 };

/// What the device has around it beside the migration.
#[derive(Default)]
pub struct Traffic {
    /// Whether the device can reach the pages of a walk.
    has_memory: bool,
    /// Who listens to interrupts.
    interrupts: Option<Interrupts>,
    log: Log,
    /// Whether a log could be begun, so that it must work again.
    has_logged: bool,
    /// Whether the device has moved anything. The log of one that does no DMA, as an mdev without hardware, is for its own
    /// chapter to judge.
    has_moved: bool,
    /// Which keys of the profile were asked for.
    keys: KeyUse,
}

type Judged = Result<Answer, Box<Violation>>;

/// Pages, a bit each.
type Pages = u64;

/// What is known of the log.
#[derive(Default)]
enum Log {
    /// Nobody knows whether there is one.
    #[default]
    Unknown,
    /// There is none.
    Off,
    /// There is one.
    On(Logged),
}

/// A log that goes on.
struct Logged {
    /// The page size that the device has selected.
    granule: u64,
    /// What was written and not reported.
    written: Pages,
    /// What was reported and not written again.
    reported: Pages,
    /// What the device has read.
    read: Pages,
    /// What has to be accused if something is missing.
    suspect: &'static Requirement,
}

impl Traffic {
    /// With this around the device.
    pub fn new(has_memory: bool, interrupts: Option<Interrupts>) -> Traffic {
        Traffic { has_memory, interrupts, ..Traffic::default() }
    }

    /// Which keys of the profile were asked for.
    pub fn into_keys(self) -> KeyUse {
        self.keys
    }

    /// Whether a log may be going on.
    pub fn may_log(&self) -> bool {
        self.has_logged && !matches!(self.log, Log::Off)
    }

    /// The device is in another state.
    pub(super) fn moved(&mut self) {
        if let Log::On(logged) = &mut self.log {
            logged.suspect = &dma_logging::ANY_STATE;
        }
    }

    /// What a device does that is in ERROR is nobody's promise.
    fn is_judged_in(&self, state: State) -> bool {
        self.has_moved && state != State::Error
    }

    /// Whether a log outlives a reset, or a device that is broken, is open.
    pub(super) fn doubt(&mut self) {
        self.log = Log::Unknown;
    }

    /// The device was opened anew: whoever listens has to say so again.
    pub(super) fn reopened(&mut self, device: &dyn Device) {
        self.doubt();
        if self.interrupts.as_ref().is_some_and(|interrupts| interrupts.renew(device).is_err()) {
            self.interrupts = None;
        }
    }

    /// Moves a page by DMA, where the device is fully operational.
    pub(super) fn dma(&mut self, device: &dyn Device, direction: DmaDirection, page: u32) -> Judged {
        let page = u64::from(page) % PAGES;
        let iova = IOVA + page * PAGE_BYTES;
        let begin = Stimulus::Dma { direction, iova, bytes: PAGE_BYTES, after: Duration::ZERO };
        if !self.has_memory {
            return Ok(Answer::Nothing);
        }
        let begun = device.stimulate(begin);
        self.keys.note(begin.into(), &begun);
        if begun.is_err() {
            return Ok(Answer::Done(false));
        }
        let finished = device.stimulate(Stimulus::FinishDma);
        self.keys.note(Stimulus::FinishDma.into(), &finished);
        if let Err(error @ StimulusError::Failed { .. }) = finished {
            let asked = format!("{direction} a page by DMA");
            let (requirement, symptom) = (&quiesce::OPERATIONAL, Symptom::Failed);
            return Err(violation(requirement, symptom, asked, "the transfer to complete", error.to_string()));
        }
        self.has_moved = true;
        if let Log::On(logged) = &mut self.log {
            logged.moved(direction, 1 << page);
        }
        Ok(Answer::Done(true))
    }

    /// Raises an interrupt, where the device is fully operational.
    pub(super) fn interrupt(&mut self, device: &dyn Device) -> Judged {
        let Some(interrupts) = &self.interrupts else {
            return Ok(Answer::Nothing);
        };
        // One that was late is not taken for this one.
        interrupts.came(Duration::ZERO);
        let raise = Stimulus::Interrupt { after: Duration::ZERO };
        let raised = device.stimulate(raise);
        self.keys.note(raise.into(), &raised);
        if raised.is_err() {
            return Ok(Answer::Done(false));
        }
        if interrupts.came(interrupts.line().within) {
            return Ok(Answer::Done(true));
        }
        let asked = "raise an interrupt".to_owned();
        Err(violation(&quiesce::OPERATIONAL, Symptom::Failed, asked, "it to come", "none".to_owned()))
    }

    /// Begins a log of all the pages.
    pub(super) fn start_log(&mut self, device: &dyn Device, state: State) -> Judged {
        let works = self.is_judged_in(state);
        let mut start = LoggingStart::new(PAGE_BYTES, vec![AREA]);
        let answer = device.dma_logging_start(&mut start);
        let answered = Answer::Returned(answer);
        match (&self.log, answer) {
            (Log::On(_), Ok(_)) if works => {
                let (requirement, symptom) = (&dma_logging::START_TWICE, Symptom::NotRefused);
                let asked = "DMA_LOGGING_START while a log goes on".to_owned();
                return Err(violation(requirement, symptom, asked, "an error", answered.to_string()));
            }
            (_, Ok(_)) => {
                self.has_logged = true;
                self.log = Log::On(Logged::new(start.page_size));
            }
            (Log::Off, Err(_)) if works && self.has_logged => {
                let (requirement, symptom) = (&dma_logging::STOP_ENDS, Symptom::Failed);
                let asked = "DMA_LOGGING_START after a log has ended".to_owned();
                return Err(violation(requirement, symptom, asked, "success (0)", answered.to_string()));
            }
            (_, Err(_)) => {}
        }
        Ok(answered)
    }

    /// Ends the log.
    pub(super) fn stop_log(&mut self, device: &dyn Device, state: State) -> Judged {
        let answer = device.dma_logging_stop();
        let answered = Answer::Returned(answer);
        if answer.is_err() && self.is_judged_in(state) && matches!(self.log, Log::On(_)) {
            let asked = "DMA_LOGGING_STOP of a log that goes on".to_owned();
            let (requirement, symptom) = (&dma_logging::STOP_ENDS, Symptom::Failed);
            return Err(violation(requirement, symptom, asked, "success (0)", answered.to_string()));
        }
        self.log = match answer {
            Ok(_) => Log::Off,
            Err(_) => Log::Unknown,
        };
        Ok(answered)
    }

    /// Asks which of the pages were written.
    pub(super) fn report_log(&mut self, device: &dyn Device, state: State) -> Judged {
        let mut report = LoggingReport::new(AREA, PAGE_BYTES);
        let answer = device.dma_logging_report(&mut report);
        let asked = || "DMA_LOGGING_REPORT".to_owned();
        if !self.is_judged_in(state) {
            self.doubt();
        }
        match &mut self.log {
            Log::Off if answer.is_ok() => {
                let (requirement, symptom) = (&dma_logging::REPORT_WITHOUT_START, Symptom::NotRefused);
                Err(violation(requirement, symptom, asked(), "an error, since there is no log", tell_return(&answer)))
            }
            Log::On(logged) => logged.judge(answer, report.bitmap[0], asked),
            _ => Ok(Answer::Returned(answer)),
        }
    }
}

impl Logged {
    fn new(granule: u64) -> Logged {
        Logged { granule, written: 0, reported: 0, read: 0, suspect: &dma_logging::EXACT }
    }

    fn moved(&mut self, direction: DmaDirection, page: Pages) {
        self.suspect = &dma_logging::EXACT;
        match direction {
            DmaDirection::ToMemory => self.written |= page,
            DmaDirection::FromMemory => self.read |= page,
        }
    }

    /// All that was written is told, and nothing else but what a device has to tell that logs in larger pages.
    fn judge(&mut self, answer: Result<i32, Errno>, bits: Pages, asked: impl Fn() -> String) -> Judged {
        let (missing, surplus) = (self.written & !bits, bits & !self.written);
        let is_coarse = self.granule > PAGE_BYTES;
        let broken = match answer {
            Ok(0) if missing == 0 && (surplus == 0 || is_coarse) => None,
            Ok(0) if missing == 0 => Some((self.blame_for(surplus), Symptom::WrongLog)),
            Ok(0) => Some((self.suspect, Symptom::WrongLog)),
            Ok(_) => Some((self.suspect, Symptom::PositiveReturn)),
            Err(_) => Some((self.suspect, Symptom::Failed)),
        };
        if let Some((requirement, symptom)) = broken {
            let expected = format!("success (0), the pages {:#06x}", self.written);
            let actual = format!("{}, {bits:#06x}", tell_return(&answer));
            return Err(violation(requirement, symptom, asked(), expected, actual));
        }
        self.reported |= self.written;
        self.written = 0;
        self.suspect = &dma_logging::EXACT;
        Ok(Answer::Logged(bits))
    }

    fn blame_for(&self, surplus: Pages) -> &'static Requirement {
        match surplus {
            surplus if surplus & !self.reported == 0 => &dma_logging::FORGETS,
            surplus if surplus & !self.read == 0 => &dma_logging::READS,
            // Nothing was written since it began, so this is what one before it has left.
            _ if self.written | self.reported == 0 => &dma_logging::STOP_ENDS,
            _ => &dma_logging::EXACT,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::model::{Fault, ModelDevice, ModelSpec};
    use crate::device::scripted::Doctored;
    use crate::uapi::feature::{Feature, FeatureCall};
    use crate::uapi::memory::DmaMemory;

    const RUNNING: State = State::Running;

    fn log(written: Pages, reported: Pages, read: Pages) -> Logged {
        Logged { written, reported, read, ..Logged::new(PAGE_BYTES) }
    }

    /// With a log in this state, on a device that has moved pages and logged before.
    fn traffic(log: Log) -> Traffic {
        Traffic { log, has_logged: true, has_moved: true, has_memory: true, ..Traffic::default() }
    }

    fn on() -> Log {
        Log::On(log(0, 0, 0))
    }

    /// The id of what is accused.
    fn accused(judged: Judged) -> Option<&'static str> {
        judged.err().map(|violation| violation.requirement.id)
    }

    fn model() -> ModelDevice {
        ModelDevice::new(ModelSpec::default())
    }

    #[test]
    fn a_report_has_what_was_written_and_nothing_else() {
        let (exact, forgets) = (Some(dma_logging::EXACT.id), Some(dma_logging::FORGETS.id));
        let (reads, ends) = (Some(dma_logging::READS.id), Some(dma_logging::STOP_ENDS.id));
        for (logged, answer, bits, wrong) in [
            (log(0b110, 0, 0), Ok(0), 0b110, None),
            (log(0b110, 0, 0), Ok(0), 0b100, exact),
            (log(0b110, 0, 0), Ok(0), 0b010, exact),
            (log(0b110, 0, 0), Ok(0), 0b111, exact),
            (log(0b110, 0, 0), Ok(1), 0b110, exact),
            (log(0b110, 0, 0), Err(Errno::EIO), 0b110, exact),
            (log(0b110, 0b001, 0), Ok(0), 0b111, forgets),
            (log(0b110, 0b001, 0), Ok(0), 0b1111, exact),
            (log(0b110, 0, 0b001), Ok(0), 0b111, reads),
            (log(0b110, 0, 0b001), Ok(0), 0b1111, exact),
            (log(0b110, 0b001, 0b001), Ok(0), 0b111, forgets),
            (log(0, 0, 0), Ok(0), 0, None),
            (log(0, 0, 0), Ok(0), 0b1, ends),
            (log(0, 0b10, 0), Ok(0), 0b1, exact),
            (log(0b10, 0b10, 0), Ok(0), 0b11, exact),
            (Logged { granule: 2 * PAGE_BYTES, ..log(0b110, 0, 0) }, Ok(0), 0b1111, None),
            (Logged { granule: 2 * PAGE_BYTES, ..log(0b110, 0, 0) }, Ok(0), 0b1011, exact),
        ] {
            let mut logged = logged;
            let before = (logged.written, logged.reported);
            let judged = logged.judge(answer, bits, String::new);
            assert_eq!(accused(judged), wrong, "{before:?}: {answer:?}, {bits:#b}");
        }
    }

    #[test]
    fn what_was_reported_is_not_written_any_more() {
        let mut logged = log(0b110, 0b001, 0);
        assert_eq!(logged.judge(Ok(0), 0b110, String::new), Ok(Answer::Logged(0b110)));
        assert_eq!((logged.written, logged.reported), (0, 0b111));
        logged.moved(DmaDirection::ToMemory, 0b010);
        logged.moved(DmaDirection::ToMemory, 0b100);
        logged.moved(DmaDirection::FromMemory, 0b001);
        logged.moved(DmaDirection::FromMemory, 0b100);
        assert_eq!((logged.written, logged.read), (0b110, 0b101));
    }

    #[test]
    fn what_is_missing_after_a_transition_is_the_doing_of_that() {
        let suspect = |traffic: &Traffic| match &traffic.log {
            Log::On(logged) => Some(logged.suspect.id),
            Log::Off | Log::Unknown => None,
        };
        let mut traffic = traffic(on());
        assert_eq!(suspect(&traffic), Some(dma_logging::EXACT.id));
        traffic.moved();
        assert_eq!(suspect(&traffic), Some(dma_logging::ANY_STATE.id));
        traffic.reopened(&model());
        assert!(matches!(traffic.log, Log::Unknown), "nobody knows whether it outlives that");
    }

    #[test]
    fn a_log_may_go_on_unless_there_never_was_one_or_it_has_ended() {
        assert!(traffic(on()).may_log() && traffic(Log::Unknown).may_log());
        assert!(!traffic(Log::Off).may_log());
        assert!(!Traffic { has_logged: false, ..traffic(Log::Unknown) }.may_log());
    }

    #[test]
    fn a_device_that_moves_nothing_or_is_broken_is_not_judged() {
        assert!(traffic(Log::Off).is_judged_in(State::Stop) && !traffic(Log::Off).is_judged_in(State::Error));
        assert!(!Traffic { has_moved: false, ..traffic(Log::Off) }.is_judged_in(State::Stop));
    }

    #[test]
    fn each_page_is_another_one_and_they_come_round_again() -> Result<(), Errno> {
        let device = model();
        device.map(IOVA, &DmaMemory::new(AREA_BYTES)?)?;
        let mut traffic = Traffic::new(true, None);
        assert_eq!(traffic.start_log(&device, RUNNING), Ok(Answer::Returned(Ok(0))));
        for page in [0, 3, 15, 17] {
            assert_eq!(traffic.dma(&device, DmaDirection::ToMemory, page), Ok(Answer::Done(true)), "{page}");
        }
        assert_eq!(traffic.report_log(&device, RUNNING), Ok(Answer::Logged(0b1000_0000_0000_1011)));
        assert_eq!(Traffic::new(false, None).dma(&device, DmaDirection::ToMemory, 0), Ok(Answer::Nothing));
        Ok(())
    }

    #[test]
    fn one_log_begins_at_a_time_and_another_one_after_it() {
        let (twice, ends) = (Some(dma_logging::START_TWICE.id), Some(dma_logging::STOP_ENDS.id));
        // The model has no log, so that it begins one.
        let begins = |mut traffic: Traffic, state| accused(traffic.start_log(&model(), state));
        assert_eq!(begins(traffic(on()), RUNNING), twice);
        assert_eq!(begins(traffic(on()), State::Error), None);
        assert_eq!(begins(traffic(Log::Off), RUNNING), None);
        assert_eq!(begins(traffic(Log::Unknown), RUNNING), None);
        // The model has one, so that it begins no other.
        let refuses = |mut traffic: Traffic, state| {
            let device = model();
            assert_eq!(Traffic::default().start_log(&device, RUNNING), Ok(Answer::Returned(Ok(0))));
            accused(traffic.start_log(&device, state))
        };
        assert_eq!(refuses(traffic(Log::Off), RUNNING), ends);
        assert_eq!(refuses(traffic(Log::Off), State::Error), None);
        assert_eq!(refuses(Traffic { has_logged: false, ..traffic(Log::Off) }, RUNNING), None);
        assert_eq!(refuses(traffic(on()), RUNNING), None);
        assert_eq!(refuses(traffic(Log::Unknown), RUNNING), None);
    }

    #[test]
    fn a_log_that_goes_on_can_be_ended() {
        let fails = |_: &ModelDevice, call: &mut FeatureCall| {
            (call.number() == Feature::DmaLoggingStop.number()).then_some(Err(Errno::EIO))
        };
        let device = Doctored::new(ModelSpec::default(), fails);
        let ended = |mut traffic: Traffic, state| {
            let judged = accused(traffic.stop_log(&device, state));
            (judged, matches!(traffic.log, Log::Unknown))
        };
        assert_eq!(ended(traffic(on()), RUNNING), (Some(dma_logging::STOP_ENDS.id), false));
        assert_eq!(ended(traffic(on()), State::Error), (None, true));
        assert_eq!(ended(traffic(Log::Off), RUNNING), (None, true));
        let mut works = traffic(on());
        assert_eq!(accused(works.stop_log(&model(), RUNNING)), None);
        assert!(matches!(works.log, Log::Off));
    }

    #[test]
    fn without_a_log_there_is_nothing_to_report() {
        let reports = |fault: Option<Fault>, log, state| {
            let device = fault.map_or_else(model, |fault| ModelDevice::new(ModelSpec::faulty(fault)));
            accused(traffic(log).report_log(&device, state))
        };
        let always = Some(Fault::LogReportWithoutStart);
        assert_eq!(reports(None, Log::Off, RUNNING), None);
        assert_eq!(reports(always, Log::Off, RUNNING), Some(dma_logging::REPORT_WITHOUT_START.id));
        assert_eq!(reports(always, Log::Off, State::Error), None);
        assert_eq!(reports(always, Log::Unknown, RUNNING), None);
        assert_eq!(reports(None, on(), RUNNING), Some(dma_logging::EXACT.id));
    }
}
