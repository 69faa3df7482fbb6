//! Quiet states: something is in flight, the device goes quiet, and nothing happens until it may.

use std::fmt;
use std::time::Duration;

use vfio_bindings::bindings::vfio::{VFIO_DEVICE_FLAGS_PCI, VFIO_IRQ_INFO_EVENTFD, VFIO_PCI_CONFIG_REGION_INDEX};

use crate::harness::bench::{Bench, DmaArea, errno_name};
use crate::harness::check::{Check, Environment, Interruption, Judgement};
use crate::harness::session::Session;
use crate::requirement::quiesce::*;
use crate::requirement::{Requirement, reset};
use crate::stimulus::{DmaDirection, Stimulus, StimulusError};
use crate::uapi::Errno;
use crate::uapi::state::State;

use super::{lower, no_method};

/// The states in which a device is stopped.
const STOPPED: [State; 3] = [State::Stop, State::StopCopy, State::Resuming];
/// Those of them in which a user may look at it.
const STOPPED_WITH_STATE: [State; 2] = [State::Stop, State::StopCopy];
/// The states in which a device is P2P quiesced.
const P2P_QUIESCED: [State; 2] = [State::RunningP2p, State::PreCopyP2p];
/// The states in which it is fully operational.
const OPERATIONAL_IN: [State; 2] = [State::Running, State::PreCopy];

/// How a device comes to be quiet that migrates: neither from RUNNING, nor straight.
const WHILE_MIGRATING: [Way; 4] = [
    Way { from: State::PreCopy, through: Through::Nothing, to: State::PreCopyP2p },
    Way { from: State::PreCopy, through: Through::Nothing, to: State::StopCopy },
    Way { from: State::Running, through: Through::Load, to: State::Stop },
    Way { from: State::Running, through: Through::Stop, to: State::RunningP2p },
];

/// What is to be in flight when a state is entered comes so much later. The first of these that is long enough counts:
/// how long a transition takes is the device's matter, and the machine's.
const DELAYS: [Duration; 4] =
    [Duration::from_millis(16), Duration::from_millis(48), Duration::from_millis(200), Duration::from_millis(800)];

/// So much longer than the delay it is watched that nothing comes.
const TAIL: Duration = Duration::from_millis(20);

/// What a running device does by itself shows within this.
const SHOWS_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Anywhere below the addresses that machines reserve.
const IOVA: u64 = 1 << 24;
/// Enough pages that a transfer is caught while it moves.
const TRANSFER_BYTES: usize = 64 << 10;

pub(super) fn checks() -> Vec<Check> {
    let mut checks = Vec::new();
    for state in OPERATIONAL_IN {
        checks.extend([
            check("dma_works_in", state, &[&OPERATIONAL], dma_works),
            check("interrupt_comes_in", state, &[&OPERATIONAL], interrupt_comes),
            check("work_goes_on_in", state, &[&OPERATIONAL], work_goes_on),
        ]);
    }
    checks.push(Check::new("quiesce::dma_works_in_pre_copy_after_p2p", &[&OPERATIONAL], dma_works_after_p2p));
    for state in STOPPED {
        checks.push(check("work_goes_on_after_a_reset_in", state, &[&OPERATIONAL], work_goes_on_after_a_reset));
    }
    for state in STOPPED_WITH_STATE {
        checks.extend([
            check("answers_in", state, &[&ANSWERS], answers),
            check("touched_in", state, &[&TOUCH_HARMLESS], touched),
        ]);
    }
    for way in STOPPED.into_iter().chain(P2P_QUIESCED).map(Way::to).chain(WHILE_MIGRATING) {
        checks.extend(checks_of(way));
    }
    checks
}

/// What has to be quiet once a way is gone.
fn checks_of(way: Way) -> Vec<Check> {
    let check = |what: &str, judged: &[&'static Requirement], body: fn(&mut Bench, Way) -> Judgement| {
        Check::new(format!("quiesce::{what}_{}", way.name()), judged, move |bench| body(bench, way))
    };
    let is_p2p = P2P_QUIESCED.contains(&way.to);
    let (no_dma_there, waits) = if is_p2p { (&P2P_NO_DMA, &P2P_WAITS) } else { (&NO_DMA, &STOP_WAITS) };
    let mut checks = vec![check("no_dma_in", &[no_dma_there, way.continues()], no_dma)];
    // What moves was waited for on the way already where that leads through STOP.
    if way.through == Through::Nothing {
        checks.push(check("waits_for_dma_before", &[waits, way.continues()], waits_for_dma));
    }
    if !is_p2p {
        checks.push(check("no_interrupt_in", &[&NO_INTERRUPT, way.interrupt_comes()], no_interrupt));
    }
    if STOPPED_WITH_STATE.contains(&way.to) {
        checks.push(check("frozen_in", &[&FROZEN, way.continues()], frozen));
    }
    checks
}

/// A way into a quiet state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    /// Where the device is when something is begun.
    from: State,
    /// What it goes through on the way.
    through: Through,
    /// Where it is quiet.
    to: State,
}

/// What a way leads through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Through {
    /// Only what the oracle says.
    Nothing,
    /// STOP, from which it goes on.
    Stop,
    /// STOP_COPY, where the device is saved, and RESUMING, where that is loaded.
    Load,
}

impl Way {
    /// The way from RUNNING.
    fn to(to: State) -> Way {
        Way { from: State::Running, through: Through::Nothing, to }
    }

    fn name(self) -> String {
        let to = lower(self.to);
        match (self.through, self.from) {
            (Through::Nothing, State::Running) => to,
            (Through::Nothing, from) => format!("{to}_from_{}", lower(from)),
            (Through::Stop, _) => format!("{to}_after_stop"),
            (Through::Load, _) => format!("{to}_after_a_load"),
        }
    }

    /// The requirement that nothing is lost on it: transfers and work.
    fn continues(self) -> &'static Requirement {
        match self.through {
            Through::Nothing | Through::Stop => &CONTINUES,
            Through::Load => &LOAD_CONTINUES,
        }
    }

    /// And interrupts.
    fn interrupt_comes(self) -> &'static Requirement {
        match self.through {
            Through::Nothing | Through::Stop => &INTERRUPT_COMES,
            Through::Load => &LOAD_CONTINUES,
        }
    }

    /// Brings the device to where the way begins, or skips where it does not lead.
    fn begin(self, bench: &mut Bench) -> Judgement<Option<Session>> {
        match self.from {
            from if bench.capabilities().has(self.to) => bench.bring_to(from),
            // Skips, once asking for it was seen to be refused.
            _ => bench.bring_to(self.to),
        }
    }

    /// Goes the way, with the session that there was at its beginning.
    fn go(self, bench: &mut Bench, session: Option<Session>) -> Judgement<Option<Session>> {
        match (self.through, self.from) {
            (Through::Nothing, State::Running) => bench.bring_to(self.to),
            (Through::Nothing, from) => bench.bring_on(from, self.to).map(|()| session),
            (Through::Stop, _) => {
                bench.bring_to(State::Stop)?;
                bench.bring_on(State::Stop, self.to).map(|()| None)
            }
            (Through::Load, _) => save_and_load(bench).map(|()| None),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.through, self.from) {
            (Through::Nothing, State::Running) => self.to.fmt(f),
            (Through::Nothing, from) => write!(f, "{} from {from}", self.to),
            (Through::Stop, from) => write!(f, "{} from {from} through STOP", self.to),
            (Through::Load, _) => write!(f, "{} by a save in STOP_COPY and a load of that in RESUMING", self.to),
        }
    }
}

/// Saves the device, which is in RUNNING, and has it load that. It is in STOP then.
fn save_and_load(bench: &mut Bench) -> Judgement {
    let session = bench.bring_to_session(State::StopCopy)?;
    let stream = bench.save(&session)?;
    bench.close(session);
    let requested = bench.request(State::StopCopy, State::Resuming.number());
    let session = bench.require_session(requested, State::Resuming)?;
    bench.load(&session, &stream)?;
    bench.move_to(State::Resuming, State::Stop)
}

fn check(what: &str, state: State, judged: &[&'static Requirement], body: fn(&mut Bench, State) -> Judgement) -> Check {
    Check::new(format!("quiesce::{what}_{}", lower(state)), judged, move |bench| body(bench, state))
}

fn dma_works(bench: &mut Bench, state: State) -> Judgement {
    let area = bench.map_area(IOVA, TRANSFER_BYTES)?;
    let _session = bench.bring_to(state)?;
    completes_at_once(bench, &area, &state.to_string())
}

/// A VMM that gives up after PRE_COPY_P2P goes back to PRE_COPY, and the guest runs on.
fn dma_works_after_p2p(bench: &mut Bench) -> Judgement {
    let area = bench.map_area(IOVA, TRANSFER_BYTES)?;
    let way = Way { from: State::PreCopy, through: Through::Nothing, to: State::PreCopyP2p };
    let session = way.begin(bench)?;
    let _session = way.go(bench, session)?;
    bench.bring_on(State::PreCopyP2p, State::PreCopy)?;
    completes_at_once(bench, &area, "PRE_COPY after PRE_COPY_P2P")
}

/// Transfers are done where the device is operational.
fn completes_at_once(bench: &mut Bench, area: &DmaArea, place: &str) -> Judgement {
    for direction in [DmaDirection::ToMemory, DmaDirection::FromMemory] {
        bench.begin_dma(direction, area, TRANSFER_BYTES, Duration::ZERO)?;
        let finished = bench.try_stimulus(Stimulus::FinishDma);
        let asked = format!("{direction} memory by DMA in {place}");
        let told = finished.as_ref().map_or_else(ToString::to_string, |()| "it completed".to_owned());
        bench.judge(&OPERATIONAL, finished.is_ok(), asked, "the transfer to complete", told)?;
    }
    all_written(bench, &OPERATIONAL, area, &format!("write memory by DMA in {place}"))
}

fn interrupt_comes(bench: &mut Bench, state: State) -> Judgement {
    let interrupts = bench.listen()?;
    let _session = bench.bring_to(state)?;
    bench.stimulate(Stimulus::Interrupt { after: Duration::ZERO })?;
    let came = bench.interrupted(&interrupts, interrupts.line().within);
    bench.judge(&OPERATIONAL, came, format!("raise an interrupt in {state}"), "it to come", "none")
}

fn work_goes_on(bench: &mut Bench, state: State) -> Judgement {
    let _session = bench.bring_to(state)?;
    bench.stimulate(Stimulus::StartWork)?;
    let moves = moves(bench)?;
    bench.judge(&OPERATIONAL, moves, format!("start work in {state}"), "it to go on", "nothing moved")
}

/// RUNNING means that the device runs, whatever it was reset from.
fn work_goes_on_after_a_reset(bench: &mut Bench, state: State) -> Judgement {
    drop(bench.bring_to(state)?);
    // What it answers shows in the state.
    let _ = bench.reset();
    if !matches!(bench.get_state(), Ok(answer) if answer.device_state == State::Running.number()) {
        return Err(Interruption::blocked_by(&reset::RUNNING, "the reset did not lead to RUNNING"));
    }
    bench.stimulate(Stimulus::StartWork)?;
    let moves = moves(bench)?;
    bench.judge(&OPERATIONAL, moves, format!("RESET in {state}, then start work"), "it to go on", "nothing moved")
}

/// A transfer is pending; in the quiet state it does not begin, and afterwards it completes.
fn no_dma(bench: &mut Bench, way: Way) -> Judgement {
    let requirement = requirement_in(bench, way.to, &NO_DMA, &P2P_NO_DMA)?;
    let area = bench.map_area(IOVA, TRANSFER_BYTES)?;
    let (_session, delay) = enter_with_pending(
        bench,
        way,
        |bench, delay| {
            area.refresh();
            bench.begin_dma(DmaDirection::ToMemory, &area, TRANSFER_BYTES, delay)
        },
        |_| Ok(area.pages_written() > 0),
        |bench| bench.stimulate(Stimulus::FinishDma),
    )?;
    bench.watch(delay + TAIL);
    let written = area.pages_written();
    let asked = format!("enter {way} while a DMA write is pending");
    bench.judge(requirement, written == 0, &asked, "no write", format!("{written} pages written"))?;
    completes(bench, way, &area, &asked)
}

/// A transfer moves; once the quiet state is entered it moves no more, and afterwards it is complete.
fn waits_for_dma(bench: &mut Bench, way: Way) -> Judgement {
    let requirement = requirement_in(bench, way.to, &STOP_WAITS, &P2P_WAITS)?;
    let area = bench.map_area(IOVA, TRANSFER_BYTES)?;
    let session = way.begin(bench)?;
    bench.begin_dma(DmaDirection::ToMemory, &area, TRANSFER_BYTES, Duration::ZERO)?;
    let _session = way.go(bench, session)?;
    let at_entry = area.contents();
    bench.watch(TAIL);
    let asked = format!("enter {way} while a DMA write moves");
    let is_still = area.contents() == at_entry;
    bench.judge(requirement, is_still, &asked, "no write after the return", "more was written")?;
    completes(bench, way, &area, &asked)
}

fn no_interrupt(bench: &mut Bench, way: Way) -> Judgement {
    let interrupts = bench.listen()?;
    let (_session, delay) = enter_with_pending(
        bench,
        way,
        |bench, after| bench.stimulate(Stimulus::Interrupt { after }),
        |bench| Ok(bench.interrupted(&interrupts, Duration::ZERO)),
        |bench| {
            // One that came already does not come again.
            bench.interrupted(&interrupts, TAIL);
            Ok(())
        },
    )?;
    let came = bench.interrupted(&interrupts, delay + TAIL);
    let asked = format!("enter {way} while an interrupt is pending");
    bench.judge(&NO_INTERRUPT, !came, &asked, "no interrupt", "one came")?;
    if way.to == State::Resuming {
        // What leads out replaces the device's state, and the interrupt with it.
        return Ok(());
    }
    bench.move_to(way.to, State::Running)?;
    let came = bench.interrupted(&interrupts, interrupts.line().within);
    let asked = format!("{asked}, then go back to RUNNING");
    bench.judge(way.interrupt_comes(), came, asked, "the interrupt to come", "none")
}

fn frozen(bench: &mut Bench, way: Way) -> Judgement {
    let session = way.begin(bench)?;
    bench.stimulate(Stimulus::StartWork)?;
    if !moves(bench)? {
        let why = format!("work was started, but nothing moves in {}", way.from);
        return Err(Interruption::blocked_by(&OPERATIONAL, why));
    }
    let _session = way.go(bench, session)?;
    let before = look(bench)?;
    bench.watch(TAIL);
    let is_still = look(bench)? == before;
    let asked = format!("enter {way} while the device works by itself");
    bench.judge(&FROZEN, is_still, &asked, "internal state to stay as it is", "it has changed")?;
    bench.move_to(way.to, State::Running)?;
    let goes_on = moves(bench)?;
    bench.judge(way.continues(), goes_on, format!("{asked}, then go back to RUNNING"), "work to go on", "nothing moved")
}

/// What a VMM asks of a device that is stopped: the same questions, the same answers.
fn answers(bench: &mut Bench, state: State) -> Judgement {
    let running = questions(bench);
    let _session = bench.bring_to(state)?;
    let stopped = questions(bench);
    for ((asked, expected), (_, actual)) in running.into_iter().zip(stopped) {
        bench.judge(
            &ANSWERS,
            actual == expected,
            format!("{asked} in {state}"),
            format!("{expected}, as in RUNNING"),
            actual,
        )?;
    }
    Ok(())
}

fn touched(bench: &mut Bench, state: State) -> Judgement {
    let session = bench.bring_to(state)?;
    // What the access answers is the device's matter; only a device that has no such access is none to judge.
    match bench.try_stimulus(Stimulus::Dirty(4096)) {
        Ok(()) | Err(StimulusError::Failed { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    let _ = bench.device_state();
    drop(session);
    let asked = format!("touch the device in {state}, then bring it back");
    // The state shows whether that works.
    let _ = bench.return_by_reset(true);
    bench.expect_state(&TOUCH_HARMLESS, &asked, State::Running)?;
    bench.expect_reachable(&TOUCH_HARMLESS, &asked, state)
}

/// Enters a state with something pending that was begun before: with the first delay that is long enough for the
/// transition. Returns the delay too.
fn enter_with_pending(
    bench: &mut Bench,
    way: Way,
    begin: impl Fn(&mut Bench, Duration) -> Judgement,
    has_come: impl Fn(&mut Bench) -> Judgement<bool>,
    finish: impl Fn(&mut Bench) -> Judgement,
) -> Judgement<(Option<Session>, Duration)> {
    for delay in DELAYS {
        let session = way.begin(bench)?;
        let (session, took) = bench.timed(|bench| {
            begin(bench, delay)?;
            way.go(bench, session)
        })?;
        // What became due before may have begun, and be on its way to us still.
        if took < delay && !has_come(bench)? {
            return Ok((session, delay));
        }
        drop(session);
        bench.bring_back()?;
        // What leads out of RESUMING has taken it away.
        if way.to != State::Resuming {
            finish(bench)?;
        }
    }
    let longest = DELAYS[DELAYS.len() - 1].as_millis();
    Err(Interruption::hindered(
        Environment::Timing,
        format!(
            "nothing could be in flight in {way}: what was to come after {longest} ms came before the transition was over"
        ),
    ))
}

/// The transfer is complete once the device is in RUNNING again.
fn completes(bench: &mut Bench, way: Way, area: &DmaArea, asked: &str) -> Judgement {
    if way.to == State::Resuming {
        // What leads out replaces the device's state, and the transfer with it.
        return Ok(());
    }
    // No reset may help, which would drop the transfer.
    bench.move_to(way.to, State::Running)?;
    let asked = format!("{asked}, then go back to RUNNING");
    let finished = bench.try_stimulus(Stimulus::FinishDma);
    let told = finished.as_ref().map_or_else(ToString::to_string, |()| "it completed".to_owned());
    bench.judge(way.continues(), finished.is_ok(), &asked, "the transfer to complete", told)?;
    all_written(bench, way.continues(), area, &asked)
}

fn all_written(bench: &mut Bench, requirement: &'static Requirement, area: &DmaArea, asked: &str) -> Judgement {
    let (written, pages) = (area.pages_written(), TRANSFER_BYTES / 4096);
    let expected = format!("all {pages} pages to be written");
    bench.judge(requirement, written == pages, asked, expected, format!("{written} are written"))
}

/// Which requirement a state is about. A device that tells P2P apart may go on with other DMA, and no stimulus makes the
/// P2P kind.
fn requirement_in(
    bench: &Bench,
    state: State,
    stopped: &'static Requirement,
    p2p: &'static Requirement,
) -> Judgement<&'static Requirement> {
    if !P2P_QUIESCED.contains(&state) {
        return Ok(stopped);
    }
    match bench.nature().distinguishes_p2p {
        false => Ok(p2p),
        true => Err(no_method("the device tells peer-to-peer from other DMA, and no stimulus makes the former")),
    }
}

/// Whether what moves by itself does move, within a bound.
fn moves(bench: &mut Bench) -> Judgement<bool> {
    let before = bench.progress()?;
    for _ in 0..SHOWS_WITHIN.as_millis() / LOOK_EVERY.as_millis() {
        if bench.progress()? != before {
            return Ok(true);
        }
        bench.watch(LOOK_EVERY);
    }
    Ok(false)
}

/// All of a device's internal state that can be seen.
fn look(bench: &mut Bench) -> Judgement<(Vec<u8>, Vec<u8>)> {
    let state = match bench.device_state() {
        Err(Interruption::Skip(_)) => Vec::new(),
        state => state?,
    };
    Ok((bench.progress()?, state))
}

/// What a VMM asks of a device that is stopped, with the answers.
fn questions(bench: &mut Bench) -> Vec<(String, String)> {
    let info = bench.info();
    let mut all = vec![("GET_INFO".to_owned(), answered(info))];
    let Ok(info) = info else {
        return all;
    };
    for index in 0..info.regions {
        all.push((format!("GET_REGION_INFO {index}"), answered(bench.region_info(index))));
    }
    for index in 0..info.irqs {
        let irq = bench.irq_info(index);
        all.push((format!("GET_IRQ_INFO {index}"), answered(irq)));
        if irq.is_ok_and(|irq| irq.count > 0 && irq.flags & VFIO_IRQ_INFO_EVENTFD != 0) {
            all.push((format!("SET_IRQS {index}"), answered(bench.try_irq(index))));
        }
    }
    if info.flags & VFIO_DEVICE_FLAGS_PCI != 0 {
        let mut ids = [0; 4];
        let read = bench.region_read(VFIO_PCI_CONFIG_REGION_INDEX, &mut ids);
        let seen = read.map_or_else(errno_name, |bytes| format!("{bytes} bytes: {ids:02x?}"));
        all.push(("read the PCI ids".to_owned(), seen));
    }
    all
}

fn answered<T: fmt::Debug>(answer: Result<T, Errno>) -> String {
    answer.map_or_else(errno_name, |answer| format!("{answer:?}"))
}
