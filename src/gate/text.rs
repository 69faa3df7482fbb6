//! A comparison for people: on a terminal, and as Markdown for a pull request.

use std::fmt::Write;

use super::compare::{Change, Kind};
use super::mail::Fate;
use super::patch::Patch;
use super::report::{Extent, GateReport, Outcome, Side, Unjudged};
use super::{JSON, MARKDOWN};
use crate::harness::verdict::Verdict;
use crate::report::block::{Block, STRONG, colour, paint};
use crate::report::markdown::{fenced, prose, quoted};
use crate::report::text::{clean, one_line, plural, span};

/// How wide the labels are.
const LABELS: usize = 13;
const INDENT: usize = 2;
/// How many requirements of a change are shown.
const REQUIREMENTS: usize = 4;
/// How many names a list of checks shows.
const NAMES: usize = 6;

/// The text for a terminal: a block for each change, then what it comes to.
pub fn to_text(report: &GateReport, folder: &str, width: usize) -> String {
    let mut text = String::new();
    for change in &report.changes {
        text += &block_of(change, width);
        text.push('\n');
    }
    text + &summary(report, folder, width)
}

fn block_of(change: &Change, width: usize) -> String {
    let mut block = Block::new(INDENT, LABELS, width);
    block.headline(&format!(
        "{}  {}",
        paint(colour(like(change.kind)), change.kind.word()),
        paint(STRONG, &one_line(&change.check))
    ));
    block.paragraph("was, is", &format!("{} -> {}", verdicts(&change.was), verdicts(&change.is)));
    for meant in change.requirements.iter().take(REQUIREMENTS) {
        let statement = meant.statement.map_or(String::new(), |statement| format!(": {statement}"));
        block.paragraph("requirement", &format!("{}{statement}", meant.id));
        if let Some(came) = &meant.came {
            block.paragraph("came", came);
        }
    }
    if !change.message.is_empty() {
        block.paragraph("what", &change.message);
    }
    if !change.reproduce.is_empty() {
        block.lines("see it again", &[one_line(&change.reproduce)]);
    }
    block.into_text()
}

/// The verdict whose colour a kind of change has.
fn like(kind: Kind) -> Verdict {
    match kind {
        Kind::Regression => Verdict::Fail,
        Kind::Fixed => Verdict::Pass,
        Kind::Flaky | Kind::Unclear => Verdict::Warn,
        Kind::New | Kind::Gone | Kind::Unjudged | Kind::Unchanged => Verdict::Skip,
    }
}

fn verdicts(of_runs: &[Verdict]) -> String {
    let uniform = of_runs.first().filter(|first| of_runs.iter().all(|verdict| verdict == *first));
    match (uniform, of_runs.len()) {
        (_, 0) => "not there".to_owned(),
        (Some(verdict), 1) => verdict.to_string(),
        (Some(verdict), times) => format!("{verdict} ({times} times)"),
        (None, _) => of_runs.iter().map(Verdict::to_string).collect::<Vec<_>>().join(", "),
    }
}

fn summary(report: &GateReport, folder: &str, width: usize) -> String {
    let mut block = Block::new(0, LABELS, width);
    for (label, side) in [("base", &report.base), ("head", &report.head)] {
        block.paragraph(label, &side_in_words(side));
    }
    let mails: Vec<String> = report.patches.iter().flat_map(mails_in_words).collect();
    if !mails.is_empty() {
        block.lines("mails", &mails.iter().map(|mail| clean(mail)).collect::<Vec<_>>());
    }
    block.paragraphs("uAPI text", &report.uapi.lines());
    if let Some(blocked) = &report.obstacle {
        // What a compiler says keeps its lines.
        let said = format!("the {}: {}", blocked.side, blocked.obstacle);
        block.lines("obstacle", &said.lines().map(clean).collect::<Vec<_>>());
    } else {
        block.paragraph("checks", &counts(report));
        for unjudged in &report.unjudged {
            block.paragraph("not judged", &unjudged_in_words(unjudged));
        }
    }
    for doubt in &report.doubts {
        block.paragraph("doubt", &doubt.to_string());
    }
    let phases: Vec<String> =
        report.phases.named().map(|(name, seconds)| format!("{name} {}", span(seconds))).collect();
    let phases = if phases.is_empty() { String::new() } else { format!(": {}", phases.join(", ")) };
    block.paragraph("time", &format!("{}{phases}", span(report.seconds)));
    block.lines("reports", &[format!("{folder}: {JSON}, {MARKDOWN}")]);
    let style = colour(match report.outcome {
        Outcome::NoRegression => Verdict::Pass,
        Outcome::Regression => Verdict::Fail,
        Outcome::CannotTell => Verdict::Blocked,
    });
    let code = report.outcome.exit() as u8;
    block.lines("outcome", &[format!("{} (exit code {code})", paint(style, in_words(report.outcome)))]);
    block.into_text()
}

/// A line for each mail that a patch was found in.
fn mails_in_words(patch: &Patch) -> impl Iterator<Item = String> {
    patch.mails.iter().map(|mail| format!("{}: {}", fate_in_words(mail.fate), one_line(&mail.subject)))
}

fn fate_in_words(fate: Fate) -> String {
    match fate {
        Fate::Applied => "used".to_owned(),
        Fate::Superseded { by } => format!("not used (v{by} replaces it)"),
        Fate::Reply => "not used (a reply)".to_owned(),
        Fate::NoDiff => "not used (no diff)".to_owned(),
    }
}

fn side_in_words(side: &Side) -> String {
    let reused = match side.reused {
        0 => String::new(),
        1 => " (a finished run, reused)".to_owned(),
        count => format!(" ({count} finished runs, reused)"),
    };
    match &side.subject {
        Some(subject) => format!("{}: {subject}{reused}", side.name),
        None => format!("{}: not tested", side.name),
    }
}

fn counts(report: &GateReport) -> String {
    let unjudged: usize = report.unjudged.iter().map(|unjudged| unjudged.checks.len()).sum();
    let counts: Vec<String> = Kind::ALL
        .into_iter()
        .map(|kind| (report.of_kind(kind).count(), kind))
        .filter(|(count, _)| *count > 0)
        .map(|(count, kind)| format!("{count} {}", kind.word()))
        .chain([format!("{} unchanged", report.unchanged)])
        .collect();
    let Extent { checks, compared, skipped } = report.extent;
    let rest = [(skipped, "skipped on both sides"), (unjudged, "judged on neither side")];
    let rest = rest.into_iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("; {count} {what}"));
    format!("{compared} of {checks} compared: {}{}", counts.join(", "), rest.collect::<String>())
}

fn unjudged_in_words(unjudged: &Unjudged) -> String {
    let Unjudged { why, checks } = unjudged;
    let names = checks.iter().take(NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = checks.len().saturating_sub(NAMES);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    format!("{names}{more}: {}", one_line(why))
}

fn in_words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::NoRegression => "no regression",
        Outcome::Regression => "regression",
        Outcome::CannotTell => "cannot tell",
    }
}

/// The text for a pull request.
pub fn to_markdown(report: &GateReport) -> String {
    let mut text = format!("### VFIO migration: {}\n\n", in_words(report.outcome));
    for (label, side) in [("Base", &report.base), ("Head", &report.head)] {
        let _ = writeln!(text, "- {label}: {}", prose(&side_in_words(side)));
    }
    for mail in report.patches.iter().flat_map(mails_in_words) {
        let _ = writeln!(text, "- Mail {}", prose(&mail));
    }
    for line in report.uapi.lines() {
        let _ = writeln!(text, "- uAPI text {}", prose(&line));
    }
    match &report.obstacle {
        Some(blocked) => {
            let said = quoted(&blocked.obstacle.to_string());
            let _ = writeln!(text, "\nThe {} could not be tested:\n\n{said}", blocked.side);
        }
        None => {
            let _ = writeln!(text, "- Checks: {}", counts(report));
            for unjudged in &report.unjudged {
                let _ = writeln!(text, "- Not judged: {}", prose(&unjudged_in_words(unjudged)));
            }
        }
    }
    for doubt in &report.doubts {
        let _ = writeln!(text, "- Doubt: {}", prose(&doubt.to_string()));
    }
    if !report.changes.is_empty() {
        text += "\n| outcome | check | was | is | requirement |\n|---|---|---|---|---|\n";
    }
    for change in &report.changes {
        let ids: Vec<String> = change.requirements.iter().map(|meant| format!("`{}`", meant.id)).collect();
        let _ = writeln!(
            text,
            "| {} | `{}` | {} | {} | {} |",
            change.kind.word(),
            change.check,
            verdicts(&change.was),
            verdicts(&change.is),
            ids.join(", ")
        );
    }
    for change in report.of_kind(Kind::Regression) {
        let _ = writeln!(
            text,
            "\n<details><summary>{}</summary>\n\n{}\n\n{}\n</details>",
            change.check,
            prose(&change.message),
            fenced(&change.reproduce)
        );
    }
    let _ = writeln!(text, "\n{} in {}", plural(report.extent.checks, "check"), span(report.seconds));
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gate::doubt::WhichSide;
    use crate::gate::report::{Blocked, FORMAT, Phases};
    use crate::gate::trial::Obstacle;
    use crate::gate::uapi::UapiChanges;

    #[test]
    fn what_a_compiler_says_cannot_end_its_block() {
        let obstacle = Obstacle::DoesNotBuild("vfio_main.c:1: unknown type `this'\n```\n# not a heading".to_owned());
        let blocked = Blocked { side: WhichSide::Head, obstacle };
        let report = GateReport {
            format: FORMAT,
            outcome: blocked.outcome(),
            base: Side::new("7.3".to_owned(), None),
            head: Side::new("7.3 with the patch".to_owned(), None),
            patches: Vec::new(),
            uapi: UapiChanges::default(),
            obstacle: Some(blocked),
            changes: Vec::new(),
            unchanged: 0,
            extent: Extent::default(),
            unjudged: Vec::new(),
            doubts: Vec::new(),
            seconds: 1.0,
            phases: Phases::default(),
        };
        let text = to_markdown(&report);
        assert!(
            text.contains("\n````text\nit does not build\n") && text.contains("\n# not a heading\n````\n"),
            "{text}"
        );
    }
}
