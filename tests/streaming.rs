//! 512 MiB of device memory, out and in again in a real guest: bit for bit, as fast as a plain loop of `read`, and in
//! little memory.
//!
//! It needs the environment of the qemu lab, a C compiler with a static libc, and minutes, so it is run on demand:
//! `VFIO_CONFORM=<release build> cargo test --test streaming -- --ignored --nocapture`. Without `VFIO_CONFORM` the program is the
//! one that cargo has just built.

mod plain;

use std::error::Error;

use serde_json::Value;

const MEMORY: &str = "512M";
const MEMORY_BYTES: u64 = 512 << 20;
/// What of the plain loop's speed the harness has to reach.
const LEAST_RATIO: f64 = 0.9;
/// What the harness may need more at its peak for streaming than before it: some chunks, and no part of the stream.
const PEAK_KIB: u64 = 2048;

fn best(seen: &Value, key: &str) -> Result<f64, Box<dyn Error>> {
    let speeds = seen[key].as_array().ok_or("no speeds")?.iter().filter_map(Value::as_f64);
    speeds.max_by(f64::total_cmp).ok_or_else(|| format!("no speed of {key}").into())
}

#[test]
#[ignore = "streams gigabytes in a guest"]
fn half_a_gibibyte_comes_back_as_fast_as_it_can_be_read() -> Result<(), Box<dyn Error>> {
    let seen = plain::compare("streaming", "plain-read", &["--device-memory", MEMORY])?;

    assert!(seen["bytes"].as_u64() > Some(MEMORY_BYTES), "not all of the memory was streamed");
    let digests = &seen["digests"];
    assert_ne!(digests[0], digests[1], "the reset left what was to be restored");
    assert_eq!(digests[0], digests[2], "device memory came back otherwise than it was");
    assert_eq!(seen["streams"][0], seen["streams"][1], "what was restored does not save the same stream");

    let (harness, plain) = (best(&seen, "harness")?, best(&seen, "plain")?);
    let ratio = harness / plain;
    println!("harness {harness:.0} MB/s, plain loop {plain:.0} MB/s, ratio {ratio:.2}");
    assert!(ratio >= LEAST_RATIO, "{ratio:.2} of the plain loop's speed");

    let [before, after] = [0, 1].map(|index| seen["peaks_kib"][index].as_u64().unwrap_or_default());
    assert!(before > 0 && after <= before + PEAK_KIB, "the peak grew from {before} KiB to {after} KiB");
    Ok(())
}
