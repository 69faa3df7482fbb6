//! The catalogue of faults, as `fixtures/faults` has it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::harness::check::Check;
use crate::harness::incident::Phase;
use crate::harness::verdict::Verdict;
use crate::report::is_incident;
use crate::requirement;
use crate::uapi::state::Capabilities;

/// The catalogue's files, each for one place.
const FILES: [(Place, &str); 4] = [
    (Place::Model, include_str!("../../fixtures/faults/model.toml")),
    (Place::Device, include_str!("../../fixtures/faults/device.toml")),
    (Place::Driver, include_str!("../../fixtures/faults/driver.toml")),
    (Place::Core, include_str!("../../fixtures/faults/core.toml")),
];

/// The `caps` of a fault of a device that cannot migrate.
const NOT_MIGRATABLE: &str = "not_migratable";

/// Where a fault lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// The in-process model.
    Model,
    /// The hardware of the bundled PCI target.
    Device,
    /// The variant driver of the bundled PCI target.
    Driver,
    /// The kernel's VFIO core.
    Core,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Place::Model => "model",
            Place::Device => "device",
            Place::Driver => "driver",
            Place::Core => "core",
        })
    }
}

impl Place {
    /// All of them.
    pub const ALL: [Place; 4] = [Place::Model, Place::Device, Place::Driver, Place::Core];

    /// The place that these letters of an id name: `model` of `model.dead-is`.
    pub fn of_id(id: &str) -> Option<Place> {
        let (place, _) = id.split_once('.')?;
        Place::ALL.into_iter().find(|known| known.to_string() == place)
    }
}

/// What a kernel has to have, or nothing can be seen of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// DMA logging, which comes with IOMMUFD.
    DmaLogging,
    /// The kernel's own look for sleeping where it must not, which debug kernels have.
    AtomicSleepDebugging,
    /// Two devices that run checks at the same time. Faults are tried on one device, so that another test shows it.
    TwoDevices,
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Need::DmaLogging => "DMA logging",
            Need::AtomicSleepDebugging => "CONFIG_DEBUG_ATOMIC_SLEEP",
            Need::TwoDevices => "a second device",
        })
    }
}

/// One deliberate defect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it lives.
    pub place: Place,
    /// Its name, unique in its place.
    pub name: String,
    /// The one thing that is wrong, in one sentence.
    pub defect: String,
    /// The requirements that it breaks: each has to be accused.
    pub breaks: Vec<String>,
    /// What may be accused too, since it follows, with the reason: requirements, or the verdict of a check that does not
    /// come to its end.
    pub follows: BTreeMap<String, String>,
    /// The checks that show it soonest, or the phases of a run outside checks; where none is named, all checks that can prove
    /// what it breaks.
    pub by: Vec<String>,
    /// The verdict of the checks that meet it, where no requirement is accused since the check does not come to its end.
    pub ends: Option<Verdict>,
    /// The capability set that it is tried with, where the full one does not show it.
    pub caps: Option<Capabilities>,
    /// Whether it is a defect of a device that cannot migrate.
    pub needs_no_migration: bool,
    /// What the kernel has to have; on another one the fault is left out.
    pub needs: Option<Need>,
    /// Where the idea comes from.
    pub origin: String,
}

impl Fault {
    /// `place.name`, unique in the catalogue.
    pub fn id(&self) -> String {
        format!("{}.{}", self.place, self.name)
    }

    /// The capability set of the model that shows it; `None` for a device that cannot migrate.
    pub fn capabilities(&self) -> Option<Capabilities> {
        (!self.needs_no_migration).then(|| self.caps.unwrap_or(Capabilities::FULL))
    }

    /// Whether it shows in this phase, in which no check runs.
    pub fn shows_in(&self, phase: Phase) -> bool {
        self.by.iter().any(|name| name == phase.test_name())
    }

    /// Whether people mean this fault, or a group with it, by these letters.
    pub fn is_meant_by(&self, part: &str) -> bool {
        self.id().contains(part)
    }

    /// The checks that should notice it, in the order in which they run.
    pub fn noticed_by<'a>(&self, checks: &'a [Check]) -> Vec<&'a Check> {
        let proves_broken =
            |check: &Check| check.requirements().iter().any(|r| self.breaks.iter().any(|broken| broken == r.id));
        let is_named = |check: &Check| self.by.iter().any(|name| name == check.name());
        checks.iter().filter(|check| if self.by.is_empty() { proves_broken(check) } else { is_named(check) }).collect()
    }
}

/// A file of the catalogue.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    fault: Vec<Entry>,
    /// Requirements that nothing in the whole catalogue can break, with the reason.
    #[serde(default)]
    unproven: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    defect: String,
    breaks: Vec<String>,
    #[serde(default)]
    follows: BTreeMap<String, String>,
    #[serde(default)]
    by: Vec<String>,
    ends: Option<Verdict>,
    caps: Option<String>,
    needs: Option<Need>,
    origin: String,
}

/// All faults, and the requirements that none of them breaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalogue {
    /// Place by place.
    pub faults: Vec<Fault>,
    /// Requirements without a fault, each with the reason.
    pub unproven: BTreeMap<String, String>,
}

impl Catalogue {
    /// Reads the bundled files.
    ///
    /// # Errors
    /// What is wrong with them, and in which entry.
    pub fn bundled(checks: &[Check]) -> Result<Catalogue, String> {
        Catalogue::read(&FILES, checks)
    }

    /// Reads the bundled files of these places only, so that what is wrong with another one stops nobody.
    ///
    /// # Errors
    /// What is wrong with them, and in which entry.
    pub fn of_places(places: &BTreeSet<Place>, checks: &[Check]) -> Result<Catalogue, String> {
        let files: Vec<_> = FILES.into_iter().filter(|(place, _)| places.contains(place)).collect();
        Catalogue::read(&files, checks)
    }

    fn read(files: &[(Place, &str)], checks: &[Check]) -> Result<Catalogue, String> {
        let mut catalogue = Catalogue { faults: Vec::new(), unproven: BTreeMap::new() };
        for (place, text) in files.iter().copied() {
            let file: File = toml::from_str(text).map_err(|error| format!("failed to read {place}.toml: {error}"))?;
            for entry in file.fault {
                let name = entry.name.clone();
                let fault = read(place, entry).map_err(|why| format!("failed to read {place}.{name}: {why}"))?;
                catalogue.faults.push(fault);
            }
            catalogue.unproven.extend(file.unproven);
        }
        catalogue.check(checks)?;
        Ok(catalogue)
    }

    /// Requirements that neither a fault nor a reason accounts for.
    pub fn unaccounted(&self) -> BTreeSet<&'static str> {
        let proven: BTreeSet<&str> = self.faults.iter().flat_map(|fault| &fault.breaks).map(String::as_str).collect();
        let is_open = |id: &&str| !proven.contains(id) && !self.unproven.contains_key(*id);
        requirement::all().map(|requirement| requirement.id).filter(is_open).collect()
    }

    fn check(&self, checks: &[Check]) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for fault in &self.faults {
            let id = fault.id();
            if !seen.insert(id.clone()) {
                return Err(format!("{id} stands twice in the catalogue"));
            }
            let is_end = |id: &String| [Verdict::Hang, Verdict::Crash].iter().any(|verdict| verdict.word() == id);
            let following = fault.follows.keys().filter(|id| !is_end(id));
            if let Some(unknown) = fault.breaks.iter().chain(following).find(|id| requirement::find(id).is_none()) {
                return Err(format!("{id}: {unknown:?} is no requirement; see vfio-conform list"));
            }
            if let Some((following, _)) = fault.follows.iter().find(|(_, reason)| reason.trim().is_empty()) {
                return Err(format!("{id}: why {following:?} follows is not said"));
            }
            let is_known = |name: &&String| is_incident(name) || checks.iter().any(|check| check.name() == **name);
            if let Some(unknown) = fault.by.iter().find(|name| !is_known(name)) {
                return Err(format!("{id}: {unknown:?} is no check; see vfio-conform list"));
            }
        }
        match self.unproven.keys().find(|id| requirement::find(id).is_none()) {
            Some(unknown) => Err(format!("[unproven]: {unknown:?} is no requirement; see vfio-conform list")),
            None => Ok(()),
        }
    }
}

fn read(place: Place, entry: Entry) -> Result<Fault, String> {
    let needs_no_migration = entry.caps.as_deref() == Some(NOT_MIGRATABLE);
    if needs_no_migration && place != Place::Model {
        return Err(format!("only the model can be {NOT_MIGRATABLE}"));
    }
    let caps = entry.caps.filter(|_| !needs_no_migration).map(|text| text.parse()).transpose()?;
    if entry.breaks.is_empty() {
        return Err("it breaks no requirement, so it proves nothing".to_owned());
    }
    if let Some(other) = entry.ends.filter(|verdict| !matches!(verdict, Verdict::Hang | Verdict::Crash)) {
        return Err(format!("a check that meets a fault ends with hang or crash, not with {other}"));
    }
    Ok(Fault {
        place,
        name: entry.name,
        defect: entry.defect,
        breaks: entry.breaks,
        follows: entry.follows,
        by: entry.by,
        ends: entry.ends,
        caps,
        needs_no_migration,
        needs: entry.needs,
        origin: entry.origin,
    })
}

#[cfg(test)]
mod tests {
    use vfio_conform_pci_target::fault::Fault as DeviceFault;

    use super::*;
    use crate::device::model;
    use crate::lab::pci;
    use crate::lab::qemu::core_fault_names;
    use crate::suites;

    #[test]
    fn the_catalogue_and_the_model_have_the_same_faults() -> Result<(), String> {
        let catalogue = Catalogue::bundled(&suites::all())?;
        let of_model = catalogue.faults.iter().filter(|fault| fault.place == Place::Model);
        let listed: BTreeSet<&str> = of_model.map(|fault| fault.name.as_str()).collect();
        let known: BTreeSet<&str> = model::Fault::ALL.iter().map(|fault| fault.name()).collect();
        assert_eq!(listed, known);
        Ok(())
    }

    #[test]
    fn the_catalogue_and_the_guest_have_the_same_faults() -> Result<(), String> {
        let catalogue = Catalogue::bundled(&suites::all())?;
        let listed = |place| -> BTreeSet<&str> {
            catalogue.faults.iter().filter(|fault| fault.place == place).map(|fault| fault.name.as_str()).collect()
        };
        assert_eq!(listed(Place::Driver), pci::fault_names().collect());
        assert_eq!(listed(Place::Core), core_fault_names().collect());
        assert_eq!(listed(Place::Device), DeviceFault::ALL.iter().map(|fault| fault.name()).collect());
        Ok(())
    }

    #[test]
    fn a_wrong_file_stops_only_its_own_place() {
        let files = [(Place::Model, FILES[0].1), (Place::Core, "[[fault]]\nname = 7\n")];
        let checks = suites::all();
        let error = Catalogue::read(&files, &checks).unwrap_err();
        assert!(error.starts_with("failed to read core.toml"), "{error}");
        let read = Catalogue::read(&files[..1], &checks).unwrap();
        assert_eq!(read, Catalogue::of_places(&BTreeSet::from([Place::Model]), &checks).unwrap());
    }

    #[test]
    fn an_id_names_its_place() {
        assert_eq!(Place::of_id("driver.dead"), Some(Place::Driver));
        assert_eq!(Place::of_id("driver"), None);
        assert_eq!(Place::of_id("over.dead"), None);
    }

    #[test]
    fn an_unknown_need_is_refused() {
        let entry = "name = 'a'\ndefect = 'b'\nbreaks = ['fsm.open.running']\norigin = 'c'\nneeds = 'luck'\n";
        let text = format!("[[fault]]\n{entry}");
        assert!(Catalogue::read(&[(Place::Core, &text)], &suites::all()).unwrap_err().contains("dma_logging"));
    }

    #[test]
    fn every_requirement_is_accounted_for() -> Result<(), String> {
        let catalogue = Catalogue::bundled(&suites::all())?;
        assert_eq!(catalogue.unaccounted(), BTreeSet::new());
        let proven = |id: &String| catalogue.faults.iter().any(|fault| fault.breaks.contains(id));
        let needless: Vec<_> = catalogue.unproven.keys().filter(|id| proven(id)).collect();
        assert_eq!(needless, Vec::<&String>::new(), "a fault breaks them now");
        Ok(())
    }
}
