//! The kernel that a device lives in, as far as rules depend on it.

use std::fmt;
use std::time::Duration;

/// The kernel's version, as far as rules depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    /// The first number.
    major: u32,
    /// The second number.
    minor: u32,
    /// The third number; none is 0.
    patch: u32,
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)?;
        match self.patch {
            0 => Ok(()),
            patch => write!(f, ".{patch}"),
        }
    }
}

impl KernelVersion {
    /// Newer than all.
    pub const NEWEST: KernelVersion = KernelVersion::new(u32::MAX, 0);

    /// The first kernel of a series.
    pub const fn new(major: u32, minor: u32) -> KernelVersion {
        KernelVersion::stable(major, minor, 0)
    }

    /// A stable kernel.
    pub const fn stable(major: u32, minor: u32, patch: u32) -> KernelVersion {
        KernelVersion { major, minor, patch }
    }

    /// Reads `7.3.4+deb13-amd64`.
    pub fn parse(release: &str) -> Option<KernelVersion> {
        let mut numbers = release.split(['.', '-', '+']).map(str::parse::<u32>);
        let (Some(Ok(major)), Some(Ok(minor))) = (numbers.next(), numbers.next()) else {
            return None;
        };
        // A release candidate has none.
        let patch = numbers.next().and_then(Result::ok).unwrap_or_default();
        Some(KernelVersion { major, minor, patch })
    }

    fn is_of_series(self, other: KernelVersion) -> bool {
        (self.major, self.minor) == (other.major, other.minor)
    }
}

/// A fix of the kernel, by where it is.
#[derive(Debug, PartialEq, Eq)]
pub struct Fix {
    /// The first kernel of each stable series that was given it, the oldest series first.
    stable: &'static [KernelVersion],
    /// The series that had it from the beginning, as all later ones.
    mainline: KernelVersion,
}

impl Fix {
    /// Before it the VFIO core spins for ever on a forbidden arc. It is commit a26b499b757c, "vfio: prevent infinite loop
    /// in vfio_mig_get_next_state() on blocked arc"; 6.12.95 was seen to lack it, and 6.12.107 to have it.
    pub const BLOCKED_ARCS: Fix = Fix {
        stable: &[KernelVersion::stable(6, 12, 96), KernelVersion::stable(6, 18, 39), KernelVersion::stable(7, 1, 4)],
        mainline: KernelVersion::new(7, 2),
    };

    /// Whether a kernel of that version has it. A distribution that gave it to a kernel which it calls older is not known.
    pub fn is_in(&self, kernel: KernelVersion) -> bool {
        kernel >= self.mainline || self.stable.iter().any(|first| kernel.is_of_series(*first) && kernel >= *first)
    }
}

/// The kernels that have it: `6.12.96, 7.1.4 and 7.2`.
impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stable: Vec<String> = self.stable.iter().map(KernelVersion::to_string).collect();
        match stable.is_empty() {
            true => self.mainline.fmt(f),
            false => write!(f, "{} and {}", stable.join(", "), self.mainline),
        }
    }
}

/// The kernel that the device lives in, and what it may suffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// Its version.
    pub kernel: KernelVersion,
    /// Whether a call may be made that is known to wedge this kernel until a reboot.
    pub may_hang: bool,
    /// How many sessions each batch of the wear chapter has, if the user wants so many.
    pub wear: Option<usize>,
    /// Who waits comes back within this after it was woken, however busy the machine is.
    pub patience: Duration,
}

impl Host {
    /// What is not in a kernel (the model) is held to the newest text, and can wedge nothing.
    pub const NEWEST: Host =
        Host { kernel: KernelVersion::NEWEST, may_hang: true, wear: None, patience: Host::PATIENCE };

    /// What a machine that does much else may need.
    pub const PATIENCE: Duration = Duration::from_secs(2);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(release: &str) -> KernelVersion {
        KernelVersion::parse(release).unwrap()
    }

    #[test]
    fn kernel_releases_are_ordered_by_number() {
        assert!(parse("6.12.94+deb13-amd64") < parse("6.12.107+deb13-amd64"));
        assert!(parse("6.12.107+deb13-amd64") < parse("7.0.0-rc1"));
        assert!(parse("7.3.4+deb13-amd64") < KernelVersion::NEWEST);
        assert_eq!(parse("7.4-rc2"), KernelVersion::new(7, 4));
        assert_eq!(KernelVersion::parse("next"), None);
        assert_eq!([parse("6.8.0-45-generic"), parse("6.12.94")].map(|it| it.to_string()), ["6.8", "6.12.94"]);
    }

    #[test]
    fn a_fix_is_in_later_kernels_of_the_series_that_were_given_it() {
        let has = |release| Fix::BLOCKED_ARCS.is_in(parse(release));
        for release in ["6.12.96", "6.12.107+deb13-amd64", "6.18.39", "7.1.4", "7.2.0-rc3", "7.2.6", "8.0"] {
            assert!(has(release), "{release}");
        }
        for release in ["6.1.170", "6.12.94+deb13-amd64", "6.13.12", "6.18.38", "7.0.13", "7.1.3"] {
            assert!(!has(release), "{release}");
        }
        assert_eq!(Fix::BLOCKED_ARCS.to_string(), "6.12.96, 6.18.39, 7.1.4 and 7.2");
    }
}
