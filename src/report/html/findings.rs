//! The findings: what is broken, what was expected, what came, the evidence, and how to see it again.

use maud::{Markup, html};

use super::part;
use crate::harness::outcome::{Broken, Evidence, ObservedPath, Outcome};
use crate::harness::verdict::Verdict;
use crate::report::coverage;
use crate::report::evidence::{self, NEVER_CAME_BACK};
use crate::report::finding::{Alike, Problem};
use crate::report::run::{CheckRun, Run};
use crate::report::text::{clean, one_line, plural, span};
use crate::requirement::{self, guide};

/// How many of the last operations are shown at once.
const OPERATIONS: usize = 8;
/// How many more can be unfolded. A race repeats itself thousands of times.
const MORE_OPERATIONS: usize = 200;
/// How many lines of the kernel log are shown.
const KERNEL_LOG: usize = 200;
/// How many of the kernel's paths are shown.
const PATHS: usize = 10;

/// All problems, and what was blocked.
pub fn section(run: &Run, problems: &[Problem<'_>]) -> Markup {
    html! {
        section #findings aria-labelledby="findings-h" {
            h2 #findings-h { "Findings" }
            @if problems.is_empty() { p { "None." } }
            @for (index, problem) in problems.iter().enumerate() { (article(run, index, problem)) }
            (blocked(run))
        }
    }
}

/// A problem in the list at the top of the page.
pub fn entry(index: usize, problem: &Problem<'_>) -> Markup {
    let check = problem.first.first;
    html! {
        li.(check.outcome.verdict.word()) {
            (part::badge(check.outcome.verdict)) " "
            a href={ "#" (part::finding_id(index)) } { (headline(check)) }
            @if let Some(broken) = check.outcome.broken.first() {
                br; (asked(check, broken)) ": " b.came { (one_line(&broken.actual)) }
            }
            @if problem.checks() > 1 { span.more { " (and " (plural(problem.checks() - 1, "more check")) ")" } }
        }
    }
}

/// What a problem is about, in one line: the rule that is broken, or what became of the check.
fn headline(check: &CheckRun) -> String {
    match check.outcome.broken.first() {
        Some(broken) => format!("broken: {}", one_line(&broken.statement)),
        None => one_line(&check.outcome.message),
    }
}

/// What led to it: of a hang or a crash the last operation, since what it broke is only how that was noticed.
fn asked(check: &CheckRun, broken: &Broken) -> String {
    let last = check.outcome.evidence.operations.last();
    match (check.outcome.verdict, last) {
        (Verdict::Hang | Verdict::Crash, Some(last)) => one_line(&last.what),
        _ => one_line(&broken.asked),
    }
}

fn article(run: &Run, index: usize, problem: &Problem<'_>) -> Markup {
    let check = problem.first.first;
    html! {
        article.finding.(check.outcome.verdict.word()) #(part::finding_id(index)) {
            h3 { (part::badge(check.outcome.verdict)) " " (headline(check)) }
            (way(run, &problem.first, Rule::InWords))
            @if !problem.others.is_empty() { h4 { "Broken in " (plural(problem.others.len(), "other way")) " too" } }
            @for alike in &problem.others {
                details.way {
                    summary { (in_short(alike)) }
                    (way(run, alike, Rule::ByName))
                }
            }
        }
    }
}

fn in_short(alike: &Alike<'_>) -> Markup {
    let outcome = &alike.first.outcome;
    html! {
        @match outcome.broken.first() {
            Some(broken) => { (one_line(&broken.asked)) ": " b.came { (one_line(&broken.actual)) } },
            None => (one_line(&outcome.message)),
        }
    }
}

/// How much is said of the rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rule {
    /// What it says, where it stands and why.
    InWords,
    /// Its id, since it was told above.
    ByName,
}

/// One way in which a problem shows, with all that is known of it.
fn way(run: &Run, alike: &Alike<'_>, told: Rule) -> Markup {
    let check = alike.first;
    let outcome = &check.outcome;
    html! {
        @match outcome.broken.as_slice() {
            [] => (unjudged(outcome, &check.requirements)),
            all => { @for broken in all { (rule(broken, told)) } },
        }
        p.see { "See it again (check " code { (one_line(&check.name)) } "):" }
        (part::command(&run.reproduce(&check.name)))
        (evidence(&outcome.evidence))
        @if !alike.others.is_empty() {
            details {
                summary { "The same in " (plural(alike.others.len(), "more check")) }
                ul.names { @for other in &alike.others { li { code { (one_line(&other.name)) } } } }
            }
        }
    }
}

fn rule(broken: &Broken, told: Rule) -> Markup {
    let known = requirement::find(&broken.requirement).filter(|_| told == Rule::InWords);
    html! {
        dl.rule {
            dt { "Requirement" }
            dd {
                code { (one_line(&broken.requirement)) } " (" (coverage::binds(&broken.requirement, broken.level)) ")"
                @if told == Rule::InWords { ": " (one_line(&broken.statement)) }
                @if let Some(known) = known { span.source { "Source: " (known.place()) } }
            }
            dt { "Asked" } dd { (one_line(&broken.asked)) }
            dt { "Expected" } dd.expected { (one_line(&broken.expected)) }
            dt { "Came" } dd.came { (one_line(&broken.actual)) }
            @if let Some(guide) = known.and_then(guide::of) { dt { "Why it matters" } dd { (guide.why) } }
        }
    }
}

/// A hang or a crash that judged nothing.
fn unjudged(outcome: &Outcome, requirements: &[String]) -> Markup {
    let (expected, came) = match outcome.verdict {
        Verdict::Hang => ("the call comes back, with success or an error", "it never came back".to_owned()),
        _ => (
            "the kernel reports nothing, and the executor survives",
            evidence::kernel_log_headline(&outcome.evidence.kernel_log)
                .map_or("the executor died".to_owned(), one_line),
        ),
    };
    html! {
        dl.rule {
            dt { "Was to prove" }
            dd {
                @for (index, id) in requirements.iter().enumerate() {
                    @if index > 0 { br; }
                    code { (one_line(id)) }
                    @if let Some(known) = requirement::find(id) { " (" (known.binds()) "): " (known.statement) }
                }
            }
            @if let Some(last) = outcome.evidence.operations.last() { dt { "Asked" } dd { (one_line(&last.what)) } }
            dt { "Expected" } dd.expected { (expected) }
            dt { "Came" } dd.came { (came) }
        }
    }
}

fn evidence(evidence: &Evidence) -> Markup {
    html! {
        (operations(evidence))
        @if !evidence.paths.is_empty() {
            h4 { "The kernel's own path" }
            ul.names { @for path in evidence.paths.iter().rev().take(PATHS).rev() { li { (path_of(path)) } } }
        }
        @if !evidence.kernel_log.is_empty() { (kernel_log(&evidence.kernel_log)) }
        @for note in &evidence.notes { p.note { "Note: " (one_line(note)) } }
    }
}

fn operations(evidence: &Evidence) -> Markup {
    let all = evidence.operations.as_slice();
    if all.is_empty() {
        return html! {};
    }
    let (before, last) = all.split_at(all.len().saturating_sub(OPERATIONS));
    let first = before.len().saturating_sub(MORE_OPERATIONS);
    let table = |from: usize, to: usize| {
        let rows = html! {
            table.operations {
                thead { tr { th.figure scope="col" { "at" } th scope="col" { "operation" } th scope="col" { "answer" } th.figure scope="col" { "took" } } }
                tbody {
                    @for operation in &all[from..to] {
                        tr {
                            td.figure { (span(operation.at)) }
                            td { (one_line(&operation.what)) }
                            td { (operation.result.as_deref().map_or(NEVER_CAME_BACK.to_owned(), one_line)) }
                            td.figure { (operation.micros.map_or("-".to_owned(), |micros| span(micros / 1e6))) }
                        }
                    }
                }
            }
        };
        part::scrolled("Operations on the device", &rows)
    };
    html! {
        h4 { "What was done to the device" @if !before.is_empty() { ", last " (last.len()) " of " (all.len()) } }
        @if !before.is_empty() {
            details {
                summary { "Before that" }
                @if first > 0 { p.note { (plural(first, "operation")) " before these are in report.json." } }
                (table(first, before.len()))
            }
        }
        (table(before.len(), all.len()))
    }
}

fn path_of(path: &ObservedPath) -> String {
    let stations: Vec<&str> = path.through.iter().chain([&path.to]).map(|state| state.name()).collect();
    match path.through.is_empty() {
        true => evidence::path(path),
        false => stations.join(" → "),
    }
}

fn kernel_log(log: &[String]) -> Markup {
    let shown: Vec<String> =
        evidence::kernel_log_highlights(log).iter().take(KERNEL_LOG).map(|line| clean(line)).collect();
    let left_out = log.len() - shown.len();
    html! {
        h4 { "Kernel log" }
        pre tabindex="0" aria-label="Kernel log" { (shown.join("\n")) }
        @if left_out > 0 { p.note { (plural(left_out, "more line")) " in report.json." } }
    }
}

/// Checks that had no say, the most frequent reason first.
fn blocked(run: &Run) -> Markup {
    let reasons = run.reasons(Verdict::Blocked);
    html! {
        @if !reasons.is_empty() {
            h3 { (part::badge(Verdict::Blocked)) " Had no say" }
            ul.names {
                @for (reason, checks) in &reasons {
                    li { (one_line(reason)) ": "
                        @for (index, check) in checks.iter().enumerate() {
                            @if index > 0 { ", " } a href={ "#" (part::check_id(&check.name)) } { (one_line(&check.name)) }
                        }
                    }
                }
            }
        }
    }
}
