use std::path::Path;

use anstream::adapter::strip_str;

use crate::harness::journal::{DeviceOptions, Event};
use crate::harness::outcome::Outcome;
use crate::harness::skip::Skip;
use crate::harness::verdict::{Exit, RunVerdict, Verdict};
use crate::report::fold::fold;
use crate::report::sample::{self, failed, finish, finished, journal, outcome, start};
use crate::report::{console, finding_text};
use crate::stimulus::ProfileKey;
use crate::uapi::stop::StopSignal;

fn coloured(events: Vec<Event>, width: usize) -> String {
    let run = fold(&journal(events)).unwrap();
    let mut out = Vec::new();
    console::write(&run, Path::new("reports/out/latest"), width, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn plain(events: Vec<Event>, width: usize) -> String {
    strip_str(&coloured(events, width)).to_string()
}

/// A run in which these checks of the chapter `fsm` came to these outcomes.
fn run_of(outcomes: Vec<Outcome>) -> Vec<Event> {
    let names: Vec<String> = (0..outcomes.len()).map(|n| format!("fsm::check_{n}")).collect();
    let planned: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut events = vec![sample::began(&planned), sample::ready()];
    for (name, outcome) in names.iter().zip(outcomes) {
        events.extend([start(name), finish(name, outcome)]);
    }
    events
}

#[test]
fn wide() {
    insta::assert_snapshot!(plain(sample::mtty(), 100));
}

#[test]
fn narrow() {
    insta::assert_snapshot!(plain(sample::mtty(), 80));
}

#[test]
fn only_commands_are_wider_than_the_terminal() {
    for width in [60, 80, 100] {
        let text = plain(sample::mtty(), width);
        let wide =
            text.lines().filter(|line| line.chars().count() > width).find(|line| !line.contains("./ci/emulated"));
        assert_eq!(wide, None, "at {width}");
    }
}

/// A run on the model that can be resumed, with one check of four over, and how it ended.
fn resumable(ends: Vec<Event>) -> Vec<Event> {
    let mut began = sample::began(&["fsm::a", "fsm::b", "fsm::c", "fsm::d"]);
    if let Event::RunStarted(began) = &mut began {
        began.lab = "local".to_owned();
        began.options = Some(DeviceOptions {
            via: None,
            profile: None,
            force_profile: false,
            may_hang: false,
            wear: None,
            deadline: None,
        });
    }
    let over = [start("fsm::a"), finish("fsm::a", outcome(Verdict::Pass, "")), start("fsm::b")];
    [began, sample::ready()].into_iter().chain(over).chain(ends).collect()
}

#[test]
fn stopped_run_says_what_resume_would_run() {
    let finished = Event::RunFinished {
        verdict: RunVerdict::Incomplete,
        exit: Exit::Unfinished,
        left: 3,
        stopped_by: Some(StopSignal::Terminate),
    };
    insta::assert_snapshot!(plain(resumable(vec![finished]), 100));
}

#[test]
fn cut_off_run_says_what_resume_would_run() {
    insta::assert_snapshot!(plain(resumable(Vec::new()), 100));
}

#[test]
fn a_run_that_was_cut_off() {
    let mut events = sample::mtty();
    events.truncate(8);
    insta::assert_snapshot!(plain(events, 100));
}

#[test]
fn a_run_that_conforms() {
    let mut events = run_of(vec![outcome(Verdict::Pass, ""); 3]);
    events.push(finished(RunVerdict::Conforms, Exit::Conforms));
    insta::assert_snapshot!(plain(events, 100));
}

#[test]
fn a_run_that_tested_nothing() {
    let lacking = Outcome::skipped(Skip::without_key(ProfileKey::Dirty));
    let mut events = run_of(vec![lacking; 3]);
    events.push(finished(RunVerdict::NothingTested, Exit::NothingTested));
    insta::assert_snapshot!(plain(events, 100));
}

#[test]
fn thirty_of_a_kind_do_not_bury_the_one_of_another() {
    let mut outcomes: Vec<Outcome> = (0..30).map(|n| failed(&format!("read number {n}"))).collect();
    let mut other = failed("read after a reset");
    other.broken[0].actual = "read returned 0 bytes".to_owned();
    outcomes.push(other);
    let text = plain(run_of(outcomes), 100);
    assert_eq!(text.matches("\n  asked ").count(), 2);
    assert!(text.contains("29 more: fsm::check_1, fsm::check_2, "));
    assert!(text.contains("fail  fsm::check_30\n"));
}

#[test]
fn crashes_with_different_reports_are_shown_apart() {
    let mut other = sample::crashed();
    other.evidence.kernel_log[1] = "[    9.000000] BUG: unable to handle page fault".to_owned();
    let text = plain(run_of(vec![sample::crashed(), sample::crashed(), other]), 100);
    assert_eq!(text.matches("crash  fsm::").count(), 2);
}

#[test]
fn a_hang_says_what_the_check_was_to_prove() {
    let known = crate::requirement::all().next().unwrap();
    let mut events = run_of(vec![sample::hung()]);
    if let Some(Event::RunStarted(began)) = events.first_mut() {
        began.planned[0].requirements = vec![known.id.to_owned()];
    }
    let text = plain(events, 1000);
    assert!(text.contains(known.statement), "{text}");
}

#[test]
fn the_kernel_log_does_not_steer_the_terminal() {
    let mut crashed = sample::crashed();
    crashed.evidence.kernel_log.truncate(1);
    let text = plain(run_of(vec![crashed.clone()]), 100);
    assert!(text.contains(r"mtty: \x1b[31mred\x1b[0m \x07 ]]> & <tag>"), "{text}");
    assert!(finding_text(&crashed).contains(r"\x1b[31mred\x1b[0m"));
}

#[test]
fn colours_go_away_where_they_are_not_wanted() {
    let coloured = coloured(sample::mtty(), 100);
    assert!(coloured.contains("\u{1b}["));
    assert!(!plain(sample::mtty(), 100).contains('\u{1b}'));
}

#[test]
fn a_finding_as_the_message_of_a_trial() {
    insta::assert_snapshot!(finding_text(&failed("read of the data_fd after STOP_COPY -> RUNNING")), @r"
    fail: the old data_fd still delivers data
    requirement  session.fd.dead_after_leaving (must): When the saving group is left the session ends: a
                 later read or write on the old data_fd fails, delivers no data and never hangs.
    asked        read of the data_fd after STOP_COPY -> RUNNING
    expected     an error, ENODEV by custom
    came         read returned 4096 bytes
    seen last    read 4096                     4096
                 SET STOP                      ok, data_fd -1
                 SET RUNNING                   ok, data_fd -1
                 read 4096 on the old data_fd  4096
    kernel path  to STOP_COPY through RUNNING, STOP
    not shown    1 operation (report.json has all)
    ");
}
