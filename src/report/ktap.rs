//! The run as KTAP, which kernel developers' tools read (`Documentation/dev-tools/ktap.rst`): a test for each chapter,
//! and in it one for each check.

use super::finding::finding_text_of;
use super::run::{CheckRun, Run};
use super::text::one_line;
use super::{console, coverage};
use crate::harness::verdict::Verdict;

/// Makes the text of the run as KTAP. Every line ends in a newline.
///
/// | verdict | line |
/// |---|---|
/// | pass | `ok` |
/// | warn | `ok`, in a strict run `not ok` |
/// | fail | `not ok` |
/// | hang | `not ok`, `TIMEOUT` |
/// | crash, blocked | `not ok`, `ERROR` |
/// | skip | `ok`, `SKIP` |
pub fn to_ktap(run: &Run) -> String {
    let chapters = run.chapters();
    let mut lines = vec!["KTAP version 1".to_owned(), format!("1..{}", chapters.len())];
    lines.extend([format!("# tested: {}", console::subject(run)), format!("# run: {}", one_line(&run.began.run))]);
    for (index, chapter) in chapters.into_iter().enumerate() {
        lines.extend(test_of_chapter(run, chapter, index + 1));
    }
    lines.extend(run.notes.iter().map(|note| format!("# note: {}", one_line(note))));
    let about = coverage::musts(&run.coverage)
        .into_iter()
        .chain(coverage::not_judged(&run.coverage).into_iter().map(|why| format!("not judged: {why}")));
    lines.extend(about.map(|line| format!("# {}", one_line(&line))));
    lines.push(format!("# coverage: {}", one_line(&coverage::line(&run.coverage))));
    lines.push(format!("# verdict: {} (exit code {})", coverage::verdict(run), run.exit as u8));
    lines.into_iter().map(|line| line + "\n").collect()
}

fn test_of_chapter(run: &Run, chapter: &str, number: usize) -> Vec<String> {
    let checks: Vec<&CheckRun> = run.checks.iter().filter(|check| check.chapter() == chapter).collect();
    let mut inner = vec![
        "KTAP version 1".to_owned(),
        format!("# Subtest: {}", description(chapter)),
        format!("1..{}", checks.len()),
    ];
    for (index, check) in checks.iter().enumerate() {
        inner.extend(diagnostics(run, check));
        inner.push(result_line(run, check, index + 1));
    }
    let result = match checks.iter().all(|check| is_ok(run, check.outcome.verdict)) {
        true => "ok",
        false => "not ok",
    };
    let skipped = match checks.iter().all(|check| check.outcome.verdict == Verdict::Skip) {
        true => " # SKIP no check of this chapter applies",
        false => "",
    };
    let mut lines: Vec<String> = inner.into_iter().map(|line| format!("  {line}")).collect();
    lines.push(format!("{result} {number} {}{skipped}", description(chapter)));
    lines
}

fn result_line(run: &Run, check: &CheckRun, number: usize) -> String {
    let verdict = check.outcome.verdict;
    let result = if is_ok(run, verdict) { "ok" } else { "not ok" };
    let name = description(check.short_name());
    let message = one_line(&check.outcome.reason());
    let why = match verdict {
        Verdict::Pass => String::new(),
        Verdict::Warn | Verdict::Fail => format!("{verdict}: {message}"),
        Verdict::Hang => format!("TIMEOUT {message}"),
        Verdict::Crash | Verdict::Blocked => format!("ERROR {verdict}: {message}"),
        Verdict::Skip => format!("SKIP {message}"),
    };
    match why.is_empty() {
        true => format!("{result} {number} {name}"),
        false => format!("{result} {number} {name} # {why}"),
    }
}

/// What stands before the result: why a check did not pass, and the remarks of one that did.
fn diagnostics(run: &Run, check: &CheckRun) -> Vec<String> {
    let outcome = &check.outcome;
    match outcome.verdict {
        Verdict::Pass | Verdict::Skip | Verdict::Blocked => {
            let note = |note: &String| format!("# note: {}", one_line(note));
            outcome.evidence.notes.iter().map(note).collect()
        }
        Verdict::Fail | Verdict::Warn | Verdict::Hang | Verdict::Crash => {
            let text = finding_text_of(run, check);
            text.lines().map(|line| format!("# {line}").trim_end().to_owned()).collect()
        }
    }
}

fn is_ok(run: &Run, verdict: Verdict) -> bool {
    match verdict {
        Verdict::Pass | Verdict::Skip => true,
        Verdict::Warn => !run.began.strict,
        Verdict::Fail | Verdict::Hang | Verdict::Crash | Verdict::Blocked => false,
    }
}

/// A name fit for a result line, in which a hash sign ends the name.
fn description(name: &str) -> String {
    one_line(name).replace('#', "_")
}
