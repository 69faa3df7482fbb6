//! Ranges of versions: `>=6.12.107, <7` of a kernel or of firmware.

use std::fmt;

use serde::Deserialize;

/// Numbers between dots, as far as a text begins with them; what follows them, a distribution's suffix, does not count.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Version(Vec<u64>);

impl Version {
    fn parse(text: &str) -> Option<Version> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let numbers: Result<Vec<u64>, _> = text[..end].trim_end_matches('.').split('.').map(str::parse).collect();
        numbers.ok().map(Version)
    }

    /// As many numbers as there are in `like`, with zeros for those that are not there.
    fn as_long_as(&self, like: &Version) -> Vec<u64> {
        (0..like.0.len()).map(|place| self.0.get(place).copied().unwrap_or_default()).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    AtLeast,
    AtMost,
    Above,
    Below,
    Exactly,
}

impl Relation {
    /// Longer signs first, or `>=` would be read as `>`.
    const ALL: [(Relation, &'static str); 5] = [
        (Relation::AtLeast, ">="),
        (Relation::AtMost, "<="),
        (Relation::Above, ">"),
        (Relation::Below, "<"),
        (Relation::Exactly, "="),
    ];
}

/// Versions that meet every one of some bounds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Range {
    text: String,
    bounds: Vec<(Relation, Version)>,
}

impl Range {
    /// Whether a version is in it. A bound looks at as many numbers as it has itself, so that `<=6.12` and `=6.12` hold
    /// for 6.12.107.
    pub fn holds(&self, version: &str) -> bool {
        let Some(version) = Version::parse(version) else {
            return false;
        };
        self.bounds.iter().all(|(relation, bound)| {
            let version = version.as_long_as(bound);
            match relation {
                Relation::AtLeast => version >= bound.0,
                Relation::AtMost => version <= bound.0,
                Relation::Above => version > bound.0,
                Relation::Below => version < bound.0,
                Relation::Exactly => version == bound.0,
            }
        })
    }
}

impl TryFrom<String> for Range {
    type Error = String;

    fn try_from(text: String) -> Result<Range, String> {
        let bounds: Option<Vec<_>> = text.split(',').map(|part| bound(part.trim())).collect();
        match bounds {
            Some(bounds) => Ok(Range { text, bounds }),
            None => Err(format!("{text:?} is no range of versions, like \">=6.12, <7.3\" or \"=28.39\"")),
        }
    }
}

fn bound(text: &str) -> Option<(Relation, Version)> {
    let (relation, sign) = Relation::ALL.into_iter().find(|(_, sign)| text.starts_with(sign))?;
    let version = text[sign.len()..].trim();
    let is_whole = version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    Some((relation, Version::parse(version).filter(|_| is_whole)?))
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Range {
        Range::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn a_version_is_compared_by_its_numbers() {
        let both = range(">=6.8, <6.12.107");
        for inside in ["6.8", "6.8.0-31-generic", "6.12.94+deb13-amd64", "6.9"] {
            assert!(both.holds(inside), "{inside}");
        }
        for outside in ["6.7.9", "6.12.107+deb13-amd64", "7.3", "next", ""] {
            assert!(!both.holds(outside), "{outside}");
        }
        assert!(range("=6.12").holds("6.12.107") && range("<=6.12").holds("6.12.107"));
        assert!(!range(">6.12").holds("6.12.107") && range("> 6.12").holds("6.13"));
        assert!(range("=28.39.1002").holds("28.39.1002") && !range("=28.39.1002").holds("28.39.1003"));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "6.12", ">=", ">=6.x", "~6.12", ">=6.8 <7", "*"] {
            assert!(Range::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
