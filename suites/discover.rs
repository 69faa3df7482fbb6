//! What a device says about itself, and how the feature ioctl treats what it does not understand.

use crate::harness::bench::{Bench, KernelVersion, Migration, names_of, tell_return};
use crate::harness::check::{Check, Interruption, Judgement, Needs, Skip};
use crate::requirement::Requirement;
use crate::requirement::discover::*;
use crate::uapi::Errno;
use crate::uapi::feature::{Feature, FeatureCall, HEADER_BYTES, MigState, Placement, Verb};
use crate::uapi::state::State;

/// A number that no kernel has used for a feature, in the 16 bits that are there for it.
const UNKNOWN: u32 = 0xffe0;

/// From this kernel on, an unknown feature is ENOTTY from every driver; before, also EINVAL. Stable kernels may have it
/// earlier.
const UNKNOWN_IS_ENOTTY: KernelVersion = KernelVersion::new(6, 18);

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
            check("bad_memory", &[&BAD_MEMORY], bad_memory),
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
        Migration::Absent => return skip("the device has no migration"),
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
        let mut call = telling_use(feature).with_argsz(argsz);
        let asked = format!("{} with argsz {argsz}, where {enough} is needed", call.describe());
        refuses(bench, &ARGSZ_SMALL, &mut call, &asked)?;
    }
    Ok(())
}

fn argsz_large(bench: &mut Bench, feature: Feature) -> Judgement {
    needs(bench, feature)?;
    let exact = bench.feature(&mut harmless_use(feature));
    for more in [1, 8, 4096] {
        let call = harmless_use(feature);
        let argsz = call.argsz + more;
        let mut call = call.with_argsz(argsz);
        let answer = bench.feature(&mut call);
        let asked = format!("{} with argsz {argsz}, {more} more than needed", call.describe());
        let expected = format!("{}, as with the exact argsz", tell_return(&exact));
        bench.judge(&ARGSZ_LARGE, answer == exact, asked, expected, tell_return(&answer))?;
    }
    let asked = harmless_use(feature).describe();
    let kept = !matches!(exact, Ok(positive) if positive != 0);
    bench.judge(&SUCCESS_IS_ZERO, kept, asked, "success (0), or an errno", tell_return(&exact))
}

fn unknown_flags(bench: &mut Bench, feature: Feature) -> Judgement {
    needs(bench, feature)?;
    for bit in [19, 24, 31] {
        let mut call = telling_use(feature);
        call.flags |= 1 << bit;
        let asked = format!("{} with flag bit {bit}, which is not defined", call.describe());
        refuses(bench, &UNKNOWN_FLAGS, &mut call, &asked)?;
    }
    Ok(())
}

fn get_and_set(bench: &mut Bench, feature: Feature) -> Judgement {
    needs(bench, feature)?;
    for (verb, words) in [(Verb::GetSet, "GET and SET at once"), (Verb::Nothing, "neither GET nor SET")] {
        let mut call = telling_use(feature);
        call.flags = feature.number() | verb.bits();
        let asked = format!("{}, with {words}", feature.name());
        refuses(bench, &GET_AND_SET, &mut call, &asked)?;
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
    let mut call = harmless_use(feature);
    call.flags = feature.number() | wrong.bits();
    let asked = call.describe();
    refuses(bench, &WRONG_DIRECTION, &mut call, &asked)
}

fn bad_memory(bench: &mut Bench, feature: Feature) -> Judgement {
    needs(bench, feature)?;
    let mut placements = vec![Placement::Unmapped];
    if feature.payload_bytes() > 0 {
        placements.push(Placement::HeaderOnly);
    }
    // What a DMA log report writes is the bitmap, which the dma_logging chapter looks at.
    if feature.can_get() && feature != Feature::DmaLoggingReport {
        placements.push(Placement::ReadOnly);
    }
    // What is refused in good memory too may be refused before the memory is looked at.
    let mut allowed = vec![Errno::EFAULT];
    allowed.extend(bench.feature(&mut harmless_use(feature)).err());
    for placement in placements {
        let mut call = harmless_use(feature).placed(placement);
        let asked = format!("{} with its structure in bad memory ({placement:?})", call.describe());
        let answer = bench.feature(&mut call);
        bench.expect_errno(&BAD_MEMORY, &asked, answer, &allowed)?;
    }
    Ok(())
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

/// The call answers EINVAL, and the device is still in RUNNING.
fn refuses(bench: &mut Bench, requirement: &'static Requirement, call: &mut FeatureCall, asked: &str) -> Judgement {
    let answer = bench.feature(call);
    bench.expect_errno(requirement, asked, answer, &[Errno::EINVAL])?;
    bench.expect_state(&REFUSAL_CHANGES_NOTHING, asked, State::Running)
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
        true => Interruption::Skip(Skip::CorrectlyAbsent(format!("{name} is not there, and using it answers {told}"))),
        false => Interruption::Blocked(format!("PROBE does not find {name}, yet using it answers {told}")),
    })
}

fn skip(why: &str) -> Judgement {
    Err(Interruption::Skip(Skip::Lacking(why.to_owned())))
}
