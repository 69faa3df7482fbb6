//! Writes the reports of a run into its folder.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::journal_error::JournalError;
use super::run::Run;
use super::{html, json, junit, markdown};
use crate::baseline::Baseline;
use crate::harness::folder_lock::{FolderLock, LockError};

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
    /// The run writes to the folder at this moment.
    #[error(
        "failed to report on {}: its run is still going on\n    wait for its end, or read {JOURNAL} in it", .0.display()
    )]
    InUse(PathBuf),
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
/// Why the journal allows no truthful report, why a report could not be written, or that the run is still going on.
pub fn write_all(folder: &Path, baseline: Option<&Baseline>) -> Result<Run, ReportError> {
    let lock = match FolderLock::shared(folder) {
        Ok(lock) => Some(lock),
        Err(LockError::InUse) => return Err(ReportError::InUse(folder.to_owned())),
        // Reading the journal says what is wrong.
        Err(LockError::Unreadable(_)) => None,
    };
    let run = write_reports(folder, Run::read(&folder.join(JOURNAL))?, baseline)?;
    if lock.is_some_and(|lock| lock.is_alone()) {
        clear_unfinished(folder);
    }
    Ok(run)
}

/// Writes the reports of a run into its folder, for whoever holds the lock on that.
///
/// # Errors
/// Why a report could not be made or written.
pub fn write_reports(folder: &Path, mut run: Run, baseline: Option<&Baseline>) -> Result<Run, ReportError> {
    if let Some(baseline) = baseline {
        baseline.apply(&mut run);
    }
    for (name, bytes) in make_all(&run)? {
        write_whole(folder, name, &bytes).map_err(|why| ReportError::Write { folder: folder.to_owned(), name, why })?;
    }
    Ok(run)
}

/// Removes the temporary files that a killed process has left in a folder. Only whoever is alone in the folder may do so.
pub fn clear_unfinished(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_ours = name.to_str().is_some_and(|name| name.starts_with(UNFINISHED) && name.ends_with(UNFINISHED_END));
        if is_ours && entry.file_type().is_ok_and(|kind| kind.is_file()) {
            // What cannot be removed does no harm.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Begins the names of files that are not whole yet.
const UNFINISHED: &str = ".vfio-conform-";
/// Ends them.
const UNFINISHED_END: &str = ".new";

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

/// Writes a file that appears whole or not at all, and that survives a power cut once this returns.
///
/// # Errors
/// What the system answered.
pub fn write_whole(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    // A temporary file is private; a report is not more so than the user's other files.
    let mut file = tempfile::Builder::new()
        .prefix(&format!("{UNFINISHED}{name}-"))
        .suffix(UNFINISHED_END)
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(without_path)?;
    file.as_file_mut().write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist(folder.join(name))?;
    sync_folder(folder)
}

/// Has the names in a folder survive a power cut.
///
/// # Errors
/// What the system answered.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    match File::open(folder)?.sync_all() {
        // Some file systems cannot, and have nothing to wait for.
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        done => done,
    }
}

/// What went wrong, without the name of the temporary file, which means nothing to anyone.
fn without_path(error: io::Error) -> io::Error {
    io::Error::from(error.kind())
}
