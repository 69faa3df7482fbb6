//! What functions were before `bind` or a run took them from their drivers: a file for each, written before anything is
//! changed, so that whatever dies meanwhile, things can be put back.

use std::fs;
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use super::sysfs::{self, Found};

/// Where the files are unless another folder is named: it is emptied at boot, when bindings are gone too.
pub const DEFAULT: &str = "/run/vfio-conform";

/// Who took a function from its driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// `vfio-conform bind`, until `unbind`.
    #[default]
    Bind,
    /// A check that unbinds the function and binds it again, for a moment.
    Run,
}

/// What a function was before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Before {
    /// Its PCI address.
    pub address: String,
    /// The boot in which this was so; a later one knows nothing of it.
    pub boot: String,
    /// The driver that it was bound to.
    pub driver: Option<String>,
    /// Which driver was forced upon it.
    pub driver_override: Option<String>,
    /// Who changed it.
    #[serde(default)]
    pub by: By,
}

/// What tells this boot from others, on the host whose file system begins there.
pub fn boot(root: &Path) -> String {
    let boot = fs::read_to_string(root.join("proc/sys/kernel/random/boot_id")).unwrap_or_default();
    boot.trim_end().to_owned()
}

impl Before {
    /// What a function is now, before somebody changes it.
    pub fn of(found: &Found, by: By) -> Before {
        let forced = fs::read_to_string(found.path.join("driver_override")).unwrap_or_default();
        let forced = Some(forced.trim_end().to_owned());
        Before {
            address: found.name.clone(),
            boot: boot(&found.root),
            driver: sysfs::link_name(&found.path.join("driver")),
            driver_override: forced.filter(|driver| !driver.is_empty() && driver != "(null)"),
            by,
        }
    }

    /// The driver that a killed run left a function without, if one did.
    pub fn driver_lost_by_a_run(found: &Found) -> Option<String> {
        let before = StateFolder::of(found).read(&found.name, &boot(&found.root)).ok()??;
        before.driver.filter(|_| before.by == By::Run && sysfs::link_name(&found.path.join("driver")).is_none())
    }

    /// For people.
    pub fn before(&self) -> String {
        self.driver.as_ref().map_or("no driver".to_owned(), |driver| format!("the driver {driver}"))
    }
}

/// Why the state cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The system refuses.
    #[error("failed to keep what the function was before in {}: {why}\n    run as root, or name another folder with --state", .path.display())]
    Refused {
        /// The file or folder.
        path: PathBuf,
        /// What the system answered.
        why: io::Error,
    },
    /// The file is not ours.
    #[error("failed to read {}: {why}\n    put the function back by hand, then remove the file", .path.display())]
    Garbled {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: serde_json::Error,
    },
}

/// The folder of these files.
#[derive(Debug, Clone)]
pub struct StateFolder(PathBuf);

impl StateFolder {
    /// That folder; it need not be there.
    pub fn at(path: &Path) -> StateFolder {
        StateFolder(path.to_owned())
    }

    /// The usual folder of the host that a function is on.
    pub fn of(found: &Found) -> StateFolder {
        StateFolder(found.root.join(DEFAULT.trim_start_matches('/')))
    }

    /// The file of a function.
    pub fn file(&self, address: &str) -> PathBuf {
        self.0.join(format!("{address}.json"))
    }

    /// What is kept of a function. What an earlier boot left is taken for nothing.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn read(&self, address: &str, boot: &str) -> Result<Option<Before>, StateError> {
        let path = self.file(address);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(why) => return Err(StateError::Refused { path, why }),
        };
        let before: Before = serde_json::from_slice(&text).map_err(|why| StateError::Garbled { path, why })?;
        Ok((before.boot == boot).then_some(before))
    }

    /// Keeps it. When this returns, the file is on disk and whole.
    ///
    /// # Errors
    /// Why it cannot be kept.
    pub fn keep(&self, before: &Before) -> Result<(), StateError> {
        let path = self.file(&before.address);
        let keep = || {
            fs::create_dir_all(&self.0)?;
            let mut file = NamedTempFile::new_in(&self.0)?;
            file.write_all(&serde_json::to_vec(before)?)?;
            file.as_file().sync_all()?;
            file.persist(&path)?;
            Ok(())
        };
        keep().map_err(|why| StateError::Refused { path: path.clone(), why })
    }

    /// Forgets it.
    ///
    /// # Errors
    /// Why it cannot be forgotten.
    pub fn forget(&self, address: &str) -> Result<(), StateError> {
        let path = self.file(address);
        match fs::remove_file(&path) {
            Err(why) if why.kind() != ErrorKind::NotFound => Err(StateError::Refused { path, why }),
            _ => Ok(()),
        }
    }
}
