//! `run --resume`: what a run that was cut off, or that lost its device, left undone.

mod program;

use std::fs::{self, File};
use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};
use tempfile::TempDir;

use vfio_conform::harness::verdict::{Exit, Verdict};
use vfio_conform::report::{JOURNAL, Run};

/// The checks of the run that is cut off.
const FILTER: &str = "reset::from_";

struct Folder(TempDir);

impl Folder {
    /// A run of some checks on the model, with this kept of its journal's lines.
    fn with_run(change: impl FnOnce(Vec<Value>) -> Vec<Value>) -> Folder {
        let folder = Folder(TempDir::new().expect("a temporary folder"));
        assert_eq!(folder.say(&["run", "model", "--out", "out", "--", FILTER]).status.code(), Some(0));
        let lines = change(folder.lines());
        folder.write(&lines.iter().map(|line| format!("{line}\n")).collect::<String>());
        folder
    }

    fn say(&self, arguments: &[&str]) -> Output {
        program::vfio_conform(self.0.path()).args(arguments).output().expect("the program can be started")
    }

    fn journal(&self) -> std::path::PathBuf {
        self.0.path().join("out").join(JOURNAL)
    }

    fn text(&self) -> String {
        fs::read_to_string(self.journal()).expect("a journal")
    }

    fn write(&self, text: &str) {
        fs::write(self.journal(), text).expect("writable");
    }

    fn lines(&self) -> Vec<Value> {
        self.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Goes on, and says what the run comes to then.
    fn resume(&self, options: &[&str]) -> (Option<i32>, Run) {
        let output = self.say(&[&["run", "--resume", "out"], options].concat());
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let run = Run::read(&self.journal()).unwrap_or_else(|error| panic!("{error}: {said}"));
        assert_eq!(output.status.code(), Some(run.exit as i32), "{said}");
        assert_eq!(run.notes, Vec::<String>::new());
        (output.status.code(), run)
    }

    fn refusal(&self, options: &[&str]) -> String {
        let before = self.text();
        let output = self.say(&[&["run", "--resume", "out"], options].concat());
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(Exit::Usage as i32), "{said}");
        assert_eq!(self.text(), before, "the journal is as it was: {said}");
        said
    }
}

fn started(lines: &[Value], check: usize) -> usize {
    let starts = lines.iter().enumerate().filter(|(_, line)| line["event"] == "check_started");
    starts.map(|(place, _)| place).nth(check).expect("so many checks")
}

fn blocked(run: &Run) -> Vec<&str> {
    run.with_verdict(Verdict::Blocked).map(|check| check.name.as_str()).collect()
}

#[test]
fn what_a_run_that_was_cut_off_left_undone_is_done() {
    let folder = Folder::with_run(|mut lines| {
        lines.truncate(started(&lines, 2) + 1);
        lines
    });
    let victim = folder.lines().last().expect("a line")["check"].as_str().expect("a name").to_owned();
    folder.write(&(folder.text() + "{\"seq\":9,\"t\":0."));

    let (code, run) = folder.resume(&[]);
    assert_eq!(code, Some(Exit::Unfinished as i32));
    assert_eq!(blocked(&run), [victim.as_str()], "what was running does not run again by itself");
    assert_eq!(run.counts().pass, run.checks.len() - 1);
    assert_eq!((run.restarts.len(), run.cut_off), (1, false));

    let before = folder.text();
    assert_eq!(folder.resume(&[]).0, Some(Exit::Unfinished as i32));
    assert_eq!(folder.text(), before, "nothing was left to run");

    let (code, run) = folder.resume(&["--retry"]);
    assert_eq!((code, blocked(&run).len()), (Some(Exit::Conforms as i32), 0));
    let times: Vec<f64> = folder.lines().iter().map(|line| line["t"].as_f64().expect("a time")).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn checks_that_a_lost_device_left_blocked_run_again() {
    let folder = Folder::with_run(|mut lines| {
        let (first, mut at) = (started(&lines, 1), 0);
        for line in &mut lines[first..] {
            if line["event"] == "check_finished" {
                line["outcome"]["verdict"] = json!("blocked");
                line["outcome"]["proven"] = json!([]);
            }
        }
        lines.retain(|line| {
            at += 1;
            at <= first || line["event"] != "check_started"
        });
        let end = lines.last_mut().expect("the end");
        (end["verdict"], end["exit"]) = (json!("incomplete"), json!(3));
        for (number, line) in lines.iter_mut().enumerate() {
            line["seq"] = json!(number);
        }
        lines
    });
    assert_eq!(Run::read(&folder.journal()).expect("a journal").exit, Exit::Unfinished);
    let (code, run) = folder.resume(&[]);
    assert_eq!((code, run.counts().pass), (Some(Exit::Conforms as i32), run.checks.len()));
}

/// Makes it the beginning of a run in a guest.
fn in_a_guest(began: &mut Value) {
    began["lab"] = json!("qemu");
    began["guest"] = json!({
        "target": "mtty", "kernel": "7.3", "core": { "core": false, "core_source": null, "patch": [] }, "via": null,
        "accel": "auto", "deadline": 5.0, "wear": null, "caps": null, "device_memory": "1M", "devices": null,
        "device": null, "extra": [], "append": null
    });
}

#[test]
fn a_run_is_gone_on_with_only_as_it_began() {
    let cut = |change: fn(&mut Value)| {
        Folder::with_run(move |mut lines| {
            lines.truncate(started(&lines, 2));
            change(&mut lines[0]);
            lines
        })
    };
    let same = cut(|_| {});
    let mut text = String::new();
    let mut add = |what: &str, said: String| text += &format!("== {what}\n{said}");
    add("another device", same.refusal(&["model:stop_copy"]));
    add("another option", same.refusal(&["--deadline", "7"]));
    add("a filter", same.refusal(&["--", "fsm::"]));
    let folder = File::open(same.0.path().join("out")).expect("a folder");
    folder.lock().expect("no other process has it");
    add("still going on", same.refusal(&[]));
    drop(folder);
    add(
        "options unknown",
        cut(|began| drop(began.as_object_mut().and_then(|began| began.remove("options")))).refusal(&[]),
    );
    add("another tool", cut(|began| began["tool"] = json!("0.0.1")).refusal(&[]));
    add("in a guest", cut(in_a_guest).refusal(&[]));
    add("in a guest that is not known", cut(|began| began["lab"] = json!("qemu")).refusal(&[]));
    let in_guest = |folder: &Folder, options: &[&str]| {
        let output = folder.say(&[&["qemu", "--resume", "out"], options].concat());
        assert_eq!(output.status.code(), Some(Exit::Usage as i32));
        String::from_utf8(output.stderr).expect("text")
    };
    add("in a guest, with a filter", in_guest(&cut(in_a_guest), &["--", "fsm::"]));
    add("on a host, with qemu", in_guest(&same, &[]));
    add("a walk", cut(|began| began["planned"][4]["name"] = json!("walk::seed_7")).refusal(&[]));
    let nowhere = same.say(&["run", "--resume", "nowhere"]);
    add("no run", String::from_utf8(nowhere.stderr).expect("text"));
    let text = text.replace(env!("CARGO_PKG_VERSION"), "(this version)");
    insta::assert_snapshot!(text);
    assert!(Path::new(&same.journal()).exists());
}

#[test]
fn options_are_taken_over_from_the_run() {
    let folder = Folder(TempDir::new().expect("a temporary folder"));
    let baseline = folder.0.path().join("baseline.toml");
    let expected =
        "[[expected]]\nchecks = [\"fsm::stop_to_stop\"]\nverdict = \"fail\"\nreason = \"x\"\ndriver = \"mtty\"\n";
    fs::write(&baseline, expected).expect("writable");
    let began = ["run", "model", "--out", "out", "--deadline", "7", "--wear", "3", "--may-hang", "--strict"];
    let more = ["--baseline", "baseline.toml", "--", FILTER];
    assert_eq!(folder.say(&[&began[..], &more[..]].concat()).status.code(), Some(0));
    let mut lines = folder.lines();
    let options = lines[0]["options"].clone();
    assert_eq!((&options["deadline"], &options["wear"], &options["may_hang"]), (&json!(7.0), &json!(3), &json!(true)));
    assert_eq!(lines[0]["baseline"], json!([baseline]));
    lines.truncate(started(&lines, 1));
    let cut: String = lines.iter().map(|line| format!("{line}\n")).collect();
    for same in [&[][..], &["--deadline", "7"], &["--wear", "3", "--may-hang"]] {
        folder.write(&cut);
        let (code, run) = folder.resume(same);
        assert_eq!((code, run.began.strict), (Some(0), true), "{same:?}");
        assert_eq!(run.counts().pass, run.checks.len());
    }
    folder.write(&cut);
    assert!(folder.refusal(&["--deadline", "8"]).contains("--deadline"));
    assert!(folder.refusal(&["--via", "cdev"]).contains("--via"));
    fs::remove_file(&baseline).expect("ours");
    assert!(folder.refusal(&[]).contains("baseline.toml"), "the baseline of the run is the baseline of its rest");
}
