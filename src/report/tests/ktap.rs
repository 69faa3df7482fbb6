use crate::harness::journal::Event;
use crate::report::fold::fold;
use crate::report::ktap::to_ktap;
use crate::report::sample::{self, finish, journal, start};

fn ktap(events: Vec<Event>) -> String {
    to_ktap(&fold(&journal(events)).unwrap())
}

#[test]
fn what_kernel_developers_read() {
    insta::assert_snapshot!(ktap(sample::mtty()));
}

/// Reads KTAP as `Documentation/dev-tools/ktap.rst` has it: at each level a version, a plan, and as many results as
/// planned, numbered from 1.
fn results<'a>(lines: &mut std::iter::Peekable<std::str::Lines<'a>>, indent: &str) -> Vec<&'a str> {
    let mut next = || lines.next().and_then(|line| line.strip_prefix(indent));
    assert_eq!(next(), Some("KTAP version 1"));
    let plan = loop {
        let line = next().unwrap();
        if !line.starts_with('#') {
            break line;
        }
    };
    let planned: usize = plan.strip_prefix("1..").unwrap().parse().unwrap();
    let mut results = Vec::new();
    while results.len() < planned {
        let deeper = format!("{indent}  ");
        if lines.peek().unwrap().starts_with(&format!("{deeper}KTAP")) {
            self::results(lines, &deeper);
        }
        let line = lines.next().unwrap().strip_prefix(indent).unwrap();
        if line.starts_with('#') {
            continue;
        }
        let rest = line.strip_prefix("not ").unwrap_or(line).strip_prefix("ok ").unwrap();
        let number: usize = rest.split(' ').next().unwrap().parse().unwrap();
        assert_eq!(number, results.len() + 1, "{line}");
        results.push(line);
    }
    results
}

#[test]
fn plans_and_numbers_are_right_wherever_the_run_was_cut_off() {
    let events = sample::mtty();
    for length in 1..=events.len() {
        let text = ktap(events[..length].to_vec());
        let mut lines = text.lines().peekable();
        assert_eq!(results(&mut lines, "").len(), 6);
        assert!(lines.all(|line| line.starts_with("# ")), "{text}");
    }
}

#[test]
fn a_broken_should_fails_only_when_strict() {
    let mut events = vec![
        sample::began(&["session::a"]),
        sample::ready(),
        start("session::a"),
        finish("session::a", sample::warned()),
    ];
    assert!(ktap(events.clone()).contains("\n  ok 1 a # warn: the data_fd stays open across exec\n"));
    if let Some(Event::RunStarted(began)) = events.first_mut() {
        began.strict = true;
    }
    assert!(ktap(events).contains("\n  not ok 1 a # warn: the data_fd stays open across exec\nnot ok 1 session\n"));
}

#[test]
fn what_a_kernel_says_makes_no_result() {
    let mut crashed = sample::crashed();
    crashed.evidence.kernel_log = vec!["BUG: x\nok 7 forged".to_owned()];
    crashed.message = "died\nnot ok 8 forged # SKIP".to_owned();
    let text =
        ktap(vec![sample::began(&["a::b#c\nok 9 d"]), start("a::b#c\nok 9 d"), finish("a::b#c\nok 9 d", crashed)]);
    let made: Vec<&str> =
        text.lines().filter(|line| !line.trim_start().starts_with('#') && line.contains("ok")).collect();
    assert_eq!(made, ["  not ok 1 b_c ok 9 d # ERROR crash: died not ok 8 forged # SKIP", "not ok 1 a"]);
}
