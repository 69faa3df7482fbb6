//! Parts of `ci/environment` that no guest is needed for.

use std::error::Error;
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// Runs a function of the recipe.
fn run(function: &str, words: &[&Path]) -> Result<(), Box<dyn Error>> {
    let recipe = concat!(env!("CARGO_MANIFEST_DIR"), "/ci/environment");
    let script = "set -euo pipefail; source <(sed -n \"/^$1() {/,/^}/p\" \"$2\"); \"$1\" \"${@:3}\"";
    let output = Command::new("bash").args(["-c", script, "bash", function, recipe]).args(words).output()?;
    match output.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&output.stderr).into()),
    }
}

fn write(path: &Path, text: &str, time: SystemTime) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(path.parent().ok_or("no folder")?)?;
    fs::write(path, text)?;
    Ok(File::options().write(true).open(path)?.set_modified(time)?)
}

/// The clock was set back by an hour after the core was built: what a patch changes must still be newer than the objects.
#[test]
fn patched_source_is_newer_than_what_was_built_before_the_clock_was_set_back() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let (pristine, patched) = (folder.path().join("pristine"), folder.path().join("patched"));
    let now = SystemTime::now();
    for is_set_back in [true, false] {
        let built = if is_set_back { now + Duration::from_secs(3600) } else { now - Duration::from_secs(3600) };
        for copy in [&pristine, &patched] {
            write(&copy.join("tree/vfio_main.o"), "object", built)?;
            write(&copy.join("tree/vfio.c"), "unchanged", now - Duration::from_secs(7200))?;
        }
        write(&pristine.join("tree/vfio_main.c"), "before", now - Duration::from_secs(7200))?;
        write(&patched.join("tree/vfio_main.c"), "after", now)?;
        run("make_newer", &[&pristine, &patched])?;
        let time = |file: &str| fs::metadata(patched.join("tree").join(file)).and_then(|it| it.modified());
        assert!(time("vfio_main.c")? > time("vfio_main.o")?, "make would take the object for up to date");
        assert!(time("vfio.c")? < time("vfio_main.o")?, "make would build more than the patch changes");
    }
    Ok(())
}
