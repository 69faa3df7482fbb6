//! How much of the protocol a run has judged. Coverage is computed here and nowhere else; every report asks for it.
//!
//! # Levels of a verdict
//!
//! A verdict has a level. Each level includes those below it:
//!
//! | level | what a run of it has judged |
//! |---|---|
//! | `protocol` | what needs no key of the profile |
//! | `state` | also what needs a key that changes or shows device state |
//! | `dma` | also what needs a key that makes the device do DMA or raise an interrupt |
//!
//! Which level a must belongs to is not listed anywhere. It follows from the keys that its checks asked the profile for
//! ([`VerdictLevel::of`], [`Outcome::played`], [`Outcome::lacked`]).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use super::outcome::Outcome;
use super::skip::{Lack, Skip};
use super::verdict::{Exit, Extent, RunVerdict, Verdict, judge_run};
use crate::requirement::{self, Basis, Level, Requirement};
use crate::stimulus::ProfileKey;

/// How much a verdict stands on. The order is that of the levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum VerdictLevel {
    /// The state machine, sessions, streams and features, without any key of the profile
    Protocol,
    /// Also what the device's state does
    State,
    /// Also what the device's DMA and interrupts do
    Dma,
}

impl VerdictLevel {
    /// The level that a key of the profile belongs to.
    pub const fn of(key: ProfileKey) -> VerdictLevel {
        match key {
            ProfileKey::EnterError
            | ProfileKey::Dirty
            | ProfileKey::StartWork
            | ProfileKey::StopWork
            | ProfileKey::Reconfigure
            | ProfileKey::Compare
            | ProfileKey::Progress => VerdictLevel::State,
            ProfileKey::Interrupt | ProfileKey::DmaToMemory | ProfileKey::DmaFromMemory | ProfileKey::FinishDma => {
                VerdictLevel::Dma
            }
        }
    }

    /// The level of a check: the highest of the keys that it asked for.
    fn of_check(outcome: &Outcome) -> VerdictLevel {
        let keys = outcome.played.iter().chain(&outcome.lacked).chain(&outcome.blocked_by_key);
        keys.map(|key| VerdictLevel::of(*key)).max().unwrap_or(VerdictLevel::Protocol)
    }
}

impl fmt::Display for VerdictLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            VerdictLevel::Protocol => "protocol",
            VerdictLevel::State => "state",
            VerdictLevel::Dma => "dma",
        })
    }
}

/// How much of the protocol a run has judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// The level of the verdict; `None` for a run of part of the suite, and where the journal is too old to say.
    pub level: Option<VerdictLevel>,
    /// The level that the run was asked for.
    pub required: Option<VerdictLevel>,
    /// How many checks the suite has.
    pub suite: usize,
    /// How many of them were planned.
    pub planned: usize,
    /// How many of those ran to a verdict of their own: neither skipped nor blocked.
    pub ran: usize,
    /// The musts that the uAPI text states.
    pub text: Musts,
    /// The musts by ruling: the text does not state them in so many words.
    pub ruling: Musts,
    /// Each must that was not judged, and why.
    pub not_judged: Vec<NotJudged>,
    /// Keys that checks asked for and the profile lacks.
    pub lacks: BTreeSet<ProfileKey>,
}

/// What became of musts of one basis. `all` is the sum of the others.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Musts {
    /// How many there are.
    pub all: usize,
    /// A check proved them, and none broke them.
    pub kept: usize,
    /// A check broke them.
    pub broken: usize,
    /// They do not apply: what they are about is correctly absent, or the uAPI leaves it to the driver.
    pub absent: usize,
    /// No check that ran proved or broke them.
    pub not_judged: usize,
}

/// A must that no check judged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotJudged {
    /// Its id.
    pub requirement: &'static str,
    /// Where it comes from.
    pub basis: Basis,
    /// Why it was not judged.
    pub why: Why,
}

/// Why a must was not judged. The order is that in which a reason is chosen where checks have several.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Why {
    /// The run lacks something.
    Lacks {
        /// What would have it judged.
        what: Lack,
    },
    /// Its checks were blocked, or did not run.
    Blocked,
    /// Its checks ended before they came to it: most often in a finding, a hang or a crash.
    Ended,
    /// The command line left out its checks.
    NotSelected,
    /// A check was skipped, and its journal does not say why.
    Unrecorded,
}

/// What is known of a must so far.
#[derive(Debug, Default)]
struct Fate {
    proven: bool,
    broken: bool,
    absent: bool,
    why: Option<Why>,
}

impl Fate {
    fn is_judged(&self) -> bool {
        self.proven || self.broken
    }

    /// Why it is not judged; `None` if it is, or need not be.
    fn why(self) -> Option<Why> {
        match (self.is_judged(), self.why, self.absent) {
            (true, ..) | (false, None, true) => None,
            (false, Some(why), _) => Some(why),
            (false, None, false) => Some(Why::NotSelected),
        }
    }
}

/// Counts check by check.
#[derive(Debug)]
pub struct Tally {
    required: Option<VerdictLevel>,
    /// How many checks the suite has; `None` for what is no run of the suite, and for journals that do not say.
    suite: Option<usize>,
    planned: usize,
    ran: usize,
    fates: BTreeMap<&'static str, Fate>,
    lacks: BTreeSet<ProfileKey>,
    played: BTreeSet<VerdictLevel>,
    /// The levels of checks that were blocked.
    blocked: BTreeMap<&'static str, VerdictLevel>,
    is_recorded: bool,
}

impl Tally {
    /// A tally of a run of a suite of so many checks.
    pub fn new(suite: Option<usize>, required: Option<VerdictLevel>) -> Tally {
        Tally {
            required,
            suite,
            planned: 0,
            ran: 0,
            fates: BTreeMap::new(),
            lacks: BTreeSet::new(),
            played: BTreeSet::new(),
            blocked: BTreeMap::new(),
            is_recorded: true,
        }
    }

    /// Takes the outcome of one planned check, which can prove these requirements.
    pub fn take<'a>(&mut self, requirements: impl IntoIterator<Item = &'a str>, outcome: &Outcome) {
        self.planned += 1;
        self.ran += usize::from(!matches!(outcome.verdict, Verdict::Skip | Verdict::Blocked));
        self.lacks.extend(&outcome.lacked);
        self.played.extend(outcome.played.iter().map(|key| VerdictLevel::of(*key)));
        self.is_recorded &= outcome.verdict != Verdict::Skip || outcome.skip.is_some();
        for must in requirements.into_iter().filter_map(must) {
            let fate = self.fates.entry(must.id).or_default();
            match why_not(must.id, outcome) {
                Some(why) => fate.why = Some(fate.why.take().map_or(why.clone(), |known| known.min(why))),
                None => fate.absent = true,
            }
            if outcome.verdict == Verdict::Blocked {
                let level = VerdictLevel::of_check(outcome);
                self.blocked.entry(must.id).and_modify(|known| *known = level.min(*known)).or_insert(level);
            }
        }
        for must in outcome.proven.iter().filter_map(|id| must(id)) {
            self.fates.entry(must.id).or_default().proven = true;
        }
        self.take_incident(outcome);
    }

    /// Takes what went wrong while no check ran: it is no check, but it breaks musts.
    pub fn take_incident(&mut self, outcome: &Outcome) {
        for must in outcome.broken.iter().filter_map(|broken| must(&broken.requirement)) {
            self.fates.entry(must.id).or_default().broken = true;
        }
    }

    /// What the checks come to.
    pub fn coverage(mut self) -> Coverage {
        let suite = self.suite.unwrap_or(self.planned);
        if self.planned < suite {
            for must in requirement::all().filter(|requirement| requirement.level == Level::Must) {
                self.fates.entry(must.id).or_default();
            }
        }
        let level = self.level(suite);
        let (mut text, mut ruling) = (Musts::default(), Musts::default());
        let mut not_judged = Vec::new();
        for (id, fate) in self.fates {
            let Some(must) = must(id) else { continue };
            let musts = match must.basis {
                Basis::Text => &mut text,
                Basis::Ruling => &mut ruling,
            };
            musts.all += 1;
            let (is_broken, is_judged) = (fate.broken, fate.is_judged());
            match fate.why() {
                Some(why) => {
                    musts.not_judged += 1;
                    not_judged.push(NotJudged { requirement: must.id, basis: must.basis, why });
                }
                None if is_broken => musts.broken += 1,
                None if is_judged => musts.kept += 1,
                None => musts.absent += 1,
            }
        }
        Coverage {
            level,
            required: self.required,
            suite,
            planned: self.planned,
            ran: self.ran,
            text,
            ruling,
            not_judged,
            lacks: self.lacks,
        }
    }

    /// A level is reached if checks played its keys, no key of it was lacking, and no must of it hangs on a check that
    /// was blocked. A run of part of the suite has no level.
    fn level(&self, suite: usize) -> Option<VerdictLevel> {
        if self.planned < suite || !self.is_recorded || self.ran == 0 {
            return None;
        }
        let is_blocked = |level: VerdictLevel| {
            let mut of_level = self.blocked.iter().filter(|(_, other)| **other == level);
            of_level.any(|(id, _)| self.fates.get(id).is_some_and(|fate| !fate.is_judged()))
        };
        let is_reached = |level: &VerdictLevel| {
            let lacks = self.lacks.iter().any(|key| VerdictLevel::of(*key) == *level);
            self.played.contains(level) && !lacks && !is_blocked(*level)
        };
        let above = [VerdictLevel::State, VerdictLevel::Dma].into_iter().take_while(is_reached);
        Some(above.last().unwrap_or(VerdictLevel::Protocol))
    }
}

/// Why a check left a requirement unjudged; `None` if it does not apply.
fn why_not(requirement: &str, outcome: &Outcome) -> Option<Why> {
    match (outcome.verdict, outcome.left_out.get(requirement).or(outcome.skip.as_ref())) {
        (Verdict::Pass | Verdict::Warn | Verdict::Fail, Some(skip)) => {
            skip.lack().map(|what| Why::Lacks { what: what.clone() })
        }
        (Verdict::Skip, Some(Skip::Lacks { what })) => Some(Why::Lacks { what: what.clone() }),
        (Verdict::Skip, Some(Skip::CorrectlyAbsent { .. } | Skip::DoesNotApply { .. })) => None,
        (Verdict::Skip, None) => Some(Why::Unrecorded),
        (Verdict::Blocked, _) => Some(Why::Blocked),
        _ => Some(Why::Ended),
    }
}

/// The must of that id. A requirement that this version does not know is none.
fn must(id: &str) -> Option<&'static Requirement> {
    requirement::find(id).filter(|requirement| requirement.level == Level::Must)
}

impl Coverage {
    /// Whether the level is the one that was asked for, or above it.
    pub fn is_enough(&self) -> bool {
        self.required.is_none_or(|required| self.reaches(required))
    }

    /// Whether the level is this one or above it.
    pub fn reaches(&self, wanted: VerdictLevel) -> bool {
        self.level.is_some_and(|level| level >= wanted)
    }

    /// The keys that this level lacks.
    pub fn lacks_for(&self, wanted: VerdictLevel) -> impl Iterator<Item = ProfileKey> + '_ {
        self.lacks.iter().copied().filter(move |key| VerdictLevel::of(*key) <= wanted)
    }

    /// How many musts were not judged for which reason, the most frequent first.
    pub fn reasons(&self) -> Vec<(&Why, usize)> {
        let mut reasons: BTreeMap<&Why, usize> = BTreeMap::new();
        for not_judged in &self.not_judged {
            *reasons.entry(&not_judged.why).or_default() += 1;
        }
        let mut reasons: Vec<(&Why, usize)> = reasons.into_iter().collect();
        reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        reasons
    }
}

/// Judges a run by the verdicts of all its planned checks, and by what it covers.
pub fn judge(verdicts: &[Verdict], extent: Extent, strict: bool, coverage: &Coverage) -> (RunVerdict, Exit) {
    let judged = (judge_run(verdicts, strict), Exit::of_run(verdicts, extent, strict));
    match judged {
        (RunVerdict::Conforms, Exit::Conforms) if !coverage.is_enough() => {
            (RunVerdict::BelowLevel, Exit::NothingTested)
        }
        judged => judged,
    }
}

#[cfg(test)]
mod tests;
