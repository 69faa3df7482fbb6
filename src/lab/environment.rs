//! The environment of the qemu lab: QEMU, kernels and guest modules, as `ci/environment` gets and keeps them.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::uapi::process::die_with_parent;

use super::LabError;
use super::scratch::Scratch;
use crate::uapi::stop;

/// The recipe is part of the program, so that a binary alone can make the environment.
const RECIPE: &str = include_str!("../../ci/environment");

/// The exit codes with which the recipe says that it is not the environment's fault.
const UNAPPLIED: i32 = 3;
const UNBUILT: i32 = 4;
const PRESENT: i32 = 5;

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
    /// The VFIO core.
    pub core: CoreOptions,
    /// Folders of further modules, loaded last.
    pub extra: Vec<PathBuf>,
}

/// Which VFIO core a guest has: the one that its kernel came with, unless something else is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, clap::Args)]
pub struct CoreOptions {
    /// Build the VFIO core from the kernel's source instead of using the modules that it came with
    #[arg(long)]
    pub core: bool,
    /// Build the VFIO core from this source: a kernel tree, of which drivers/vfio and its headers are taken
    #[arg(long, value_name = "DIR")]
    pub core_source: Option<PathBuf>,
    /// Apply this patch to the VFIO core, which is built from source then; may be given again
    #[arg(long, value_name = "FILE")]
    pub patch: Vec<PathBuf>,
}

impl CoreOptions {
    /// The words of the command line that say the same.
    pub fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = self.core.then(|| "--core".to_owned()).into_iter().collect();
        if let Some(source) = &self.core_source {
            words.extend(["--core-source".to_owned(), source.display().to_string()]);
        }
        for patch in &self.patch {
            words.extend(["--patch".to_owned(), patch.display().to_string()]);
        }
        words
    }
}

/// Why the guest modules are not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModulesError {
    /// A patch does not fit the source.
    #[error("{0}")]
    Unapplied(LabError),
    /// The source has a patch already.
    #[error("{0}")]
    Present(LabError),
    /// The VFIO core does not compile.
    #[error("{0}")]
    Unbuilt(LabError),
    /// It is not for the patch or the source.
    #[error("{0}")]
    Environment(LabError),
}

impl From<ModulesError> for LabError {
    fn from(error: ModulesError) -> LabError {
        match error {
            ModulesError::Unapplied(why)
            | ModulesError::Present(why)
            | ModulesError::Unbuilt(why)
            | ModulesError::Environment(why) => why,
        }
    }
}

impl From<LabError> for ModulesError {
    fn from(error: LabError) -> ModulesError {
        ModulesError::Environment(error)
    }
}

/// The folder where all of it is kept.
pub fn cache() -> Option<PathBuf> {
    let cache = std::env::var_os("VFIO_CONFORM_CACHE").map(PathBuf::from).or_else(|| {
        let base = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let base = base.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
        Some(base.join("vfio-conform"))
    })?;
    cache.is_dir().then_some(cache)
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

    /// The versions of the kernels that there are or that can be had, from the oldest to the newest of each kind.
    ///
    /// # Errors
    /// Why they are not known.
    pub fn kernels(&mut self) -> Result<Vec<String>, LabError> {
        let listed = self.ask(&["kernels".into()])?;
        Ok(listed.lines().filter_map(|line| line.split('\t').next()).map(str::to_owned).collect())
    }

    /// The guest modules of a kernel for a target.
    ///
    /// # Errors
    /// Why they cannot be built.
    pub fn modules(&mut self, spec: &str, target: &str, options: &ModuleOptions) -> Result<Modules, ModulesError> {
        let mut words = vec!["modules".to_owned(), spec.to_owned(), target.to_owned()];
        if let Some(driver) = &options.driver {
            words.extend(["--driver".to_owned(), driver.display().to_string()]);
        }
        words.extend(core_words(&options.core));
        for extra in &options.extra {
            words.extend(["--extra".to_owned(), extra.display().to_string()]);
        }
        let folder = PathBuf::from(self.try_to(&words)?.trim());
        let load = folder.join("load");
        let names = fs::read_to_string(&load).map_err(|error| unreadable(&load, &error))?;
        Ok(Modules { files: names.lines().map(|name| folder.join(name)).collect() })
    }

    /// The uAPI header of VFIO that a kernel's guest modules are built with.
    ///
    /// # Errors
    /// Why there is none.
    pub fn header(&mut self, spec: &str, core: &CoreOptions) -> Result<PathBuf, ModulesError> {
        let words = [vec!["header".to_owned(), spec.to_owned()], core_words(core)].concat();
        Ok(PathBuf::from(self.try_to(&words)?.trim()))
    }

    fn ask(&mut self, words: &[String]) -> Result<String, LabError> {
        Ok(self.try_to(words)?)
    }

    /// Runs the recipe, hands on its steps, and returns what it printed.
    fn try_to(&mut self, words: &[String]) -> Result<String, ModulesError> {
        let failed = |error: std::io::Error| LabError::failed("prepare the environment", error);
        let folder = Scratch::new()?;
        let recipe = folder.path().join("environment");
        fs::write(&recipe, RECIPE).map_err(failed)?;
        let mut command = Command::new("bash");
        command.arg(&recipe).args(words).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = die_with_parent(&mut command).spawn().map_err(failed)?;
        // What it downloads or builds at the moment is of no use to a run that was asked to stop.
        let _passed_on = stop::pass_on_to(&child);
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
        let status = child.wait().map_err(failed)?;
        if status.success() {
            return Ok(printed);
        }
        if let Some(signal) = stop::requested() {
            return Err(LabError::failed("prepare the environment", format!("it was asked to stop ({signal})")).into());
        }
        if said.is_empty() {
            return Err(LabError::failed("prepare the environment", "the recipe was ended").into());
        }
        let why = LabError(said.join("\n"));
        Err(match status.code() {
            Some(UNAPPLIED) => ModulesError::Unapplied(why),
            Some(PRESENT) => ModulesError::Present(why),
            Some(UNBUILT) => ModulesError::Unbuilt(why),
            _ => ModulesError::Environment(why),
        })
    }
}

/// The recipe's words for a VFIO core.
fn core_words(core: &CoreOptions) -> Vec<String> {
    let mut words: Vec<String> = core.core.then(|| "--core".to_owned()).into_iter().collect();
    if let Some(source) = &core.core_source {
        words.extend(["--source".to_owned(), source.display().to_string()]);
    }
    for patch in &core.patch {
        words.extend(["--patch".to_owned(), patch.display().to_string()]);
    }
    words
}

fn unreadable(path: &Path, error: &std::io::Error) -> LabError {
    LabError::failed(&format!("read {}", path.display()), error)
}
