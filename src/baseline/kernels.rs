//! Ranges of kernel versions.

use std::cmp::Ordering;
use std::str::FromStr;

/// The numbers of a kernel's version: `6.12.94` of `6.12.94+deb13-amd64`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(Vec<u32>);

impl Version {
    /// The version of a release.
    pub fn of_release(release: &str) -> Option<Version> {
        let numbers = release.split(['-', '+']).next()?;
        numbers.parse().ok()
    }

    /// Compares only as many numbers as the bound has, so that 7.3.4 is not above 7.3.
    fn against(&self, bound: &Version) -> Ordering {
        let places = bound.0.len().min(self.0.len());
        self.0[..places].cmp(&bound.0[..places])
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Version, String> {
        let numbers: Option<Vec<u32>> = text.split('.').map(|number| number.parse().ok()).collect();
        match numbers {
            Some(numbers) if (2..=4).contains(&numbers.len()) => Ok(Version(numbers)),
            _ => Err(format!("{text:?} is no version like 7.3 or 6.12.94")),
        }
    }
}

/// `7.3`, `6.12.94..6.12.106`, `..7.1`, `7.2..`: with both ends, and with all of a series that is an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernels {
    from: Option<Version>,
    to: Option<Version>,
}

impl Kernels {
    /// Whether a version is in the range.
    pub fn has(&self, version: &Version) -> bool {
        let is_above = self.from.as_ref().is_none_or(|from| version.against(from) != Ordering::Less);
        is_above && self.to.as_ref().is_none_or(|to| version.against(to) != Ordering::Greater)
    }
}

impl FromStr for Kernels {
    type Err = String;

    fn from_str(text: &str) -> Result<Kernels, String> {
        let end = |end: &str| (!end.is_empty()).then(|| end.parse::<Version>()).transpose();
        let (from, to) = match text.split_once("..") {
            Some((from, to)) => (end(from)?, end(to)?),
            None => (Some(text.parse::<Version>()?), Some(text.parse::<Version>()?)),
        };
        match (&from, &to) {
            (None, None) => Err(format!("{text:?} has no end; leave it out to mean all kernels")),
            (Some(from), Some(to)) if from.against(to) == Ordering::Greater => {
                Err(format!("{text:?} is empty; the older version comes first"))
            }
            _ => Ok(Kernels { from, to }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_both_its_ends() {
        let has =
            |range: &str, release: &str| range.parse::<Kernels>().unwrap().has(&Version::of_release(release).unwrap());
        for release in ["7.3.4+deb13-amd64", "7.3.0-rc1", "7.3"] {
            assert!(has("7.3", release), "{release}");
        }
        assert!(!has("7.3", "7.2.12"));
        assert!(has("6.12.94..6.12.106", "6.12.106+deb13-amd64"));
        assert!(!has("6.12.94..6.12.106", "6.12.107+deb13-amd64"));
        assert!(has("6.12..7.2", "7.2.12") && !has("6.12..7.2", "7.3.4"));
        assert!(has("..7.1", "6.12.94") && has("7.2..", "8.0.1") && !has("7.2..", "7.1.9"));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "..", "7", "next", "7.3..7.2", "7.3...7.4", "7.x"] {
            assert!(text.parse::<Kernels>().is_err(), "{text}");
        }
    }
}
