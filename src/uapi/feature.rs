//! `VFIO_DEVICE_FEATURE`: the call as bytes, so that malformed ones can be made too, and its well-formed contents.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use vfio_bindings::bindings::vfio as raw;

use super::memory::{GuardedPages, Protection};
use super::sys::{Argument, ioctl, vfio_request};

/// Bytes of `struct vfio_device_feature` before its data: `argsz` and `flags`.
pub const HEADER_BYTES: u32 = 8;

const REQUEST: u8 = 17;

/// The features of `VFIO_DEVICE_FEATURE` that belong to migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Feature {
    /// Which capability set the device has. GET.
    Migration = raw::VFIO_DEVICE_FEATURE_MIGRATION,
    /// The device's state, and the data_fd of a new session. GET and SET.
    MigDeviceState = raw::VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE,
    /// Begins to log pages written by DMA. SET.
    DmaLoggingStart = raw::VFIO_DEVICE_FEATURE_DMA_LOGGING_START,
    /// Ends the log. SET.
    DmaLoggingStop = raw::VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP,
    /// Reads and clears the log. GET.
    DmaLoggingReport = raw::VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
    /// An estimate of the bytes that STOP_COPY will stream. GET.
    MigDataSize = raw::VFIO_DEVICE_FEATURE_MIG_DATA_SIZE,
    /// Opts in to the flags of PRECOPY_INFO. SET.
    MigPrecopyInfoV2 = raw::VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2,
}

impl Feature {
    /// All of them, in the order of their numbers.
    pub const ALL: [Feature; 7] = [
        Feature::Migration,
        Feature::MigDeviceState,
        Feature::DmaLoggingStart,
        Feature::DmaLoggingStop,
        Feature::DmaLoggingReport,
        Feature::MigDataSize,
        Feature::MigPrecopyInfoV2,
    ];

    /// The number in the low bits of the flags.
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The uAPI's name without its `VFIO_DEVICE_FEATURE_` prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Feature::Migration => "MIGRATION",
            Feature::MigDeviceState => "MIG_DEVICE_STATE",
            Feature::DmaLoggingStart => "DMA_LOGGING_START",
            Feature::DmaLoggingStop => "DMA_LOGGING_STOP",
            Feature::DmaLoggingReport => "DMA_LOGGING_REPORT",
            Feature::MigDataSize => "MIG_DATA_SIZE",
            Feature::MigPrecopyInfoV2 => "MIG_PRECOPY_INFOv2",
        }
    }

    /// Whether the uAPI defines GET for it.
    pub const fn can_get(self) -> bool {
        matches!(self, Feature::Migration | Feature::MigDeviceState | Feature::DmaLoggingReport | Feature::MigDataSize)
    }

    /// Whether the uAPI defines SET for it.
    pub const fn can_set(self) -> bool {
        matches!(
            self,
            Feature::MigDeviceState | Feature::DmaLoggingStart | Feature::DmaLoggingStop | Feature::MigPrecopyInfoV2
        )
    }

    /// Bytes of the structure that follows the header.
    pub const fn payload_bytes(self) -> u32 {
        let bytes = match self {
            Feature::Migration => size_of::<raw::vfio_device_feature_migration>(),
            Feature::MigDeviceState => size_of::<raw::vfio_device_feature_mig_state>(),
            Feature::DmaLoggingStart => size_of::<raw::vfio_device_feature_dma_logging_control>(),
            Feature::DmaLoggingReport => size_of::<raw::vfio_device_feature_dma_logging_report>(),
            Feature::MigDataSize => size_of::<raw::vfio_device_feature_mig_data_size>(),
            Feature::DmaLoggingStop | Feature::MigPrecopyInfoV2 => 0,
        };
        bytes as u32
    }
}

/// What a feature call asks for: the bits above the feature number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// `VFIO_DEVICE_FEATURE_GET`.
    Get,
    /// `VFIO_DEVICE_FEATURE_SET`.
    Set,
    /// `VFIO_DEVICE_FEATURE_PROBE` alone: is the feature there at all?
    Probe,
    /// PROBE with GET: could it be got?
    ProbeGet,
    /// PROBE with SET: could it be set?
    ProbeSet,
    /// PROBE with GET and SET: could it be both?
    ProbeGetSet,
    /// GET with SET and no PROBE, which is malformed.
    GetSet,
    /// Neither, which is malformed.
    Nothing,
}

impl Verb {
    /// The flag bits.
    pub const fn bits(self) -> u32 {
        let (get, set, probe) =
            (raw::VFIO_DEVICE_FEATURE_GET, raw::VFIO_DEVICE_FEATURE_SET, raw::VFIO_DEVICE_FEATURE_PROBE);
        match self {
            Verb::Get => get,
            Verb::Set => set,
            Verb::Probe => probe,
            Verb::ProbeGet => probe | get,
            Verb::ProbeSet => probe | set,
            Verb::ProbeGetSet => probe | get | set,
            Verb::GetSet => get | set,
            Verb::Nothing => 0,
        }
    }
}

/// In what kind of memory the call's structure lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Placement {
    /// Memory that can be read and written.
    #[default]
    Ordinary,
    /// Memory that the kernel can read and not write: an answer cannot be handed over.
    ReadOnly,
    /// No memory at all: not even the header can be read.
    Unmapped,
    /// The header can be read; where the data should be, there is no memory.
    HeaderOnly,
}

/// What is unusual about how a call is made, so that it can be seen how the kernel takes that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shape {
    /// Total bytes that the caller claims, if not those that the call has.
    pub argsz: Option<u32>,
    /// Flags beside the feature's number and the verb.
    pub more_flags: u32,
    /// The verb, if it is not the call's own.
    pub verb: Option<Verb>,
    /// Where the structure lies.
    pub placement: Placement,
}

/// One `VFIO_DEVICE_FEATURE` call. The fields are what the kernel gets, whether they make sense or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeatureCall {
    /// Total bytes that the caller claims, header included.
    pub argsz: u32,
    /// Feature number and verb bits.
    pub flags: u32,
    /// What follows the header. After the call: what the kernel left there.
    pub payload: Vec<u8>,
    /// Where the structure lies.
    pub placement: Placement,
}

impl FeatureCall {
    /// A well-formed call of a known feature; the payload begins as zeroes.
    pub fn new(feature: Feature, verb: Verb) -> FeatureCall {
        FeatureCall {
            argsz: HEADER_BYTES + feature.payload_bytes(),
            flags: feature.number() | verb.bits(),
            payload: vec![0; feature.payload_bytes() as usize],
            placement: Placement::Ordinary,
        }
    }

    /// The same call with a payload.
    pub fn with_payload(mut self, payload: Vec<u8>) -> FeatureCall {
        self.payload = payload;
        self
    }

    /// The same call with another `argsz`. The memory behind it grows with it, so that only the kernel's judgement
    /// of the number is tried.
    pub fn with_argsz(mut self, argsz: u32) -> FeatureCall {
        self.argsz = argsz;
        self
    }

    /// The same call in another kind of memory.
    pub fn placed(mut self, placement: Placement) -> FeatureCall {
        self.placement = placement;
        self
    }

    /// The same call, made in this way.
    pub fn shaped(mut self, shape: Shape) -> FeatureCall {
        self.argsz = shape.argsz.unwrap_or(self.argsz);
        if let Some(verb) = shape.verb {
            self.flags = self.number() | verb.bits();
        }
        self.flags |= shape.more_flags;
        self.placement = shape.placement;
        self
    }

    /// The feature number in the flags.
    pub fn number(&self) -> u32 {
        self.flags & raw::VFIO_DEVICE_FEATURE_MASK
    }

    /// In protocol words: `GET MIG_DEVICE_STATE`.
    pub fn describe(&self) -> String {
        let number = self.number();
        let name = Feature::ALL
            .into_iter()
            .find(|feature| feature.number() == number)
            .map_or_else(|| format!("feature {number}"), |f| f.name().to_owned());
        let mut words: Vec<&str> = Vec::new();
        for (bit, word) in [
            (raw::VFIO_DEVICE_FEATURE_PROBE, "PROBE"),
            (raw::VFIO_DEVICE_FEATURE_GET, "GET"),
            (raw::VFIO_DEVICE_FEATURE_SET, "SET"),
        ] {
            if self.flags & bit != 0 {
                words.push(word);
            }
        }
        words.push(&name);
        words.join(" ")
    }

    /// Makes the call.
    ///
    /// # Errors
    /// The errno as it came.
    pub(crate) fn make(&mut self, device: BorrowedFd<'_>) -> Result<i32, Errno> {
        match self.placement {
            Placement::Ordinary => self.make_ordinary(device),
            Placement::ReadOnly => self.make_guarded(device, Protection::ReadOnly, 0),
            Placement::HeaderOnly => self.make_guarded(device, Protection::ReadWrite, HEADER_BYTES as usize),
            Placement::Unmapped => self.make_guarded(device, Protection::None, 0),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES as usize + self.payload.len());
        bytes.extend(self.argsz.to_ne_bytes());
        bytes.extend(self.flags.to_ne_bytes());
        bytes.extend(&self.payload);
        bytes
    }

    fn make_ordinary(&mut self, device: BorrowedFd<'_>) -> Result<i32, Errno> {
        let bytes = self.bytes();
        // The kernel may look at all of the bytes that `argsz` claims (a larger one must work), so they are there;
        // absurd sizes are not backed, since no kernel copies that much of a feature.
        let claimed = (self.argsz as usize).min(1 << 20);
        let words = bytes.len().max(claimed).max(64).div_ceil(8);
        let mut buffer = vec![0u64; words];
        for (word, chunk) in buffer.iter_mut().zip(bytes.chunks(8)) {
            let mut eight = [0u8; 8];
            eight[..chunk.len()].copy_from_slice(chunk);
            *word = u64::from_ne_bytes(eight);
        }
        let result = ioctl(device, vfio_request(REQUEST), Argument::Memory(&mut buffer));
        let answer: Vec<u8> = buffer.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let start = HEADER_BYTES as usize;
        let length = self.payload.len();
        self.payload.copy_from_slice(&answer[start..start + length]);
        result
    }

    /// `before_end` bytes lie just before the end of the readable page, the rest behind it.
    fn make_guarded(
        &mut self,
        device: BorrowedFd<'_>,
        protection: Protection,
        before_end: usize,
    ) -> Result<i32, Errno> {
        let pages = GuardedPages::new(&self.bytes(), before_end, protection)?;
        ioctl(device, vfio_request(REQUEST), Argument::Address(pages.address()))
    }
}

/// The contents of `struct vfio_device_feature_mig_state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MigState {
    /// The number of the state asked for, or reached.
    pub device_state: u32,
    /// The new session's descriptor, or -1.
    pub data_fd: i32,
}

impl MigState {
    /// As the kernel wants it.
    pub fn to_bytes(self) -> Vec<u8> {
        let mut bytes = self.device_state.to_ne_bytes().to_vec();
        bytes.extend(self.data_fd.to_ne_bytes());
        bytes
    }

    /// As the kernel left it; `None` if the payload is too short to hold it.
    pub fn from_bytes(bytes: &[u8]) -> Option<MigState> {
        Some(MigState {
            device_state: u32::from_ne_bytes(bytes.get(0..4)?.try_into().ok()?),
            data_fd: i32::from_ne_bytes(bytes.get(4..8)?.try_into().ok()?),
        })
    }
}

/// Reads a payload that is one `__u64`: the flags of MIGRATION, the length of MIG_DATA_SIZE.
pub fn u64_from_bytes(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(0..8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_says_what_it_asks_for() {
        let call = FeatureCall::new(Feature::MigDeviceState, Verb::ProbeGetSet);
        assert_eq!(call.describe(), "PROBE GET SET MIG_DEVICE_STATE");
        assert_eq!(call.argsz, 16);
        let unknown = FeatureCall { flags: 0xfff0 | Verb::Get.bits(), ..call };
        assert_eq!(unknown.describe(), "GET feature 65520");
    }

    #[test]
    fn a_call_takes_a_shape_and_keeps_what_that_does_not_name() {
        let call = FeatureCall::new(Feature::MigDataSize, Verb::Get);
        assert_eq!(call.clone().shaped(Shape::default()), call);
        let shape =
            Shape { argsz: Some(7), more_flags: 1 << 19, verb: Some(Verb::Nothing), placement: Placement::HeaderOnly };
        let shaped = call.clone().shaped(shape);
        assert_eq!((shaped.argsz, shaped.flags), (7, Feature::MigDataSize.number() | 1 << 19));
        assert_eq!((shaped.placement, shaped.payload), (Placement::HeaderOnly, call.payload));
    }

    #[test]
    fn a_mig_state_survives_the_way_through_bytes() {
        let state = MigState { device_state: 3, data_fd: -1 };
        assert_eq!(MigState::from_bytes(&state.to_bytes()), Some(state));
        assert_eq!(MigState::from_bytes(&[0; 7]), None);
    }
}
