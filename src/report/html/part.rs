//! Small parts of the page that several sections have.

use maud::{Markup, html};

use crate::harness::verdict::Verdict;
use crate::report::finding::Problem;
use crate::report::run::CheckRun;
use crate::report::text::clean;

/// A sign for a verdict, for those who do not see its colour.
pub fn mark(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "✓",
        Verdict::Fail => "✕",
        Verdict::Warn => "!",
        Verdict::Hang => "∞",
        Verdict::Crash => "✱",
        Verdict::Blocked => "⊘",
        Verdict::Skip => "–",
    }
}

/// A verdict as sign and word.
pub fn badge(verdict: Verdict) -> Markup {
    html! { span.badge.(verdict.word()) { span aria-hidden="true" { (mark(verdict)) } " " (verdict.word()) } }
}

/// A command that is to be copied; without the script a click selects it.
pub fn command(command: &str) -> Markup {
    html! { div.command { code { (clean(command)) } button type="button" hidden { "Copy" } } }
}

/// A table that is scrolled by itself where the page is narrow.
pub fn scrolled(label: &str, table: &Markup) -> Markup {
    html! { div.scroll tabindex="0" role="group" aria-label=(label) { (table) } }
}

/// The id of a finding on the page.
pub fn finding_id(index: usize) -> String {
    format!("finding-{}", index + 1)
}

/// The id of a check's row on the page.
pub fn check_id(name: &str) -> String {
    let safe = |character: char| if character.is_ascii_alphanumeric() { character } else { '-' };
    format!("check-{}", name.chars().map(safe).collect::<String>())
}

/// Where the page says most of a check: its finding, else its row.
pub fn link_to(name: &str, problems: &[Problem<'_>]) -> String {
    let is_it = |check: &CheckRun| check.name == name;
    let tells = |problem: &Problem<'_>| {
        problem.ways().any(|alike| is_it(alike.first) || alike.others.iter().any(|other| is_it(other)))
    };
    match problems.iter().position(tells) {
        Some(index) => format!("#{}", finding_id(index)),
        None => format!("#{}", check_id(name)),
    }
}

/// The count with its thousands apart.
pub fn number(count: u64) -> String {
    let digits = count.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_thousands_apart() {
        assert_eq!([0, 999, 1000, 1_052_704].map(number), ["0", "999", "1\u{202f}000", "1\u{202f}052\u{202f}704"]);
    }

    #[test]
    fn ids_hold_nothing_that_ends_an_attribute() {
        assert_eq!(check_id("fsm::a \"><b>"), "check-fsm--a----b-");
    }
}
