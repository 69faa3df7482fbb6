//! A finding in words for someone who does not know the code.

use anstream::adapter::strip_str;

use super::block::Block;
use super::coverage;
use super::evidence;
use super::run::{CheckRun, Run};
use super::text::{WIDTH, clean, plural, wrap};
use crate::harness::outcome::{Broken, Evidence, Outcome};
use crate::harness::verdict::Verdict;
use crate::requirement;

/// How many of the requirements that it was to prove an unjudged finding shows.
const REQUIREMENTS: usize = 3;
/// How many of the last operations a finding shows.
const OPERATIONS: usize = 4;
/// How many of the kernel's own paths a finding shows.
const PATHS: usize = 3;
/// How many lines of the kernel log a finding shows.
const KERNEL_LOG: usize = 8;
/// How many remarks a finding shows.
const NOTES: usize = 3;

/// The width of the label column: the longest label and a gap.
pub const LABELS: usize = 13;

/// What a finding says, as plain text of several lines: why, the requirement, what was asked, expected and came, and
/// the evidence in short. Meant for the failure message of a trial.
pub fn finding_text(outcome: &Outcome) -> String {
    let mut block = plain_block(outcome);
    describe(&mut block, outcome, &[]);
    without_colours(block)
}

/// [`finding_text`] for a check of a run, which also knows what the check was to prove and how to repeat it.
pub fn finding_text_of(run: &Run, check: &CheckRun) -> String {
    let mut block = plain_block(&check.outcome);
    describe(&mut block, &check.outcome, &check.requirements);
    block.lines("run again", &[clean(&run.reproduce(&check.name))]);
    without_colours(block)
}

fn plain_block(outcome: &Outcome) -> Block {
    let mut block = Block::new(0, LABELS, WIDTH);
    let why = match outcome.message.is_empty() {
        true => outcome.verdict.to_string(),
        false => format!("{}: {}", outcome.verdict, outcome.reason()),
    };
    for line in wrap(&why, WIDTH) {
        block.headline(&line);
    }
    block
}

fn without_colours(block: Block) -> String {
    let text = strip_str(&block.into_text()).to_string();
    text.trim_end().to_owned()
}

/// Adds what was broken, and the evidence in short. `requirements` are what the check was to prove.
pub fn describe(block: &mut Block, outcome: &Outcome, requirements: &[String]) {
    for broken in &outcome.broken {
        describe_broken(block, broken);
    }
    if outcome.broken.is_empty() {
        describe_unjudged(block, outcome, requirements);
    }
    describe_evidence(block, &outcome.evidence);
}

/// Says of a hang or a crash that judged nothing what it came down to.
fn describe_unjudged(block: &mut Block, outcome: &Outcome, requirements: &[String]) {
    let (expected, came) = match outcome.verdict {
        Verdict::Hang => ("the call comes back, with success or an error", "it never came back"),
        Verdict::Crash => (
            "the kernel reports nothing, and the executor survives",
            evidence::kernel_log_headline(&outcome.evidence.kernel_log).unwrap_or("the executor died"),
        ),
        _ => return,
    };
    let to_prove: Vec<String> = first(requirements, REQUIREMENTS).iter().map(|id| in_words(id)).collect();
    block.paragraphs("was to prove", &to_prove);
    if let Some(last) = outcome.evidence.operations.last() {
        block.paragraph("asked", &last.what);
    }
    block.paragraph("expected", expected);
    block.paragraph("came", came);
}

/// A requirement with its sentence, if the catalogue still has it: the journal of an unjudged check has only its id.
fn in_words(id: &str) -> String {
    match requirement::find(id) {
        Some(known) => format!("{id} ({}): {}", known.binds(), known.statement),
        None => id.to_owned(),
    }
}

fn describe_broken(block: &mut Block, broken: &Broken) {
    let binds = coverage::binds(&broken.requirement, broken.level);
    let text = format!("{} ({binds}): {}", broken.requirement, broken.statement);
    block.paragraph("requirement", &text);
    block.paragraph("asked", &broken.asked);
    block.paragraph("expected", &broken.expected);
    block.paragraph("came", &broken.actual);
}

fn describe_evidence(block: &mut Block, evidence: &Evidence) {
    let operations = last(&evidence.operations, OPERATIONS);
    let paths: Vec<String> = last(&evidence.paths, PATHS).iter().map(evidence::path).collect();
    let log = first(evidence::kernel_log_highlights(&evidence.kernel_log), KERNEL_LOG);
    let notes = first(&evidence.notes, NOTES);

    block.rows("seen last", &evidence::operations_list(operations));
    block.paragraphs("kernel path", &paths);
    block.rows("kernel log", log);
    block.paragraphs("note", notes);

    let left_out: Vec<String> = [
        (evidence.operations.len() - operations.len(), "operation"),
        (evidence.paths.len() - paths.len(), "kernel path"),
        (evidence.kernel_log.len() - log.len(), "kernel log line"),
        (evidence.notes.len() - notes.len(), "note"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, thing)| plural(count, thing))
    .collect();
    if !left_out.is_empty() {
        block.paragraph("not shown", &format!("{} (report.json has all)", left_out.join(", ")));
    }
}

fn first<T>(items: &[T], most: usize) -> &[T] {
    &items[..items.len().min(most)]
}

fn last<T>(items: &[T], most: usize) -> &[T] {
    &items[items.len().saturating_sub(most)..]
}

/// Findings that say the same, in the order of the first of each.
pub struct Alike<'a> {
    /// The one that is shown in full.
    pub first: &'a CheckRun,
    /// The others.
    pub others: Vec<&'a CheckRun>,
}

/// All findings of a run that nobody expects, those that say the same together, the worst first.
pub fn all(run: &Run) -> Vec<Alike<'_>> {
    let findings = Verdict::ALL.into_iter().filter(|verdict| verdict.is_finding());
    findings.flat_map(|verdict| group(run.with_verdict(verdict).filter(|check| !run.is_expected(check)))).collect()
}

/// Findings that break the same requirement, each in its own way.
pub struct Problem<'a> {
    /// The one that tells what is broken.
    pub first: Alike<'a>,
    /// Other ways in which it is broken.
    pub others: Vec<Alike<'a>>,
}

impl<'a> Problem<'a> {
    /// Every way in which the requirement is broken.
    pub fn ways(&self) -> impl Iterator<Item = &Alike<'a>> {
        std::iter::once(&self.first).chain(&self.others)
    }

    /// In how many checks.
    pub fn checks(&self) -> usize {
        self.ways().map(|alike| alike.others.len() + 1).sum()
    }
}

/// What is wrong with the device, a requirement at a time, the worst first: the shortest list that names it all.
pub fn problems(run: &Run) -> Vec<Problem<'_>> {
    let mut problems: Vec<Problem<'_>> = Vec::new();
    for alike in all(run) {
        match problems.iter_mut().find(|problem| is_of_one_kind(&problem.first, &alike)) {
            Some(problem) => problem.others.push(alike),
            None => problems.push(Problem { first: alike, others: Vec::new() }),
        }
    }
    problems
}

/// Whether two findings come to the same verdict on the same requirement. What judged none has its own cause.
fn is_of_one_kind(one: &Alike<'_>, other: &Alike<'_>) -> bool {
    let (one, other) = (&one.first.outcome, &other.first.outcome);
    match (one.broken.first(), other.broken.first()) {
        (Some(broken), Some(too)) => one.verdict == other.verdict && broken.requirement == too.requirement,
        _ => false,
    }
}

/// Puts findings together that say the same, so that thirty of a kind do not bury the one of another.
fn group<'a>(findings: impl Iterator<Item = &'a CheckRun>) -> Vec<Alike<'a>> {
    let mut groups: Vec<Alike<'a>> = Vec::new();
    for check in findings {
        match groups.iter_mut().find(|group| says_the_same(&group.first.outcome, &check.outcome)) {
            Some(group) => group.others.push(check),
            None => groups.push(Alike { first: check, others: Vec::new() }),
        }
    }
    groups
}

/// Whether two findings break the same requirements in the same way. Of a hang or a crash, which may have many causes,
/// the message and the kernel's report must be the same too.
fn says_the_same(one: &Outcome, other: &Outcome) -> bool {
    let same_cause = match one.verdict {
        Verdict::Hang | Verdict::Crash => cause(one) == cause(other),
        _ => !one.broken.is_empty() || cause(one) == cause(other),
    };
    one.verdict == other.verdict
        && same_cause
        && one.broken.len() == other.broken.len()
        && one.broken.iter().zip(&other.broken).all(|(one, other)| {
            one.requirement == other.requirement && one.expected == other.expected && one.actual == other.actual
        })
}

fn cause(outcome: &Outcome) -> (&str, Option<&str>) {
    let log = evidence::kernel_log_headline(&outcome.evidence.kernel_log);
    (&outcome.message, log)
}
