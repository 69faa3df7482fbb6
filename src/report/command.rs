//! `vfio-conform report`: the command line of reports.

use std::io::{self, Write};
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::{ReportError, console, ktap, markdown, write_all};
use crate::baseline::{BaselineError, BaselineOptions};
use crate::harness::verdict::Exit;
use crate::uapi::process::end_with_reader;

/// What `vfio-conform report --help` ends with.
pub const EXAMPLES: &str = "\
Examples:
  vfio-conform report reports/out/latest
  vfio-conform report reports/out/latest --baseline reports/baselines
  vfio-conform report reports/out/latest --format ktap         for tools of kernel developers
  vfio-conform report reports/out/latest --format markdown >> \"$GITHUB_STEP_SUMMARY\"";

/// Which run, and how it is shown.
#[derive(Debug, Args)]
pub struct ReportCommand {
    /// Folder of the run
    dir: PathBuf,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Summary)]
    format: Format,
    #[command(flatten)]
    baseline: BaselineOptions,
}

/// What is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The summary that the run ended with
    Summary,
    /// KTAP, a test for each chapter and in it one for each check
    Ktap,
    /// What summary.md holds
    Markdown,
}

/// Why there is nothing to read.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The reports could not be made.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The baseline cannot be used.
    #[error(transparent)]
    Baseline(#[from] BaselineError),
    /// They could not be shown.
    #[error("failed to print the report: {0}; it is in the run's folder")]
    Print(#[from] io::Error),
}

impl ReportCommand {
    /// Makes the reports again and prints one. The exit code is that of the run.
    ///
    /// # Errors
    /// Why no truthful report can be made, or why it could not be written.
    pub fn run(&self) -> Result<Exit, CommandError> {
        let run = write_all(&self.dir, self.baseline.read()?.as_ref())?;
        end_with_reader();
        match self.format {
            Format::Summary => console::print(&run, &self.dir)?,
            Format::Ktap => print(&ktap::to_ktap(&run))?,
            Format::Markdown => print(&markdown::to_markdown(&run))?,
        }
        Ok(run.exit)
    }
}

fn print(text: &str) -> io::Result<()> {
    io::stdout().write_all(text.as_bytes())
}
