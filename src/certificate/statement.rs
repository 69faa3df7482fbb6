//! The statement: a certificate for people. It is made from the rest of the bundle alone, so that it can be made again.

use super::document::{Certificate, CertifiedVerdict, Environment};
use super::judge::{Finding, Judgement, Part, Seen, Use};
use super::waiver::Waiver;
use crate::harness::verdict::Verdict;
use crate::report::console::subject;
use crate::report::coverage;
use crate::report::text::{clean, one_line, plural, wrap};

/// How wide it is: what fits on a page of paper.
const WIDTH: usize = 88;
/// How far its texts are from the left.
const INDENT: usize = 2;
/// The width of the column of labels.
const LABELS: usize = 14;

/// All that a statement is made from.
pub struct Facts<'a> {
    /// What was asked, and what it came to.
    pub certificate: &'a Certificate,
    /// Where.
    pub environment: &'a Environment,
    /// The runs.
    pub parts: &'a [Part],
    /// The waivers.
    pub waivers: &'a [Waiver],
    /// What the runs come to.
    pub judgement: &'a Judgement<'a>,
}

/// Makes the statement.
pub fn statement(facts: &Facts<'_>) -> String {
    let mut page = Page::default();
    page.line("Certificate of a test of the VFIO migration protocol");
    page.line("");
    page.row("verdict", &verdict(facts));
    what(&mut page, facts);
    place(&mut page, facts.environment);
    covered(&mut page, facts);
    runs(&mut page, facts);
    findings(&mut page, facts);
    waivers(&mut page, facts);
    not_tested(&mut page, facts);
    limits(&mut page, facts);
    page.text
}

fn verdict(facts: &Facts<'_>) -> String {
    let Certificate { exit, strict, .. } = facts.certificate;
    let verdict = facts.certificate.told();
    let strict = if *strict { ", strict: a broken should counts like a broken must" } else { "" };
    format!("{verdict}{strict} (exit code {})", *exit as u8)
}

fn what(page: &mut Page, facts: &Facts<'_>) {
    let certificate = facts.certificate;
    page.heading("What was tested");
    page.row("device", &certificate.device);
    for part in facts.parts.iter().take(1) {
        page.row("as", &subject(&part.run));
    }
    if let Some(hardware) = &facts.environment.hardware {
        page.row("PCI ids", &hardware.pci.as_ref().map_or_else(|| "none".to_owned(), pci_ids));
    }
    page.row("firmware", &firmware(facts.environment));
    page.row("suite", &format!("vfio-conform {}", certificate.suite));
    page.row("repetitions", &certificate.repetitions.to_string());
    page.row("walk", &certificate.walk.to_string());
    let has = |name: &str| certificate.files.iter().any(|file| file == name);
    let profile =
        if has(super::files::PROFILE) { "profile.toml" } else { "the bundled one of the device, if there is one" };
    page.row("profile", profile);
}

fn pci_ids(pci: &crate::device::PciIds) -> String {
    let mut words = pci.id.clone();
    for (name, value) in [("subsystem", &pci.subsystem), ("revision", &pci.revision), ("class", &pci.class)] {
        if let Some(value) = value {
            words += &format!(", {name} {value}");
        }
    }
    words
}

fn firmware(environment: &Environment) -> String {
    let asked = environment.hardware.as_ref().and_then(|hardware| hardware.firmware.as_ref());
    match (asked, &environment.firmware_stated) {
        (Some(asked), Some(stated)) => format!("{asked}, as the device says; {stated}, as whoever tested it says"),
        (Some(asked), None) => format!("{asked}, as the device says"),
        (None, Some(stated)) => format!("{stated}, as whoever tested it says"),
        (None, None) => "not known".to_owned(),
    }
}

fn place(page: &mut Page, environment: &Environment) {
    let kernel = &environment.kernel;
    page.heading("Where");
    page.row("kernel", &format!("{} {} {}", kernel.release, kernel.machine, kernel.version));
    if !kernel.command_line.is_empty() {
        page.row("started with", &kernel.command_line);
    }
    let Some(hardware) = &environment.hardware else {
        page.paragraph("The device is the model of vfio-conform, which is in no kernel. No driver was tested.");
        return page.row("tool", &tool(environment));
    };
    for module in &hardware.modules {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
        let (version, source) = (or_none(&module.version), or_none(&module.srcversion));
        let build = or_none(&module.build_id);
        page.row("module", &format!("{}, version {version}, srcversion {source}, build {build}", module.name));
    }
    let iommu = hardware.iommu.as_ref().map_or_else(
        || "none that the kernel tells of".to_owned(),
        |iommu| {
            let unit = iommu.unit.as_deref().unwrap_or("not named");
            let domain = iommu.domain.as_deref().unwrap_or("not known");
            format!("unit {unit}, group {}, default domain {domain}", iommu.group)
        },
    );
    page.row("IOMMU", &iommu);
    page.row("tool", &tool(environment));
}

fn tool(environment: &Environment) -> String {
    format!("vfio-conform {}, SHA-256 of its file {}", environment.tool.version, environment.tool.digest)
}

/// How much the run of the suite judged that judged least.
fn covered(page: &mut Page, facts: &Facts<'_>) {
    let Some(least) = facts.judgement.coverage else { return };
    page.heading("What the verdict covers");
    let level = least.level.map_or_else(|| "none".to_owned(), |level| level.to_string());
    page.row("level", &format!("{level} (protocol, state or dma; each includes those before it)"));
    page.row("checks", &coverage::line(least));
    for musts in coverage::musts(least) {
        page.row("musts", &musts);
    }
    for why in coverage::not_judged(least) {
        page.row("not judged", &why);
    }
}

fn runs(page: &mut Page, facts: &Facts<'_>) {
    page.heading("What each run came to by itself");
    for part in facts.parts {
        let run = &part.run;
        let counts = run.tally();
        let restarts = match run.restarts.len() {
            0 => String::new(),
            count => format!(", {}", plural(count, "restart")),
        };
        let began = run.began.started.get(..19).unwrap_or(&run.began.started);
        let text = format!("{}: {}{restarts}; begun {began}Z", coverage::verdict(run), counts.join(", "));
        page.row(&part.name.to_string(), &text);
    }
}

fn findings(page: &mut Page, facts: &Facts<'_>) {
    page.heading("Findings");
    if facts.judgement.findings.is_empty() {
        page.paragraph("None.");
    }
    for finding in &facts.judgement.findings {
        page.paragraph(&format!("{}: {}", finding.check, told(&finding.seen)));
        for line in breaches(finding, facts.waivers) {
            page.item(&line);
        }
    }
    if facts.judgement.unsteady.is_empty() {
        return;
    }
    page.heading("Not the same in every run");
    for (check, seen) in &facts.judgement.unsteady {
        page.item(&format!("{check}: {}", told(seen)));
    }
}

fn breaches(finding: &Finding<'_>, waivers: &[Waiver]) -> Vec<String> {
    if finding.broken.is_empty() {
        return vec!["it judged nothing any more; this is never waived".to_owned()];
    }
    let tell = |waiver: Option<usize>| match waiver.and_then(|index| waivers.get(index)) {
        Some(waiver) => format!("waived until {}: {}", waiver.expires(), one_line(waiver.reason())),
        None => "not waived".to_owned(),
    };
    let told = |(id, level, waiver): &(&str, _, _)| {
        format!("breaks {id} ({}), {}", coverage::binds(id, *level), tell(*waiver))
    };
    finding.broken.iter().map(told).collect()
}

/// The verdicts of a check, each with the runs that it came to it in.
fn told(seen: &Seen) -> String {
    let mut groups: Vec<(Verdict, Vec<String>)> = Vec::new();
    for (name, verdict) in seen {
        match groups.iter_mut().find(|(known, _)| known == verdict) {
            Some((_, names)) => names.push(name.to_string()),
            None => groups.push((*verdict, vec![name.to_string()])),
        }
    }
    let groups: Vec<String> =
        groups.iter().map(|(verdict, names)| format!("{verdict} in {}", names.join(", "))).collect();
    groups.join("; ")
}

fn waivers(page: &mut Page, facts: &Facts<'_>) {
    if facts.waivers.is_empty() {
        return;
    }
    for (use_, heading) in [
        (Use::Used, "Waivers that were used"),
        (Use::NotNeeded, "Waivers that are not needed any more: take them out"),
        (Use::Elsewhere, "Waivers for another device, firmware or kernel"),
    ] {
        let mut of_use = facts.waivers.iter().zip(&facts.judgement.uses).filter(|(_, is)| **is == use_).peekable();
        if of_use.peek().is_some() {
            page.heading(heading);
        }
        for (waiver, _) in of_use {
            page.paragraph(&format!("{}, of {}", waiver.requirement(), waiver.scope()));
            page.item(&format!("because: {}", one_line(waiver.reason())));
            page.item(&format!("see {}; holds until {}", waiver.link(), waiver.expires()));
        }
    }
}

fn not_tested(page: &mut Page, facts: &Facts<'_>) {
    page.heading("What was not tested");
    let mut reasons: Vec<(Verdict, String, Vec<&str>)> = Vec::new();
    for check in facts.parts.iter().flat_map(|part| &part.run.checks) {
        let outcome = &check.outcome;
        if !matches!(outcome.verdict, Verdict::Skip | Verdict::Blocked) {
            continue;
        }
        let reason = outcome.reason();
        match reasons.iter_mut().find(|(verdict, why, _)| (*verdict, why) == (outcome.verdict, &reason)) {
            Some((_, _, checks)) if checks.contains(&check.name.as_str()) => {}
            Some((_, _, checks)) => checks.push(&check.name),
            None => reasons.push((outcome.verdict, reason, vec![&check.name])),
        }
    }
    if reasons.is_empty() {
        page.paragraph("Every check had its say.");
    }
    for (verdict, why, checks) in reasons {
        page.paragraph(&format!("{verdict}, {}: {}", plural(checks.len(), "check"), one_line(&why)));
        page.item(&checks.join(", "));
    }
    if !facts.judgement.untested.is_empty() {
        page.paragraph("Requirements that nothing was seen to keep or to break:");
        page.item(&facts.judgement.untested.join(", "));
    }
    for why in facts.parts.iter().filter_map(|part| part.run.ready.as_ref()?.tracing.as_ref().err()).take(1) {
        page.paragraph(&format!("The kernel's own path of each transition was not observed: {}", one_line(why)));
    }
}

fn limits(page: &mut Page, facts: &Facts<'_>) {
    page.heading("What this certificate does not say");
    for line in [
        "It is about this device with this firmware, driver and kernel, and about no other.",
        "A requirement counts as kept if no check saw it broken. Checks see what the uAPI lets a user see.",
        "It says nothing of speed, of the loss of data on a network, or of other parts of the driver.",
        "It does not say who ran the tests, nor that their machine was honest: its files carry no signature. Whoever \
         answers for it signs SHA256SUMS with a tool for that; `vfio-conform verify --help` names some.",
    ] {
        page.item(line);
    }
    if facts.certificate.verdict == CertifiedVerdict::ConformsWithWaivers {
        page.item("It does not say that the device keeps what is waived: it was seen to break that.");
    }
    page.line("");
    page.paragraph(
        "`vfio-conform verify DIR` makes all of this again from the journals, on any machine; `sha256sum -c SHA256SUMS` \
         checks the files alone.",
    );
}

/// A page of text.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn line(&mut self, text: &str) {
        self.text += text.trim_end();
        self.text.push('\n');
    }

    fn heading(&mut self, text: &str) {
        self.line("");
        self.line(text);
    }

    fn row(&mut self, label: &str, text: &str) {
        let lines = wrap(&clean(text), WIDTH - INDENT - LABELS);
        for (index, line) in lines.iter().enumerate() {
            let label = if index == 0 { label } else { "" };
            self.line(&format!("{:INDENT$}{label:<LABELS$}{line}", ""));
        }
    }

    fn paragraph(&mut self, text: &str) {
        for line in wrap(&clean(text), WIDTH - INDENT) {
            self.line(&format!("{:INDENT$}{line}", ""));
        }
    }

    fn item(&mut self, text: &str) {
        for (index, line) in wrap(&clean(text), WIDTH - 2 * INDENT - 2).iter().enumerate() {
            let mark = if index == 0 { "- " } else { "  " };
            self.line(&format!("{:1$}{mark}{line}", "", 2 * INDENT));
        }
    }
}
