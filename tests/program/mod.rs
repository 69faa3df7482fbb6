//! Runs of the real program, in a folder of their own.

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use vfio_conform::report::{JOURNAL, Run};

/// The program that the tests are built with.
pub fn vfio_conform(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfio-conform"));
    // What a user's environment says must not steer a test.
    command.env_clear().current_dir(folder);
    command
}

/// A run that came to its end.
pub struct Ran {
    /// What its journal says.
    pub report: Run,
    /// The exit code; none if it was killed.
    pub code: Option<i32>,
}

/// Runs all checks on a model.
pub fn run(model: &str, options: &[&str]) -> Ran {
    let folder = TempDir::new().expect("a temporary folder");
    let status = vfio_conform(folder.path())
        .args(["run", &format!("model:{model}"), "--out", "out"])
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    let code = status.expect("the program can be started").code();
    let report = Run::read(&folder.path().join("out").join(JOURNAL)).expect("a journal");
    Ran { report, code }
}
