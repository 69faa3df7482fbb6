//! The kernel that a device lives in, as far as rules depend on it.

use std::fmt;
use std::time::Duration;

/// The kernel's version, as far as rules depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// The first number.
    pub major: u32,
    /// The second number.
    pub minor: u32,
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl KernelVersion {
    /// Newer than all.
    pub const NEWEST: KernelVersion = KernelVersion { major: u32::MAX, minor: 0 };

    /// Reads `7.3.4+deb13-amd64`.
    pub fn parse(release: &str) -> Option<KernelVersion> {
        let mut numbers = release.split(['.', '-', '+']).map(str::parse::<u32>);
        let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
            return None;
        };
        Some(KernelVersion { major, minor })
    }
}

/// The kernel that the device lives in, and what it may suffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// Its version.
    pub kernel: KernelVersion,
    /// Whether a call may be made that is known to wedge this kernel until a reboot.
    pub may_hang: bool,
    /// Who waits comes back within this after it was woken, however busy the machine is.
    pub patience: Duration,
}

impl Host {
    /// What is not in a kernel (the model) is held to the newest text, and can wedge nothing.
    pub const NEWEST: Host = Host { kernel: KernelVersion::NEWEST, may_hang: true, patience: Host::PATIENCE };

    /// What a machine that does much else may need.
    pub const PATIENCE: Duration = Duration::from_secs(2);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_releases_are_ordered_by_number() {
        let parse = |text| KernelVersion::parse(text).unwrap();
        assert!(parse("6.12.94+deb13-amd64") < parse("7.0.0-rc1"));
        assert!(parse("7.3.4+deb13-amd64") < KernelVersion::NEWEST);
        assert_eq!(KernelVersion::parse("next"), None);
    }
}
