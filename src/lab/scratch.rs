//! Temporary folders of this lab, which go away even after a process that was killed: the next one removes them.
//!
//! A folder belongs to the process that holds the lock on it. The kernel releases the lock when that process ends, however it
//! does, and a folder that can be locked by somebody else is left over.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::geteuid;
use tempfile::TempDir;

use super::LabError;
use super::room::hint_if_full;
use crate::harness::folder_lock::FolderLock;

/// Begins the names. Earlier versions, whose folders have no lock, used another prefix.
const PREFIX: &str = "vfio-conform-lab-";
/// How often to make another folder where somebody has tidied up the first one before it was locked.
const TRIES: usize = 8;

/// A temporary folder. Its path is short enough for sockets.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    // Released once the folder is gone.
    _lock: FolderLock,
}

impl Scratch {
    /// Makes a folder, and removes those that killed processes have left.
    ///
    /// # Errors
    /// Why it cannot be made.
    pub fn new() -> Result<Scratch, LabError> {
        let parent = std::env::temp_dir();
        Scratch::below(&parent).map_err(|error| {
            let full = hint_if_full(&parent);
            LabError::failed(
                "make a temporary folder",
                format!("{error}{full}\n    set TMPDIR to a folder that can be written"),
            )
        })
    }

    fn below(parent: &Path) -> std::io::Result<Scratch> {
        clear(parent);
        for _ in 0..TRIES {
            let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(parent)?;
            // Until it is locked it looks left over.
            if let Ok(lock) = FolderLock::exclusive(folder.path())
                && folder.path().exists()
            {
                return Ok(Scratch { folder, _lock: lock });
            }
        }
        Err(std::io::Error::other("other processes remove it at once"))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Removes what belongs to nobody any more.
fn clear(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX))
            && entry.metadata().is_ok_and(|data| data.is_dir() && data.uid() == geteuid().as_raw());
        if !is_ours {
            continue;
        }
        // Where nothing can be locked it cannot be known whose it is.
        if let Ok(lock) = FolderLock::exclusive(&entry.path())
            && lock.is_held()
        {
            // Another process may remove it at the same moment. What cannot be removed does no harm.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_of_a_dead_process_is_removed_and_no_other_is() -> std::io::Result<()> {
        let parent = tempfile::tempdir()?;
        let living = Scratch::below(parent.path())?;
        fs::write(living.path().join("mirror"), "memory")?;
        let dead = parent.path().join(format!("{PREFIX}dead"));
        fs::create_dir(&dead)?;
        fs::write(dead.join("initramfs"), "old")?;
        let foreign = parent.path().join("vfio-conform-of-before");
        fs::create_dir(&foreign)?;
        let next = Scratch::below(parent.path())?;
        assert!(!dead.exists());
        assert!(living.path().join("mirror").exists() && foreign.exists() && next.path().exists());
        let path = living.path().to_owned();
        drop(living);
        assert!(!path.exists());
        Ok(())
    }
}
