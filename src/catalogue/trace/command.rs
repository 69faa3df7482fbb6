//! `vfio-conform catalogue trace`: its command line.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Trace, TraceError, text};
use crate::catalogue::Format;
use crate::harness::verdict::Exit;
use crate::report::console::terminal_width;
use crate::uapi::process::end_with_reader;

const EXAMPLES: &str = "\
Examples:
  vfio-conform catalogue trace --header ~/linux/include/uapi/linux/vfio.h
  vfio-conform catalogue trace --header vfio.h --missing   only what is not accounted for
  vfio-conform catalogue trace --header vfio.h --format json

Exit codes: 0 every sentence has requirements or a reason and none is gone, 1 some are new, changed or gone, 2 wrong usage.";

/// Compares the catalogue of requirements with the kernel.
#[derive(Debug, Subcommand)]
pub enum CatalogueCommand {
    /// Print which requirements judge each sentence of a kernel's uAPI header, and which sentences none does.
    #[command(after_help = EXAMPLES)]
    Trace(TraceCommand),
}

/// What to trace.
#[derive(Debug, Args)]
pub struct TraceCommand {
    /// include/uapi/linux/vfio.h of the kernel
    #[arg(long, value_name = "FILE")]
    header: PathBuf,
    /// Only sentences that are new, changed or gone
    #[arg(long)]
    missing: bool,
    /// For people, or the whole trace for programs
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl CatalogueCommand {
    /// Carries it out.
    ///
    /// # Errors
    /// Why the header cannot be traced.
    pub fn run(&self) -> Result<Exit, TraceError> {
        let CatalogueCommand::Trace(command) = self;
        let trace = Trace::of(&command.header)?;
        let text = match command.format {
            Format::Text => text::to_text(&trace, command.missing, terminal_width()),
            Format::Json => serde_json::to_string_pretty(&trace)? + "\n",
        };
        end_with_reader();
        anstream::print!("{text}");
        Ok(if trace.complete { Exit::Conforms } else { Exit::Findings })
    }
}
