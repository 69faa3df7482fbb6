//! What is compared: a finished run, a kernel of the environment, a built tree, or a revision of a tree.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;

use crate::report::JOURNAL;

/// One side of a comparison, as it was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// The folder of a finished run.
    Run(PathBuf),
    /// A version that the environment has or can get, or a bzImage.
    Kernel(String),
    /// A kernel tree that was built, as it is now.
    Tree(PathBuf),
    /// A revision of a git tree, of which the VFIO core is taken.
    Revision {
        /// The tree.
        tree: PathBuf,
        /// As git understands it.
        revision: String,
    },
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reference::Run(path) | Reference::Tree(path) => path.display().fmt(f),
            Reference::Kernel(spec) => f.write_str(spec),
            Reference::Revision { tree, revision } => write!(f, "{}@{revision}", tree.display()),
        }
    }
}

impl FromStr for Reference {
    type Err = String;

    fn from_str(text: &str) -> Result<Reference, String> {
        if let Some((tree, revision)) = text.rsplit_once('@').filter(|(tree, _)| Path::new(tree).is_dir()) {
            return Ok(Reference::Revision { tree: tree.into(), revision: revision.to_owned() });
        }
        let path = PathBuf::from(text);
        if path.join(JOURNAL).exists() {
            return Ok(Reference::Run(path));
        }
        if path.is_dir() {
            return match path.join(super::JSON).exists() {
                true => Err("it is the folder of a gate; the runs are in base-1 and head-1 below it".to_owned()),
                false => Ok(Reference::Tree(path)),
            };
        }
        let is_version =
            text.strip_prefix("debug-").unwrap_or(text).starts_with(|letter: char| letter.is_ascii_digit());
        match path.is_file() || (is_version && !text.contains('/')) {
            true => Ok(Reference::Kernel(text.to_owned())),
            false => {
                Err("it is neither the folder of a finished run, nor a kernel like 7.3 or 6.12.95, nor a built kernel \
                          tree, nor TREE@REVISION"
                    .to_owned())
            }
        }
    }
}

/// The parts of a kernel tree that the VFIO core is built from.
fn is_core(path: &str) -> bool {
    let is_header = |folder: &str, names: &[&str]| {
        path.strip_prefix(folder).is_some_and(|name| names.iter().any(|begin| name.starts_with(begin)))
    };
    path.starts_with("drivers/vfio/")
        || path.starts_with("samples/vfio-mdev/")
        || is_header("include/linux/", &["vfio", "mdev", "iommufd", "iova_bitmap"])
        || is_header("include/uapi/linux/", &["vfio", "iommufd"])
}

/// The full id of a revision.
///
/// # Errors
/// What git says.
pub fn commit(tree: &Path, revision: &str) -> Result<String, String> {
    git(tree, &["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{revision}^{{commit}}")]).map_err(
        |_| {
            format!(
                "failed to find {revision} in {}: git knows no such commit\n    see `git -C {} log`",
                tree.display(),
                tree.display()
            )
        },
    )
}

/// Writes the VFIO core of a revision to a folder.
///
/// # Errors
/// Why it is not there.
pub fn extract(tree: &Path, commit: &str, folder: &Path) -> Result<(), String> {
    let listed = git(tree, &["ls-tree", "-r", "--name-only", commit, "drivers/vfio", "samples/vfio-mdev", "include/"])?;
    let files: Vec<&str> = listed.lines().filter(|path| is_core(path)).collect();
    if !files.contains(&"drivers/vfio/Makefile") {
        return Err(format!(
            "failed to use {}@{commit}: it has no drivers/vfio\n    give a kernel tree",
            tree.display()
        ));
    }
    let failed = |error: std::io::Error| format!("failed to take the VFIO core from {}: {error}", tree.display());
    fs::create_dir_all(folder).map_err(failed)?;
    let archive = folder.join(".archive.tar");
    let output = format!("--output={}", archive.display());
    git(tree, &[&["archive", "--format=tar", &output, commit, "--"], files.as_slice()].concat())?;
    let unpacked = Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(folder).status().map_err(failed)?;
    fs::remove_file(&archive).map_err(failed)?;
    match unpacked.success() {
        true => Ok(()),
        false => Err(format!("failed to take the VFIO core from {}: tar could not unpack it", tree.display())),
    }
}

/// The kernel that the VFIO core of a revision runs on: the tree's own if it was built with a core that can be replaced,
/// else the environment's newest of the revision's series.
///
/// # Errors
/// Why the series is not known.
pub fn kernel_of(tree: &Path, commit: &str) -> Result<String, String> {
    if has_replaceable_core(tree) {
        return Ok(tree.display().to_string());
    }
    let makefile = git(tree, &["show", &format!("{commit}:Makefile")])?;
    let number = |name: &str| {
        makefile
            .lines()
            .take(10)
            .find_map(|line| line.strip_prefix(name)?.trim().strip_prefix('=')?.trim().parse::<u32>().ok())
    };
    match (number("VERSION"), number("PATCHLEVEL")) {
        (Some(version), Some(level)) => Ok(format!("{version}.{level}")),
        _ => Err(format!("failed to use {}@{commit}: its Makefile has no VERSION and PATCHLEVEL", tree.display())),
    }
}

/// Whether a tree was built, with its VFIO core as modules.
fn has_replaceable_core(tree: &Path) -> bool {
    let configuration = fs::read_to_string(tree.join("include/config/auto.conf")).unwrap_or_default();
    tree.join("arch/x86/boot/bzImage").is_file() && configuration.lines().any(|line| line == "CONFIG_VFIO=m")
}

/// The commits between two revisions that change the VFIO core, the oldest first.
///
/// # Errors
/// What git says.
pub fn commits_between(tree: &Path, good: &str, bad: &str) -> Result<Vec<String>, String> {
    let range = format!("{good}..{bad}");
    let parts = ["drivers/vfio", "samples/vfio-mdev", "include/linux/vfio*.h", "include/uapi/linux/vfio*.h"];
    let listed = git(tree, &[&["rev-list", "--reverse", "--topo-order", &range, "--"], &parts[..]].concat())?;
    Ok(listed.lines().map(str::to_owned).collect())
}

/// The id of a commit, short, and its subject.
pub fn in_words(tree: &Path, commit: &str) -> String {
    git(tree, &["log", "-1", "--format=%h (\"%s\")", commit]).unwrap_or_else(|_| commit.to_owned())
}

fn git(tree: &Path, words: &[&str]) -> Result<String, String> {
    let failed = |why: String| format!("failed to ask git about {}: {why}", tree.display());
    let output = Command::new("git")
        .arg("-C")
        .arg(tree)
        .args(words)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| failed(format!("{error}; install git")))?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned()),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_str().unwrap();
        let parse = |text: &str| text.parse::<Reference>();
        assert_eq!(parse("6.12.94"), Ok(Reference::Kernel("6.12.94".to_owned())));
        assert_eq!(parse("debug-7.3"), Ok(Reference::Kernel("debug-7.3".to_owned())));
        assert_eq!(parse(path), Ok(Reference::Tree(path.into())));
        let revision = Reference::Revision { tree: path.into(), revision: "v7.3~2".to_owned() };
        assert_eq!(parse(&format!("{path}@v7.3~2")), Ok(revision));
        fs::write(folder.path().join(JOURNAL), "").unwrap();
        assert_eq!(parse(path), Ok(Reference::Run(path.into())));
        assert!(parse("nowhere").is_err() && parse("7.3/nowhere").is_err());
    }

    #[test]
    fn a_tree_that_was_built_runs_its_own_revisions() -> std::io::Result<()> {
        let tree = tempfile::tempdir()?;
        let configure = |text: &str| fs::write(tree.path().join("include/config/auto.conf"), text);
        assert!(!has_replaceable_core(tree.path()));
        fs::create_dir_all(tree.path().join("include/config"))?;
        fs::create_dir_all(tree.path().join("arch/x86/boot"))?;
        fs::write(tree.path().join("arch/x86/boot/bzImage"), "")?;
        configure("CONFIG_PCI=y\nCONFIG_VFIO=m\n")?;
        assert!(has_replaceable_core(tree.path()));
        assert_eq!(kernel_of(tree.path(), "HEAD"), Ok(tree.path().display().to_string()));
        // What is built in stays.
        configure("CONFIG_VFIO=y\n")?;
        assert!(!has_replaceable_core(tree.path()));
        Ok(())
    }

    #[test]
    fn the_core_is_its_folder_and_its_headers() {
        for path in ["drivers/vfio/vfio_main.c", "include/linux/vfio_pci_core.h", "include/uapi/linux/vfio.h"] {
            assert!(is_core(path), "{path}");
        }
        for path in ["drivers/vdpa/vdpa.c", "include/linux/pci.h", "include/trace/vfio.h"] {
            assert!(!is_core(path), "{path}");
        }
    }
}
