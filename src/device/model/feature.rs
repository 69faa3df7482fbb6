//! `VFIO_DEVICE_FEATURE` as the kernel's VFIO core answers it, with the model's machine as the driver.

use super::fault::Fault;
use super::machine::{Machine, NO_FD};
use crate::uapi::Errno;
use crate::uapi::dma_logging::{LoggingReport, LoggingStart};
use crate::uapi::feature::{Feature, FeatureCall, HEADER_BYTES, MigState, Placement, Verb};

/// A bit of the MIGRATION flags that nobody has given a meaning.
const UNDEFINED_FLAG: u64 = 1 << 8;

/// The number of no state.
const NO_STATE: u32 = 8;

/// What comes of a call before its data is looked at.
enum Examined {
    /// This answer.
    Answered(i32),
    /// The feature is used.
    Use(Feature),
}

impl Machine {
    /// Answers a call, whatever it holds.
    ///
    /// # Errors
    /// The errno that the kernel would return.
    pub(super) fn feature(&mut self, call: &mut FeatureCall) -> Result<i32, Errno> {
        match self.examine(call).inspect_err(|_| self.act_on_refused(call))? {
            Examined::Answered(answer) => Ok(answer),
            Examined::Use(feature) => self.perform(feature, call),
        }
    }

    /// What a kernel does before it looks at the data.
    fn examine(&mut self, call: &mut FeatureCall) -> Result<Examined, Errno> {
        let spec = self.spec;
        self.check_header(call)?;
        let Some(feature) = known_feature(call.number()) else {
            spec.refuse_unless(Fault::UnknownFeatureAccepted, Errno::ENOTTY)?;
            return Ok(Examined::Answered(0));
        };
        self.check_offered(feature)?;
        if !permits_direction(feature, call) {
            spec.refuse_unless(Fault::WrongDirectionAccepted, Errno::EINVAL)?;
            return Ok(Examined::Answered(0));
        }
        if asks_for(call, Verb::Probe) {
            return self.probe(feature, call).map(Examined::Answered);
        }
        if !asks_for(call, Verb::Get) && !asks_for(call, Verb::Set) {
            return Err(Errno::EINVAL);
        }
        if call.argsz.saturating_sub(HEADER_BYTES) < feature.payload_bytes() {
            spec.refuse_unless(Fault::ArgszUnchecked, Errno::EINVAL)?;
        }
        Ok(Examined::Use(feature))
    }

    /// What is the same for all features.
    fn check_header(&self, call: &FeatureCall) -> Result<(), Errno> {
        let spec = self.spec;
        if call.placement == Placement::Unmapped {
            spec.refuse_unless(Fault::EfaultIgnored, Errno::EFAULT)?;
        }
        if call.argsz < HEADER_BYTES {
            spec.refuse_unless(Fault::ArgszUnchecked, Errno::EINVAL)?;
        }
        if call.argsz > HEADER_BYTES + call.payload.len() as u32 && self.has(Fault::LargeArgszRefused) {
            return Err(Errno::EINVAL);
        }
        if call.flags & !(call.number() | Verb::ProbeGetSet.bits()) != 0 {
            spec.refuse_unless(Fault::UnknownFlagsAccepted, Errno::EINVAL)?;
        }
        if asks_for(call, Verb::GetSet) && !asks_for(call, Verb::Probe) {
            spec.refuse_unless(Fault::GetAndSetAccepted, Errno::EINVAL)?;
        }
        Ok(())
    }

    /// The place of the fault that looks at a header too late.
    fn act_on_refused(&mut self, call: &FeatureCall) {
        let is_set = call.number() == Feature::MigDeviceState.number() && asks_for(call, Verb::Set);
        if is_set && self.has(Fault::RefusedCallActs) {
            // The user is told of the refusal only.
            let _ = self.set_device_state(&mut call.clone());
        }
        if call.number() == Feature::DmaLoggingReport.number() {
            self.fail_report();
        }
        if call.number() == Feature::DmaLoggingStop.number() && self.has(Fault::LogRefusedStopActs) {
            let _ = self.stop_log();
        }
        let is_opt_in = call.number() == Feature::MigPrecopyInfoV2.number() && asks_for(call, Verb::Set);
        self.precopy_info_v2 |= is_opt_in && self.has(Fault::RefusedOptInCounts);
    }

    /// Whether the device has the feature at all.
    fn check_offered(&self, feature: Feature) -> Result<(), Errno> {
        let set = self.capabilities().ok_or_else(|| match feature {
            Feature::MigDeviceState if self.has(Fault::AbsentIsEinval) => Errno::EINVAL,
            _ => Errno::ENOTTY,
        })?;
        match feature {
            // The core knows this feature and misses the capability; that is why it is not ENOTTY.
            Feature::MigPrecopyInfoV2 if !set.pre_copy => {
                let fault = Fault::PrecopyInfoV2WithoutPreCopy;
                self.spec.refuse_unless(fault, Errno::EINVAL)
            }
            _ => Ok(()),
        }
    }

    fn probe(&mut self, feature: Feature, call: &mut FeatureCall) -> Result<i32, Errno> {
        if self.has(Fault::ProbeNeedsData) && call.argsz < HEADER_BYTES + feature.payload_bytes() {
            return Err(Errno::EINVAL);
        }
        if self.has(Fault::ProbeLies) && feature == Feature::MigDataSize {
            return Err(Errno::ENOTTY);
        }
        if self.has(Fault::ProbeActs) && feature == Feature::MigDeviceState && asks_for(call, Verb::Set) {
            return self.set_device_state(call);
        }
        Ok(0)
    }

    fn perform(&mut self, feature: Feature, call: &mut FeatureCall) -> Result<i32, Errno> {
        match feature {
            Feature::Migration => self.get_migration(call),
            Feature::MigDataSize => self.get_data_size(call),
            Feature::MigDeviceState if asks_for(call, Verb::Get) => self.get_device_state(call),
            Feature::MigDeviceState => self.set_device_state(call),
            Feature::MigPrecopyInfoV2 if self.has(Fault::PrecopyInfoV2Refused) => Err(Errno::EOPNOTSUPP),
            Feature::MigPrecopyInfoV2 => {
                self.precopy_info_v2 = true;
                Ok(0)
            }
            Feature::DmaLoggingStop => self.stop_log(),
            Feature::DmaLoggingStart => self.start_log_of(call),
            Feature::DmaLoggingReport => self.report_log_of(call),
        }
    }

    /// START, with ranges.
    ///
    /// # Errors
    /// The errno that the kernel would return.
    pub(super) fn start_log_as(&mut self, start: &mut LoggingStart) -> Result<i32, Errno> {
        self.use_log(start.call(0), |machine, call| {
            machine.check_readable(call)?;
            if !start.readable {
                machine.spec.refuse_unless(Fault::EfaultIgnored, Errno::EFAULT)?;
            }
            let answer = machine.start_log(start)?;
            if call.placement == Placement::ReadOnly && !machine.has(Fault::EfaultIgnored) {
                // As the core does where the answer cannot be handed over.
                machine.stop_log()?;
                return Err(Errno::EFAULT);
            }
            Ok(answer)
        })
    }

    /// REPORT, with a bitmap.
    ///
    /// # Errors
    /// The errno that the kernel would return.
    pub(super) fn report_log_as(&mut self, report: &mut LoggingReport) -> Result<i32, Errno> {
        self.use_log(report.call(0), |machine, call| {
            machine.check_readable(call)?;
            machine.report_log(report)
        })
    }

    /// A call about the log, which is examined as all are.
    fn use_log(
        &mut self,
        mut call: FeatureCall,
        action: impl FnOnce(&mut Machine, &FeatureCall) -> Result<i32, Errno>,
    ) -> Result<i32, Errno> {
        match self.examine(&mut call) {
            Ok(Examined::Use(_)) => action(self, &call),
            Ok(Examined::Answered(answer)) => Ok(answer),
            Err(errno) if self.has(Fault::LogHeaderUnchecked) && errno != Errno::EFAULT => action(self, &call),
            Err(errno) => {
                if call.number() == Feature::DmaLoggingReport.number() {
                    self.fail_report();
                }
                if self.has(Fault::LogRefusedStartActs) {
                    // The user is told of the refusal only.
                    let _ = action(self, &call);
                }
                Err(errno)
            }
        }
    }

    /// A START as bytes. Whoever means it names its ranges, which a model can only be handed by
    /// [`Device::dma_logging_start`](crate::device::Device::dma_logging_start).
    fn start_log_of(&mut self, call: &FeatureCall) -> Result<i32, Errno> {
        self.check_readable(call)?;
        match call.payload.iter().all(|byte| *byte == 0) {
            true => Err(Errno::EINVAL),
            false => Err(Errno::EFAULT),
        }
    }

    /// A REPORT as bytes: as with START.
    fn report_log_of(&mut self, call: &FeatureCall) -> Result<i32, Errno> {
        self.start_log_of(call)
    }

    fn check_readable(&self, call: &FeatureCall) -> Result<(), Errno> {
        match call.placement {
            Placement::HeaderOnly => self.spec.refuse_unless(Fault::EfaultIgnored, Errno::EFAULT),
            _ => Ok(()),
        }
    }

    fn get_migration(&self, call: &mut FeatureCall) -> Result<i32, Errno> {
        let mut flags = self.capabilities().ok_or(Errno::ENOTTY)?.flags();
        if self.has(Fault::UndefinedCapabilityFlags) {
            flags |= UNDEFINED_FLAG;
        }
        self.copy_to_user(call, &flags.to_ne_bytes())
    }

    fn get_data_size(&self, call: &mut FeatureCall) -> Result<i32, Errno> {
        if self.has(Fault::DataSizeNeedsSession) && self.sessions.alive().next().is_none() {
            return Err(Errno::EINVAL);
        }
        let bytes = match self.spec.effect() {
            Some(Fault::DataSizeAbsurd) => u64::MAX,
            Some(Fault::DataSizeTenfold) => 10 * self.data_size(),
            _ => self.data_size(),
        };
        self.copy_to_user(call, &bytes.to_ne_bytes())?;
        Ok(if self.has(Fault::DataSizePositiveReturn) { size_of::<u64>() as i32 } else { 0 })
    }

    fn get_device_state(&mut self, call: &mut FeatureCall) -> Result<i32, Errno> {
        self.copy_from_user(call)?;
        let device_state = match self.has(Fault::GetSeesNoState) && self.is_another_thread() {
            true => NO_STATE,
            false => self.look_at_state().number(),
        };
        let data_fd = if self.has(Fault::GetReturnsFd) { self.begin_needlessly() } else { NO_FD };
        let answer = MigState { device_state, data_fd };
        self.copy_to_user(call, &answer.to_bytes())
    }

    fn set_device_state(&mut self, call: &mut FeatureCall) -> Result<i32, Errno> {
        let wanted = self.copy_from_user(call)?;
        let result = self.set_state(wanted.device_state).and_then(|data_fd| self.hand_over(data_fd));
        // A failed SET is answered too: with the state that was asked for, and no data_fd.
        let answer = MigState { data_fd: result.unwrap_or(NO_FD), ..wanted };
        if let Err(errno) = self.copy_to_user(call, &answer.to_bytes()) {
            // The transition has happened. A data_fd that nobody was told of is closed; its session goes on.
            if !self.has(Fault::LostDescriptorStaysOpen) {
                self.sessions.close(answer.data_fd);
            }
            return Err(errno);
        }
        result?;
        Ok(i32::from(self.has(Fault::PositiveReturn)))
    }

    /// Puts a new data_fd into the user's table, if there is room. The transition has happened in any case, and the
    /// session goes on.
    fn hand_over(&mut self, data_fd: i32) -> Result<i32, Errno> {
        if data_fd == NO_FD || !self.sessions.is_full {
            return Ok(data_fd);
        }
        self.sessions.close(data_fd);
        self.spec.refuse_unless(Fault::FullTableIgnored, Errno::EMFILE)?;
        Ok(NO_FD)
    }

    fn copy_from_user(&self, call: &FeatureCall) -> Result<MigState, Errno> {
        self.check_readable(call)?;
        // Behind what the caller filled in there are zeroes, as in the memory behind a real call.
        let mut bytes = call.payload.clone();
        bytes.extend([0; Feature::MigDeviceState.payload_bytes() as usize]);
        MigState::from_bytes(&bytes).ok_or(Errno::EFAULT)
    }

    fn copy_to_user(&self, call: &mut FeatureCall, answer: &[u8]) -> Result<i32, Errno> {
        if call.placement != Placement::Ordinary {
            self.spec.refuse_unless(Fault::EfaultIgnored, Errno::EFAULT)?;
            return Ok(0);
        }
        for (slot, byte) in call.payload.iter_mut().zip(answer) {
            *slot = *byte;
        }
        Ok(0)
    }
}

fn known_feature(number: u32) -> Option<Feature> {
    Feature::ALL.into_iter().find(|feature| feature.number() == number)
}

/// Whether all the bits of a verb are in the flags.
fn asks_for(call: &FeatureCall, verb: Verb) -> bool {
    call.flags & verb.bits() == verb.bits()
}

fn permits_direction(feature: Feature, call: &FeatureCall) -> bool {
    let get = feature.can_get() || !asks_for(call, Verb::Get);
    let set = feature.can_set() || !asks_for(call, Verb::Set);
    get && set
}
