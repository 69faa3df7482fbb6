//! Which requirements judge each sentence of the uAPI header, and what is not judged of a header that has changed.

mod change;
pub mod command;
mod header;
mod table;
mod text;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::Serialize;

pub use change::{Change, ChangeKind, changes};
use change::{Place, align};
use header::Sentence;
use table::Table;

/// The version of the JSON form. It grows when an old reader would misread a new trace.
const FORMAT: u32 = 1;
/// The longest header that is read, in bytes; the kernel's has less than 100 KiB.
const LONGEST: u64 = 16 << 20;

/// Why there is no trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The header cannot be read.
    #[error("failed to read the header {}: {why}\n    give include/uapi/linux/vfio.h of a kernel tree, or of its headers package", .path.display())]
    Unreadable {
        /// Its path.
        path: PathBuf,
        /// What the system returned.
        #[source]
        why: io::Error,
    },
    /// It is not the header, or too old.
    #[error(
        "failed to trace {}: it has no comment on VFIO_DEVICE_FEATURE_MIGRATION\n    give include/uapi/linux/vfio.h of \
         Linux 5.18 or newer",
        .0.display()
    )]
    NoMigration(PathBuf),
    /// The table in the program is broken.
    #[error("failed to read the table of sentences: {0}\n    report this as a bug of vfio-conform")]
    Table(String),
    /// The trace could not be put into JSON.
    #[error("failed to write the trace as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Each sentence of a header with what judges it.
#[derive(Debug, Serialize)]
pub struct Trace {
    format: u32,
    tool: &'static str,
    header: String,
    /// The known header that this one resembles most, as a kernel series.
    edition: String,
    /// Every sentence has requirements or a reason, and none is missing.
    pub complete: bool,
    sentences: Vec<Traced>,
    /// What the table does not account for.
    unaccounted: Vec<Change>,
    /// Requirements that the header is the source of without stating them in a sentence, each with the reason.
    uncited: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
struct Traced {
    line: usize,
    documents: String,
    number: usize,
    hash: String,
    text: String,
    /// False: the table does not know the sentence.
    known: bool,
    requirements: Vec<String>,
    /// Why it is not judged, or not wholly.
    reason: Option<String>,
}

impl Trace {
    /// Traces a header.
    ///
    /// # Errors
    /// Why it cannot be read, or that it has no migration part.
    pub fn of(path: &Path) -> Result<Trace, TraceError> {
        let sentences = header::sentences(&read(path)?).ok_or_else(|| TraceError::NoMigration(path.to_owned()))?;
        Ok(Trace::of_sentences(path.display().to_string(), &sentences, Table::read()?))
    }

    fn of_sentences(header: String, sentences: &[Sentence], table: Table) -> Trace {
        let hashes: Vec<String> = sentences.iter().map(Sentence::hash).collect();
        let edition = table.nearest_edition(&hashes).to_owned();
        let known: Vec<Place> =
            table.sentences().filter(|known| known.is_of(&edition)).map(|known| Place::of_known(&known)).collect();
        let mut unaccounted = align(&known, sentences, &table);
        // A sentence of another edition is accounted for, too.
        unaccounted.retain(|change| change.kind == ChangeKind::Removed || !change.is_known);
        Trace {
            format: FORMAT,
            tool: env!("CARGO_PKG_VERSION"),
            header,
            edition,
            complete: unaccounted.is_empty(),
            sentences: sentences.iter().map(|sentence| traced(sentence, &table)).collect(),
            unaccounted,
            uncited: table.uncited,
        }
    }
}

fn traced(sentence: &Sentence, table: &Table) -> Traced {
    let hash = sentence.hash();
    let known = table.find(&hash);
    Traced {
        line: sentence.line,
        documents: sentence.documents.clone(),
        number: sentence.number,
        text: sentence.text.clone(),
        known: known.is_some(),
        requirements: known.map_or(Vec::new(), |known| known.requirements.to_vec()),
        reason: known.and_then(|known| known.reason).map(str::to_owned),
        hash,
    }
}

fn read(path: &Path) -> Result<String, TraceError> {
    let unreadable = |why| TraceError::Unreadable { path: path.to_owned(), why };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(LONGEST).read_to_end(&mut bytes)).map_err(unreadable)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_with_unknown_sentences_is_incomplete() {
        let text = "/*\n * No kernel says this.\n */\n#define VFIO_DEVICE_FEATURE_MIGRATION 1\n";
        let sentences = header::sentences(text).expect("a migration part");
        let trace = Trace::of_sentences("vfio.h".to_owned(), &sentences, Table::read().expect("a table"));
        assert!(!trace.complete);
        let new: Vec<_> = trace.unaccounted.iter().filter(|change| change.kind == ChangeKind::New).collect();
        assert_eq!((new.len(), new[0].line, new[0].text.as_deref()), (1, Some(2), Some("No kernel says this.")));
        let removed = trace.unaccounted.iter().filter(|change| change.kind == ChangeKind::Removed);
        assert!(removed.clone().count() > 100);
        assert!(removed.clone().any(|change| change.requirements.contains(&"discover.flags.defined".to_owned())));
    }
}
