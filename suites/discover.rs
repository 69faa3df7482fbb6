//! What a device says about itself, and how the feature ioctl treats what it does not understand.

use crate::harness::bench::{Bench, KernelVersion, Migration, names_of, placement_name, tell_return, tell_state};
use crate::harness::check::{Check, Interruption, Judgement, Needs, Skip};
use crate::requirement::discover::*;
use crate::requirement::{Requirement, dma_logging};
use crate::uapi::Errno;
use crate::uapi::dma_logging::{IovaRange, LoggingReport, LoggingStart};
use crate::uapi::feature::{Feature, FeatureCall, HEADER_BYTES, MigState, Placement, Shape, Verb};
use crate::uapi::state::State;

use super::{does_not_apply, no_log};

/// A number that no kernel has used for a feature, in the 16 bits that are there for it.
const UNKNOWN: u32 = 0xffe0;

/// From this kernel on, an unknown feature is ENOTTY from every driver; before, also EINVAL. Stable kernels may have it
/// earlier.
const UNKNOWN_IS_ENOTTY: KernelVersion = KernelVersion::new(6, 18);

/// What is logged where any log will do. Nothing is mapped there, so nothing is written.
const LOGGED: IovaRange = IovaRange { iova: 16 << 20, length: 64 << 10 };
const LOG_PAGE: u64 = 4096;

const ENOTTY: &[Errno] = &[Errno::ENOTTY];
const ENOTTY_OR_EINVAL: &[Errno] = &[Errno::ENOTTY, Errno::EINVAL];

pub(super) fn checks() -> Vec<Check> {
    let mut checks = vec![
        Check::new("discover::capability_set", &[&FLAGS], capability_set).needing(Needs::Nothing),
        Check::new("discover::unknown_feature", &[&UNKNOWN_FEATURE], unknown_feature).needing(Needs::Nothing),
        Check::new("discover::not_migratable", &[&NOT_MIGRATABLE], not_migratable).needing(Needs::NoMigration),
    ];
    for feature in Feature::ALL {
        let name = |what: &str| format!("discover::{what}_{}", feature.name().to_ascii_lowercase());
        let check = |what: &str, requirements: &[&'static Requirement], body: Body| {
            Check::new(name(what), requirements, move |bench| body(bench, feature))
        };
        let refusal = |requirement| [requirement, &REFUSAL_CHANGES_NOTHING];
        checks.extend([
            check("probe", &[&PROBE, &PROBE_CHANGES_NOTHING], probe),
            check("argsz_small", &refusal(&ARGSZ_SMALL), argsz_small),
            check("argsz_large", &[&ARGSZ_LARGE, &SUCCESS_IS_ZERO], argsz_large),
            check("unknown_flags", &refusal(&UNKNOWN_FLAGS), unknown_flags),
            check("get_and_set", &refusal(&GET_AND_SET), get_and_set),
            check("bad_memory", &refusal(&BAD_MEMORY), bad_memory),
        ]);
        if let Some(wrong) = wrong_direction_of(feature) {
            let judged = refusal(&WRONG_DIRECTION);
            checks.push(Check::new(name("wrong_direction"), &judged, move |bench| {
                wrong_direction(bench, feature, wrong)
            }));
        }
    }
    checks
}

type Body = fn(&mut Bench, Feature) -> Judgement;

fn capability_set(bench: &mut Bench) -> Judgement {
    let (kept, actual) = match bench.migration() {
        Migration::Has(set) => (true, set.to_string()),
        Migration::Absent => return Err(does_not_apply("the device has no migration")),
        Migration::Nonsense(Ok(flags)) => (false, format!("flags {flags:#x}")),
        Migration::Nonsense(Err(errno)) => (false, format!("{errno:?}")),
    };
    let expected = "flags 0x1, 0x3, 0x5 or 0x7, or ENOTTY where there is no migration";
    bench.judge(&FLAGS, kept, "GET MIGRATION", expected, actual)
}

fn unknown_feature(bench: &mut Bench) -> Judgement {
    let allowed = match bench.kernel() < UNKNOWN_IS_ENOTTY {
        true => ENOTTY_OR_EINVAL,
        false => ENOTTY,
    };
    for verb in [Verb::Probe, Verb::Get, Verb::Set] {
        let mut call = FeatureCall::new(Feature::Migration, verb);
        call.flags = UNKNOWN | verb.bits();
        let answer = bench.feature(&mut call);
        bench.expect_errno(&UNKNOWN_FEATURE, &call.describe(), answer, allowed)?;
    }
    Ok(())
}

fn not_migratable(bench: &mut Bench) -> Judgement {
    for feature in [Feature::Migration, Feature::MigDeviceState, Feature::MigDataSize, Feature::MigPrecopyInfoV2] {
        let absent = errnos_if_absent(bench, feature);
        for mut call in [FeatureCall::new(feature, Verb::Probe), harmless_use(feature), telling_use(feature)] {
            let answer = bench.feature(&mut call);
            bench.expect_errno(&NOT_MIGRATABLE, &call.describe(), answer, absent)?;
        }
    }
    Ok(())
}

/// What PROBE says, and what a use says that cannot do harm.
fn probe(bench: &mut Bench, feature: Feature) -> Judgement {
    let absent = errnos_if_absent(bench, feature);
    // PROBE alone needs no data.
    let mut plain = FeatureCall::new(feature, Verb::Probe).with_payload(Vec::new()).with_argsz(HEADER_BYTES);
    let plain = bench.feature(&mut plain);
    let present = plain.is_ok();
    let used = bench.feature(&mut harmless_use(feature));
    let asked = format!("PROBE {0}, then use {0}", feature.name());
    let agrees = match present {
        true => plain == Ok(0) && used != Err(Errno::ENOTTY),
        false => is_one_of(plain, absent) && is_one_of(used, absent),
    };
    let actual = format!("{} from PROBE, {} from use", tell_return(&plain), tell_return(&used));
    let expected = format!("both to find it, or {} from both", names_of(absent));
    bench.judge(&PROBE, agrees, asked, expected, actual)?;
    for (verb, works) in [
        (Verb::ProbeGet, feature.can_get()),
        (Verb::ProbeSet, feature.can_set()),
        (Verb::ProbeGetSet, feature.can_get() && feature.can_set()),
    ] {
        let mut call = probing(feature, verb);
        let answer = bench.feature(&mut call);
        let (kept, expected) = match (present, works) {
            (true, true) => (answer == Ok(0), "success (0)".to_owned()),
            (true, false) => (answer == Err(Errno::EINVAL), "EINVAL".to_owned()),
            (false, _) => (is_one_of(answer, absent), names_of(absent)),
        };
        bench.judge(&PROBE, kept, call.describe(), expected, tell_return(&answer))?;
    }
    bench.expect_state(&PROBE_CHANGES_NOTHING, &format!("PROBE {}", feature.name()), State::Running)
}

/// A PROBE with contents that would show if the driver used them: it would stop the device.
fn probing(feature: Feature, verb: Verb) -> FeatureCall {
    let call = FeatureCall::new(feature, verb);
    match feature {
        Feature::MigDeviceState => call.with_payload(asking_for(State::Stop)),
        _ => call,
    }
}

fn asking_for(state: State) -> Vec<u8> {
    MigState { device_state: state.number(), data_fd: -1 }.to_bytes()
}

/// What a feature that is not there answers, to PROBE and to use alike.
fn errnos_if_absent(bench: &Bench, feature: Feature) -> &'static [Errno] {
    // Kernels before 7.1 do not know this feature; later ones miss the capability, and say EINVAL to that.
    let is_excused =
        feature == Feature::MigPrecopyInfoV2 && (bench.kernel() < UNKNOWN_IS_ENOTTY || !bench.capabilities().pre_copy);
    match is_excused {
        true => ENOTTY_OR_EINVAL,
        false => ENOTTY,
    }
}

fn is_one_of(answer: Result<i32, Errno>, errnos: &[Errno]) -> bool {
    answer.is_err_and(|errno| errnos.contains(&errno))
}

fn argsz_small(bench: &mut Bench, feature: Feature) -> Judgement {
    needs(bench, feature)?;
    let enough = HEADER_BYTES + feature.payload_bytes();
    for argsz in [0, HEADER_BYTES - 1, HEADER_BYTES, enough.saturating_sub(1)] {
        if argsz >= enough {
            continue;
        }
        let shape = Shape { argsz: Some(argsz), ..Shape::default() };
        let asked = format!("{} with argsz {argsz}, where {enough} is needed", describe(feature, Use::Telling, shape));
        refuses(bench, &ARGSZ_SMALL, feature, shape, &asked)?;
    }
    Ok(())
}

fn argsz_large(bench: &mut Bench, feature: Feature) -> Judgement {
    needs(bench, feature)?;
    let exact = use_once(bench, feature, Use::Harmless, Shape::default())?;
    for more in [1, 8, 4096] {
        let argsz = HEADER_BYTES + feature.payload_bytes() + more;
        let shape = Shape { argsz: Some(argsz), ..Shape::default() };
        let answer = use_once(bench, feature, Use::Harmless, shape)?;
        let asked = format!("{} with argsz {argsz}, {more} more than needed", describe(feature, Use::Harmless, shape));
        let expected = format!("{}, as with the exact argsz", tell_return(&exact));
        bench.judge(&ARGSZ_LARGE, answer == exact, asked, expected, tell_return(&answer))?;
    }
    let asked = describe(feature, Use::Harmless, Shape::default());
    let kept = !matches!(exact, Ok(positive) if positive != 0);
    bench.judge(&SUCCESS_IS_ZERO, kept, asked, "success (0), or an errno", tell_return(&exact))?;
    match feature {
        Feature::MigDeviceState => set_with_large_argsz(bench),
        _ => Ok(()),
    }
}

/// The one feature that goes both ways.
fn set_with_large_argsz(bench: &mut Bench) -> Judgement {
    let exact = telling_use(Feature::MigDeviceState).argsz;
    let expected = set_stop_with(bench, exact);
    bench.bring_back()?;
    let argsz = exact + 8;
    let actual = set_stop_with(bench, argsz);
    let asked = format!("SET STOP with argsz {argsz}, 8 more than needed");
    bench.judge(&ARGSZ_LARGE, actual == expected, asked, format!("{expected}, as with the exact argsz"), actual)
}

/// What a SET of STOP answers, and where it leads.
fn set_stop_with(bench: &mut Bench, argsz: u32) -> String {
    let answer = bench.feature(&mut telling_use(Feature::MigDeviceState).with_argsz(argsz));
    format!("{}, then {}", tell_return(&answer), tell_state(&bench.get_state()))
}

fn unknown_flags(bench: &mut Bench, feature: Feature) -> Judgement {
    needs(bench, feature)?;
    for bit in [19, 24, 31] {
        let shape = Shape { more_flags: 1 << bit, ..Shape::default() };
        let asked =
            format!("{} with flag bit {bit}, which is not defined", describe(feature, Use::Telling, Shape::default()));
        refuses(bench, &UNKNOWN_FLAGS, feature, shape, &asked)?;
    }
    Ok(())
}

fn get_and_set(bench: &mut Bench, feature: Feature) -> Judgement {
    needs(bench, feature)?;
    for (verb, words) in [(Verb::GetSet, "GET and SET at once"), (Verb::Nothing, "neither GET nor SET")] {
        let shape = Shape { verb: Some(verb), ..Shape::default() };
        let asked = format!("{}, with {words}", feature.name());
        refuses(bench, &GET_AND_SET, feature, shape, &asked)?;
    }
    Ok(())
}

/// The direction that a feature does not have; `None` if it has both.
fn wrong_direction_of(feature: Feature) -> Option<Verb> {
    match (feature.can_get(), feature.can_set()) {
        (true, false) => Some(Verb::Set),
        (false, true) => Some(Verb::Get),
        _ => None,
    }
}

fn wrong_direction(bench: &mut Bench, feature: Feature, wrong: Verb) -> Judgement {
    needs(bench, feature)?;
    let shape = Shape { verb: Some(wrong), ..Shape::default() };
    let asked = describe(feature, Use::Telling, shape);
    refuses(bench, &WRONG_DIRECTION, feature, shape, &asked)
}

fn bad_memory(bench: &mut Bench, feature: Feature) -> Judgement {
    needs(bench, feature)?;
    let mut placements = vec![Placement::Unmapped];
    if feature.payload_bytes() > 0 {
        placements.push(Placement::HeaderOnly);
    }
    // What a DMA log report writes is the bitmap, which the dma_logging chapter looks at. START answers the page size.
    if feature == Feature::DmaLoggingStart || (feature.can_get() && feature != Feature::DmaLoggingReport) {
        placements.push(Placement::ReadOnly);
    }
    require_stop(bench, feature)?;
    // What is refused in good memory too may be refused before the memory is looked at.
    let mut allowed = vec![Errno::EFAULT];
    allowed.extend(use_once(bench, feature, Use::Harmless, Shape::default())?.err());
    for placement in placements {
        let shape = Shape { placement, ..Shape::default() };
        let answer = use_once(bench, feature, Use::Harmless, shape)?;
        let call = describe(feature, Use::Harmless, shape);
        let asked = format!("{call} with its structure in {}", placement_name(placement));
        bench.expect_errno(&BAD_MEMORY, &asked, answer, &allowed)?;
    }
    match feature {
        Feature::MigDeviceState => set_in_bad_memory(bench),
        Feature::DmaLoggingStart => ranges_in_bad_memory(bench),
        _ => Ok(()),
    }
}

/// The one feature that goes both ways. Memory that can be read and not written is for the session chapter.
fn set_in_bad_memory(bench: &mut Bench) -> Judgement {
    for placement in [Placement::Unmapped, Placement::HeaderOnly] {
        let answer = bench.feature(&mut telling_use(Feature::MigDeviceState).placed(placement));
        let asked = format!("SET STOP with its structure in {}", placement_name(placement));
        bench.expect_errno(&BAD_MEMORY, &asked, answer, &[Errno::EFAULT])?;
        bench.expect_state(&REFUSAL_CHANGES_NOTHING, &asked, State::Running)?;
    }
    Ok(())
}

fn ranges_in_bad_memory(bench: &mut Bench) -> Judgement {
    require_start(bench, Feature::DmaLoggingStart)?;
    let mut start = any_log();
    start.readable = false;
    let answer = bench.dma_logging_start(&mut start);
    bench.expect_errno(&BAD_MEMORY, "START of ranges that cannot be read", answer, &[Errno::EFAULT])?;
    can_start(bench, "START of ranges that cannot be read, which is refused")
}

/// How a feature is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// As [`harmless_use`] does.
    Harmless,
    /// As [`telling_use`] does.
    Telling,
}

/// In protocol words, without what is unusual about it but for the verb.
fn describe(feature: Feature, how: Use, shape: Shape) -> String {
    plain_use(feature, how).shaped(Shape { verb: shape.verb, ..Shape::default() }).describe()
}

fn plain_use(feature: Feature, how: Use) -> FeatureCall {
    match how {
        Use::Harmless => harmless_use(feature),
        Use::Telling => telling_use(feature),
    }
}

/// Uses the feature in this way, with a log where it needs one, and without one afterwards.
fn use_once(bench: &mut Bench, feature: Feature, how: Use, shape: Shape) -> Judgement<Result<i32, Errno>> {
    begin_log_for(bench, feature)?;
    let answer = use_as(bench, feature, how, shape);
    end_log_of(bench, feature);
    Ok(answer)
}

fn use_as(bench: &mut Bench, feature: Feature, how: Use, shape: Shape) -> Result<i32, Errno> {
    match feature {
        Feature::DmaLoggingStart => {
            let mut start = any_log();
            start.shape = shape;
            bench.dma_logging_start(&mut start)
        }
        Feature::DmaLoggingReport => {
            let mut report = LoggingReport::new(LOGGED, LOG_PAGE);
            report.shape = shape;
            bench.dma_logging_report(&mut report)
        }
        _ => bench.feature(&mut plain_use(feature, how).shaped(shape)),
    }
}

/// A START that is good.
fn any_log() -> LoggingStart {
    LoggingStart::new(LOG_PAGE, vec![LOGGED])
}

/// STOP and REPORT are about a log that goes on.
fn begin_log_for(bench: &mut Bench, feature: Feature) -> Judgement {
    if !is_about_a_log(feature) {
        return Ok(());
    }
    match bench.dma_logging_start(&mut any_log()) {
        Ok(_) => Ok(()),
        Err(errno) => Err(no_log(errno)),
    }
}

/// Whether the feature makes sense only while a log goes on.
fn is_about_a_log(feature: Feature) -> bool {
    matches!(feature, Feature::DmaLoggingStop | Feature::DmaLoggingReport)
}

fn report(bench: &mut Bench) -> Result<i32, Errno> {
    bench.dma_logging_report(&mut LoggingReport::new(LOGGED, LOG_PAGE))
}

fn end_log_of(bench: &mut Bench, feature: Feature) {
    if matches!(feature, Feature::DmaLoggingStart | Feature::DmaLoggingStop | Feature::DmaLoggingReport) {
        // What it answers where no log goes on is for another check.
        let _ = bench.dma_logging_stop();
    }
}

/// A log can be started, as it could before, and is stopped again.
fn can_start(bench: &mut Bench, asked: &str) -> Judgement {
    let answer = bench.dma_logging_start(&mut any_log());
    end_log_of(bench, Feature::DmaLoggingStart);
    let asked = format!("{asked}, then a good START");
    bench.judge(&REFUSAL_CHANGES_NOTHING, answer == Ok(0), asked, "success (0)", tell_return(&answer))
}

/// A use of the feature that changes nothing on a device that conforms: a GET, the SET of a log without ranges, the
/// end of a log that was never begun. The opt-in to PRECOPY_INFOv2 has no effect without a session and ends when
/// the device is closed.
fn harmless_use(feature: Feature) -> FeatureCall {
    let verb = match feature.can_get() {
        true => Verb::Get,
        false => Verb::Set,
    };
    let call = FeatureCall::new(feature, verb);
    match feature {
        // Should a driver take the GET for a SET, it is asked to stay where it is.
        Feature::MigDeviceState => call.with_payload(asking_for(State::Running)),
        _ => call,
    }
}

/// A use that shows if it is performed though it is refused, where there is one: it stops the device.
fn telling_use(feature: Feature) -> FeatureCall {
    match feature {
        Feature::MigDeviceState => FeatureCall::new(feature, Verb::Set).with_payload(asking_for(State::Stop)),
        _ => harmless_use(feature),
    }
}

/// The call answers EINVAL, and nothing has happened.
fn refuses(
    bench: &mut Bench,
    requirement: &'static Requirement,
    feature: Feature,
    shape: Shape,
    asked: &str,
) -> Judgement {
    require_start(bench, feature)?;
    begin_log_for(bench, feature)?;
    // Not every kernel with START has what a REPORT needs.
    let reports = feature == Feature::DmaLoggingStop && report(bench) == Ok(0);
    let answer = use_as(bench, feature, Use::Telling, shape);
    bench.expect_errno(requirement, asked, answer, &[Errno::EINVAL])?;
    bench.expect_state(&REFUSAL_CHANGES_NOTHING, asked, State::Running)?;
    match feature {
        Feature::DmaLoggingStart => can_start(bench, asked),
        // After any error of REPORT the log counts as corrupted, and is started again.
        Feature::DmaLoggingReport => {
            end_log_of(bench, feature);
            can_start(bench, asked)
        }
        _ if reports => {
            let answer = report(bench);
            end_log_of(bench, feature);
            let asked = format!("{asked}, then a good REPORT");
            bench.judge(&REFUSAL_CHANGES_NOTHING, answer == Ok(0), asked, "success (0)", tell_return(&answer))
        }
        _ => {
            end_log_of(bench, feature);
            Ok(())
        }
    }
}

/// A log that does not end keeps the next one away, whatever its arguments are.
fn require_stop(bench: &mut Bench, feature: Feature) -> Judgement {
    if feature != Feature::DmaLoggingStart || use_once(bench, feature, Use::Harmless, Shape::default())?.is_err() {
        return Ok(());
    }
    require_start(bench, feature)
}

/// What a START that is refused has changed can be seen only where a good one works and can be stopped.
fn require_start(bench: &mut Bench, feature: Feature) -> Judgement {
    if !matches!(feature, Feature::DmaLoggingStart | Feature::DmaLoggingReport) {
        return Ok(());
    }
    // Once more, since a log that does not end keeps the next one away.
    for requirement in [&dma_logging::START_SELECTS, &dma_logging::STOP_ENDS] {
        if let Err(errno) = use_once(bench, Feature::DmaLoggingStart, Use::Harmless, Shape::default())? {
            let why = format!("a log could not be started and stopped again: START answered {errno:?}");
            return Err(Interruption::blocked_by(requirement, why));
        }
    }
    Ok(())
}

/// The feature is there; a device without it makes the check skip, once using it was seen to be refused.
fn needs(bench: &mut Bench, feature: Feature) -> Judgement {
    if bench.feature(&mut FeatureCall::new(feature, Verb::Probe)) == Ok(0) {
        return Ok(());
    }
    let absent = errnos_if_absent(bench, feature);
    let used = bench.feature(&mut harmless_use(feature));
    let (name, told) = (feature.name(), tell_return(&used));
    Err(match is_one_of(used, absent) {
        true => Interruption::Skip(Skip::CorrectlyAbsent {
            what: format!("{name} is not there, and using it answers {told}"),
        }),
        false => Interruption::blocked_by(&PROBE, format!("PROBE does not find {name}, yet using it answers {told}")),
    })
}
