//! Everything that changes in the model: state, memory, sessions. Calls come in one at a time.

use std::os::fd::OwnedFd;
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use super::arcs;
use super::dma::{Engine, Mappings, Moved};
use super::dma_log::DmaLog;
use super::fault::Fault;
use super::memory::{InFlight, Memory, pages_of};
use super::resuming::Resuming;
use super::saving::Saving;
use super::session::{Sessions, Transfer};
use super::spec::ModelSpec;
use super::variation::Variation;
use crate::device::Footprint;
use crate::stimulus::{Observation, Stimulus};
use crate::uapi::Errno;
use crate::uapi::dma_logging::{LoggingReport, LoggingStart};
use crate::uapi::feature::{Feature, FeatureCall, Verb};
use crate::uapi::memory::DmaMemory;
use crate::uapi::state::{Capabilities, State};

/// What `data_fd` holds where there is none.
pub(super) const NO_FD: i32 = -1;

/// After so many looks [`Fault::StateDrifts`] shows.
const LOOKS_UNTIL_DRIFT: u32 = 3;

/// At so many looks [`Fault::GetEndsSession`] shows.
const LOOKS_UNTIL_END: u32 = 4;

/// With [`Fault::MovingDmaNotAwaited`], transfers end so much late, so that they are caught on a busy machine too.
const LINGERS: Duration = Duration::from_millis(15);

/// How many sessions there can be at once with [`Fault::CancelledSessionKeepsSlot`].
const SLOTS: usize = 64;

/// What a session leaks with [`Fault::MemoryLeaks`].
const LEAK_BYTES: u64 = 1 << 20;

/// What others take between two looks with [`Variation::OthersTakeMemory`], as long as they do.
const TAKEN_BYTES: u64 = 16 << 20;

/// So many looks at what is in use are enough for one measurement of it.
const LOOKS_OF_A_MEASUREMENT: u64 = 4;

/// What small things are called.
const OBJECTS: &str = "kmalloc-256";

/// How often a device that works by itself does so.
const WORK_PACE: Duration = Duration::from_millis(1);

/// How much it changes each time.
const WORK_BYTES: usize = 8;

/// The device behind its lock.
#[derive(Debug)]
pub(super) struct Machine {
    pub(super) spec: ModelSpec,
    state: State,
    pub(super) memory: Memory,
    pub(super) sessions: Sessions,
    /// Whether the user has opted in to the flags of PRECOPY_INFO.
    pub(super) precopy_info_v2: bool,
    /// Whether the next arc fails.
    doomed: bool,
    /// Whether all arcs fail, whatever is done about it.
    ruined: bool,
    /// How many transitions go on.
    pub(super) transitions: usize,
    /// Whether nothing happened since a reset.
    just_reset: bool,
    /// How often the state was asked for since the last arc.
    looks: u32,
    /// How many saving sessions there were.
    saves: u32,
    /// How far the session was read that was left in STOP_COPY just now.
    left_at: usize,
    /// What the faults of half loads do not forget.
    left_over: Vec<u8>,
    /// The thread that asked for a state last.
    asker: Option<ThreadId>,
    /// What is never given back.
    leaked_bytes: u64,
    /// Slots that cancelled sessions have kept.
    kept_slots: usize,
    /// Whether the last arcs should have stopped DMA, and did not.
    saves_unquieted: bool,
    /// Whether the last arc was the one that ends a load.
    just_loaded: bool,
    /// Where the last arc led away from.
    came_from: State,
    /// Small things that are never given back.
    leaked_objects: u64,
    /// References to the driver that are never given back.
    leaked_references: u64,
    /// How often somebody has looked at what is in use.
    measured: u64,
    mappings: Mappings,
    engine: Engine,
    log: DmaLog,
    /// When the interrupt comes that was asked for.
    interrupt_due: Option<Instant>,
    /// Where interrupts go.
    interrupt_event: Option<OwnedFd>,
    /// When the device last worked by itself.
    worked: Instant,
    /// Whether nothing but opening it again helps.
    wedged: bool,
    /// Whether somebody calls [`Machine::tick`] again and again.
    pub(super) has_clock: bool,
}

impl Machine {
    /// The device as it is when it is opened for the first time.
    pub(super) fn new(spec: ModelSpec) -> Machine {
        Machine {
            spec,
            state: State::Running,
            mappings: Mappings::default(),
            engine: match spec.has(Fault::MovingDmaNotAwaited) {
                true => Engine::lingering(LINGERS),
                false => Engine::default(),
            },
            log: DmaLog::default(),
            interrupt_due: None,
            interrupt_event: None,
            worked: Instant::now(),
            wedged: false,
            has_clock: false,
            memory: Memory::after_reset(),
            sessions: Sessions::new(),
            precopy_info_v2: false,
            doomed: false,
            ruined: false,
            transitions: 0,
            just_reset: false,
            looks: 0,
            saves: 0,
            left_at: 0,
            left_over: Vec::new(),
            asker: None,
            leaked_bytes: 0,
            kept_slots: 0,
            saves_unquieted: false,
            just_loaded: false,
            came_from: State::Running,
            leaked_objects: 0,
            leaked_references: 0,
            measured: 0,
        }
    }

    /// Whether the model has this defect.
    pub(super) fn has(&self, fault: Fault) -> bool {
        self.spec.has(fault)
    }

    /// The capability set; `None` if the device cannot migrate.
    pub(super) fn capabilities(&self) -> Option<Capabilities> {
        self.spec.capabilities
    }

    /// The state as GET answers it.
    pub(super) fn look_at_state(&mut self) -> State {
        self.looks += 1;
        if self.has(Fault::StateDrifts) && self.state == State::PreCopy && self.looks > LOOKS_UNTIL_DRIFT {
            self.state = State::Running;
        }
        if self.has(Fault::GetEndsSession) && self.looks == LOOKS_UNTIL_END {
            self.sessions.end();
        }
        let seen = self.state;
        if self.has(Fault::GetChangesState) && self.state == State::Stop {
            self.state = State::Running;
        }
        seen
    }

    /// Whether PRECOPY_INFO is valid.
    pub(super) fn permits_precopy_info(&self) -> bool {
        match self.state {
            State::PreCopy => true,
            State::PreCopyP2p => !self.has(Fault::PrecopyInfoRefusedInP2p),
            State::StopCopy => self.has(Fault::PrecopyInfoInStopCopy),
            _ => false,
        }
    }

    /// Goes to the state of that number, arc by arc. Says the new session's data_fd, or [`NO_FD`].
    ///
    /// # Errors
    /// EINVAL for what can never be done, and nothing changes; the errno of an arc that failed.
    pub(super) fn set_state(&mut self, number: u32) -> Result<i32, Errno> {
        if self.wrongly_accepts(number) {
            return Ok(NO_FD);
        }
        let is_another = self.is_another_thread();
        self.wedged |= is_another && self.has(Fault::SecondThreadWedges);
        self.asker = Some(thread::current().id());
        match self.judge(number) {
            Some(target) if target == self.state && is_another && self.has(Fault::SecondOwner) => {
                Ok(self.begin_needlessly())
            }
            Some(target) if target == self.state => Ok(self.stay()),
            Some(target) => self.go_to(target),
            None => {
                self.refuse();
                Err(Errno::EINVAL)
            }
        }
    }

    /// Whether another thread than this one asked for a state last.
    pub(super) fn is_another_thread(&self) -> bool {
        self.asker.is_some_and(|asker| asker != thread::current().id())
    }

    /// The state of that number, if the device may be asked to go there.
    fn judge(&self, number: u32) -> Option<State> {
        let set = self.capabilities()?;
        let target = State::from_number(number)?;
        if target == State::Error || !set.has(target) {
            return None;
        }
        if target != self.state {
            arcs::first_arc(set, self.state, target)?;
        }
        Some(target)
    }

    /// The place of the faults that let the device leap where it must not go.
    fn wrongly_accepts(&mut self, number: u32) -> bool {
        let Some(target) = State::from_number(number) else {
            return self.has(Fault::OutOfRangeAccepted);
        };
        let leaps = match (self.state, target) {
            (_, State::Error) => self.has(Fault::ErrorIsATarget),
            _ if !self.capabilities().is_some_and(|set| set.has(target)) => self.has(Fault::UnadvertisedAccepted),
            (State::StopCopy, State::PreCopy | State::PreCopyP2p) => {
                while self.has(Fault::BlockedArcHangs) {
                    thread::sleep(Duration::from_secs(1));
                }
                self.has(Fault::BlockedArcAllowed)
            }
            (State::Error, State::Stop) => self.has(Fault::ErrorLeavesBySet),
            _ => false,
        };
        if leaps {
            self.state = target;
        }
        leaps
    }

    /// Nothing happens on a refusal.
    fn refuse(&mut self) {
        if self.has(Fault::RefusalEndsSession) {
            self.sessions.end();
        }
        if self.has(Fault::RefusalMovesToError) {
            self.state = State::Error;
        }
    }

    /// Nothing happens if the device is there already.
    fn stay(&mut self) -> i32 {
        if self.has(Fault::SameStateEndsSession) {
            self.sessions.end();
        }
        if self.has(Fault::FdOnSameState) {
            return self.begin_needlessly();
        }
        NO_FD
    }

    /// Hands out one more data_fd where there should be none.
    pub(super) fn begin_needlessly(&mut self) -> i32 {
        let ended = Transfer::Saving(self.new_saving());
        self.sessions.begin_needlessly(ended)
    }

    fn go_to(&mut self, target: State) -> Result<i32, Errno> {
        if self.has(Fault::Crash) && target == State::Resuming {
            std::process::abort();
        }
        if self.has(Fault::StateUnchangedBySuccess) && target == State::Running {
            return Ok(NO_FD);
        }
        let set = self.capabilities().ok_or(Errno::ENOTTY)?;
        let origin = self.state;
        let mut data_fd = NO_FD;
        while self.state != target {
            let next = arcs::first_arc(set, self.state, target).ok_or(Errno::EINVAL)?;
            if self.has(Fault::ArcStopsShort) && next == target && self.state != origin {
                break;
            }
            data_fd = self.take_arc(next)?;
        }
        Ok(data_fd)
    }

    /// Takes one arc that the text lists. On failure the device stays where it is, or is in ERROR.
    fn take_arc(&mut self, next: State) -> Result<i32, Errno> {
        use State::*;
        if self.wedged {
            return Err(Errno::EIO);
        }
        if self.doomed || self.ruined {
            let cancels = self.state == PreCopy && self.has(Fault::FailureCancelsPreCopy);
            self.fail();
            if cancels {
                self.state = Running;
            }
            return Err(Errno::EIO);
        }
        self.keep_slot(next)?;
        self.looks = 0;
        self.just_reset = false;
        let left_at = std::mem::take(&mut self.left_at);
        self.quiesce_for(next);
        self.suspend_or_go_on(next);
        let data_fd = match (self.state, next) {
            (Running, PreCopy) | (RunningP2p, PreCopyP2p) => self.begin_pre_copy(),
            (Stop, StopCopy) => self.begin_stop_copy(left_at),
            (Stop, Resuming) => self.begin_resuming(),
            (PreCopy | PreCopyP2p, StopCopy | PreCopy | PreCopyP2p) => self.go_on_saving(next),
            (Resuming, Stop) => self.finish_resuming()?,
            (StopCopy, _) => self.leave_stop_copy(),
            (PreCopy | PreCopyP2p, _) => self.end_session(),
            _ => NO_FD,
        };
        self.state = next;
        Ok(data_fd)
    }

    /// The place of the fault of slots: a cancelled session keeps its own.
    fn keep_slot(&mut self, next: State) -> Result<(), Errno> {
        use State::*;
        if !self.has(Fault::CancelledSessionKeepsSlot) {
            return Ok(());
        }
        match (self.state, next) {
            (Running | RunningP2p, PreCopy | PreCopyP2p) if self.kept_slots >= SLOTS => return Err(Errno::ENOSPC),
            (PreCopy | PreCopyP2p, Running | RunningP2p) => self.kept_slots += 1,
            (_, Stop) => self.kept_slots = 0,
            _ => {}
        }
        Ok(())
    }

    fn new_saving(&mut self) -> Saving {
        self.saves += 1;
        Saving::new(self.spec, &self.memory, self.saves)
    }

    fn begin_session(&mut self, transfer: Transfer) -> i32 {
        if self.has(Fault::MemoryLeaks) {
            self.leaked_bytes += LEAK_BYTES;
        }
        self.leaked_objects += u64::from(self.has(Fault::SmallObjectsLeak));
        let dies = self.has(Fault::NewSessionDiesOfOldFd) && self.sessions.is_any_open();
        let data_fd = self.sessions.begin(transfer);
        if dies {
            self.sessions.end();
        }
        data_fd
    }

    /// The user closes a data_fd.
    pub(super) fn close(&mut self, number: i32) {
        if self.has(Fault::EarlyCloseFails) && self.sessions.is_last_of_alive(number) {
            self.doomed = true;
        }
        if self.has(Fault::DescriptorsLeak) && !self.sessions.is_last_of_alive(number) {
            self.sessions.leak();
        }
        self.sessions.close(number);
        if self.has(Fault::DuplicateDies) && self.sessions.get(number).is_some() {
            self.sessions.end();
        }
    }

    fn begin_pre_copy(&mut self) -> i32 {
        let saving = self.new_saving();
        let data_fd = self.begin_session(Transfer::Saving(saving));
        if self.has(Fault::NoFdOnPreCopy) {
            self.sessions.close(data_fd);
            return NO_FD;
        }
        if self.has(Fault::PreCopyLeaksDescriptor) {
            self.sessions.duplicate(data_fd);
        }
        data_fd
    }

    fn begin_stop_copy(&mut self, left_at: usize) -> i32 {
        let mut saving = self.new_saving();
        saving.complete(&self.memory);
        saving.skip(left_at);
        self.begin_session(Transfer::Saving(saving))
    }

    fn begin_resuming(&mut self) -> i32 {
        let mut resuming = Resuming::new(self.spec);
        resuming.begin_with(std::mem::take(&mut self.left_over));
        let data_fd = self.begin_session(Transfer::Resuming(resuming));
        if self.has(Fault::NoFdOnResuming) {
            self.sessions.close(data_fd);
            return NO_FD;
        }
        data_fd
    }

    fn go_on_saving(&mut self, next: State) -> i32 {
        if self.has(Fault::SessionDiesInsideSavingGroup) {
            self.sessions.end();
        }
        self.disturb_p2p(next);
        if next == State::StopCopy {
            let leaves_early = self.has(Fault::EarlyLeaveTruncates);
            for saving in self.sessions.saving_mut() {
                if leaves_early {
                    saving.forget_unread();
                }
                saving.complete(&self.memory);
            }
            if !self.has(Fault::StopCopyWakesNobody) {
                self.sessions.wake();
            }
        }
        if self.has(Fault::FdInsideSavingGroup) {
            return self.begin_needlessly();
        }
        NO_FD
    }

    /// The place of the faults of arcs between PRE_COPY and PRE_COPY_P2P.
    fn disturb_p2p(&mut self, next: State) {
        for saving in self.sessions.saving_mut() {
            if next == State::PreCopyP2p && self.spec.has(Fault::P2pStartsAnew) {
                saving.reinit(true, &self.memory);
            }
            if next == State::PreCopy && self.spec.has(Fault::WayBackDropsUnread) {
                saving.forget_unread();
            }
        }
    }

    /// The only arc whose success depends on what the user has done: the memory becomes what was written.
    fn finish_resuming(&mut self) -> Result<i32, Errno> {
        let resuming = self.sessions.resuming().ok_or(Errno::EINVAL);
        let finished = resuming.and_then(|resuming| resuming.finish(&self.memory));
        match finished {
            Ok(memory) => {
                self.memory = memory;
                self.just_loaded = true;
                if self.has(Fault::LoadStartsDevice) {
                    self.go_on(Instant::now());
                }
                Ok(self.end_session())
            }
            Err(errno) => {
                // The text leaves it open whether the device stays in RESUMING or goes to ERROR. From RESUMING no
                // way out would work either, since the data is bad for good, so ERROR says what helps: a reset.
                self.fail();
                if self.has(Fault::RefusedLoadLandsInStop) {
                    self.state = State::Stop;
                }
                Err(errno)
            }
        }
    }

    fn leave_stop_copy(&mut self) -> i32 {
        if self.has(Fault::NextSessionGoesOn) {
            self.left_at = self.sessions.saving().map_or(0, Saving::left_at);
        }
        self.end_session()
    }

    fn end_session(&mut self) -> i32 {
        self.end_sessions(Fault::SessionEndWakesNobody);
        NO_FD
    }

    /// Ends what goes on; the fault is that nobody is told.
    fn end_sessions(&mut self, silent: Fault) {
        if self.has(silent) {
            self.sessions.end_in_silence();
        } else {
            self.sessions.end();
        }
    }

    fn fail(&mut self) {
        self.sessions.end();
        self.state = State::Error;
        self.doomed = false;
    }

    /// `VFIO_DEVICE_RESET`.
    ///
    /// # Errors
    /// None, but for a fault.
    pub(super) fn reset(&mut self) -> Result<(), Errno> {
        if self.wedged {
            return Err(Errno::EIO);
        }
        if self.just_reset && self.has(Fault::SecondResetRefused) {
            return Err(Errno::EBUSY);
        }
        if self.has(Fault::HalfLoadSurvivesReset) {
            self.keep_half_load();
        }
        self.leak_reference(Fault::ResetLeaksReferences);
        let dooms = self.has(Fault::ResetInStopDooms) && self.state == State::Stop;
        let keeps_error = self.has(Fault::ResetKeepsError) && self.state == State::Error;
        if !self.has(Fault::ResetKeepsState) && !keeps_error {
            self.state = State::Running;
        }
        if !self.has(Fault::ResetKeepsSession) {
            self.end_sessions(Fault::ResetWakesNobody);
        }
        if self.has(Fault::ResetDuringTransitionDooms) && self.transitions > 0 {
            self.ruined = true;
        }
        if self.has(Fault::LogEndsWithReset) {
            self.log.clear();
        }
        self.start_over();
        self.just_reset = true;
        self.doomed = dooms;
        Ok(())
    }

    /// The place of the faults that forget a session that goes on.
    fn leak_reference(&mut self, fault: Fault) {
        if self.has(fault) && self.sessions.alive().next().is_some() {
            self.leaked_references += 1;
        }
    }

    fn keep_half_load(&mut self) {
        self.left_over = self.sessions.resuming().map_or_else(Vec::new, |resuming| resuming.pending().to_vec());
    }

    /// Whether this call ends a load that takes its time.
    pub(super) fn loads_slowly(&self, call: &FeatureCall) -> bool {
        self.spec.varies(Variation::SlowLoad)
            && self.state == State::Resuming
            && call.number() == Feature::MigDeviceState.number()
            && call.flags & Verb::Set.bits() == Verb::Set.bits()
    }

    /// The user closes the device and opens it again, which resets its memory too.
    pub(super) fn reopen(&mut self) {
        if self.has(Fault::HalfLoadSurvivesReopen) {
            self.keep_half_load();
        }
        self.leak_reference(Fault::ModuleReferencesLeak);
        self.leaked_objects += u64::from(self.has(Fault::OpeningLeaks));
        self.interrupt_event = None;
        self.wedged = false;
        if !self.has(Fault::LogSurvivesClose) {
            self.log.clear();
        }
        if !self.has(Fault::ReopenKeepsState) {
            self.state = State::Running;
        }
        if !self.has(Fault::ReopenKeepsSession) {
            self.end_sessions(Fault::CloseWakesNobody);
        }
        if !self.has(Fault::PrecopyInfoV2SurvivesReopen) {
            self.precopy_info_v2 = false;
        }
        self.start_over();
    }

    /// The device is closed, its driver gives it up and takes it again, and it is opened.
    pub(super) fn rebind(&mut self) {
        self.reopen();
        if self.has(Fault::RebindLeaksMemory) {
            self.leaked_bytes += LEAK_BYTES;
        }
        // A driver that takes a device begins with a state of its own.
        self.state = match self.has(Fault::RebindStops) {
            true => State::Stop,
            false => State::Running,
        };
    }

    /// What has nothing to do with the protocol is as at first.
    fn start_over(&mut self) {
        self.memory = Memory::after_reset();
        self.kept_slots = 0;
        self.engine.drop_transfer();
        self.interrupt_due = None;
        self.doomed = false;
        self.just_reset = false;
        self.just_loaded = false;
        self.came_from = State::Running;
        self.looks = 0;
        self.left_at = 0;
        self.asker = None;
    }

    /// From here on no reset helps.
    pub(super) fn wedge(&mut self) {
        self.wedged = true;
    }

    /// What is in use.
    pub(super) fn footprint(&mut self) -> Footprint {
        self.measured += 1;
        let others = match self.spec.varies(Variation::OthersTakeMemory) {
            true => TAKEN_BYTES * self.measured.min(LOOKS_OF_A_MEASUREMENT),
            false => 0,
        };
        Footprint {
            module_references: Some(self.leaked_references),
            kernel_bytes: Some(self.leaked_bytes + others),
            objects: [(OBJECTS.to_owned(), self.leaked_objects)].into(),
        }
    }

    /// Lets the device reach memory.
    pub(super) fn map(&mut self, iova: u64, memory: &DmaMemory) -> Result<i32, Errno> {
        self.mappings.map(iova, memory)
    }

    /// Takes that away; returns how many bytes that was.
    pub(super) fn unmap(&mut self, iova: u64, bytes: u64) -> Result<u64, Errno> {
        self.mappings.unmap(iova, bytes)
    }

    /// Something happens to the device.
    pub(super) fn stimulate(&mut self, stimulus: Stimulus) {
        let now = Instant::now();
        let is_p2p = matches!(self.state, State::RunningP2p | State::PreCopyP2p);
        if is_p2p && self.spec.varies(Variation::P2pWorkIgnored) && stimulus != Stimulus::EnterError {
            return;
        }
        match stimulus {
            Stimulus::EnterError => self.doomed = true,
            Stimulus::Dirty(bytes) => {
                let is_stopped = matches!(self.state, State::Stop | State::StopCopy);
                self.wedged |= is_stopped && self.has(Fault::TouchedWhileStoppedWedges);
                self.doomed |= is_stopped && self.spec.varies(Variation::StoppedWorkNeedsReset);
                match is_stopped && self.spec.varies(Variation::StoppedWorkTakesEffect) {
                    true => drop(self.memory.work(bytes)),
                    false => self.work(bytes),
                }
            }
            Stimulus::StartWork => {
                self.worked = now;
                self.set_working(true);
            }
            Stimulus::StopWork => self.set_working(false),
            Stimulus::Reconfigure => self.reconfigure(),
            Stimulus::Interrupt { after } => {
                self.interrupt_due = Some(now + after);
                self.keep_in_flight_if_stopped(now);
            }
            Stimulus::Dma { direction, iova, bytes, after } => {
                self.engine.begin(direction, iova, bytes, now + after);
                self.keep_in_flight_if_stopped(now);
            }
            // Whoever waits for it looks at `dma_outcome`.
            Stimulus::FinishDma => {}
        }
    }

    fn set_working(&mut self, working: bool) {
        let page = self.memory.set_working(working);
        self.mark_dirty([page]);
    }

    fn mark_dirty(&mut self, pages: impl IntoIterator<Item = usize> + Clone) {
        for saving in self.sessions.saving_mut() {
            saving.mark_dirty(pages.clone());
        }
        if self.state != State::PreCopyP2p || !self.has(Fault::P2pWakesNobody) {
            self.sessions.wake();
        }
    }

    /// Changes device memory, if the device may.
    fn work(&mut self, bytes: usize) {
        if self.works() {
            let touched = self.memory.work(bytes);
            self.mark_dirty(touched);
        }
    }

    /// What was saved in PRE_COPY has to be saved again.
    fn reconfigure(&mut self) {
        if !self.works() {
            return;
        }
        let tells = self.precopy_info_v2 || self.has(Fault::ReinitWithoutOptIn);
        for saving in self.sessions.saving_mut() {
            saving.reinit(tells, &self.memory);
        }
        self.sessions.wake();
    }

    /// What the device shows of itself.
    pub(super) fn observe(&self, observation: Observation) -> Vec<u8> {
        match observation {
            Observation::State => self.memory.all().to_vec(),
            Observation::Progress => self.memory.work_done().to_le_bytes().to_vec(),
        }
    }

    /// Begins to log pages written by DMA.
    pub(super) fn start_log(&mut self, start: &mut LoggingStart) -> Result<i32, Errno> {
        self.capabilities().ok_or(Errno::ENOTTY)?;
        self.log.start(self.spec, start)
    }

    /// Ends the log.
    pub(super) fn stop_log(&mut self) -> Result<i32, Errno> {
        self.log.stop(self.spec)
    }

    /// Reports from it.
    pub(super) fn report_log(&mut self, report: &mut LoggingReport) -> Result<i32, Errno> {
        self.capabilities().ok_or(Errno::ENOTTY)?;
        if self.state != State::Running && self.has(Fault::LogOnlyInRunning) {
            return Err(Errno::EINVAL);
        }
        self.log.report(self.spec, report)
    }

    /// A REPORT fails before the log is looked at.
    pub(super) fn fail_report(&mut self) {
        if self.spec.varies(Variation::LogCorruptAfterError) {
            self.log.fail_report();
        }
    }

    /// What became of the last DMA transfer; `None` if it is not over.
    pub(super) fn dma_outcome(&self) -> Option<Result<(), String>> {
        self.engine.outcome()
    }

    /// Whether something happens by itself sooner or later.
    pub(super) fn needs_clock(&self) -> bool {
        self.memory.is_working() || self.engine.is_busy() || self.interrupt_due.is_some()
    }

    /// Does what is due, as far as the state lets it. What it does not let happens later.
    pub(super) fn tick(&mut self, now: Instant) {
        self.work_by_itself(now);
        if self.interrupt_due.is_some_and(|due| due <= now) && self.interrupts() {
            self.interrupt_due = None;
            self.raise_interrupt();
        }
        if self.does_dma() {
            let moved = self.engine.advance(now, &mut self.memory, &self.mappings);
            self.note_moved(&moved);
        }
    }

    fn work_by_itself(&mut self, now: Instant) {
        if !self.memory.is_working() || !self.works() {
            self.worked = now;
            return;
        }
        while self.worked + WORK_PACE <= now {
            self.worked += WORK_PACE;
            self.work(WORK_BYTES);
        }
    }

    fn raise_interrupt(&self) {
        if let Some(event) = &self.interrupt_event {
            // An event that nobody empties is full at some time; it is signalled then all the same.
            let _ = nix::unistd::write(event, &1u64.to_ne_bytes());
        }
    }

    fn note_moved(&mut self, moved: &[Moved]) {
        for moved in moved {
            match moved {
                Moved::Out(..) if self.state == State::PreCopy && self.has(Fault::LogPausesInPreCopy) => {}
                Moved::Out(iova, bytes) => self.log.wrote(self.spec, *iova, *bytes),
                Moved::In(iova, bytes, pages) => {
                    self.mark_dirty(pages.clone());
                    if self.has(Fault::LogReadsLogged) {
                        self.log.wrote(self.spec, *iova, *bytes);
                    }
                }
            }
        }
    }

    /// What is moving when the device goes quiet is finished first; what has not begun goes on later.
    fn quiesce_for(&mut self, next: State) {
        self.saves_unquieted = self.has(Fault::DmaWhileSaving)
            && (self.state == State::PreCopy || self.saves_unquieted)
            && matches!(next, State::PreCopyP2p | State::StopCopy);
        if !next.is_running() && self.has(Fault::PendingInterruptDropped) {
            self.interrupt_due = None;
        }
        if self.does_dma_in(next) {
            return;
        }
        if self.engine.is_moving() && !self.has(Fault::MovingDmaNotAwaited) {
            let moved = self.engine.finish(&mut self.memory, &self.mappings);
            if !self.has(Fault::LogMissesDrain) {
                self.note_moved(&moved);
            }
        }
        if !self.engine.is_moving() && self.has(Fault::PendingDmaDropped) {
            self.engine.drop_transfer();
        }
    }

    /// What is in flight is a part of the state of a device that is stopped, and goes on from there.
    fn suspend_or_go_on(&mut self, next: State) {
        let now = Instant::now();
        match (self.state.is_running(), next.is_running()) {
            (true, false) => self.keep_in_flight(now),
            (false, true) => self.go_on(now),
            _ => {}
        }
        self.just_loaded = false;
        self.came_from = self.state;
    }

    fn keep_in_flight(&mut self, now: Instant) {
        let interrupt = self.interrupt_due.map(|due| due.saturating_duration_since(now));
        let in_flight = InFlight { interrupt, transfer: self.engine.suspended(now) };
        if let Some(page) = self.memory.set_in_flight(in_flight) {
            self.mark_dirty([page]);
        }
    }

    /// What is begun in a device that is stopped waits from the beginning.
    fn keep_in_flight_if_stopped(&mut self, now: Instant) {
        if !self.state.is_running() {
            self.keep_in_flight(now);
        }
    }

    fn go_on(&mut self, now: Instant) {
        if self.just_loaded && self.has(Fault::LoadDropsWork) {
            self.memory.set_in_flight(InFlight::default());
            self.memory.set_working(false);
        }
        let InFlight { interrupt, transfer } = self.memory.in_flight();
        self.interrupt_due = interrupt.map(|left| now + left);
        self.engine.go_on(transfer, now);
        self.memory.set_in_flight(InFlight::default());
    }

    /// Whether the device moves data now.
    fn does_dma(&self) -> bool {
        self.does_dma_in(self.state) || (self.engine.is_moving() && self.has(Fault::MovingDmaNotAwaited))
    }

    /// Whether the device may move data there: the model cannot tell peer-to-peer from other DMA.
    fn does_dma_in(&self, state: State) -> bool {
        match state {
            State::Running => true,
            State::PreCopy if self.came_from == State::PreCopyP2p && self.has(Fault::PreCopyIdlesAfterP2p) => false,
            State::PreCopy => !self.has(Fault::PreCopyIdles),
            State::PreCopyP2p | State::StopCopy if self.saves_unquieted => true,
            State::Stop if self.runs_loaded() => true,
            State::RunningP2p if self.came_from == State::Stop && self.has(Fault::DmaInP2pAfterStop) => true,
            State::RunningP2p | State::PreCopyP2p => self.has(Fault::DmaInP2p),
            State::Stop | State::StopCopy | State::Resuming => self.has(Fault::DmaWhileStopped),
            State::Error => false,
        }
    }

    /// The place of the fault of a device that runs once it is loaded.
    fn runs_loaded(&self) -> bool {
        self.just_loaded && self.has(Fault::LoadStartsDevice)
    }

    /// Whether the device may interrupt.
    fn interrupts(&self) -> bool {
        match self.state {
            State::PreCopy => !self.has(Fault::PreCopyIdles),
            State::Error => false,
            State::Stop if self.runs_loaded() => true,
            state => state.is_running() || self.has(Fault::InterruptsWhileStopped),
        }
    }

    /// Whether the device may change by itself.
    fn works(&self) -> bool {
        match self.state {
            State::PreCopy => !self.has(Fault::PreCopyIdles),
            State::Stop if self.runs_loaded() => true,
            state => state.is_running() || self.has(Fault::WorksWhileStopped),
        }
    }

    /// Has interrupts signal this event, or none.
    ///
    /// # Errors
    /// None, but for a fault.
    pub(super) fn set_interrupt_event(&mut self, event: Option<OwnedFd>) -> Result<(), Errno> {
        if self.has(Fault::StoppedDeviceDeaf) && matches!(self.state, State::Stop | State::StopCopy) {
            return Err(Errno::EIO);
        }
        self.interrupt_event = event;
        Ok(())
    }

    /// The user writes to the memory region.
    pub(super) fn write_memory(&mut self, offset: u64, bytes: &[u8]) -> Result<usize, Errno> {
        let written = self.memory.write(offset, bytes)?;
        self.mark_dirty(pages_of(written.clone()));
        Ok(written.len())
    }

    /// Bytes that STOP_COPY would stream from here on.
    pub(super) fn data_size(&self) -> u64 {
        match self.sessions.saving() {
            Some(saving) => saving.bytes_to_the_end(),
            None => Saving::bytes_of_all(),
        }
    }
}
