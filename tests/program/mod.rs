//! The real program, in a folder of its own.

use std::path::Path;
use std::process::Command;

/// The program that the tests are built with.
pub fn vfio_conform(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfio-conform"));
    // What a user's environment says must not steer a test.
    command.env_clear().current_dir(folder);
    command
}
