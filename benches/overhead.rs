//! What a check costs above its device calls, on the model.
//!
//! `cargo bench` reports two times of the same device calls, those of `fsm::running_to_stop_copy` with all that brings
//! the device there and back:
//!
//! - `device_calls`: made directly;
//! - `check`: made by the check on its bench, which also routes, records, judges, and puts the device back.
//!
//! The difference is the overhead of one check inside the executor. `check_through_the_executor` adds the way through
//! the keeper: a request and a result as JSON over pipes, and a look at the kernel log. A real device takes from
//! milliseconds to seconds for the same calls, so the overhead is to stay far below a millisecond.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

use vfio_conform::device::Device;
use vfio_conform::device::model::{ModelDevice, ModelSpec};
use vfio_conform::harness::bench::{Bench, Host};
use vfio_conform::harness::check::Check;
use vfio_conform::harness::keeper::{ExecutorSpec, Keeper};
use vfio_conform::harness::record::Recorder;
use vfio_conform::harness::verdict::Verdict;
use vfio_conform::suites;
use vfio_conform::uapi::state::State;

/// A combination that goes through two states and brings a data_fd.
const CHECK: &str = "fsm::running_to_stop_copy";

fn overhead(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(CHECK);
    group.sample_size(50).warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(4));

    let device = ModelDevice::new(ModelSpec::default());
    group.bench_function("device_calls", |bencher| bencher.iter(|| device_calls(&device)));

    let check = representative();
    let mut bench = bench();
    group.bench_function("check", |bencher| {
        bencher.iter(|| assert_eq!(bench.run(&check).outcome.verdict, Verdict::Pass));
    });

    let mut keeper = keeper();
    group.bench_function("check_through_the_executor", |bencher| {
        bencher.iter(|| assert_eq!(keeper.run(CHECK).outcome.verdict, Verdict::Pass));
    });
    group.finish();
}

/// The calls that the check makes, in its order.
fn device_calls(device: &dyn Device) {
    let state_is = |state: State| assert_eq!(device.state().map(|answer| answer.device_state), Ok(state.number()));
    let session = device.set_state(State::StopCopy.number()).map(|transition| transition.stream);
    state_is(State::StopCopy);
    drop(black_box(session));
    state_is(State::StopCopy);
    assert_eq!(device.reset(), Ok(0));
    state_is(State::Running);
}

fn representative() -> Check {
    suites::all().into_iter().find(|check| check.name() == CHECK).expect("the check is there")
}

fn bench() -> Bench {
    let tracer = Err("the model has no kernel".to_owned());
    Bench::new(Box::new(ModelDevice::new(ModelSpec::default())), Host::NEWEST, tracer, Recorder::new(None))
}

fn keeper() -> Keeper {
    let spec = ExecutorSpec {
        device: "model".to_owned(),
        via: None,
        profile: None,
        force_profile: false,
        may_hang: false,
        wear: None,
        deadline: Duration::from_secs(10),
        open_deadline: Duration::from_secs(60),
    };
    let program = PathBuf::from(env!("CARGO_BIN_EXE_vfio-conform"));
    let mut keeper = Keeper::new(program, spec, None).expect("a keeper");
    keeper.start().expect("a model");
    keeper
}

criterion_group!(benches, overhead);
criterion_main!(benches);
