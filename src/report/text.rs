//! Text of any origin, made fit for people's eyes, for terminals and for XML.

use std::fmt::Write;

/// How wide reports are where nothing narrower is asked for, in characters.
pub const WIDTH: usize = 100;

/// Writes what is neither visible nor allowed in XML as an escape, as the kernel does in its own log.
///
/// What a driver prints must neither steer the reader's terminal nor break a file. Newlines and tabs stay.
pub fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for character in text.chars() {
        if is_harmless(character) {
            cleaned.push(character);
            continue;
        }
        // Writing to a string does not fail.
        let _ = match u32::from(character) {
            number @ 0..=0xff => write!(cleaned, "\\x{number:02x}"),
            number => write!(cleaned, "\\u{{{number:x}}}"),
        };
    }
    cleaned
}

fn is_harmless(character: char) -> bool {
    match character {
        '\n' | '\t' => true,
        '\u{fffe}' | '\u{ffff}' => false,
        // They have text read in another order than it is written.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => false,
        _ => !character.is_control(),
    }
}

/// The text on one line, every run of white space a single space.
pub fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    clean(&words.join(" "))
}

/// Breaks a text into lines of at most this many characters, between words only. A longer word has its own line.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    fit(&one_line(text), width)
}

/// Breaks a row of a table or a log like [`wrap`], but keeps its columns and its indent.
pub fn fit(row: &str, width: usize) -> Vec<String> {
    let mut rest = clean(&row.replace(['\t', '\n'], " "));
    let mut lines = Vec::new();
    while let Some(end) = line_end(&rest, width) {
        let next = rest.split_off(end).trim_start().to_owned();
        lines.push(std::mem::replace(&mut rest, next).trim_end().to_owned());
    }
    lines.push(rest.trim_end().to_owned());
    lines
}

/// Where to break a text that is too long: at the last space that leaves a line of this width, else at the first space.
fn line_end(text: &str, width: usize) -> Option<usize> {
    let limit = text.char_indices().nth(width)?.0;
    let begin = text.len() - text.trim_start().len();
    let spaces = || text.match_indices(' ').map(|(place, _)| place).filter(|place| *place > begin);
    spaces().take_while(|place| *place <= limit).last().or_else(|| spaces().next())
}

/// A span of time with three digits, in the unit that people would choose.
pub fn span(seconds: f64) -> String {
    let (value, unit) = match seconds {
        s if s >= 1.0 => (s, "s"),
        s if s >= 0.001 => (s * 1e3, "ms"),
        s => (s * 1e6, "us"),
    };
    match value {
        v if v >= 100.0 => format!("{v:.0} {unit}"),
        v if v >= 10.0 => format!("{v:.1} {unit}"),
        v => format!("{v:.2} {unit}"),
    }
}

/// `1 check`, `2 checks`.
pub fn plural(count: usize, thing: &str) -> String {
    match count {
        1 => format!("1 {thing}"),
        _ => format!("{count} {thing}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_shown_instead() {
        assert_eq!(clean("\x1b[2J\r\n\tö\u{85}\u{ffff}\u{202e}"), "\\x1b[2J\\x0d\n\tö\\x85\\u{ffff}\\u{202e}");
    }

    #[test]
    fn lines_break_between_words_only() {
        assert_eq!(wrap("one  two\nthree", 7), ["one two", "three"]);
        assert_eq!(wrap("one two", 6), ["one", "two"]);
        assert_eq!(wrap("a-very-long-word b c", 4), ["a-very-long-word", "b c"]);
        assert_eq!(wrap("", 4), [""]);
        assert_eq!(wrap("a b", 0), ["a", "b"]);
        assert_eq!(wrap("größe größe", 5), ["größe", "größe"]);
    }

    #[test]
    fn rows_keep_their_columns() {
        assert_eq!(fit("  a   b", 7), ["  a   b"]);
        assert_eq!(fit("  a   b   c", 7), ["  a   b", "c"]);
        assert_eq!(fit("    abcdefgh i", 3), ["    abcdefgh", "i"]);
    }

    #[test]
    fn spans_have_three_digits() {
        let spans = [0.0, 0.000_012_5, 0.0031, 0.25, 1.0, 61.25, 3600.0];
        let shown = spans.map(span);
        assert_eq!(shown, ["0.00 us", "12.5 us", "3.10 ms", "250 ms", "1.00 s", "61.2 s", "3600 s"]);
    }
}
