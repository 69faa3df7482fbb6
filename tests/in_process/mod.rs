//! Checks on the model in this process: no executor, no journal, nothing between the test and the bench.

use vfio_conform::device::model::{ModelDevice, ModelSpec};
use vfio_conform::harness::bench::{Bench, Host};
use vfio_conform::harness::record::Recorder;

/// A bench with a model that was just opened.
pub fn bench(spec: ModelSpec) -> Bench {
    let tracer = Err("the model has no kernel".to_owned());
    Bench::new(Box::new(ModelDevice::new(spec)), Host::NEWEST, tracer, Recorder::new(None))
}
