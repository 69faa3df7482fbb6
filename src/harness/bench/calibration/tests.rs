//! Wrong profiles on a model that conforms: no requirement is accused, and what cannot be judged is blocked by the key.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::device::model::{ModelDevice, ModelSpec};
use crate::harness::bench::{Host, KernelVersion};
use crate::harness::outcome::Outcome;
use crate::harness::record::Recorder;
use crate::harness::verdict::Verdict;
use crate::stimulus::profile::Profile;
use crate::suites;

const RIGHT: &str = include_str!("../../../../fixtures/profiles/model.toml");

/// Chapters whose checks play keys, but for those that take long.
const CHAPTERS: [&str; 6] = ["fsm", "quiesce", "dma_logging", "precopy", "stop_copy", "resume"];

fn bench(text: &str) -> Bench {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let profile = Profile::read(file.path()).unwrap();
    let device = Box::new(ModelDevice::new(ModelSpec::default()).with_profile(Some(profile)));
    let host = Host { kernel: KernelVersion::NEWEST, ..Host::NEWEST };
    Bench::new(device, host, Err("not asked for".to_owned()), Recorder::new(None))
}

/// What the checks come to that are wanted.
fn outcomes(text: &str, is_wanted: impl Fn(&str) -> bool) -> BTreeMap<String, Outcome> {
    let mut bench = bench(text);
    let checks =
        suites::all().into_iter().filter(|check| CHAPTERS.contains(&check.chapter()) && is_wanted(check.name()));
    checks.map(|check| (check.name().to_owned(), bench.run(&check).outcome)).collect()
}

fn changed(from: &str, to: &str) -> String {
    assert!(RIGHT.contains(from), "{from}");
    RIGHT.replacen(from, to, 1)
}

/// The right profile with other steps behind a key.
fn with_steps(key: &str, steps: &str) -> String {
    let begin = RIGHT.find(&format!("\n{key} = ")).unwrap() + 1;
    let end = begin
        + RIGHT[begin..]
            .find(if RIGHT[begin..].starts_with(&format!("{key} = [\n")) { "\n]\n" } else { "]\n" })
            .unwrap();
    let end = end + RIGHT[end..].find("]\n").unwrap() + 2;
    format!("{}{key} = [{steps}]\n{}", &RIGHT[..begin], &RIGHT[end..])
}

/// Each wrong profile, with the keys of which one has to be named.
fn wrong_profiles() -> Vec<(&'static str, String, Vec<ProfileKey>)> {
    use ProfileKey::*;
    let write = |region: &str, offset: u64, value: &str| {
        format!("{{ write = {{ region = \"{region}\", offset = {offset}, value = {value} }} }}")
    };
    let swapped = RIGHT.replace("0x40, value = 1", "0x40, value = X").replace("0x40, value = 3", "0x40, value = 1");
    vec![
        ("register of dirty", changed("offset = 0x58", "offset = 0x68"), vec![Dirty]),
        ("BAR of dirty", with_steps("dirty", &write("bar4", 0x58, "\"bytes\"")), vec![Dirty]),
        ("dirty starts work", with_steps("dirty", &write("bar2", 8, "1")), vec![Dirty]),
        ("register of start_work", with_steps("start_work", &write("bar2", 0x88, "1")), vec![StartWork, Progress]),
        ("value of start_work", with_steps("start_work", &write("bar2", 8, "7")), vec![StartWork, Progress]),
        ("start_work breaks", with_steps("start_work", &write("bar2", 0, "0x4b524f57")), vec![StartWork, Progress]),
        ("register of stop_work", with_steps("stop_work", &write("bar2", 0x88, "0")), vec![StopWork]),
        ("register of reconfigure", with_steps("reconfigure", &write("bar2", 0x14, "1")), vec![Reconfigure]),
        ("reconfigure breaks", with_steps("reconfigure", &write("bar2", 0, "0x4b524f57")), vec![Reconfigure]),
        ("value of enter_error", changed("0x4b524f57", "0x4b524f58"), vec![EnterError]),
        ("register of interrupt", changed("offset = 0x20", "offset = 0x24"), vec![Interrupt]),
        ("vector that is raised", changed("offset = 0x20, value = 0", "offset = 0x20, value = 1"), vec![Interrupt]),
        ("delay of interrupt", changed("0x18, value = \"delay_us\"", "0x18, value = 4000000000"), vec![Interrupt]),
        ("index of interrupt", changed("index = \"intx\"", "index = \"msix\""), vec![Interrupt]),
        ("address of DMA", changed("offset = 0x28", "offset = 0x2c"), vec![DmaToMemory]),
        ("length of DMA", changed("offset = 0x30", "offset = 0x34"), vec![DmaToMemory]),
        ("directions swapped", swapped.replace("value = X", "value = 3"), vec![DmaToMemory, DmaFromMemory]),
        ("start of DMA from memory", changed("0x40, value = 3", "0x44, value = 3"), vec![DmaFromMemory]),
        (
            "status that is waited for",
            changed("0x48, unlike = 1", "0x4c, unlike = 1").replace("0x48, value = 2", "0x4c, value = 0"),
            vec![FinishDma],
        ),
        ("status that is wanted", changed("0x48, value = 2", "0x4c, value = 2"), vec![FinishDma]),
        (
            "region of compare",
            changed("region = \"bar0\", offset = 0, bytes", "region = \"bar4\", offset = 0, bytes"),
            vec![Compare],
        ),
        (
            "register of compare",
            changed(
                "{ region = \"bar0\", offset = 0, bytes = 16384 }",
                "{ region = \"bar2\", offset = 256, bytes = 16 }",
            ),
            vec![Compare],
        ),
        ("register of progress", changed("offset = 0x50", "offset = 0x60"), vec![Progress]),
        ("every BAR", RIGHT.replace("bar2", "bar3"), ProfileKey::ALL.to_vec()),
    ]
}

#[test]
fn wrong_profile_accuses_nothing_and_blocks_by_its_key() {
    let right = outcomes(RIGHT, |_| true);
    let bad: Vec<_> = right.iter().filter(|(_, o)| !matches!(o.verdict, Verdict::Pass | Verdict::Skip)).collect();
    assert!(bad.is_empty(), "{bad:?}");
    for (what, text, keys) in wrong_profiles() {
        let plays =
            |name: &str| right.get(name).is_some_and(|outcome| keys.iter().any(|key| outcome.played.contains(key)));
        let wrong = outcomes(&text, plays);
        let mut blocking = BTreeSet::new();
        for (name, outcome) in &wrong {
            let accuses = !matches!(outcome.verdict, Verdict::Pass | Verdict::Skip | Verdict::Blocked);
            assert!(!accuses && outcome.broken.is_empty(), "{what}: {name}: {}", outcome.message);
            if outcome.verdict == Verdict::Blocked {
                blocking
                    .insert(outcome.blocked_by_key.unwrap_or_else(|| panic!("{what}: {name}: {}", outcome.message)));
            }
        }
        assert!(keys.iter().any(|key| blocking.contains(key)), "{what}: {blocking:?}");
    }
}

#[test]
fn each_key_of_the_right_profile_is_seen_to_work() {
    for trial in bench(RIGHT).try_profile() {
        assert!(matches!(trial.effect, Effect::Seen(_)), "{trial:?}");
        assert!(!trial.steps.is_empty() || trial.key == ProfileKey::FinishDma, "{trial:?}");
    }
}

#[test]
fn key_that_is_unknown_is_calibrated_once_and_the_check_runs_again() {
    let mut bench = bench(RIGHT);
    let check = suites::all().into_iter().find(|check| check.name() == "quiesce::frozen_in_stop").unwrap();
    let first = bench.run(&check).outcome;
    assert_eq!((first.verdict, first.message.as_str()), (Verdict::Pass, ""));
    let known: Vec<ProfileKey> = bench.calibration.known.keys().copied().collect();
    assert!(known.contains(&ProfileKey::StartWork) && !known.contains(&ProfileKey::DmaToMemory), "{known:?}");
    let announced = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&announced);
    let mut bench = bench.announcing(move || {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(bench.run(&check).outcome.verdict, Verdict::Pass);
    assert_eq!(announced.load(std::sync::atomic::Ordering::Relaxed), 0);
}

#[test]
fn stimulus_that_writes_the_same_value_each_time_works_in_the_next_executor_too() {
    let step = "{ write = { region = \"bar0\", offset = 600, value = 0x5a } }";
    let mut bench = bench(&with_steps("dirty", step));
    for _ in 0..2 {
        bench.calibration = Calibration::default();
        bench.calibrate(ProfileKey::Dirty);
        assert_eq!(bench.wrong(ProfileKey::Dirty), None);
    }
}
