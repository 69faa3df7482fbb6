//! What can be asked about requirements and checks without a device: which there are, and what each is about.

mod explain;
mod list;
pub mod trace;

use crate::harness::check::Check;
use crate::requirement::{self, Level, Requirement};
use crate::suites;

pub use explain::explain;
pub use list::{Format, Show, list};

/// Why a question has no answer. Reads as one sentence that ends in what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogueError {
    /// There is no such chapter.
    #[error("failed to list the chapter {0:?}: there is none of that name\n    the chapters are {1}")]
    NoSuchChapter(String, String),
    /// The filters leave nothing.
    #[error("failed to list: nothing matches all of the filters\n    `vfio-conform list` without any shows everything")]
    NothingMatches,
    /// Neither a requirement nor a check is called so.
    #[error(
        "failed to explain {name:?}: no requirement and no check is called so{}\n    `vfio-conform list` shows those that \
         there are",
        nearest_lines(.nearest)
    )]
    Unknown {
        /// What was asked for.
        name: String,
        /// What may have been meant.
        nearest: Vec<String>,
    },
    /// The answer could not be put into JSON.
    #[error("failed to list: {0}")]
    Json(String),
}

fn nearest_lines(nearest: &[String]) -> String {
    match nearest.is_empty() {
        true => String::new(),
        false => format!("\n    the nearest are {}", nearest.join(", ")),
    }
}

/// What to show of the catalogue; everything that is `None` or empty leaves all through.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// One chapter.
    pub chapter: Option<String>,
    /// One level.
    pub level: Option<Level>,
    /// Words, each of which must be found somewhere.
    pub words: Vec<String>,
}

impl Filter {
    fn lets_requirement_through(&self, requirement: &Requirement) -> bool {
        let chapter = self.chapter.as_ref().is_none_or(|chapter| requirement.chapter() == chapter);
        let level = self.level.is_none_or(|level| requirement.level == level);
        let ruling = requirement.ruling.unwrap_or_default();
        chapter && level && self.finds_words(&[requirement.id, requirement.statement, requirement.source, ruling])
    }

    fn lets_check_through(&self, check: &Check) -> bool {
        let chapter = self.chapter.as_ref().is_none_or(|chapter| check.chapter() == chapter);
        let level = self.level.is_none_or(|level| check.requirements().iter().any(|r| r.level == level));
        let ids: Vec<&str> = check.requirements().iter().map(|requirement| requirement.id).collect();
        chapter && level && self.finds_words(&[check.name(), &ids.join(" ")])
    }

    fn finds_words(&self, places: &[&str]) -> bool {
        let places = places.join("\n").to_lowercase();
        self.words.iter().all(|word| places.contains(&word.to_lowercase()))
    }
}

/// The chapters, in the order in which they run.
pub fn chapters() -> Vec<String> {
    let mut chapters: Vec<String> = Vec::new();
    let of_checks = suites::all().into_iter().map(|check| check.chapter().to_owned());
    for chapter in of_checks.chain(requirement::all().map(|requirement| requirement.chapter().to_owned())) {
        if !chapters.contains(&chapter) {
            chapters.push(chapter);
        }
    }
    chapters
}

/// The names of the checks that can prove a requirement.
fn checks_of(requirement: &Requirement, checks: &[Check]) -> Vec<String> {
    let proves = |check: &&Check| check.requirements().iter().any(|r| r.id == requirement.id);
    checks.iter().filter(proves).map(|check| check.name().to_owned()).collect()
}
