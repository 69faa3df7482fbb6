//! The environment of the qemu lab: QEMU, kernels and guest modules, as `ci/environment` gets and keeps them.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::uapi::process::die_with_parent;

use super::LabError;

/// The recipe is part of the program, so that a binary alone can make the environment.
const RECIPE: &str = include_str!("../../ci/environment");

/// Asks the recipe for things; each is made on the first request and only looked up afterwards.
pub struct Environment<'a> {
    tell: &'a mut dyn FnMut(&str),
}

/// A kernel to boot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// The image.
    pub image: PathBuf,
    /// `uname -r` of it.
    pub release: String,
}

impl Kernel {
    /// Its configuration, which lies beside the image where the recipe has put both.
    pub fn configuration(&self) -> Option<PathBuf> {
        Some(self.image.with_file_name("config")).filter(|path| path.is_file())
    }
}

/// Guest modules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modules {
    /// Uncompressed module files, in the order of loading.
    pub files: Vec<PathBuf>,
}

/// What the guest modules are built from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModuleOptions {
    /// The source of the target's driver, if it is not the kernel's own.
    pub driver: Option<PathBuf>,
    /// Patches to the VFIO core, which is then built from its source.
    pub patches: Vec<PathBuf>,
    /// Folders of further modules, loaded last.
    pub extra: Vec<PathBuf>,
}

impl<'a> Environment<'a> {
    /// An environment that tells its steps to this function.
    pub fn new(tell: &'a mut dyn FnMut(&str)) -> Environment<'a> {
        Environment { tell }
    }

    /// The words that start QEMU.
    ///
    /// # Errors
    /// Why there is no QEMU.
    pub fn qemu(&mut self) -> Result<Vec<String>, LabError> {
        let words = self.ask(&["qemu".into()])?;
        Ok(words.lines().map(str::to_owned).collect())
    }

    /// A kernel by series, version or path.
    ///
    /// # Errors
    /// Why it cannot be had; a kernel that is gone is said to be gone, with those that are there.
    pub fn kernel(&mut self, spec: &str) -> Result<Kernel, LabError> {
        let folder = PathBuf::from(self.ask(&["kernel".into(), spec.into()])?.trim());
        let read = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))
        };
        Ok(Kernel { image: folder.join("vmlinuz"), release: read("release")?.trim().to_owned() })
    }

    /// The guest modules of a kernel for a target.
    ///
    /// # Errors
    /// Why they cannot be built.
    pub fn modules(&mut self, spec: &str, target: &str, options: &ModuleOptions) -> Result<Modules, LabError> {
        let mut words = vec!["modules".to_owned(), spec.to_owned(), target.to_owned()];
        if let Some(driver) = &options.driver {
            words.extend(["--driver".to_owned(), driver.display().to_string()]);
        }
        for patch in &options.patches {
            words.extend(["--patch".to_owned(), patch.display().to_string()]);
        }
        for extra in &options.extra {
            words.extend(["--extra".to_owned(), extra.display().to_string()]);
        }
        let folder = PathBuf::from(self.ask(&words)?.trim());
        let load = folder.join("load");
        let names = fs::read_to_string(&load).map_err(|error| unreadable(&load, &error))?;
        Ok(Modules { files: names.lines().map(|name| folder.join(name)).collect() })
    }

    /// Runs the recipe, hands on its steps, and returns what it printed.
    fn ask(&mut self, words: &[String]) -> Result<String, LabError> {
        let failed = |error: std::io::Error| LabError::failed("prepare the environment", error);
        let mut recipe = tempfile::Builder::new().prefix("vfio-conform-environment").tempfile().map_err(failed)?;
        recipe.write_all(RECIPE.as_bytes()).map_err(failed)?;
        let mut command = Command::new("bash");
        command.arg(recipe.path()).args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = die_with_parent(&mut command).spawn().map_err(failed)?;
        let mut said = Vec::new();
        if let Some(stderr) = child.stderr.take() {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                match line.strip_prefix("step: ") {
                    Some(step) => (self.tell)(step),
                    None => said.push(line),
                }
            }
        }
        let mut printed = String::new();
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_string(&mut printed).map_err(failed)?;
        }
        match child.wait().map_err(failed)?.success() {
            true => Ok(printed),
            false if said.is_empty() => Err(LabError::failed("prepare the environment", "the recipe was ended")),
            false => Err(LabError(said.join("\n"))),
        }
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> LabError {
    LabError::failed(&format!("read {}", path.display()), error)
}
