//! What the gate makes of runs that cannot tell: cut off, ended early, or blocked. Runs of the model are prepared by hand.

mod program;

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

/// What a gate printed and returned.
struct Gate {
    code: Option<i32>,
    text: String,
    report: Value,
    markdown: String,
}

/// Compares two finished runs in a folder.
fn gate(folder: &Path, base: &str, head: &str, libtest: &[&str]) -> Gate {
    let out = format!("gate-{base}-{head}");
    let mut command = program::vfio_conform(folder);
    let command = command.args(["gate", "--base", base, "--head", head, "--out", &out, "--"]).args(libtest);
    let output = command.output().expect("the program can be started");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| fs::read_to_string(folder.join(&out).join(name)).unwrap_or_default();
    let report = serde_json::from_str(&read("gate.json")).unwrap_or(Value::Null);
    Gate { code: output.status.code(), text, report, markdown: read("gate.md") }
}

/// A folder with runs of the reset chapter: `good`, and `bad` with a fault.
fn folder() -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    for (device, out) in [("model", "good"), ("model:fault=reset-keeps-session", "bad")] {
        let mut command = program::vfio_conform(folder.path());
        let command = command.args(["run", device, "--out", out, "--", "reset::"]);
        command.output().expect("the program can be started");
    }
    folder
}

/// Copies a run with another journal.
fn with_journal(folder: &Path, from: &str, to: &str, change: impl Fn(&str) -> Vec<String>) {
    let journal = fs::read_to_string(folder.join(from).join("journal.jsonl")).expect("a journal");
    fs::create_dir(folder.join(to)).expect("a new folder");
    let text: String = change(&journal).iter().map(|line| format!("{line}\n")).collect();
    fs::write(folder.join(to).join("journal.jsonl"), text).expect("writable");
}

/// The run as it is if it was killed after so many lines.
fn cut_off(folder: &Path, from: &str, to: &str, lines: usize) {
    with_journal(folder, from, to, |journal| journal.lines().take(lines).map(str::to_owned).collect());
}

/// The run as it is if each of its checks was blocked.
fn blocked(folder: &Path, from: &str, to: &str) {
    with_journal(folder, from, to, |journal| {
        let lines = journal.lines().filter(|line| !line.contains("\"run_finished\""));
        lines.map(block).collect()
    });
}

fn block(line: &str) -> String {
    let mut entry: Value = serde_json::from_str(line).expect("JSON");
    if let Some(outcome) = entry.get_mut("outcome") {
        outcome["verdict"] = "blocked".into();
        outcome["message"] = "the device is busy".into();
        outcome["broken"] = Value::Array(Vec::new());
    }
    entry.to_string()
}

#[test]
fn checks_blocked_on_both_sides_give_no_answer() {
    let folder = folder();
    blocked(folder.path(), "good", "blocked");
    let gate = gate(folder.path(), "blocked", "blocked", &[]);
    assert_eq!(gate.code, Some(125), "{}", gate.text);
    assert!(gate.text.contains("doubt        no check was judged on both sides"), "{}", gate.text);
    assert!(gate.text.contains("the device is busy"), "{}", gate.text);
    assert_eq!(gate.report["extent"]["compared"], 0);
    assert_eq!(gate.report["unchanged"], 0);
    assert!(gate.report["unjudged"][0]["checks"].as_array().is_some_and(|checks| checks.len() > 3));
    assert!(gate.markdown.contains("- Doubt: no check was judged on both sides"), "{}", gate.markdown);
}

#[test]
fn base_that_was_cut_off_does_not_acquit_a_head_with_regressions() {
    let folder = folder();
    let path = folder.path();
    let whole = gate(path, "good", "bad", &[]);
    assert_eq!(whole.code, Some(1), "{}", whole.text);
    for lines in [1, 4, 9] {
        let base = format!("cut{lines}");
        cut_off(path, "good", &base, lines);
        let gate = gate(path, &base, "bad", &[]);
        assert_eq!(gate.code, Some(125), "{}", gate.text);
    }
    let told = gate(path, "cut9", "good", &[]);
    assert_eq!(told.code, Some(125), "{}", told.text);
    assert_eq!(told.report["doubts"][0]["doubt"], "unfinished", "{}", told.text);
    assert_eq!(told.report["doubts"][0]["side"], "base");
    assert!(told.text.contains("doubt        run 1 of the base was cut off"), "{}", told.text);
}

#[test]
fn head_that_was_cut_off_gives_no_answer_and_names_what_it_did_not_judge() {
    let folder = folder();
    cut_off(folder.path(), "good", "cut", 9);
    let gate = gate(folder.path(), "good", "cut", &[]);
    assert_eq!(gate.code, Some(125), "{}", gate.text);
    assert_eq!(gate.report["doubts"][0]["side"], "head");
    let unclear = gate.report["doubts"][1]["checks"].as_array().map_or(0, Vec::len);
    assert!(unclear > 0, "{}", gate.text);
    assert!(gate.text.contains("unclear  reset::"), "{}", gate.text);
}

#[test]
fn options_of_libtest_are_read_before_anything_is_compared() {
    let folder = folder();
    let wrong = gate(folder.path(), "good", "good", &["--bogus"]);
    assert_eq!(wrong.code, Some(2), "{}", wrong.text);
    assert!(wrong.text.contains("unexpected argument '--bogus'"), "{}", wrong.text);
    assert!(!folder.path().join("gate-good-good").exists(), "no folder is made for nothing");
    let one = gate(folder.path(), "good", "good", &["--exact", "reset::from_running"]);
    assert_eq!(one.code, Some(0), "{}", one.text);
    assert_eq!(one.report["extent"]["checks"], 1, "{}", one.text);
    assert!(one.text.contains("1 of 1 compared: 1 unchanged"), "{}", one.text);
}
