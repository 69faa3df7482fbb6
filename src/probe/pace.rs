//! What a walk costs above the calls that it makes: the engine against a plain loop in C that makes the same calls.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::ProbeError;
use super::transcript::{Recorded, Transcript};
use crate::device::Device;
use crate::harness::bench::{Bench, Host, KernelVersion};
use crate::harness::executor;
use crate::harness::keeper::{ExecutorSpec, Keeper};
use crate::harness::record::Recorder;
use crate::harness::verdict::Verdict;
use crate::harness::wire::Done;
use crate::lab::pci;
use crate::suites::walk::{DEADLINE, Order, on_demand};
use crate::walk::SEGMENT;

/// What is walked: segments of this seed, but for what the plain loop does not do.
const SEED: u64 = 1;
const SEGMENTS: u64 = 5;
/// Each way is taken so often, in turns.
const ROUNDS: usize = 4;
const TRANSCRIPT: &str = "/tmp/transcript";
const DATA: &str = "/tmp/transcript.data";
const OPEN_DEADLINE: Duration = Duration::from_secs(60);

/// What was seen.
#[derive(Debug, Serialize)]
pub struct Pace {
    /// Steps of the walk.
    steps: u64,
    /// Calls that they make.
    calls: u64,
    /// What was asked of the device that the plain loop does not do.
    unsaid: Vec<&'static str>,
    /// Calls that were answered otherwise in the plain loop, a round each.
    differing: Vec<u64>,
    /// Seconds of the walk, by keeper and executor as in every run, a round each.
    walk: Vec<f64>,
    /// Seconds of the plain loop.
    plain: Vec<f64>,
}

/// Walks in both ways.
pub fn run(device: Box<dyn Device>, plain: Option<&Path>) -> Result<Pace, ProbeError> {
    let plain = plain.ok_or_else(|| ProbeError::other("compare", "there is no plain program; give it with --plain"))?;
    let transcript = write_down(device)?;
    let mut pace = Pace {
        steps: SEGMENTS * SEGMENT as u64,
        calls: 0,
        unsaid: transcript.unsaid,
        differing: Vec::new(),
        walk: Vec::new(),
        plain: Vec::new(),
    };
    for _ in 0..ROUNDS {
        pace.walk.push(walk()?);
        let (calls, seconds, differing) = walk_plainly(plain)?;
        pace.calls = calls;
        pace.plain.push(seconds);
        pace.differing.push(differing);
    }
    Ok(pace)
}

fn orders() -> impl Iterator<Item = String> {
    (0..SEGMENTS).map(|segment| Order::Everyday { seed: SEED, segment }.to_string())
}

/// Walks once with a device that writes down what is asked of it, into the files that the plain program reads.
fn write_down(device: Box<dyn Device>) -> Result<Transcript, ProbeError> {
    let (recorded, transcript) = Recorded::new(device);
    let kernel = KernelVersion::parse(&executor::kernel_release()).unwrap_or(KernelVersion::NEWEST);
    let host = Host { kernel, may_hang: false, wear: None, patience: Host::PATIENCE };
    let mut bench = Bench::new(Box::new(recorded), host, Err("nobody looks".to_owned()), Recorder::new(None));
    for order in orders() {
        let ran = executor::run(&mut bench, on_demand(&order).as_ref());
        passed(&Done { outcome: ran.outcome, lost: ran.lost })?;
    }
    drop(bench);
    let transcript = std::mem::take(&mut *transcript.lock().unwrap_or_else(PoisonError::into_inner));
    fs::write(TRANSCRIPT, &transcript.calls)
        .and_then(|()| fs::write(DATA, &transcript.data))
        .map_err(|error| ProbeError::other("keep the transcript", error))?;
    Ok(transcript)
}

/// Walks as every run does: an executor in a process of its own, and its keeper.
fn walk() -> Result<f64, ProbeError> {
    let spec = ExecutorSpec {
        device: pci::address(0),
        via: None,
        profile: None,
        force_profile: false,
        may_hang: false,
        wear: None,
        deadline: DEADLINE,
        open_deadline: OPEN_DEADLINE,
    };
    let failed = |why: &dyn std::fmt::Display| ProbeError::other("start an executor", why);
    let mut keeper = Keeper::new("/init".into(), spec, None).map_err(|error| failed(&error))?;
    keeper.start().map_err(|error| failed(&error))?;
    let began = Instant::now();
    for order in orders() {
        passed(&keeper.run(&order))?;
    }
    let seconds = began.elapsed().as_secs_f64();
    keeper.stop();
    Ok(seconds)
}

fn passed(done: &Done) -> Result<(), ProbeError> {
    match done.outcome.verdict {
        Verdict::Pass => Ok(()),
        verdict => Err(ProbeError::other("walk", format!("{verdict}: {}", done.outcome.message))),
    }
}

/// Makes the same calls in the plain program. Returns how many, in how many seconds, and how many were answered otherwise.
fn walk_plainly(program: &Path) -> Result<(u64, f64, u64), ProbeError> {
    let failed = |why: &dyn std::fmt::Display| ProbeError::other("make the calls plainly", why);
    let mut command = Command::new(program);
    command.args([&pci::address(0), TRANSCRIPT, DATA]).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().map_err(|error| failed(&error))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<u64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [calls, nanoseconds, differing] => Ok((calls, nanoseconds as f64 / 1e9, differing)),
        _ => Err(failed(&format!("it said {said:?} ({})", output.status))),
    }
}
