//! What is wrong with a profile that TOML and types cannot see.

use std::collections::BTreeSet;

use toml::Spanned;

use super::Profile;
use super::error::{Complaint, nearest};
use super::step::{Place, Space, Step};
use super::value::{Given, Value};

impl Profile {
    pub(super) fn check(&self) -> Result<(), Complaint> {
        self.check_matches()?;
        self.check_timeouts()?;
        self.check_buffers()?;
        for (name, steps, given) in self.plays() {
            let Some(steps) = steps else { continue };
            if steps.get_ref().is_empty() {
                let why = format!("{name} has no steps: leave it out if the device has no way to it");
                return Err(Complaint::at(steps.span(), why));
            }
            self.check_steps(name, steps.get_ref(), given)?;
        }
        self.check_pairs()
    }

    fn check_matches(&self) -> Result<(), Complaint> {
        if self.matches.pci.is_empty() && self.matches.driver.is_empty() {
            return Err(Complaint::of_all("[match] names no device: give pci or driver"));
        }
        match self.matches.pci.iter().find(|id| !is_pci_id(id.get_ref())) {
            Some(id) => Err(Complaint::at(id.span(), "this is no vendor:device, like \"15b3:101e\"")),
            None => Ok(()),
        }
    }

    fn check_timeouts(&self) -> Result<(), Complaint> {
        const DAY_S: u64 = 86_400;
        let timeouts = &self.timeouts;
        let within = [(timeouts.check_s, DAY_S), (timeouts.open_s, DAY_S), (timeouts.step_ms, 1000 * DAY_S)];
        match within.into_iter().all(|(time, most)| (1..=most).contains(&time)) {
            true => Ok(()),
            false => Err(Complaint::of_all("[timeouts] has a time that is 0, or more than a day")),
        }
    }

    fn check_buffers(&self) -> Result<(), Complaint> {
        let mut names = BTreeSet::new();
        for buffer in &self.buffer {
            if buffer.name.is_empty() || Value::is_taken(&buffer.name) || !names.insert(&buffer.name) {
                let why = format!("two [[buffer]]s cannot be told apart, or from a variable: {:?}", buffer.name);
                return Err(Complaint::of_all(why));
            }
            if !(1..=0x4000_0000).contains(&buffer.bytes) {
                return Err(Complaint::of_all(format!("[[buffer]] {:?} has no bytes, or over 1 GiB", buffer.name)));
            }
            if let Some(iova) = buffer.iova.as_ref().filter(|iova| iova.get_ref() % 0x1_0000 != 0) {
                return Err(Complaint::at(iova.span(), "the I/O address of a buffer is a multiple of 0x10000"));
            }
        }
        Ok(())
    }

    fn check_steps(&self, name: &str, steps: &[Step], given: &[Given]) -> Result<(), Complaint> {
        let mut read = BTreeSet::new();
        for step in steps {
            match step {
                Step::Write(write) => {
                    self.check_place(&write.place)?;
                    self.check_value(name, &write.value, given, &read)?;
                }
                Step::Fill(place) => {
                    self.check_place(place)?;
                    if !given.contains(&Given::Bytes) {
                        return Err(Complaint::of_all(format!("{name} is not asked for a number of bytes to fill")));
                    }
                }
                Step::Read(step) => {
                    self.check_place(&step.place)?;
                    read.extend(step.into.as_deref());
                }
                Step::Dump(dump) => self.check_place(&dump.place)?,
                Step::Wait(wait) => self.check_place(&wait.place)?,
                Step::Command(command) if command.program.is_empty() => {
                    return Err(Complaint::of_all(format!("a command of {name} names no program")));
                }
                Step::Command(_) => {}
            }
        }
        Ok(())
    }

    fn check_place(&self, place: &Place) -> Result<(), Complaint> {
        let Space::Buffer(name) = &place.space else {
            return Ok(());
        };
        let names: Vec<&str> = self.buffer.iter().map(|buffer| buffer.name.as_str()).collect();
        match names.contains(&name.get_ref().as_str()) {
            true => Ok(()),
            false => Err(unknown(name.span(), "[[buffer]]", name.get_ref(), &names)),
        }
    }

    fn check_value(
        &self,
        play: &str,
        value: &Spanned<Value>,
        given: &[Given],
        read: &BTreeSet<&str>,
    ) -> Result<(), Complaint> {
        let wrong = match value.get_ref() {
            Value::Number(_) => return Ok(()),
            Value::Given(variable) if given.contains(variable) => return Ok(()),
            Value::Given(variable) => variable.name(),
            Value::Named(name) => name,
        };
        let highs: Vec<String> = self.buffer.iter().map(|buffer| format!("{}_high", buffer.name)).collect();
        let mut names: Vec<&str> = given.iter().map(|given| given.name()).collect();
        names.extend(self.buffer.iter().map(|buffer| buffer.name.as_str()));
        names.extend(highs.iter().map(String::as_str));
        names.extend(read);
        match names.contains(&wrong) {
            true => Ok(()),
            false => Err(unknown(value.span(), &format!("variable of {play}"), wrong, &names)),
        }
    }

    /// What is of no use without its counterpart.
    fn check_pairs(&self) -> Result<(), Complaint> {
        let has = |name: &str| self.steps(name).is_some();
        for (one, other, why) in [
            ("start_work", "stop_work", "work that begins has to end"),
            ("dma_to_memory", "finish_dma", "DMA that begins has to be waited for"),
            ("dma_from_memory", "finish_dma", "DMA that begins has to be waited for"),
        ] {
            if has(one) && !has(other) {
                return Err(Complaint::of_all(format!("[stimulus] has {one} without {other}: {why}")));
            }
        }
        match (has("interrupt"), self.interrupt) {
            (true, None) => {
                Err(Complaint::of_all("[stimulus] has interrupt, but no [interrupt] says where it arrives"))
            }
            (false, Some(_)) => {
                Err(Complaint::of_all("[interrupt] has no steps that raise one: see [stimulus] interrupt"))
            }
            _ => Ok(()),
        }
    }
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
