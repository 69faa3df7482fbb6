//! Profiles at the command line: a wrong one accuses no driver, and says what to do.

mod program;

use std::path::{Path, PathBuf};
use std::process::Output;

use tempfile::TempDir;

const RIGHT: &str = include_str!("../fixtures/profiles/model.toml");

fn vfio_conform(folder: &Path, arguments: &[&str]) -> Output {
    program::vfio_conform(folder).args(arguments).output().expect("the program can be started")
}

/// A folder with the model's profile, of which one thing is changed, in `wrong.toml`.
fn wrong(from: &str, to: &str) -> (TempDir, PathBuf) {
    assert!(RIGHT.contains(from), "{from}");
    let folder = TempDir::new().expect("a temporary folder");
    let file = folder.path().join("wrong.toml");
    std::fs::write(&file, RIGHT.replacen(from, to, 1)).expect("it can be written");
    (folder, file)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn wrong_register_blocks_by_its_key_and_the_summary_names_profile_try() {
    let (folder, _) = wrong("offset = 0x20, value = 0", "offset = 0x24, value = 0");
    let run =
        vfio_conform(folder.path(), &["run", "model", "--profile", "wrong.toml", "--out", "run", "--", "quiesce::"]);
    let out = text(&run.stdout);
    assert_eq!(run.status.code(), Some(3), "{out}");
    assert!(out.contains("`stimulus.interrupt` was not seen to work"), "{out}");
    assert!(out.contains("vfio-conform profile try model"), "{out}");
    let report = std::fs::read(folder.path().join("run/report.json")).expect("a report");
    let report: serde_json::Value = serde_json::from_slice(&report).expect("JSON");
    let blocked = report["checks"].as_array().into_iter().flatten().filter(|check| check["verdict"] == "blocked");
    let keys: Vec<&serde_json::Value> = blocked.map(|check| &check["blocked_by_key"]).collect();
    assert!(!keys.is_empty() && keys.iter().all(|key| **key == "interrupt"), "{keys:?}");
    let tried = vfio_conform(folder.path(), &["profile", "try", "model", "--profile", "wrong.toml"]);
    assert_eq!(tried.status.code(), Some(1));
    assert!(text(&tried.stdout).contains("FAILS      stimulus.interrupt"), "{}", text(&tried.stdout));
}

#[test]
fn right_profile_has_every_effect() {
    let folder = TempDir::new().expect("a temporary folder");
    let tried = vfio_conform(folder.path(), &["profile", "try", "model", "--format", "json"]);
    assert_eq!(tried.status.code(), Some(0), "{}", text(&tried.stdout));
    let keys: serde_json::Value = serde_json::from_slice(&tried.stdout).expect("JSON");
    let keys = keys.as_array().expect("a list");
    assert_eq!(keys.len(), 11);
    assert!(keys.iter().all(|key| key["effect"]["seen"].is_string()), "{keys:?}");
}

#[test]
fn profile_for_another_device_is_refused_unless_forced() {
    let (folder, _) = wrong("driver = [\"model\"]", "pci = [\"15b3:101e\"]");
    let run = ["run", "model", "--profile", "wrong.toml", "--out", "run", "--", "quiesce::interrupt_comes_in_running"];
    let refused = vfio_conform(folder.path(), &run);
    let error = text(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{error}");
    assert!(error.contains("is for 15b3:101e, and the device is of the driver model"), "{error}");
    assert!(error.contains("--force-profile"), "{error}");
    let forced: Vec<&str> = ["run", "model", "--force-profile", "--out", "forced"]
        .into_iter()
        .chain(run[2..4].iter().copied())
        .chain(run[6..].iter().copied())
        .collect();
    assert_eq!(vfio_conform(folder.path(), &forced).status.code(), Some(0));
    let tried = vfio_conform(folder.path(), &["profile", "try", "model", "--profile", "wrong.toml"]);
    assert_eq!(tried.status.code(), Some(2));
}

#[test]
fn finding_names_the_key_and_the_steps_that_its_check_played() {
    let folder = TempDir::new().expect("a temporary folder");
    std::fs::write(folder.path().join("model.toml"), RIGHT).expect("it can be written");
    let device = "model:fault=interrupts-while-stopped";
    let run = ["run", device, "--profile", "model.toml", "--out", "run", "--", "quiesce::no_interrupt_in_stop"];
    let found = vfio_conform(folder.path(), &run);
    assert_eq!(found.status.code(), Some(1), "{}", text(&found.stdout));
    for name in ["report.json", "junit.xml", "report.html"] {
        let report = std::fs::read_to_string(folder.path().join("run").join(name)).expect("a report");
        assert!(report.contains("stimulus.interrupt") && report.contains("step 2 write bar2 at 0x20"), "{name}");
    }
}
