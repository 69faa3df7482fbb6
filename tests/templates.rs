//! The templates for CI systems are what those systems can read, and call what there is.

use std::fs;
use std::path::Path;
use std::process::Command;

use saphyr::{LoadableYamlNode, Yaml};

mod program;

const TEMPLATES: [&str; 3] = ["github.yml", "gitlab.yml", "lava.yaml"];

fn text(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ci/templates").join(name);
    fs::read_to_string(path).expect("a template")
}

/// All texts in a document.
fn texts(yaml: &Yaml) -> Vec<String> {
    let below: Vec<String> = match yaml {
        Yaml::Sequence(items) => items.iter().flat_map(texts).collect(),
        Yaml::Mapping(entries) => entries.iter().flat_map(|(_, value)| texts(value)).collect(),
        _ => Vec::new(),
    };
    yaml.as_str().map(str::to_owned).into_iter().chain(below).collect()
}

#[test]
fn each_is_one_document_of_yaml_and_says_how_to_use_it() {
    for name in TEMPLATES {
        let text = text(name);
        assert!(text.starts_with("# vfio-conform ") && text.contains("\n# How to use it: "), "{name}");
        let documents = Yaml::load_from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(documents.len() == 1 && documents[0].is_mapping(), "{name}");
    }
}

/// What they type is a command that there is.
#[test]
fn they_call_commands_that_there_are() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for name in TEMPLATES {
        let documents = Yaml::load_from_str(&text(name)).expect("YAML");
        let mut called = 0;
        for text in texts(&documents[0]) {
            let words: Vec<&str> = text.split_whitespace().map(|word| word.trim_matches('"')).collect();
            for pair in words.windows(2).filter(|pair| pair[0].ends_with("/vfio-conform") || pair[0] == "$program") {
                if !pair[1].chars().all(|letter| letter.is_ascii_lowercase()) {
                    continue;
                }
                let output = program::vfio_conform(folder.path()).args([pair[1], "--help"]).output().expect("started");
                assert!(output.status.success(), "{name}: {text}");
                called += 1;
            }
        }
        assert!(called > 2, "{name} calls {called} commands");
    }
}

/// Each weekly job runs a part of `./ci/test --all`, and no part has no job.
#[test]
fn weekly_jobs_are_the_parts_of_the_whole_test() {
    let text = text("weekly.yml");
    assert!(text.starts_with("# vfio-conform") && text.contains("\n# How to use it: "));
    let documents = Yaml::load_from_str(&text).expect("YAML");
    let jobs = &documents[0]["jobs"]["all"];
    let of_jobs = texts(&jobs["strategy"]["matrix"]["part"]);
    assert!(texts(jobs).iter().any(|step| step.contains("./ci/test --only ${{ matrix.part }}")), "{text}");
    let test = Path::new(env!("CARGO_MANIFEST_DIR")).join("ci/test");
    let list = |words: &[&str]| {
        let output = Command::new("bash").arg(&test).args(words).output().expect("bash");
        assert!(output.status.success(), "{words:?}");
        let text = String::from_utf8(output.stdout).expect("text");
        text.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of_jobs, list(&["--all", "--list"]));
    for part in of_jobs {
        assert_eq!(list(&["--only", &part, "--list"]), [part]);
    }
}

/// Every test program is run by a part: one that nobody runs proves nothing.
#[test]
fn every_test_program_is_in_a_part_of_the_whole_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let script = fs::read_to_string(root.join("ci/test")).expect("ci/test");
    for entry in fs::read_dir(root.join("tests")).expect("tests").flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let source = fs::read_to_string(&path).expect("a test program");
        let runs_only_if_asked = source.contains("\n#[ignore") || source.contains("guest_trials![\n");
        let words: Vec<&str> = script.split_whitespace().collect();
        assert!(!runs_only_if_asked || words.contains(&name.as_str()), "no part of ci/test runs {name} with --ignored");
    }
}

/// LAVA hears of each check what KTAP says of it.
#[test]
fn lava_makes_a_test_case_of_each_check() {
    let documents = Yaml::load_from_str(&text("lava.yaml")).expect("YAML");
    let steps = texts(&documents[0]);
    let step = steps.iter().find(|step| step.contains("Subtest")).expect("the step that reads KTAP");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ktap = "KTAP version 1\n1..1\n  KTAP version 1\n  # Subtest: fsm\n  1..3\n  ok 1 a\n  # fail: no\n  not ok 2 b # ERROR x\n  \
                ok 3 c # SKIP needs\nnot ok 1 fsm\n";
    let file = folder.path().join("run.ktap");
    fs::write(&file, ktap).expect("writable");
    let script = step.replace("/tmp/run.ktap", &file.display().to_string());
    let script = format!("lava_test_case() {{ echo \"$@\"; }}\n{}", script.replace("lava-test-case", "lava_test_case"));
    let output = Command::new("sh").args(["-c", &script]).output().expect("a shell");
    let said = String::from_utf8(output.stdout).expect("text");
    assert_eq!(said, "fsm.a --result pass\nfsm.b --result fail\nfsm.c --result skip\n");
}
