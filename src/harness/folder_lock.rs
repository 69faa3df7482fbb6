//! Locks on folders, so that two programs never write their results into the same one.
//!
//! The lock belongs to the folder itself, leaves no file behind, and ends with the process that holds it, however that
//! dies.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a reader waits for another reader that tidies up for a moment.
const READER_PATIENCE: Duration = Duration::from_millis(300);

/// A folder that this process uses until the value is dropped.
#[derive(Debug)]
pub struct FolderLock {
    folder: File,
    is_held: bool,
}

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process uses it.
    #[error("another vfio-conform uses it")]
    InUse,
    /// It cannot be opened.
    #[error(transparent)]
    Unreadable(#[from] io::Error),
}

impl FolderLock {
    /// Locks a folder for one writer.
    ///
    /// # Errors
    /// That another process uses it, or why it cannot be opened.
    pub fn exclusive(folder: &Path) -> Result<FolderLock, LockError> {
        FolderLock::of(File::open(folder)?, File::try_lock)
    }

    /// Locks a folder for readers, of which there may be several.
    ///
    /// # Errors
    /// That a process writes to it, or why it cannot be opened.
    pub fn shared(folder: &Path) -> Result<FolderLock, LockError> {
        let end = Instant::now() + READER_PATIENCE;
        loop {
            match FolderLock::of(File::open(folder)?, File::try_lock_shared) {
                Err(LockError::InUse) if Instant::now() < end => std::thread::sleep(Duration::from_millis(10)),
                done => return done,
            }
        }
    }

    fn of(folder: File, lock: impl FnOnce(&File) -> Result<(), TryLockError>) -> Result<FolderLock, LockError> {
        match lock(&folder) {
            Ok(()) => Ok(FolderLock { folder, is_held: true }),
            Err(TryLockError::WouldBlock) => Err(LockError::InUse),
            // NFS locks no folders, some file systems lock nothing. What is created there must be created exclusively.
            Err(TryLockError::Error(_)) => Ok(FolderLock { folder, is_held: false }),
        }
    }

    /// Whether the file system has granted the lock: one that cannot lock leaves it open whether others use the folder.
    pub fn is_held(&self) -> bool {
        self.is_held
    }

    /// Whether this process is the only one that uses the folder. A shared lock becomes an exclusive one then.
    pub fn is_alone(&self) -> bool {
        self.is_held && self.folder.try_lock().is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_in_use(result: Result<FolderLock, LockError>) -> bool {
        matches!(result, Err(LockError::InUse))
    }

    #[test]
    fn one_writer_or_several_readers_use_a_folder() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let writer = FolderLock::exclusive(folder.path())?;
        assert!(writer.is_held());
        assert!(is_in_use(FolderLock::exclusive(folder.path())) && is_in_use(FolderLock::shared(folder.path())));
        drop(writer);
        let (reader, other) = (FolderLock::shared(folder.path())?, FolderLock::shared(folder.path())?);
        assert!(is_in_use(FolderLock::exclusive(folder.path())));
        assert!(!reader.is_alone());
        drop(other);
        assert!(reader.is_alone());
        Ok(())
    }

    #[test]
    fn file_system_without_locks_is_usable_and_known() -> Result<(), Box<dyn std::error::Error>> {
        let folder = tempfile::tempdir()?;
        let unsupported = |_: &File| Err(TryLockError::Error(io::ErrorKind::Unsupported.into()));
        let lock = FolderLock::of(File::open(folder.path())?, unsupported)?;
        assert!(!lock.is_held() && !lock.is_alone());
        Ok(())
    }

    #[test]
    fn folder_that_is_missing_is_an_error() {
        assert!(matches!(FolderLock::exclusive(Path::new("/nonexistent")), Err(LockError::Unreadable(_))));
    }
}
