//! What is wrong with a profile that TOML and types cannot see.

use std::collections::BTreeSet;

use toml::Spanned;

use super::error::{Complaint, nearest};
use super::parse::{At, Findings};
use super::step::{Place, Region, Space, Step};
use super::value::{Given, Value};
use super::{InterruptIndex, Profile};

const DAY_MS: u64 = 86_400_000;
/// What PCI Express has of configuration space.
const CONFIG_BYTES: u64 = 4096;
/// Buffers are rounded up to this.
const BUFFER_GRANULE: u64 = 0x1_0000;

impl Profile {
    /// Finds all that is wrong.
    pub(super) fn check(&self, findings: &mut Findings<'_>) {
        self.check_matches(findings);
        self.check_timeouts(findings);
        self.check_buffers(findings);
        self.check_interrupt(findings);
        for (name, steps, given) in self.plays() {
            let Some(steps) = steps else { continue };
            let path = path_of(name);
            let lost_some = findings.lost_some_of(&path);
            if steps.get_ref().is_empty() && !lost_some {
                findings.at(&path, format!("{name} has no steps: leave it out if the device has no way to it"));
            }
            Steps { profile: self, name, given, lost_some, path: &path }.check(steps.get_ref(), findings);
        }
        // What was taken out may be what is missing.
        if !findings.lost_something() {
            self.check_pairs(findings);
        }
    }

    fn check_matches(&self, findings: &mut Findings<'_>) {
        let path = [At::Key("match")];
        if self.matches.pci.is_empty() && self.matches.driver.is_empty() && !findings.lost_something() {
            findings.at(&path, "[match] names no device: give pci or driver");
        }
        for id in self.matches.pci.iter().filter(|id| !is_pci_id(id.get_ref())) {
            findings.at_bytes(Complaint::at(id.span(), "this is no vendor:device, like \"15b3:101e\""));
        }
    }

    fn check_timeouts(&self, findings: &mut Findings<'_>) {
        let timeouts = &self.timeouts;
        let all = [
            ("check_s", timeouts.check_s, DAY_MS / 1000),
            ("open_s", timeouts.open_s, DAY_MS / 1000),
            ("step_ms", timeouts.step_ms, DAY_MS),
        ];
        for (name, time, most) in all {
            if !(1..=most).contains(&time) {
                let why = format!("{name} is 0, or more than a day");
                findings.at(&[At::Key("timeouts"), At::Key(name)], why);
            }
        }
    }

    fn check_buffers(&self, findings: &mut Findings<'_>) {
        let mut names = BTreeSet::new();
        let mut ranges: Vec<(u64, u64)> = Vec::new();
        for (index, buffer) in self.buffer.iter().enumerate() {
            // What was taken out has moved the others.
            let elements = if findings.lost_something() { 1 } else { 2 };
            let at = &[At::Key("buffer"), At::Element(index)][..elements];
            if buffer.name.is_empty() || Value::is_taken(&buffer.name) || !names.insert(&buffer.name) {
                let why = format!("two [[buffer]]s cannot be told apart, or from a variable: {:?}", buffer.name);
                findings.at(at, why);
            }
            if !(1..=0x4000_0000).contains(&buffer.bytes) {
                findings.at(at, format!("[[buffer]] {:?} has no bytes, or over 1 GiB", buffer.name));
            }
            let Some(iova) = &buffer.iova else { continue };
            let (begin, end) = (*iova.get_ref(), iova.get_ref().checked_add(rounded(buffer.bytes)));
            let mut wrong = |why: &str| findings.at_bytes(Complaint::at(iova.span(), why));
            match end {
                _ if begin % BUFFER_GRANULE != 0 => wrong("the I/O address of a buffer is a multiple of 0x10000"),
                None => wrong("the buffer ends beyond the last I/O address"),
                Some(end) if ranges.iter().any(|(other, its_end)| begin < *its_end && *other < end) => {
                    wrong("another buffer has some of these I/O addresses");
                }
                Some(end) => ranges.push((begin, end)),
            }
        }
    }

    fn check_interrupt(&self, findings: &mut Findings<'_>) {
        let Some(interrupt) = self.interrupt else { return };
        let (name, vectors) = match interrupt.index {
            InterruptIndex::Intx => ("intx", 1),
            InterruptIndex::Msi => ("msi", 32),
            InterruptIndex::Msix => ("msix", 2048),
        };
        if interrupt.vector >= vectors {
            let why = format!("{name} has {vectors} vectors at most, from 0 on");
            findings.at(&[At::Key("interrupt"), At::Key("vector")], why);
        }
        if !(1..=DAY_MS).contains(&interrupt.within_ms) {
            findings.at(&[At::Key("interrupt"), At::Key("within_ms")], "within_ms is 0, or more than a day");
        }
    }

    /// What is of no use without its counterpart.
    fn check_pairs(&self, findings: &mut Findings<'_>) {
        let has = |name: &str| self.steps(name).is_some();
        for (one, other, why) in [
            ("start_work", "stop_work", "work that begins has to end"),
            ("stop_work", "start_work", "nothing begins work"),
            ("dma_to_memory", "finish_dma", "DMA that begins has to be waited for"),
            ("dma_from_memory", "finish_dma", "DMA that begins has to be waited for"),
        ] {
            if has(one) && !has(other) {
                findings.at(&path_of(one), format!("[stimulus] has {one} without {other}: {why}"));
            }
        }
        match (has("interrupt"), self.interrupt) {
            (true, None) => {
                findings.at(&path_of("interrupt"), "[stimulus] has interrupt, but no [interrupt] says where it arrives")
            }
            (false, Some(_)) => findings
                .at(&[At::Key("interrupt")], "[interrupt] has no steps that raise one: see [stimulus] interrupt"),
            _ => {}
        }
    }
}

/// The steps of one key, while they are checked.
struct Steps<'a> {
    profile: &'a Profile,
    name: &'static str,
    given: &'static [Given],
    /// Whether some of them could not be understood.
    lost_some: bool,
    path: &'a [At<'a>; 2],
}

impl Steps<'_> {
    fn check(&self, steps: &[Step], findings: &mut Findings<'_>) {
        let mut read = BTreeSet::new();
        for (index, step) in steps.iter().enumerate() {
            let [table, key] = *self.path;
            // What was taken out has moved the others.
            let at: &[At<'_>] = if self.lost_some { self.path } else { &[table, key, At::Element(index)] };
            match step {
                Step::Write(write) => {
                    self.check_place(&write.place, write.width.bytes() as u64, at, findings);
                    self.check_value(&write.value, &read, findings);
                }
                Step::Fill(place) => {
                    self.check_place(place, 1, at, findings);
                    if !self.given.contains(&Given::Bytes) {
                        findings.at(at, format!("{} is not asked for a number of bytes to fill", self.name));
                    }
                }
                Step::Read(step) => {
                    self.check_place(&step.place, step.width.bytes() as u64, at, findings);
                    read.extend(step.into.as_deref());
                }
                Step::Dump(dump) => self.check_place(&dump.place, dump.bytes as u64, at, findings),
                Step::Wait(wait) => {
                    self.check_place(&wait.place, wait.width.bytes() as u64, at, findings);
                    self.check_within(wait.within_ms, at, findings);
                }
                Step::Command(command) => {
                    if command.program.is_empty() {
                        findings.at(at, format!("a command of {} names no program", self.name));
                    }
                    self.check_within(command.within_ms, at, findings);
                }
            }
        }
        let observes = |step: &Step| match step {
            Step::Read(read) => read.into.is_none(),
            Step::Dump(_) | Step::Command(_) => true,
            Step::Write(_) | Step::Fill(_) | Step::Wait(_) => false,
        };
        let is_observation = matches!(self.name, "compare" | "progress");
        if is_observation && !steps.is_empty() && !self.lost_some && !steps.iter().any(observes) {
            findings.at(self.path, format!("{} reads nothing that could be looked at", self.name));
        }
    }

    /// A step that may wait for as long as its check would have the device hang.
    fn check_within(&self, within_ms: Option<u64>, at: &[At<'_>], findings: &mut Findings<'_>) {
        let within = within_ms.unwrap_or(self.profile.timeouts.step_ms);
        let check = self.profile.timeouts.check_s.saturating_mul(1000);
        if within == 0 {
            findings.at(at, "it has no time: within_ms is 0");
        } else if check > 0 && within >= check {
            let why = format!(
                "it may take {within} ms, and its check no more than {check}: give check_s of [timeouts] more, or less here"
            );
            findings.at(at, why);
        }
    }

    fn check_place(&self, place: &Place, bytes: u64, at: &[At<'_>], findings: &mut Findings<'_>) {
        let room = match &place.space {
            Space::Region(Region::Config) => Some(CONFIG_BYTES),
            Space::Region(_) => None,
            Space::Buffer(name) => match self.profile.buffer.iter().find(|buffer| buffer.name == *name.get_ref()) {
                Some(buffer) => Some(rounded(buffer.bytes)),
                None => {
                    let names: Vec<&str> = self.profile.buffer.iter().map(|buffer| buffer.name.as_str()).collect();
                    findings.at_bytes(unknown(name.span(), "[[buffer]]", name.get_ref(), &names));
                    return;
                }
            },
        };
        let end = place.offset.checked_add(bytes);
        if end.is_none() || room.is_some_and(|room| end.is_some_and(|end| end > room)) {
            let room = room.unwrap_or(u64::MAX);
            findings.at(at, format!("{bytes} bytes of {place} end beyond its {room:#x}"));
        }
    }

    fn check_value(&self, value: &Spanned<Value>, read: &BTreeSet<&str>, findings: &mut Findings<'_>) {
        let wrong = match value.get_ref() {
            Value::Number(_) => return,
            Value::Given(variable) if self.given.contains(variable) => return,
            Value::Given(variable) => variable.name(),
            // What has read it may be among what could not be understood.
            Value::Named(_) if self.lost_some => return,
            Value::Named(name) => name,
        };
        let buffers = &self.profile.buffer;
        let highs: Vec<String> = buffers.iter().map(|buffer| format!("{}_high", buffer.name)).collect();
        let mut names: Vec<&str> = self.given.iter().map(|given| given.name()).collect();
        names.extend(buffers.iter().map(|buffer| buffer.name.as_str()));
        names.extend(highs.iter().map(String::as_str));
        names.extend(read);
        if !names.contains(&wrong) {
            findings.at_bytes(unknown(value.span(), &format!("variable of {}", self.name), wrong, &names));
        }
    }
}

/// Where the steps of that name stand.
fn path_of(name: &'static str) -> [At<'static>; 2] {
    let table = match name {
        "compare" | "progress" => "state",
        _ => "stimulus",
    };
    [At::Key(table), At::Key(name)]
}

fn rounded(bytes: u32) -> u64 {
    u64::from(bytes).next_multiple_of(BUFFER_GRANULE)
}

fn unknown(at: std::ops::Range<usize>, kind: &str, name: &str, names: &[&str]) -> Complaint {
    let hint = match (nearest(name, names.iter().copied()), names) {
        (Some(meant), _) => format!("did you mean {meant:?}?"),
        (None, []) => "there is none".to_owned(),
        (None, names) => format!("there are {}", names.join(", ")),
    };
    Complaint::at(at, format!("{name:?} is no {kind}; {hint}"))
}

/// Whether a text is `vendor:device`, as `lspci -n` shows it.
pub(crate) fn is_pci_id(id: &str) -> bool {
    let is_number = |part: &str| part.len() == 4 && part.bytes().all(|b| b.is_ascii_hexdigit());
    id.split_once(':').is_some_and(|(vendor, device)| is_number(vendor) && is_number(device))
}
