//! Verdicts, of a check and of a run, and what they mean for the process's exit code.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::requirement::Level;

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The device keeps what the check proves.
    Pass,
    /// A must is broken.
    Fail,
    /// A should is broken.
    Warn,
    /// The check does not apply, or needs what is not there.
    Skip,
    /// A call did not come back within the deadline.
    Hang,
    /// The kernel or the executor died under the check.
    Crash,
    /// The check could not run, or not to its end, for a reason that is not its own.
    Blocked,
}

impl Verdict {
    /// All of them, the worst news first: the order in which people want to read them.
    pub const ALL: [Verdict; 7] =
        [Verdict::Crash, Verdict::Hang, Verdict::Fail, Verdict::Warn, Verdict::Blocked, Verdict::Skip, Verdict::Pass];

    /// The one word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Warn => "warn",
            Verdict::Skip => "skip",
            Verdict::Hang => "hang",
            Verdict::Crash => "crash",
            Verdict::Blocked => "blocked",
        }
    }

    /// Whether the verdict accuses the device.
    pub const fn is_finding(self) -> bool {
        matches!(self, Verdict::Fail | Verdict::Warn | Verdict::Hang | Verdict::Crash)
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// What a run came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RunVerdict {
    /// At least one check passed, none accuses the device, and every planned check had its say.
    Conforms,
    /// At least one finding.
    DoesNotConform,
    /// No finding that decides it, and not every planned check could have its say.
    Incomplete,
    /// It would conform, but judged less than the level that it was asked for.
    BelowLevel,
    /// Not one check was executed.
    NothingTested,
}

impl fmt::Display for RunVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            RunVerdict::Conforms => "conforms",
            RunVerdict::DoesNotConform => "does not conform",
            RunVerdict::Incomplete => "incomplete",
            RunVerdict::BelowLevel => "below the required level",
            RunVerdict::NothingTested => "nothing tested",
        })
    }
}

/// Judges a run by the verdicts of all its planned checks.
///
/// `strict` counts a broken should like a broken must.
pub fn judge_run(verdicts: &[Verdict], strict: bool) -> RunVerdict {
    let any = |wanted: Verdict| verdicts.contains(&wanted);
    if verdicts.iter().all(|verdict| matches!(verdict, Verdict::Skip | Verdict::Blocked)) {
        return match any(Verdict::Blocked) {
            true => RunVerdict::Incomplete,
            false => RunVerdict::NothingTested,
        };
    }
    if any(Verdict::Hang) || any(Verdict::Crash) || any(Verdict::Fail) {
        return RunVerdict::DoesNotConform;
    }
    if strict && any(Verdict::Warn) {
        return RunVerdict::DoesNotConform;
    }
    match any(Verdict::Blocked) {
        true => RunVerdict::Incomplete,
        false => RunVerdict::Conforms,
    }
}

/// The exit codes of every command: the one table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u8")]
#[serde(try_from = "u8")]
#[repr(u8)]
pub enum Exit {
    /// The device conforms; a command that judges nothing did what it was asked.
    Conforms = 0,
    /// There are findings, hangs and crashes among them, and every planned check was run, or one kept the device from being
    /// opened.
    Findings = 1,
    /// The command line is wrong, or the environment lacks something.
    Usage = 2,
    /// The run could not be finished as planned: checks were not run, or were blocked without a finding that explains it.
    /// Every other command that was asked to stop before it had its result ends so too, but gate and bisect.
    Unfinished = 3,
    /// Nothing could be tested, or less than was required, as `git bisect run` wants to hear it.
    NothingTested = 125,
}

impl From<Exit> for u8 {
    fn from(exit: Exit) -> u8 {
        exit as u8
    }
}

impl TryFrom<u8> for Exit {
    type Error = String;

    fn try_from(code: u8) -> Result<Self, String> {
        [Exit::Conforms, Exit::Findings, Exit::Usage, Exit::Unfinished, Exit::NothingTested]
            .into_iter()
            .find(|exit| *exit as u8 == code)
            .ok_or_else(|| format!("{code} is none of the documented exit codes"))
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        std::process::ExitCode::from(exit as u8)
    }
}

impl Exit {
    /// The table, as `--help` and the documentation show it.
    pub const TABLE: &'static str = "\
Exit codes:
  0    conforms; no regression (or the command did what it was asked)
  1    findings (a hang or a crash is one too), and every planned check was run, or one
       kept the device from being opened; a regression
  2    wrong usage, or the environment lacks something
  3    the run could not be finished: checks were not run, or were blocked and nothing was found; or it was asked to stop
       (SIGINT, SIGTERM, SIGHUP: the reports are written, and the device is closed; a second signal ends it at once)
  125  nothing could be tested, not what it takes to tell, or less than --require asks for
       (what `git bisect run` expects)";

    /// The exit code of a run.
    pub fn of_run(verdicts: &[Verdict], extent: Extent, strict: bool) -> Exit {
        match (judge_run(verdicts, strict), extent) {
            (RunVerdict::NothingTested | RunVerdict::BelowLevel, _) => Exit::NothingTested,
            (RunVerdict::Incomplete, _) | (_, Extent::Part) => Exit::Unfinished,
            (RunVerdict::DoesNotConform, Extent::Whole) => Exit::Findings,
            (RunVerdict::Conforms, Extent::Whole) => Exit::Conforms,
        }
    }
}

/// How many of its planned checks a run came to.
///
/// A check that was begun counts whatever became of it: one that hangs, crashes, or is blocked by what the device does
/// leaves the others their turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of them.
    Whole,
    /// Not all: the lab was lost, or the run was cut off.
    Part,
}

/// What a broken requirement of this level makes of a check.
pub fn verdict_of(level: Level) -> Verdict {
    match level {
        Level::Must => Verdict::Fail,
        Level::Should => Verdict::Warn,
        Level::Advice => Verdict::Pass,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::*;

    #[test]
    fn a_run_that_executed_no_check_never_conforms() {
        assert_eq!(judge_run(&[], false), RunVerdict::NothingTested);
        assert_eq!(judge_run(&[Skip, Skip], false), RunVerdict::NothingTested);
        assert_eq!(Exit::of_run(&[], Extent::Whole, false), Exit::NothingTested);
        assert_eq!(Exit::of_run(&[Blocked], Extent::Part, false), Exit::Unfinished);
    }

    #[test]
    fn findings_decide_unless_checks_were_not_run() {
        let exit = |verdicts: &[Verdict]| Exit::of_run(verdicts, Extent::Whole, false);
        assert_eq!(exit(&[Pass, Skip]), Exit::Conforms);
        assert_eq!(exit(&[Pass, Fail]), Exit::Findings);
        assert_eq!(exit(&[Pass, Hang]), Exit::Findings);
        assert_eq!(exit(&[Pass, Fail, Crash, Blocked]), Exit::Findings);
        assert_eq!(exit(&[Pass, Blocked]), Exit::Unfinished);
        for verdicts in [&[Pass, Hang, Blocked][..], &[Pass, Fail], &[Pass, Blocked], &[Blocked]] {
            assert_eq!(Exit::of_run(verdicts, Extent::Part, false), Exit::Unfinished);
        }
    }

    #[test]
    fn what_accuses_the_device_is_told_from_what_does_not() {
        let findings: Vec<Verdict> = Verdict::ALL.into_iter().filter(|verdict| verdict.is_finding()).collect();
        assert_eq!(findings, [Crash, Hang, Fail, Warn]);
        assert_eq!([Level::Must, Level::Should, Level::Advice].map(verdict_of), [Fail, Warn, Pass]);
    }

    #[test]
    fn verdicts_have_their_words() {
        let words: Vec<String> = Verdict::ALL.map(|verdict| verdict.to_string()).into();
        assert_eq!(words, ["crash", "hang", "fail", "warn", "blocked", "skip", "pass"]);
        let of_run = [
            RunVerdict::Conforms,
            RunVerdict::DoesNotConform,
            RunVerdict::Incomplete,
            RunVerdict::BelowLevel,
            RunVerdict::NothingTested,
        ];
        let words: Vec<String> = of_run.map(|verdict| verdict.to_string()).into();
        assert_eq!(words, ["conforms", "does not conform", "incomplete", "below the required level", "nothing tested"]);
    }

    #[test]
    fn exit_codes_are_those_of_the_table_and_no_others() {
        for exit in [Exit::Conforms, Exit::Findings, Exit::Usage, Exit::Unfinished, Exit::NothingTested] {
            let code = u8::from(exit);
            assert!(Exit::TABLE.contains(&format!("\n  {code} ")), "{code}");
            assert_eq!(Exit::try_from(code), Ok(exit));
            assert_eq!(std::process::ExitCode::from(exit), std::process::ExitCode::from(code));
        }
        assert_eq!([0u8, 1, 2, 3, 125].map(|code| Exit::try_from(code).map(u8::from)), [0, 1, 2, 3, 125].map(Ok));
        assert!(Exit::try_from(4).is_err());
    }

    #[test]
    fn a_broken_should_counts_only_when_strict() {
        assert_eq!(judge_run(&[Pass, Warn], false), RunVerdict::Conforms);
        assert_eq!(judge_run(&[Pass, Warn], true), RunVerdict::DoesNotConform);
        assert_eq!(Exit::of_run(&[Pass, Warn], Extent::Whole, true), Exit::Findings);
    }
}
