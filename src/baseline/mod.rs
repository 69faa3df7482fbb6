//! Baselines: what is known not to be kept, per driver and kernel, each with its reason. `reports/baselines` has those of
//! upstream's own code.
//!
//! They are applied to a report, never to a run: the journal says what was seen. An expected finding does not count, and
//! one that goes away does, so that no baseline rots.

mod apply;
mod kernels;
mod read;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use crate::harness::verdict::Verdict;

pub use apply::{Applied, Expected, Gone};
pub use kernels::{Kernels, Version};
pub use read::BaselineError;

/// The option with which baselines are named.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct BaselineOptions {
    /// Findings that are expected, as a file or a folder of reports/baselines has them; may be given again
    #[arg(long, value_name = "FILE|DIR")]
    pub baseline: Vec<PathBuf>,
}

impl BaselineOptions {
    /// Reads what was named; `None` if nothing was.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn read(&self) -> Result<Option<Baseline>, BaselineError> {
        match self.baseline.is_empty() {
            true => Ok(None),
            false => Baseline::read(&self.baseline).map(Some),
        }
    }
}

/// Everything that is expected.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Baseline {
    entries: Vec<Entry>,
}

/// One reason, and what is expected for it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// The file that says so.
    file: PathBuf,
    /// The driver that it is about; `None` for what is the core's own.
    driver: Option<String>,
    /// The kernels that it is about; `None` for all.
    kernel: Option<Kernels>,
    /// The checks.
    checks: Vec<String>,
    /// What they come to.
    verdict: Verdict,
    /// The requirements that may be broken; all, if none is named.
    breaks: Vec<String>,
    /// Whether it is not seen in each run.
    sometimes: bool,
    /// Why it is so.
    reason: String,
    /// The upstream commit that mended it.
    fixed: Option<String>,
}
