//! The folder of a run: made, locked, and read back for the reports.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use time::OffsetDateTime;
use time::macros::format_description;

use super::RunError;
use crate::baseline::Baseline;
use crate::harness::folder_lock::{FolderLock, LockError};
use crate::harness::journal::{Entry, Event, Journal};
use crate::harness::verdict::Exit;
use crate::report::{self, JournalError, Run};

/// The folder of a run, which no other process writes to while this one has it.
#[derive(Debug, Clone)]
pub struct RunFolder {
    path: PathBuf,
    baseline: Option<Baseline>,
    /// Held until the last clone is dropped.
    _lock: Arc<FolderLock>,
}

impl RunFolder {
    /// Makes the folder: the one that was asked for, or a new one in `reports/out` that `latest` then points at.
    ///
    /// # Errors
    /// Why it cannot be made, or that it belongs to another run.
    pub fn create(out: Option<&Path>) -> Result<RunFolder, RunError> {
        let path = match out {
            Some(path) => path.to_owned(),
            None => reports_folder().join(new_name()),
        };
        let failed = |why| RunError::Folder { path: path.clone(), why };
        fs::create_dir_all(&path).map_err(failed)?;
        let lock = FolderLock::exclusive(&path).map_err(|error| match error {
            LockError::InUse => RunError::InUse(path.clone()),
            LockError::Unreadable(why) => failed(why),
        })?;
        let journal = path.join(report::JOURNAL);
        if journal.exists() {
            // Without a lock its run may still be going on.
            if !lock.is_held() || !is_of_no_use(&fs::read(&journal).map_err(failed)?) {
                return Err(RunError::Occupied(path));
            }
            clear(&path).map_err(failed)?;
        }
        report::clear_unfinished(&path);
        if out.is_none() {
            point_latest_at(&path).map_err(failed)?;
        }
        Ok(RunFolder { path, baseline: None, _lock: Arc::new(lock) })
    }

    /// The folder of a run that exists, with the lock on it.
    pub(super) fn existing(path: &Path, lock: FolderLock) -> RunFolder {
        report::clear_unfinished(path);
        RunFolder { path: path.to_owned(), baseline: None, _lock: Arc::new(lock) }
    }

    /// The folder of a run whose reports know what is expected.
    pub fn with_baseline(self, baseline: Option<Baseline>) -> RunFolder {
        RunFolder { baseline, ..self }
    }

    /// Makes the reports of what this process has written, and says what they come to.
    pub(super) fn report(&self, journal: &Journal) -> Result<Run, RunError> {
        let path = self.journal();
        let failed = |why| RunError::Folder { path: path.clone(), why };
        if !journal.is_at(&path).map_err(failed)? {
            return Err(RunError::Replaced(path));
        }
        let bytes = journal.read().map_err(failed)?;
        let run = Run::of(&bytes).map_err(|fault| report::ReportError::Journal(JournalError { path, fault }))?;
        self.report_of(run)
    }

    /// Makes the reports of a run that was read from this folder.
    pub(super) fn report_of(&self, run: Run) -> Result<Run, RunError> {
        // What the kernel printed has to survive as long as the reports that refer to it.
        let _ = fs::File::open(self.console()).and_then(|console| console.sync_all());
        Ok(report::write_reports(&self.path, run, self.baseline.as_ref())?)
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The journal.
    pub fn journal(&self) -> PathBuf {
        self.path.join(report::JOURNAL)
    }

    /// What the guest's or this host's kernel printed.
    pub fn console(&self) -> PathBuf {
        self.path.join(CONSOLE)
    }

    pub(super) fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or(self.path.as_os_str());
        name.to_string_lossy().into_owned()
    }
}

/// What the kernel printed, in a run's folder.
const CONSOLE: &str = "console.log";

/// Whether a journal holds nothing that another run does not say again: its lab never became ready for a check. A journal
/// with anything else in it, or with what this program does not know, is not ours to remove.
fn is_of_no_use(journal: &[u8]) -> bool {
    let whole = journal.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    let events = whole.map(|line| serde_json::from_slice::<Entry>(line).map(|entry| entry.event));
    let mut events = events.enumerate();
    events.all(|(number, event)| match event {
        Ok(Event::RunStarted(_)) => number == 0,
        Ok(Event::Stage { .. } | Event::LabReady(_) | Event::LabFailed { .. } | Event::LabRestarted { .. }) => {
            number > 0
        }
        Ok(Event::RunFinished { exit, .. }) => matches!(exit, Exit::NothingTested | Exit::Unfinished),
        Ok(_) | Err(_) => false,
    })
}

/// Removes what a run has left that did not come to its first check.
fn clear(folder: &Path) -> std::io::Result<()> {
    for name in [report::JSON, report::HTML, report::MARKDOWN, report::JUNIT, CONSOLE, report::JOURNAL] {
        match fs::remove_file(folder.join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// Where runs go that were not told where: the project's own folder if a script of the project called us.
pub fn reports_folder() -> PathBuf {
    std::env::var_os("VFIO_CONFORM_REPORTS").map_or_else(|| PathBuf::from("reports/out"), PathBuf::from)
}

/// Names sort by time; the process number keeps two runs of one moment apart.
pub fn new_name() -> String {
    let format = format_description!("[year][month][day]-[hour][minute][second]-[subsecond digits:3]");
    let now = OffsetDateTime::now_utc().format(&format).unwrap_or_default();
    format!("{now}-{}", std::process::id())
}

fn point_latest_at(path: &Path) -> std::io::Result<()> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Ok(());
    };
    // Made beside and moved over, so that `latest` is there at every moment.
    let new = parent.join(format!(".latest-{}", std::process::id()));
    // A killed process of the same number has left it.
    let _ = fs::remove_file(&new);
    std::os::unix::fs::symlink(name, &new)?;
    fs::rename(new, parent.join("latest"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn journal(events: Vec<Event>) -> Vec<u8> {
        sample::journal(events)
    }

    #[test]
    fn journal_without_a_check_is_of_no_use_and_any_other_is_kept() {
        let begun = || vec![sample::began(&["fsm::a"]), sample::ready()];
        assert!(is_of_no_use(b""));
        assert!(is_of_no_use(&journal(begun())));
        assert!(is_of_no_use(&[&journal(begun())[..], b"{\"seq\":2,"].concat()), "the last line was cut off");
        let with = |event| journal([begun(), vec![event]].concat());
        assert!(!is_of_no_use(&with(sample::start("fsm::a"))));
        assert!(!is_of_no_use(&with(sample::finished(
            crate::harness::verdict::RunVerdict::DoesNotConform,
            Exit::Findings
        ))));
        assert!(!is_of_no_use(b"no journal\n"));
        assert!(!is_of_no_use(&[&journal(begun())[..], b"{\"seq\":2,\"t\":0.1,\"event\":\"new\"}\n"].concat()));
    }

    #[test]
    fn folder_in_use_is_refused_until_its_run_ends() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let first = RunFolder::create(Some(folder.path()))?;
        let refused = RunFolder::create(Some(folder.path())).expect_err("it is in use").to_string();
        assert!(refused.contains("another run") && refused.contains("--out"), "{refused}");
        drop(first);
        RunFolder::create(Some(folder.path()))?;
        Ok(())
    }

    #[test]
    fn journal_that_was_replaced_is_not_reported() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let run = RunFolder::create(Some(folder.path()))?;
        let mut ours = Journal::create(&run.journal(), false)?;
        ours.write(sample::began(&[]))?;
        assert!(run.report(&ours).is_ok());
        fs::remove_file(run.journal())?;
        fs::write(run.journal(), journal(vec![sample::began(&["fsm::of_another"])]))?;
        let refused = run.report(&ours).expect_err("it is another journal").to_string();
        assert!(refused.contains("replaced"), "{refused}");
        Ok(())
    }
}
