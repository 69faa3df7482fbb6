//! Reading a profile's text, with all its mistakes at once.
//!
//! serde stops at the first mistake. So what it refuses is taken out of the document, as little as possible, and the rest
//! is read again, until nothing is refused any more.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, Deserializer};

use super::Profile;
use super::error::Complaint;

/// More mistakes than anybody reads at once.
const MOST: usize = 50;

/// What is wrong with a profile: at least one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Complaints(Vec<Complaint>);

/// One step into a document.
#[derive(Debug, Clone, Copy)]
pub(super) enum At<'a> {
    /// The value of a key.
    Key(&'a str),
    /// An element of an array.
    Element(usize),
}

/// What was found to be wrong so far, in a text.
pub(super) struct Findings<'a> {
    document: Spanned<DeTable<'a>>,
    complaints: Vec<Complaint>,
    /// Where something was taken out, so that what is missing there is no mistake.
    taken: Vec<Range<usize>>,
}

impl Complaints {
    /// All of them in the order of the text, each with its line.
    pub(crate) fn in_text(&self, text: &str) -> String {
        match &self.0[..] {
            [only] => only.in_text(text),
            all => {
                let each: String = all.iter().map(|complaint| format!("\n{}", complaint.in_text(text))).collect();
                format!("{} mistakes{each}", all.len())
            }
        }
    }
}

impl Profile {
    /// Reads a profile.
    ///
    /// # Errors
    /// All that is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Profile, Complaints> {
        if let Ok(profile) = toml::from_str::<Profile>(text)
            && profile.is_sound()
        {
            return Ok(profile);
        }
        let mut findings = Findings::read(text)?;
        let profile = findings.profile();
        if let Some(profile) = &profile {
            profile.check(&mut findings);
        }
        match (profile, findings.complaints.is_empty()) {
            (Some(profile), true) => Ok(profile),
            _ => Err(findings.complaints()),
        }
    }

    /// Whether nothing is wrong with it.
    fn is_sound(&self) -> bool {
        let mut findings = Findings::new(Spanned::new(0..0, DeTable::new()));
        self.check(&mut findings);
        findings.complaints.is_empty()
    }
}

impl<'a> Findings<'a> {
    fn new(document: Spanned<DeTable<'a>>) -> Findings<'a> {
        Findings { document, complaints: Vec::new(), taken: Vec::new() }
    }

    /// Of a text that is TOML.
    fn read(text: &'a str) -> Result<Findings<'a>, Complaints> {
        let (document, errors) = DeTable::parse_recoverable(text);
        match errors.is_empty() {
            true => Ok(Findings::new(document)),
            false => Err(Complaints(errors.into_iter().take(MOST).map(Complaint::from).collect())),
        }
    }

    /// What can be understood of the profile.
    fn profile(&mut self) -> Option<Profile> {
        let mut rest = self.document.clone();
        self.give_what_must_be_there(rest.get_mut());
        let mut names = Vec::new();
        while names.len() < MOST {
            let error = match Profile::deserialize(Deserializer::from(rest.clone())) {
                Ok(profile) => return Some(profile),
                Err(error) => error,
            };
            let at = error.span();
            if !is_missing(error.message(), &names) {
                self.complaints.push(Complaint::from(error));
            }
            let (name, taken) = at.and_then(|at| take_out(rest.get_mut(), &at))?;
            names.push(name);
            self.taken.push(taken);
        }
        None
    }

    /// Complains of what is missing in front, and puts something in its place.
    fn give_what_must_be_there(&mut self, rest: &mut DeTable<'a>) {
        if rest.get("name").is_none() {
            self.of_all("there is no name: say what people call the device, like name = \"my device\"");
            rest.insert(Spanned::new(0..0, "name".into()), Spanned::new(0..0, DeValue::String("".into())));
        }
        if rest.get("match").is_none() {
            self.of_all("there is no [match]: say which devices the profile is for, by pci or driver");
            let mut table = DeTable::new();
            let names = DeArray::from_iter([Spanned::new(0..0, DeValue::String("".into()))]);
            table.insert(Spanned::new(0..0, "driver".into()), Spanned::new(0..0, DeValue::Array(names)));
            rest.insert(Spanned::new(0..0, "match".into()), Spanned::new(0..0, DeValue::Table(table)));
        }
    }

    /// Something is wrong there.
    pub(super) fn at(&mut self, path: &[At<'_>], why: impl Into<String>) {
        let complaint = match self.span(path) {
            Some(at) => Complaint::at(at, why),
            None => Complaint::of_all(why),
        };
        self.complaints.push(complaint);
    }

    /// Something is wrong at these bytes.
    pub(super) fn at_bytes(&mut self, complaint: Complaint) {
        self.complaints.push(complaint);
    }

    /// Something is wrong that stands nowhere.
    pub(super) fn of_all(&mut self, why: impl Into<String>) {
        self.complaints.push(Complaint::of_all(why));
    }

    /// Whether something was taken out of what stands there.
    pub(super) fn lost_some_of(&self, path: &[At<'_>]) -> bool {
        let span = self.span(path);
        span.is_some_and(|span| self.taken.iter().any(|taken| span.start <= taken.start && taken.end <= span.end))
    }

    /// Whether something was taken out anywhere.
    pub(super) fn lost_something(&self) -> bool {
        !self.taken.is_empty()
    }

    /// Where that stands: as much of the path as there is, the key of a table that has a header.
    fn span(&self, path: &[At<'_>]) -> Option<Range<usize>> {
        let (first, rest) = path.split_first()?;
        let At::Key(name) = first else { return None };
        let (key, value) = self.document.get_ref().get_key_value(*name)?;
        span_below(value, rest).or_else(|| Some(key.span())).filter(|span| !span.is_empty())
    }

    fn complaints(mut self) -> Complaints {
        self.complaints.sort_by_key(Complaint::begin);
        Complaints(self.complaints)
    }
}

/// The span at the end of a path; as far as there is one.
fn span_below(value: &Spanned<DeValue<'_>>, path: &[At<'_>]) -> Option<Range<usize>> {
    let Some((next, rest)) = path.split_first() else {
        return Some(value.span());
    };
    let below = match (next, value.get_ref()) {
        (At::Key(name), DeValue::Table(table)) => table.get(*name),
        (At::Element(index), DeValue::Array(array)) => array.get(*index),
        _ => None,
    };
    below.and_then(|below| span_below(below, rest)).or_else(|| Some(value.span()))
}

fn contains(outer: &Range<usize>, inner: &Range<usize>) -> bool {
    outer.start <= inner.start && inner.end <= outer.end
}

fn holds(value: &Spanned<DeValue<'_>>, at: &Range<usize>) -> bool {
    contains(&value.span(), at)
        || match value.get_ref() {
            DeValue::Table(table) => table.iter().any(|(key, value)| contains(&key.span(), at) || holds(value, at)),
            DeValue::Array(array) => array.iter().any(|element| holds(element, at)),
            _ => false,
        }
}

/// Takes out of a table the least that holds these bytes and can be left out: an entry, or an element of an array.
/// Returns the name of the entry, and the bytes of what was taken.
fn take_out(table: &mut DeTable<'_>, at: &Range<usize>) -> Option<(String, Range<usize>)> {
    let (key, value) = table.iter().find(|(key, value)| contains(&key.span(), at) || holds(value, at))?;
    let name = key.get_ref().to_string();
    let (is_key, span) = (contains(&key.span(), at), value.span());
    let value = table.get_mut(name.as_str())?;
    let below = match value.get_mut() {
        _ if is_key => None,
        DeValue::Table(below) if span != *at => take_out(below, at),
        DeValue::Array(array) if span != *at => take_element(array, at).map(|taken| (name.clone(), taken)),
        _ => None,
    };
    if below.is_none() {
        table.remove(name.as_str());
    }
    below.or(Some((name, span)))
}

/// Whether serde misses an entry of one of these names, which was there and was taken out.
fn is_missing(message: &str, taken: &[String]) -> bool {
    let name = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
    name.is_some_and(|name| taken.iter().any(|taken| taken == name))
}

fn take_element(array: &mut DeArray<'_>, at: &Range<usize>) -> Option<Range<usize>> {
    let index = array.iter().position(|element| holds(element, at))?;
    let span = array[index].span();
    let rest = array.iter().enumerate().filter(|(other, _)| *other != index);
    *array = rest.map(|(_, element)| element.clone()).collect();
    Some(span)
}
