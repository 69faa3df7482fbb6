use crate::harness::journal::Event;
use crate::harness::outcome::Outcome;
use crate::harness::verdict::Verdict;
use crate::report::fold::fold;
use crate::report::html::to_html;
use crate::report::sample::{self, finish, journal, outcome, start};
use crate::uapi::state::State;

const EVIL: &str = "</script></style><script>alert(1)</script><img src=x onerror=alert(1)>\"'&";

fn page(events: Vec<Event>) -> String {
    to_html(&fold(&journal(events)).unwrap())
}

fn run_of(outcomes: &[(&str, Outcome)]) -> Vec<Event> {
    let names: Vec<&str> = outcomes.iter().map(|(name, _)| *name).collect();
    let mut events = vec![sample::began(&names), sample::ready()];
    for (name, outcome) in outcomes {
        events.extend([start(name), finish(name, outcome.clone())]);
    }
    events
}

/// Where a text stands on the page; the page must have it.
fn place(page: &str, text: &str) -> usize {
    page.find(text).unwrap_or_else(|| panic!("the page lacks {text}"))
}

/// A run in which everything that a device, a driver, a kernel or a journal says is an attack.
fn attack() -> Vec<Event> {
    let mut failed = sample::failed(EVIL);
    failed.message = EVIL.to_owned();
    failed.evidence.kernel_log = vec![EVIL.to_owned()];
    failed.evidence.notes = vec![EVIL.to_owned()];
    for broken in &mut failed.broken {
        broken.requirement = EVIL.to_owned();
        broken.statement = EVIL.to_owned();
        broken.expected = EVIL.to_owned();
        broken.actual = EVIL.to_owned();
    }
    for operation in &mut failed.evidence.operations {
        operation.what = EVIL.to_owned();
        operation.result = Some(EVIL.to_owned());
    }
    let mut hung = sample::hung();
    hung.message = EVIL.to_owned();
    let mut events = run_of(&[
        (EVIL, failed),
        ("fsm::a", hung),
        ("fsm::b", outcome(Verdict::Blocked, EVIL)),
        ("fsm::c", outcome(Verdict::Skip, EVIL)),
    ]);
    for event in &mut events {
        match event {
            Event::RunStarted(began) => {
                began.run = EVIL.to_owned();
                began.tool = EVIL.to_owned();
                began.device = EVIL.to_owned();
                began.lab = EVIL.to_owned();
                began.target = Some(EVIL.to_owned());
                began.kernel = Some(EVIL.to_owned());
                began.reproduce = EVIL.to_owned();
                began.planned[1].requirements = vec![EVIL.to_owned()];
            }
            Event::LabReady(ready) => {
                ready.kernel = EVIL.to_owned();
                ready.identity.name = EVIL.to_owned();
                ready.identity.driver = EVIL.to_owned();
                ready.identity.driver_version = Some(EVIL.to_owned());
                ready.identity.pci_id = Some(EVIL.to_owned());
                ready.identity.via = EVIL.to_owned();
                ready.beside = vec![ready.identity.clone()];
                ready.accelerator = Some(EVIL.to_owned());
                ready.tracing = Err(EVIL.to_owned());
            }
            _ => {}
        }
    }
    events.push(Event::LabRestarted { reason: EVIL.to_owned() });
    events
}

#[test]
fn what_a_device_says_is_text_and_nothing_else() {
    let page = page(attack());
    assert_eq!(page.matches("<script").count(), 1, "only the page's own");
    assert_eq!(page.matches("</script").count(), 1);
    assert_eq!(page.matches("<style").count(), 1);
    assert_eq!(page.matches("</style").count(), 1);
    assert!(!page.contains("<img"));
    assert!(page.contains("&lt;script&gt;alert(1)"));
    // The quotes of an attribute are the only ones: what would end it is escaped.
    assert!(!page.contains("onerror=alert(1)>\""));
}

#[test]
fn control_characters_do_not_reach_the_page() {
    let mut crashed = sample::crashed();
    crashed.evidence.kernel_log.truncate(1);
    let page = page(run_of(&[("fsm::a", crashed)]));
    assert!(!page.contains('\u{1b}') && !page.contains('\u{7}'));
    assert!(page.contains(r"\x1b[31mred"));
}

#[test]
fn the_page_fetches_nothing() {
    let page = page(sample::mtty());
    for fetches in ["http:", "https:", "src=", "url(h", "@import", "<link"] {
        assert!(!page.contains(fetches), "{fetches}");
    }
    assert!(page.contains("default-src 'none'"));
}

#[test]
fn what_is_broken_and_how_to_see_it_again_come_first() {
    let page = page(sample::mtty());
    let verdict = place(&page, "mtty does not conform");
    let list = place(&page, "What is broken");
    let command = place(&page, "./ci/emulated --target mtty --kernel 7.3 -- --exact fsm::every_direct_arc");
    let findings = place(&page, "id=\"findings\"");
    assert!(verdict < list && list < command && command < findings);
}

#[test]
fn a_finding_has_its_rule_its_evidence_and_its_command() {
    let events = run_of(&[("session::a", sample::failed("read after STOP"))]);
    let page = page(events);
    for text in [
        "session.fd.dead_after_leaving",
        "When the saving group is left the session ends",
        "read after STOP",
        "an error, ENODEV by custom",
        "read returned 4096 bytes",
        "read 4096 on the old data_fd",
        "RUNNING → STOP → STOP_COPY",
        "-- --exact session::a",
    ] {
        place(&page, text);
    }
}

#[test]
fn other_ways_to_break_the_same_rule_are_no_further_problem() {
    let mut other = sample::failed("read after RUNNING");
    other.broken[0].actual = "read returned 0 bytes".to_owned();
    let page = page(run_of(&[("session::a", sample::failed("read after STOP")), ("session::b", other)]));
    assert_eq!(page.matches("<article").count(), 1);
    place(&page, "Broken in 1 other way too");
    place(&page, "-- --exact session::b");
}

#[test]
fn every_state_every_pair_and_every_check_is_there() {
    let page = page(sample::mtty());
    for state in State::ALL {
        place(&page, &format!("text-anchor=\"middle\">{state}</text>"));
    }
    let matrix = &page[place(&page, "<table class=\"matrix\"")..];
    let matrix = &matrix[..place(matrix, "</table>")];
    assert_eq!(matrix.matches("<span class=\"want\"").count(), 64);
    for name in sample::MTTY {
        let row = format!("id=\"check-{}\"", name.replace("::", "--").replace('_', "-"));
        assert_eq!(page.matches(&row).count(), 1, "{row}");
    }
}

#[test]
fn the_matrix_leads_to_the_finding_of_a_pair() {
    let page = page(run_of(&[("fsm::running_to_stop_copy", sample::failed("SET STOP_COPY in RUNNING"))]));
    let matrix = &page[place(&page, "<table class=\"matrix\"")..];
    let matrix = &matrix[..place(matrix, "</table>")];
    assert_eq!(matrix.matches("<td class=\"fail\"><a href=\"#finding-1\"").count(), 1);
    // A combination that went wrong is drawn, the arcs of the driver were not tested.
    assert_eq!(page.matches("class=\"arc dashed fail\"").count(), 1);
    assert_eq!(page.matches("class=\"arc unseen\"").count(), 15);
}

#[test]
fn estimates_are_drawn_over_time() {
    let page = page(sample::mtty());
    place(&page, "initial_bytes: 1052704, 526352, 0. dirty_bytes: 0, 4112, 4112.");
    assert_eq!(page.matches("<path class=\"curve ").count(), 2);
}

#[test]
fn a_page_can_be_made_wherever_the_run_was_cut_off() {
    let events = sample::mtty();
    for length in 1..=events.len() {
        let page = page(events[..length].to_vec());
        assert!(page.ends_with("</html>"), "after {length} events");
        assert!(!page.contains("NaN") && !page.contains(":inf"), "after {length} events");
    }
}

#[test]
fn every_link_leads_somewhere() {
    let page = page(sample::mtty());
    for link in page.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(page.contains(&format!(" id=\"{link}\"")), "#{link}");
    }
}

/// Elements that have no end of their own in HTML; inside a drawing none does without.
const VOID: [&str; 3] = ["br", "meta", "!DOCTYPE"];

#[test]
fn every_element_is_closed_in_its_place() {
    let page = page(sample::mtty());
    let body = &page[place(&page, "</style>")..place(&page, "<script>")];
    let mut open = vec!["html", "head", "style"];
    for tag in body.split('<').skip(1).filter_map(|rest| rest.split('>').next()) {
        let name = tag.trim_start_matches('/').split(' ').next().unwrap_or_default();
        match tag.starts_with('/') {
            true => assert_eq!(open.pop(), Some(name)),
            false if VOID.contains(&name) => {}
            false => open.push(name),
        }
    }
    assert_eq!(open, ["html", "body"]);
}
