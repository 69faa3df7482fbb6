//! `vfio-conform explain`.

use super::{CatalogueError, checks_of};
use crate::harness::check::{Check, Needs};
use crate::report::block::{Block, STRONG, paint};
use crate::requirement::{self, Requirement, guide};
use crate::suites;

/// The width of the label column: the longest label and a gap.
const LABELS: usize = 13;
/// How alike a name must be to be offered instead, from 0 to 1.
const ALIKE: f64 = 0.75;
/// How many names are offered instead.
const OFFERS: usize = 3;

/// Explains a requirement by its id, or a check by its name, in lines of at most `width` characters. Colours are escapes
/// in the text.
///
/// # Errors
/// That there is nothing of that name.
pub fn explain(name: &str, width: usize) -> Result<String, CatalogueError> {
    let checks = suites::all();
    if let Some(requirement) = requirement::find(name) {
        return Ok(explain_requirement(requirement, &checks, width));
    }
    if let Some(check) = checks.iter().find(|check| check.name() == name) {
        return Ok(explain_check(check, width));
    }
    Err(CatalogueError::Unknown { name: name.to_owned(), nearest: nearest(name, &checks) })
}

fn explain_requirement(requirement: &'static Requirement, checks: &[Check], width: usize) -> String {
    let mut block = Block::new(0, LABELS, width);
    block.headline(&format!("{} ({})", paint(STRONG, requirement.id), requirement.binds()));
    block.paragraph("rule", requirement.statement);
    block.paragraph("source", &requirement.place());
    if let Some(ruling) = requirement.ruling {
        block.paragraph("ruling", ruling);
    }
    if let Some(guide) = guide::of(requirement) {
        let needs: Vec<String> = guide.needs.iter().map(ToString::to_string).collect();
        if !needs.is_empty() {
            block.paragraph("needs", &needs.join(", "));
        }
        block.paragraph("why", guide.why);
        block.paragraph("goes wrong", guide.goes_wrong);
    }
    let names = checks_of(requirement, checks);
    block.paragraph("checks", &names.join(", "));
    if let Some(first) = names.first() {
        block.lines("run one", &commands(first));
    }
    block.into_text()
}

fn explain_check(check: &Check, width: usize) -> String {
    let mut block = Block::new(0, LABELS, width);
    block.headline(&paint(STRONG, check.name()));
    let proves: Vec<String> = check
        .requirements()
        .iter()
        .map(|requirement| format!("{} ({}): {}", requirement.id, requirement.binds(), requirement.statement))
        .collect();
    block.paragraphs("can prove", &proves);
    block.paragraph(
        "needs",
        match check.needs() {
            Needs::Migration => "a device with migration",
            Needs::NoMigration => "a device without migration",
            Needs::Nothing => "any device",
        },
    );
    if let Some(fix) = check.hangs_without() {
        let text = format!(
            "on a kernel without the fix ({fix} have it) it can leave a process spinning in the kernel until a reboot, \
             whatever the device; --may-hang runs it all the same"
        );
        block.paragraph("beware", &text);
    }
    block.lines("run it", &commands(check.name()));
    block.paragraph("", "`vfio-conform explain` with one of the ids says why it matters and what goes wrong.");
    block.into_text()
}

/// The same check where no hardware is needed, and where it is.
fn commands(check: &str) -> [String; 3] {
    [
        format!("vfio-conform run model -- --exact {check}"),
        format!("./ci/emulated --target pci -- --exact {check}"),
        format!("sudo vfio-conform run 0000:65:00.1 -- --exact {check}"),
    ]
}

/// The names that the user may have meant, the most alike first.
fn nearest(name: &str, checks: &[Check]) -> Vec<String> {
    let wanted = name.to_lowercase();
    let ids = requirement::all().map(|requirement| requirement.id.to_owned());
    let mut alike: Vec<(f64, String)> = ids
        .chain(checks.iter().map(|check| check.name().to_owned()))
        .map(|candidate| (likeness(&wanted, &candidate), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .collect();
    alike.sort_by(|one, other| other.0.total_cmp(&one.0).then_with(|| one.1.cmp(&other.1)));
    alike.into_iter().take(OFFERS).map(|(_, name)| name).collect()
}

/// From 0 to 1. A part of a name is taken for an abbreviation of it.
fn likeness(wanted: &str, candidate: &str) -> f64 {
    let alike = strsim::normalized_damerau_levenshtein(wanted, candidate);
    match wanted.len() > 2 && candidate.contains(wanted) {
        true => ALIKE + (1.0 - ALIKE) * alike,
        false => alike,
    }
}
