//! The plain programs that the harness is compared with in guests.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Builds a program of `fixtures/plain`. A guest has no shared libraries.
fn build(name: &str, folder: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let built = folder.join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/plain").join(name).with_extension("c");
    let output = Command::new("cc").args(["-O2", "-Wall", "-static", "-o"]).arg(&built).arg(source).output()?;
    match output.status.success() {
        true => Ok(built),
        false => Err(String::from_utf8_lossy(&output.stderr).into()),
    }
}

/// Has a probe in a guest compare with that program, and returns what it saw.
pub fn compare(probe: &str, program: &str, options: &[&str]) -> Result<Value, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let ours =
        std::env::var_os("VFIO_CONFORM").map_or_else(|| env!("CARGO_BIN_EXE_vfio-conform").into(), PathBuf::from);
    let mut command = Command::new(ours);
    command.args(["qemu", "--target", "pci", "--kernel", "7.3", "--probe", probe]).args(options);
    let output = command.arg("--plain").arg(build(program, folder.path())?).output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout)?;
    println!("{seen:#}");
    Ok(seen)
}
