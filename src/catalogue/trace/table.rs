//! The table of sentences, which is part of the program.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::TraceError;

const TABLE: &str = include_str!("table.toml");

/// What is known of the sentences of the header.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Table {
    /// The kernels whose headers were read, from the oldest to the newest.
    pub(super) editions: Vec<String>,
    /// Why sentences are not judged.
    reasons: BTreeMap<String, String>,
    /// Requirements that no sentence states, each with the reason.
    pub(super) uncited: BTreeMap<String, String>,
    comment: Vec<Comment>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Comment {
    documents: String,
    sentences: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    hash: String,
    #[serde(default)]
    editions: Vec<String>,
    #[serde(default)]
    requirements: Vec<String>,
    reason: Option<String>,
}

/// A sentence of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known<'a> {
    pub(super) hash: &'a str,
    pub(super) documents: &'a str,
    pub(super) number: usize,
    /// None: every edition has it.
    editions: &'a [String],
    pub(super) requirements: &'a [String],
    /// Why it is not judged, or not wholly.
    pub(super) reason: Option<&'a str>,
}

impl Known<'_> {
    pub(super) fn is_of(&self, edition: &str) -> bool {
        self.editions.is_empty() || self.editions.iter().any(|of| of == edition)
    }
}

impl Table {
    pub(super) fn read() -> Result<Table, TraceError> {
        toml::from_str(TABLE).map_err(|error| TraceError::Table(error.to_string()))
    }

    /// Every sentence, in the order of the newest edition.
    pub(super) fn sentences(&self) -> impl Iterator<Item = Known<'_>> {
        self.comment.iter().flat_map(|comment| {
            comment.sentences.iter().enumerate().map(|(index, row)| Known {
                hash: &row.hash,
                documents: &comment.documents,
                number: index + 1,
                editions: &row.editions,
                requirements: &row.requirements,
                reason: row.reason.as_ref().and_then(|name| self.reasons.get(name)).map(String::as_str),
            })
        })
    }

    pub(super) fn find(&self, hash: &str) -> Option<Known<'_>> {
        self.sentences().find(|known| known.hash == hash)
    }

    /// The edition that has most of these sentences, the newest of several.
    pub(super) fn nearest_edition(&self, hashes: &[String]) -> &str {
        let fits = |edition: &&String| {
            let of_edition = self.sentences().filter(|known| known.is_of(edition));
            // What is there and what is missing both count.
            let (there, missing): (Vec<_>, Vec<_>) =
                of_edition.partition(|known| hashes.iter().any(|hash| hash == known.hash));
            there.len().cast_signed() - missing.len().cast_signed()
        };
        self.editions.iter().max_by_key(fits).map_or("", String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::requirement::{self, Level};

    fn table() -> Table {
        Table::read().expect("the table can be read")
    }

    #[test]
    fn each_sentence_has_requirements_that_exist_or_a_reason_that_exists() {
        let table = table();
        for row in table.comment.iter().flat_map(|comment| &comment.sentences) {
            assert!(row.reason.is_some() || !row.requirements.is_empty(), "{}", row.hash);
            for id in &row.requirements {
                assert!(requirement::find(id).is_some(), "{}: no requirement {id}", row.hash);
            }
            let reason = row.reason.as_ref();
            assert!(reason.is_none_or(|name| table.reasons.contains_key(name)), "{}: no reason {reason:?}", row.hash);
            assert!(row.editions.iter().all(|edition| table.editions.contains(edition)), "{}", row.hash);
            assert!(row.hash.len() == 16 && row.hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", row.hash);
        }
    }

    #[test]
    fn no_sentence_is_there_twice_and_no_reason_is_unused() {
        let table = table();
        let hashes: BTreeSet<&str> = table.sentences().map(|known| known.hash).collect();
        assert_eq!(hashes.len(), table.sentences().count());
        let used: BTreeSet<&String> =
            table.comment.iter().flat_map(|comment| &comment.sentences).filter_map(|row| row.reason.as_ref()).collect();
        assert_eq!(used, table.reasons.keys().collect());
    }

    #[test]
    fn each_must_of_the_header_is_cited_or_has_a_reason() {
        let table = table();
        let cited: BTreeSet<&str> =
            table.sentences().flat_map(|known| known.requirements).map(String::as_str).collect();
        let of_header = |requirement: &&requirement::Requirement| {
            requirement.level == Level::Must && requirement.place() != requirement.source
        };
        let uncited: BTreeSet<&str> =
            requirement::all().filter(of_header).map(|must| must.id).filter(|id| !cited.contains(id)).collect();
        assert_eq!(uncited, table.uncited.keys().map(String::as_str).collect());
        assert!(table.uncited.values().all(|reason| reason.ends_with('.')));
    }

    #[test]
    fn a_header_is_compared_with_the_edition_that_it_resembles() {
        let table = table();
        for edition in &table.editions {
            let of_edition = table.sentences().filter(|known| known.is_of(edition));
            let hashes: Vec<String> = of_edition.map(|known| known.hash.to_owned()).collect();
            assert_eq!(table.nearest_edition(&hashes), edition);
            assert_eq!(table.nearest_edition(&hashes[1..]), edition);
        }
    }
}
