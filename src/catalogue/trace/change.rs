//! What differs between two sets of sentences: the table and a header, or a header before and after a patch.

use std::path::Path;

use serde::Serialize;

use super::header::{self, Sentence};
use super::table::{Known, Table};
use super::{TraceError, read};

/// What became of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ChangeKind {
    /// It is there now.
    New,
    /// It stands where another one stood.
    Changed,
    /// It is gone.
    Removed,
}

impl ChangeKind {
    /// The word for it in reports.
    pub fn word(self) -> &'static str {
        match self {
            ChangeKind::New => "new",
            ChangeKind::Changed => "changed",
            ChangeKind::Removed => "removed",
        }
    }
}

/// A sentence that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What became of it.
    pub kind: ChangeKind,
    /// The line of the header, unless the sentence is gone.
    pub line: Option<usize>,
    /// The declaration that its comment documents.
    pub documents: String,
    /// Its place in the comments on this declaration, from 1.
    pub number: usize,
    /// Its words, if they are known: of a sentence that is gone from the table there is only the hash.
    pub text: Option<String>,
    /// The table has the sentence.
    pub is_known: bool,
    /// The requirements that judge it; of one that the table does not have, those that judged the sentence in its place.
    pub requirements: Vec<String>,
    /// Why it is not judged, or not wholly, as far as the table has it.
    pub reason: Option<String>,
}

impl Change {
    /// Where it is, for people.
    pub fn place(&self) -> String {
        let documents = if self.documents.is_empty() { "comment on no declaration" } else { &self.documents };
        let place = format!("{documents}, sentence {}", self.number);
        self.line.map_or_else(|| place.clone(), |line| format!("line {line} ({place})"))
    }

    /// What judges it, for people.
    pub fn judged_by(&self) -> String {
        let ids = self.requirements.join(", ");
        match (self.is_known, ids.is_empty(), &self.reason) {
            (false, true, _) => "not judged by any requirement".to_owned(),
            (false, false, _) => {
                format!("not judged by any requirement; the sentence in its place was judged by {ids}")
            }
            (true, false, _) if self.kind == ChangeKind::Removed => format!("it was judged by {ids}"),
            (true, false, _) => format!("judged by {ids}"),
            (true, true, reason) => format!("not judged: {}", reason.as_deref().unwrap_or("no reason is known")),
        }
    }
}

/// A sentence that was there before, with its words if they are known.
#[derive(Debug, Clone)]
pub(super) struct Place {
    hash: String,
    documents: String,
    number: usize,
    text: Option<String>,
}

impl Place {
    pub(super) fn of_known(known: &Known<'_>) -> Place {
        let (hash, documents) = (known.hash.to_owned(), known.documents.to_owned());
        Place { hash, documents, number: known.number, text: None }
    }

    fn of_sentence(sentence: &Sentence) -> Place {
        Place {
            hash: sentence.hash(),
            documents: sentence.documents.clone(),
            number: sentence.number,
            text: Some(sentence.text.clone()),
        }
    }
}

/// What a header says otherwise than another one. A header without a migration part has no sentences.
///
/// # Errors
/// Why one of them cannot be read.
pub fn changes(before: &Path, after: &Path) -> Result<Vec<Change>, TraceError> {
    let sentences = |path| Ok::<_, TraceError>(header::sentences(&read(path)?).unwrap_or_default());
    let before: Vec<Place> = sentences(before)?.iter().map(Place::of_sentence).collect();
    Ok(align(&before, &sentences(after)?, &Table::read()?))
}

/// What differs, in the order of the header, and then what is gone. A sentence with the same words is the same one wherever it
/// is.
pub(super) fn align(before: &[Place], after: &[Sentence], table: &Table) -> Vec<Change> {
    let hashes: Vec<String> = after.iter().map(Sentence::hash).collect();
    let mut gone: Vec<&Place> = before.iter().filter(|place| !hashes.contains(&place.hash)).collect();
    let mut found = Vec::new();
    // The place before the sentence, as it was numbered before.
    let mut last: Option<(&str, usize)> = None;
    for (sentence, hash) in after.iter().zip(&hashes) {
        if let Some(same) = before.iter().find(|place| place.hash == *hash) {
            last = Some((&same.documents, same.number));
            continue;
        }
        let number = last.filter(|(documents, _)| *documents == sentence.documents).map_or(0, |(_, number)| number) + 1;
        let stood = gone.iter().position(|place| place.documents == sentence.documents && place.number == number);
        let stood = stood.map(|index| gone.remove(index));
        if stood.is_some() {
            last = Some((&sentence.documents, number));
        }
        found.push(arrived(sentence, hash, stood, table));
    }
    found.extend(gone.into_iter().map(|place| departed(place, table)));
    found
}

fn arrived(sentence: &Sentence, hash: &str, stood: Option<&Place>, table: &Table) -> Change {
    let known = table.find(hash);
    let judges = known.or_else(|| stood.and_then(|place| table.find(&place.hash)));
    Change {
        kind: if stood.is_some() { ChangeKind::Changed } else { ChangeKind::New },
        line: Some(sentence.line),
        documents: sentence.documents.clone(),
        number: sentence.number,
        text: Some(sentence.text.clone()),
        is_known: known.is_some(),
        requirements: judges.map_or(Vec::new(), |known| known.requirements.to_vec()),
        reason: known.and_then(|known| known.reason).map(str::to_owned),
    }
}

fn departed(place: &Place, table: &Table) -> Change {
    let known = table.find(&place.hash);
    Change {
        kind: ChangeKind::Removed,
        line: None,
        documents: place.documents.clone(),
        number: place.number,
        text: place.text.clone(),
        is_known: known.is_some(),
        requirements: known.map_or(Vec::new(), |known| known.requirements.to_vec()),
        reason: known.and_then(|known| known.reason).map(str::to_owned),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(words: &[&str]) -> String {
        format!("/*\n * {}\n */\n#define VFIO_DEVICE_FEATURE_MIGRATION 1\n", words.join("\n * "))
    }

    fn seen(before: &[&str], after: &[&str]) -> Vec<(ChangeKind, Option<usize>, String)> {
        let sentences = |words| header::sentences(&header(words)).expect("a migration part");
        let before: Vec<Place> = sentences(before).iter().map(Place::of_sentence).collect();
        let table = Table::read().expect("a table");
        let changes = align(&before, &sentences(after), &table);
        changes.into_iter().map(|change| (change.kind, change.line, change.text.unwrap_or_default())).collect()
    }

    #[test]
    fn sentences_that_differ_are_new_changed_or_removed() {
        let old = ["One.", "Two.", "Three.", "Four."];
        assert_eq!(seen(&old, &old), []);
        assert_eq!(seen(&old, &["Four.", "Two.", "One.", "Three."]), []);
        assert_eq!(seen(&old, &["One.", "2.", "Three.", "Four."]), [(ChangeKind::Changed, Some(3), "2.".to_owned())]);
        assert_eq!(seen(&old, &["One.", "Four."]).len(), 2);
        assert_eq!(
            seen(&old, &["0.", "Two.", "2a.", "3.", "Four.", "5."]),
            [
                (ChangeKind::Changed, Some(2), "0.".to_owned()),
                (ChangeKind::Changed, Some(4), "2a.".to_owned()),
                (ChangeKind::New, Some(5), "3.".to_owned()),
                (ChangeKind::New, Some(7), "5.".to_owned()),
            ]
        );
        assert_eq!(seen(&old, &["One.", "Three.", "Four."]), [(ChangeKind::Removed, None, "Two.".to_owned())]);
    }

    #[test]
    fn sentence_that_is_unknown_has_the_requirements_of_the_one_in_its_place() {
        let table = Table::read().expect("a table");
        let known = table.sentences().find(|known| !known.requirements.is_empty()).expect("one is judged");
        let place =
            Place { number: 1, documents: "VFIO_DEVICE_FEATURE_MIGRATION".to_owned(), ..Place::of_known(&known) };
        let after = header::sentences(&header(&["Otherwise."])).expect("a migration part");
        let changes = align(&[place], &after, &table);
        assert_eq!((changes.len(), changes[0].is_known), (1, false));
        assert_eq!(changes[0].requirements, known.requirements);
        assert!(changes[0].judged_by().starts_with("not judged by any requirement; "), "{}", changes[0].judged_by());
    }
}
