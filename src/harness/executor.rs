//! The executor: the process that holds the device open and runs checks one at a time.
//!
//! It knows nothing of deadlines, journals or other checks. Whoever started it ends it, or sees it die.

use std::collections::HashMap;
use std::io::{stdin, stdout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use nix::sys::prctl;
use nix::sys::signal::Signal;

use crate::device::{self, DeviceName, Via};
use crate::stimulus::profile::Profile;
use crate::suites;
use crate::uapi::process::is_short_of_descriptors;

use super::bench::{Bench, Host, KernelVersion, Migration, Ran};
use super::check::Check;
use super::journal::LabReady;
use super::kernel_log;
use super::outcome::Outcome;
use super::record::Recorder;
use super::slot::Slot;
use super::trace::Tracer;
use super::verdict::Verdict;
use super::wire::{Done, Receiver, Reply, Request, WireError, send};

/// The word that makes this program an executor.
pub const SUBCOMMAND: &str = "executor";

/// How an executor is started.
#[derive(Debug, Clone, clap::Args)]
pub struct ExecutorArguments {
    /// The device to open.
    #[arg(long)]
    pub device: DeviceName,
    /// The way to open it.
    #[arg(long)]
    pub via: Option<Via>,
    /// Make calls that are known to wedge this kernel.
    #[arg(long)]
    pub may_hang: bool,
    /// How many sessions each batch of the wear chapter has.
    #[arg(long)]
    pub wear: Option<usize>,
    /// How to stimulate the device.
    #[arg(long)]
    pub profile: Option<PathBuf>,
    /// Play that profile whatever device it is for.
    #[arg(long)]
    pub force_profile: bool,
    /// Memory that outlives us, for the record of operations.
    #[arg(long)]
    pub record: PathBuf,
    /// Which slot of it is ours.
    #[arg(long)]
    pub slot: usize,
}

/// Opens the device, says so on standard output, and runs the checks that standard input names until it ends.
///
/// # Errors
/// What talking to the keeper answered.
pub fn serve(arguments: &ExecutorArguments) -> Result<(), WireError> {
    // An executor that nobody keeps would hold the device for ever. It asks for this itself, since having it done
    // between fork and exec takes more of a small guest's kernel than we want to ask for.
    prctl::set_pdeathsig(Signal::SIGKILL).map_err(|errno| WireError::Io(errno.into()))?;
    let mut bench = match open(arguments) {
        Ok(bench) => bench,
        Err(why) => return Ok(send(stdout(), &Reply::NotReady(why))?),
    };
    send(stdout(), &Reply::Ready(Box::new(ready(&bench))))?;
    let checks: HashMap<String, Check> =
        suites::all().into_iter().map(|check| (check.name().to_owned(), check)).collect();
    let mut requests = Receiver::new(stdin());
    loop {
        let name = match requests.receive_next() {
            Ok(Request::Run(name)) => name,
            Ok(Request::End) | Err(WireError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        };
        let on_demand = suites::walk::on_demand(&name);
        let ran = run(&mut bench, checks.get(&name).or(on_demand.as_ref()));
        let done = Box::new(Done { outcome: ran.outcome, lost: ran.lost });
        if is_short_of_descriptors() {
            return Ok(send(stdout(), &Reply::Last(done))?);
        }
        send(stdout(), &Reply::Done(done))?;
    }
}

fn open(arguments: &ExecutorArguments) -> Result<Bench, String> {
    let slot = Slot::open(&arguments.record, arguments.slot);
    let slot = slot.map_err(|error| format!("failed to open the record of operations: {error}"))?;
    let profile = arguments.profile.as_deref().map(Profile::read).transpose().map_err(|error| error.to_string())?;
    let profile = profile.map(|profile| profile.forced(arguments.force_profile));
    let device = device::open(&arguments.device, arguments.via, profile).map_err(|error| error.to_string())?;
    let (kernel, tracer) = match &arguments.device {
        DeviceName::Model(_) => (KernelVersion::NEWEST, Err("the model has no kernel".to_owned())),
        DeviceName::Kernel(_) => {
            let version = KernelVersion::parse(&kernel_release());
            (version.unwrap_or(KernelVersion::NEWEST), Tracer::start())
        }
    };
    let host = Host { kernel, may_hang: arguments.may_hang, wear: arguments.wear, patience: Host::PATIENCE };
    // What calibrating takes is no time of the check that it is done for. A keeper that is gone hears nothing.
    let announce = || drop(send(stdout(), &Reply::Calibrating));
    Ok(Bench::new(device, host, tracer, Recorder::new(Some(slot))).announcing(announce))
}

fn ready(bench: &Bench) -> LabReady {
    LabReady {
        kernel: kernel_release(),
        identity: bench.identity().clone(),
        beside: Vec::new(),
        capabilities: match bench.migration() {
            Migration::Has(set) => Some(set),
            Migration::Absent | Migration::Nonsense(_) => None,
        },
        accelerator: None,
        tracing: bench.tracing(),
        taint: kernel_log::taint(),
    }
}

/// `uname -r`.
pub fn kernel_release() -> String {
    nix::sys::utsname::uname().map(|name| name.release().to_string_lossy().into_owned()).unwrap_or_default()
}

/// Runs one check; a panic inside it stays inside it.
pub fn run(bench: &mut Bench, check: Option<&Check>) -> Ran {
    let Some(check) = check else {
        return Ran {
            outcome: Outcome::without_judgement(
                Verdict::Blocked,
                "this executor has no such check; supervisor and executor are of different versions",
            ),
            lost: None,
        };
    };
    catch_unwind(AssertUnwindSafe(|| bench.run(check))).unwrap_or_else(|panic| {
        let what = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        let why = format!("the check itself panicked ({what}); please report it");
        Ran { outcome: Outcome::without_judgement(Verdict::Blocked, why.clone()), lost: Some(why) }
    })
}
