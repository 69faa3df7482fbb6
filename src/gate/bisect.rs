//! `vfio-conform bisect`: which of many kernels, or of a tree's commits, changed what a check comes to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::Args;
use serde::Serialize;

use super::command::{folder_of, subject};
use super::doubt::is_finished;
use super::reference::{self, Reference};
use super::search::{Found, Verdicts, search};
use super::selection::Selection;
use super::trial::{self, Plan, Subject};
use crate::baseline::{Kernels, Version};
use crate::harness::incident::Phase;
use crate::harness::verdict::{Exit, Verdict};
use crate::lab::Progress;
use crate::lab::environment::{CoreOptions, Environment};
use crate::lab::qemu::QemuOptions;
use crate::report::{Run, is_incident, write_whole};
use crate::suites;
use crate::uapi::stop;

/// The examples of `bisect --help`, and what its exit codes mean there.
pub const EXAMPLES: &str = "\
Both ends are run first; what they disagree about is searched for in between, by halves. A kernel that cannot be tested
is passed over, as git bisect does. Runs of the environment's kernels are kept, so that asking again costs nothing.

Examples:
  vfio-conform bisect --kernels 6.12 -- fsm::              all that there are of a series
  vfio-conform bisect --kernels 6.12.95..7.3.4 --check fsm::stop_copy_to_pre_copy
  vfio-conform bisect --kernels 7.2.6,7.2.9,7.3.4 --target mtty
  vfio-conform bisect --tree ~/linux --good v7.2 --bad v7.3

Exit codes: 0 every change was found, 1 the ends do not differ, 125 an end cannot be tested, or a check is judged at one
end alone, or what lies between the last of one kind and the first of the other cannot be tested, or a signal asked to
stop, 2 wrong usage.";

/// What is searched.
#[derive(Debug, Args)]
pub struct BisectCommand {
    /// Kernels of the environment: a series (6.12), a range (6.12.95..7.3), or a list with commas
    #[arg(long, value_name = "A..B|LIST", conflicts_with_all = ["tree", "kernel"], required_unless_present = "tree")]
    kernels: Option<Chosen>,
    /// A git tree of the kernel, whose commits to drivers/vfio are searched; each is built as modules
    #[arg(long, value_name = "DIR", requires_all = ["good", "bad"], conflicts_with = "kernel")]
    tree: Option<PathBuf>,
    /// The revision to begin at
    #[arg(long, value_name = "REV", requires = "tree")]
    good: Option<String>,
    /// The revision to end at
    #[arg(long, value_name = "REV", requires = "tree")]
    bad: Option<String>,
    /// Only what this check comes to
    #[arg(long, value_name = "NAME")]
    check: Option<String>,
    #[command(flatten)]
    guest: QemuOptions,
    /// Folder of the report and of all runs [default: a new one in reports/out]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Options of libtest, to run fewer checks: a filter, --exact, --skip
    #[arg(last = true, value_name = "LIBTEST OPTIONS", conflicts_with = "check")]
    libtest: Vec<String>,
}

/// The name of the report for programs.
const JSON: &str = "bisect.json";

type Failure = Box<dyn std::error::Error>;

/// Where a check changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Turn {
    /// The check.
    pub check: String,
    /// The last one before the change, and what the check came to there.
    pub last: (String, Verdict),
    /// The first one after it, and what the check came to there.
    pub first: (String, Verdict),
    /// Those between the two, which could not be tested.
    pub untested: Vec<String>,
}

impl BisectCommand {
    /// Does it.
    ///
    /// # Errors
    /// What is wrong with what was asked.
    pub fn run(self) -> Result<Exit, Failure> {
        self.guest.check()?;
        Selection::parse(&self.libtest)?;
        if let Some(check) = &self.check {
            known(check)?;
        }
        let progress = Progress::new();
        let mut tell = |step: &str| progress.step(step);
        let candidates = self.candidates(&mut tell)?;
        if candidates.len() < 2 {
            return Err(format!(
                "failed to search: {} is there, and it takes two\n    `ci/environment kernels` lists the kernels that can be had",
                candidates.first().map_or("nothing", |only| &only.name)
            )
            .into());
        }
        let (folder, _lock) = folder_of(self.out.as_deref(), "bisect")?;
        let libtest = match &self.check {
            Some(check) => vec!["--exact".to_owned(), check.clone()],
            None => self.libtest.clone(),
        };
        let mut laboratory = Laboratory { command: &self, folder, libtest, candidates, seen: BTreeMap::new() };
        let found = search(laboratory.candidates.len(), |index, changed| laboratory.test(index, changed, &mut tell));
        progress.clear();
        laboratory.conclude(&found)
    }

    fn candidates(&self, tell: &mut dyn FnMut(&str)) -> Result<Vec<Candidate>, Failure> {
        match (&self.tree, &self.kernels) {
            (Some(tree), _) => self.commits(tree),
            (None, Some(kernels)) => {
                let there = Environment::new(tell).kernels()?;
                let chosen = kernels.of(&there);
                let candidate = |name: String| Candidate { reference: Reference::Kernel(name.clone()), name };
                Ok(chosen.into_iter().map(candidate).collect())
            }
            (None, None) => Err("failed to search: neither --kernels nor --tree says where".into()),
        }
    }

    fn commits(&self, tree: &Path) -> Result<Vec<Candidate>, Failure> {
        let (good, bad) = (self.good.as_deref().unwrap_or_default(), self.bad.as_deref().unwrap_or_default());
        let good = reference::commit(tree, good)?;
        let bad = reference::commit(tree, bad)?;
        let between = reference::commits_between(tree, &good, &bad)?;
        Ok([good]
            .into_iter()
            .chain(between)
            .map(|commit| Candidate {
                name: reference::in_words(tree, &commit),
                reference: Reference::Revision { tree: tree.to_owned(), revision: commit },
            })
            .collect())
    }
}

/// One of those that are searched.
struct Candidate {
    name: String,
    reference: Reference,
}

fn known(check: &str) -> Result<(), String> {
    match suites::all().iter().any(|known| known.name() == check) {
        true => Ok(()),
        false => Err(format!("failed to find the check {check:?}\n    see `vfio-conform list --checks`")),
    }
}

/// The kernels that are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Chosen {
    /// These, in this order.
    List(Vec<String>),
    /// All of them, from the oldest to the newest. Those for debugging are only meant by name.
    Range(Kernels),
}

impl FromStr for Chosen {
    type Err = String;

    fn from_str(text: &str) -> Result<Chosen, String> {
        match text.contains(',') {
            true => Ok(Chosen::List(text.split(',').map(|name| name.trim().to_owned()).collect())),
            false => text.parse().map(Chosen::Range),
        }
    }
}

impl Chosen {
    fn of(&self, there: &[String]) -> Vec<String> {
        let range = match self {
            Chosen::List(names) => return names.clone(),
            Chosen::Range(range) => range,
        };
        let versions = there.iter().filter_map(|name| Some((name.parse::<Version>().ok()?, name.clone())));
        let versions: BTreeMap<_, _> = versions.filter(|(version, _)| range.has(version)).collect();
        versions.into_values().collect()
    }
}

struct Laboratory<'a> {
    command: &'a BisectCommand,
    folder: PathBuf,
    libtest: Vec<String>,
    candidates: Vec<Candidate>,
    /// What stands in the way of those that could not be tested, or what was seen of the others.
    seen: BTreeMap<usize, Result<Verdicts, String>>,
}

impl Laboratory<'_> {
    /// What the checks come to on one of them; of the ends all, in between those that changed.
    fn test(
        &mut self,
        index: usize,
        changed: Option<&BTreeSet<String>>,
        tell: &mut dyn FnMut(&str),
    ) -> Option<Verdicts> {
        if let Some(seen) = self.seen.get(&index) {
            return seen.clone().ok();
        }
        if stop::requested().is_some() {
            return None;
        }
        let tested = self.run(index, changed, tell);
        if let Err(why) = &tested {
            tell(&format!("{} is passed over: {why}", self.candidates[index].name));
        }
        self.seen.insert(index, tested.clone());
        tested.ok()
    }

    fn run(
        &self,
        index: usize,
        changed: Option<&BTreeSet<String>>,
        tell: &mut dyn FnMut(&str),
    ) -> Result<Verdicts, String> {
        let candidate = &self.candidates[index];
        let folder = self.folder.join(format!("{index:03}"));
        let subject = self.subject(candidate, &folder.with_extension("source")).map_err(|error| error.to_string())?;
        let libtest = changed.map_or_else(|| self.libtest.clone(), only);
        let selection = Selection::parse(&libtest).map_err(|error| error.to_string())?;
        let plan = Plan { libtest: &libtest, selection: &selection, repeat: 1, reuse: true };
        let tested = trial::build(&subject, tell)
            .and_then(|built| trial::test(&subject, &built, &plan, &folder, tell))
            .map_err(|obstacle| obstacle.to_string())?;
        let run = tested.runs.first().ok_or("it was not run")?;
        let verdicts = verdicts(run);
        match verdicts.keys().all(|name| is_incident(name)) && !run.has_incidents() {
            true => Err("no check was judged on it".to_owned()),
            false => Ok(verdicts),
        }
    }

    fn subject(&self, candidate: &Candidate, source: &Path) -> Result<Subject, Failure> {
        let core = CoreOptions { patch: self.command.guest.core.patch.clone(), ..CoreOptions::default() };
        subject(&candidate.reference, candidate.name.clone(), &self.command.guest, &core, source)
    }

    /// Says what was found.
    fn conclude(&self, found: &Found) -> Result<Exit, Failure> {
        let name = |index: usize| self.candidates[index].name.clone();
        let seen = |index: usize, check: &str| match self.seen.get(&index) {
            Some(Ok(verdicts)) => verdicts.get(check).copied().unwrap_or(Verdict::Blocked),
            _ => Verdict::Blocked,
        };
        let turns = match found {
            Found::NoEnd(index) => {
                let why = self.seen.get(index).and_then(|seen| seen.clone().err());
                let why = why.unwrap_or_else(|| "it was asked to stop".to_owned());
                println!("{} cannot be tested, and it is an end: {why}", name(*index));
                println!("outcome      cannot tell (exit code {})", Exit::NothingTested as u8);
                return Ok(Exit::NothingTested);
            }
            Found::Turns(turns) => turns,
        };
        let turns: Vec<Turn> = turns
            .iter()
            .map(|(check, at)| Turn {
                check: check.clone(),
                last: (name(at.last), seen(at.last, check)),
                first: (name(at.first), seen(at.first, check)),
                untested: (at.last + 1..at.first).map(name).collect(),
            })
            .collect();
        // Where a driver keeps its device shut at one end, that is the change, and no check is judged there.
        let undecided = match turns.iter().any(|turn| is_incident(&turn.check)) {
            true => Vec::new(),
            false => self.undecided(),
        };
        let exit = match () {
            () if !undecided.is_empty() => Exit::NothingTested,
            () if turns.is_empty() => Exit::Findings,
            () if turns.iter().any(|turn| !turn.untested.is_empty()) => Exit::NothingTested,
            () => Exit::Conforms,
        };
        write(&self.folder, &turns)?;
        print!("{}", self.to_text(&turns, &undecided, exit));
        Ok(exit)
    }

    /// The checks that are judged at one end alone, so that nothing can be said of a change.
    fn undecided(&self) -> Vec<String> {
        let ends = [0, self.candidates.len().saturating_sub(1)].map(|end| self.seen.get(&end));
        match ends {
            [Some(Ok(first)), Some(Ok(last))] => judged_at_one_end(first, last),
            _ => Vec::new(),
        }
    }

    fn to_text(&self, turns: &[Turn], undecided: &[String], exit: Exit) -> String {
        let mut text = String::new();
        for turn in turns {
            let Turn { check, last, first, untested } = turn;
            text += &format!("{check}\n");
            text += &format!("  {:<8} on {}, the last\n  {:<8} on {}, the first\n", last.1, last.0, first.1, first.0);
            if !untested.is_empty() {
                text += &format!("  between them, not tested: {}\n", untested.join(", "));
            }
            text += "\n";
        }
        let names: Vec<&str> = self.candidates.iter().map(|candidate| candidate.name.as_str()).collect();
        text += &format!("searched     {}: {}\n", names.len(), names.join(", "));
        text += &format!("tested       {} of them\n", self.seen.values().filter(|seen| seen.is_ok()).count());
        if !undecided.is_empty() {
            text += &format!("undecided    judged at one end alone: {}\n", undecided.join(", "));
        }
        text += &format!("reports      {}: {JSON}\n", self.folder.display());
        let outcome = match turns.len() {
            0 if !undecided.is_empty() => "cannot tell".to_owned(),
            0 => "the ends do not differ".to_owned(),
            1 => "1 check changed".to_owned(),
            count => format!("{count} checks changed"),
        };
        text + &format!("outcome      {outcome} (exit code {})\n", exit as u8)
    }
}

fn write(folder: &Path, turns: &[Turn]) -> Result<(), Failure> {
    let json = serde_json::to_vec_pretty(turns)?;
    Ok(write_whole(folder, JSON, &json).map_err(|error| format!("failed to write {}: {error}", folder.display()))?)
}

/// What the checks of a run came to that were judged or skipped. A run that did not finish has not shown that nothing goes
/// wrong outside checks.
fn verdicts(run: &Run) -> Verdicts {
    let incidents = Phase::ALL.map(|phase| phase.test_name().to_owned()).into_iter();
    let incidents = incidents.filter(|_| is_finished(run) && !run.checks.is_empty());
    let names = run.checks.iter().map(|check| check.name.clone()).chain(incidents);
    let all = names.filter_map(|name| run.verdict_of(&name).map(|verdict| (name, verdict)));
    all.filter(|(_, verdict)| *verdict != Verdict::Blocked).collect()
}

fn judged_at_one_end(first: &Verdicts, last: &Verdicts) -> Vec<String> {
    let only = |one: &Verdicts, other: &Verdicts| -> Vec<String> {
        one.keys().filter(|check| !other.contains_key(*check)).cloned().collect()
    };
    [only(first, last), only(last, first)].concat()
}

/// Options of libtest for just these checks. What goes wrong outside checks may need any of them.
fn only(checks: &BTreeSet<String>) -> Vec<String> {
    if checks.iter().any(|name| is_incident(name)) {
        return Vec::new();
    }
    let others = suites::all().into_iter().map(|check| check.name().to_owned()).filter(|name| !checks.contains(name));
    std::iter::once("--exact".to_owned()).chain(others.flat_map(|name| ["--skip".to_owned(), name])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{self, finish, finished, journal, outcome, start};

    #[test]
    fn blocked_checks_and_runs_without_an_end_decide_nothing() {
        let run = |verdict, ends: bool| {
            let end = ends.then(|| finished(crate::harness::verdict::RunVerdict::Conforms, Exit::Conforms));
            let check = [start("fsm::a"), finish("fsm::a", outcome(verdict, ""))];
            let events = [sample::began(&["fsm::a"]), sample::ready()].into_iter().chain(check).chain(end);
            verdicts(&Run::of(&journal(events.collect())).unwrap())
        };
        let (pass, blocked, cut_off) =
            (run(Verdict::Pass, true), run(Verdict::Blocked, true), run(Verdict::Pass, false));
        assert_eq!(judged_at_one_end(&pass, &pass), [""; 0]);
        assert_eq!(judged_at_one_end(&pass, &blocked), ["fsm::a"]);
        assert_eq!(judged_at_one_end(&blocked, &pass), ["fsm::a"]);
        assert_eq!(cut_off.keys().collect::<Vec<_>>(), ["fsm::a"], "it was not seen to power off");
        assert!(judged_at_one_end(&pass, &cut_off).contains(&"run::power_off".to_owned()));
    }

    #[test]
    fn kernels_are_meant_by_series_range_or_list() {
        let there = ["6.12.107", "6.12.94", "6.12.117", "7.2.9", "7.3.4", "debug-7.3.4"].map(str::to_owned);
        let chosen = |kernels: &str| kernels.parse::<Chosen>().unwrap().of(&there);
        assert_eq!(chosen("6.12"), ["6.12.94", "6.12.107", "6.12.117"]);
        assert_eq!(chosen("6.12.107..7.2"), ["6.12.107", "6.12.117", "7.2.9"]);
        assert_eq!(chosen("7.3.4,6.12.94"), ["7.3.4", "6.12.94"]);
        assert!("all".parse::<Chosen>().is_err());
    }
}
