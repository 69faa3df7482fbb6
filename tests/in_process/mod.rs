//! Checks on the model in this process: no executor, no journal, nothing between the test and the bench.

use std::time::Duration;

use vfio_conform::device::model::{ModelDevice, ModelSpec};
use vfio_conform::harness::bench::{Bench, Host};
use vfio_conform::harness::record::Recorder;

/// A bench with a model that was just opened. Sleepers that nobody wakes are given up after this time.
pub fn bench(spec: ModelSpec, patience: Duration) -> Bench {
    let tracer = Err("the model has no kernel".to_owned());
    let host = Host { patience, ..Host::NEWEST };
    Bench::new(Box::new(ModelDevice::new(spec)), host, tracer, Recorder::new(None))
}
