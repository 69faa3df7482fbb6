//! Paragraphs with a label in front, which is how findings and summaries are set.

use anstyle::{AnsiColor, Style};

use super::text::{fit, wrap};
use crate::harness::verdict::Verdict;

/// The style of labels.
const LABEL: Style = Style::new().dimmed();

/// The style of what stands out without being good or bad.
pub const STRONG: Style = Style::new().bold();

/// Labelled paragraphs under each other. Colours are escapes in the text; whoever prints it strips them where they are
/// not wanted.
pub struct Block {
    text: String,
    indent: usize,
    column: usize,
    width: usize,
}

impl Block {
    /// A block whose labels are `indent` characters from the left, whose texts are `column` characters from there, and
    /// whose lines end before `width`.
    pub fn new(indent: usize, column: usize, width: usize) -> Block {
        Block { text: String::new(), indent, column, width }
    }

    /// Adds a paragraph, broken into lines between words.
    pub fn paragraph(&mut self, label: &str, text: &str) {
        self.lines(label, &wrap(text, self.text_width()));
    }

    /// Adds a paragraph for each of several texts; the label stands before the first.
    pub fn paragraphs(&mut self, label: &str, texts: &[impl AsRef<str>]) {
        let lines: Vec<String> = texts.iter().flat_map(|text| wrap(text.as_ref(), self.text_width())).collect();
        self.lines(label, &lines);
    }

    /// Adds the rows of a table or of a log, which keep their columns where the width allows it.
    pub fn rows(&mut self, label: &str, rows: &[impl AsRef<str>]) {
        let lines: Vec<String> = rows.iter().flat_map(|row| fit(row.as_ref(), self.text_width())).collect();
        self.lines(label, &lines);
    }

    /// Adds lines as they are, however long: a command that is to be copied.
    pub fn lines(&mut self, label: &str, lines: &[impl AsRef<str>]) {
        for (index, line) in lines.iter().enumerate() {
            self.line(if index == 0 { label } else { "" }, line.as_ref());
        }
    }

    /// Adds a line that has no label column.
    pub fn headline(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    /// The whole text; every line ends in a newline.
    pub fn into_text(self) -> String {
        self.text
    }

    fn text_width(&self) -> usize {
        self.width.saturating_sub(self.indent + self.column)
    }

    fn line(&mut self, label: &str, line: &str) {
        let indent = self.indent;
        let column = self.column;
        let label = match label.is_empty() {
            true => " ".repeat(column),
            false => format!("{LABEL}{label:column$}{LABEL:#}"),
        };
        let line = format!("{:indent$}{label}{line}", "");
        self.headline(line.trim_end());
    }
}

/// The text in a style.
pub fn paint(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// The colour of a verdict.
pub const fn colour(verdict: Verdict) -> Style {
    let colour = match verdict {
        Verdict::Crash | Verdict::Hang => AnsiColor::Magenta,
        Verdict::Fail => AnsiColor::Red,
        Verdict::Warn | Verdict::Blocked => AnsiColor::Yellow,
        Verdict::Skip => AnsiColor::Cyan,
        Verdict::Pass => AnsiColor::Green,
    };
    colour.on_default().bold()
}
