//! Every variation can be seen, and differs from what the device does without it.

use std::thread;
use std::time::{Duration, Instant};

use super::faults::{dirty, estimate};
use super::*;
use crate::device::model::Variation;
use crate::stimulus::{DmaDirection, Stimulus};
use crate::uapi::dma_logging::{IovaRange, LoggingReport, LoggingStart};
use crate::uapi::feature::{Feature, FeatureCall, Placement, Verb};
use crate::uapi::memory::{DmaMemory, ZeroPages};
use crate::uapi::precopy::PrecopyInfoCall;

const IOVA: u64 = 0x10_0000;
const HUGE_BYTES: usize = 1 << 31;

/// Does what shows a variation. What comes of it must be different without it.
fn observe(variation: Variation, device: &ModelDevice) -> String {
    use State::*;
    match variation {
        Variation::ShortReads => show(begin(device, StopCopy).read(&mut [0; 100])),
        Variation::ShortWrites => {
            let saved = save(device);
            device.reset().unwrap();
            show(begin(device, Resuming).write(&saved))
        }
        Variation::OneRecord => show(save(device).len()),
        Variation::HeaderOnlyPreCopy => show(drain(&*begin(device, PreCopy)).len()),
        Variation::StreamWithNonce => show(save(device) == save(device)),
        Variation::DirtyBytesZero
        | Variation::DirtyBytesZeroStreamed
        | Variation::DirtyBytesNeeded
        | Variation::InitialBytesRounded => {
            let stream = begin(device, PreCopy);
            dirty(device);
            let seen = estimate(&*stream);
            show((seen, drain(&*stream).len()))
        }
        Variation::InitialBytesFallUnread => {
            let stream = begin(device, PreCopy);
            show([(); 2].map(|()| estimate(&*stream)))
        }
        Variation::EstimatesLate => {
            let stream = begin(device, PreCopy);
            let first = estimate(&*stream);
            drain(&*stream);
            show((first, estimate(&*stream)))
        }
        Variation::ReinitConsumedByEfault => {
            device.feature(&mut FeatureCall::new(Feature::MigPrecopyInfoV2, Verb::Set)).unwrap();
            let stream = begin(device, PreCopy);
            device.stimulate(Stimulus::Reconfigure).unwrap();
            let mut lost = PrecopyInfoCall { placement: Placement::ReadOnly, ..PrecopyInfoCall::default() };
            let mut call = PrecopyInfoCall::default();
            show((stream.precopy_info(&mut lost), stream.precopy_info(&mut call), call.flags))
        }
        Variation::InfoElsewhereEperm => show(begin(device, StopCopy).precopy_info(&mut PrecopyInfoCall::default())),
        Variation::EndedSessionEio | Variation::EndedSessionEbadfd => {
            let stream = begin(device, StopCopy);
            device.reset().unwrap();
            show(stream.read(&mut [0]))
        }
        Variation::FdInherited => show(begin(device, StopCopy).is_close_on_exec()),
        Variation::ReadMovesOnAtEfault => {
            let stream = begin(device, StopCopy);
            show((stream.read_into_unwritable(64), drain(&*stream).len()))
        }
        Variation::FdSeekable => show(begin(device, StopCopy).seek()),
        Variation::SlowLoad => {
            let _stream = begin(device, Resuming);
            let began = Instant::now();
            // Nothing was written, so it fails, but not at once.
            let answer = api(device).set_state(Stop.number()).err();
            show((answer, began.elapsed() >= Duration::from_millis(50)))
        }
        Variation::HugeWriteShort | Variation::HugeWriteEndsLoad => {
            let stream = begin(device, Resuming);
            let zeroes = ZeroPages::new(HUGE_BYTES).unwrap();
            show((stream.write(zeroes.bytes()), api(device).set_state(Stop.number()).err(), state(device)))
        }
        Variation::EmptyWriteRefused => show(begin(device, Resuming).write(&[])),
        Variation::StoppedWorkTakesEffect => {
            enter(device, Stop);
            let before = memory_of(device);
            dirty(device);
            show(memory_of(device) == before)
        }
        Variation::StoppedWorkNeedsReset => {
            enter(device, Stop);
            dirty(device);
            show((api(device).set_state(Running.number()).err(), device.reset(), state(device)))
        }
        Variation::P2pWorkIgnored => {
            enter(device, RunningP2p);
            let before = memory_of(device);
            dirty(device);
            show(memory_of(device) == before)
        }
        Variation::LogAnyPageSize => start(device, 0),
        Variation::LogCoarsePages => start(device, 4096),
        Variation::LogStopAloneRefused => show(api(device).dma_logging_stop()),
        Variation::LogCorruptAfterError => {
            start(device, 4096);
            let odd = device.dma_logging_report(&mut LoggingReport { page_size: 5000, ..report() });
            let good = device.dma_logging_report(&mut report());
            show((odd, good, api(device).dma_logging_stop(), start(device, 4096), logs_a_page(device)))
        }
        Variation::OthersTakeMemory => show([(); 6].map(|()| device.footprint().kernel_bytes)),
    }
}

fn start(device: &ModelDevice, page_size: u64) -> String {
    let mut start = LoggingStart::new(page_size, vec![IovaRange { iova: IOVA, length: 1 << 16 }]);
    let answer = device.dma_logging_start(&mut start);
    show((answer, start.page_size))
}

fn report() -> LoggingReport {
    LoggingReport::new(IovaRange { iova: IOVA, length: 1 << 16 }, 4096)
}

fn logs_a_page(device: &ModelDevice) -> bool {
    let memory = DmaMemory::new(4096).unwrap();
    device.map(IOVA, &memory).unwrap();
    let direction = DmaDirection::ToMemory;
    device.stimulate(Stimulus::Dma { direction, iova: IOVA, bytes: 4096, after: Duration::ZERO }).unwrap();
    device.stimulate(Stimulus::FinishDma).unwrap();
    let mut report = report();
    device.dma_logging_report(&mut report) == Ok(0) && report.bitmap[0] == 1
}

#[test]
fn every_variation_can_be_seen() {
    thread::scope(|scope| {
        for variation in Variation::ALL {
            scope.spawn(move || {
                let expected = observe(variation, &ModelDevice::new(ModelSpec::default()));
                let seen = observe(variation, &ModelDevice::new(ModelSpec::varying(variation)));
                assert_ne!(seen, expected, "{} cannot be seen", variation.name());
            });
        }
    });
}

#[test]
fn a_log_that_is_corrupt_after_an_error_works_once_it_is_started_again() {
    let device = ModelDevice::new(ModelSpec::varying(Variation::LogCorruptAfterError));
    let seen = observe(Variation::LogCorruptAfterError, &device);
    assert!(seen.ends_with("true)"), "{seen}");
}

#[test]
fn a_coarse_log_reports_all_of_a_large_page() {
    let device = ModelDevice::new(ModelSpec::varying(Variation::LogCoarsePages));
    start(&device, 4096);
    let memory = DmaMemory::new(4096).unwrap();
    device.map(IOVA, &memory).unwrap();
    let direction = DmaDirection::ToMemory;
    device.stimulate(Stimulus::Dma { direction, iova: IOVA, bytes: 1, after: Duration::ZERO }).unwrap();
    device.stimulate(Stimulus::FinishDma).unwrap();
    let mut report = report();
    assert_eq!(device.dma_logging_report(&mut report), Ok(0));
    assert_eq!(report.bitmap, [0xffff]);
}

#[test]
fn a_stream_of_one_record_restores() {
    let device = ModelDevice::new(ModelSpec::varying(Variation::OneRecord));
    dirty(&device);
    let (before, saved) = (memory_of(&device), save(&device));
    device.reset().unwrap();
    let stream = begin(&device, State::Resuming);
    assert_eq!(stream.write(&saved), Ok(saved.len()));
    api(&device).set_state(State::Stop.number()).unwrap();
    assert_eq!(memory_of(&device), before);
}
