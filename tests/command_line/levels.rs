//! What a verdict covers, and its level: what a profile with nothing in it comes to.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use vfio_conform::harness::coverage::VerdictLevel;
use vfio_conform::harness::verdict::{Exit, RunVerdict};
use vfio_conform::report::{HTML, JSON, JUNIT, MARKDOWN};

use super::{Said, folder, read, say};

/// A profile that says nothing of how the device is stimulated.
fn empty_profile(folder: &Path) -> PathBuf {
    let path = folder.join("empty.toml");
    fs::write(&path, "name = \"nothing\"\n[match]\ndriver = [\"model\"]\n").expect("a profile");
    path
}

/// The words of a text, so that line breaks make no difference.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn text_of(folder: &Path, file: &str) -> String {
    fs::read_to_string(folder.join(file)).expect("a report")
}

fn run(folder: &Path, more: &[&str]) -> Said {
    say(folder, &[&["run", "model", "--out", "run"], more].concat())
}

#[test]
fn empty_profile_is_below_level_state_and_every_report_says_what_is_lacking() {
    let folder = folder();
    let profile = empty_profile(folder.path()).display().to_string();
    let said = run(folder.path(), &["--profile", &profile, "--require", "state"]);
    assert_eq!(said.code, 125, "{}", said.whole());
    let reports = folder.path().join("run");
    let run = read(&reports);
    assert_eq!((run.verdict, run.exit), (RunVerdict::BelowLevel, Exit::NothingTested));
    assert_eq!(run.coverage.level, Some(VerdictLevel::Protocol));
    assert!(run.coverage.text.not_judged > 0 && run.coverage.ruling.not_judged > 0, "{:?}", run.coverage);
    let not_judged = run.coverage.not_judged.len();
    assert_eq!(run.coverage.text.not_judged + run.coverage.ruling.not_judged, not_judged);

    let line = format!("{} of {} checks ran, {not_judged} musts not judged: ", run.coverage.ran, run.coverage.suite);
    let ktap = say(folder.path(), &["report", "run", "--format", "ktap"]);
    assert_eq!(ktap.code, 125);
    let texts = [
        ("console", said.out.clone()),
        (HTML, text_of(&reports, HTML).replace("<code>", "`").replace("</code>", "`")),
        (JUNIT, text_of(&reports, JUNIT)),
        (MARKDOWN, text_of(&reports, MARKDOWN).replace('\\', "")),
        ("KTAP", ktap.out.replace("# ", "")),
    ];
    for (report, text) in texts {
        let text = words(&text);
        assert!(text.contains(&line), "{report} lacks {line:?}");
        assert!(text.contains("musts of the text: ") && text.contains("musts by ruling: "), "{report}");
        assert!(text.contains("not the required level state: the profile lacks"), "{report}");
        for key in ["stimulus.dirty", "stimulus.dma_to_memory"] {
            assert!(text.contains(&format!("the profile has no `{key}`")), "{report} does not name {key}");
        }
    }
    let json: Value = serde_json::from_str(&text_of(&reports, JSON)).expect("JSON");
    assert_eq!(json["verdict"], "below-level");
    assert_eq!(json["coverage"]["level"], "protocol");
    assert_eq!(json["coverage"]["required"], "state");
    assert_eq!(json["coverage"]["not_judged"].as_array().map(Vec::len), Some(not_judged));
    let keys: Vec<&str> =
        json["coverage"]["lacks"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    assert!(keys.contains(&"dirty") && keys.contains(&"compare") && keys.contains(&"interrupt"), "{keys:?}");

    // The level is that of the journal, whatever a gate is told to require.
    let gate = ["gate", "--base", "run", "--head", "run", "--out", "gate", "--require"];
    let gated = say(folder.path(), &[&gate[..], &["dma"]].concat());
    assert_eq!(gated.code, 125, "{}", gated.whole());
    assert!(words(&gated.out).contains("reaches level protocol, not the required level dma"), "{}", gated.whole());
}

#[test]
fn model_reaches_level_dma() {
    let folder = folder();
    let said = run(folder.path(), &["--require", "dma"]);
    assert_eq!(said.code, 0, "{}", said.whole());
    assert!(words(&said.out).contains("conforms at level dma (exit code 0); "), "{}", said.out);
    let coverage = read(&folder.path().join("run")).coverage;
    assert!(coverage.lacks.is_empty());
    // The model has no kernel whose path could be seen; all else is judged.
    let left: Vec<&str> = coverage.not_judged.iter().map(|not_judged| not_judged.requirement).collect();
    assert_eq!(left, ["fsm.combination.path"]);
}

#[test]
fn part_of_the_suite_has_no_level_and_a_finding_is_one_at_any_level() {
    let folder = folder();
    let part = ["--require", "protocol", "--", "--exact", "fsm::stop_copy_to_pre_copy"];
    let said = run(folder.path(), &part);
    assert_eq!(said.code, 125, "{}", said.whole());
    assert!(words(&said.out).contains("it runs a part of the suite only"), "{}", said.out);
    let broken = ["run", "model:fault=blocked-arc-allowed", "--out", "broken"];
    let said = say(folder.path(), &[&broken[..], &part].concat());
    assert_eq!(said.code, 1, "{}", said.whole());
}

#[test]
fn walk_below_the_required_level_names_the_keys_that_its_steps_lacked() {
    let folder = folder();
    let profile = empty_profile(folder.path()).display().to_string();
    let walk = ["walk", "model", "--seed", "7", "--steps", "1000", "--require", "dma", "--out"];
    let said = say(folder.path(), &[&walk[..], &["full"]].concat());
    assert_eq!(said.code, 0, "{}", said.whole());
    let said = say(folder.path(), &[&walk[..], &["empty", "--profile", &profile]].concat());
    assert_eq!(said.code, 125, "{}", said.whole());
    assert!(words(&said.out).contains("the profile lacks `stimulus.dirty`"), "{}", said.out);
}

#[test]
fn certificate_names_its_level() {
    let folder = folder();
    let profile = empty_profile(folder.path()).display().to_string();
    let certify = ["certify", "model", "--repeat", "1", "--walk", "500", "--profile", &profile, "--out", "bundle"];
    let said = say(folder.path(), &[&certify[..], &["--require", "state"]].concat());
    assert_eq!(said.code, 125, "{}", said.whole());
    let statement = words(&text_of(&folder.path().join("bundle"), "STATEMENT.txt"));
    assert!(statement.contains("below the required level: level protocol, where state is required"), "{statement}");
    assert!(statement.contains("musts not judged: ") && statement.contains("musts by ruling: "), "{statement}");
    let verified = say(folder.path(), &["verify", "bundle"]);
    assert_eq!(verified.code, 125, "{}", verified.whole());
    assert!(verified.out.starts_with("accepted"), "{}", verified.whole());

    // A certificate that claims another level than its journals reach is refused.
    let path = folder.path().join("bundle/certificate.json");
    let text = fs::read_to_string(&path).expect("a certificate");
    fs::write(&path, text.replace("\"level\": \"protocol\"", "\"level\": \"dma\"")).expect("written");
    let verified = say(folder.path(), &["verify", "bundle"]);
    assert_eq!(verified.code, 1, "{}", verified.whole());
    assert!(verified.out.contains("level dma"), "{}", verified.whole());
}

#[test]
fn list_and_explain_tell_musts_of_the_text_from_musts_by_ruling() {
    let folder = folder();
    let listed = words(&say(folder.path(), &["list"]).out);
    assert!(listed.contains("of the text, ") && listed.contains(" by ruling; "), "{listed}");
    assert!(listed.contains("fsm.open.running must by ruling: "), "{listed}");
    let explained = say(folder.path(), &["explain", "precopy.eos.enomsg"]).out;
    assert!(explained.starts_with("precopy.eos.enomsg (must by ruling)\n"), "{explained}");
    let explained = say(folder.path(), &["explain", "fsm.arc.ends_there"]).out;
    assert!(explained.starts_with("fsm.arc.ends_there (must)\n"), "{explained}");
    let json: Value = serde_json::from_str(&say(folder.path(), &["list", "--format", "json"]).out).expect("JSON");
    let bases = json["requirements"].as_array().into_iter().flatten().map(|listed| listed["basis"].as_str());
    assert!(bases.clone().all(|basis| matches!(basis, Some("text" | "ruling"))));
}
