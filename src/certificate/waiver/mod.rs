//! Waivers: TOML files that say which broken requirements are known and accepted, of which device, and until when.
//! `reports/README.md` describes them.
//!
//! They are read as strictly as profiles: a waiver that silently does nothing would make somebody believe that a finding
//! is accepted, and one that silently does too much would hide a finding.

mod range;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use serde::Deserialize;
use time::{Date, Month};
use toml::Spanned;

use crate::requirement::{self, Level};
use crate::stimulus::profile::{Complaint, is_pci_id, nearest};

pub use range::Range;

/// Why waivers cannot be used. Reads as one sentence with the place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WaiverError {
    /// The file cannot be read.
    #[error("failed to read the waivers {}: {why}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        why: String,
    },
    /// The file says what cannot be understood.
    #[error("failed to understand the waivers {}: {why}", .path.display())]
    Misunderstood {
        /// The file.
        path: PathBuf,
        /// What is wrong and where.
        why: String,
    },
}

/// The waivers of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waivers {
    /// All of them, in their order.
    #[serde(rename = "waiver", default)]
    pub all: Vec<Waiver>,
    /// The file as it is.
    #[serde(skip)]
    pub text: String,
}

/// One requirement that a device is known to break.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Waiver {
    requirement: Spanned<String>,
    /// `vendor:device` of PCI functions, as `lspci -n` shows them.
    #[serde(default)]
    pci: Vec<Spanned<String>>,
    /// Drivers, for devices without PCI ids.
    #[serde(default)]
    driver: Vec<String>,
    /// The firmware that it is for; any if this is left out.
    firmware: Option<Range>,
    /// The kernels that it is for; any if this is left out.
    kernel: Option<Range>,
    reason: Spanned<String>,
    link: Spanned<String>,
    expires: Expiry,
}

/// The last day on which a waiver holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "toml::Value")]
struct Expiry(Date);

impl TryFrom<toml::Value> for Expiry {
    type Error = String;

    fn try_from(written: toml::Value) -> Result<Expiry, String> {
        let wrong = || "this is no day, like 2027-06-30 (without quotes and without a time)".to_owned();
        let day = written.as_datetime().filter(|written| written.time.is_none() && written.offset.is_none());
        let Some(date) = day.and_then(|day| day.date) else {
            return Err(wrong());
        };
        let month = Month::try_from(date.month).map_err(|_| wrong())?;
        Date::from_calendar_date(i32::from(date.year), month, date.day).map(Expiry).map_err(|_| wrong())
    }
}

/// What a waiver is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subject<'a> {
    /// `vendor:device` of a PCI function.
    pub pci: Option<&'a str>,
    /// The driver.
    pub driver: &'a str,
    /// The firmware, where it is known.
    pub firmware: Option<&'a str>,
    /// `uname -r`.
    pub kernel: &'a str,
}

impl Waivers {
    /// Reads waivers from a file.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn read(path: &Path) -> Result<Waivers, WaiverError> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| WaiverError::Unreadable { path: path.to_owned(), why: error.to_string() })?;
        Waivers::parse(&text)
            .map_err(|complaint| WaiverError::Misunderstood { path: path.to_owned(), why: complaint.in_text(&text) })
    }

    /// Reads waivers.
    pub(crate) fn parse(text: &str) -> Result<Waivers, Complaint> {
        let mut waivers: Waivers = toml::from_str(text).map_err(Complaint::from)?;
        if waivers.all.is_empty() {
            return Err(Complaint::of_all("it has no [[waiver]]: leave the file out if nothing is waived"));
        }
        waivers.all.iter().try_for_each(Waiver::check)?;
        waivers.text = text.to_owned();
        Ok(waivers)
    }

    /// The first one that does not hold any more on this day.
    pub fn expired(&self, day: Date) -> Option<&Waiver> {
        self.all.iter().find(|waiver| waiver.expires() < day)
    }
}

impl Waiver {
    /// The id of the requirement.
    pub fn requirement(&self) -> &str {
        self.requirement.get_ref()
    }

    /// Why it is accepted.
    pub fn reason(&self) -> &str {
        self.reason.get_ref()
    }

    /// Where that is written down.
    pub fn link(&self) -> &str {
        self.link.get_ref()
    }

    /// The last day on which it holds.
    pub fn expires(&self) -> Date {
        self.expires.0
    }

    /// Whether it is for this device, firmware and kernel. Firmware that is not known is in no range.
    pub fn fits(&self, subject: &Subject<'_>) -> bool {
        let is_wanted = |id: &str| self.pci.iter().any(|wanted| wanted.get_ref().eq_ignore_ascii_case(id));
        let is_device = subject.pci.is_some_and(is_wanted) || self.driver.iter().any(|name| name == subject.driver);
        let fits_firmware =
            self.firmware.as_ref().is_none_or(|range| subject.firmware.is_some_and(|firmware| range.holds(firmware)));
        let fits_kernel = self.kernel.as_ref().is_none_or(|range| range.holds(subject.kernel));
        is_device && fits_firmware && fits_kernel
    }

    /// What it is for, in words.
    pub fn scope(&self) -> String {
        let mut devices: Vec<&str> = self.pci.iter().map(|id| id.get_ref().as_str()).collect();
        devices.extend(self.driver.iter().map(String::as_str));
        let mut words = devices.join(" or ");
        if let Some(firmware) = &self.firmware {
            words += &format!(", firmware {firmware}");
        }
        if let Some(kernel) = &self.kernel {
            words += &format!(", kernel {kernel}");
        }
        words
    }

    fn check(&self) -> Result<(), Complaint> {
        self.check_requirement()?;
        if self.pci.is_empty() && self.driver.is_empty() {
            let why = "the waiver names no device: give pci, or driver for what has no PCI ids";
            return Err(Complaint::at(self.requirement.span(), why));
        }
        if let Some(id) = self.pci.iter().find(|id| !is_pci_id(id.get_ref())) {
            return Err(Complaint::at(id.span(), "this is no vendor:device, like \"15b3:101e\""));
        }
        if self.reason().trim().is_empty() {
            return Err(Complaint::at(self.reason.span(), "say why the requirement may be broken"));
        }
        if !["https://", "http://"].iter().any(|scheme| self.link().starts_with(scheme)) {
            return Err(Complaint::at(
                self.link.span(),
                "this is no link, like \"https://...\", to where it is discussed",
            ));
        }
        Ok(())
    }

    fn check_requirement(&self) -> Result<(), Complaint> {
        let id = self.requirement();
        let complain = |why: String| Err(Complaint::at(self.requirement.span(), why));
        match requirement::find(id) {
            Some(requirement) if requirement.level == Level::Advice => {
                complain(format!("{id} is advice, which never counts against a device: leave the waiver out"))
            }
            Some(_) => Ok(()),
            None => complain(match nearest(id, requirement::all().map(|requirement| requirement.id)) {
                Some(meant) => format!("there is no requirement {id:?}; did you mean {meant:?}?"),
                None => format!("there is no requirement {id:?}; `vfio-conform list` shows them"),
            }),
        }
    }
}
