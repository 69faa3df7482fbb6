//! What goes wrong while no check runs is a finding of the run, in every report.

use crate::harness::incident::{Phase, Stop};
use crate::harness::journal::Event;
use crate::harness::verdict::{Exit, RunVerdict, Verdict};
use crate::report::fold::{fold, fold_to_go_on};
use crate::report::sample::{began, finish, finished, incident, journal, outcome, ready, start};
use crate::report::{Run, console, html, json, junit, ktap, markdown};

const A: &str = "fsm::a";
const WARNING: &str = "[    3.000001] WARNING: CPU: 0 PID: 1 at probe.c:7";

fn run_of(events: &[Event]) -> Run {
    fold(&journal([&[began(&[A])], events].concat())).unwrap()
}

fn passed() -> [Event; 3] {
    [ready(), start(A), finish(A, outcome(Verdict::Pass, ""))]
}

/// Events of a run whose one check passes, and whose kernel warns in this phase.
fn warned(phase: Phase) -> Vec<Event> {
    let warning = incident(phase, None, Some(WARNING));
    match phase.is_before_checks() {
        true => [vec![warning], passed().to_vec()].concat(),
        false => [passed().to_vec(), vec![warning]].concat(),
    }
}

#[test]
fn kernel_report_outside_checks_makes_the_run_not_conform() {
    for phase in Phase::ALL {
        let run = run_of(&[warned(phase), vec![finished(RunVerdict::DoesNotConform, Exit::Findings)]].concat());
        assert_eq!((run.verdict, run.exit), (RunVerdict::DoesNotConform, Exit::Findings), "{phase}");
        assert_eq!(run.notes, Vec::<String>::new());
        let found = run.checks.last().unwrap();
        assert_eq!((found.name.as_str(), found.outcome.verdict), (phase.test_name(), Verdict::Fail));
        assert_eq!(found.outcome.broken[0].requirement, "health.kernel_log.clean");
        assert_eq!(found.outcome.message, format!("the kernel reports {phase}: {WARNING}"));
    }
}

#[test]
fn run_without_incident_has_no_further_test() {
    let run = run_of(&passed());
    assert_eq!(run.checks.len(), 1);
    assert!(!run.has_incidents());
}

#[test]
fn every_report_shows_it() {
    let run = run_of(&[warned(Phase::Bind), vec![finished(RunVerdict::DoesNotConform, Exit::Findings)]].concat());
    let mut summary = Vec::new();
    console::write(&run, std::path::Path::new("out"), 100, &mut summary).unwrap();
    let texts = [
        ("console", String::from_utf8(summary).unwrap()),
        ("html", html::to_html(&run)),
        ("markdown", markdown::to_markdown(&run)),
        ("junit", String::from_utf8(junit::to_xml(&run).unwrap()).unwrap()),
        ("json", String::from_utf8(json::to_json(&run).unwrap()).unwrap()),
        ("ktap", ktap::to_ktap(&run)),
    ];
    for (format, text) in texts {
        for wanted in ["bind", "probe.c:7", "health.kernel_log.clean", "does not conform"] {
            let is_there = text.contains(wanted) || text.contains(&wanted.replace(' ', "-"));
            assert!(is_there || format == "markdown" && text.contains(r"probe.c"), "{format} lacks {wanted}: {text}");
        }
    }
}

#[test]
fn crash_at_open_is_the_result_of_the_whole_run() {
    let crash = incident(Phase::Open, Some(Stop::Killed { signal: 9 }), Some("[ 4.0] BUG: kernel NULL pointer"));
    let run = run_of(&[crash, finished(RunVerdict::DoesNotConform, Exit::Findings)]);
    assert_eq!((run.verdict, run.exit), (RunVerdict::DoesNotConform, Exit::Findings));
    assert_eq!(run.notes, Vec::<String>::new());
    let [check, opened] = &run.checks[..] else { panic!("{:?}", run.checks) };
    assert_eq!(check.outcome.message, "did not run: the device could not be opened");
    assert_eq!((opened.name.as_str(), opened.outcome.verdict), ("run::open", Verdict::Crash));
    assert!(opened.outcome.message.contains("signal 9 while the device was opened"), "{}", opened.outcome.message);
}

#[test]
fn crash_at_a_second_open_decides_and_a_later_open_takes_it_back() {
    let lost = || Event::LabRestarted { reason: "the guest died".to_owned() };
    let crash = || incident(Phase::Open, Some(Stop::Panic), None);
    let shut = run_of(&[ready(), start(A), lost(), crash()]);
    assert_eq!((shut.verdict, shut.exit), (RunVerdict::DoesNotConform, Exit::Findings));
    let reopened = run_of(&[ready(), start(A), lost(), crash(), ready()]);
    assert_eq!((reopened.verdict, reopened.exit), (RunVerdict::DoesNotConform, Exit::Unfinished));
}

#[test]
fn incidents_of_a_phase_are_one_finding_and_the_worst_is_shown() {
    let first = incident(Phase::Open, None, Some(WARNING));
    let second = incident(Phase::Open, Some(Stop::Late { seconds: 60.0, stuck: true }), None);
    let run = run_of(&[&[first, second], &passed()[..]].concat());
    let found = run.checks.last().unwrap();
    assert_eq!(found.outcome.verdict, Verdict::Hang);
    assert_eq!(found.outcome.broken.len(), 1);
    assert_eq!(found.outcome.evidence.notes, ["1 other incident of this kind in this run"]);
}

#[test]
fn incident_is_run_again_by_any_check_and_between_checks_by_all() {
    let run = run_of(&passed());
    let again = "./ci/emulated --target mtty --kernel 7.3";
    assert_eq!(run.reproduce("run::open"), format!("{again} -- --exact {A}"));
    assert_eq!(run.reproduce("run::between_checks"), again);
}

#[test]
fn incident_is_nothing_that_a_resume_would_run() {
    let events = [&[began(&[A])], &warned(Phase::Close)[..]].concat();
    let (run, left) = fold_to_go_on(&journal(events)).unwrap();
    assert!(run.has_incidents());
    assert!(left.waiting.is_empty() && left.interrupted.is_empty());
}
