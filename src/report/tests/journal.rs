use crate::device::Identity;
use crate::harness::journal::{Event, LabReady, Stage};
use crate::harness::outcome::Outcome;
use crate::harness::verdict::{Exit, Extent, RunVerdict, Verdict, judge_run};
use crate::report::fold::fold;
use crate::report::sample::{self, finish, finished, journal, outcome, ready, start};
use crate::report::{JournalFault, Remaining, Restart, Run};
use crate::uapi::stop::StopSignal;

const A: &str = "fsm::a";
const B: &str = "fsm::b";

fn pass() -> Outcome {
    outcome(Verdict::Pass, "")
}

/// A run of two checks, with these events after its beginning.
fn run_of(events: Vec<Event>) -> Result<Run, JournalFault> {
    let began = vec![sample::began(&[A, B])];
    fold(&journal([began, events].concat()))
}

fn verdicts(run: &Run) -> Vec<(Verdict, &str)> {
    run.checks.iter().map(|check| (check.outcome.verdict, check.outcome.message.as_str())).collect()
}

#[test]
fn a_whole_run_is_read_as_it_was() {
    let run = fold(&journal(sample::mtty())).unwrap();
    assert_eq!((run.verdict, run.exit), (RunVerdict::DoesNotConform, Exit::Unfinished));
    assert!(!run.cut_off);
    assert_eq!(run.notes, Vec::<String>::new());
    let counts = run.counts();
    assert_eq!((counts.crash, counts.hang, counts.fail, counts.warn), (1, 1, 3, 1));
    assert_eq!((counts.blocked, counts.skip, counts.pass), (1, 2, 2));
    assert_eq!(run.chapters(), ["discover", "fsm", "session", "precopy", "dma_logging", "reset"]);
    assert_eq!(run.reproduce(A), "./ci/emulated --target mtty --kernel 7.3 -- --exact fsm::a");
}

#[test]
fn the_timeline_spans_restarts() {
    let run = fold(&journal(sample::mtty())).unwrap();
    let timeline = &run.timeline;
    assert_eq!((timeline.environment_ready, timeline.power_on), (Some(0.25), Some(0.5)));
    assert_eq!((timeline.guest_up, timeline.device_ready), (Some(0.75), Some(1.25)));
    assert_eq!((timeline.checks_done, timeline.power_off), (Some(8.0), Some(8.25)));
    assert_eq!((timeline.verdict, timeline.power_on_to_verdict), (Some(8.5), Some(8.0)));
    let restart = Restart { at: 3.0, ready: Some(3.75), reason: "the device hangs in the kernel".to_owned() };
    assert_eq!(run.restarts, [restart]);
}

/// A run in which much happens in few bytes, since the next test's time grows with their square.
fn eventful() -> Vec<Event> {
    let lost = || Event::LabRestarted { reason: "the guest died".to_owned() };
    vec![
        sample::began(&EVENTFUL),
        Event::Stage { stage: Stage::PowerOn },
        ready(),
        start(EVENTFUL[0]),
        finish(EVENTFUL[0], pass()),
        start(EVENTFUL[1]),
        finish(EVENTFUL[1], sample::hung()),
        lost(),
        start(EVENTFUL[2]),
        lost(),
        finish(EVENTFUL[3], outcome(Verdict::Skip, "needs a second device")),
        start(EVENTFUL[4]),
        finish(EVENTFUL[4], outcome(Verdict::Warn, "größer als erwartet")),
        Event::Stage { stage: Stage::ChecksDone },
        finished(RunVerdict::DoesNotConform, Exit::Unfinished),
    ]
}

const EVENTFUL: [&str; 5] = ["fsm::pass", "fsm::hang", "fsm::lost", "fsm::skip", "fsm::warn"];

/// Nothing that a journal lost may show up in its report, and nothing that it kept may be missing.
#[test]
fn a_journal_cut_at_any_byte_is_told_truthfully() {
    let events = eventful();
    let bytes = journal(events.clone());
    for cut in 0..=bytes.len() {
        let whole_lines = bytes[..cut].iter().filter(|byte| **byte == b'\n').count();
        let result = fold(&bytes[..cut]);
        if whole_lines == 0 {
            assert!(matches!(result, Err(JournalFault::Empty)), "cut at {cut}");
            continue;
        }
        let run = result.unwrap_or_else(|fault| panic!("cut at {cut}: {fault}"));
        let partial = bytes[cut - 1] != b'\n';
        assert_eq!(run.notes.len(), usize::from(partial), "cut at {cut}");
        assert_eq!(run.cut_off, whole_lines < events.len(), "cut at {cut}");
        tells_the_truth(&run, &events[..whole_lines]);
    }
}

/// A run conforms only once the result of its last check is there in full.
#[test]
fn a_run_that_would_have_conformed_does_so_only_when_all_is_there() {
    let events = vec![
        sample::began(&[A, B]),
        ready(),
        start(A),
        finish(A, pass()),
        start(B),
        finish(B, pass()),
        finished(RunVerdict::Conforms, Exit::Conforms),
    ];
    let complete = journal(events[..6].to_vec()).len();
    let bytes = journal(events);
    for cut in 0..=bytes.len() {
        let conforms = fold(&bytes[..cut]).is_ok_and(|run| run.exit == Exit::Conforms);
        assert_eq!(conforms, cut >= complete, "cut at {cut}");
    }
}

/// The run says of its checks what these events say, and no more.
fn tells_the_truth(run: &Run, events: &[Event]) {
    let names: Vec<&str> = run.checks.iter().map(|check| check.name.as_str()).collect();
    assert_eq!(names, EVENTFUL);
    let mut extent = Extent::Whole;
    for check in &run.checks {
        let told = events.iter().find_map(|event| match event {
            Event::CheckFinished { check: name, outcome } if *name == check.name => Some(outcome),
            _ => None,
        });
        match told {
            Some(outcome) => assert_eq!(check.outcome, **outcome),
            None => {
                extent = Extent::Part;
                assert_eq!(check.outcome.verdict, Verdict::Blocked);
            }
        }
    }
    let verdicts: Vec<Verdict> = run.checks.iter().map(|check| check.outcome.verdict).collect();
    assert_eq!(run.verdict, judge_run(&verdicts, false));
    assert_eq!(run.exit, Exit::of_run(&verdicts, extent, false));
    assert_ne!(run.exit, Exit::Conforms);
}

#[test]
fn what_did_not_finish_is_blocked_with_its_reason() {
    let cut_early = run_of(vec![]).unwrap();
    let early = (Verdict::Blocked, "did not run: the run was cut off before the lab was ready");
    assert_eq!(verdicts(&cut_early), [early, early]);
    assert_eq!((cut_early.verdict, cut_early.exit), (RunVerdict::Incomplete, Exit::Unfinished));

    let cut_later = run_of(vec![ready(), start(A)]).unwrap();
    assert_eq!(
        verdicts(&cut_later),
        [
            (Verdict::Blocked, "was running when the run was cut off"),
            (Verdict::Blocked, "did not run: the run was cut off before its turn"),
        ]
    );

    let lost = Event::LabRestarted { reason: "QEMU died".to_owned() };
    let end = finished(RunVerdict::Incomplete, Exit::Unfinished);
    let run = run_of(vec![ready(), start(A), lost, end]).unwrap();
    assert_eq!(
        verdicts(&run),
        [
            (Verdict::Blocked, "was running when the lab was lost: QEMU died"),
            (Verdict::Blocked, "did not run: the run ended without it"),
        ]
    );
}

#[test]
fn a_check_without_a_result_is_blocked_though_the_run_came_to_its_end() {
    let run = run_of(vec![ready(), start(A), finished(RunVerdict::Incomplete, Exit::Unfinished)]).unwrap();
    let message = "started, but the run ended without its result";
    assert_eq!(verdicts(&run)[0], (Verdict::Blocked, message));
}

#[test]
fn a_run_that_was_cut_off_at_once_says_when() {
    let bytes = String::from_utf8(journal(vec![sample::began(&[A])])).unwrap();
    let run = fold(bytes.replace("\"t\":0.0", "\"t\":0.5").as_bytes()).unwrap();
    assert_eq!(run.timeline.last_event, 0.5);
}

#[test]
fn a_check_that_was_lost_with_the_lab_may_run_again() {
    let lost = || Event::LabRestarted { reason: "QEMU died".to_owned() };
    let run = run_of(vec![ready(), start(A), lost(), ready(), start(A), finish(A, pass())]).unwrap();
    assert_eq!(run.checks[0].outcome, pass());

    // It may be told what became of it without that, but it cannot have passed.
    let run = run_of(vec![ready(), start(A), lost(), finish(A, sample::hung())]).unwrap();
    assert_eq!(run.checks[0].outcome, sample::hung());
    let passed = run_of(vec![ready(), start(A), lost(), finish(A, pass())]);
    assert!(matches!(passed, Err(JournalFault::Contradictory { .. })));
}

#[test]
fn a_lab_that_is_another_after_a_restart_is_told() {
    let Event::LabReady(first) = ready() else { unreachable!("what is ready is the lab") };
    let notes = |again: LabReady| {
        let lost = Event::LabRestarted { reason: "QEMU died".to_owned() };
        run_of(vec![ready(), lost, Event::LabReady(Box::new(again))]).unwrap().notes
    };
    assert_eq!(notes(LabReady { taint: 0x1200, ..(*first).clone() }), [""; 0], "that is no other lab");
    let others = [
        LabReady { kernel: "7.3.5".to_owned(), ..(*first).clone() },
        LabReady { identity: Identity { driver: "mlx5".to_owned(), ..first.identity.clone() }, ..(*first).clone() },
        LabReady { beside: vec![first.identity.clone()], ..(*first).clone() },
        LabReady { capabilities: None, ..(*first).clone() },
    ];
    for other in others {
        let notes = notes(other);
        assert!(notes.len() == 1 && notes[0].starts_with("after a restart the lab was not the same"), "{notes:?}");
    }
}

#[test]
fn a_run_that_is_resumed_takes_back_its_end_and_no_verdict() {
    let resumed =
        || Event::RunResumed { tool: "0.0.1".to_owned(), resumed: "2026-11-23T06:00:00Z".to_owned(), clock: None };
    let lost = || finish(B, outcome(Verdict::Blocked, "the device is lost"));
    let end = || finished(RunVerdict::Incomplete, Exit::Unfinished);
    let before = || vec![ready(), start(A), finish(A, sample::hung()), lost(), end(), resumed()];
    let run = run_of(before()).unwrap();
    assert!(run.cut_off);
    assert_eq!(run.checks[0].outcome.verdict, Verdict::Hang);
    assert_eq!(verdicts(&run)[1], (Verdict::Blocked, "did not run: the run was cut off before its turn"));

    let end = finished(RunVerdict::DoesNotConform, Exit::Findings);
    let run = run_of([before(), vec![ready(), start(B), finish(B, pass()), end]].concat()).unwrap();
    assert_eq!((run.exit, run.notes.len(), run.checks[1].outcome.verdict), (Exit::Findings, 0, Verdict::Pass));

    let again = run_of([before(), vec![start(A)]].concat());
    assert!(matches!(again, Err(JournalFault::Contradictory { .. })), "a verdict stays");
    let unstarted = run_of(vec![ready(), start(A), resumed(), finish(A, pass())]);
    assert!(matches!(unstarted, Err(JournalFault::Contradictory { .. })), "a check does not end that did not go on");
    let run = run_of(vec![ready(), start(A), resumed()]).unwrap();
    let message = "was running when the run was cut off; --resume with --retry runs it again";
    assert_eq!(verdicts(&run)[0], (Verdict::Blocked, message));
}

#[test]
fn the_checks_have_the_last_word_on_the_verdict() {
    let end = finished(RunVerdict::Conforms, Exit::Conforms);
    let run = run_of(vec![start(A), finish(A, pass()), end]).unwrap();
    assert_eq!((run.verdict, run.exit), (RunVerdict::Incomplete, Exit::Unfinished));
    assert_eq!(
        run.notes,
        ["the journal ends with \"conforms\" (exit code 0), but its checks come to \"incomplete\" (exit code 3)"]
    );
}

#[test]
fn a_tail_of_zeros_is_a_tail() {
    let mut bytes = journal(vec![sample::began(&[A, B]), ready()]);
    bytes.extend([0; 100]);
    let run = fold(&bytes).unwrap();
    assert_eq!(run.notes, ["the last line of the journal was cut off after 100 bytes and is left out"]);
}

/// All that a journal can be refused for, as people read it.
#[test]
fn refusals_say_what_is_wrong_and_what_to_do() {
    let began = || sample::began(&[A, B]);
    let lines = |events: Vec<Event>| String::from_utf8(journal(events)).unwrap();
    let with = |events: Vec<Event>| lines([vec![began()], events].concat());
    let stage = Event::Stage { stage: Stage::PowerOn };
    let without_line = |text: &str, number: usize| {
        let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
        lines.remove(number);
        lines.concat()
    };
    let start_of = lines(vec![began()]);
    let end = finished(RunVerdict::Conforms, Exit::Conforms);
    let impossible = Outcome { verdict: Verdict::Pass, ..sample::failed("read") };

    let cases = [
        ("empty", String::new()),
        ("half a line", start_of[..40].to_owned()),
        ("newer form", start_of.replace("\"format\":1", "\"format\":2,\"new\":[]")),
        ("no beginning", lines(vec![stage.clone()])),
        ("no date", start_of.replace("2026-11-23T05:24:00Z", "yesterday")),
        ("planned twice", lines(vec![sample::began(&[A, A])])),
        ("begun twice", with(vec![began()])),
        ("not JSON", start_of.clone() + "Segmentation fault\n"),
        ("empty line", start_of.clone() + "\n"),
        ("unknown event", with(vec![stage.clone()]).replace("\"stage\"", "\"party\"")),
        ("line missing", without_line(&with(vec![ready(), start(A)]), 1)),
        ("line repeated", start_of.clone() + &start_of),
        ("unplanned", with(vec![start("fsm::c")])),
        ("started twice", with(vec![start(A), start(A)])),
        ("run twice", with(vec![start(A), finish(A, pass()), start(A)])),
        ("finished twice", with(vec![start(A), finish(A, pass()), finish(A, pass())])),
        ("not started", with(vec![finish(A, pass())])),
        ("pass and broken", with(vec![start(A), finish(A, impossible)])),
        ("after the end", with(vec![end, stage])),
    ];
    let refusals: Vec<String> = cases
        .into_iter()
        .map(|(name, text)| match fold(text.as_bytes()) {
            Ok(_) => format!("{name}: not refused"),
            Err(fault) => format!("{name}: {fault}"),
        })
        .collect();
    let refusals = refusals.join("\n");
    insta::assert_snapshot!(refusals.replace(env!("CARGO_PKG_VERSION"), "(this version)"));
}

#[test]
fn a_journal_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = Run::read(&folder.path().join("journal.jsonl")).unwrap_err();
    assert!(missing.to_string().starts_with("failed to read the journal /"));
    assert!(
        missing
            .to_string()
            .ends_with("journal.jsonl: there is no such file; name the folder of a run, which holds its journal.jsonl")
    );
    let unreadable = Run::read(folder.path()).unwrap_err();
    assert!(unreadable.to_string().contains("Is a directory"));
}

#[test]
fn check_that_was_running_at_a_stop_is_left_and_starts_again() {
    let stopped = Event::RunFinished {
        verdict: RunVerdict::Incomplete,
        exit: Exit::Unfinished,
        left: 2,
        stopped_by: Some(StopSignal::Interrupt),
    };
    let mut events = vec![sample::began(&[A, B, "fsm::c"]), ready(), start(A), finish(A, pass()), start(B), stopped];
    let run = fold(&journal(events.clone())).unwrap();
    assert_eq!((run.cut_off, run.notes.len(), run.exit), (false, 0, Exit::Unfinished));
    assert_eq!(run.left, Remaining { waiting: 2, interrupted: 0 });
    let messages: Vec<&str> = run.checks.iter().map(|check| check.outcome.message.as_str()).collect();
    assert_eq!(
        messages[1..],
        ["was running when the run was asked to stop (SIGINT)", "did not run: the run was asked to stop (SIGINT)"]
    );

    let resumed =
        Event::RunResumed { tool: "0.0.1".to_owned(), resumed: "2026-11-23T06:00:00Z".to_owned(), clock: None };
    events.extend([resumed, start(B), finish(B, pass()), start("fsm::c"), finish("fsm::c", pass())]);
    events.push(finished(RunVerdict::Conforms, Exit::Conforms));
    let run = fold(&journal(events)).unwrap();
    assert_eq!((run.exit, run.stopped_by, run.left.waiting), (Exit::Conforms, None, 0));
}

#[test]
fn command_for_a_check_that_depends_on_a_sibling_names_both_checks() {
    let beside = outcome(Verdict::Fail, "EBUSY");
    let depends = Outcome::beside_and_alone(beside, pass(), vec![B.to_owned()]);
    let run = run_of(vec![ready(), start(A), finish(A, depends), start(B), finish(B, pass())]).unwrap();
    let again = "./ci/emulated --target mtty --kernel 7.3 --devices 2 --beside fsm::b -- --exact fsm::a";
    assert_eq!(run.reproduce(A), again);
    assert_eq!(run.reproduce(B), "./ci/emulated --target mtty --kernel 7.3 -- --exact fsm::b");
    let text = crate::report::finding::finding_text_of(&run, &run.checks[0]);
    assert!(text.contains("depends on the sibling device: fail while fsm::b ran there, pass alone"), "{text}");
}
