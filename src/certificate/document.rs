//! What a bundle says for programs: `certificate.json` and `environment.json`.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::files::digest;
use crate::device::Hardware;
use crate::harness::check::Check;
use crate::harness::coverage::VerdictLevel;
use crate::harness::supervisor::{Length, Walk};
use crate::harness::verdict::Exit;
use crate::lab::surroundings::KernelBuild;
use crate::requirement;
use crate::suites;

/// The version of the form of a bundle. It grows when an old reader would misread a new bundle.
pub const FORMAT: u32 = 1;

/// What was asked for, and what it came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The version of this form.
    pub format: u32,
    /// The checks that there were.
    pub suite: SuiteVersion,
    /// The device as it was named.
    pub device: String,
    /// Whether a broken should counts like a broken must.
    pub strict: bool,
    /// The level that was asked for; `None` if any would do.
    #[serde(default)]
    pub require: Option<VerdictLevel>,
    /// The level of the verdict: the lowest of all runs of the suite.
    #[serde(default)]
    pub level: Option<VerdictLevel>,
    /// How often the whole suite ran.
    pub repetitions: u32,
    /// The walk behind that.
    pub walk: WalkAsked,
    /// What all runs come to, waivers included.
    pub verdict: CertifiedVerdict,
    /// The exit code that goes with it.
    pub exit: Exit,
    /// Every file of the bundle but the checksums.
    pub files: Vec<String>,
}

impl Certificate {
    /// The verdict with its level.
    pub fn told(&self) -> String {
        match (self.verdict, self.level) {
            (CertifiedVerdict::Conforms | CertifiedVerdict::ConformsWithWaivers, Some(level)) => {
                format!("{} at level {level}", self.verdict)
            }
            (CertifiedVerdict::BelowLevel, _) => {
                let name =
                    |level: Option<VerdictLevel>| level.map_or_else(|| "none".to_owned(), |level| level.to_string());
                format!("{}: level {}, where {} is required", self.verdict, name(self.level), name(self.require))
            }
            _ => self.verdict.to_string(),
        }
    }
}

/// Which checks there were, and what they ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuiteVersion {
    /// The version of vfio-conform.
    pub version: String,
    /// SHA-256 of the list of checks and requirements.
    pub digest: String,
    /// How many checks.
    pub checks: usize,
    /// How many requirements.
    pub requirements: usize,
}

impl SuiteVersion {
    /// That of this program.
    pub fn current() -> SuiteVersion {
        let checks = suites::all();
        let mut list: Vec<String> = checks.iter().map(line).collect();
        list.extend(requirement::all().map(|r| format!("{}\t{}\t{}", r.id, r.binds(), r.statement)));
        SuiteVersion {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            digest: digest(list.join("\n").as_bytes()),
            checks: checks.len(),
            requirements: requirement::all().count(),
        }
    }
}

fn line(check: &Check) -> String {
    let requirements: Vec<&str> = check.requirements().iter().map(|requirement| requirement.id).collect();
    format!("{}\t{}", check.name(), requirements.join(" "))
}

impl fmt::Display for SuiteVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = self.digest.get(..16).unwrap_or(&self.digest);
        write!(f, "{} ({digest}, {} checks, {} requirements)", self.version, self.checks, self.requirements)
    }
}

/// A walk that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WalkAsked {
    /// What it follows from.
    pub seed: u64,
    /// How long it is.
    pub length: WalkLength,
}

/// How long a walk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WalkLength {
    /// So many steps.
    Steps(u64),
    /// As many as there are in so many seconds.
    Seconds(u64),
}

impl From<Walk> for WalkAsked {
    fn from(walk: Walk) -> WalkAsked {
        let length = match walk.length {
            Length::Steps(steps) => WalkLength::Steps(steps),
            Length::For(time) => WalkLength::Seconds(time.as_secs()),
        };
        WalkAsked { seed: walk.seed, length }
    }
}

impl fmt::Display for WalkAsked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.length {
            WalkLength::Steps(steps) => write!(f, "{steps} steps, seed {}", self.seed),
            WalkLength::Seconds(seconds) => write!(f, "{seconds} s, seed {}", self.seed),
        }
    }
}

/// What a certificate comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CertifiedVerdict {
    /// Every run conforms.
    Conforms,
    /// Every run conforms, but for requirements that are waived.
    ConformsWithWaivers,
    /// At least one finding that is not waived.
    DoesNotConform,
    /// No such finding, but not every check could have its say.
    Incomplete,
    /// Every run conforms, but one of the suite judged less than the level that was asked for.
    BelowLevel,
    /// A run, or the walk, tested nothing.
    NothingTested,
}

impl fmt::Display for CertifiedVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            CertifiedVerdict::Conforms => "conforms",
            CertifiedVerdict::ConformsWithWaivers => "conforms with waivers",
            CertifiedVerdict::DoesNotConform => "does not conform",
            CertifiedVerdict::Incomplete => "incomplete",
            CertifiedVerdict::BelowLevel => "below the required level",
            CertifiedVerdict::NothingTested => "nothing tested",
        })
    }
}

/// Where the runs were, and with what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// The program.
    pub tool: Tool,
    /// The kernel that the device was in.
    pub kernel: KernelBuild,
    /// What is known of the device beside VFIO.
    pub hardware: Option<Hardware>,
    /// Its firmware, as somebody said it is; what can be asked stands in `hardware`.
    pub firmware_stated: Option<String>,
}

/// The program that ran the checks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Its version.
    pub version: String,
    /// SHA-256 of its file.
    pub digest: String,
}

impl Tool {
    /// This program.
    ///
    /// # Errors
    /// What reading its file answered.
    pub fn this() -> std::io::Result<Tool> {
        let program = std::fs::read(crate::lab::local::this_program()?)?;
        Ok(Tool { version: env!("CARGO_PKG_VERSION").to_owned(), digest: digest(&program) })
    }
}

impl Environment {
    /// The firmware as far as it is known: what was asked, else what was said.
    pub fn firmware(&self) -> Option<&str> {
        let asked = self.hardware.as_ref().and_then(|hardware| hardware.firmware.as_deref());
        asked.or(self.firmware_stated.as_deref())
    }
}
