use std::fs;
use std::path::{Path, PathBuf};

use anstream::adapter::strip_str;

use super::{Baseline, BaselineOptions};
use crate::harness::check::Obstacle;
use crate::harness::journal::{Event, LabReady};
use crate::harness::outcome::{Broken, Outcome};
use crate::harness::verdict::{Exit, RunVerdict, Verdict};
use crate::report::sample::{self, finish, journal, outcome, start};
use crate::report::{JSON, JUNIT, Run, console, write_all};
use crate::requirement::{Level, fsm};

const REOPENED: &str = "fsm::reopened_in_stop";
const AVAILABLE: &str = "reset::is_available";

const MTTY: &str = r#"
[[expected]]
driver = "mtty"
kernel = "7.2.."
checks = ["fsm::reopened_in_stop"]
verdict = "fail"
breaks = ["fsm.open.running"]
reason = "it opens in the state that it was closed in"
fixed = "abc123 (\"mtty: mend it\")"
"#;

fn broken(requirement: &str) -> Outcome {
    let broken = Broken {
        requirement: requirement.to_owned(),
        level: Level::Must,
        statement: "It is so.".to_owned(),
        asked: "whether it is so".to_owned(),
        expected: "yes".to_owned(),
        actual: "no".to_owned(),
    };
    Outcome { broken: vec![broken], ..outcome(Verdict::Fail, "it is not so") }
}

/// A run of mtty on 7.3.4 in which these two checks came to this, judged with a baseline.
fn judged(baseline: &str, reopened: Outcome, available: Outcome) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let events = vec![
        sample::began(&[REOPENED, AVAILABLE]),
        sample::ready(),
        start(REOPENED),
        finish(REOPENED, reopened),
        start(AVAILABLE),
        finish(AVAILABLE, available),
    ];
    fs::write(folder.path().join("journal.jsonl"), journal(events)).unwrap();
    let run = write_all(folder.path(), Some(&read(folder.path(), baseline))).unwrap();
    assert!(folder.path().join(JSON).exists() && folder.path().join(JUNIT).exists());
    run
}

/// A baseline of this text, in a file of this folder.
fn read(folder: &Path, text: &str) -> Baseline {
    let path = folder.join("mtty.toml");
    fs::write(&path, text).unwrap();
    Baseline::read(&[path]).unwrap()
}

fn pass() -> Outcome {
    outcome(Verdict::Pass, "")
}

#[test]
fn what_is_known_of_a_kernel_is_told_from_what_else_is_found_there() {
    let folder = tempfile::tempdir().unwrap();
    let baseline = read(folder.path(), MTTY);
    let Event::LabReady(mtty) = sample::ready() else { panic!("a lab") };
    assert!(baseline.explains(&mtty, REOPENED, &broken("fsm.open.running")));
    assert!(!baseline.explains(&mtty, REOPENED, &broken("reset.available")));
    assert!(!baseline.explains(&mtty, REOPENED, &pass()));
    assert!(!baseline.explains(&mtty, AVAILABLE, &broken("fsm.open.running")));
    let older = LabReady { kernel: "7.1.0".to_owned(), ..*mtty };
    assert!(!baseline.explains(&older, REOPENED, &broken("fsm.open.running")));
}

#[test]
fn an_expected_finding_does_not_count() {
    let run = judged(MTTY, broken("fsm.open.running"), pass());
    assert_eq!((run.verdict, run.exit), (RunVerdict::Conforms, Exit::Conforms));
    let mut out = Vec::new();
    console::write(&run, Path::new("out"), 100, &mut out).unwrap();
    insta::assert_snapshot!(strip_str(&String::from_utf8(out).unwrap()).to_string());
}

#[test]
fn another_finding_counts_as_before() {
    for (reopened, available) in [
        (broken("fsm.open.running"), broken("reset.available")),
        // The same check, for a reason that nobody expects, or in a worse way.
        (broken("fsm.refuse.keeps_state"), pass()),
        (outcome(Verdict::Hang, "it never came back"), pass()),
    ] {
        assert_eq!(judged(MTTY, reopened, available).verdict, RunVerdict::DoesNotConform);
    }
}

#[test]
fn what_is_about_another_driver_or_kernel_is_not_meant() {
    for baseline in [MTTY.replace("\"mtty\"", "\"mlx5\""), MTTY.replace("7.2..", "..7.2")] {
        let run = judged(&baseline, broken("fsm.open.running"), pass());
        assert_eq!(run.exit, Exit::Findings, "{baseline}");
        // And so it is not missed either.
        assert_eq!(judged(&baseline, pass(), pass()).baseline.unwrap().gone, []);
    }
}

#[test]
fn an_expected_finding_that_goes_away_is_told() {
    let run = judged(MTTY, pass(), pass());
    assert_eq!((run.verdict, run.exit), (RunVerdict::Conforms, Exit::Conforms));
    let mut out = Vec::new();
    console::write(&run, Path::new("out"), 200, &mut out).unwrap();
    let said = strip_str(&String::from_utf8(out).unwrap()).to_string();
    assert!(said.contains("fsm::reopened_in_stop was expected to fail and came to pass"), "{said}");
    let gone = run.baseline.unwrap().gone;
    assert_eq!(gone.iter().map(|gone| gone.check.as_str()).collect::<Vec<_>>(), [REOPENED]);

    let sometimes = format!("{MTTY}sometimes = true\n");
    assert_eq!(judged(&sometimes, pass(), pass()).baseline.unwrap().gone, []);
}

#[test]
fn with_strict_a_baseline_that_rots_is_a_failure() {
    let mut events = vec![sample::began(&[REOPENED]), sample::ready(), start(REOPENED), finish(REOPENED, pass())];
    if let Event::RunStarted(began) = &mut events[0] {
        began.strict = true;
    }
    let folder = sample::folder(&journal(events));
    let run = write_all(folder.path(), Some(&read(folder.path(), MTTY))).unwrap();
    assert_eq!(run.exit, Exit::Findings);
}

#[test]
fn an_expected_block_does_not_leave_the_run_unfinished() {
    let blocked = || outcome(Verdict::Blocked, "there is no poll");
    let baseline = MTTY.replace("\"fail\"", "\"blocked\"").replace("breaks = [\"fsm.open.running\"]\n", "");
    assert_eq!(judged(&baseline, blocked(), pass()).exit, Exit::Conforms);
    assert_eq!(judged(&baseline, blocked(), blocked()).exit, Exit::Unfinished);
    // Nor does it count as one that was executed.
    let both = baseline.replace("[\"fsm::reopened_in_stop\"]", "[\"fsm::reopened_in_stop\", \"reset::is_available\"]");
    assert_eq!(judged(&both, blocked(), blocked()).exit, Exit::NothingTested);
}

#[test]
fn check_blocked_by_an_expected_requirement_is_expected() {
    let blocked_by = |requirement| Outcome::blocked(Obstacle::Requirement(requirement), "nothing can wait");
    // What was broken as expected counts as executed, and so the run conforms.
    let run = judged(MTTY, broken("fsm.open.running"), blocked_by(&fsm::OPENS_RUNNING));
    assert_eq!((run.verdict, run.exit), (RunVerdict::Conforms, Exit::Conforms));
    let other = judged(MTTY, broken("fsm.open.running"), blocked_by(&fsm::ARC));
    assert_eq!(other.exit, Exit::Unfinished);
    // The entry's own check has shown that the requirement is kept.
    assert_eq!(judged(MTTY, pass(), blocked_by(&fsm::OPENS_RUNNING)).exit, Exit::Unfinished);
}

#[test]
fn the_option_reads_what_it_names_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mtty.toml");
    fs::write(&path, MTTY).unwrap();
    let read = |baseline: Vec<PathBuf>| BaselineOptions { baseline }.read();
    assert_eq!(read(Vec::new()), Ok(None));
    assert_eq!(read(vec![path.clone()]), Baseline::read(&[path]).map(Some));
    assert!(read(vec![folder.path().join("nowhere")]).is_err());
}

#[test]
fn what_is_wrong_in_a_baseline_is_told_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("b.toml");
    let mut said = String::new();
    for (from, to) in [
        ("reason", "reasons"),
        ("reopened_in_stop", "reopend_in_stop"),
        ("fsm.open.running", "fsm.open.runing"),
        ("7.2..", "7.2...7.3"),
        ("\"fail\"", "\"pass\""),
        ("\"fail\"", "\"failed\""),
        ("it opens in the state that it was closed in", " "),
        ("[\"fsm::reopened_in_stop\"]", "[]"),
    ] {
        fs::write(&path, MTTY.replacen(from, to, 1)).unwrap();
        let error = Baseline::read(std::slice::from_ref(&path)).unwrap_err().to_string();
        said += &error.replace(&*folder.path().to_string_lossy(), "");
        said += "\n\n";
    }
    insta::assert_snapshot!(said);
    assert!(Baseline::read(&[folder.path().join("nowhere")]).unwrap_err().to_string().contains("reports/baselines"));
}

#[test]
fn the_baselines_of_the_project_are_understood() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/baselines");
    assert!(!Baseline::read(&[folder]).unwrap().entries.is_empty());
}
