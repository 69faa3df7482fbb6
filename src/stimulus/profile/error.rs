//! What is wrong with a profile, where, and what was meant.

use std::ops::Range;
use std::path::PathBuf;

/// Why a profile cannot be used. Reads as one sentence with the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// The file cannot be read.
    #[error("failed to read the profile {}: {why}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        why: String,
    },
    /// The file says what cannot be understood.
    #[error("failed to understand the profile {}: {why}", .path.display())]
    Misunderstood {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        why: String,
    },
}

/// What is wrong with the text of a profile, or of another file that is read as strictly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complaint {
    why: String,
    /// Where in the text, in bytes.
    at: Option<Range<usize>>,
}

impl Complaint {
    /// Something is wrong there.
    pub(crate) fn at(at: Range<usize>, why: impl Into<String>) -> Complaint {
        Complaint { why: why.into(), at: Some(at) }
    }

    /// Something is wrong that stands nowhere.
    pub(crate) fn of_all(why: impl Into<String>) -> Complaint {
        Complaint { why: why.into(), at: None }
    }

    /// Where it begins, for sorting.
    pub(crate) fn begin(&self) -> usize {
        self.at.as_ref().map_or(0, |at| at.start)
    }

    /// With the line, and what stands there.
    pub(crate) fn in_text(&self, text: &str) -> String {
        let why = &self.why;
        let Some((before, rest)) = self.at.as_ref().and_then(|at| text.split_at_checked(at.start)) else {
            return why.clone();
        };
        let number = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = text.lines().nth(number - 1).unwrap_or_default();
        let length = self.at.as_ref().map_or(1, |at| at.len()).min(line.len() - column.min(line.len())).max(1);
        let length = rest.get(..length).map_or(length, |marked| marked.chars().count());
        let margin = " ".repeat(number.to_string().len());
        let indent = " ".repeat(line.get(..column).map_or(column, |part| part.chars().count()));
        format!("line {number}: {why}\n  {margin} |\n  {number} | {line}\n  {margin} | {indent}{}", "^".repeat(length))
    }
}

impl From<toml::de::Error> for Complaint {
    fn from(error: toml::de::Error) -> Complaint {
        let message = error.message().to_owned();
        let why = match meant(&message) {
            Some(name) => format!("{message}; did you mean `{name}`?"),
            None => message,
        };
        Complaint { why, at: error.span() }
    }
}

/// The name that was meant by one that is unknown, if serde's message lists one that is near.
fn meant(message: &str) -> Option<&str> {
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut quoted = message.split('`').skip(1).step_by(2);
    let wrong = quoted.next()?;
    nearest(wrong, quoted)
}

/// The one of these names that is near enough to be meant.
pub(crate) fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    /// Below this two names have little in common.
    const NEAR: f64 = 0.7;
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(wrong, name), name))
        .filter(|(nearness, _)| *nearness >= NEAR)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}
