//! A trace for people.

use super::{Change, Trace, Traced};
use crate::report::block::{Block, STRONG, paint};
use crate::report::text::{one_line, plural};

/// The width of the label column.
const LABELS: usize = 13;

/// The trace in lines of at most `width` characters: each sentence unless only what is missing is asked for, then what the table
/// does not account for, then the result.
pub(super) fn to_text(trace: &Trace, only_missing: bool, width: usize) -> String {
    let mut text = String::new();
    if !only_missing {
        trace.sentences.iter().for_each(|sentence| text += &sentence_block(sentence, width));
        text += &uncited_block(trace, width);
    }
    trace.unaccounted.iter().for_each(|change| text += &change_block(change, width));
    text + &result_block(trace, width)
}

fn sentence_block(sentence: &Traced, width: usize) -> String {
    let mut block = Block::new(0, LABELS, width);
    block.headline(&format!("{}  {}, sentence {}", sentence.line, one_line(&sentence.documents), sentence.number));
    block.paragraph("text", &sentence.text);
    if !sentence.requirements.is_empty() {
        block.paragraph("judged by", &sentence.requirements.join(", "));
    }
    if let Some(reason) = &sentence.reason {
        block.paragraph(if sentence.requirements.is_empty() { "not judged" } else { "in part" }, reason);
    }
    if !sentence.known {
        block.paragraph("not judged", "no requirement and no reason is known for it");
    }
    block.into_text() + "\n"
}

fn uncited_block(trace: &Trace, width: usize) -> String {
    let mut block = Block::new(0, LABELS, width);
    block.headline(&paint(STRONG, "Requirements that no sentence states"));
    for (id, reason) in &trace.uncited {
        block.headline(id);
        block.paragraph("reason", reason);
    }
    block.into_text() + "\n"
}

fn change_block(change: &Change, width: usize) -> String {
    let mut block = Block::new(0, LABELS, width);
    block.headline(&format!("{}  {}", paint(STRONG, change.kind.word()), one_line(&change.place())));
    if let Some(text) = &change.text {
        block.paragraph("text", text);
    }
    block.paragraph("requirements", &change.judged_by());
    block.into_text() + "\n"
}

fn result_block(trace: &Trace, width: usize) -> String {
    let judged = trace.sentences.iter().filter(|sentence| !sentence.requirements.is_empty()).count();
    let known = trace.sentences.iter().filter(|sentence| sentence.known).count();
    let mut block = Block::new(0, LABELS, width);
    block.lines("header", &[one_line(&trace.header)]);
    block.paragraph("edition", &format!("compared with Linux {}", trace.edition));
    let counts = format!(
        "{}: {judged} judged, {} not judged for a reason, {} unknown",
        plural(trace.sentences.len(), "sentence"),
        known - judged,
        trace.sentences.len() - known
    );
    block.paragraph("sentences", &counts);
    let outcome = match trace.complete {
        true => "every sentence is accounted for".to_owned(),
        false => format!("{} not accounted for", plural(trace.unaccounted.len(), "sentence")),
    };
    block.paragraph("outcome", &outcome);
    block.into_text()
}
