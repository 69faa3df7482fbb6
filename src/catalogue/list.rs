//! `vfio-conform list`.

use std::fmt::Write;

use serde::Serialize;

use super::{CatalogueError, Filter, chapters, checks_of};
use crate::harness::check::Check;
use crate::report::block::Block;
use crate::report::text::plural;
use crate::requirement::{self, Basis, Level, Requirement, guide};
use crate::suites;

/// The version of the form of the list as JSON. It grows when an old reader would misread a new list.
const FORMAT: u32 = 1;

/// How the list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// What a list for people is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// The requirements, each with its sentence.
    Requirements,
    /// The checks, each with the ids of what it can prove.
    Checks,
}

#[derive(Serialize)]
struct Listed<'a> {
    format: u32,
    tool: &'static str,
    requirements: Vec<ListedRequirement>,
    checks: Vec<ListedCheck<'a>>,
}

#[derive(Serialize)]
struct ListedRequirement {
    id: &'static str,
    chapter: &'static str,
    level: Level,
    basis: Basis,
    statement: &'static str,
    source: &'static str,
    ruling: Option<&'static str>,
    needs: Vec<String>,
    why: Option<&'static str>,
    goes_wrong: Option<&'static str>,
    checks: Vec<String>,
}

#[derive(Serialize)]
struct ListedCheck<'a> {
    name: &'a str,
    chapter: &'a str,
    requirements: Vec<&'static str>,
}

/// Lists what the filter lets through, in lines of at most `width` characters.
///
/// # Errors
/// That the filter lets nothing through.
pub fn list(filter: &Filter, show: Show, format: Format, width: usize) -> Result<String, CatalogueError> {
    if let Some(chapter) = filter.chapter.as_ref().filter(|chapter| !chapters().contains(chapter)) {
        return Err(CatalogueError::NoSuchChapter(chapter.clone(), chapters().join(", ")));
    }
    let checks = suites::all();
    let requirements: Vec<_> = requirement::all().filter(|r| filter.lets_requirement_through(r)).collect();
    let listed: Vec<&Check> = checks.iter().filter(|check| filter.lets_check_through(check)).collect();
    let is_empty = match (format, show) {
        (Format::Json, _) => requirements.is_empty() && listed.is_empty(),
        (Format::Text, Show::Requirements) => requirements.is_empty(),
        (Format::Text, Show::Checks) => listed.is_empty(),
    };
    if is_empty {
        return Err(CatalogueError::NothingMatches);
    }
    match (format, show) {
        (Format::Json, _) => as_json(&requirements, &listed, &checks),
        (Format::Text, Show::Requirements) => Ok(requirements_as_text(&requirements, &checks, width)),
        (Format::Text, Show::Checks) => Ok(checks_as_text(&listed)),
    }
}

fn requirements_as_text(requirements: &[&'static Requirement], checks: &[Check], width: usize) -> String {
    let id_width = requirements.iter().map(|requirement| requirement.id.len()).max().unwrap_or_default();
    let mut text = String::new();
    for chapter in chapters() {
        let of_chapter: Vec<_> = requirements.iter().filter(|r| r.chapter() == chapter).collect();
        if of_chapter.is_empty() {
            continue;
        }
        let mut block = Block::new(2, id_width + 2, width);
        block.headline(&format!("{chapter}: {}", plural(of_chapter.len(), "requirement")));
        for requirement in of_chapter {
            let proofs = plural(checks_of(requirement, checks).len(), "check");
            let sentence = format!("{}: {} ({proofs})", requirement.binds(), requirement.statement);
            block.paragraph(requirement.id, &sentence);
        }
        text += &block.into_text();
        text.push('\n');
    }
    text += &format!("{}\n", totals(requirements));
    text + "`vfio-conform explain ID` says more of each, `vfio-conform list --checks` lists the checks.\n"
}

/// How many of the listed requirements bind how.
fn totals(requirements: &[&'static Requirement]) -> String {
    let musts = |basis: Basis| requirements.iter().filter(|r| r.level == Level::Must && r.basis == basis).count();
    let others = |level: Level| requirements.iter().filter(|r| r.level == level).count();
    format!(
        "{} of the text, {} by ruling; {}; {} advice",
        plural(musts(Basis::Text), "must"),
        musts(Basis::Ruling),
        plural(others(Level::Should), "should"),
        others(Level::Advice),
    )
}

fn checks_as_text(checks: &[&Check]) -> String {
    let width = checks.iter().map(|check| check.name().len()).max().unwrap_or_default();
    let mut text = String::new();
    for check in checks {
        let ids: Vec<&str> = check.requirements().iter().map(|requirement| requirement.id).collect();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:width$}  {}", check.name(), ids.join(", "));
    }
    text
}

fn as_json(
    requirements: &[&'static Requirement],
    listed: &[&Check],
    checks: &[Check],
) -> Result<String, CatalogueError> {
    let listed = Listed {
        format: FORMAT,
        tool: env!("CARGO_PKG_VERSION"),
        requirements: requirements.iter().map(|requirement| listed_requirement(requirement, checks)).collect(),
        checks: listed
            .iter()
            .map(|check| ListedCheck {
                name: check.name(),
                chapter: check.chapter(),
                requirements: check.requirements().iter().map(|requirement| requirement.id).collect(),
            })
            .collect(),
    };
    let text = serde_json::to_string_pretty(&listed).map_err(|error| CatalogueError::Json(error.to_string()))?;
    Ok(text + "\n")
}

fn listed_requirement(requirement: &'static Requirement, checks: &[Check]) -> ListedRequirement {
    let guide = guide::of(requirement);
    ListedRequirement {
        id: requirement.id,
        chapter: requirement.chapter(),
        level: requirement.level,
        basis: requirement.basis,
        statement: requirement.statement,
        source: requirement.source,
        ruling: requirement.ruling,
        needs: guide.map(|guide| guide.needs.iter().map(ToString::to_string).collect()).unwrap_or_default(),
        why: guide.map(|guide| guide.why),
        goes_wrong: guide.map(|guide| guide.goes_wrong),
        checks: checks_of(requirement, checks),
    }
}
