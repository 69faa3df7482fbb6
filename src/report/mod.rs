//! Reports: what a run said, for people and for machines, made from its journal alone.
//!
//! [`Run`] is everything that a report says, folded from the events of a journal, whether the run ended or was cut
//! off. [`html`], [`markdown`], [`junit`], [`json`], [`ktap`] and [`console`] only write it down. None of them touches execution, so a report can be
//! made again at any time, anywhere, with the same result.

pub mod command;
pub mod console;
pub(crate) mod coverage;
pub mod html;
pub mod json;
pub mod junit;
pub mod ktap;
pub mod markdown;
pub mod table;

pub(crate) mod block;
mod evidence;
mod finding;
mod fold;
mod incident;
mod journal_error;
mod measure;
mod run;
pub(crate) mod text;
mod transitions;
pub mod trial;
mod write;

#[cfg(test)]
pub(crate) mod sample;
#[cfg(test)]
mod tests;

pub use finding::finding_text;
pub(crate) use fold::{Left, fold_to_go_on};
pub use incident::tests_of;
pub use journal_error::{Contradiction, JournalError, JournalFault};
pub use measure::Figures;
pub use run::{CheckRun, Counts, LabFailure, Remaining, Restart, Run, Timeline, is_incident};
pub use write::{
    HTML, JOURNAL, JSON, JUNIT, MARKDOWN, ReportError, clear_unfinished, make_all, sync_folder, write_all,
    write_reports, write_whole,
};
