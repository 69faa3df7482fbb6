//! The summary for people: every finding, then what the run came to.

use std::io::{self, Write};
use std::path::Path;

use super::block::{Block, STRONG, colour, paint};
use super::coverage;
use super::finding::{self, Alike, LABELS};
use super::measure::Figures;
use super::run::Run;
use super::text::{WIDTH, clean, one_line, plural, span, wrap};
use super::write::{HTML, JOURNAL, JSON, JUNIT, MARKDOWN};
use crate::baseline::Gone;
use crate::harness::verdict::{Exit, RunVerdict, Verdict};

/// The narrowest form that is still readable.
const NARROWEST: usize = 60;
/// How far a finding's paragraphs are from the left.
const INDENT: usize = 2;
/// How many different reasons for a skip or a block are shown.
const REASONS: usize = 12;

/// Prints the summary to standard output: as wide as the terminal allows, and in colour where that is wanted.
///
/// # Errors
/// What writing answered.
pub fn print(run: &Run, folder: &Path) -> io::Result<()> {
    write(run, folder, terminal_width(), &mut anstream::stdout())
}

/// How wide a summary on standard output should be: 100, or the terminal's width if that is less.
pub fn terminal_width() -> usize {
    match terminal_size::terminal_size() {
        Some((width, _)) => usize::from(width.0).clamp(NARROWEST, WIDTH),
        None => WIDTH,
    }
}

/// Writes the summary with colours as ANSI escapes; hand it a writer of `anstream` to have them stripped where they
/// are not wanted.
///
/// # Errors
/// What writing answered.
pub fn write(run: &Run, folder: &Path, width: usize, out: &mut impl Write) -> io::Result<()> {
    for alike in finding::all(run) {
        writeln!(out, "{}", finding_block(run, &alike, width))?;
    }
    write!(out, "{}", summary(run, folder, width))
}

/// What was tested, on one line: device, driver, kernel and lab, as far as they are known.
pub fn subject(run: &Run) -> String {
    let began = &run.began;
    let lab = match &began.target {
        Some(target) => format!("lab {}, target {target}", began.lab),
        None => format!("lab {}", began.lab),
    };
    let Some(ready) = &run.ready else {
        let kernel = began.kernel.as_deref().unwrap_or("unknown");
        return one_line(&format!("{} (never ready), kernel {kernel}, {lab}", began.device));
    };
    let capabilities = match ready.capabilities {
        Some(set) => set.to_string(),
        None => "not migratable".to_owned(),
    };
    let accelerator = match &ready.accelerator {
        Some(accelerator) => format!(" ({accelerator})"),
        None => String::new(),
    };
    let beside: String = ready.beside.iter().map(|other| format!(" beside {}", other.name)).collect();
    one_line(&format!(
        "{}{beside} via {}, driver {}, {capabilities}, kernel {}, {lab}{accelerator}",
        ready.identity.name, ready.identity.via, ready.identity.driver, ready.kernel
    ))
}

fn finding_block(run: &Run, alike: &Alike<'_>, width: usize) -> String {
    let check = alike.first;
    let outcome = &check.outcome;
    let mut block = Block::new(INDENT, LABELS, width);
    block.headline(&format!(
        "{}  {}",
        paint(colour(outcome.verdict), outcome.verdict.word()),
        paint(STRONG, &one_line(&check.name)),
    ));
    // The message of a judged finding only repeats what is described below it.
    let is_judged = matches!(outcome.verdict, Verdict::Fail | Verdict::Warn) && !outcome.broken.is_empty();
    if !outcome.message.is_empty() && !is_judged {
        block.paragraph("what", &outcome.message);
    }
    finding::describe(&mut block, outcome, &check.requirements);
    block.lines("run again", &[clean(&run.reproduce(&check.name))]);
    if !alike.others.is_empty() {
        let names: Vec<&str> = alike.others.iter().map(|other| other.name.as_str()).collect();
        let text = format!("{} more: {}", names.len(), names.join(", "));
        block.paragraph("alike", &text);
    }
    block.into_text()
}

fn summary(run: &Run, folder: &Path, width: usize) -> String {
    let mut block = Block::new(0, LABELS, width);
    block.paragraph("tested", &subject(run));
    if let Some(Err(why)) = run.ready.as_ref().map(|ready| &ready.tracing) {
        block.paragraph("", &format!("the kernel's own path was not observed: {why}"));
    }
    block.paragraph("checks", &counts(run));
    if let Some(left) = left(run) {
        block.paragraph("left", &left);
    }
    block.paragraphs("musts", &coverage::musts(&run.coverage));
    block.paragraphs("not judged", &coverage::not_judged(&run.coverage));
    block.paragraphs("expected", &expected(run));
    block.paragraphs("gone", &gone(run));
    block.paragraphs("blocked", &reasons(run, Verdict::Blocked));
    block.paragraphs("skip", &reasons(run, Verdict::Skip));
    block.paragraphs("note", &notes(run));
    block.rows("measured", &Figures::of(run).rows());
    block.paragraph("time", &time(run));
    block.lines("reports", &[folder.display().to_string()]);
    block.paragraph("", &format!("{HTML}, {MARKDOWN}, {JUNIT}, {JSON}, {JOURNAL}"));
    block.lines("verdict", &verdict(run, width.saturating_sub(LABELS)));
    if let Some(next) = resume(run, folder).or_else(|| next(run)) {
        block.lines("next", &next);
    }
    block.into_text()
}

fn counts(run: &Run) -> String {
    let counts = run.tally();
    match counts.is_empty() {
        true => "none was planned, since the filter matches no check; -- --list shows those that there are".to_owned(),
        false => format!("{} planned: {}", run.checks.len(), counts.join(", ")),
    }
}

/// What `run --resume` would run of a run that is not finished; `None` if the run is finished or cannot be resumed.
pub fn left(run: &Run) -> Option<String> {
    let remaining = run.remaining().filter(|_| run.exit == Exit::Unfinished)?;
    let retry = match remaining.interrupted {
        0 => String::new(),
        count => format!(", and with --retry {} that may have brought the run to its end", plural(count, "check")),
    };
    let count = match remaining.waiting {
        0 => "no check".to_owned(),
        count => plural(count, "check"),
    };
    Some(format!("{} --resume would run {count}{retry}", resumed_by(run)))
}

/// Why checks came to this verdict, the most frequent reason first.
fn reasons(run: &Run, verdict: Verdict) -> Vec<String> {
    let reasons = run.reasons(verdict);
    let more = reasons.len().saturating_sub(REASONS);
    let mut lines: Vec<String> = reasons
        .iter()
        .take(REASONS)
        .map(|(reason, checks)| match checks.as_slice() {
            [only] => format!("1: {reason} ({})", only.name),
            checks => format!("{}: {reason}", checks.len()),
        })
        .collect();
    if more > 0 {
        lines.push(format!("{} more in {JSON}", plural(more, "reason")));
    }
    lines
}

/// What was expected, for each reason.
fn expected(run: &Run) -> Vec<String> {
    let mut reasons: Vec<(String, usize)> = Vec::new();
    for expected in run.baseline.iter().flat_map(|baseline| &baseline.expected) {
        let fixed = expected.fixed.as_ref().map_or(String::new(), |commit| format!(" (mended by {commit})"));
        let reason = format!("{}{fixed}", expected.reason);
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => reasons.push((reason, 1)),
        }
    }
    reasons.into_iter().map(|(reason, count)| format!("{count}: {reason}")).collect()
}

/// What was expected and did not come.
fn gone(run: &Run) -> Vec<String> {
    let gone = run.baseline.iter().flat_map(|baseline| &baseline.gone);
    gone.map(|gone| {
        let Gone { check, expected, came, file, .. } = gone;
        format!("{check} was expected to {expected} and came to {came}: take it out of {file}")
    })
    .collect()
}

fn notes(run: &Run) -> Vec<String> {
    let mut notes = run.notes.clone();
    let remarked = run
        .checks
        .iter()
        .filter(|check| !check.outcome.verdict.is_finding())
        .filter(|check| !check.outcome.evidence.notes.is_empty())
        .count();
    if remarked > 0 {
        notes.push(format!("{} left remarks, in {JSON}", plural(remarked, "check")));
    }
    notes
}

fn time(run: &Run) -> String {
    let timeline = &run.timeline;
    let origin = timeline.power_on.unwrap_or(0.0);
    let whole = match (timeline.power_on_to_verdict, timeline.verdict) {
        (Some(seconds), _) => format!("{} from power-on to verdict", span(seconds)),
        (None, Some(verdict)) => format!("{} from start to verdict", span(verdict)),
        (None, None) => format!("cut off {} after its start", span(timeline.last_event)),
    };
    let stages: Vec<String> = [
        ("guest up", timeline.guest_up),
        ("device ready", timeline.device_ready),
        ("checks done", timeline.checks_done),
    ]
    .into_iter()
    .filter_map(|(stage, at)| at.map(|at| format!("{stage} after {}", span(at - origin))))
    .collect();
    let mut time = whole;
    if !stages.is_empty() {
        time = format!("{time}: {}", stages.join(", "));
    }
    if !run.restarts.is_empty() {
        time = format!("{time}; {}", plural(run.restarts.len(), "restart"));
    }
    time
}

/// The verdict in one line, its first words in colour.
fn verdict(run: &Run, width: usize) -> Vec<String> {
    let style = colour(match run.verdict {
        RunVerdict::Conforms => Verdict::Pass,
        RunVerdict::DoesNotConform => Verdict::Fail,
        RunVerdict::Incomplete | RunVerdict::BelowLevel | RunVerdict::NothingTested => Verdict::Blocked,
    });
    let verdict = coverage::verdict(run);
    let strict = if run.began.strict { ", strict" } else { "" };
    let cut_off = how_it_ended(run);
    let code = run.exit as u8;
    let exit = match exit_reason(run) {
        Some(reason) => format!("exit code {code}: {reason}"),
        None => format!("exit code {code}"),
    };
    let but = run.but_for();
    let line = coverage::line(&run.coverage);
    let mut lines = wrap(&format!("{verdict}{but}{strict}{cut_off} ({exit}); {line}"), width);
    let word = run.verdict.to_string();
    if let Some(first) = lines.first_mut() {
        *first = first.replacen(&word, &paint(style, &word), 1);
    }
    lines
}

/// Why the exit code is what it is, where the verdict does not say so.
fn exit_reason(run: &Run) -> Option<&'static str> {
    match run.exit {
        Exit::Unfinished => Some("not every check had its say"),
        Exit::NothingTested if run.verdict == RunVerdict::BelowLevel => None,
        Exit::NothingTested => Some("no check was executed"),
        Exit::Conforms | Exit::Findings | Exit::Usage => None,
    }
}

/// What a verdict says of a run that did not come to its end by itself: `, cut off`, or nothing.
pub fn how_it_ended(run: &Run) -> String {
    match run.stopped_by {
        Some(signal) => format!(", stopped by {signal}"),
        None if run.cut_off => ", cut off".to_owned(),
        None => String::new(),
    }
}

/// How a run is resumed that was stopped or cut off.
fn resume(run: &Run, folder: &Path) -> Option<[String; 2]> {
    let ended_early = run.stopped_by.is_some() || run.cut_off;
    let waiting = run.remaining().filter(|_| ended_early)?.waiting;
    let why = format!("run the {} that are left:", plural(waiting, "check"));
    let command = format!("vfio-conform {} --resume {}", resumed_by(run), folder.display());
    (waiting > 0).then(|| [why, clean(&command)])
}

/// The command that resumes such a run.
fn resumed_by(run: &Run) -> &'static str {
    match run.began.guest {
        Some(_) => "qemu",
        None => "run",
    }
}

/// What to do next: the command, and before it why.
fn next(run: &Run) -> Option<[String; 2]> {
    let worst = Verdict::ALL
        .into_iter()
        .filter(|verdict| *verdict != Verdict::Pass)
        .filter(|verdict| *verdict != Verdict::Skip || run.verdict == RunVerdict::NothingTested)
        .find_map(|verdict| run.with_verdict(verdict).find(|check| !run.is_expected(check)))?;
    if worst.outcome.blocked_by_key.is_some() && run.began.lab == "local" {
        let command = format!("vfio-conform profile try {} --profile FILE", run.began.device);
        return Some(["see what the keys of the profile do, which were not seen to work:".to_owned(), clean(&command)]);
    }
    let why = match worst.outcome.verdict {
        Verdict::Blocked => "run the first check that was blocked:",
        Verdict::Skip => "provide what the first check needs, then run it:",
        _ => "run the worst finding again, alone:",
    };
    Some([why.to_owned(), clean(&run.reproduce(&worst.name))])
}
