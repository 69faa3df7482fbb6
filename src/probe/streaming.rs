//! The whole of device memory out and in again: bit for bit, how fast, and at what cost in memory.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde::Serialize;

use super::registers::Registers;
use super::{Doing, ProbeError};
use crate::device::Device;
use crate::harness::stream::{CHUNK_BYTES, Moved, StreamEnd, drain_into, feed_from};
use crate::uapi::feature::{Feature, FeatureCall, MigState, Verb};
use crate::uapi::state::State;
use crate::uapi::stream::DataFd;
use crate::uapi::vfio_device::VfioDevice;

/// Each way of reading is taken so often, in turns; the best of each counts, which is the one that was disturbed least.
const ROUNDS: usize = 5;
const SEED: u32 = 0x5eed;
/// Where the stream is kept: files of the guest are memory, but not ours.
const KEPT: &str = "/tmp/stream";

/// What was seen.
#[derive(Debug, Serialize)]
pub struct Streaming {
    /// Bytes of the stream.
    bytes: u64,
    /// MB/s of a plain loop of `read` in C, a round each.
    plain: Vec<f64>,
    /// MB/s of the harness.
    harness: Vec<f64>,
    /// MB/s of the harness into a file and a hash.
    save: f64,
    /// MB/s from that file into the device.
    load: f64,
    /// Seconds that the device took to accept what was loaded.
    commit_seconds: f64,
    /// The device's own digest of its memory: as saved, after a reset, as loaded.
    digests: [u32; 3],
    /// Hashes of the stream that was saved, and of one saved from what was loaded.
    streams: [u64; 2],
    /// The most memory that this process had at once before the first stream, and after the last, in KiB.
    peaks_kib: [u64; 2],
}

/// Streams the device's memory in every way.
pub fn run(device: &dyn Device, plain: Option<&Path>) -> Result<Streaming, ProbeError> {
    let registers = Registers::of(device);
    registers.fill(SEED)?;
    let before = registers.digest()?;
    let first_peak = peak_kib()?;
    let (mut plain_speeds, mut speeds) = (Vec::new(), Vec::new());
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        if let Some(plain) = plain {
            plain_speeds.push(read_plainly(device, plain)?);
        }
        let (moved, speed) = read(device, &mut io::sink())?;
        bytes = moved.bytes;
        speeds.push(speed);
    }

    let mut kept = Hashed {
        file: Some(File::create(KEPT).map_err(|error| ProbeError::other("keep the stream", error))?),
        hash: START,
    };
    let (_, save) = read(device, &mut kept)?;
    device.reset().doing("reset the device")?;
    let after_reset = registers.digest()?;
    let (load, commit_seconds) = load(device)?;
    let mut again = Hashed { file: None, hash: START };
    read(device, &mut again)?;
    set_state(device, State::Running)?;
    Ok(Streaming {
        bytes,
        plain: plain_speeds,
        harness: speeds,
        save,
        load,
        commit_seconds,
        digests: [before, after_reset, registers.digest()?],
        streams: [kept.hash, again.hash],
        peaks_kib: [first_peak, peak_kib()?],
    })
}

/// Saves the device through the harness' reader; the device stays in STOP.
fn read(device: &dyn Device, sink: &mut dyn Write) -> Result<(Moved, f64), ProbeError> {
    let stream = save_session(device)?;
    let began = Instant::now();
    let moved = drain_into(&stream, sink, u64::MAX).map_err(|error| ProbeError::other("keep the stream", error))?;
    let speed = megabytes(moved.bytes) / began.elapsed().as_secs_f64();
    if moved.end != StreamEnd::Permanent {
        return Err(ProbeError::other("read the stream", format!("it ended with {}", moved.end)));
    }
    set_state(device, State::Stop)?;
    Ok((moved, speed))
}

/// Saves the device through a loop of `read` on the same kind of descriptor, and returns its MB/s.
fn read_plainly(device: &dyn Device, program: &Path) -> Result<f64, ProbeError> {
    let failed = |error: io::Error| ProbeError::other("read the stream plainly", error);
    let stream = save_session(device)?;
    let output = Command::new(program)
        .arg(CHUNK_BYTES.to_string())
        .stdin(Stdio::from(stream.into_fd()))
        .stderr(Stdio::inherit())
        .output()
        .map_err(failed)?;
    let said = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<u64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [bytes, nanoseconds] = numbers[..] else {
        return Err(ProbeError::other("read the stream plainly", format!("it said {said:?} ({})", output.status)));
    };
    set_state(device, State::Stop)?;
    Ok(megabytes(bytes) / (nanoseconds as f64 / 1e9))
}

/// Loads what was kept; the device stays in STOP. Returns MB/s, and the seconds of the transition that commits.
fn load(device: &dyn Device) -> Result<(f64, f64), ProbeError> {
    let mut file = File::open(KEPT).map_err(|error| ProbeError::other("read what was kept", error))?;
    let stream = session(device, State::Resuming)?;
    let began = Instant::now();
    let written = feed_from(&stream, &mut file).map_err(|error| ProbeError::other("load the device", error))?;
    let speed = megabytes(written) / began.elapsed().as_secs_f64();
    let began = Instant::now();
    set_state(device, State::Stop)?;
    Ok((speed, began.elapsed().as_secs_f64()))
}

fn save_session(device: &dyn Device) -> Result<DataFd, ProbeError> {
    session(device, State::StopCopy)
}

fn session(device: &dyn Device, state: State) -> Result<DataFd, ProbeError> {
    match set_state(device, state)? {
        number if number >= 0 => Ok(VfioDevice::data_fd(number)),
        _ => Err(ProbeError::other(&format!("enter {state}"), "there came no data_fd")),
    }
}

fn set_state(device: &dyn Device, state: State) -> Result<i32, ProbeError> {
    let wanted = MigState { device_state: state.number(), data_fd: -1 };
    let mut call = FeatureCall::new(Feature::MigDeviceState, Verb::Set).with_payload(wanted.to_bytes());
    device.feature(&mut call).doing(&format!("enter {state}"))?;
    let answer = MigState::from_bytes(&call.payload);
    Ok(answer.map_or(-1, |answer| answer.data_fd))
}

fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// The most memory that this process ever had, as the kernel counts it.
fn peak_kib() -> Result<u64, ProbeError> {
    let status =
        fs::read_to_string("/proc/self/status").map_err(|error| ProbeError::other("read our own peak", error))?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok());
    kib.ok_or_else(|| ProbeError::other("read our own peak", "the kernel does not tell"))
}

const START: u64 = 0xcbf2_9ce4_8422_2325;

/// Hashes what it is given, and keeps it in a file if there is one.
struct Hashed {
    file: Option<File>,
    hash: u64,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(file) = &mut self.file {
            file.write_all(bytes)?;
        }
        // Chunks come in the same sizes both times: a file descriptor that gives all that was asked for.
        for word in bytes.chunks(8) {
            let mut eight = [0; 8];
            eight[..word.len()].copy_from_slice(word);
            self.hash = (self.hash ^ u64::from_le_bytes(eight)).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
