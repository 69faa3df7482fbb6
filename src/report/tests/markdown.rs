use crate::harness::journal::Event;
use crate::harness::verdict::Verdict;
use crate::report::fold::fold;
use crate::report::markdown::to_markdown;
use crate::report::sample::{self, finish, journal, outcome, start};

fn markdown(events: Vec<Event>) -> String {
    to_markdown(&fold(&journal(events)).unwrap())
}

#[test]
fn what_a_pull_request_shows() {
    insta::assert_snapshot!(markdown(sample::mtty()));
}

#[test]
fn nothing_that_a_device_says_is_markup_or_mentions_anyone() {
    let evil = "`@everyone` </details><img src=x> | **bold** [link](x)";
    let mut failed = sample::failed(evil);
    failed.broken[0].statement = evil.to_owned();
    failed.broken[0].actual = "``` @team".to_owned();
    let names = ["session::a", "session::b"];
    let blocked = outcome(Verdict::Blocked, evil);
    let events = vec![
        sample::began(&names),
        sample::ready(),
        start("session::a"),
        finish("session::a", failed),
        finish("session::b", blocked),
    ];
    let text = markdown(events);
    // In prose each is escaped; in a code span it stands as it is, and means nothing.
    assert!(
        text.contains(r"(must): \``@`everyone\` &lt;/details\>&lt;img src=x\> \| \*\*bold\*\* \[link\](x)"),
        "{text}"
    );
    assert!(text.contains("- asked: `` `@everyone` </details>"), "{text}");
    assert!(text.contains("- came: ```` ``` @team ````"), "{text}");
}

#[test]
fn a_device_with_much_to_say_stays_short() {
    let mut failed = sample::failed(&"x".repeat(2000));
    failed.broken[0].actual = "y".repeat(2000);
    let names: Vec<String> = (0..60).map(|n| format!("session::check_{n}")).collect();
    let planned: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut events = vec![sample::began(&planned), sample::ready()];
    for (number, name) in planned.iter().enumerate() {
        failed.broken[0].requirement = format!("session.rule_{}", number / 2);
        failed.broken[0].expected = format!("number {number}");
        events.extend([start(name), finish(name, failed.clone())]);
    }
    let text = markdown(events);
    assert!(text.len() < 60_000, "{} bytes", text.len());
    assert!(text.contains("And 10 more broken requirements, in `report.html`."));
}

#[test]
fn a_run_that_conforms_is_told_in_a_few_lines() {
    let names = ["fsm::a"];
    let events = vec![
        sample::began(&names),
        sample::ready(),
        start("fsm::a"),
        finish("fsm::a", outcome(Verdict::Pass, "")),
        sample::finished(crate::harness::verdict::RunVerdict::Conforms, crate::harness::verdict::Exit::Conforms),
    ];
    let text = markdown(events);
    assert!(text.starts_with("## ✅ vfio-conform: conforms at level protocol\n"), "{text}");
    assert!(text.lines().count() < 14 && !text.contains("Findings"), "{text}");
}
