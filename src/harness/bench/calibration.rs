//! Calibration: a stimulus of the profile is seen to work in RUNNING before a check may blame the driver for its effect.
//!
//! A check that uses a key for the first time ends there. The key is calibrated, and the check runs again. So a run
//! calibrates only what it uses, and once for each executor.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::transfer::tell_difference;
use super::{Bench, DmaArea, Migration};
use crate::harness::check::{Interruption, Judgement};
use crate::stimulus::trial::{Effect, KeyTrial, StepDone};
use crate::stimulus::{DmaDirection, Observation, ProfileKey, Stimulus, StimulusError};
use crate::uapi::precopy::{PRECOPY_INFO_REINIT, PrecopyInfoCall};
use crate::uapi::state::State;

/// As many bytes as checks change.
const CHANGED_BYTES: usize = 4096;
/// Nothing that goes on by itself stays unseen for so long.
const MOMENT: Duration = Duration::from_millis(3);
/// The delay that is asked for: long enough to be told from none, and short.
const SOON: Duration = Duration::from_millis(4);
/// A transfer waits so long that one that returns too early is caught on a busy machine too.
const PENDING: Duration = Duration::from_millis(16);
/// What a running device does by itself shows within this.
const SHOWS_WITHIN: Duration = Duration::from_secs(2);
/// So often it has to move.
const MOVES: usize = 3;
/// What was wrongly taken to be complete is complete after this.
const LATE: Duration = Duration::from_millis(200);
/// Where the memory of a transfer lies.
const IOVA: u64 = 1 << 24;
const PAGE_BYTES: u64 = 4096;
/// Which pages are transferred: neither the first of the area nor as many as any check takes.
const PAGES: std::ops::Range<usize> = 1..4;

/// What is known of the profile's keys.
#[derive(Default)]
pub(super) struct Calibration {
    known: BTreeMap<ProfileKey, Effect>,
    /// The steps of each key as they were played last.
    steps: BTreeMap<ProfileKey, Vec<StepDone>>,
    /// The key that the running check used although nothing is known of it.
    wanted: Option<ProfileKey>,
    /// Whether a calibration is going on, in which everything may be played.
    is_on: bool,
    /// Whether a check runs, which may accuse the driver.
    is_judging: bool,
    /// Who is told that one begins.
    announce: Option<Box<dyn FnMut() + Send>>,
}

type Seen = Result<String, StimulusError>;

impl Calibration {
    /// Whether a calibration is going on.
    pub(super) fn is_on(&self) -> bool {
        self.is_on
    }

    /// A check begins, or is over.
    pub(super) fn judges(&mut self, is_judging: bool) {
        self.is_judging = is_judging;
        self.wanted = None;
    }

    /// Keeps the steps that were played.
    pub(super) fn played(&mut self, key: ProfileKey, steps: Vec<StepDone>) {
        self.steps.insert(key, steps);
    }
}

impl Bench {
    /// The same, which announces every calibration before it begins.
    pub fn announcing(mut self, announce: impl FnMut() + Send + 'static) -> Bench {
        self.calibration.announce = Some(Box::new(announce));
        self
    }

    /// A key may be played: it was seen to work.
    ///
    /// # Errors
    /// That it does not work, or that nothing is known of it yet, which ends the check until something is.
    pub(super) fn require(&mut self, key: ProfileKey) -> Result<(), StimulusError> {
        if self.calibration.is_on {
            return Ok(());
        }
        match self.calibration.known.get(&key) {
            Some(Effect::Unseen(error)) => Err(error.clone()),
            Some(Effect::Seen(_) | Effect::NotTried(_)) => Ok(()),
            // Each use of it looks at the effect.
            None if key == ProfileKey::EnterError || !self.calibration.is_judging => Ok(()),
            None => {
                self.calibration.wanted.get_or_insert(key);
                Err(unproven(key, "nothing is known of it yet"))
            }
        }
    }

    /// A key will be used later in the check, after something that is better not done twice.
    ///
    /// # Errors
    /// That nothing is known of it yet, which ends the check until something is.
    pub(super) fn want(&mut self, key: ProfileKey) -> Judgement {
        match self.calibration.known.contains_key(&key) {
            true => Ok(()),
            false => Ok(self.require(key)?),
        }
    }

    /// The key that the check used before it was calibrated.
    pub(super) fn take_wanted(&mut self) -> Option<ProfileKey> {
        self.calibration.wanted.take()
    }

    /// Writes down that a key does not work.
    pub(super) fn disprove(&mut self, key: ProfileKey, why: impl Into<String>) -> Interruption {
        let error = unproven(key, why);
        self.calibration.known.insert(key, Effect::Unseen(error.clone()));
        super::stimuli::into_interruption(error)
    }

    /// Tries every key of the profile that is not known yet, on a device in RUNNING.
    pub fn try_profile(&mut self) -> Vec<KeyTrial> {
        let mut trials = Vec::new();
        for key in ProfileKey::ALL {
            let began = Instant::now();
            self.calibrate(key);
            let known = self.calibration.known.get(&key).cloned();
            let effect = known.unwrap_or_else(|| Effect::NotTried("nothing uses it".to_owned()));
            let steps = self.calibration.steps.get(&key).cloned().unwrap_or_default();
            trials.push(KeyTrial { key, steps, effect, seconds: began.elapsed().as_secs_f64() });
        }
        trials
    }

    /// Which of these keys work, calibrated if they were not. The device is in RUNNING.
    pub(super) fn working(&mut self, keys: &[ProfileKey]) -> Vec<ProfileKey> {
        for key in keys {
            self.calibrate(*key);
        }
        let works = |key: &&ProfileKey| !matches!(self.calibration.known.get(key), Some(Effect::Unseen(_)));
        keys.iter().filter(works).copied().collect()
    }

    /// What a finding hangs on: each key that its check played, with its steps, and what it was seen to do in RUNNING.
    pub(super) fn what_was_played(&self, played: &BTreeSet<ProfileKey>) -> Vec<String> {
        let known = &self.calibration.known;
        let played = played.iter().filter_map(|key| match known.get(key)? {
            Effect::Seen(seen) => Some((key, seen)),
            Effect::Unseen(_) | Effect::NotTried(_) => None,
        });
        let describe = |(key, seen): (&ProfileKey, &String)| {
            let steps = self.calibration.steps.get(key).into_iter().flatten().zip(1..);
            let steps: Vec<String> = steps.map(|(step, number)| format!("step {number} {}", step.what)).collect();
            let steps = if steps.is_empty() { String::new() } else { format!(" ({})", steps.join(", ")) };
            format!("the check played `{key}`{steps}, which worked in RUNNING in this run: {seen}")
        };
        played.map(describe).collect()
    }

    /// Why a key that the profile has does not work; `None` if nothing is wrong with it.
    pub(super) fn wrong(&self, key: ProfileKey) -> Option<StimulusError> {
        match self.calibration.known.get(&key) {
            Some(Effect::Unseen(error)) if error.is_wrong() => Some(error.clone()),
            _ => None,
        }
    }

    /// Plays a key of the profile on a device in RUNNING, sees what it does, and puts the device back. Says why the
    /// device is lost, if it is.
    pub(super) fn calibrate(&mut self, key: ProfileKey) -> Option<String> {
        if self.calibration.known.contains_key(&key) {
            return None;
        }
        self.announce();
        self.calibration.is_on = true;
        let before = self.failures();
        match key {
            ProfileKey::Dirty | ProfileKey::Compare => self.calibrate_state(),
            ProfileKey::StartWork | ProfileKey::StopWork | ProfileKey::Progress => self.calibrate_work(),
            ProfileKey::Interrupt => {
                let seen = self.see_interrupt();
                self.know(key, seen);
            }
            ProfileKey::DmaToMemory => self.calibrate_dma(DmaDirection::ToMemory),
            ProfileKey::DmaFromMemory => self.calibrate_dma(DmaDirection::FromMemory),
            ProfileKey::FinishDma => {}
            ProfileKey::Reconfigure => self.calibrate_reconfigure(),
            ProfileKey::EnterError => {
                let seen = self.see_error();
                self.know(key, seen);
            }
        }
        let is_well = self.failures() == before;
        if !is_well || key == ProfileKey::EnterError {
            // A wrong stimulus may have done anything. What reset answers shows in the state.
            let _ = self.reset();
        }
        let lost = self.put_back(is_well);
        self.calibration.is_on = false;
        self.announce();
        if key == ProfileKey::FinishDma {
            return lost.or_else(|| self.calibrate_finish());
        }
        lost
    }

    /// The time of the check begins anew: what was spent on this is not its.
    fn announce(&mut self) {
        if let Some(announce) = &mut self.calibration.announce {
            announce();
        }
    }

    /// What ends a transfer is seen to work with what begins one.
    fn calibrate_finish(&mut self) -> Option<String> {
        let lost = [ProfileKey::DmaToMemory, ProfileKey::DmaFromMemory].into_iter().find_map(|key| self.calibrate(key));
        let known = &mut self.calibration.known;
        known.entry(ProfileKey::FinishDma).or_insert_with(|| Effect::NotTried("no transfer could be begun".to_owned()));
        lost
    }

    fn failures(&self) -> usize {
        self.calibration
            .known
            .values()
            .filter(|effect| matches!(effect, Effect::Unseen(error) if error.is_wrong()))
            .count()
    }

    fn know(&mut self, key: ProfileKey, seen: Seen) {
        let effect = match seen {
            Ok(seen) => Effect::Seen(seen),
            Err(error) => Effect::Unseen(error),
        };
        self.calibration.known.insert(key, effect);
    }

    /// Whether internal state changes when it is to change, and the observation shows it. A stimulus that writes the same
    /// value each time changes nothing where the value is there already, so a reset may help.
    fn calibrate_state(&mut self) {
        self.calibrate_state_once();
        if self.wrong(ProfileKey::Dirty).is_some() {
            // What it answers shows in the state.
            let _ = self.reset();
            self.calibrate_state_once();
        }
    }

    fn calibrate_state_once(&mut self) {
        let before = self.look_twice();
        if let Err(error) = self.try_stimulus(Stimulus::Dirty(CHANGED_BYTES)) {
            self.know(ProfileKey::Dirty, Err(error));
            let seen = before.map(|state| format!("{} bytes, which no stimulus was seen to change", state.len()));
            self.know(ProfileKey::Compare, seen);
            return;
        }
        let after = match before.and_then(|before| self.try_observe(Observation::State).map(|after| (before, after))) {
            Err(error) => {
                self.know(ProfileKey::Compare, Err(error));
                let shown = self.stream_shows_dirty();
                let seen = shown.ok_or_else(|| {
                    unproven(
                        ProfileKey::Dirty,
                        "`state.compare` cannot be read, and the device's stream shows no change",
                    )
                });
                self.know(ProfileKey::Dirty, seen);
                return;
            }
            Ok((before, after)) if before == after => None,
            Ok((before, after)) => Some((tell_difference(&before, &after), after)),
        };
        match after {
            Some((difference, after)) => {
                self.watch(MOMENT);
                let is_still = self.try_observe(Observation::State).as_ref() == Ok(&after);
                self.know(ProfileKey::Compare, Ok(format!("`stimulus.dirty` changes it: {difference}")));
                let why = "what `state.compare` reads goes on changing after it";
                let seen = if is_still { Ok(difference) } else { Err(unproven(ProfileKey::Dirty, why)) };
                self.know(ProfileKey::Dirty, seen);
            }
            None => self.find_what_is_wrong_with_state(),
        }
    }

    /// State was to change, and the observation shows no change: one of them is wrong.
    fn find_what_is_wrong_with_state(&mut self) {
        match self.stream_shows_dirty() {
            Some(shown) => {
                let why = format!("`stimulus.dirty` does not change what it reads, though {shown}");
                self.know(ProfileKey::Compare, Err(unproven(ProfileKey::Compare, why)));
                self.know(ProfileKey::Dirty, Ok(shown));
            }
            None => {
                let why = "neither what `state.compare` reads nor the device's stream changes";
                self.know(ProfileKey::Dirty, Err(unproven(ProfileKey::Dirty, why)));
                let why = "`stimulus.dirty` does not change what it reads";
                self.know(ProfileKey::Compare, Err(unproven(ProfileKey::Compare, why)));
            }
        }
    }

    /// What can be compared, if it is the same a moment later.
    fn look_twice(&mut self) -> Result<Vec<u8>, StimulusError> {
        let first = self.try_observe(Observation::State)?;
        self.watch(MOMENT);
        match self.try_observe(Observation::State)? == first {
            true => Ok(first),
            false => {
                let why = "what it reads changes by itself, while nothing is done to the device";
                Err(unproven(ProfileKey::Compare, why))
            }
        }
    }

    /// What the device's own streams show of a change; `None` if nothing.
    fn stream_shows_dirty(&mut self) -> Option<String> {
        self.estimates_show_dirty().ok().flatten().or_else(|| self.saves_show_dirty().ok().flatten())
    }

    fn estimates_show_dirty(&mut self) -> Judgement<Option<String>> {
        if !self.has_pre_copy() {
            return Ok(None);
        }
        let session = self.bring_to_temporary_end(State::PreCopy)?;
        let before = self.estimates(&session)?.dirty_bytes;
        self.stimulate(Stimulus::Dirty(CHANGED_BYTES))?;
        let after = self.estimates(&session)?.dirty_bytes;
        drop(session);
        self.bring_back()?;
        Ok((after > before).then(|| format!("dirty_bytes rises from {before} to {after} in PRE_COPY")))
    }

    /// A device whose streams differ anyway shows nothing.
    fn saves_show_dirty(&mut self) -> Judgement<Option<String>> {
        let before = self.save_once()?;
        if self.save_once()? != before {
            return Ok(None);
        }
        self.stimulate(Stimulus::Dirty(CHANGED_BYTES))?;
        let after = self.save_once()?;
        Ok((after != before).then(|| format!("the stream of STOP_COPY changes: {}", tell_difference(&before, &after))))
    }

    fn save_once(&mut self) -> Judgement<Vec<u8>> {
        let session = self.bring_to_session(State::StopCopy)?;
        let stream = self.save(&session)?;
        drop(session);
        self.bring_back()?;
        Ok(stream)
    }

    /// Whether work begins, shows, and ends.
    fn calibrate_work(&mut self) {
        let progress = self.try_observe(Observation::Progress);
        let state = self.try_observe(Observation::State);
        if let Err(error) = self.try_stimulus(Stimulus::StartWork) {
            self.know(ProfileKey::StartWork, Err(error.clone()));
            self.know(ProfileKey::StopWork, Err(error));
            let seen = progress.map(|_| "it can be read; no work was begun that moves it".to_owned());
            self.know(ProfileKey::Progress, seen);
            return;
        }
        let moves = progress.is_ok() && self.keeps_moving();
        let limit = if progress.is_ok() { Duration::ZERO } else { SHOWS_WITHIN };
        let shows = moves || state.as_ref().is_ok_and(|before| self.changes(Observation::State, before, limit));
        let seen_by = if moves { Observation::Progress } else { Observation::State };
        self.know(
            ProfileKey::Progress,
            match progress {
                Ok(_) if moves => Ok("`stimulus.start_work` moves it".to_owned()),
                Ok(_) => Err(unproven(ProfileKey::Progress, "`stimulus.start_work` does not move what it reads")),
                Err(error) => Err(error),
            },
        );
        let stopped =
            self.try_stimulus(Stimulus::StopWork).and_then(|()| match shows && !self.comes_to_rest(seen_by) {
                false => Ok("nothing moves after it".to_owned()),
                true => {
                    Err(unproven(ProfileKey::StopWork, format!("`{}` moves on after it", ProfileKey::from(seen_by))))
                }
            });
        let started = match (shows, &stopped) {
            (false, _) => {
                Err(unproven(ProfileKey::StartWork, "nothing moves, neither `state.progress` nor `state.compare`"))
            }
            // Work that cannot be ended must not be begun.
            (true, Err(error)) => Err(error.clone()),
            (true, Ok(_)) => Ok(format!("`{}` moves", ProfileKey::from(seen_by))),
        };
        self.know(ProfileKey::StartWork, started);
        self.know(ProfileKey::StopWork, stopped);
    }

    /// Whether an observation changes within a time.
    fn changes(&mut self, observation: Observation, before: &[u8], within: Duration) -> bool {
        let began = Instant::now();
        loop {
            let is_last = began.elapsed() >= within;
            match self.try_observe(observation) {
                Ok(now) if now != before => return true,
                Ok(_) if !is_last => self.watch(MOMENT),
                _ => return false,
            }
        }
    }

    /// Whether what moves by itself does so again and again, faster than checks wait for it.
    fn keeps_moving(&mut self) -> bool {
        (0..MOVES).all(|_| match self.try_observe(Observation::Progress) {
            Ok(before) => self.changes(Observation::Progress, &before, SHOWS_WITHIN / 2),
            Err(_) => false,
        })
    }

    /// Whether an observation stays as it is, in the end.
    fn comes_to_rest(&mut self, observation: Observation) -> bool {
        let began = Instant::now();
        while began.elapsed() < LATE {
            let Ok(before) = self.try_observe(observation) else { return false };
            self.watch(MOMENT);
            if self.try_observe(observation) == Ok(before) {
                return true;
            }
        }
        false
    }

    fn see_interrupt(&mut self) -> Seen {
        let key = ProfileKey::Interrupt;
        let interrupts = match self.listen() {
            Ok(interrupts) => interrupts,
            Err(Interruption::Skip(_)) => return Err(StimulusError::Lacking(key)),
            Err(Interruption::Blocked { why, .. } | Interruption::BlockedByKey { why, .. }) => {
                return Err(unproven(key, why));
            }
            Err(Interruption::Broken) => return Err(unproven(key, "its interrupt cannot be listened to")),
        };
        let line = interrupts.line();
        let began = Instant::now();
        self.try_stimulus(Stimulus::Interrupt { after: SOON })?;
        let limit = SOON + line.within;
        let what = format!("wait for an interrupt, {} ms at most", limit.as_millis());
        let arrived = self.recorder.operation(
            what,
            || interrupts.arrived(limit),
            |arrived| arrived.map_or("none".to_owned(), |vector| format!("it came at vector {vector}")),
        );
        match arrived {
            Some(vector) if vector == line.vector => Ok(format!("it arrives after {}", millis(began.elapsed()))),
            Some(vector) => Err(unproven(key, format!("it arrives at vector {vector}, not {}", line.vector))),
            None => {
                let why =
                    format!("none arrives at index {}, vector {} within {}", line.index, line.vector, millis(limit));
                Err(unproven(key, why))
            }
        }
    }

    fn calibrate_dma(&mut self, direction: DmaDirection) {
        if direction == DmaDirection::FromMemory {
            // Its effect shows where those do.
            self.calibrate_state_and_work();
        }
        let seen = self.see_dma(direction);
        let key = key_of(direction);
        let finished = match &seen {
            Ok(_) => Some(Effect::Seen("the transfer is complete when it returns".to_owned())),
            Err(StimulusError::Unproven { key: ProfileKey::FinishDma, .. }) => seen.clone().err().map(Effect::Unseen),
            Err(error @ StimulusError::Lacking(ProfileKey::FinishDma)) => Some(Effect::Unseen(error.clone())),
            Err(_) => None,
        };
        if let Some(finished) = finished {
            self.calibration.known.insert(ProfileKey::FinishDma, finished);
        }
        self.know(key, seen);
    }

    fn calibrate_state_and_work(&mut self) {
        if !self.calibration.known.contains_key(&ProfileKey::Compare) {
            self.calibrate_state();
        }
        if !self.calibration.known.contains_key(&ProfileKey::Progress) {
            self.calibrate_work();
        }
    }

    fn see_dma(&mut self, direction: DmaDirection) -> Seen {
        let key = key_of(direction);
        let area = self.map_area(IOVA, PAGES.end * PAGE_BYTES as usize).map_err(|interruption| match interruption {
            Interruption::Blocked { why, .. } | Interruption::BlockedByKey { why, .. } => unproven(key, why),
            Interruption::Broken | Interruption::Skip(_) => unproven(key, "no memory can be mapped for it"),
        })?;
        let visible = [Observation::State, Observation::Progress].map(|observation| {
            (observation, self.is_known_to_work(observation).then(|| self.try_observe(observation)))
        });
        let (iova, bytes) = (IOVA + PAGES.start as u64 * PAGE_BYTES, PAGES.len() as u64 * PAGE_BYTES);
        let began = Instant::now();
        self.try_stimulus(Stimulus::Dma { direction, iova, bytes, after: PENDING })?;
        let finished = self.try_stimulus(Stimulus::FinishDma);
        if let Err(error @ (StimulusError::Lacking(_) | StimulusError::Declined(_))) = finished {
            return Err(error);
        }
        let took = millis(began.elapsed());
        match direction {
            DmaDirection::ToMemory => self.judge_written(&area, finished, &took),
            DmaDirection::FromMemory => {
                finished.map_err(|error| unproven(key, error.to_string()))?;
                if area.pages_written() > 0 {
                    return Err(unproven(key, format!("it writes {} pages of memory", area.pages_written())));
                }
                let changed = visible.into_iter().find_map(|(observation, before)| {
                    let before = before?.ok()?;
                    (self.try_observe(observation).ok()? != before).then_some(ProfileKey::from(observation))
                });
                let why = "the transfer ends well, but neither `state.compare` nor `state.progress` changes by it: have \
                           one of them read what it changes";
                let changed = changed.ok_or_else(|| unproven(key, why))?;
                Ok(format!("{bytes} bytes are read within {took}, and change `{changed}`"))
            }
        }
    }

    /// What was to be written is, no more, and it was when the end was said.
    fn judge_written(&mut self, area: &DmaArea, finished: Result<(), StimulusError>, took: &str) -> Seen {
        let key = ProfileKey::DmaToMemory;
        let wanted: Vec<usize> = PAGES.collect();
        let written = area.written_pages();
        match finished {
            Ok(()) if written == wanted => return Ok(format!("{} pages arrive within {took}", wanted.len())),
            // Something else was written, so waiting would not help.
            _ if written.iter().any(|page| !PAGES.contains(page)) => {
                return Err(unproven(key, format!("it writes pages {written:?} of the memory instead of {wanted:?}")));
            }
            _ => {}
        }
        self.watch(LATE);
        let is_complete = area.written_pages() == wanted;
        let why = match (finished, is_complete) {
            (Err(error), true) => {
                return Err(unproven(ProfileKey::FinishDma, format!("the transfer is complete, but {error}")));
            }
            (Ok(()), true) => {
                return Err(unproven(ProfileKey::FinishDma, "it returns before the transfer is complete"));
            }
            (Err(error), false) => error.to_string(),
            (Ok(()), false) => format!("{} of {} pages arrive", area.pages_written(), wanted.len()),
        };
        Err(unproven(key, why))
    }

    fn is_known_to_work(&self, observation: Observation) -> bool {
        matches!(self.calibration.known.get(&ProfileKey::from(observation)), Some(Effect::Seen(_)))
    }

    fn has_pre_copy(&self) -> bool {
        matches!(self.migration, Migration::Has(set) if set.pre_copy)
    }

    /// Whether PRE_COPY begins anew. Only a user who opted in, on a kernel that has this, sees it.
    fn calibrate_reconfigure(&mut self) {
        let key = ProfileKey::Reconfigure;
        let untried = |why: &str| Effect::NotTried(why.to_owned());
        let effect = match self.see_reinit() {
            _ if !self.has_pre_copy() => untried("the device has no PRE_COPY, where its effect is seen"),
            Ok(Some(seen)) => Effect::Seen(seen),
            Ok(None) => untried("MIG_PRECOPY_INFOv2 is not there, which shows its effect"),
            Err(Ok(error)) => Effect::Unseen(error),
            Err(Err(_)) => untried("the device could not be brought to where its effect is seen"),
        };
        self.calibration.known.insert(key, effect);
    }

    fn see_reinit(&mut self) -> Result<Option<String>, Result<StimulusError, Interruption>> {
        if !self.has_pre_copy() || self.device.use_precopy_info_v2().is_err() {
            return Ok(None);
        }
        let key = ProfileKey::Reconfigure;
        let session = self.bring_to_temporary_end(State::PreCopy).map_err(Err)?;
        let before = self.estimates(&session).map_err(Err)?;
        self.try_stimulus(Stimulus::Reconfigure).map_err(Ok)?;
        let mut call = PrecopyInfoCall::default();
        if self.precopy_info(&session, &mut call) != Ok(0) {
            return Ok(None);
        }
        let says_so = call.flags & PRECOPY_INFO_REINIT != 0;
        match (says_so, call.initial_bytes > before.initial_bytes) {
            (true, _) => Ok(Some(format!("PRECOPY_INFO reports REINIT, with initial_bytes {}", call.initial_bytes))),
            (false, true) => Ok(Some(format!("initial_bytes rises to {}", call.initial_bytes))),
            (false, false) => {
                let why = "in PRE_COPY it has neither REINIT reported nor initial_bytes rise";
                Err(Ok(unproven(key, why)))
            }
        }
    }

    fn see_error(&mut self) -> Seen {
        let key = ProfileKey::EnterError;
        self.try_stimulus(Stimulus::EnterError)?;
        let requested = self.request(State::Running, State::Stop.number());
        let is_refused = requested.answer.is_err();
        drop(requested.session());
        let here = self.get_state().ok().map(|answer| answer.device_state);
        match (is_refused, here == Some(State::Error.number())) {
            (true, true) => Ok("the next transition fails and leads to ERROR".to_owned()),
            (false, _) => Err(unproven(key, "the next transition, to STOP, succeeds")),
            (true, false) => Err(unproven(key, "the next transition fails, but does not lead to ERROR")),
        }
    }
}

fn key_of(direction: DmaDirection) -> ProfileKey {
    match direction {
        DmaDirection::ToMemory => ProfileKey::DmaToMemory,
        DmaDirection::FromMemory => ProfileKey::DmaFromMemory,
    }
}

fn unproven(key: ProfileKey, why: impl Into<String>) -> StimulusError {
    StimulusError::Unproven { key, why: why.into() }
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests;
