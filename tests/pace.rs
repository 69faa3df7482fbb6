//! A random walk in a real guest costs little more than a plain loop in C that makes the same calls.
//!
//! It needs the environment of the qemu lab and a C compiler with a static libc. `VFIO_CONFORM=<release build> cargo test
//! --test pace -- --ignored --nocapture`. Without `VFIO_CONFORM` the program is the one that cargo has just built.

mod plain;
mod trials;

use std::error::Error;

use serde_json::Value;

use trials::{Retries, Try};

/// What the walk may take, in times of the plain loop.
const MOST_RATIO: f64 = 1.2;
/// Of so many calls one may be answered otherwise the second time: a poll sees what has come by then.
const ONE_OF: u64 = 200;
/// Each try takes the best of several walks, so that only a machine that is busy throughout misses.
const RETRIES: Retries = Retries {
    tries: 3,
    since: "a machine may do something else throughout a try",
    a_miss_means: "a walk costs more than the bound allows",
};

fn least(seen: &Value, key: &str) -> Result<f64, Box<dyn Error>> {
    let times = seen[key].as_array().ok_or("no times")?.iter().filter_map(Value::as_f64);
    times.min_by(f64::total_cmp).ok_or_else(|| format!("no time of the {key}").into())
}

#[test]
#[ignore = "boots a guest"]
fn a_walk_costs_little_more_than_its_calls() -> Result<(), Box<dyn Error>> {
    RETRIES.run("a_walk_costs_little_more_than_its_calls", || {
        let seen = plain::compare("pace", "plain-calls", &[])?;
        assert_eq!(seen["unsaid"].as_array().map(Vec::len), Some(0), "the plain loop does not make every call");
        let calls = seen["calls"].as_u64().unwrap_or_default();
        assert!(Some(calls) > seen["steps"].as_u64(), "{calls} calls are too few");
        for differing in seen["differing"].as_array().into_iter().flatten().filter_map(Value::as_u64) {
            assert!(differing * ONE_OF <= calls, "{differing} of {calls} calls were answered otherwise");
        }
        let (walk, plain) = (least(&seen, "walk")?, least(&seen, "plain")?);
        let told = format!("{calls} calls: walk {walk:.3} s, plain loop {plain:.3} s, ratio {:.2}", walk / plain);
        println!("{told}");
        Ok(if walk <= MOST_RATIO * plain { Try::Right(()) } else { Try::Missed(told) })
    })
}
