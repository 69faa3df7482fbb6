//! What users of the command line see: help, refusals, exit codes, and where the reports go.
//!
//! A refusal is one clear sentence, what to do next, and exit code 2. What a run printed is kept in snapshots where the
//! words matter.

#[path = "command_line/levels.rs"]
mod levels;
mod program;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use assert_cmd::Command as Assert;
use tempfile::TempDir;

use vfio_conform::catalogue;
use vfio_conform::harness::verdict::{Exit, Verdict};
use vfio_conform::report::{HTML, JOURNAL, JSON, JUNIT, MARKDOWN, Run};
use vfio_conform::requirement;
use vfio_conform::suites;

/// What a command came to, as its caller sees it.
struct Said {
    code: i32,
    out: String,
    error: String,
}

impl Said {
    fn by(command: Command) -> Said {
        let output = Assert::from_std(command).output().expect("the program can be started");
        Said {
            code: output.status.code().expect("an exit code"),
            out: String::from_utf8(output.stdout).expect("text"),
            error: String::from_utf8(output.stderr).expect("text"),
        }
    }

    /// Code, output and errors in one text.
    fn whole(&self) -> String {
        format!("exit code {}\n--- out\n{}--- error\n{}", self.code, self.out, self.error)
    }
}

/// Runs the program in a folder.
fn say(folder: &Path, arguments: &[&str]) -> Said {
    let mut command = program::vfio_conform(folder);
    command.args(arguments);
    Said::by(command)
}

/// How many checks have this in their names.
fn checks_of(part: &str) -> usize {
    suites::all().iter().filter(|check| check.name().contains(part)).count()
}

fn folder() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

/// A folder with a run of the reset chapter in `out`, and its journal.
fn folder_with_run() -> (TempDir, Vec<u8>) {
    let folder = folder();
    assert_eq!(say(folder.path(), &["run", "model", "--out", "out", "--", "reset::"]).code, 0);
    let journal = fs::read(folder.path().join("out").join(JOURNAL)).expect("a journal");
    (folder, journal)
}

#[test]
fn help_of_every_command() {
    let folder = folder();
    insta::assert_snapshot!("help", say(folder.path(), &["--help"]).whole());
    insta::assert_snapshot!("help_catalogue_trace", say(folder.path(), &["catalogue", "trace", "--help"]).whole());
    for command in ["doctor", "bind", "unbind", "completions", "man", "catalogue"] {
        insta::assert_snapshot!(format!("help_{command}"), say(folder.path(), &[command, "--help"]).whole());
    }
    for command in
        ["run", "qemu", "walk", "replay", "list", "explain", "fsm", "report", "certify", "verify", "gate", "bisect"]
    {
        insta::assert_snapshot!(format!("help_{command}"), say(folder.path(), &[command, "--help"]).whole());
    }
}

#[test]
fn completions_and_pages_have_what_people_can_type_and_nothing_else() {
    let folder = folder();
    let mut texts = Vec::new();
    for shell in ["bash", "zsh", "fish"] {
        let said = say(folder.path(), &["completions", shell]);
        assert_eq!((said.code, said.error.as_str()), (0, ""));
        texts.push(said.out);
    }
    texts.push(say(folder.path(), &["man"]).out);
    for text in texts {
        assert!(text.contains("doctor") && text.contains("unbind"), "{text}");
        assert!(!text.contains("executor") && !text.contains("pci-target"), "{text}");
    }
    assert_eq!(say(folder.path(), &["man", "pages"]).code, 0);
    let pages: Vec<_> = fs::read_dir(folder.path().join("pages")).expect("a folder").flatten().collect();
    let names: Vec<String> = pages.iter().map(|page| page.file_name().to_string_lossy().into_owned()).collect();
    assert!(names.contains(&"vfio-conform-run.1".to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name.contains("executor")), "{names:?}");
    let run = fs::read_to_string(folder.path().join("pages/vfio-conform-run.1")).expect("a page");
    assert!(run.contains("resume") && run.contains("Examples"), "{run}");
}

#[test]
fn a_host_in_which_nothing_can_be_tested_says_so() {
    let folder = folder();
    fs::create_dir_all(folder.path().join("host/proc/sys/kernel")).expect("writable");
    fs::write(folder.path().join("host/proc/sys/kernel/osrelease"), "6.12.94\n").expect("writable");
    insta::assert_snapshot!(say(folder.path(), &["doctor", "--root", "host"]).whole());
}

#[test]
fn every_exit_code_is_in_the_help() {
    let help = say(folder().path(), &["--help"]).out;
    for exit in [Exit::Conforms, Exit::Findings, Exit::Usage, Exit::Unfinished, Exit::NothingTested] {
        let begins = format!("{:<4}", exit as u8);
        assert!(help.lines().any(|line| line.trim_start().starts_with(&begins)), "{exit:?} is not in\n{help}");
    }
}

#[test]
fn refusals_say_what_is_wrong_and_what_to_do() {
    let (folder, journal) = folder_with_run();
    let path = folder.path();
    write(&path.join("empty"), b"");
    write(&path.join("garbage"), b"no journal\n");
    write(&path.join("doubled"), &[&journal[..], &journal[..]].concat());
    fs::write(path.join("file"), "").expect("writable");
    fs::write(path.join("walk_garbled"), "GET\nSET RUNING\n").expect("writable");
    fs::write(path.join("walk_of_nothing"), "# nothing\n").expect("writable");
    fs::write(path.join("walk_without_device"), "GET\n").expect("writable");
    fs::write(path.join("waivers"), "[[waiver]]\nrequirment = \"fsm.open.running\"\n").expect("writable");
    let refused = [
        &["run", "modle"][..],
        &["run", "0000:ff:1f.7"],
        &["run", "vfio4294967295"],
        &["run", "4294967295"],
        &["run", "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001"],
        &["run", "model:p2p"],
        &["run", "model", "--wrong"],
        &["run", "model", "--deadline", "soon"],
        &["run", "model", "--", "--wrong"],
        &["run", "model", "--out", "out"],
        &["run", "model", "--out", "file"],
        &["run", "model", "--out", "file/below"],
        &["run"],
        &["run", "model", "--retry"],
        &["run", "--resume", "out", "--out", "other"],
        &["doctor", "model"],
        &["doctor", "0000:ff:1f.7"],
        &["bind", "eth0"],
        &["unbind", "0000:ff:1f.7"],
        &["completions", "csh"],
        &["man", "file"],
        &["qemu", "--target", "mtty", "--devices", "2"],
        &["qemu", "--devices", "0"],
        &["fsm", "--caps", "p2p"],
        &["walk", "model", "--for", "soon"],
        &["replay", "nowhere"],
        &["replay", "walk_garbled"],
        &["replay", "walk_of_nothing"],
        &["replay", "walk_without_device"],
        &["list", "--chapter", "sessions"],
        &["list", "nosuchword"],
        &["explain", "session.end.death"],
        &["explain", "blocked_arc"],
        &["explain", "nothing like it"],
        &["report", "nowhere"],
        &["report", "file"],
        &["report", "empty"],
        &["report", "garbage"],
        &["report", "doubled"],
        &["certify", "model"],
        &["certify", "model", "--out", "out"],
        &["certify", "model", "--out", "new", "--repeat", "0"],
        &["certify", "model", "--out", "new", "--walk", "0"],
        &["certify", "model", "--out", "new", "--walk-for", "0s"],
        &["certify", "model", "--out", "new", "--waivers", "nowhere"],
        &["certify", "model", "--out", "new", "--waivers", "waivers"],
        &["qemu", "--certify"],
        &["qemu", "--repeat", "2"],
        &["verify", "nowhere"],
        &["verify", "out"],
        &["verify", "empty"],
        &["verify", "out", "--on", "tomorrow"],
        &["report", "out", "--baseline", "nowhere"],
        &["gate", "--base", "out"],
        &["gate", "--base", "nowhere", "--head", "7.3"],
        &["gate", "--base", "7.3", "--kernel", "7.2", "--head", "out"],
        &["gate", "--base", "7.3", "--patch", "nowhere", "--out", "g1"],
        &["gate", "--base", "7.3", "--patch", "file", "--out", "g2"],
        &["gate", "--base", "out", "--head", "out", "--out", "out"],
        &["gate", "--base", ".@v7.3", "--head", "out", "--out", "g3"],
        &["catalogue", "trace"],
        &["catalogue", "trace", "--header", "nowhere"],
        &["catalogue", "trace", "--header", "walk_garbled"],
        &["bisect"],
        &["bisect", "--kernels", "7.3..7.2"],
        &["bisect", "--kernels", "7.3", "--check", "fsm::nothing"],
        &["bisect", "--tree", "."],
        &["wrong"],
    ];
    let mut text = String::new();
    for arguments in refused {
        let said = say(path, arguments);
        assert_eq!(said.code, 2, "{arguments:?}: {}", said.whole());
        assert_eq!(said.out, "", "{arguments:?}");
        text += &format!("$ vfio-conform {}\n{}\n", arguments.join(" "), without_progress(&said.error));
    }
    insta::assert_snapshot!(text);
}

fn write(folder: &Path, journal: &[u8]) {
    fs::create_dir(folder).and_then(|()| fs::write(folder.join(JOURNAL), journal)).expect("writable");
}

/// What is being done comes with the time that it took, which is never the same.
fn without_progress(error: &str) -> String {
    let lines = error.lines().filter(|line| !line.starts_with('['));
    lines.map(|line| format!("{line}\n")).collect()
}

#[test]
fn finished_runs_are_compared_without_a_guest() {
    let folder = folder();
    let path = folder.path();
    for (device, out) in [("model", "good"), ("model:fault=reset-keeps-session", "bad")] {
        say(path, &["run", device, "--out", out, "--", "reset::from_s"]);
    }
    let worse = say(path, &["gate", "--base", "good", "--head", "bad", "--out", "worse"]);
    insta::assert_snapshot!("gate_worse", without_times(&worse.whole()));
    let better = say(path, &["gate", "--base", "bad", "--head", "good", "--out", "better"]);
    assert_eq!(better.code, 0, "{}", better.whole());
    assert!(better.out.contains("fixed  reset::from_stop_copy"), "{}", better.whole());
    let report = fs::read(path.join("worse/gate.json")).expect("a report");
    let report: serde_json::Value = serde_json::from_slice(&report).expect("JSON");
    assert_eq!(report["outcome"], "regression");
    assert!(fs::read_to_string(path.join("worse/gate.md")).expect("Markdown").contains("| regression | `reset::"));
}

/// How long it took is never the same, nor is the kernel of the machine.
fn without_times(text: &str) -> String {
    let told = text.split_inclusive("outcome").map(|part| match part.split_once("\nbase ") {
        Some((changes, _)) => format!("{changes}\n..."),
        None => part.to_owned(),
    });
    told.collect()
}

#[test]
fn the_catalogue_answers_without_a_device() {
    let folder = folder();
    let mut text = String::new();
    for question in [
        &["list", "--chapter", "reset"][..],
        &["list", "--checks", "reset::from_s"],
        &["explain", "fsm.refuse.blocked_arc"],
        &["explain", "reset.available"],
        &["explain", "fsm::stop_copy_to_pre_copy"],
    ] {
        let said = say(folder.path(), question);
        assert_eq!((said.code, said.error.as_str()), (0, ""), "{question:?}");
        text += &format!("$ vfio-conform {}\n{}\n", question.join(" "), said.out);
    }
    insta::assert_snapshot!(text);
}

/// Not the kernel's words: the part is as short as it can be.
#[test]
fn sentences_of_a_header_that_no_requirement_judges_are_listed() {
    let folder = folder();
    let header = "/*\n * A rule that no kernel has.\n */\n#define VFIO_DEVICE_FEATURE_MIGRATION 1\n";
    fs::write(folder.path().join("vfio.h"), header).expect("writable");
    let said = say(folder.path(), &["catalogue", "trace", "--header", "vfio.h", "--missing"]);
    assert_eq!(said.code, Exit::Findings as i32, "{}", said.whole());
    let begin = "new  line 2 (VFIO_DEVICE_FEATURE_MIGRATION, sentence 1)\n\
                 text         A rule that no kernel has.\n\
                 requirements not judged by any requirement\n";
    assert!(said.out.starts_with(begin), "{}", said.whole());
    assert!(said.out.contains("\nremoved  struct vfio_device_feature_migration, sentence 3\n"), "{}", said.whole());
    assert!(said.out.contains("1 sentence: 0 judged, 0 not judged for a reason, 1 unknown"), "{}", said.whole());

    let json = say(folder.path(), &["catalogue", "trace", "--header", "vfio.h", "--format", "json"]);
    assert_eq!(json.code, Exit::Findings as i32, "{}", json.whole());
    let trace: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!(trace["sentences"][0]["known"], false);
    assert_eq!(trace["unaccounted"][0]["kind"], "new");
    assert_eq!(trace["complete"], false);
}

#[test]
fn a_walk_that_fails_is_shortened_and_can_be_had_again() {
    let folder = folder();
    let walk = |device: &str, out: &str| say(folder.path(), &["walk", device, "--seed", "7", "--out", out]);
    let good = walk("model", "good");
    assert_eq!(good.code, 0, "{}", good.whole());
    assert!(good.error.contains("seed 7") && good.error.contains("20000 steps"), "{}", good.whole());

    let bad = walk("model:fault=reset-keeps-session", "bad");
    assert_eq!(bad.code, Exit::Findings as i32, "{}", bad.whole());
    assert!(bad.out.contains("reset.ends_session") && bad.out.contains("replay bad/walk.txt"), "{}", bad.whole());
    let list = fs::read_to_string(folder.path().join("bad/walk.txt")).expect("the walk was saved");
    let operations: Vec<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(operations.len() <= 4 && operations.contains(&"RESET"), "{list}");

    let again = say(folder.path(), &["replay", "bad/walk.txt", "--out", "again"]);
    assert_eq!(again.code, Exit::Findings as i32, "{}", again.whole());
    assert!(again.out.contains("reset.ends_session"), "{}", again.whole());
    let elsewhere = say(folder.path(), &["replay", "bad/walk.txt", "model", "--out", "elsewhere"]);
    assert_eq!(elsewhere.code, 0, "{}", elsewhere.whole());
}

#[test]
fn a_walk_that_kills_is_shortened_too() {
    let folder = folder();
    for (fault, exit) in [("crash", "SET RESUMING"), ("blocked-arc-hangs", "SET PRE_COPY")] {
        let device = format!("model:fault={fault}");
        let said = say(folder.path(), &["walk", &device, "--seed", "7", "--deadline", "0.12", "--out", fault]);
        assert_eq!(said.code, Exit::Findings as i32, "{}", said.whole());
        let list = fs::read_to_string(folder.path().join(fault).join("walk.txt")).expect("the walk was saved");
        let operations: Vec<&str> = list.lines().filter(|line| !line.starts_with('#')).collect();
        let last = operations.last().expect("an operation");
        assert!(operations.len() <= 2 && last.starts_with(exit), "{list}");
    }
}

#[test]
fn the_list_for_programs_has_everything() {
    let said = say(folder().path(), &["list", "--format", "json"]);
    let listed: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    let names = |list: &str, key: &str| {
        let items = listed[list].as_array().expect("a list").iter();
        items.map(|item| item[key].as_str().expect("a name").to_owned()).collect::<Vec<String>>()
    };
    let ids: Vec<&str> = requirement::all().map(|requirement| requirement.id).collect();
    assert_eq!(names("requirements", "id"), ids);
    let checks: Vec<String> = suites::all().iter().map(|check| check.name().to_owned()).collect();
    assert_eq!(names("checks", "name"), checks);
}

#[test]
fn everything_that_is_listed_is_explained() {
    let ids = requirement::all().map(|requirement| requirement.id.to_owned());
    let checks: Vec<String> = suites::all().iter().map(|check| check.name().to_owned()).collect();
    for name in ids.chain(checks) {
        let text = catalogue::explain(&name, 100).expect("an explanation");
        assert!(text.contains(&name) && text.contains("--exact"), "{text}");
    }
}

#[test]
fn the_list_is_that_of_a_libtest_program() {
    let folder = folder();
    let names: Vec<String> = suites::all().iter().map(|check| format!("{}: test", check.name())).collect();
    for options in [&["--list"][..], &["--list", "--format", "terse"]] {
        let said = say(folder.path(), &[&["run", "model", "--"], options].concat());
        assert_eq!(said.code, 0);
        let listed: Vec<&str> = said.out.lines().filter(|line| line.ends_with(": test")).collect();
        assert_eq!(listed, names, "{options:?}");
    }
    let chapter = say(folder.path(), &["run", "model", "--", "--list", "reset::"]);
    assert!(chapter.out.lines().filter(|line| line.ends_with(": test")).all(|line| line.starts_with("reset::")));
    assert!(fs::read_dir(folder.path()).expect("a folder").next().is_none(), "a list is no run");
}

#[test]
fn filters_choose_what_runs() {
    let runs = |options: &[&str]| {
        let folder = folder();
        let said = say(folder.path(), &[&["run", "model", "--out", "out", "--"], options].concat());
        assert_eq!(said.code, 0, "{}", said.whole());
        read(&folder.path().join("out")).checks.into_iter().map(|check| check.name).collect::<Vec<String>>()
    };
    assert_eq!(runs(&["--exact", "reset::from_stop"]), ["reset::from_stop"]);
    assert_eq!(runs(&["reset::from_stop"]), ["reset::from_stop", "reset::from_stop_copy"]);
    assert_eq!(runs(&["reset::from_stop", "--skip", "copy"]), ["reset::from_stop"]);
    assert!(runs(&["reset::", "--include-ignored"]).len() > 5);
}

#[test]
fn a_filter_without_a_match_tests_nothing_and_says_so() {
    for options in [&["nosuchcheck"][..], &["--ignored"], &["--exact", "reset::"]] {
        let folder = folder();
        let said = say(folder.path(), &[&["run", "model", "--out", "out", "--"], options].concat());
        assert_eq!(said.code, 125, "{}", said.whole());
        let sentence = "none was planned, since the filter matches no check; -- --list shows those that there are";
        let words: Vec<&str> = said.out.split_whitespace().collect();
        assert!(words.join(" ").contains(sentence), "{}", said.whole());
        assert!(said.out.contains("nothing tested"), "{}", said.whole());
        assert_eq!(read(&folder.path().join("out")).exit, Exit::NothingTested);
    }
}

#[test]
fn formats_are_those_of_libtest() {
    let folder = folder();
    let terse = say(folder.path(), &["run", "model", "--out", "terse", "--", "--format", "terse", "reset::from_"]);
    let dots = ".".repeat(checks_of("reset::from_"));
    assert!(terse.out.contains(&format!("\n{dots}\n")), "{}", terse.whole());
    assert!(terse.out.contains("verdict      conforms"), "{}", terse.whole());

    let json = say(folder.path(), &["run", "model", "--out", "json", "--", "--format", "json", "reset::from_"]);
    let events: Vec<serde_json::Value> =
        json.out.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    assert_eq!(
        events.iter().filter(|event| event["event"] == "ok" && event["type"] == "test").count(),
        checks_of("reset::from_")
    );
    assert!(json.error.contains("verdict      conforms"), "people read the other stream: {}", json.whole());
}

#[test]
fn exit_codes_are_those_of_the_table() {
    let code = |device: &str, options: &[&str]| {
        let folder = folder();
        say(folder.path(), &[&["run", device, "--out", "out"], options].concat()).code
    };
    assert_eq!(code("model", &["--", "session::"]), Exit::Conforms as i32);
    assert_eq!(code("model:fault=reset-keeps-error", &["--", "reset::"]), Exit::Findings as i32);
    assert_eq!(code("model:fault=fd-without-cloexec", &["--", "descriptor"]), Exit::Conforms as i32);
    assert_eq!(code("model:fault=fd-without-cloexec", &["--strict", "--", "descriptor"]), Exit::Findings as i32);
    assert_eq!(code("model:fault=crash", &["--", "--exact", "reset::from_resuming"]), Exit::Findings as i32);
    assert_eq!(code("model:stop_copy", &["--", "--exact", "reset::from_pre_copy"]), Exit::NothingTested as i32);
}

#[test]
fn device_that_crashes_or_hangs_at_open_is_a_finding_with_every_report() {
    let folder = folder();
    let walk = "#step\nRESET\n";
    fs::write(folder.path().join("walk.txt"), walk).expect("a list");
    for (out, command) in [
        ("run", &["run"][..]),
        ("walk", &["walk", "--steps", "10"]),
        ("replay", &["replay", "walk.txt"]),
        ("certify", &["certify", "--repeat", "1", "--walk", "10"]),
    ] {
        let said = say(folder.path(), &[command, &["model:fault=open-crashes", "--out", out]].concat());
        assert_eq!(said.code, Exit::Findings as i32, "{}", said.whole());
        let runs = folder.path().join(if out == "certify" { "certify/runs/1" } else { out });
        for report in ["report.html", "summary.md", "junit.xml", "report.json", "journal.jsonl"] {
            assert!(runs.join(report).exists(), "{out} leaves no {report}");
        }
        let junit = fs::read_to_string(runs.join("junit.xml")).expect("a report");
        let crash = "the executor was killed by signal 6 while the device was opened";
        assert!(junit.contains("<testcase name=\"open\"") && junit.contains(crash), "{junit}");
    }
    let again = say(folder.path(), &["report", "run"]);
    assert_eq!(again.code, Exit::Findings as i32, "{}", again.whole());
    let closed = say(folder.path(), &["run", "model:fault=close-crashes", "--out", "closed", "--", "reset::is_"]);
    assert_eq!(closed.code, Exit::Findings as i32, "{}", closed.whole());
    assert!(closed.out.contains("run::close"), "{}", closed.whole());
}

#[test]
fn a_run_that_never_began_can_be_begun_again_in_its_folder() {
    let folder = folder();
    assert_eq!(say(folder.path(), &["run", "0000:ff:1f.7", "--out", "out"]).code, 2);
    assert_eq!(say(folder.path(), &["run", "model", "--out", "out", "--", "reset::"]).code, 0);
    assert_eq!(say(folder.path(), &["run", "model", "--out", "out", "--", "reset::"]).code, 2, "that one is a run");
}

#[test]
fn reports_are_where_the_user_wants_them_or_behind_latest() {
    let folder = folder();
    let out = folder.path().join("reports/out");
    for _ in 0..2 {
        assert_eq!(say(folder.path(), &["run", "model", "--", "reset::"]).code, 0);
        let newest = fs::canonicalize(out.join("latest")).expect("latest points at a run");
        for name in [JOURNAL, JSON, JUNIT] {
            assert!(newest.join(name).is_file(), "{name} in {}", newest.display());
        }
        let others = fs::read_dir(&out).expect("a folder").flatten().map(|entry| entry.path());
        assert!(others.filter(|path| !path.is_symlink()).all(|path| path <= newest), "latest is not the newest");
    }
    let again = say(folder.path(), &["report", "reports/out/latest"]);
    assert_eq!(again.code, 0, "{}", again.whole());
    let latest = fs::canonicalize(out.join("latest")).expect("latest");
    assert_eq!(say(folder.path(), &["run", "model", "--out", "elsewhere", "--", "reset::"]).code, 0);
    assert_eq!(fs::canonicalize(out.join("latest")).expect("latest"), latest, "--out does not move latest");
}

#[test]
fn a_report_is_made_of_what_a_cut_journal_holds() {
    let (folder, journal) = folder_with_run();
    let starts: Vec<usize> = place_of(&journal, b"\"check_started\"");
    let cut = folder.path().join("cut");
    write(&cut, &journal[..starts[5] + 40]);
    let said = say(folder.path(), &["report", "cut"]);
    assert_eq!(said.code, Exit::Unfinished as i32, "{}", said.whole());
    assert!(said.out.contains("cut off"), "{}", said.whole());
    let run = read(&cut);
    let verdicts: Vec<Verdict> = run.checks.iter().map(|check| check.outcome.verdict).collect();
    assert_eq!(verdicts[..5], [Verdict::Pass; 5]);
    assert!(verdicts[5..].iter().all(|verdict| *verdict == Verdict::Blocked), "{verdicts:?}");
    assert!([HTML, MARKDOWN, JUNIT, JSON].iter().all(|name| cut.join(name).is_file()));
    for (format, begin) in [("ktap", "KTAP version 1\n1.."), ("markdown", "## ⚠️ vfio-conform: incomplete, cut off\n")]
    {
        let said = say(folder.path(), &["report", "cut", "--format", format]);
        assert!(said.out.starts_with(begin), "{}", said.whole());
        assert_eq!(said.code, Exit::Unfinished as i32);
    }
}

fn place_of(text: &[u8], what: &[u8]) -> Vec<usize> {
    text.windows(what.len()).enumerate().filter(|(_, window)| *window == what).map(|(place, _)| place).collect()
}

#[test]
fn a_reader_that_goes_away_ends_a_list_and_no_run() {
    let folder = folder();
    let close_at_once = |arguments: &[&str]| {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut command = program::vfio_conform(folder.path());
        let output = command.args(arguments).stdout(writer).stderr(Stdio::piped()).spawn().expect("started");
        let output = output.wait_with_output().expect("a status");
        (output.status.code(), String::from_utf8(output.stderr).expect("text"))
    };
    assert_eq!(close_at_once(&["fsm"]), (None, String::new()));
    assert_eq!(close_at_once(&["run", "model", "--", "--list"]), (None, String::new()));
    let (code, error) = close_at_once(&["run", "model", "--out", "out", "--", "reset::from_"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(error.contains("the checks run on, and out will have the reports"), "{error}");
    let run = read(&folder.path().join("out"));
    assert!(run.checks.len() == checks_of("reset::from_") && !run.cut_off, "{:?}", run.counts());
    assert!(run.checks.iter().all(|check| check.outcome.verdict == Verdict::Pass));
}

fn read(folder: &Path) -> Run {
    Run::read(&folder.join(JOURNAL)).expect("a journal")
}
