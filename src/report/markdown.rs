//! `summary.md`: the run for the conversation of a pull request, and for the summary page of a CI job.

use super::evidence;
use super::finding::{self, Problem};
use super::run::{CheckRun, Run};
use super::text::{clean, one_line, plural};
use super::{console, coverage};
use crate::harness::outcome::{Broken, Outcome};
use crate::harness::verdict::{RunVerdict, Verdict};

/// How many problems are shown. A comment of a pull request holds no more than 64 KiB.
const PROBLEMS: usize = 20;
/// How many other ways of each are named.
const WAYS: usize = 5;
/// How many others of a kind are named.
const ALIKE: usize = 5;
/// How much of a text is shown.
const TEXT_CHARACTERS: usize = 400;

/// Makes the text of `summary.md`.
pub fn to_markdown(run: &Run) -> String {
    let mut parts = vec![
        format!(
            "## {} vfio-conform: {}{}{}",
            sign(run.verdict),
            coverage::verdict(run),
            run.but_for(),
            console::how_it_ended(run)
        ),
        format!("{} ({})", code(&console::subject(run)), exit(run)),
        counts(run),
        covered(run),
    ];
    parts.extend(console::left(run).map(|left| prose(&format!("Left: {left}"))));
    let problems = finding::problems(run);
    if !problems.is_empty() {
        parts.push("### Findings".to_owned());
    }
    parts.extend(problems.iter().take(PROBLEMS).map(|problem| problem_part(run, problem)));
    if let more @ 1.. = problems.len().saturating_sub(PROBLEMS) {
        parts.push(format!("And {}, in `report.html`.", plural(more, "more broken requirement")));
    }
    parts.extend(blocked(run));
    parts.extend(run.notes.iter().map(|note| format!("Note: {}", prose(note))));
    parts.push(format!(
        "<sub>vfio-conform {}, run {}. `report.html` beside this file has the evidence.</sub>",
        prose(&run.began.tool),
        code(&run.began.run)
    ));
    parts.join("\n\n") + "\n"
}

fn sign(verdict: RunVerdict) -> &'static str {
    match verdict {
        RunVerdict::Conforms => "✅",
        RunVerdict::DoesNotConform => "❌",
        RunVerdict::Incomplete | RunVerdict::BelowLevel | RunVerdict::NothingTested => "⚠️",
    }
}

fn exit(run: &Run) -> String {
    let strict = if run.began.strict { ", strict" } else { "" };
    format!("exit code {}{strict}", run.exit as u8)
}

fn counts(run: &Run) -> String {
    let counts: Vec<(Verdict, usize)> = Verdict::ALL
        .into_iter()
        .map(|verdict| (verdict, run.with_verdict(verdict).count()))
        .filter(|(_, count)| *count > 0)
        .collect();
    if counts.is_empty() {
        return "No check was planned.".to_owned();
    }
    let row = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let heads = std::iter::once("planned".to_owned()).chain(counts.iter().map(|(verdict, _)| verdict.to_string()));
    let numbers =
        std::iter::once(run.checks.len().to_string()).chain(counts.iter().map(|(_, count)| count.to_string()));
    let rule = vec!["---:".to_owned(); counts.len() + 1];
    [row(heads.collect()), row(rule), row(numbers.collect())].join("\n")
}

/// How much was judged, and what would have more of it judged.
fn covered(run: &Run) -> String {
    let mut lines = vec![format!("{}.", with_code(&coverage::line(&run.coverage))), String::new()];
    lines.extend(coverage::musts(&run.coverage).iter().map(|musts| format!("- {musts}")));
    lines.extend(coverage::not_judged(&run.coverage).iter().map(|why| format!("- not judged: {}", with_code(why))));
    lines.join("\n")
}

/// A sentence in which backticks are ours and stay code.
fn with_code(text: &str) -> String {
    let text = shortened(text);
    let parts = text.split('`').enumerate();
    parts.map(|(index, part)| if index % 2 == 1 { code(part) } else { escaped(part) }).collect()
}

fn problem_part(run: &Run, problem: &Problem<'_>) -> String {
    let check = problem.first.first;
    let outcome = &check.outcome;
    let mut lines = vec![format!("**{}** {}", outcome.verdict, code(&check.name)), String::new()];
    match outcome.broken.is_empty() {
        true => lines.extend(unjudged(outcome)),
        false => lines.extend(outcome.broken.iter().flat_map(broken)),
    }
    lines.extend(problem.others.iter().take(WAYS).map(|alike| way(alike.first)));
    if let more @ 1.. = problem.others.len().saturating_sub(WAYS) {
        lines.push(format!("- and {}", plural(more, "more way")));
    }
    if !problem.first.others.is_empty() {
        lines.push(format!("- alike: {}", others(&problem.first.others)));
    }
    lines.extend([String::new(), fenced(&run.reproduce(&check.name))]);
    lines.join("\n")
}

/// Another way in which the same requirement is broken.
fn way(check: &CheckRun) -> String {
    let what = check
        .outcome
        .broken
        .first()
        .map_or_else(String::new, |broken| format!(": {} came to {}", code(&broken.asked), code(&broken.actual)));
    format!("- also {}{what}", code(&check.name))
}

fn broken(broken: &Broken) -> Vec<String> {
    vec![
        format!(
            "- {} ({}): {}",
            code(&broken.requirement),
            coverage::binds(&broken.requirement, broken.level),
            prose(&broken.statement)
        ),
        format!("- asked: {}", code(&broken.asked)),
        format!("- expected: {}", code(&broken.expected)),
        format!("- came: {}", code(&broken.actual)),
    ]
}

fn unjudged(outcome: &Outcome) -> Vec<String> {
    let mut lines = vec![format!("- {}", prose(&outcome.message))];
    lines.extend(outcome.evidence.operations.last().map(|last| format!("- asked last: {}", code(&last.what))));
    let kernel = evidence::kernel_log_headline(&outcome.evidence.kernel_log);
    lines.extend(kernel.map(|line| format!("- kernel log: {}", code(line))));
    lines
}

fn others(others: &[&CheckRun]) -> String {
    let names: Vec<String> = others.iter().take(ALIKE).map(|check| code(&check.name)).collect();
    match others.len().saturating_sub(ALIKE) {
        0 => names.join(", "),
        more => format!("{} and {more} more", names.join(", ")),
    }
}

/// What blocked checks, since that alone keeps a run from conforming.
fn blocked(run: &Run) -> Option<String> {
    let reasons = run.reasons(Verdict::Blocked);
    let count = plural(reasons.iter().map(|(_, checks)| checks.len()).sum(), "check");
    let lines: Vec<String> = reasons
        .iter()
        .take(WAYS)
        .map(|(reason, checks)| format!("- {}, first {}: {}", checks.len(), code(&checks[0].name), prose(reason)))
        .collect();
    let more = reasons.len().saturating_sub(WAYS);
    let more = if more > 0 { format!("\n- and {}", plural(more, "more reason")) } else { String::new() };
    (!reasons.is_empty()).then(|| format!("{count} blocked:\n\n{}{more}", lines.join("\n")))
}

/// Text of any origin as a code span, in which Markdown means nothing and nobody is mentioned.
fn code(text: &str) -> String {
    let text = shortened(text);
    let fence = "`".repeat(longest_run_of_backticks(&text) + 1);
    match text.starts_with('`') || text.ends_with('`') || text.is_empty() {
        true => format!("{fence} {text} {fence}"),
        false => format!("{fence}{text}{fence}"),
    }
}

/// A command as a block that GitHub shows with a button to copy it.
pub fn fenced(command: &str) -> String {
    block("sh", &clean(command))
}

/// What a program said as a block.
pub fn quoted(said: &str) -> String {
    block("text", &clean(said))
}

/// No text can end its block.
fn block(language: &str, text: &str) -> String {
    let fence = "`".repeat(longest_run_of_backticks(text).max(2) + 1);
    format!("{fence}{language}\n{text}\n{fence}")
}

fn longest_run_of_backticks(text: &str) -> usize {
    text.split(|character| character != '`').map(str::len).max().unwrap_or(0)
}

/// Text of any origin as words between others: what Markdown or HTML would take for more is escaped, and `@` does not
/// mention anyone.
pub fn prose(text: &str) -> String {
    escaped(&shortened(text))
}

fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            '@' => escaped.push_str("`@`"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '|' | '~' | '!' | '>' => escaped.extend(['\\', character]),
            _ => escaped.push(character),
        }
    }
    escaped
}

fn shortened(text: &str) -> String {
    let text = one_line(text);
    match text.char_indices().nth(TEXT_CHARACTERS) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text,
    }
}
