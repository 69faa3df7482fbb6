//! Which kernels tests in guests can have.

use std::error::Error;
use std::process::Command;

/// Whether the archive still has this kernel, or we have it.
pub fn is_there(kernel: &str) -> Result<bool, Box<dyn Error>> {
    let recipe = concat!(env!("CARGO_MANIFEST_DIR"), "/ci/environment");
    let output = Command::new("bash").args([recipe, "kernels"]).output()?;
    let listed = String::from_utf8(output.stdout)?;
    Ok(listed.lines().any(|line| line.split('\t').next() == Some(kernel)))
}
