//! The sentences of a uAPI header that are about migration, each with its place. Nothing of the header is kept in the project:
//! a sentence is known by the digest of its words.

use sha2::{Digest, Sha256};

/// The feature whose comment begins the migration part, and the one that ends it.
const FIRST: &str = "VFIO_DEVICE_FEATURE_MIGRATION";
const LAST: &str = "VFIO_DEVICE_FEATURE_MIG_DATA_SIZE";
/// The ioctl that all of it is reached by.
const FEATURE: &str = "struct vfio_device_feature";
/// A comment elsewhere belongs to the part if it or its declaration has one of these in it, whatever the case.
const NAMES: [&str; 5] = ["vfio_device_feature_mig", "vfio_mig", "vfio_device_mig", "vfio_precopy", "dma_logging"];
/// Words whose dot ends no sentence.
const ABBREVIATIONS: [&str; 7] = ["ex", "eg", "e.g", "i.e", "cf", "vs", "resp"];
/// The bytes of a digest that tell two sentences apart.
const DIGEST: usize = 8;

/// A sentence, or what stands for one in a list: an arc, a state, a formula.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// Its words, with one blank between two.
    pub text: String,
    /// The line of the header on which it begins, from 1.
    pub line: usize,
    /// The declaration that its comment documents.
    pub documents: String,
    /// Its place in the comments on this declaration, from 1.
    pub number: usize,
}

impl Sentence {
    /// The digest of its words.
    pub fn hash(&self) -> String {
        Sha256::digest(self.text.as_bytes()).iter().take(DIGEST).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// The sentences of the migration part, in their order; `None` if the header has no such part.
pub fn sentences(header: &str) -> Option<Vec<Sentence>> {
    let comments = comments(header);
    let define = |name: &str| header.lines().position(|line| defines(line, name)).map(|index| index + 1);
    let first = define(FIRST)?;
    let begins = comments.iter().rfind(|comment| !comment.trails && comment.last < first)?.first;
    let ends = define(LAST).unwrap_or(begins);
    let belongs = |comment: &&Comment<'_>| {
        (begins..=ends).contains(&comment.first)
            || comment.documents == FEATURE
            || is_named(&comment.documents)
            || comment.lines.iter().any(|line| is_named(line))
    };
    let mut found: Vec<Sentence> = Vec::new();
    for comment in comments.iter().filter(belongs) {
        for (line, text) in split(comment) {
            let before = found.iter().filter(|sentence| sentence.documents == comment.documents).count();
            found.push(Sentence { text, line, documents: comment.documents.clone(), number: before + 1 });
        }
    }
    Some(found)
}

fn is_named(text: &str) -> bool {
    let text = text.to_lowercase();
    NAMES.iter().any(|name| text.contains(name))
}

fn defines(line: &str, name: &str) -> bool {
    let mut words = line.split_whitespace();
    words.next() == Some("#define") && words.next() == Some(name)
}

struct Comment<'a> {
    /// Its first and its last line, from 1.
    first: usize,
    last: usize,
    lines: Vec<&'a str>,
    /// There is code before it on its line.
    trails: bool,
    documents: String,
}

fn comments(header: &str) -> Vec<Comment<'_>> {
    let mut found = Vec::new();
    let mut rest = header;
    let mut line = 1;
    while let Some((before, after)) = rest.split_once("/*") {
        line += newlines(before);
        let (inside, following) = after.split_once("*/").unwrap_or((after, ""));
        let code = before.lines().next_back().filter(|_| !before.ends_with('\n')).map_or("", str::trim);
        let last = line + newlines(inside);
        let declaration = if code.is_empty() { next_code(following) } else { code };
        found.push(Comment {
            first: line,
            last,
            lines: inside.split('\n').collect(),
            trails: !code.is_empty(),
            documents: declared(declaration),
        });
        line = last;
        rest = following;
    }
    found
}

fn newlines(text: &str) -> usize {
    text.matches('\n').count()
}

/// The first line of code after a comment.
fn next_code(following: &str) -> &str {
    let code = following.split("/*").next().unwrap_or_default();
    code.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
}

/// The name that a line of code declares: `struct x`, `enum x`, or of a macro or a member its name alone.
fn declared(code: &str) -> String {
    let words: Vec<&str> = code.split(|letter: char| !(letter.is_alphanumeric() || letter == '_')).collect();
    let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
    match words[..] {
        [kind @ ("struct" | "enum" | "union"), name] => format!("{kind} {name}"),
        ["define", name, ..] => name.to_owned(),
        [_, .., name] | [name] => name.to_owned(),
        [] => String::new(),
    }
}

/// The sentences of a comment, each with its line.
fn split(comment: &Comment<'_>) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open = Unit::default();
    for (index, line) in comment.lines.iter().enumerate() {
        let (indent, text) = unmarked(line);
        if open.ends_before(indent, text) {
            open.close(&mut found);
        }
        open.add(comment.first + index, indent, text, &mut found);
        if text.ends_with(':') || is_arc(text) {
            open.close(&mut found);
        }
    }
    open.close(&mut found);
    found
}

/// A line of a comment without its markers, and how deep it is indented.
fn unmarked(line: &str) -> (usize, &str) {
    let line = line.trim();
    let inside = line.trim_start_matches('*');
    let text = inside.trim();
    (inside.len() - inside.trim_start().len(), text)
}

/// Words that may yet become a sentence.
#[derive(Default)]
struct Unit {
    line: usize,
    /// How deep it is indented, if it is an item of a list.
    item: Option<usize>,
    words: Vec<String>,
}

impl Unit {
    /// Whether a line begins something new: after a paragraph, in a list, or where a list ends.
    fn ends_before(&self, indent: usize, text: &str) -> bool {
        text.is_empty() || is_item(text) || is_arc(text) || self.item.is_some_and(|item| indent < item)
    }

    fn add(&mut self, line: usize, indent: usize, text: &str, found: &mut Vec<(usize, String)>) {
        let words: Vec<&str> = text.split_whitespace().collect();
        for (index, word) in words.iter().enumerate() {
            if self.words.is_empty() {
                self.line = line;
                self.item = (index == 0 && is_item(text)).then_some(indent);
            }
            self.words.push((*word).to_owned());
            if ends_sentence(word, words.get(index + 1).copied()) {
                self.close(found);
            }
        }
    }

    fn close(&mut self, found: &mut Vec<(usize, String)>) {
        let unit = std::mem::take(self);
        let text = unit.words.join(" ");
        if text.contains(char::is_alphanumeric) {
            found.push((unit.line, text));
        }
    }
}

/// Whether a word is the last of its sentence; what follows on the same line decides where its dot may be another's.
fn ends_sentence(word: &str, next: Option<&str>) -> bool {
    let word = word.trim_end_matches([')', '"', '\'']);
    let Some(stem) = word.strip_suffix(['.', '?', '!']) else { return false };
    let stem = stem.trim_start_matches('(');
    let goes_on = stem == "etc" && next.is_some_and(|next| next.starts_with(char::is_lowercase));
    !ABBREVIATIONS.contains(&stem) && !goes_on
}

/// A state with what it means, or a point of a list.
fn is_item(text: &str) -> bool {
    let is_name = |name: &str| {
        let all = |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
        !name.is_empty() && name.chars().all(all)
    };
    text.starts_with("- ") || text.split_once(" - ").is_some_and(|(name, _)| is_name(name))
}

/// A line that is an arc of the state machine and nothing else.
fn is_arc(text: &str) -> bool {
    text.split_once(" -> ").is_some_and(|(from, to)| !from.contains(' ') && !to.contains(' '))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Not the kernel's words: what they are like.
    const HEADER: &str = "\
/* Another thing. */
struct other {
	__u32 flags; /* of VFIO_MIG_X */
};

/*
 * The first one. It goes on
 * here (ex. there). vfio_x begins lower.
 *
 * These are:
 *  ONE - the first
 *        of them
 *  TWO - the second
 * And more:
 *
 * ONE -> TWO
 *   A deeper one
 */
struct vfio_device_feature_migration {
	__u64 flags;
};
#define VFIO_DEVICE_FEATURE_MIGRATION 1

/* Between. */
#define VFIO_DEVICE_FEATURE_MIG_DATA_SIZE 9

/* After. */
#define VFIO_ELSE 10
/* On VFIO_DEVICE_FEATURE_MIG_MORE. */
#define MORE 11
";

    #[test]
    fn sentences_of_the_migration_part_have_their_places() {
        let found = sentences(HEADER).expect("there is such a part");
        let found: Vec<String> =
            found.iter().map(|s| format!("{} {} {}: {}", s.line, s.documents, s.number, s.text)).collect();
        let about = "struct vfio_device_feature_migration";
        assert_eq!(
            found,
            [
                "3 flags 1: of VFIO_MIG_X".to_owned(),
                format!("7 {about} 1: The first one."),
                format!("7 {about} 2: It goes on here (ex. there)."),
                format!("8 {about} 3: vfio_x begins lower."),
                format!("10 {about} 4: These are:"),
                format!("11 {about} 5: ONE - the first of them"),
                format!("13 {about} 6: TWO - the second"),
                format!("14 {about} 7: And more:"),
                format!("16 {about} 8: ONE -> TWO"),
                format!("17 {about} 9: A deeper one"),
                "24 VFIO_DEVICE_FEATURE_MIG_DATA_SIZE 1: Between.".to_owned(),
                "29 MORE 1: On VFIO_DEVICE_FEATURE_MIG_MORE.".to_owned(),
            ]
        );
    }

    #[test]
    fn white_space_and_markers_do_not_change_a_sentence() {
        let wide = HEADER.replace(" * The first one. It goes on\n", " **   The first one.\n *\t  It goes  on \n");
        let hashes = |text: &str| sentences(text).expect("a part").iter().map(Sentence::hash).collect::<Vec<_>>();
        assert_eq!(hashes(&wide), hashes(HEADER));
        let other = HEADER.replace("The first one", "The other one");
        assert_ne!(hashes(&other), hashes(HEADER));
    }

    #[test]
    fn text_without_the_feature_has_no_migration_part() {
        assert_eq!(sentences("/* VFIO_DEVICE_FEATURE_MIGRATION */\nint x;\n"), None);
        assert_eq!(sentences("#define VFIO_DEVICE_FEATURE_MIGRATION 1\n"), None);
        assert_eq!(sentences(""), None);
    }
}
