//! Chapters, requirements and every check with its verdict.

use maud::{Markup, html};

use super::part;
use crate::harness::verdict::Verdict;
use crate::report::finding::Problem;
use crate::report::run::{CheckRun, Run};
use crate::report::text::{one_line, plural, span};
use crate::requirement::{self, Level};

/// What a run says of one requirement.
struct Judged<'a> {
    id: &'a str,
    kept: usize,
    broken: usize,
}

/// All chapters, folded: what is wrong stands above.
pub fn section(run: &Run, problems: &[Problem<'_>]) -> Markup {
    html! {
        section #checks aria-labelledby="checks-h" {
            h2 #checks-h { "Requirements and checks" }
            @if run.checks.is_empty() { p { "No check was planned." } }
            @for chapter in run.chapters() { (chapter_part(run, chapter, problems)) }
        }
    }
}

fn chapter_part(run: &Run, chapter: &str, problems: &[Problem<'_>]) -> Markup {
    let checks: Vec<&CheckRun> = run.checks.iter().filter(|check| check.chapter() == chapter).collect();
    let count = |verdict: Verdict| checks.iter().filter(|check| check.outcome.verdict == verdict).count();
    let requirements = requirements(&checks);
    html! {
        details.chapter {
            summary {
                h3 { (one_line(chapter)) }
                span.counts {
                    @for verdict in Verdict::ALL {
                        @if count(verdict) > 0 { " " span.count { (part::badge(verdict)) " " b { (count(verdict)) } } }
                    }
                }
            }
            h4 { (plural(requirements.len(), "requirement")) }
            (requirements_table(chapter, &requirements))
            h4 { (plural(checks.len(), "check")) }
            (checks_table(chapter, &checks, problems))
        }
    }
}

/// The requirements that the checks of a chapter can prove or have broken, in the order in which they come.
fn requirements<'a>(checks: &[&'a CheckRun]) -> Vec<Judged<'a>> {
    let mut ids: Vec<&str> = Vec::new();
    for check in checks {
        let broken = check.outcome.broken.iter().map(|broken| broken.requirement.as_str());
        for id in check.requirements.iter().map(String::as_str).chain(broken) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
    }
    let count = |is_it: &dyn Fn(&CheckRun) -> bool| checks.iter().filter(|check| is_it(check)).count();
    let judged = |id: &'a str| Judged {
        id,
        kept: count(&|check| check.outcome.proven.iter().any(|proven| proven == id)),
        broken: count(&|check| check.outcome.broken.iter().any(|broken| broken.requirement == id)),
    };
    ids.into_iter().map(judged).collect()
}

impl Judged<'_> {
    /// What the requirement comes to, in the words and the colours of verdicts.
    fn state(&self) -> (Verdict, &'static str) {
        let level = requirement::find(self.id).map(|known| known.level);
        match (self.broken, self.kept) {
            (0, 0) => (Verdict::Skip, "not judged"),
            (0, _) => (Verdict::Pass, "kept"),
            _ if level == Some(Level::Must) => (Verdict::Fail, "broken"),
            _ => (Verdict::Warn, "broken"),
        }
    }
}

fn requirements_table(chapter: &str, requirements: &[Judged<'_>]) -> Markup {
    html! {
        table.list {
            caption.hidden { "Requirements of the chapter " (one_line(chapter)) }
            thead { tr { th scope="col" { "Requirement" } th scope="col" { "Came to" } th scope="col" { "Rule" } } }
            tbody {
                @for judged in requirements {
                    @let (verdict, word) = judged.state();
                    tr {
                        th scope="row" { code { (one_line(judged.id)) } }
                        td {
                            span.badge.(verdict.word()) { span aria-hidden="true" { (part::mark(verdict)) } " " (word) }
                            @if judged.broken > 0 { " in " (plural(judged.broken, "check")) }
                        }
                        td {
                            @match requirement::find(judged.id) {
                                Some(known) => { (known.statement) " (" (known.binds()) ")" },
                                None => "not in the catalogue of this version",
                            }
                        }
                    }
                }
            }
        }
    }
}

fn checks_table(chapter: &str, checks: &[&CheckRun], problems: &[Problem<'_>]) -> Markup {
    html! {
        table.list {
            caption.hidden { "Checks of the chapter " (one_line(chapter)) }
            thead { tr { th scope="col" { "Check" } th scope="col" { "Verdict" } th scope="col" { "Why" } } }
            tbody {
                @for check in checks {
                    @let outcome = &check.outcome;
                    tr #(part::check_id(&check.name)) {
                        th scope="row" { code { (one_line(check.short_name())) } }
                        td { (part::badge(outcome.verdict)) " " span.took { (span(outcome.seconds)) } }
                        td {
                            @if outcome.verdict.is_finding() {
                                a href=(part::link_to(&check.name, problems)) { (one_line(&outcome.reason())) }
                            } @else {
                                (one_line(&outcome.reason()))
                                @for note in &outcome.evidence.notes { " " span.note { (one_line(note)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
