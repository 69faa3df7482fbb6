//! Makes a bundle: the whole suite as often as asked, a walk, and all that belongs to it.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use time::{Date, OffsetDateTime};

use super::document::{Certificate, Environment, FORMAT, SuiteVersion, Tool, WalkAsked};
use super::files::{self, CERTIFICATE, CONFIGURATION, ENVIRONMENT, KERNEL_LOG, PACKED_CONFIGURATION, PROFILE};
use super::files::{STATEMENT, SUMS, WAIVERS};
use super::judge::{Part, PartName, judge};
use super::statement::{Facts, statement};
use super::verify;
use super::waiver::Waivers;
use crate::harness::folder_lock::{FolderLock, LockError};
use crate::harness::kernel_log;
use crate::harness::supervisor::{RunError, RunFolder, RunOptions, Walk, walk_silently, whole};
use crate::harness::verdict::Exit;
use crate::lab::{Lab, LabError, Progress, Surroundings};
use crate::report::{HTML, Run, write_whole};
use crate::uapi::stop::{self, StopSignal};

/// What to certify, and how.
#[derive(Debug)]
pub struct Order {
    /// Each run of the whole suite.
    pub suite: RunOptions,
    /// The command that repeats the walk.
    pub reproduce_walk: String,
    /// How often the whole suite runs.
    pub repetitions: u32,
    /// The walk behind that.
    pub walk: Walk,
    /// What is known and accepted.
    pub waivers: Option<Waivers>,
    /// The profile that was given.
    pub profile: Option<PathBuf>,
    /// What whoever tests the device says of its firmware.
    pub firmware: Option<String>,
    /// Whether this host's kernel log belongs to it: the device is in this kernel, and nobody wants it left out.
    pub has_kernel_log: bool,
}

/// Makes a new lab for each run.
pub trait Labs {
    /// A lab for this run, whose console goes to its folder.
    ///
    /// # Errors
    /// Why there is none.
    fn lab(&mut self, part: PartName, folder: &RunFolder) -> Result<Box<dyn Lab>, LabError>;
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertifyError {
    /// The folder holds something.
    #[error("failed to make a certificate in {}: the folder is not empty\n    choose another folder with --out", .0.display())]
    Occupied(PathBuf),
    /// Another certificate is made in the folder.
    #[error("failed to make a certificate in {}: another vfio-conform uses it\n    choose another folder with --out", .0.display())]
    InUse(PathBuf),
    /// It was asked to stop.
    #[error("there is no certificate, since it was asked to stop ({0}); each run so far has its reports")]
    Stopped(StopSignal),
    /// A waiver does not hold any more.
    #[error(
        "failed to make a certificate: the waiver of {0} expired on {1}\n    \
         take it out, or agree on another day and write it down"
    )]
    Expired(String, Date),
    /// A run could not begin, or not be written down.
    #[error("{0}")]
    Run(#[from] RunError),
    /// A file could not be read or written.
    #[error("failed to write the certificate: {}: {why}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system answered.
        why: io::Error,
    },
    /// The lab does not say where it is.
    #[error("failed to make a certificate: the lab did not say which kernel the device is in; run it again")]
    NoSurroundings,
    /// The driver kept the device from being opened.
    #[error("failed to make a certificate: the device could not be opened\n    {} has the finding", .0.display())]
    NotOpened(PathBuf),
    /// What was made is not what it should be.
    #[error("failed to make a certificate that verifies, which is a defect of vfio-conform; please report it:{}",
        .0.iter().map(|reason| format!("\n  - {reason}")).collect::<String>())]
    Defective(Vec<String>),
}

impl From<LabError> for CertifyError {
    fn from(error: LabError) -> CertifyError {
        CertifyError::Run(error.into())
    }
}

/// A certificate that was made.
#[derive(Debug)]
pub struct Made {
    /// The exit code of its verdict.
    pub exit: Exit,
    /// Its statement.
    pub statement: String,
}

/// Runs everything, and leaves a bundle in the folder, which must be empty or not be there yet.
///
/// # Errors
/// Why there is no certificate. What was run so far stays in the folder.
pub fn make(order: &Order, folder: &Path, labs: &mut dyn Labs) -> Result<Made, CertifyError> {
    let before = today();
    refuse_expired(order, before)?;
    let _lock = create(folder)?;
    let mut parts = Vec::new();
    let mut place: Option<Surroundings> = None;
    for number in 1..=order.repetitions {
        go_on()?;
        let (part, surroundings) = run_suite(order, folder, number, labs)?;
        let is_that_of_the_run =
            part.run.ready.as_ref().is_some_and(|ready| ready.kernel == surroundings.kernel.release);
        place = place.or(is_that_of_the_run.then_some(surroundings));
        parts.push(part);
    }
    go_on()?;
    parts.push(run_walk(order, folder, labs)?);
    if parts.iter().any(|part| part.run.stopped_by.is_some()) {
        go_on()?;
    }
    let place = place.ok_or(CertifyError::NoSurroundings)?;
    // Runs may take days, and the wall clock may be set either way meanwhile: the latest day that any of them saw counts.
    let day = parts.iter().filter_map(|part| verify::day(&part.run)).fold(before.max(today()), Date::max);
    refuse_expired(order, day)?;
    let made = seal(order, folder, &parts, place)?;
    let verification = verify::verify(folder, day).map_err(|error| CertifyError::Defective(vec![error.to_string()]))?;
    match verification.refusals.is_empty() {
        true => Ok(made),
        false => Err(CertifyError::Defective(verification.refusals.iter().map(ToString::to_string).collect())),
    }
}

fn today() -> Date {
    OffsetDateTime::now_utc().date()
}

fn refuse_expired(order: &Order, day: Date) -> Result<(), CertifyError> {
    match order.waivers.as_ref().and_then(|waivers| waivers.expired(day)) {
        Some(waiver) => Err(CertifyError::Expired(waiver.requirement().to_owned(), waiver.expires())),
        None => Ok(()),
    }
}

/// Nothing more is run for a certificate once it was asked to stop.
fn go_on() -> Result<(), CertifyError> {
    stop::requested().map_or(Ok(()), |signal| Err(CertifyError::Stopped(signal)))
}

fn create(folder: &Path) -> Result<FolderLock, CertifyError> {
    let failed = |why| CertifyError::File { path: folder.to_owned(), why };
    fs::create_dir_all(folder).map_err(failed)?;
    let lock = FolderLock::exclusive(folder).map_err(|error| match error {
        LockError::InUse => CertifyError::InUse(folder.to_owned()),
        LockError::Unreadable(why) => failed(why),
    })?;
    match fs::read_dir(folder).map_err(failed)?.next() {
        None => Ok(lock),
        Some(_) => Err(CertifyError::Occupied(folder.to_owned())),
    }
}

fn run_suite(
    order: &Order,
    folder: &Path,
    number: u32,
    labs: &mut dyn Labs,
) -> Result<(Part, Surroundings), CertifyError> {
    let name = PartName::Suite(number);
    let run_folder = RunFolder::create(Some(&folder.join(name.folder())))?;
    let lab = labs.lab(name, &run_folder)?;
    let mut told = Told::new(format!("{name} of {}", order.repetitions));
    let whole = whole(&order.suite, &run_folder, lab, &mut |over, check| told.tell(over, check))?;
    Ok((Part { name, run: opened(whole.run, &run_folder)? }, whole.surroundings))
}

fn run_walk(order: &Order, folder: &Path, labs: &mut dyn Labs) -> Result<Part, CertifyError> {
    let name = PartName::Walk;
    let run_folder = RunFolder::create(Some(&folder.join(name.folder())))?;
    let lab = labs.lab(name, &run_folder)?;
    // What a walk plays is chance, so it is asked for no level.
    let options = RunOptions { reproduce: order.reproduce_walk.clone(), require: None, ..order.suite.clone() };
    let run = walk_silently(&options, &run_folder, order.walk, lab)?;
    Ok(Part { name, run: opened(run, &run_folder)? })
}

/// Without a device there is nothing to certify, but a finding.
fn opened(run: Run, folder: &RunFolder) -> Result<Run, CertifyError> {
    match run.ready.is_some() {
        true => Ok(run),
        false => Err(CertifyError::NotOpened(folder.path().join(HTML))),
    }
}

/// Tells people how far a run is: often where it costs a line nothing, else now and then.
struct Told {
    what: String,
    progress: Option<Progress>,
    pause: Duration,
    last: Instant,
}

impl Told {
    fn new(what: String) -> Told {
        let seconds = if io::stderr().is_terminal() { 0 } else { 10 };
        Told { what, progress: None, pause: Duration::from_secs(seconds), last: Instant::now() }
    }

    fn tell(&mut self, over: usize, check: &str) {
        // The lab tells its own progress before the first check.
        let is_first = self.progress.is_none();
        let progress = self.progress.get_or_insert_default();
        if is_first || self.last.elapsed() >= self.pause {
            self.last = Instant::now();
            progress.step(&format!("{}: {over} checks are over, now {check}", self.what));
        }
    }
}

/// Writes all that comes beside the runs.
fn seal(order: &Order, folder: &Path, parts: &[Part], place: Surroundings) -> Result<Made, CertifyError> {
    let write = |name: &str, bytes: &[u8]| {
        write_whole(folder, name, bytes).map_err(|why| CertifyError::File { path: folder.join(name), why })
    };
    let waivers = order.waivers.as_ref();
    if let Some(waivers) = waivers {
        write(WAIVERS, waivers.text.as_bytes())?;
    }
    if let Some(profile) = &order.profile {
        write(PROFILE, &read(profile)?)?;
    }
    if let Some(configuration) = &place.configuration {
        let is_packed = configuration.extension().is_some_and(|extension| extension == "gz");
        write(if is_packed { PACKED_CONFIGURATION } else { CONFIGURATION }, &read(configuration)?)?;
    }
    if let Some(log) = order.has_kernel_log.then(kernel_log::whole).flatten() {
        write(KERNEL_LOG, log.as_bytes())?;
    }
    let failed = |why| CertifyError::File { path: folder.to_owned(), why };
    let tool = Tool::this().map_err(failed)?;
    let environment =
        Environment { tool, kernel: place.kernel, hardware: place.hardware, firmware_stated: order.firmware.clone() };
    write(ENVIRONMENT, &json(&environment).map_err(failed)?)?;

    let waivers = waivers.map(|waivers| waivers.all.as_slice()).unwrap_or_default();
    let judgement = judge(parts, waivers, &environment);
    let mut listed = files::list(folder).map_err(failed)?.files;
    listed.extend([CERTIFICATE.to_owned(), STATEMENT.to_owned()]);
    let certificate = Certificate {
        format: FORMAT,
        suite: SuiteVersion::current(),
        device: order.suite.device.clone(),
        strict: order.suite.strict,
        require: order.suite.require,
        level: judgement.coverage.and_then(|coverage| coverage.level),
        repetitions: order.repetitions,
        walk: WalkAsked::from(order.walk),
        verdict: judgement.verdict,
        exit: judgement.exit,
        files: listed.iter().cloned().collect(),
    };
    write(CERTIFICATE, &json(&certificate).map_err(failed)?)?;
    let text = statement(&Facts {
        certificate: &certificate,
        environment: &environment,
        parts,
        waivers,
        judgement: &judgement,
    });
    write(STATEMENT, text.as_bytes())?;
    // Last, so that a folder without them is known not to be finished.
    write(SUMS, files::sums(folder, &listed).map_err(failed)?.as_bytes())?;
    Ok(Made { exit: judgement.exit, statement: text })
}

fn read(path: &Path) -> Result<Vec<u8>, CertifyError> {
    fs::read(path).map_err(|why| CertifyError::File { path: path.to_owned(), why })
}

fn json(value: &impl serde::Serialize) -> io::Result<Vec<u8>> {
    let mut json = serde_json::to_vec_pretty(value)?;
    json.push(b'\n');
    Ok(json)
}
