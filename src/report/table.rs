//! The README's table of kernels: what each run came to, a row each. Runs make it and nobody else: what stands between
//! its two marks is read strictly, and a row is only ever replaced by that of a newer run.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use clap::{Args, ValueEnum};

use super::{JournalError, Run, write_all};
use crate::baseline::{Baseline, BaselineError, BaselineOptions, Version};
use crate::device::Via;
use crate::harness::verdict::{Exit, Verdict};
use crate::report::ReportError;
use crate::uapi::state::Capabilities;

/// The line before the table.
const BEGIN: &str = "<!-- kernels: made by ./ci/kernels -->\n";
/// The line after it.
const END: &str = "<!-- /kernels -->\n";
const HEAD: &str = "\
| kernel | way | target | capability set | checks | findings and blocked | time | bare boot |
|---|---|---|---|---|---|---|---|
";
const CELLS: usize = 8;

/// The name of the hidden subcommand that renews the table.
pub const SUBCOMMAND: &str = "kernel-table";

/// Puts finished runs into the table.
#[derive(Debug, Args)]
pub struct TableCommand {
    /// The file that has the table between its marks
    file: PathBuf,
    /// Folders of finished runs
    #[arg(required = true)]
    runs: Vec<PathBuf>,
    /// What a boot of that kernel without any check took, in seconds
    #[arg(long, value_name = "SECONDS")]
    bare: Option<f64>,
    #[command(flatten)]
    baseline: BaselineOptions,
}

/// Why the table is as it was.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The file cannot be read or written.
    #[error("failed to renew the table in {}: {why}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        why: io::Error,
    },
    /// What stands there is no table of ours.
    #[error("failed to read the table in {}: {why}\n    it is made by ./ci/kernels; take the file back as it was", .path.display())]
    NoTable {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A run has no row.
    #[error("failed to make a row of {}: {why}\n    give a finished run of a guest", .path.display())]
    NoRow {
        /// The run's folder.
        path: PathBuf,
        /// Why not.
        why: &'static str,
    },
    /// A run cannot be read.
    #[error(transparent)]
    Run(#[from] JournalError),
    /// A run's reports cannot be made.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The baseline cannot be used.
    #[error(transparent)]
    Baseline(#[from] BaselineError),
}

impl TableCommand {
    /// Does it.
    ///
    /// # Errors
    /// Why the table is as it was.
    pub fn run(&self) -> Result<Exit, TableError> {
        let baseline = self.baseline.read()?;
        let failed = |why| TableError::File { path: self.file.clone(), why };
        let text = fs::read_to_string(&self.file).map_err(failed)?;
        let (before, mut table, after) =
            split(&text).map_err(|why| TableError::NoTable { path: self.file.clone(), why })?;
        for folder in &self.runs {
            table.put(row_of(folder, baseline.as_ref(), self.bare)?);
        }
        fs::write(&self.file, format!("{before}{table}{after}")).map_err(failed)?;
        Ok(Exit::Conforms)
    }
}

fn row_of(folder: &Path, baseline: Option<&Baseline>, bare: Option<f64>) -> Result<Row, TableError> {
    let run = write_all(folder, baseline)?;
    Row::of(&run, bare).map_err(|why| TableError::NoRow { path: folder.to_owned(), why })
}

/// The text up to the table, the table, and the rest.
fn split(text: &str) -> Result<(&str, Table, &str), String> {
    let missing = |mark: &str| format!("there is no line {:?}", mark.trim_end());
    let begin = text.find(BEGIN).ok_or_else(|| missing(BEGIN))? + BEGIN.len();
    let end = text[begin..].find(END).ok_or_else(|| missing(END))? + begin;
    Ok((&text[..begin], text[begin..end].parse()?, &text[end..]))
}

/// The whole table, in order.
#[derive(Debug, Clone, Default, PartialEq)]
struct Table(Vec<Row>);

impl Table {
    /// Puts a row in the place of the one about the same, or where it belongs.
    fn put(&mut self, row: Row) {
        self.0.retain(|other| other.subject != row.subject);
        self.0.push(row);
        self.0.sort_by_key(|row| row.subject.place());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HEAD)?;
        self.0.iter().try_for_each(|row| writeln!(f, "{row}"))
    }
}

impl FromStr for Table {
    type Err = String;

    fn from_str(text: &str) -> Result<Table, String> {
        let rows = text.strip_prefix(HEAD).ok_or("its head is not ours")?;
        let mut table = Table::default();
        for line in rows.lines() {
            let row: Row = line.parse().map_err(|why| format!("the row {line:?}: {why}"))?;
            if table.0.iter().any(|other| other.subject == row.subject) {
                return Err(format!("the row {line:?} is about the same as another one"));
            }
            table.0.push(row);
        }
        match table.to_string() == text {
            true => Ok(table),
            false => Err("it is not written as we write it".to_owned()),
        }
    }
}

/// What a row is about.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Subject {
    /// `uname -r`.
    kernel: String,
    way: Via,
    /// The emulated device.
    target: String,
    set: Capabilities,
}

impl Subject {
    /// Where it stands: the newest kernel first, our own target before others, the smallest set first.
    fn place(&self) -> impl Ord + use<> {
        let set = Capabilities::ALL.into_iter().position(|set| set == self.set);
        let version = std::cmp::Reverse(Version::of_release(&self.kernel));
        (version, self.kernel.clone(), self.target != "pci", self.target.clone(), self.way.to_string(), set)
    }
}

/// A run.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    subject: Subject,
    /// How many checks came to what, the worst news first.
    tally: Vec<(Verdict, usize)>,
    /// Findings, and checks that were blocked, which a baseline expects.
    known: usize,
    /// Those that none expects.
    unknown: usize,
    /// From power-on to the verdict, and how the guest's processors were made.
    time: (Tenths, String),
    /// From power-on to power-off of a guest that did nothing else.
    bare: Option<Tenths>,
}

/// Seconds, as they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Tenths(u64);

impl Tenths {
    fn of(seconds: f64) -> Tenths {
        // No run takes so long, and none less than nothing.
        Tenths((seconds.clamp(0.0, 1e9) * 10.0).round() as u64)
    }
}

impl fmt::Display for Tenths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} s", self.0 / 10, self.0 % 10)
    }
}

impl FromStr for Tenths {
    type Err = String;

    fn from_str(text: &str) -> Result<Tenths, String> {
        let wrong = || format!("{text:?} is no time like 18.1 s");
        let (seconds, tenths) = text.strip_suffix(" s").and_then(|text| text.split_once('.')).ok_or_else(wrong)?;
        let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
        Ok(Tenths(number(seconds)?.saturating_mul(10).saturating_add(number(tenths)?)))
    }
}

impl Row {
    fn of(run: &Run, bare: Option<f64>) -> Result<Row, &'static str> {
        let ready = run.ready.as_ref().filter(|_| !run.cut_off && run.stopped_by.is_none());
        let ready = ready.ok_or("it was cut off or stopped, or no check could run")?;
        let subject = Subject {
            kernel: ready.kernel.clone(),
            way: Via::from_str(&ready.identity.via, false).map_err(|_| "its device is no kernel's")?,
            target: run.began.target.clone().ok_or("its device is no emulated one")?,
            set: ready.capabilities.ok_or("its device has no capability set")?,
        };
        let tally = Verdict::ALL.into_iter().map(|verdict| (verdict, run.with_verdict(verdict).count()));
        let tally: Vec<(Verdict, usize)> = tally.filter(|(_, count)| *count > 0).collect();
        let is_trouble = |verdict: Verdict| verdict.is_finding() || verdict == Verdict::Blocked;
        let trouble = run.checks.iter().filter(|check| is_trouble(check.outcome.verdict));
        let (known, unknown): (Vec<_>, Vec<_>) = trouble.partition(|check| run.is_expected(check));
        let seconds = run.timeline.power_on_to_verdict.ok_or("it switched no guest on")?;
        let accelerator = ready.accelerator.clone().ok_or("it switched no guest on")?;
        Ok(Row {
            subject,
            tally,
            known: known.len(),
            unknown: unknown.len(),
            time: (Tenths::of(seconds), accelerator),
            bare: bare.map(Tenths::of),
        })
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Subject { kernel, way, target, set } = &self.subject;
        let tally: Vec<String> = self.tally.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect();
        let findings = match (self.known, self.unknown) {
            (0, 0) => "none".to_owned(),
            (known, 0) => format!("{known}, all in the baseline"),
            (known, unknown) => format!("{known} in the baseline, {unknown} not"),
        };
        let bare = self.bare.map_or("-".to_owned(), |bare| bare.to_string());
        let (time, accelerator) = &self.time;
        write!(
            f,
            "| {kernel} | {way} | `{target}` | {set} | {} | {findings} | {time} ({accelerator}) | {bare} |",
            tally.join(", ")
        )
    }
}

impl FromStr for Row {
    type Err = String;

    fn from_str(line: &str) -> Result<Row, String> {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let cells: [&str; CELLS] = cells.try_into().map_err(|_| format!("it has not {CELLS} cells"))?;
        let [kernel, way, target, set, tally, findings, time, bare] = cells;
        let (known, unknown) = findings_of(findings)?;
        let (time, accelerator) = time
            .strip_suffix(')')
            .and_then(|time| time.split_once(" ("))
            .ok_or_else(|| format!("{time:?} does not say how it was emulated"))?;
        Ok(Row {
            subject: Subject {
                kernel: kernel.to_owned(),
                way: Via::from_str(way, false)?,
                target: target.trim_matches('`').to_owned(),
                set: set.parse()?,
            },
            tally: tally.split(", ").map(counted).collect::<Result<_, _>>()?,
            known,
            unknown,
            time: (time.parse()?, accelerator.to_owned()),
            bare: (bare != "-").then(|| bare.parse()).transpose()?,
        })
    }
}

/// Reads `17 fail`.
fn counted(text: &str) -> Result<(Verdict, usize), String> {
    let wrong = || format!("{text:?} is no count of a verdict");
    let (count, word) = text.split_once(' ').ok_or_else(wrong)?;
    let verdict = Verdict::ALL.into_iter().find(|verdict| verdict.word() == word).ok_or_else(wrong)?;
    Ok((verdict, count.parse().map_err(|_| wrong())?))
}

/// Reads how many findings a baseline has, and how many none has.
fn findings_of(text: &str) -> Result<(usize, usize), String> {
    let wrong = || format!("{text:?} does not say how many findings are known");
    let number = |text: &str| text.parse::<usize>().map_err(|_| wrong());
    if text == "none" {
        return Ok((0, 0));
    }
    if let Some(known) = text.strip_suffix(", all in the baseline") {
        return Ok((number(known)?, 0));
    }
    let (known, unknown) =
        text.strip_suffix(" not").and_then(|text| text.split_once(" in the baseline, ")).ok_or_else(wrong)?;
    Ok((number(known)?, number(unknown)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PCI: &str = "| 7.3.4+deb13-amd64 | group | `pci` | stop_copy+p2p+pre_copy | 59 skip, 333 pass | none | 18.1 s (tcg) | 5.3 s |";
    const MTTY: &str = "| 6.12.107+deb13-amd64 | group | `mtty` | stop_copy+p2p+pre_copy | 1 crash, 17 fail, 288 pass | 17 in the baseline, 1 not | 31.0 s (kvm) | - |";

    #[test]
    fn the_readme_has_the_table_as_runs_make_it() -> Result<(), String> {
        let readme = include_str!("../../README.md");
        let (_, table, _) = split(readme)?;
        assert!(!table.0.is_empty());
        Ok(())
    }

    #[test]
    fn rows_are_read_as_they_are_written() {
        for line in [PCI, MTTY] {
            assert_eq!(line.parse::<Row>().map(|row| row.to_string()).as_deref(), Ok(line));
        }
    }

    #[test]
    fn what_is_written_by_hand_is_refused() {
        let table = |rows: &str| format!("{HEAD}{rows}\n").parse::<Table>();
        assert!(table(PCI).is_ok() && table(&format!("{PCI}\n{MTTY}")).is_ok());
        for (from, to) in [
            ("59 skip", "about 60 skip"),
            ("none", "few"),
            ("18.1 s (tcg)", "18 s"),
            ("| group", "|group"),
            ("`pci`", "pci"),
            ("stop_copy+p2p+pre_copy", "all"),
        ] {
            assert!(table(&PCI.replace(from, to)).is_err(), "{to}");
        }
        assert!(table(&format!("{PCI}\n{PCI}")).is_err(), "twice the same");
    }

    #[test]
    fn a_run_replaces_its_row_and_leaves_the_others() {
        let mut table = Table::default();
        for line in [MTTY, PCI] {
            table.put(line.parse().unwrap());
        }
        let smaller = PCI.replace("stop_copy+p2p+pre_copy", "stop_copy");
        table.put(smaller.parse().unwrap());
        let again = PCI.replace("18.1", "17.9");
        table.put(again.parse().unwrap());
        let lines: Vec<String> = table.0.iter().map(Row::to_string).collect();
        assert_eq!(lines, [smaller, again, MTTY.to_owned()]);
    }
}
