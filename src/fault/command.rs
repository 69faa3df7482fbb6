//! `vfio-conform faults`: the command line of the proof.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, Subcommand};

use super::catalogue::{Catalogue, Fault, Place};
use super::lane::{GuestLane, Lane, ModelLane};
use super::matrix::Matrix;
use super::run::{self, Forecast, Tried};
use crate::baseline::BaselineOptions;
use crate::harness::check::Check;
use crate::harness::folder_lock::FolderLock;
use crate::harness::verdict::Exit;
use crate::lab::qemu::QemuOptions;
use crate::report::write_whole;
use crate::suites;
use crate::uapi::stop;

/// What is asked about faults.
#[derive(Debug, Subcommand)]
pub enum FaultsCommand {
    /// List the faults, and what each breaks.
    #[command(after_help = LIST_EXAMPLE)]
    List(Which),
    /// Switch faults on, one after another, and see whether the checks say so.
    #[command(after_help = RUN_EXAMPLES)]
    Run(Box<RunFaults>),
}

/// What `vfio-conform faults --help` ends with.
pub const EXAMPLE: &str = "\
Example:
  vfio-conform faults run --place model                    all defects of the model, and what notices each";

const LIST_EXAMPLE: &str = "\
Example:
  vfio-conform faults list --place driver                  what can be broken in the variant driver";

const RUN_EXAMPLES: &str = "\
Examples:
  vfio-conform faults run --place model                    those that need no guest
  vfio-conform faults run --only eos                       those with these letters in their id
  vfio-conform faults run --only model.crash --full        all checks on one fault
  vfio-conform faults run --kernel debug-7.3 --only .log-  on a kernel that has DMA logging";

/// Which faults.
#[derive(Debug, Args)]
pub struct Which {
    /// Only those with these letters in their id; may be given again
    #[arg(long, value_name = "PART")]
    only: Vec<String>,
    /// Only those that live there; may be given again
    #[arg(long, value_enum)]
    place: Vec<Place>,
}

/// How faults are tried.
#[derive(Debug, Args)]
pub struct RunFaults {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    guest: QemuOptions,
    #[command(flatten)]
    baseline: BaselineOptions,
    /// Run all checks on each fault, not only those that should notice it
    #[arg(long)]
    full: bool,
    /// Folder of faults.json and faults.html
    #[arg(long, value_name = "DIR", default_value = "reports/out/faults")]
    out: PathBuf,
}

impl Which {
    /// The places that can have a fault which is meant.
    fn places(&self) -> BTreeSet<Place> {
        // Letters that name no place can be those of any.
        let named: Option<BTreeSet<Place>> = self.only.iter().map(|part| Place::of_id(part)).collect();
        let named = named.filter(|named| !named.is_empty()).unwrap_or_else(|| Place::ALL.into());
        named.into_iter().filter(|place| self.place.is_empty() || self.place.contains(place)).collect()
    }

    fn of<'a>(&self, catalogue: &'a Catalogue) -> Vec<&'a Fault> {
        let is_wanted = |fault: &&Fault| {
            (self.only.is_empty() || self.only.iter().any(|part| fault.is_meant_by(part)))
                && (self.place.is_empty() || self.place.contains(&fault.place))
        };
        catalogue.faults.iter().filter(is_wanted).collect()
    }
}

impl FaultsCommand {
    /// Does it.
    ///
    /// # Errors
    /// Why it cannot be done.
    pub fn run(&self) -> Result<Exit, Box<dyn std::error::Error>> {
        let checks = suites::all();
        let which = match self {
            FaultsCommand::List(which) => which,
            FaultsCommand::Run(options) => &options.which,
        };
        let catalogue = Catalogue::of_places(&which.places(), &checks)?;
        match self {
            FaultsCommand::List(which) => Ok(list(&which.of(&catalogue))),
            FaultsCommand::Run(options) => options.run(&catalogue, &checks),
        }
    }
}

fn list(faults: &[&Fault]) -> Exit {
    for fault in faults {
        println!("{}\n    {}\n    breaks {}", fault.id(), fault.defect, fault.breaks.join(", "));
    }
    println!("\n{} faults", faults.len());
    Exit::Conforms
}

impl RunFaults {
    fn lane(&self, kind: LaneKind) -> Result<Box<dyn Lane>, Box<dyn std::error::Error>> {
        Ok(match kind {
            LaneKind::Model => Box::new(ModelLane::default()),
            LaneKind::Guest => {
                let options = QemuOptions { devices: Some(1), ..self.guest.clone() };
                let baseline = self.baseline.read()?.unwrap_or_default();
                Box::new(GuestLane::new(options, self.out.join("console.log"), baseline))
            }
        })
    }

    fn run(&self, catalogue: &Catalogue, checks: &[Check]) -> Result<Exit, Box<dyn std::error::Error>> {
        let faults = self.which.of(catalogue);
        if faults.is_empty() {
            return Err("failed to find a fault: none is meant by these options; see vfio-conform faults list".into());
        }
        let _lock = make_folder(&self.out)?;
        let began = Instant::now();
        let mut forecast = Forecast::new(faults.len());
        let mut tried: Vec<Tried> = Vec::new();
        for (kind, faults) in by_lane(&faults) {
            let mut lane = self.lane(kind)?;
            tried.extend(run::run(lane.as_mut(), &faults, checks, self.full, &mut forecast));
        }
        forecast.progress().clear();
        let (over, all) = (tried.len(), faults.len());
        let matrix = Matrix::new(tried, began.elapsed().as_secs_f64());
        write(&self.out, &matrix)?;
        print!("{}", matrix.to_text());
        println!("reports      {}: faults.html, faults.json", self.out.display());
        if let Some(signal) = stop::requested().filter(|_| over < all) {
            println!("stopped      after {over} of {all} faults ({signal}; exit code {})", Exit::Unfinished as u8);
            return Ok(Exit::Unfinished);
        }
        Ok(matrix.exit())
    }
}

/// The faults of each lane, in the order of the catalogue; those that need another capability set come last, since each set
/// takes a guest.
fn by_lane<'a>(faults: &[&'a Fault]) -> Vec<(LaneKind, Vec<&'a Fault>)> {
    let of = |kind| {
        let mut faults: Vec<&Fault> =
            faults.iter().copied().filter(|fault| LaneKind::of(fault.place) == kind).collect();
        faults.sort_by_key(|fault| fault.caps.map(|caps| caps.to_string()));
        faults
    };
    let groups = [LaneKind::Model, LaneKind::Guest].map(|kind| (kind, of(kind)));
    groups.into_iter().filter(|(_, faults): &(LaneKind, Vec<&Fault>)| !faults.is_empty()).collect()
}

/// The places whose faults one lane has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LaneKind {
    Model,
    Guest,
}

impl LaneKind {
    /// The cheapest lane that has faults of this place.
    fn of(place: Place) -> LaneKind {
        match place {
            Place::Model => LaneKind::Model,
            Place::Device | Place::Driver | Place::Core => LaneKind::Guest,
        }
    }
}

fn make_folder(folder: &Path) -> Result<FolderLock, String> {
    fs::create_dir_all(folder).map_err(|error| unwritable(folder, &error))?;
    FolderLock::exclusive(folder).map_err(|error| unwritable(folder, &error))
}

fn unwritable(folder: &Path, error: &dyn std::error::Error) -> String {
    format!("failed to write {}: {error}\n    choose another folder with --out", folder.display())
}

fn write(folder: &Path, matrix: &Matrix) -> Result<(), String> {
    let json = serde_json::to_vec_pretty(matrix).map_err(|error| unwritable(folder, &error))?;
    let failed = |error| unwritable(folder, &error);
    write_whole(folder, "faults.json", &json).map_err(failed)?;
    write_whole(folder, "faults.html", matrix.to_html().as_bytes()).map_err(failed)
}
