//! What a check has to know of a kind of device beforehand, because the uAPI leaves it to the device.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

/// What the uAPI leaves to a kind of device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nature {
    /// Whether it can tell peer-to-peer from other DMA. One that cannot does no DMA at all in RUNNING_P2P and
    /// PRE_COPY_P2P.
    pub distinguishes_p2p: bool,
    /// Where the interrupt arrives that the stimulus raises; `None` if there is no such stimulus.
    pub interrupt: Option<InterruptLine>,
    /// Which streams, all of them bad, it refuses.
    pub detects: Vec<Corruption>,
}

/// An interrupt of a device, and how long it may take to arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InterruptLine {
    /// The index of `VFIO_DEVICE_SET_IRQS`.
    pub index: u32,
    /// Which one of the index.
    pub vector: u32,
    /// It arrives within this after it was raised, if it arrives at all.
    pub within: Duration,
}

/// A way in which a stream can be bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Corruption {
    /// Nothing was written.
    Empty,
    /// The end is missing.
    Truncated,
    /// What says whose stream it is, and of which version, is not the device's own.
    Header,
    /// There is data behind the end.
    Trailing,
}

impl Corruption {
    /// All of them.
    pub const ALL: [Corruption; 4] =
        [Corruption::Empty, Corruption::Truncated, Corruption::Header, Corruption::Trailing];
}

impl Default for Nature {
    /// What is asked of a device that nobody has told us anything about.
    fn default() -> Self {
        Nature { distinguishes_p2p: false, interrupt: None, detects: Corruption::ALL.to_vec() }
    }
}

impl Nature {
    /// Whether the device has to refuse a stream that is bad in this way.
    pub fn detects(&self, corruption: Corruption) -> bool {
        self.detects.contains(&corruption)
    }
}
