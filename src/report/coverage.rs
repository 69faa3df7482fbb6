//! What a run covers, in words. The figures are those of [`Coverage`]; every report asks here for its sentences.

use super::run::Run;
use super::text::plural;
use crate::harness::coverage::{Coverage, Musts, VerdictLevel, Why};
use crate::harness::skip::Lack;
use crate::harness::verdict::RunVerdict;
use crate::requirement::{self, Basis, Level};

/// How many reasons the verdict's line names.
const NAMED: usize = 3;
/// How many reasons the summary shows.
const REASONS: usize = 12;

/// The verdict with its level: `conforms at level protocol`.
pub fn verdict(run: &Run) -> String {
    match (run.verdict, run.coverage.level, run.coverage.required) {
        (RunVerdict::Conforms, Some(level), _) => format!("{} at level {level}", run.verdict),
        (RunVerdict::BelowLevel, _, Some(required)) => match below(&run.coverage, required) {
            Some(why) => format!("{}: it conforms, but {why}", run.verdict),
            None => run.verdict.to_string(),
        },
        _ => run.verdict.to_string(),
    }
}

/// What the verdict stands on, in one line: ``291 of 431 checks ran, 12 musts not judged: no `stimulus.dirty` ``.
pub fn line(coverage: &Coverage) -> String {
    let ran = format!("{} of {} ran", coverage.ran, plural(coverage.suite, "check"));
    match coverage.not_judged.len() {
        0 if coverage.ran == 0 || coverage.text.all + coverage.ruling.all == 0 => ran,
        0 => format!("{ran}, every must that applies judged"),
        count => format!("{ran}, {} not judged: {}", plural(count, "must"), named(coverage)),
    }
}

/// The most frequent reasons by name.
fn named(coverage: &Coverage) -> String {
    let reasons = coverage.reasons();
    let mut names: Vec<String> = Vec::new();
    for name in reasons.iter().map(|(why, _)| short(why)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let more = names.len().saturating_sub(NAMED);
    names.truncate(NAMED);
    match more {
        0 => names.join(", "),
        more => format!("{} and {}", names.join(", "), plural(more, "other reason")),
    }
}

/// A reason in a few words.
fn short(why: &Why) -> String {
    match why {
        Why::Lacks { what: Lack::Profile { key } | Lack::Program { key } } => format!("no `{key}`"),
        Why::Lacks { what: Lack::Kernel { feature, since } } => format!("{feature} needs Linux {since}"),
        Why::Lacks { what: Lack::Option { option, .. } } => format!("no `{option}`"),
        Why::Lacks { what: Lack::Permission { path } } => format!("{path} not writable"),
        Why::Lacks { what: Lack::Tracing { .. } } => "no kernel tracing".to_owned(),
        Why::Lacks { what: Lack::Method { .. } } => "no method".to_owned(),
        Why::Blocked => "blocked".to_owned(),
        Why::Ended => "their checks ended early".to_owned(),
        Why::NotSelected => "not selected".to_owned(),
        Why::Unrecorded => "reason not recorded".to_owned(),
    }
}

/// A reason in a sentence.
pub fn sentence(why: &Why) -> String {
    match why {
        Why::Lacks { what } => what.to_string(),
        Why::Blocked => "their checks were blocked, or did not run".to_owned(),
        Why::Ended => "their checks ended before they came to it".to_owned(),
        Why::NotSelected => "the command line left out their checks".to_owned(),
        Why::Unrecorded => "the journal does not say why their checks were skipped".to_owned(),
    }
}

/// How many musts of each basis were judged, a line for each basis that has any.
pub fn musts(coverage: &Coverage) -> Vec<String> {
    let bases = [("of the text", &coverage.text), ("by ruling", &coverage.ruling)];
    bases.into_iter().filter(|(_, musts)| musts.all > 0).map(|(basis, musts)| counted(basis, musts)).collect()
}

fn counted(basis: &str, musts: &Musts) -> String {
    let judged = musts.kept + musts.broken;
    let mut words = match musts.broken {
        0 => vec![format!("{judged} judged")],
        broken => vec![format!("{judged} judged ({broken} broken)")],
    };
    let others = [(musts.not_judged, "not judged"), (musts.absent, "not applicable")];
    words.extend(others.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    format!("{} {basis}: {}", plural(musts.all, "must"), words.join(", "))
}

/// Why musts were not judged, a line for each reason, the most frequent first; then what the next level needs.
pub fn not_judged(coverage: &Coverage) -> Vec<String> {
    let reasons = coverage.reasons();
    let more = reasons.len().saturating_sub(REASONS);
    let mut lines: Vec<String> = reasons
        .iter()
        .take(REASONS)
        .map(|(why, count)| format!("{}: {}", plural(*count, "must"), sentence(why)))
        .collect();
    if more > 0 {
        lines.push(plural(more, "more reason"));
    }
    lines.extend(next_level(coverage));
    lines
}

/// What the next level lacks; `None` where the profile has it all, or the run has no level.
fn next_level(coverage: &Coverage) -> Option<String> {
    let level = coverage.level?;
    let next = [VerdictLevel::State, VerdictLevel::Dma].into_iter().find(|next| *next > level)?;
    let keys: Vec<String> = coverage.lacks_for(next).map(|key| format!("`{key}`")).collect();
    (!keys.is_empty()).then(|| format!("for level {next} the profile lacks {}", keys.join(", ")))
}

/// Why a level that was asked for is not reached; `None` if it is.
pub fn below(coverage: &Coverage, wanted: VerdictLevel) -> Option<String> {
    if coverage.reaches(wanted) {
        return None;
    }
    let keys: Vec<String> = coverage.lacks_for(wanted).map(|key| format!("`{key}`")).collect();
    let keys = match keys.as_slice() {
        [] => String::new(),
        keys => format!(": the profile lacks {}", keys.join(", ")),
    };
    Some(match coverage.level {
        Some(level) => format!("reaches level {level}, not the required level {wanted}{keys}"),
        None if coverage.planned < coverage.suite => {
            format!("reaches no level, not the required level {wanted}: it runs a part of the suite only")
        }
        None => format!("reaches no level, not the required level {wanted}: its journal does not say what it covers"),
    })
}

/// How a broken requirement binds: `must`, `must by ruling`. The level is that of the journal.
pub fn binds(id: &str, level: Level) -> String {
    let is_ruling = requirement::find(id).is_some_and(|requirement| requirement.basis == Basis::Ruling);
    match level {
        Level::Must if is_ruling => "must by ruling".to_owned(),
        level => level.to_string(),
    }
}
