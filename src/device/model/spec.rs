//! Which model: its capability set and its fault.

use std::fmt;

use super::fault::Fault;
use super::variation::Variation;
use crate::uapi::Errno;
use crate::uapi::state::Capabilities;

const NOT_MIGRATABLE: &str = "not_migratable";
const FAULT_PREFIX: &str = "fault=";
const VARIATION_PREFIX: &str = "variation=";

/// Which model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ModelSpec {
    /// Its capability set; `None` if it cannot migrate at all.
    pub capabilities: Option<Capabilities>,
    /// Its deliberate defect, if any.
    pub fault: Option<Fault>,
    /// Its permitted difference, if any.
    pub variation: Option<Variation>,
}

impl ModelSpec {
    /// A device that keeps the protocol.
    pub const fn conforming(capabilities: Capabilities) -> ModelSpec {
        ModelSpec { capabilities: Some(capabilities), fault: None, variation: None }
    }

    /// A device with a defect, with a capability set on which the defect can be seen.
    pub const fn faulty(fault: Fault) -> ModelSpec {
        ModelSpec { capabilities: fault.seen_with(), fault: Some(fault), variation: None }
    }

    /// A device that keeps the protocol, and differs from the conforming one in what the protocol permits.
    pub const fn varying(variation: Variation) -> ModelSpec {
        ModelSpec { variation: Some(variation), ..ModelSpec::conforming(Capabilities::FULL) }
    }

    /// Reads the form that [`Display`](fmt::Display) writes: a capability set, a fault, a variation, or several of them with
    /// commas between them. What is left out is as in [`ModelSpec::default`].
    ///
    /// # Errors
    /// A sentence that says which part is wrong and what is possible there.
    pub fn parse(text: &str) -> Result<ModelSpec, String> {
        let mut capabilities = None;
        let mut fault = None;
        let mut variation = None;
        for part in text.split(',') {
            let repeated = match (part.strip_prefix(FAULT_PREFIX), part.strip_prefix(VARIATION_PREFIX)) {
                (Some(name), _) => fault.replace(parse_fault(name)?).is_some(),
                (None, Some(name)) => variation.replace(parse_variation(name)?).is_some(),
                (None, None) => capabilities.replace(parse_capabilities(part)?).is_some(),
            };
            if repeated {
                return Err(format!("{part:?} is one too many of its kind"));
            }
        }
        let default = ModelSpec::default();
        Ok(ModelSpec { capabilities: capabilities.unwrap_or(default.capabilities), fault, variation })
    }

    /// The fault that it behaves by: its own, or the one that makes the same difference as its variation.
    pub(super) fn effect(self) -> Option<Fault> {
        self.fault.or_else(|| self.variation?.same_as())
    }

    /// Whether the model behaves by this defect.
    pub(super) fn has(self, fault: Fault) -> bool {
        self.effect() == Some(fault)
    }

    /// Whether the model has this permitted difference.
    pub(super) fn varies(self, variation: Variation) -> bool {
        self.variation == Some(variation)
    }

    /// Refuses with that errno, unless the model has the defect of letting this pass.
    pub(super) fn refuse_unless(self, fault: Fault, errno: Errno) -> Result<(), Errno> {
        if self.has(fault) { Ok(()) } else { Err(errno) }
    }
}

impl Default for ModelSpec {
    fn default() -> Self {
        ModelSpec::conforming(Capabilities::FULL)
    }
}

impl fmt::Display for ModelSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.capabilities {
            Some(capabilities) => write!(f, "{capabilities}")?,
            None => f.write_str(NOT_MIGRATABLE)?,
        }
        if let Some(fault) = self.fault {
            write!(f, ",{FAULT_PREFIX}{}", fault.name())?;
        }
        match self.variation {
            Some(variation) => write!(f, ",{VARIATION_PREFIX}{}", variation.name()),
            None => Ok(()),
        }
    }
}

fn parse_capabilities(text: &str) -> Result<Option<Capabilities>, String> {
    if text == NOT_MIGRATABLE {
        return Ok(None);
    }
    Capabilities::parse(text).map(Some).ok_or_else(|| {
        let sets = Capabilities::ALL.map(|set| set.to_string());
        format!(
            "{text:?} is no part of a model; possible are {}, {NOT_MIGRATABLE}, {FAULT_PREFIX}NAME and \
             {VARIATION_PREFIX}NAME",
            sets.join(", ")
        )
    })
}

fn parse_fault(name: &str) -> Result<Fault, String> {
    Fault::from_name(name).ok_or_else(|| {
        let names = Fault::ALL.map(Fault::name);
        format!("{name:?} is no fault of the model; possible are {}", names.join(", "))
    })
}

fn parse_variation(name: &str) -> Result<Variation, String> {
    Variation::from_name(name).ok_or_else(|| {
        let names = Variation::ALL.map(Variation::name);
        format!("{name:?} is no variation of the model; possible are {}", names.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spec_is_read_back() {
        let sets = Capabilities::ALL.into_iter().map(Some).chain([None]);
        for capabilities in sets {
            for fault in Fault::ALL.into_iter().map(Some).chain([None]) {
                let spec = ModelSpec { capabilities, fault, variation: None };
                assert_eq!(ModelSpec::parse(&spec.to_string()), Ok(spec));
            }
            for variation in Variation::ALL {
                let spec = ModelSpec { capabilities, ..ModelSpec::varying(variation) };
                assert_eq!(ModelSpec::parse(&spec.to_string()), Ok(spec));
            }
        }
    }

    #[test]
    fn parts_can_be_left_out_or_swapped() {
        let crash = Fault::from_name("crash");
        let full = Some(Capabilities::FULL);
        assert_eq!(
            ModelSpec::parse("fault=crash"),
            Ok(ModelSpec { capabilities: full, fault: crash, variation: None })
        );
        let small = ModelSpec { capabilities: Some(Capabilities::ALL[0]), fault: crash, variation: None };
        assert_eq!(ModelSpec::parse("fault=crash,stop_copy"), Ok(small));
        assert_eq!(ModelSpec::default().to_string(), "stop_copy+p2p+pre_copy");
    }

    #[test]
    fn errors_say_what_is_possible() {
        for (text, possible) in [
            ("", "not_migratable"),
            ("p2p", "stop_copy+p2p,"),
            ("stop_copy,", "fault=NAME"),
            ("fault=", "blocked-arc-hangs"),
            ("fault=crush", "crash"),
            ("variation=crash", "short-reads"),
            ("variation=short-reads,variation=short-reads", "one too many"),
            ("stop_copy,stop_copy", "one too many"),
            ("fault=crash,fault=crash", "one too many"),
        ] {
            let error = ModelSpec::parse(text).unwrap_err();
            assert!(error.contains(possible), "{text:?}: {error}");
        }
    }
}
