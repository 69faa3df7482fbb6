//! Writes the reports of a run into its folder.

use std::fs::Permissions;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::journal_error::JournalError;
use super::run::Run;
use super::{html, json, junit, markdown};
use crate::baseline::Baseline;

/// The name of the journal in a run's folder.
pub const JOURNAL: &str = "journal.jsonl";
/// The name of the JUnit report in a run's folder.
pub const JUNIT: &str = "junit.xml";
/// The name of the JSON report in a run's folder.
pub const JSON: &str = "report.json";
/// The name of the HTML report in a run's folder.
pub const HTML: &str = "report.html";
/// The name of the Markdown report in a run's folder.
pub const MARKDOWN: &str = "summary.md";

/// Why reports could not be made. Reads as one sentence that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The journal does not allow a truthful report.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The run could not be put into JSON.
    #[error("failed to make report.json: {0}; the journal is unharmed")]
    Json(#[from] serde_json::Error),
    /// The run could not be put into XML.
    #[error("failed to make junit.xml: {0}; the journal is unharmed")]
    Junit(#[from] junit_report::Error),
    /// A report could not be written: a full disk, usually.
    #[error(
        "failed to write {}: {why}; the journal is unharmed: mend this, then run `vfio-conform report {}`",
        .folder.join(.name).display(), .folder.display()
    )]
    Write {
        /// The run's folder.
        folder: PathBuf,
        /// Of the report's file.
        name: &'static str,
        /// What the system answered.
        #[source]
        why: io::Error,
    },
}

/// Reads the journal in a run's folder and writes `report.html`, `summary.md`, `junit.xml` and `report.json` beside it.
///
/// A baseline says what is expected of it. Each report appears whole or not at all; what was there before is replaced.
///
/// # Errors
/// Why the journal allows no truthful report, or why a report could not be written.
pub fn write_all(folder: &Path, baseline: Option<&Baseline>) -> Result<Run, ReportError> {
    let mut run = Run::read(&folder.join(JOURNAL))?;
    if let Some(baseline) = baseline {
        baseline.apply(&mut run);
    }
    for (name, bytes) in make_all(&run)? {
        write_whole(folder, name, &bytes)?;
    }
    Ok(run)
}

/// A report: the name of its file, and what is in it.
pub type Report = (&'static str, Vec<u8>);

/// Makes every report of a run that is a file, and writes none.
///
/// # Errors
/// Why one of them could not be made.
pub fn make_all(run: &Run) -> Result<Vec<Report>, ReportError> {
    Ok(vec![
        (JSON, json::to_json(run)?),
        (HTML, html::to_html(run).into_bytes()),
        (MARKDOWN, markdown::to_markdown(run).into_bytes()),
        (JUNIT, junit::to_xml(run)?),
    ])
}

fn write_whole(folder: &Path, name: &'static str, bytes: &[u8]) -> Result<(), ReportError> {
    let write = || {
        // A temporary file is private; a report is not more so than the user's other files.
        let mut file = tempfile::Builder::new()
            .prefix(name)
            .permissions(Permissions::from_mode(0o666))
            .tempfile_in(folder)
            .map_err(without_path)?;
        file.as_file_mut().write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(folder.join(name))?;
        Ok(())
    };
    write().map_err(|why| ReportError::Write { folder: folder.to_owned(), name, why })
}

/// What went wrong, without the name of the temporary file, which means nothing to anyone.
fn without_path(error: io::Error) -> io::Error {
    io::Error::from(error.kind())
}
