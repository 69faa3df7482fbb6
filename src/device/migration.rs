//! The migration calls in protocol words, for any [`Device`].

use crate::uapi::Errno;
use crate::uapi::feature::{Feature, FeatureCall, MigState, Verb, u64_from_bytes};

use super::{Device, Stream};

/// What a successful SET of the device state answered.
pub struct Transition {
    /// What the ioctl returned; the uAPI promises 0.
    pub returned: i32,
    /// The number in `device_state` afterwards.
    pub device_state: u32,
    /// The number in `data_fd` afterwards.
    pub data_fd: i32,
    /// The session, if a data_fd came.
    pub stream: Option<Box<dyn Stream>>,
}

/// What a successful GET of the device state answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateAnswer {
    /// What the ioctl returned; the uAPI promises 0.
    pub returned: i32,
    /// The state's number.
    pub device_state: u32,
    /// The uAPI promises -1.
    pub data_fd: i32,
}

/// The protocol's calls on a device.
impl dyn Device + '_ {
    /// Asks for the flags of the capability set.
    ///
    /// # Errors
    /// The errno as it came: ENOTTY from a device that cannot migrate.
    pub fn migration_flags(&self) -> Result<u64, Errno> {
        let mut call = FeatureCall::new(Feature::Migration, Verb::Get);
        self.feature(&mut call)?;
        u64_from_bytes(&call.payload).ok_or(Errno::EINVAL)
    }

    /// Asks for the state.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn state(&self) -> Result<StateAnswer, Errno> {
        let mut call = FeatureCall::new(Feature::MigDeviceState, Verb::Get);
        let returned = self.feature(&mut call)?;
        let answer = MigState::from_bytes(&call.payload).ok_or(Errno::EINVAL)?;
        Ok(StateAnswer { returned, device_state: answer.device_state, data_fd: answer.data_fd })
    }

    /// Asks for a transition to the state of that number.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn set_state(&self, target: u32) -> Result<Transition, Errno> {
        // An absurd number, so that a driver that forgets to answer -1 is seen.
        let wanted = MigState { device_state: target, data_fd: i32::MIN };
        let mut call = FeatureCall::new(Feature::MigDeviceState, Verb::Set).with_payload(wanted.to_bytes());
        let returned = self.feature(&mut call)?;
        let answer = MigState::from_bytes(&call.payload).ok_or(Errno::EINVAL)?;
        let stream = (answer.data_fd >= 0).then(|| self.stream(answer.data_fd));
        Ok(Transition { returned, device_state: answer.device_state, data_fd: answer.data_fd, stream })
    }

    /// Asks for an estimate of the bytes that STOP_COPY will stream.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn mig_data_size(&self) -> Result<u64, Errno> {
        let mut call = FeatureCall::new(Feature::MigDataSize, Verb::Get);
        self.feature(&mut call)?;
        u64_from_bytes(&call.payload).ok_or(Errno::EINVAL)
    }

    /// Opts in to the flags of PRECOPY_INFO, until the device is closed.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn use_precopy_info_v2(&self) -> Result<i32, Errno> {
        self.feature(&mut FeatureCall::new(Feature::MigPrecopyInfoV2, Verb::Set))
    }

    /// Ends the log of pages written by DMA.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn dma_logging_stop(&self) -> Result<i32, Errno> {
        self.feature(&mut FeatureCall::new(Feature::DmaLoggingStop, Verb::Set))
    }

    /// Whether PROBE finds a feature.
    ///
    /// # Errors
    /// The errno as it came.
    pub fn probe(&self, feature: Feature, verb: Verb) -> Result<i32, Errno> {
        self.feature(&mut FeatureCall::new(feature, verb))
    }
}
