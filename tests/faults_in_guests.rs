//! Faults of the bundled PCI target's driver and hardware, in a real guest: one of each kind.
//!
//! All of them are tried by `vfio-conform faults run`, which takes a quarter of an hour. Like the tests in `emulated.rs` these
//! need the environment of the qemu lab; `./ci/test` runs them. `VFIO_CONFORM` names the program to test, which is
//! otherwise the one that cargo has just built.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;

/// One of each kind, and what is special about it.
const SELECTION: [(&str, &str); 13] = [
    ("driver.one-arc-only", "the state machine"),
    ("driver.reset-keeps-session", "reset"),
    ("driver.old-file-survives", "sessions"),
    ("driver.records-not-counted", "PRE_COPY, and a requirement that is advice"),
    ("driver.temporary-end-waits", "a hang whose process can be killed"),
    ("driver.last-page-not-saved", "STOP_COPY"),
    ("driver.end-not-needed", "RESUMING"),
    ("driver.refusal-keeps-the-lock", "a hang that only a reboot ends"),
    ("driver.stopped-write-warns", "a WARN"),
    ("driver.size-of-no-session", "an oops"),
    ("device.worker-runs-while-stopped", "hardware that does not stop"),
    ("device.dma-in-p2p", "hardware that does DMA when it may not"),
    ("device.save-changes-scratch", "hardware that saves wrongly"),
];

/// The check in which `stumble` makes the kernel fail, on whichever device it runs.
const STUMBLES: &str = "fsm::stop_to_resuming";

fn program() -> PathBuf {
    let built = std::env::var_os("VFIO_CONFORM");
    built.map_or_else(|| env!("CARGO_BIN_EXE_vfio-conform").into(), PathBuf::from)
}

#[test]
#[ignore = "needs the environment of the qemu lab"]
fn one_fault_of_each_kind_is_caught_and_nothing_else_accused() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(program());
    command.args(["faults", "run", "--out"]).arg(folder.path());
    command.args(SELECTION.iter().flat_map(|(fault, _)| ["--only", fault]));
    let output = command.output()?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    let results: Value = serde_json::from_slice(&fs::read(folder.path().join("faults.json"))?)?;
    let tried: Vec<&str> =
        results["faults"].as_array().into_iter().flatten().filter_map(|f| f["fault"].as_str()).collect();
    for (fault, _) in SELECTION {
        assert!(tried.contains(&fault), "{fault} was not tried:\n{said}");
    }
    Ok(())
}

/// An oops takes the guest away from both devices.
#[test]
#[ignore = "needs the environment of the qemu lab"]
fn an_oops_beside_another_device_is_laid_at_the_right_door() -> Result<(), Box<dyn Error>> {
    only_the_one_that_stumbles_is_accused("oops", "crash")
}

/// A WARN leaves the guest alive, with a kernel log that both devices read.
#[test]
#[ignore = "needs the environment of the qemu lab"]
fn a_warn_beside_another_device_is_laid_at_the_right_door() -> Result<(), Box<dyn Error>> {
    only_the_one_that_stumbles_is_accused("warn", "fail")
}

/// Two devices share the checks and the kernel, which fails in one check: that one is accused, and those that ran beside
/// it are not.
fn only_the_one_that_stumbles_is_accused(how: &str, verdict: &str) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(program());
    command.args(["qemu", "--target", "pci", "--devices", "2", "--out"]).arg(folder.path());
    command.args(["--extra", concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/faults/stumble")]);
    command.args(["--append", &format!("stumble.how={how}"), "--", "fsm::stop_to_"]);
    let output = command.output()?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{said}");
    let report: Value = serde_json::from_slice(&fs::read(folder.path().join("report.json"))?)?;
    let checks = report["checks"].as_array().ok_or("the report has no checks")?;
    assert!(checks.len() > 2, "nothing ran beside it:\n{said}");
    for check in checks {
        let expected = if check["name"] == STUMBLES { verdict } else { "pass" };
        assert_eq!(check["verdict"], expected, "{}\n{said}", check["name"]);
    }
    Ok(())
}

/// A driver that lets one of its devices migrate at a time: each check that fails or is blocked by that names the sibling,
/// what was only blocked is judged alone, and the printed command shows a finding again.
#[test]
#[ignore = "needs the environment of the qemu lab"]
fn limit_of_sessions_names_the_sibling_device_and_is_reproduced() -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let run = |out: &str, words: &[&str]| -> Result<Value, Box<dyn Error>> {
        let out = folder.path().join(out);
        let mut command = Command::new(program());
        command.args(["qemu", "--target", "pci", "--driver-fault", "one-session-of-all"]);
        let output = command.args(words.iter().take_while(|word| **word != "--")).arg("--out").arg(&out);
        let output = output.args(words.iter().skip_while(|word| **word != "--")).output()?;
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
        Ok(serde_json::from_slice(&fs::read(out.join("report.json"))?)?)
    };
    let report = run("first", &["--", "fsm::"])?;
    let checks = report["checks"].as_array().ok_or("the report has no checks")?;
    let accused: Vec<&Value> =
        checks.iter().filter(|check| check["verdict"] != "pass" && check["verdict"] != "skip").collect();
    assert!(!accused.is_empty(), "no session met another one");
    for check in &accused {
        assert_eq!(check["verdict"], "fail", "{check}");
        assert_eq!(check["sibling"]["alone"], "pass", "{check}");
    }
    // Whether two sessions meet again is a matter of microseconds, so any of the findings will do.
    for (number, check) in accused.iter().enumerate() {
        let command = check["reproduce"].as_str().ok_or("no command")?;
        let words: Vec<&str> = command.split(' ').collect();
        let at = words.iter().position(|word| *word == "--devices").ok_or("it names no second device")?;
        if run(&format!("again{number}"), &words[at..]).is_ok() {
            return Ok(());
        }
    }
    Err("no printed command shows its finding again".into())
}
