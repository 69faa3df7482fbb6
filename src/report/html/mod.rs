//! `report.html`: the run as one page that needs no network, and no script to be read.
//!
//! Everything that a device, a driver or a kernel can say goes through `maud`, which escapes it, and through
//! [`clean`](super::text::clean), which takes away what steers.

mod chapters;
mod diagram;
mod environment;
mod figures;
mod findings;
mod matrix;
mod part;
mod plot;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::finding::{self, Problem};
use super::measure::Figures;
use super::run::Run;
use super::text::{one_line, plural};
use super::transitions::Transitions;
use super::{console, coverage};
use crate::harness::verdict::{RunVerdict, Verdict};

const STYLE: &str = include_str!("../../../reports/templates/report.css");
/// Only copies; it may be missing.
const SCRIPT: &str = include_str!("../../../reports/templates/report.js");
/// Nothing is fetched from anywhere, whatever a device says.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

/// Makes the text of `report.html`.
pub fn to_html(run: &Run) -> String {
    let figures = Figures::of(run);
    let problems = finding::problems(run);
    let transitions = Transitions::of(run);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (run.verdict) ": " (subject_in_short(run)) " - vfio-conform" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                (head(run, &problems))
                main {
                    (findings::section(run, &problems))
                    (machine(transitions.as_ref(), &problems))
                    (chapters::section(run, &problems))
                    (figures::sections(&figures))
                    (environment::section(run))
                }
                footer {
                    p { "vfio-conform " (one_line(&run.began.tool)) ", run " (one_line(&run.began.run)) ". "
                        "Made from journal.jsonl alone; report.json beside this file has the same for programs." }
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string()
}

/// The verdict at a glance: what was tested, what it came to, what is broken.
fn head(run: &Run, problems: &[Problem<'_>]) -> Markup {
    html! {
        header.(class_of(run.verdict)) {
            p.tool { "vfio-conform: does this driver keep the VFIO migration protocol?" }
            h1 { span.sign aria-hidden="true" { (sign_of(run.verdict)) } " " (sentence(run)) }
            p.subject { (console::subject(run)) }
            (counts(run))
            (covered(run))
            @if problems.is_empty() {
                p { (nothing_broken(run)) }
            } @else {
                h2 { "What is broken" }
                ol.broken { @for (index, problem) in problems.iter().enumerate() { (findings::entry(index, problem)) } }
            }
            (first_command(run))
            nav aria-label="Sections" {
                @for (id, name) in SECTIONS { a href={ "#" (id) } { (name) } " " }
            }
        }
    }
}

const SECTIONS: [(&str, &str); 6] = [
    ("findings", "Findings"),
    ("machine", "State machine"),
    ("checks", "Requirements and checks"),
    ("estimates", "Estimates"),
    ("time", "Time"),
    ("environment", "Environment"),
];

/// The command for whoever reads no further.
fn first_command(run: &Run) -> Markup {
    let worst = Verdict::ALL
        .into_iter()
        .filter(|verdict| !matches!(verdict, Verdict::Pass | Verdict::Skip))
        .find_map(|verdict| run.with_verdict(verdict).next());
    html! {
        @if let Some(check) = worst {
            p.see { "See the worst again, alone:" }
            (part::command(&run.reproduce(&check.name)))
        }
    }
}

fn subject_in_short(run: &Run) -> String {
    let device = run.ready.as_ref().map_or(&run.began.device, |ready| &ready.identity.name);
    match &run.ready {
        Some(ready) => one_line(&format!("{device}, {}", ready.identity.driver)),
        None => one_line(device),
    }
}

fn sentence(run: &Run) -> String {
    let who = match &run.ready {
        Some(ready) => one_line(&ready.identity.driver),
        None => one_line(&run.began.device),
    };
    let sentence = match run.verdict {
        RunVerdict::Conforms | RunVerdict::BelowLevel => format!("{who} {}", coverage::verdict(run)),
        RunVerdict::DoesNotConform => format!("{who} does not conform"),
        RunVerdict::Incomplete => format!("{who}: incomplete, no verdict yet"),
        RunVerdict::NothingTested => format!("{who}: nothing was tested"),
    };
    match (run.stopped_by, run.cut_off) {
        (Some(signal), _) => format!("{sentence} (the run was stopped by {signal})"),
        (None, true) => format!("{sentence} (the run was cut off)"),
        (None, false) => sentence + &run.but_for(),
    }
}

fn nothing_broken(run: &Run) -> String {
    let blocked = run.with_verdict(Verdict::Blocked).filter(|check| !run.is_expected(check)).count();
    match blocked {
        0 => format!("Nothing that was tested is broken{}.", run.but_for()),
        blocked => format!(
            "Nothing that was tested is broken, but {} could not have {} say.",
            plural(blocked, "check"),
            if blocked == 1 { "its" } else { "their" }
        ),
    }
}

/// The counts as a bar, and as words.
fn counts(run: &Run) -> Markup {
    let counts: Vec<(Verdict, usize)> =
        Verdict::ALL.into_iter().map(|verdict| (verdict, run.with_verdict(verdict).count())).collect();
    let counts: Vec<(Verdict, usize)> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
    html! {
        div.bar aria-hidden="true" {
            @for (verdict, count) in &counts { span.(verdict.word()) style={ "flex-grow:" (count) } {} }
        }
        p.counts {
            (plural(run.checks.len(), "check")) ":"
            @for (verdict, count) in &counts { " " span.count { (part::badge(*verdict)) " " b { (count) } } }
            " Exit code " b { (run.exit as u8) } @if run.began.strict { ", strict" } "."
        }
    }
}

/// How much was judged, and what would have more of it judged.
fn covered(run: &Run) -> Markup {
    let not_judged = coverage::not_judged(&run.coverage);
    html! {
        p.coverage { (with_code(&coverage::line(&run.coverage))) "." }
        ul.coverage {
            @for musts in coverage::musts(&run.coverage) { li { (musts) } }
            @for why in not_judged { li { "not judged: " (with_code(&why)) } }
        }
    }
}

/// A sentence whose backticks mark code.
fn with_code(text: &str) -> Markup {
    html! {
        @for (index, part) in one_line(text).split('`').enumerate() {
            @if index % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}

fn machine(transitions: Option<&Transitions<'_>>, problems: &[Problem<'_>]) -> Markup {
    html! {
        section #machine aria-labelledby="machine-h" {
            h2 #machine-h { "State machine" }
            @match transitions {
                None => p { "The device offers no migration, or nothing is known of it, so there is none." },
                Some(all) => {
                    @if !all.are_judged() {
                        p { "No check of this run judged a transition; counts are of what other checks needed." }
                    }
                    div.side {
                        (diagram::figure(all))
                        (matrix::table(all, problems))
                    }
                }
            }
        }
    }
}

fn class_of(verdict: RunVerdict) -> &'static str {
    match verdict {
        RunVerdict::Conforms => "pass",
        RunVerdict::DoesNotConform => "fail",
        RunVerdict::Incomplete | RunVerdict::BelowLevel | RunVerdict::NothingTested => "blocked",
    }
}

fn sign_of(verdict: RunVerdict) -> &'static str {
    match verdict {
        RunVerdict::Conforms => part::mark(Verdict::Pass),
        RunVerdict::DoesNotConform => part::mark(Verdict::Fail),
        RunVerdict::Incomplete | RunVerdict::BelowLevel | RunVerdict::NothingTested => part::mark(Verdict::Blocked),
    }
}
