//! Which kernels tests in guests can have.

use std::error::Error;
use std::process::Command;

use crate::trials;

/// Kernels whose VFIO core spins for ever on the blocked arcs, the newest first: 6.12.96 has the fix.
const UNFIXED: [&str; 2] = ["6.12.95", "6.12.94"];

/// Which of them the archive still has, or we have.
pub fn unfixed() -> Result<Option<&'static str>, Box<dyn Error>> {
    let there = all()?;
    Ok(UNFIXED.into_iter().find(|kernel| there.iter().any(|one| one == kernel)))
}

/// What a test lacks that needs one of them.
pub fn lacking_unfixed() -> trials::Tested {
    trials::lacking(&format!("{} are gone from the archive", UNFIXED.join(" and ")))
}

/// All that there are, from the oldest to the newest.
pub fn all() -> Result<Vec<String>, Box<dyn Error>> {
    let recipe = concat!(env!("CARGO_MANIFEST_DIR"), "/ci/environment");
    let output = Command::new("bash").args([recipe, "kernels"]).output()?;
    let listed = String::from_utf8(output.stdout)?;
    Ok(listed.lines().filter_map(|line| line.split('\t').next()).map(str::to_owned).collect())
}
