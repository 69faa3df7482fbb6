//! Reads baselines, strictly: an entry that silently meant nothing would let a new finding look like an old one, or hide it.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

use super::{Baseline, Entry, Kernels};
use crate::harness::check::Check;
use crate::harness::incident::Phase;
use crate::harness::verdict::Verdict;
use crate::requirement;
use crate::stimulus::profile::error::{Complaint, nearest};
use crate::suites;

/// Why a baseline cannot be used. Reads as one sentence with the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BaselineError {
    /// The file cannot be read.
    #[error("failed to read the baseline {}: {why}\n    --baseline takes a file like those in reports/baselines, or a folder of them", .path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// What the system answered.
        why: String,
    },
    /// The file says what cannot be understood.
    #[error("failed to understand the baseline {}: {why}", .path.display())]
    Misunderstood {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        why: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    expected: Vec<Written>,
}

/// An entry as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    driver: Option<String>,
    kernel: Option<Spanned<String>>,
    checks: Spanned<Vec<Spanned<String>>>,
    verdict: Spanned<Verdict>,
    #[serde(default)]
    breaks: Vec<Spanned<String>>,
    #[serde(default)]
    sometimes: bool,
    reason: Spanned<String>,
    fixed: Option<String>,
}

impl Baseline {
    /// Reads files, and of folders all files that end in `.toml`.
    ///
    /// # Errors
    /// What is wrong with one of them, and where.
    pub fn read(paths: &[PathBuf]) -> Result<Baseline, BaselineError> {
        let checks = suites::all();
        let mut baseline = Baseline::default();
        for path in paths {
            for file in files(path)? {
                let text = fs::read_to_string(&file).map_err(|error| unreadable(&file, &error))?;
                let entries = parse(&file, &text, &checks).map_err(|complaint| BaselineError::Misunderstood {
                    path: file.clone(),
                    why: complaint.in_text(&text),
                })?;
                baseline.entries.extend(entries);
            }
        }
        Ok(baseline)
    }
}

fn files(path: &Path) -> Result<Vec<PathBuf>, BaselineError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let failed = |error: std::io::Error| unreadable(path, &error);
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|extension| extension == "toml") {
            files.push(file);
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(BaselineError::Unreadable { path: path.to_owned(), why: "the folder has no .toml".to_owned() }),
        false => Ok(files),
    }
}

fn unreadable(path: &Path, error: &std::io::Error) -> BaselineError {
    BaselineError::Unreadable { path: path.to_owned(), why: error.to_string() }
}

fn parse(file: &Path, text: &str, checks: &[Check]) -> Result<Vec<Entry>, Complaint> {
    let written: File = toml::from_str(text)?;
    written.expected.into_iter().map(|entry| understand(file, entry, checks)).collect()
}

fn understand(file: &Path, written: Written, checks: &[Check]) -> Result<Entry, Complaint> {
    let kernel = written
        .kernel
        .map(|kernel| kernel.get_ref().parse::<Kernels>().map_err(|why| Complaint::at(kernel.span(), why)));
    if written.checks.get_ref().is_empty() {
        return Err(Complaint::at(written.checks.span(), "no check is named, so nothing is expected"));
    }
    let phases = Phase::ALL.map(Phase::test_name);
    let names: Vec<&str> = checks.iter().map(Check::name).chain(phases).collect();
    for check in written.checks.get_ref() {
        known(check, "check", &names)?;
    }
    let ids: Vec<&str> = requirement::all().map(|requirement| requirement.id).collect();
    for requirement in &written.breaks {
        known(requirement, "requirement", &ids)?;
    }
    let verdict = *written.verdict.get_ref();
    if matches!(verdict, Verdict::Pass | Verdict::Skip) {
        let why = format!("a {verdict} needs no baseline: fail, warn, hang, crash or blocked");
        return Err(Complaint::at(written.verdict.span(), why));
    }
    if written.reason.get_ref().trim().is_empty() {
        return Err(Complaint::at(written.reason.span(), "say why it is expected"));
    }
    Ok(Entry {
        file: file.to_owned(),
        driver: written.driver,
        kernel: kernel.transpose()?,
        checks: plain(written.checks.into_inner()),
        verdict,
        breaks: plain(written.breaks),
        sometimes: written.sometimes,
        reason: written.reason.into_inner(),
        fixed: written.fixed,
    })
}

fn plain(names: Vec<Spanned<String>>) -> Vec<String> {
    names.into_iter().map(Spanned::into_inner).collect()
}

fn known(name: &Spanned<String>, what: &str, names: &[&str]) -> Result<(), Complaint> {
    let asked = name.get_ref().as_str();
    if names.contains(&asked) {
        return Ok(());
    }
    let meant =
        nearest(asked, names.iter().copied()).map_or(String::new(), |meant| format!("; did you mean {meant:?}?"));
    Err(Complaint::at(name.span(), format!("there is no {what} {asked:?}{meant}")))
}
