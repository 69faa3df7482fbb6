//! Two programs and one folder: one of them has it, the others are refused, and the reports are those of the one.

mod program;

use std::fs;
use std::path::Path;
use std::process::{Child, Output, Stdio};

use tempfile::TempDir;

use vfio_conform::harness::verdict::{Exit, RunVerdict};
use vfio_conform::report::{HTML, JOURNAL, JSON, JUNIT, MARKDOWN, Run};

/// How many runs start at the same moment.
const AT_ONCE: usize = 40;
/// How often they do.
const ROUNDS: usize = 3;
/// A device that conforms and one that does not, so that a mixture shows.
const DEVICES: [&str; 2] = ["model:fault=reset-keeps-error", "model"];

fn start(folder: &Path, arguments: &[&str]) -> Child {
    let mut command = program::vfio_conform(folder);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("started")
}

fn code(output: &Output) -> i32 {
    output.status.code().expect("an exit code")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Starts many runs on `out` at once, and checks that one of them has it.
fn one_of_many_wins(folder: &Path) {
    let starts: Vec<(usize, Child)> = (0..AT_ONCE)
        .map(|number| (number % 2, start(folder, &["run", DEVICES[number % 2], "--out", "out", "--", "reset::from_"])))
        .collect();
    let ends = starts.into_iter().map(|(device, child)| (device, child.wait_with_output().expect("an end")));
    let (refused, winners): (Vec<_>, Vec<_>) = ends.partition(|(_, output)| code(output) == Exit::Usage as i32);
    assert_eq!(winners.len(), 1, "{:?}", winners.iter().map(|(_, output)| code(output)).collect::<Vec<_>>());
    for (_, output) in &refused {
        let said = said(output);
        assert!(said.contains("another run") && said.contains("choose another folder with --out"), "{said}");
    }
    let (device, winner) = &winners[0];
    let run = Run::read(&folder.join("out").join(JOURNAL)).expect("a journal");
    assert_eq!(run.began.device.contains("fault"), *device == 0, "{}", run.began.device);
    let expected = [(RunVerdict::DoesNotConform, Exit::Findings), (RunVerdict::Conforms, Exit::Conforms)];
    assert_eq!((run.verdict, run.exit), expected[*device]);
    assert_eq!((code(winner), run.notes.as_slice(), run.cut_off), (run.exit as i32, &[][..], false));
    let json = fs::read_to_string(folder.join("out").join(JSON)).expect("a report");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["exit"], run.exit as u8);
    assert_eq!(json["started"], run.began.started.as_str());
    assert_eq!(names(&folder.join("out")), ["console.log", JOURNAL, JUNIT, HTML, JSON, MARKDOWN]);
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).expect("a folder").flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn of_many_runs_that_start_at_once_on_one_folder_one_has_it() {
    for round in 0..ROUNDS {
        let folder = TempDir::new().expect("a temporary folder");
        if round > 0 {
            // What such a run leaves may be removed, by one of those that come.
            let never_began = start(folder.path(), &["run", "0000:ff:1f.7", "--out", "out"]);
            assert_eq!(code(&never_began.wait_with_output().expect("an end")), Exit::Usage as i32);
        }
        one_of_many_wins(folder.path());
    }
}

#[test]
fn folder_that_is_in_use_is_refused_by_every_command() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path();
    assert_eq!(
        code(&start(path, &["run", "model", "--out", "out", "--", "reset::"]).wait_with_output().expect("an end")),
        0
    );
    fs::write(path.join("list"), "GET\n").expect("writable");
    fs::create_dir(path.join("empty")).expect("writable");
    let before = fs::read(path.join("out").join(JSON)).expect("a report");
    let locks = ["out", "empty"].map(|name| fs::File::open(path.join(name)).expect("a folder"));
    for lock in &locks {
        lock.lock().expect("no other process has it");
    }
    let mut text = String::new();
    for arguments in [
        &["run", "model", "--out", "empty"][..],
        &["run", "--resume", "out"],
        &["report", "out"],
        &["walk", "model", "--out", "empty"],
        &["replay", "list", "model", "--out", "empty"],
        &["qemu", "--out", "empty"],
        &["certify", "model", "--out", "empty"],
        &["gate", "--base", "7.3", "--head", "7.2", "--out", "empty"],
        &["faults", "run", "--only", "model.crash", "--out", "empty"],
    ] {
        let output = start(path, arguments).wait_with_output().expect("an end");
        assert_eq!(code(&output), Exit::Usage as i32, "{arguments:?}: {}", said(&output));
        text += &format!("$ vfio-conform {}\n{}\n", arguments.join(" "), said(&output));
    }
    insta::assert_snapshot!(text);
    assert_eq!(fs::read(path.join("out").join(JSON)).expect("a report"), before);
    assert_eq!(names(&path.join("empty")), [""; 0]);
    let compared = start(path, &["gate", "--base", "out", "--head", "out", "--out", "gate"]);
    let compared = compared.wait_with_output().expect("an end");
    assert_eq!(code(&compared), Exit::NothingTested as i32, "{}", said(&compared));
    assert!(String::from_utf8_lossy(&compared.stdout).contains("still going on"));
    drop(locks);
    assert_eq!(code(&start(path, &["report", "out"]).wait_with_output().expect("an end")), 0);
}

#[test]
fn temporary_files_of_a_killed_process_go_away() {
    let folder = TempDir::new().expect("a temporary folder");
    let run = || start(folder.path(), &["run", "model", "--out", "out", "--", "reset::"]);
    assert_eq!(code(&run().wait_with_output().expect("an end")), 0);
    let left = folder.path().join("out/.vfio-conform-report.json-Ab3dE6.new");
    for arguments in [&["report", "out"][..], &["run", "--resume", "out"]] {
        fs::write(&left, "half").expect("writable");
        assert_eq!(code(&start(folder.path(), arguments).wait_with_output().expect("an end")), 0);
        assert!(!left.exists(), "{arguments:?}");
    }
}
