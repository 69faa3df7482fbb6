use roxmltree::{Document, Node};

use crate::harness::journal::Event;
use crate::harness::outcome::{Evidence, Outcome};
use crate::harness::verdict::Verdict;
use crate::report::fold::fold;
use crate::report::junit::to_xml;
use crate::report::sample::{self, finish, journal, outcome, start};

fn xml_of(events: Vec<Event>) -> String {
    let run = fold(&journal(events)).unwrap();
    String::from_utf8(to_xml(&run).unwrap()).unwrap()
}

fn strict(mut events: Vec<Event>) -> Vec<Event> {
    if let Some(Event::RunStarted(began)) = events.first_mut() {
        began.strict = true;
    }
    events
}

/// Elements, attributes and order as `junit-10.xsd` of the xUnit plugin of Jenkins has them, as far as we use them.
fn is_valid_for_jenkins(node: Node<'_, '_>) {
    let name = node.tag_name().name();
    let (children, required, optional): (&[&str], &[&str], &[&str]) = match name {
        "testsuites" => (&["testsuite"], &[], &["name", "time", "tests", "failures", "errors"]),
        "testsuite" => (
            &["properties", "testcase", "system-out", "system-err"],
            &["name", "tests", "failures", "errors"],
            &["time", "skipped", "timestamp", "hostname", "id", "package"],
        ),
        "testcase" => (&["skipped", "error", "failure", "system-out", "system-err"], &["name"], &["time", "classname"]),
        "skipped" | "error" | "failure" => (&[], &[], &["type", "message"]),
        "system-out" | "system-err" => (&[], &[], &[]),
        other => panic!("the schema knows no element {other}"),
    };
    for attribute in node.attributes() {
        let known = required.contains(&attribute.name()) || optional.contains(&attribute.name());
        assert!(known, "{name} has {}", attribute.name());
    }
    for attribute in required {
        assert!(node.has_attribute(*attribute), "{name} lacks {attribute}");
    }
    if let Some(time) = node.attribute("time") {
        assert!(time.chars().all(|c| c.is_ascii_digit() || c == '.'), "{name} took {time}");
    }
    let mut from = 0;
    for child in node.children().filter(Node::is_element) {
        let place = children.iter().position(|known| *known == child.tag_name().name());
        let place = place.unwrap_or_else(|| panic!("{name} has {:?}", child.tag_name()));
        assert!(place >= from, "{name} has {:?} too late", child.tag_name());
        from = place;
        is_valid_for_jenkins(child);
    }
}

/// The element that says why a case did not pass, with its type.
fn results(xml: &str) -> Vec<(String, Option<(String, String)>)> {
    let document = Document::parse(xml).unwrap();
    document
        .descendants()
        .filter(|node| node.has_tag_name("testcase"))
        .map(|case| {
            let result = case.children().find(|child| child.has_attribute("type")).map(|child| {
                let kind = child.attribute("type").unwrap().to_owned();
                (child.tag_name().name().to_owned(), kind)
            });
            (case.attribute("name").unwrap().to_owned(), result)
        })
        .collect()
}

#[test]
fn what_jenkins_reads() {
    let xml = xml_of(sample::mtty());
    is_valid_for_jenkins(Document::parse(&xml).unwrap().root_element());
    // The file has no line breaks between its elements; the snapshot is to be read.
    insta::assert_snapshot!(xml.replace("><", ">\n<"));
}

#[test]
fn verdicts_are_told_apart_by_type() {
    let of = |xml: &str, wanted: &str| {
        let result = results(xml).into_iter().find(|(name, _)| name == wanted);
        result.unwrap().1.map(|(element, kind)| format!("{element} {kind}"))
    };
    let xml = xml_of(sample::mtty());
    let expected = [
        ("flags_are_a_defined_combination", None),
        ("stop_copy_to_pre_copy_is_refused", Some("error hang")),
        ("every_direct_arc", Some("error crash")),
        ("old_fd_is_dead_after_stop", Some("failure fail")),
        ("fd_is_close_on_exec", None),
        ("reinit_is_opt_in", Some("skipped skip: not judged")),
        ("start_stop", Some("skipped skip: correctly absent")),
        ("from_every_state", Some("error blocked")),
    ];
    for (name, result) in expected {
        assert_eq!(of(&xml, name).as_deref(), result, "{name}");
    }
    let xml = xml_of(strict(sample::mtty()));
    assert_eq!(of(&xml, "fd_is_close_on_exec").as_deref(), Some("failure warn"));
}

#[test]
fn a_warning_that_passes_says_so() {
    let xml = xml_of(sample::mtty());
    let document = Document::parse(&xml).unwrap();
    let case = document.descendants().find(|node| node.attribute("name") == Some("fd_is_close_on_exec")).unwrap();
    let text = case.first_element_child().unwrap().text().unwrap();
    assert!(text.starts_with("warn: the data_fd stays open across exec\n"));
}

/// Whatever a kernel logs, the file can be parsed, and what can be shown comes back as it was.
#[test]
fn any_character_in_the_log_leaves_the_file_valid() {
    let all: String = ('\0'..='\u{2ff}').chain('\u{fff0}'..='\u{1000f}').collect();
    let nasty = ["]]>", "<![CDATA[", "]]", ">", "]]]]>>", "&amp;<a b='c\"'>", "\u{10ffff}"];
    let log: Vec<String> = [all].into_iter().chain(nasty.map(str::to_owned)).collect();
    let message = log.concat();
    let crashed =
        Outcome { evidence: Evidence { kernel_log: log, ..Evidence::default() }, ..outcome(Verdict::Crash, &message) };
    let check = "fsm::a<\"'&\u{1}";
    let xml = xml_of(vec![sample::began(&[check]), start(check), finish(check, crashed)]);
    let document = Document::parse(&xml).unwrap();
    is_valid_for_jenkins(document.root_element());
    for text in nasty {
        let found = document
            .descendants()
            .filter(|node| node.has_tag_name("system-out"))
            .any(|node| node.text().unwrap_or_default().contains(&format!("\n  {text}\n")));
        assert!(found, "{text}");
    }
}

#[test]
fn absurd_times_do_no_harm() {
    for seconds in [f64::MAX, -1.0, 1e-300, 0.1 + 0.2] {
        let slow = Outcome { seconds, ..outcome(Verdict::Pass, "") };
        let events = vec![
            sample::began(&["fsm::a", "fsm::b"]),
            start("fsm::a"),
            finish("fsm::a", slow.clone()),
            start("fsm::b"),
            finish("fsm::b", slow),
        ];
        is_valid_for_jenkins(Document::parse(&xml_of(events)).unwrap().root_element());
    }
}

#[test]
fn a_run_without_checks_is_a_valid_file() {
    let xml = xml_of(vec![sample::began(&[])]);
    is_valid_for_jenkins(Document::parse(&xml).unwrap().root_element());
}
