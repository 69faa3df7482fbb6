//! The catalogue: every sentence of the protocol that the suite judges, with a stable id.

use std::fmt;

use serde::{Deserialize, Serialize};

pub mod concurrency;
pub mod discover;
pub mod dma_logging;
pub mod fsm;
pub mod guide;
pub mod health;
pub mod precopy;
pub mod quiesce;
pub mod reset;
pub mod resume;
pub mod session;
pub mod stop_copy;
pub mod walk;
pub mod wear;

/// Where the uAPI text stands in a kernel tree.
const HEADER: &str = "include/uapi/linux/vfio.h";

/// How much a requirement binds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// A driver that breaks it does not conform.
    Must,
    /// A driver should keep it; breaking it is a warning.
    Should,
    /// Breaking it is worth a remark.
    Advice,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Level::Must => "must",
            Level::Should => "should",
            Level::Advice => "advice",
        })
    }
}

/// Where a requirement comes from. Reports count musts of the text and musts by ruling apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Basis {
    /// The uAPI text states it.
    Text,
    /// The text does not state it in so many words; we hold it for necessary, and the entry's ruling says why.
    Ruling,
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Basis::Text => "text",
            Basis::Ruling => "ruling",
        })
    }
}

/// One sentence of the protocol.
#[derive(Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Stable and dotted; its first part is the chapter.
    pub id: &'static str,
    /// How much it binds.
    pub level: Level,
    /// The rule in our own words.
    pub statement: &'static str,
    /// Where the uAPI text says so (comments of include/uapi/linux/vfio.h, by what they document).
    pub source: &'static str,
    /// Whether the uAPI text states it, or we do.
    pub basis: Basis,
    /// How the rule is read where the text is silent, and why.
    pub ruling: Option<&'static str>,
}

impl Requirement {
    /// The first part of its id.
    pub fn chapter(&self) -> &'static str {
        self.id.split_once('.').map_or(self.id, |(chapter, _)| chapter)
    }

    /// Its level as reports show it: `must`, `must by ruling`.
    pub fn binds(&self) -> &'static str {
        match (self.level, self.basis) {
            (Level::Must, Basis::Text) => "must",
            (Level::Must, Basis::Ruling) => "must by ruling",
            (Level::Should, _) => "should",
            (Level::Advice, _) => "advice",
        }
    }

    /// Where the rule comes from, with the file that says so if it is the uAPI text.
    pub fn place(&self) -> String {
        match self.source.contains("VFIO_") || self.source.contains("vfio_") {
            true => format!("{HEADER}, {}", self.source),
            false => self.source.to_owned(),
        }
    }
}

/// Every requirement, chapter by chapter.
pub fn all() -> impl Iterator<Item = &'static Requirement> {
    of_each_chapter!(ALL).into_iter().flatten().copied()
}

/// The requirement of that id.
pub fn find(id: &str) -> Option<&'static Requirement> {
    all().find(|requirement| requirement.id == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_by_ruling_says_why_and_is_told_from_a_must_of_the_text() {
        let by_ruling = || all().filter(|requirement| requirement.basis == Basis::Ruling);
        for requirement in by_ruling().filter(|requirement| requirement.level == Level::Must) {
            assert!(requirement.ruling.is_some(), "{} gives no reason", requirement.id);
            assert_eq!(requirement.binds(), "must by ruling");
        }
        assert!(by_ruling().count() > 50);
        // A reset by the ioctl leads to RUNNING by the text; what an open finds is by ruling.
        assert_eq!((reset::RUNNING.binds(), fsm::OPENS_RUNNING.binds()), ("must", "must by ruling"));
        assert_eq!(precopy::INITIAL_AT_FIRST.binds(), "must by ruling");
        assert_eq!(precopy::EOS_ENOMSG.binds(), "must by ruling");
    }
}
