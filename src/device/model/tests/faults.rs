//! Every fault can be seen, and differs from what a conforming device does.

use std::io::IoSliceMut;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::sync::{Mutex, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::eventfd::{EfdFlags, EventFd};

use super::*;
use crate::device::model::Fault;
use crate::device::model::machine::Machine;
use crate::stimulus::{DmaDirection, Observation, Stimulus};
use crate::uapi::dma_logging::{IovaRange, LoggingReport, LoggingStart};
use crate::uapi::feature::{Feature, FeatureCall, MigState, Placement, Shape, Verb};
use crate::uapi::memory::{DmaMemory, ZeroPages};
use crate::uapi::precopy::PrecopyInfoCall;
use crate::uapi::process::Thread;
use crate::uapi::stream::{Interest, Trigger};

const MOMENT: Duration = Duration::from_millis(15);

/// Does what brings a fault to light. What is answered must be different on a conforming device.
fn observe(fault: Fault, device: &mut ModelDevice) -> String {
    use State::*;
    match fault {
        Fault::UndefinedCapabilityFlags => show(api(device).migration_flags()),
        Fault::ArgszUnchecked => feature(device, get(Feature::Migration).with_argsz(15)),
        Fault::LargeArgszRefused => feature(device, get(Feature::Migration).with_argsz(24)),
        Fault::RefusedCallActs => {
            feature(device, flagged(set_call(Stop), 1 << 19));
            show(state(device))
        }
        Fault::DataSizePositiveReturn => feature(device, get(Feature::MigDataSize)),
        Fault::UnknownFlagsAccepted => feature(device, flagged(get(Feature::Migration), 1 << 19)),
        Fault::WrongDirectionAccepted => feature(device, FeatureCall::new(Feature::Migration, Verb::Set)),
        Fault::GetAndSetAccepted => feature(device, FeatureCall::new(Feature::MigDeviceState, Verb::GetSet)),
        Fault::UnknownFeatureAccepted => feature(device, flagged(get(Feature::Migration), 0xfff0)),
        Fault::AbsentIsEinval => feature(device, get(Feature::MigDeviceState)),
        Fault::ProbeNeedsData => {
            feature(device, FeatureCall::new(Feature::Migration, Verb::Probe).with_payload(Vec::new()).with_argsz(8))
        }
        Fault::ProbeLies => show(api(device).probe(Feature::MigDataSize, Verb::ProbeGet)),
        Fault::ProbeActs => {
            feature(device, flagged(set_call(Stop), Verb::Probe.bits()));
            show(state(device))
        }
        Fault::EfaultIgnored => feature(device, get(Feature::Migration).placed(Placement::ReadOnly)),
        Fault::DataSizeNeedsSession | Fault::DataSizeAbsurd => feature(device, get(Feature::MigDataSize)),
        Fault::PrecopyInfoV2WithoutPreCopy => feature(device, opt_in()),

        Fault::ErrorIsATarget => walk(device, &[Error]),
        Fault::UnadvertisedAccepted => walk(device, &[RunningP2p]),
        Fault::OutOfRangeAccepted => show(api(device).set_state(8).err()),
        Fault::BlockedArcAllowed => walk(device, &[StopCopy, PreCopy]),
        Fault::BlockedArcHangs => attempt_blocked_arc(device),
        Fault::ArcStopsShort => walk(device, &[StopCopy]),
        Fault::StateUnchangedBySuccess => walk(device, &[Stop, Running]),
        Fault::GetChangesState => walk(device, &[Stop]) + &show(state(device)),
        Fault::GetEndsSession => {
            let stream = begin(device, PreCopy);
            show(([(); 4].map(|()| state(device)), stream.read(&mut [0])))
        }
        Fault::StateDrifts => walk(device, &[PreCopy]) + &show([(); 9].map(|()| state(device))),
        Fault::RefusalMovesToError => walk(device, &[Error]),
        Fault::FailureCancelsPreCopy => {
            walk(device, &[PreCopy]);
            fail(device);
            show(state(device))
        }
        Fault::ErrorLeavesBySet => {
            fail(device);
            walk(device, &[Stop])
        }
        Fault::WorksWhileStopped => {
            walk(device, &[Stop]);
            let before = memory_of(device);
            dirty(device);
            show(memory_of(device) == before)
        }
        Fault::PositiveReturn => show(set(device, Stop).map(|answer| answer.returned)),
        Fault::Crash | Fault::OpenCrashes | Fault::CloseCrashes => String::from(survives_resuming(device)),
        Fault::OpenHangs => opens_in_time(device),

        Fault::GetReturnsFd => show(api(device).state().map(|answer| answer.data_fd)),
        Fault::NoFdOnPreCopy => show(set(device, PreCopy).map(|answer| answer.data_fd)),
        Fault::NoFdOnResuming => show(set(device, Resuming).map(|answer| answer.data_fd)),
        Fault::FdInsideSavingGroup => {
            walk(device, &[PreCopy]);
            show(set(device, StopCopy).map(|answer| answer.data_fd))
        }
        Fault::FdOnSameState => show(set(device, Running).map(|answer| answer.data_fd)),
        Fault::FdWithoutCloexec => show(begin(device, PreCopy).is_close_on_exec()),
        Fault::OldFdSurvives | Fault::OldFdAnswersEof => read_after(device, &[PreCopy, Running]),
        Fault::SessionDiesInsideSavingGroup => read_after(device, &[PreCopy, PreCopyP2p]),
        Fault::SameStateEndsSession => read_after(device, &[PreCopy, PreCopy]),
        Fault::RefusalEndsSession => read_after(device, &[PreCopy, Error]),
        Fault::NewSessionDiesOfOldFd => {
            let _old = begin(device, PreCopy);
            walk(device, &[Running]);
            show(begin(device, PreCopy).read(&mut [0]))
        }
        Fault::EarlyCloseFails => {
            drop(begin(device, PreCopy));
            walk(device, &[Running])
        }
        Fault::SavingFdWritable => show(begin(device, StopCopy).write(&[0])),
        Fault::ResumingFdReadable => show(begin(device, Resuming).read(&mut [0])),
        Fault::LostDescriptorStaysOpen => {
            feature(device, set_call(PreCopy).placed(Placement::ReadOnly));
            show(device.open_descriptors())
        }
        Fault::FullTableIgnored => show(device.feature_without_descriptors(&mut set_call(PreCopy))),
        Fault::BadBufferIgnored => show(begin(device, PreCopy).read_into_unwritable(64)),
        Fault::BadBufferLosesData => {
            let stream = begin(device, StopCopy);
            show((stream.read_into_unwritable(64), drain(&*stream).len()))
        }
        Fault::SeekableFd => show(begin(device, PreCopy).seek()),
        Fault::PositionedCalls => show(begin(device, PreCopy).pread(&mut [0])),
        Fault::DuplicateDies => {
            let stream = begin(device, PreCopy);
            drop(stream.duplicate());
            show(stream.read(&mut [0]))
        }
        Fault::OtherProcessRefused => show(begin(device, PreCopy).read_in_child(1).map(|bytes| bytes.len())),
        Fault::ReaderNotWoken => read_while_leaving(device),
        Fault::PollerNotWoken => poll_while(device, 1, dirty),
        Fault::SessionEndWakesNobody => poll_while(device, 1, |device| drop(enter(device, Running))),
        Fault::CloseWakesNobody => poll_while(device, 1, |device| device.shared.change(Machine::reopen)),
        Fault::ResetWakesNobody => poll_while(device, 1, |device| assert_eq!(device.reset(), Ok(0))),

        Fault::EndOfPreCopyReadsZero => read_after_all(device, PreCopy),
        Fault::EndOfPreCopyIsFinal => {
            let stream = begin(device, PreCopy);
            drain(&*stream);
            dirty(device);
            show(drain(&*stream).len())
        }
        Fault::ReadableAtEndOfPreCopy => poll_after_all(device, PreCopy),
        Fault::NoPoll => show(begin(device, PreCopy).epoll(Trigger::Level).map(drop)),
        Fault::P2pStartsAnew | Fault::WayBackDropsUnread => {
            let stream = begin(device, PreCopy);
            assert_eq!(stream.read(&mut [0; 100]), Ok(100));
            walk(device, &[PreCopyP2p, PreCopy]);
            show(drain(&*stream).len())
        }
        Fault::P2pWakesNobody => poll_in(device, PreCopyP2p, 1, dirty),
        Fault::PrecopyInfoRefusedInP2p => show(begin(device, PreCopyP2p).precopy_info(&mut info())),
        Fault::PrecopyInfoInStopCopy => show(begin(device, StopCopy).precopy_info(&mut info())),
        Fault::PrecopyInfoArgszUnchecked => {
            let mut call = PrecopyInfoCall { argsz: 8, ..info() };
            show(begin(device, PreCopy).precopy_info(&mut call))
        }
        Fault::PrecopyInfoPositiveReturn => {
            let mut call = PrecopyInfoCall { placement: Placement::ReadOnly, ..info() };
            show(begin(device, PreCopy).precopy_info(&mut call))
        }
        Fault::RefusedOptInCounts => {
            feature(device, flagged(opt_in(), 1 << 19));
            show(flags_of_info(device))
        }
        Fault::PrecopyInfoEchoesFlags => {
            feature(device, opt_in());
            show(flags_of_info(device))
        }
        Fault::PrecopyInfoV2SurvivesReopen => {
            feature(device, opt_in());
            device.reopen().unwrap();
            show(flags_of_info(device))
        }
        Fault::InitialBytesZero | Fault::DirtyBytesAtFirst => estimate(&*begin(device, PreCopy)),
        Fault::InitialBytesGrow | Fault::DirtyBytesNeverGrow | Fault::DirtyBytesWithoutHeaders => {
            let stream = begin(device, PreCopy);
            dirty(device);
            estimate(&*stream)
        }
        Fault::InitialBytesNeverFall | Fault::PromisedDataIsMissing => {
            let stream = begin(device, PreCopy);
            drain(&*stream);
            estimate(&*stream)
        }

        Fault::InitialBytesNeverReachZero => {
            let stream = begin(device, PreCopy);
            drain(&*stream);
            estimate(&*stream)
        }
        Fault::InitialBytesFallUnread => {
            let stream = begin(device, PreCopy);
            estimate(&*stream) + &estimate(&*stream)
        }
        Fault::DirtyBytesGrowUnasked => {
            let stream = begin(device, PreCopy);
            drain(&*stream);
            estimate(&*stream) + &estimate(&*stream)
        }
        Fault::DirtyBytesNeverFall => {
            let stream = begin(device, PreCopy);
            dirty(device);
            drain(&*stream);
            estimate(&*stream)
        }
        Fault::ChangesWaitForStopCopy => {
            let stream = begin(device, PreCopy);
            drain(&*stream);
            dirty(device);
            show(stream.read(&mut [0]))
        }
        Fault::UnreadableWithData => show(begin(device, PreCopy).poll(Interest::Read, Duration::ZERO)),
        Fault::EdgesLost => {
            let stream = begin(device, PreCopy);
            drain(&*stream);
            let set = stream.epoll(Trigger::Edge).unwrap();
            let at_first = set.wait(Duration::ZERO);
            dirty(device);
            show((at_first, set.wait(Duration::ZERO)))
        }
        Fault::OneWaiterWoken => poll_while(device, 2, dirty),
        Fault::WakeupLost => race(device),
        Fault::StopCopyWakesNobody => poll_while(device, 1, |device| drop(enter(device, StopCopy))),
        Fault::NonblockingReadsZero => {
            let stream = begin(device, PreCopy);
            drain(&*stream);
            show((stream.set_nonblocking(true), stream.read(&mut [0])))
        }
        Fault::NonblockingEndsSession => {
            let stream = begin(device, PreCopy);
            drain(&*stream);
            show((stream.set_nonblocking(true), [(); 2].map(|()| stream.read(&mut [0]))))
        }
        Fault::PrecopyInfoLargeArgszRefused => {
            let mut call = PrecopyInfoCall { argsz: 4096, ..info() };
            show(begin(device, PreCopy).precopy_info(&mut call))
        }
        Fault::PrecopyInfoElsewhereEperm => show(begin(device, StopCopy).precopy_info(&mut info())),
        Fault::PrecopyInfoV2Refused => feature(device, opt_in()),
        Fault::ReinitWithoutOptIn => reconfigure(device),
        Fault::ReinitNeverReachesZero | Fault::ReinitStreamsOther => {
            feature(device, opt_in());
            dirty(device);
            let stream = begin(device, PreCopy);
            device.stimulate(Stimulus::Reconfigure).unwrap();
            show((drain(&*stream), estimate(&*stream)))
        }
        Fault::LostReinitForgotten => {
            feature(device, opt_in());
            let stream = begin(device, PreCopy);
            device.stimulate(Stimulus::Reconfigure).unwrap();
            let lost = stream.precopy_info(&mut PrecopyInfoCall { placement: Placement::ReadOnly, ..info() });
            let mut call = info();
            show((lost, stream.precopy_info(&mut call), call.flags))
        }
        Fault::ReinitUnsaid | Fault::ReinitKeepsDirty => {
            feature(device, opt_in());
            reconfigure(device)
        }
        Fault::EarlyLeaveTruncates => {
            let stream = begin(device, PreCopy);
            walk(device, &[StopCopy]);
            show(drain(&*stream).len())
        }
        Fault::CancelledSessionKeepsSlot => {
            let entered = (0..100).map(|_| walk(device, &[PreCopy, Running]));
            entered.collect::<Vec<_>>().concat()
        }
        Fault::PreCopyLeaksDescriptor => {
            drop(begin(device, PreCopy));
            show(device.open_descriptors())
        }

        Fault::EndOfStopCopyIsEnomsg | Fault::EndOfStopCopyIsOnce => read_after_all(device, StopCopy),
        Fault::UnreadableAtEndOfStopCopy => poll_after_all(device, StopCopy),
        Fault::LastPageLost | Fault::RegistersNotRestored => {
            let (before, saved) = (memory_of(device), save(device));
            show((restore(device, &saved), memory_of(device) == before))
        }
        Fault::DirtyPageLost => {
            let stream = begin(device, PreCopy);
            dirty(device);
            walk(device, &[StopCopy]);
            show(drain(&*stream).len())
        }
        Fault::SmallReadsRepeat => show(drain_by(&*begin(device, StopCopy), 1).len()),
        Fault::StaleBytes => show(save(device) == save(device)),
        Fault::EmptyReadTakesByte => {
            let stream = begin(device, StopCopy);
            show((stream.read(&mut []), drain(&*stream).len()))
        }
        Fault::EmptyReadEndsSession => {
            let stream = begin(device, StopCopy);
            show((stream.read(&mut []), drain(&*stream).len()))
        }
        Fault::VectorsRefused => {
            show(begin(device, StopCopy).readv(&mut [IoSliceMut::new(&mut [0]), IoSliceMut::new(&mut [0])]))
        }
        Fault::NextSessionGoesOn => {
            let first = begin(device, StopCopy);
            assert_eq!(first.read(&mut [0; 100]), Ok(100));
            walk(device, &[Stop]);
            show(drain(&*begin(device, StopCopy)).len())
        }
        Fault::DataSizeTenfold => feature(device, get(Feature::MigDataSize)),

        Fault::SplitWritesRefused => show(begin(device, Resuming).write(b"V")),
        Fault::EmptyStreamAccepted => show(restore(device, &[])),
        Fault::TruncatedStreamAccepted => {
            let saved = save(device);
            show(restore(device, &saved[..saved.len() - 1]))
        }
        Fault::TrailingDataAccepted => {
            let saved = save(device);
            show(restore(device, &[&saved[..], &[0]].concat()))
        }
        Fault::FailedWriteForgotten => {
            let saved = save(device);
            let stream = begin(device, Resuming);
            show((stream.write(&[0; 64]), stream.write(&saved), set(device, Stop).err()))
        }

        Fault::DmaWhileStopped => dma_in(device, Stop),
        Fault::DmaWhileSaving => {
            walk(device, &[PreCopy]);
            dma_in(device, PreCopyP2p)
        }
        Fault::LoadStartsDevice | Fault::LoadDropsWork => work_after_a_load(device),
        Fault::DmaInP2pAfterStop => {
            walk(device, &[Stop]);
            dma_in(device, RunningP2p)
        }
        Fault::DmaInP2p => dma_in(device, RunningP2p),
        Fault::PreCopyIdlesAfterP2p => {
            walk(device, &[PreCopyP2p]);
            dma_in(device, PreCopy)
        }
        Fault::PreCopyIdles => dma_in(device, PreCopy),
        Fault::MovingDmaNotAwaited => {
            // Enough for a while, on a busy machine too.
            let memory = begin_dma(device, 4 << 20, Duration::ZERO);
            walk(device, &[Stop]);
            // So much later that all of it has moved, if it goes on.
            let last_page = || memory.read(memory.bytes() - 4096, 4096);
            let at_entry = last_page();
            thread::sleep(MOMENT * 50);
            show(last_page() == at_entry)
        }
        Fault::PendingDmaDropped => {
            let _memory = begin_dma(device, 1, MOMENT);
            walk(device, &[Stop, Running]);
            show(device.stimulate(Stimulus::FinishDma).is_ok())
        }
        Fault::InterruptsWhileStopped => {
            let event = interrupt_in(device, Stop);
            show(comes(&event))
        }
        Fault::PendingInterruptDropped => {
            let event = interrupt_in(device, Stop);
            walk(device, &[Running]);
            show(comes(&event))
        }
        Fault::StoppedDeviceDeaf => {
            walk(device, &[Stop]);
            show(device.set_irqs(0, &[]))
        }
        Fault::TouchedWhileStoppedWedges => {
            walk(device, &[Stop]);
            dirty(device);
            show(device.reset())
        }

        Fault::LogHeaderUnchecked | Fault::LogRefusedStartActs | Fault::LogRefusedStopActs => {
            refused_calls_of_a_log(device)
        }
        Fault::LogPausesInPreCopy | Fault::LogMissesDrain => writes_of_a_migration(device),
        Fault::LogSurvivesClose => {
            device.dma_logging_start(&mut log_of(0x10_0000, 1)).unwrap();
            device.reopen().unwrap();
            show(device.dma_logging_start(&mut log_of(0x10_0000, 1)))
        }
        Fault::LogBadStartActs
        | Fault::LogReportUnchecked
        | Fault::LogFailedReportSticks
        | Fault::LogFinerReportEmpty => strange_use_of_a_log(device),
        Fault::LogWithoutRanges
        | Fault::LogRangesUnchecked
        | Fault::LogPageSizeUnchecked
        | Fault::LogTooManyRangesAccepted
        | Fault::LogFewRanges
        | Fault::LogPageSizeNotAnswered
        | Fault::LogStartsTwice
        | Fault::LogStopIgnored
        | Fault::LogStopAloneRefused
        | Fault::LogSurvivesStop
        | Fault::LogReportWithoutStart => starts_and_stops_of_logs(device),
        Fault::LogClearsBits
        | Fault::LogForgetsNothing
        | Fault::LogForgetsAll
        | Fault::LogFirstPageLost
        | Fault::LogLastPageLost
        | Fault::LogNeighbourReported
        | Fault::LogBitsFromZero
        | Fault::LogOnePageOfBitmap
        | Fault::LogUnalignedBitmapLost
        | Fault::LogTailLost
        | Fault::LogLargePagesLost
        | Fault::LogUnwritableIgnored
        | Fault::LogReadsLogged
        | Fault::LogOnlyInRunning
        | Fault::LogEndsWithReset => reports_of_a_log(device),
        Fault::PristinePagesNotRestored => {
            let (before, saved) = (memory_of(device), save(device));
            walk(device, &[Running]);
            dirty(device);
            show((restore(device, &saved), memory_of(device) == before))
        }
        Fault::EmptyWriteRefused => show(begin(device, Resuming).write(&[])),
        Fault::ForeignStreamAccepted => {
            let mut saved = save(device);
            saved[0] ^= 1;
            show(restore(device, &saved))
        }
        Fault::RefusedLoadLandsInStop => show((restore(device, &[]), state(device))),
        Fault::CorruptStreamWedges => {
            let mut saved = save(device);
            saved[5000] ^= 1;
            show((restore(device, &saved), device.reset(), state(device)))
        }
        Fault::LateFlipWedges => {
            let mut saved = save(device);
            let late = saved.len() - 1000;
            saved[late] ^= 1;
            show((restore(device, &saved), device.reset(), state(device)))
        }
        Fault::HalfLoadSurvivesReset => {
            let saved = save(device);
            assert_eq!(begin(device, Resuming).write(&saved[..5000]), Ok(5000));
            show((device.reset(), restore(device, &saved)))
        }
        Fault::HalfLoadSurvivesReopen => {
            let saved = save(device);
            assert_eq!(begin(device, Resuming).write(&saved[..5000]), Ok(5000));
            device.reopen().unwrap();
            show(restore(device, &saved))
        }
        Fault::SecondWriterWedges => {
            let stream = begin(device, Resuming);
            assert_eq!(stream.write(b"VC"), Ok(2));
            elsewhere(|| assert_eq!(stream.write(b"MS"), Ok(2)));
            show((device.reset(), state(device)))
        }
        Fault::HugeWriteTaken => {
            let zeroes = ZeroPages::new(1 << 30).unwrap();
            show(begin(device, Resuming).write(zeroes.bytes()))
        }

        Fault::SecondThreadWedges => {
            walk(device, &[Stop]);
            elsewhere(|| drop(walk(device, &[Running])));
            show((device.reset(), state(device)))
        }
        Fault::CloseUnderCallWedges => {
            let stream = begin(device, Resuming);
            thread::scope(|scope| {
                scope.spawn(|| stream.poll(Interest::Read, MOMENT * 4));
                thread::sleep(MOMENT * 2);
                stream.close_at_once().unwrap();
            });
            show(device.reset())
        }
        Fault::GetSeesNoState => {
            elsewhere(|| drop(walk(device, &[Stop])));
            show(api(device).state().map(|answer| answer.device_state))
        }
        Fault::SecondOwner => {
            elsewhere(|| drop(walk(device, &[StopCopy])));
            show(set(device, StopCopy).map(|answer| answer.data_fd))
        }
        Fault::OpeningLeaks => {
            device.reopen().unwrap();
            show(device.footprint())
        }
        Fault::DescriptorsLeak | Fault::MemoryLeaks | Fault::SmallObjectsLeak => {
            let stream = begin(device, PreCopy);
            walk(device, &[Running]);
            drop(stream);
            show((device.footprint(), device.open_descriptors()))
        }
        Fault::ResetLeaksReferences => {
            drop(begin(device, PreCopy));
            show((device.reset(), device.footprint()))
        }
        Fault::RebindLeaksMemory | Fault::RebindStops => {
            device.rebind().unwrap();
            show((device.footprint(), state(device)))
        }
        Fault::ModuleReferencesLeak => {
            drop(begin(device, PreCopy));
            device.reopen().unwrap();
            show(device.footprint())
        }

        Fault::ResetKeepsState => {
            walk(device, &[Stop]);
            show((device.reset(), state(device)))
        }
        Fault::ResetKeepsSession => {
            let stream = begin(device, PreCopy);
            show((device.reset(), stream.read(&mut [0])))
        }
        Fault::ResetKeepsError => {
            fail(device);
            show((device.reset(), state(device)))
        }
        Fault::ResetNotAdvertised => show(device.info().map(|info| info.can_reset())),
        Fault::SecondResetRefused => show((device.reset(), device.reset())),
        Fault::ResetInStopDooms => {
            walk(device, &[Stop]);
            show((device.reset(), walk(device, &[Stop])))
        }
        Fault::ResetDuringTransitionDooms => {
            thread::scope(|scope| {
                let walker = scope.spawn(|| drop(set(device, Stop)));
                while device.shared.lock().transitions == 0 && !walker.is_finished() {
                    thread::yield_now();
                }
                device.reset().unwrap();
            });
            device.reset().unwrap();
            walk(device, &[Stop])
        }
        Fault::ReopenKeepsState => {
            walk(device, &[Stop]);
            device.reopen().unwrap();
            show(state(device))
        }
        Fault::ReopenKeepsSession => {
            let stream = begin(device, PreCopy);
            device.reopen().unwrap();
            show(stream.read(&mut [0]))
        }
    }
}

#[test]
fn every_fault_can_be_seen() {
    // Much of it is waiting.
    let left = Mutex::new(Fault::ALL.into_iter());
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                while let Some(fault) = next() {
                    can_be_seen(fault);
                }
            });
        }
    });
}

/// What shows only at the right moment may have to be looked for again on a busy machine.
fn can_be_seen(fault: Fault) {
    let faulty = ModelSpec::faulty(fault);
    let conforming = ModelSpec { fault: None, ..faulty };
    let looks_different = || {
        let expected = observe(fault, &mut ModelDevice::new(conforming));
        observe(fault, &mut ModelDevice::new(faulty)) != expected
    };
    assert!((0..30).any(|_| looks_different()), "{} cannot be seen", fault.name());
}

/// Whatever comes, a defect is never more than what it says: the model itself neither panics nor loops.
#[test]
fn every_faulty_device_survives_a_random_walk() {
    let survivors = Fault::ALL
        .into_iter()
        .filter(|fault| fault.seen_with().is_some())
        .filter(|fault| !matches!(fault, Fault::Crash | Fault::BlockedArcHangs | Fault::ReaderNotWoken));
    for (seed, fault) in survivors.enumerate() {
        let mut device = ModelDevice::new(ModelSpec::faulty(fault));
        let mut streams: Vec<Box<dyn Stream>> = Vec::new();
        let mut random = seed;
        for _ in 0..30 {
            random = random.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            match (random >> 40) % 12 {
                0 => drop(device.reset()),
                1 => device.reopen().unwrap(),
                2 => dirty(&device),
                3 => drop(feature(&device, get(Feature::MigDataSize))),
                4 => streams.iter().for_each(|stream| use_stream(&**stream)),
                5 => assert!(api(&device).state().is_ok()),
                _ => {
                    let answer = api(&device).set_state((random >> 50) as u32 % 9);
                    streams.extend(answer.ok().and_then(|answer| answer.stream));
                }
            }
        }
    }
}

fn use_stream(stream: &dyn Stream) {
    let _ = stream.read(&mut [0; 700]);
    let _ = stream.write(b"VCMS");
    let _ = stream.poll(Interest::Read, Duration::ZERO);
    let _ = stream.precopy_info(&mut info());
}

/// Does something in a thread of its own.
fn elsewhere(action: impl FnOnce() + Send) {
    thread::scope(|scope| {
        scope.spawn(action);
    });
}

fn feature(device: &ModelDevice, mut call: FeatureCall) -> String {
    let answer = device.feature(&mut call);
    show((answer, call.payload))
}

fn get(feature: Feature) -> FeatureCall {
    FeatureCall::new(feature, Verb::Get)
}

fn opt_in() -> FeatureCall {
    FeatureCall::new(Feature::MigPrecopyInfoV2, Verb::Set)
}

fn set_call(target: State) -> FeatureCall {
    let wanted = MigState { device_state: target.number(), data_fd: -1 };
    FeatureCall::new(Feature::MigDeviceState, Verb::Set).with_payload(wanted.to_bytes())
}

fn flagged(call: FeatureCall, bits: u32) -> FeatureCall {
    FeatureCall { flags: call.flags | bits, ..call }
}

pub(super) fn dirty(device: &ModelDevice) {
    device.stimulate(Stimulus::Dirty(2000)).unwrap();
}

fn fail(device: &ModelDevice) {
    device.stimulate(Stimulus::EnterError).unwrap();
    assert!(set(device, State::Stop).is_err());
}

/// Memory that the device begins to write after a while.
fn begin_dma(device: &ModelDevice, bytes: usize, after: Duration) -> DmaMemory {
    const IOVA: u64 = 0x10_0000;
    let memory = DmaMemory::new(bytes).unwrap();
    device.map(IOVA, &memory).unwrap();
    let bytes = memory.bytes() as u64;
    device.stimulate(Stimulus::Dma { direction: DmaDirection::ToMemory, iova: IOVA, bytes, after }).unwrap();
    memory
}

/// Whether a transfer that is pending when the state is entered moves there.
fn dma_in(device: &ModelDevice, state: State) -> String {
    let memory = begin_dma(device, 1, MOMENT * 4);
    let _session = enter(device, state);
    thread::sleep(MOMENT * 8);
    show(memory.read(0, 8) == [0; 8])
}

/// Whether a device that was saved while it worked works in STOP, and in RUNNING, once it has loaded that.
fn work_after_a_load(device: &ModelDevice) -> String {
    device.stimulate(Stimulus::StartWork).unwrap();
    let saved = save(device);
    restore(device, &saved).unwrap();
    let works = || {
        let before = device.observe(Observation::Progress).unwrap();
        thread::sleep(MOMENT);
        device.observe(Observation::Progress).unwrap() != before
    };
    let in_stop = works();
    walk(device, &[State::Running]);
    show((in_stop, works()))
}

/// The event of an interrupt that is pending when the state is entered.
fn interrupt_in(device: &ModelDevice, state: State) -> EventFd {
    let event = EventFd::from_flags(EfdFlags::EFD_NONBLOCK).unwrap();
    device.set_irqs(0, &[event.as_fd()]).unwrap();
    device.stimulate(Stimulus::Interrupt { after: MOMENT * 4 }).unwrap();
    enter(device, state);
    event
}

/// Whether an event is signalled within the patience of a busy machine.
fn comes(event: &EventFd) -> bool {
    let began = Instant::now();
    while began.elapsed() < PATIENCE {
        if event.read().is_ok() {
            return true;
        }
        thread::sleep(MOMENT / 15);
    }
    false
}

/// A log from here on, of so many pages.
fn log_of(iova: u64, pages: u64) -> LoggingStart {
    LoggingStart::new(4096, vec![IovaRange { iova, length: 4096 * pages }])
}

fn report_of(iova: u64, pages: u64, page_size: u64) -> LoggingReport {
    LoggingReport::new(IovaRange { iova, length: 4096 * pages }, page_size)
}

fn refused_calls_of_a_log(device: &ModelDevice) -> String {
    let shape = Shape { more_flags: 1 << 19, ..Shape::default() };
    let refused = device.dma_logging_start(&mut LoggingStart { shape, ..log_of(0x10_0000, 1) });
    let started = device.dma_logging_start(&mut log_of(0x10_0000, 1));
    let stopped = feature(device, flagged(FeatureCall::new(Feature::DmaLoggingStop, Verb::Set), 1 << 19));
    show((refused, started, stopped, device.dma_logging_report(&mut report_of(0x10_0000, 1, 4096))))
}

/// A page that is written in PRE_COPY, and what moves when STOP is entered.
fn writes_of_a_migration(device: &ModelDevice) -> String {
    device.dma_logging_start(&mut log_of(0x10_0000, 64)).unwrap();
    walk(device, &[State::PreCopy]);
    let memory = begin_dma(device, 64 << 12, Duration::ZERO);
    while memory.read(0, 8) == [0; 8] {
        thread::yield_now();
    }
    let mut report = report_of(0x10_0000, 64, 4096);
    let seen = (device.dma_logging_report(&mut report), report.bitmap[0] & 1);
    walk(device, &[State::StopCopy]);
    let mut report = report_of(0x10_0000, 64, 4096);
    show((seen, device.dma_logging_report(&mut report), report.bitmap[0] >> 63))
}

fn strange_use_of_a_log(device: &ModelDevice) -> String {
    let mut misaligned = log_of(0x10_0001, 1);
    let refused = device.dma_logging_start(&mut misaligned);
    let mut large = LoggingStart { page_size: 1 << 16, ..log_of(0x10_0000, 16) };
    let started = device.dma_logging_start(&mut large);
    let _memory = begin_dma(device, 1, Duration::ZERO);
    device.stimulate(Stimulus::FinishDma).unwrap();
    let odd = device.dma_logging_report(&mut LoggingReport { page_size: 5000, ..report_of(0x10_0000, 16, 4096) });
    let mut report = report_of(0x10_0000, 16, 4096);
    let reported = device.dma_logging_report(&mut report);
    let again = (api(device).dma_logging_stop(), device.dma_logging_start(&mut log_of(0x10_0000, 16)));
    show((refused, started, odd, reported, report.bitmap, again))
}

fn starts_and_stops_of_logs(device: &ModelDevice) -> String {
    const IOVA: u64 = 0x10_0000;
    let start = |mut start: LoggingStart| {
        let answer = device.dma_logging_start(&mut start);
        let seen = (answer, start.page_size);
        (seen, api(device).dma_logging_stop())
    };
    let many = (0..256).map(|n| IovaRange { iova: IOVA + 8192 * n, length: 4096 }).collect();
    let too_many = LoggingStart { claimed_ranges: Some(257), ..log_of(IOVA, 1) };
    let alone = (api(device).dma_logging_stop(), device.dma_logging_report(&mut report_of(IOVA, 1, 4096)));
    let starts = [
        LoggingStart::new(4096, Vec::new()),
        log_of(IOVA + 1, 1),
        LoggingStart::new(4097, vec![IovaRange { iova: 0, length: 4096 * 4097 }]),
        too_many,
        LoggingStart::new(4096, many),
        log_of(IOVA, 16),
    ]
    .map(start);
    let _memory = begin_dma(device, 1, Duration::ZERO);
    let twice = [(); 2].map(|()| device.dma_logging_start(&mut log_of(IOVA, 16)));
    let finished = device.stimulate(Stimulus::FinishDma);
    let stopped = (api(device).dma_logging_stop(), device.dma_logging_start(&mut log_of(IOVA, 16)));
    let mut left = report_of(IOVA, 16, 4096);
    let reported = device.dma_logging_report(&mut left);
    show((alone, starts, twice, finished, stopped, reported, left.bitmap))
}

fn reports_of_a_log(device: &ModelDevice) -> String {
    // The memory lies where the second page of the bitmap begins, one page before the end of the log.
    const MEMORY: u64 = 0x1000_0000;
    const PAGES: u64 = 8 * 4096;
    let begin = MEMORY - 4096 * (PAGES - 8);
    let memory = DmaMemory::new(1).unwrap();
    device.map(MEMORY, &memory).unwrap();
    device.dma_logging_start(&mut log_of(MEMORY, 16)).unwrap();
    let run = |direction, first: u64, bytes| {
        let dma = Stimulus::Dma { direction, iova: MEMORY + 4096 * first, bytes, after: Duration::ZERO };
        device.stimulate(dma).unwrap();
        device.stimulate(Stimulus::FinishDma).unwrap();
    };
    let report = |mut report: LoggingReport| {
        report.bitmap[0] |= 1 << 63;
        let answer = device.dma_logging_report(&mut report);
        let bits: Vec<(usize, u64)> =
            report.bitmap.iter().copied().enumerate().filter(|(_, word)| *word != 0).collect();
        format!("{answer:?} {bits:x?}\n")
    };
    let mut seen = String::new();
    let again = || run(DmaDirection::ToMemory, 0, 16 * 4096);
    again();
    seen += &report(report_of(MEMORY + 3 * 4096, 3, 4096));
    seen += &report(report_of(MEMORY, 16, 4096));
    seen += &report(report_of(MEMORY, 16, 4096));
    again();
    seen += &report(report_of(begin, PAGES + 16, 4096));
    again();
    seen += &report(LoggingReport { misaligned_by: 8, ..report_of(MEMORY, 16, 4096) });
    again();
    seen += &report(report_of(MEMORY - 64 * 4096, 64 + 16, 4096));
    again();
    seen += &report(report_of(MEMORY, 16, 1 << 30));
    again();
    seen += &report(LoggingReport { writable: false, ..report_of(MEMORY, 16, 4096) });
    seen += &report(report_of(MEMORY, 16, 4096));
    run(DmaDirection::FromMemory, 0, 4096);
    run(DmaDirection::ToMemory, 5, 4096);
    seen += &report(report_of(MEMORY, 16, 4096));
    again();
    walk(device, &[State::Stop]);
    seen += &report(report_of(MEMORY, 4, 4096));
    device.reset().unwrap();
    seen + &report(report_of(MEMORY, 16, 4096))
}

/// What each SET comes to, and where the device is then.
fn walk(device: &ModelDevice, targets: &[State]) -> String {
    let errors: Vec<_> = targets.iter().map(|target| set(device, *target).err()).collect();
    show((errors, state(device)))
}

/// What a read of the session that the first state begins comes to after the other states.
fn read_after(device: &ModelDevice, states: &[State]) -> String {
    let stream = begin(device, states[0]);
    walk(device, &states[1..]);
    show(stream.read(&mut [0; 8]))
}

fn read_after_all(device: &ModelDevice, origin: State) -> String {
    let stream = begin(device, origin);
    drain(&*stream);
    show([stream.read(&mut [0; 8]), stream.read(&mut [0; 8])])
}

fn poll_after_all(device: &ModelDevice, origin: State) -> String {
    let stream = begin(device, origin);
    drain(&*stream);
    show(stream.poll(Interest::Read, Duration::ZERO))
}

/// So long that a busy machine cannot make a poller that is woken look like one that is not.
const PATIENCE: Duration = Duration::from_millis(600);

/// Has so many threads poll at the temporary end. Says which of them came back of the action.
fn poll_while(device: &ModelDevice, pollers: usize, action: impl FnOnce(&ModelDevice)) -> String {
    poll_in(device, State::PreCopy, pollers, action)
}

fn poll_in(device: &ModelDevice, state: State, pollers: usize, action: impl FnOnce(&ModelDevice)) -> String {
    let stream = begin(device, state);
    drain(&*stream);
    let (tell, told) = mpsc::channel();
    let poll = |tell: mpsc::Sender<Thread>| {
        tell.send(Thread::current()).unwrap();
        let began = Instant::now();
        let _ = stream.poll(Interest::Read, PATIENCE);
        began.elapsed() < PATIENCE
    };
    thread::scope(|scope| {
        let begin = |_| {
            let tell = tell.clone();
            scope.spawn(|| poll(tell))
        };
        let pollers: Vec<_> = (0..pollers).map(begin).collect();
        for thread in told.iter().take(pollers.len()) {
            while thread.sleeps() == Some(false) {
                thread::yield_now();
            }
        }
        action(device);
        let mut woken: Vec<bool> = pollers.into_iter().map(|poller| poller.join().unwrap()).collect();
        woken.sort();
        show(woken)
    })
}

/// Changes the device each time that the poller goes back to waiting. Says whether it was always woken.
fn race(device: &ModelDevice) -> String {
    let stream = begin(device, State::PreCopy);
    drain(&*stream);
    let (drained, next_round) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| next_round.into_iter().for_each(|()| dirty(device)));
        let seen = |_| {
            let began = Instant::now();
            drained.send(()).unwrap();
            let _ = stream.poll(Interest::Read, PATIENCE);
            drain(&*stream);
            began.elapsed() < PATIENCE
        };
        let always = (0..300).all(seen);
        drop(drained);
        show(always)
    })
}

/// Whether a thread that reads all the time comes back when the session ends. If it does not, it stays behind.
fn read_while_leaving(device: &ModelDevice) -> String {
    let stream = begin(device, State::PreCopy);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        while stream.read(&mut [0; 64]) != Err(Errno::ENODEV) {}
        let _ = sender.send(());
    });
    thread::sleep(MOMENT);
    walk(device, &[State::Running]);
    show(receiver.recv_timeout(PATIENCE))
}

/// What PRECOPY_INFO says once a device with dirty data was reconfigured.
fn reconfigure(device: &ModelDevice) -> String {
    let stream = begin(device, State::PreCopy);
    drain(&*stream);
    dirty(device);
    device.stimulate(Stimulus::Reconfigure).unwrap();
    estimate(&*stream)
}

fn info() -> PrecopyInfoCall {
    PrecopyInfoCall::default()
}

pub(super) fn estimate(stream: &dyn Stream) -> String {
    let mut call = info();
    let answer = stream.precopy_info(&mut call);
    show((answer, call))
}

fn flags_of_info(device: &ModelDevice) -> u32 {
    let mut call = PrecopyInfoCall { flags: 6, ..info() };
    begin(device, State::PreCopy).precopy_info(&mut call).unwrap();
    call.flags
}

/// Whether SET STOP_COPY -> PRE_COPY comes back. If it does not, its thread stays behind until the tests end.
fn attempt_blocked_arc(device: &ModelDevice) -> String {
    let victim = ModelDevice {
        identity: device.identity.clone(),
        shared: device.shared.clone(),
        ..ModelDevice::new(ModelSpec::default())
    };
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        enter(&victim, State::Stop);
        // Closing a data_fd would wait for the call that hangs, as it would in a kernel.
        std::mem::forget(enter(&victim, State::StopCopy));
        let _ = sender.send(set(&victim, State::PreCopy).err());
    });
    show(receiver.recv_timeout(MOMENT * 40))
}

/// Whether a device of this kind is opened within a moment.
fn opens_in_time(device: &ModelDevice) -> String {
    let spec = ModelSpec::parse(device.identity.name.trim_start_matches("model:")).unwrap();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        drop(ModelDevice::open(spec));
        sender.send(())
    });
    show(receiver.recv_timeout(MOMENT * 40))
}

const VICTIM: &str = "VFIO_CONFORM_TEST_VICTIM";

/// Whether a process that opens the device, does SET RESUMING and closes it lives on: this test program, with nothing but the victim to run.
fn survives_resuming(device: &ModelDevice) -> &'static str {
    let spec = device.identity.name.trim_start_matches("model:");
    let victim = concat!(module_path!(), "::victim_of_a_crash");
    let (_, victim) = victim.split_once("::").unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args([victim, "--exact", "--nocapture"])
        .env(VICTIM, spec)
        .output()
        .unwrap()
        .status;
    if status.signal().is_some() { "killed" } else { "alive" }
}

/// Does nothing unless it is run as the victim.
#[test]
fn victim_of_a_crash() {
    let Ok(spec) = std::env::var(VICTIM) else {
        return;
    };
    let device = ModelDevice::open(ModelSpec::parse(&spec).unwrap());
    drop(set(&device, State::Resuming));
}
