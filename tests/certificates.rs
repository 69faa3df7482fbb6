//! Certificates: an untouched bundle is accepted, whatever is done to one is refused, and for the right reason.
//!
//! Whole bundles are verified some fifty times, which takes seconds, so a plain `cargo test` leaves most of it out;
//! `./ci/test` runs all. Whoever tampers here knows vfio-conform: wherever it could help, reports are made and sealed anew.

mod bundle;
mod program;

use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Value, json};
use tempfile::TempDir;
use time::Duration;

use bundle::{Device, Tampered, Tested, bundle, place, renumber};
use vfio_conform::harness::verdict::Exit;

const CHECK: &str = "fsm::reopened_in_stop";
const BROKEN: &str = "fsm.open.running";
const WAIVERS: &str = r#"
[[waiver]]
requirement = "fsm.open.running"
pci = ["1d1d:0001"]
firmware = ">=28.36, <28.40"
kernel = "<7"
reason = "mended in the next firmware"
link = "https://example.org/1"
expires = 2098-06-30

[[waiver]]
requirement = "reset.available"
driver = ["some_vfio_pci"]
reason = "was once broken"
link = "https://example.org/2"
expires = 2098-06-30

[[waiver]]
requirement = "reset.available"
driver = ["other_vfio_pci"]
reason = "another device"
link = "https://example.org/3"
expires = 2098-06-30
"#;

/// A device that conforms, tested twice.
static GOOD: LazyLock<TempDir> = LazyLock::new(|| bundle(Device(&[]), 2, None).expect("a bundle").0);
/// A device that conforms with waivers, tested once.
static WAIVED: LazyLock<TempDir> =
    LazyLock::new(|| bundle(Device(&[(CHECK, BROKEN)]), 1, Some(WAIVERS)).expect("a bundle").0);

/// What `vfio-conform verify` answers.
fn verify(folder: &Path, words: &[&str]) -> Tested<(Option<i32>, String)> {
    let output = program::vfio_conform(folder).arg("verify").args(words).output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.code(), text(&output.stdout) + &text(&output.stderr)))
}

/// Tampers with a copy, and tells why that is refused.
fn refused(original: &TempDir, tamper: impl FnOnce(&Tampered) -> Tested) -> Tested<String> {
    let tampered = Tampered::copy(original)?;
    tamper(&tampered)?;
    let refusals = tampered.refusals()?;
    assert!(!refusals.is_empty(), "it was accepted");
    Ok(refusals.join("\n"))
}

/// The same, sealed anew.
fn refused_all_the_same(original: &TempDir, tamper: impl FnOnce(&Tampered) -> Tested) -> Tested<String> {
    refused(original, |bundle| tamper(bundle).and_then(|()| bundle.reseal()))
}

/// Without the numbers of lines, which change with the suite.
fn without_lines(cases: &[String]) -> String {
    let text = cases.join("\n\n");
    let mut parts = text.split("(line ");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |text, part| text + "(line N" + part.trim_start_matches(|c: char| c.is_ascii_digit()))
}

#[test]
fn an_untouched_bundle_is_accepted() -> Tested {
    let signed = Tampered::copy(&WAIVED)?;
    signed.write("SHA256SUMS.asc", "a signature")?;
    assert_eq!(signed.refusals()?, [""; 0]);
    Ok(())
}

/// The real program, from the first check to the verdict.
#[test]
#[ignore = "takes seconds; ./ci/test runs it"]
fn a_certificate_of_the_model_is_accepted() -> Tested {
    let folder = TempDir::new()?;
    let mut certify = program::vfio_conform(folder.path());
    let made =
        certify.args(["certify", "model", "--out", "made", "--repeat", "1", "--walk", "500", "--strict"]).output()?;
    let statement = String::from_utf8(made.stdout)?;
    assert_eq!(made.status.code(), Some(0), "{statement}{}", String::from_utf8_lossy(&made.stderr));
    assert!(
        statement.contains("No driver was tested") && statement.contains("conforms at level dma, strict"),
        "{statement}"
    );
    let (code, said) = verify(folder.path(), &["made"])?;
    assert_eq!(code, Some(0), "{said}");
    assert!(!said.contains("another build"), "{said}");
    Ok(())
}

#[test]
#[ignore = "takes seconds; ./ci/test runs it"]
fn untouched_repetitions_are_accepted() -> Tested {
    assert_eq!(Tampered::copy(&GOOD)?.refusals()?, [""; 0]);
    Ok(())
}

#[test]
#[ignore = "takes seconds; ./ci/test runs it"]
fn files_that_are_not_those_that_were_sealed() -> Tested {
    let cases = [
        refused(&GOOD, |bundle| bundle.replace("runs/1/journal.jsonl", "\"strict\":false", "\"strict\":true "))?,
        refused(&GOOD, |bundle| Ok(fs::remove_file(bundle.path("runs/2/console.log"))?))?,
        refused(&GOOD, |bundle| bundle.write("endorsement.txt", "signed"))?,
        refused(&GOOD, |bundle| Ok(fs::remove_file(bundle.path("SHA256SUMS"))?))?,
        refused(&GOOD, |bundle| {
            let sums = bundle.text("SHA256SUMS")?;
            let first = sums.lines().next().unwrap_or_default();
            bundle.write("SHA256SUMS", &format!("{first}\n{sums}"))
        })?,
        refused(&GOOD, |bundle| bundle.replace("SHA256SUMS", "STATEMENT.txt", "../STATEMENT.txt"))?,
        refused(&GOOD, |bundle| {
            fs::rename(bundle.path("walk/junit.xml"), bundle.path("walk/moved"))?;
            Ok(std::os::unix::fs::symlink("moved", bundle.path("walk/junit.xml"))?)
        })?,
        refused_all_the_same(&GOOD, |bundle| {
            bundle.write("endorsement.txt", "signed")?;
            bundle.json("certificate.json", |it| {
                it["files"].as_array_mut().expect("a list").push("endorsement.txt".into())
            })
        })?,
        refused_all_the_same(&GOOD, |bundle| Ok(fs::remove_file(bundle.path("runs/2/console.log"))?))?,
    ];
    insta::assert_snapshot!(cases.join("\n\n"));
    Ok(())
}

#[test]
#[ignore = "takes seconds; ./ci/test runs it"]
fn journals_that_were_not_written_so() -> Tested {
    let in_first = |change: &dyn Fn(&mut Vec<Value>)| {
        refused_all_the_same(&WAIVED, |bundle| {
            bundle.events("runs/1", |events| {
                change(events);
                renumber(events);
            })
        })
    };
    let finish = |events: &[Value]| place(events, "check_finished", CHECK);
    let in_outcome = |change: &dyn Fn(&mut Value)| {
        in_first(&|events| {
            let place = finish(events);
            change(&mut events[place]["outcome"]);
        })
    };
    let cases = [
        // The end; where a report could still be made, it says what the journal now says.
        in_first(&|events| events.truncate(events.len() - 1))?,
        refused_all_the_same(&WAIVED, |bundle| {
            let text = bundle.text("runs/1/journal.jsonl")?;
            bundle.write("runs/1/journal.jsonl", text.trim_end())
        })?,
        in_first(&|events| events.truncate(300))?,
        in_first(&|events| {
            let last = events.last_mut().expect("an event");
            (last["verdict"], last["exit"]) = (json!("conforms"), json!(0));
        })?,
        // Checks that are missing, come twice, or in another order.
        in_first(&|events| {
            let place = finish(events);
            events.remove(place);
        })?,
        in_first(&|events| {
            let place = finish(events);
            events.drain(place - 1..=place);
        })?,
        in_first(&|events| {
            events[0]["planned"].as_array_mut().expect("a list").retain(|planned| planned["name"] != CHECK);
            let place = finish(events);
            events.drain(place - 1..=place);
        })?,
        in_first(&|events| {
            let place = finish(events);
            events.insert(place, events[place].clone());
        })?,
        in_first(&|events| {
            let planned = events[0]["planned"].as_array_mut().expect("a list");
            let (from, to) = (1, planned.len() - 1);
            planned.swap(from, to);
        })?,
        in_first(&|events| events.swap(11, 13))?,
        refused_all_the_same(&WAIVED, |bundle| bundle.events("runs/1", |events| events.swap(11, 13)))?,
        refused_all_the_same(&WAIVED, |bundle| {
            bundle.events("runs/1", |events| {
                events.remove(5);
            })
        })?,
        // What stands in a line.
        in_first(&|events| events[20]["t"] = json!(0.0))?,
        in_first(&|events| events[20]["remark"] = json!("certified"))?,
        in_outcome(&|outcome| outcome["verdict"] = json!("pass"))?,
        in_outcome(&|outcome| outcome["verdict"] = json!("warn"))?,
        in_outcome(&|outcome| {
            (outcome["verdict"], outcome["broken"][0]["level"]) = (json!("pass"), json!("advice"));
        })?,
        in_outcome(&|outcome| (outcome["verdict"], outcome["broken"]) = (json!("pass"), json!([])))?,
        in_outcome(&|outcome| outcome["proven"] = json!(["reset.available"]))?,
        in_first(&|events| events[0]["format"] = json!(2))?,
    ];
    insta::assert_snapshot!(without_lines(&cases));
    Ok(())
}

#[test]
#[ignore = "takes seconds; ./ci/test runs it"]
fn runs_that_do_not_belong_together() -> Tested {
    let cases = [
        refused_all_the_same(&GOOD, |bundle| {
            for file in ["journal.jsonl", "report.json", "report.html", "summary.md", "junit.xml"] {
                fs::copy(bundle.path("runs/1").join(file), bundle.path("runs/2").join(file))?;
            }
            Ok(())
        })
        // What the statement says of when they began may be the same.
        .map(|why| why.lines().take(2).collect::<Vec<_>>().join("\n"))?,
        refused_all_the_same(&GOOD, |bundle| {
            fs::copy(bundle.path("runs/1/journal.jsonl"), bundle.path("runs/2/journal.jsonl"))?;
            bundle.events("runs/1", |events| events[0]["started"] = json!("2024-01-31T00:00:00Z"))?;
            bundle.events("runs/2", |events| events[0]["run"] = json!("2"))?;
            bundle.remake("runs/1").and_then(|()| bundle.remake("runs/2"))
        })?,
        refused_all_the_same(&GOOD, |bundle| {
            bundle.events("runs/1", |events| {
                let last = events.len() - 1;
                events[last]["t"] = json!(3600.0);
            })?;
            bundle.remake("runs/1")
        })?,
        refused_all_the_same(&GOOD, |bundle| {
            bundle.events("runs/1", |events| {
                (events[0]["device"], events[0]["strict"]) = (json!("0000:66:00.1"), json!(true));
            })?;
            bundle.remake("runs/1")
        })?,
        refused_all_the_same(&GOOD, |bundle| {
            bundle.events("walk", |events| events[0]["started"] = json!("2098-01-01T00:00:00Z"))?;
            bundle.remake("walk")
        })?,
        refused_all_the_same(&GOOD, |bundle| Ok(fs::remove_dir_all(bundle.path("runs/2"))?))?,
        refused_all_the_same(&GOOD, |bundle| {
            fs::remove_dir_all(bundle.path("runs/2"))?;
            bundle.json("certificate.json", |it| {
                it["repetitions"] = json!(1);
                it["files"]
                    .as_array_mut()
                    .expect("a list")
                    .retain(|it| !it.as_str().is_some_and(|it| it.contains("/2/")));
            })
        })?,
        refused_all_the_same(&GOOD, |bundle| {
            bundle.events("walk", |events| {
                let last = place(events, "check_finished", "walk::seed_7");
                events[last]["outcome"]["evidence"]["notes"] = json!(["10 steps with seed 7 in 0.1 s, nothing found"]);
            })?;
            bundle.remake("walk")
        })?,
    ];
    insta::assert_snapshot!(cases.join("\n\n"));
    Ok(())
}

/// NTP sets the clock back while the runs are made; time since boot goes on.
#[test]
fn a_wall_clock_that_was_set_back_is_no_reason_to_refuse() -> Tested {
    for step in [-5, -3600, 5] {
        let bundle = Tampered::copy(&WAIVED)?;
        bundle.set_wall_clock("walk", Duration::seconds(step))?;
        bundle.reseal()?;
        assert_eq!(bundle.refusals()?, [""; 0], "set by {step} s");
    }
    Ok(())
}

/// The order of time since boot counts, whatever the wall clock shows.
#[test]
fn runs_without_the_order_of_time_since_boot_are_refused() -> Tested {
    let with_clock = |change: &dyn Fn(&mut Value)| {
        refused_all_the_same(&WAIVED, |bundle| {
            bundle.events("walk", |events| change(&mut events[0]["clock"]))?;
            bundle.remake("walk")
        })
    };
    let before = with_clock(&|clock| clock["seconds"] = json!(clock["seconds"].as_f64().expect("seconds") - 3600.0))?;
    assert_eq!(before, "the walk begins before run 1 is over, so they were not run one after the other");
    let elsewhere = with_clock(&|clock| clock["boot"] = json!("another"))?;
    assert_eq!(
        elsewhere,
        "the walk was made in another boot of the machine than run 1; certify makes all runs in one boot"
    );
    let removed = refused_all_the_same(&WAIVED, |bundle| {
        bundle.events("walk", |events| drop(events[0].as_object_mut().expect("an object").remove("clock")))?;
        bundle.remake("walk")
    })?;
    assert_eq!(
        removed,
        "the journal of the walk does not record its boot and the time since then, as that of run 1 does"
    );
    Ok(())
}

#[test]
#[ignore = "takes seconds; ./ci/test runs it"]
fn documents_that_do_not_follow_from_the_journals() -> Tested {
    let resealed = |original: &TempDir, file: &str, old: &str, new: &str| {
        refused(original, |bundle| bundle.replace(file, old, new).and_then(|()| bundle.reseal()))
    };
    let cases = [
        resealed(&WAIVED, "runs/1/report.json", "does-not-conform", "conforms")?,
        resealed(&WAIVED, "runs/1/junit.xml", "failures=\"1\"", "failures=\"0\"")?,
        refused_all_the_same(&WAIVED, |bundle| {
            bundle.events("runs/1", |events| {
                let finish = place(events, "check_finished", CHECK);
                let outcome = &mut events[finish]["outcome"];
                (outcome["verdict"], outcome["message"]) = (json!("pass"), json!(""));
                (outcome["broken"], outcome["proven"]) = (json!([]), json!([BROKEN]));
                let last = events.last_mut().expect("an event");
                (last["verdict"], last["exit"]) = (json!("conforms"), json!(0));
            })?;
            bundle.remake("runs/1")
        })?,
        resealed(&WAIVED, "STATEMENT.txt", "conforms with waivers", "conforms")?,
        resealed(&GOOD, "certificate.json", "\"verdict\": \"conforms\"", "\"verdict\": \"conforms-with-waivers\"")?,
        resealed(&GOOD, "certificate.json", "\"strict\": false", "\"strict\": true")?,
        resealed(&GOOD, "certificate.json", "\"repetitions\": 2", "\"repetitions\": 0")?,
        resealed(&GOOD, "certificate.json", "\"format\": 1", "\"format\": 2")?,
        resealed(&GOOD, "certificate.json", "\"verdict\"", "\"judgement\"")?,
        resealed(&GOOD, "environment.json", "6.12.94+deb13", "6.12.95+deb13")?,
        resealed(&GOOD, "environment.json", "1d1d:0001", "1d1d:0002")?,
        resealed(&GOOD, "environment.json", "0123456789ABCDEF", "0123456789ABCDE0")?,
        resealed(&GOOD, "environment.json", "28.39.1002", "28.40.1000")?,
    ];
    insta::assert_snapshot!(cases.join("\n\n"));
    Ok(())
}

#[test]
#[ignore = "takes seconds; ./ci/test runs it"]
fn suites_that_are_not_known() -> Tested {
    for (old, new) in [("\"version\": \"0.1.0\"", "\"version\": \"0.0.9\""), ("\"checks\": ", "\"checks\": 1")] {
        let why = refused(&GOOD, |bundle| bundle.replace("certificate.json", old, new).and_then(|()| bundle.reseal()))?;
        assert!(why.starts_with("the suite is vfio-conform ") && why.contains("does not know"), "{why}");
    }
    Ok(())
}

#[test]
#[ignore = "takes seconds; ./ci/test runs it"]
fn waivers_that_do_not_hold() -> Tested {
    let resealed = |old: &str, new: &str| {
        refused(&WAIVED, |bundle| bundle.replace("waivers.toml", old, new).and_then(|()| bundle.reseal()))
    };
    let cases = [
        resealed("2098-06-30", "2024-06-30")?,
        resealed("2098-06-30", "2098-07-30")?,
        resealed("fsm.open.running", "fsm.open.runing")?,
        resealed("1d1d:0001", "1d1d:0002")?,
        resealed("<28.40", "<28.39")?,
        resealed("kernel = \"<7\"", "kernel = \">=7\"")?,
        refused(&WAIVED, |bundle| {
            fs::remove_file(bundle.path("waivers.toml"))?;
            bundle.json("certificate.json", |it| {
                it["files"].as_array_mut().expect("a list").retain(|it| it != "waivers.toml");
            })?;
            bundle.reseal()
        })?,
    ];
    insta::assert_snapshot!(cases.join("\n\n"));
    Ok(())
}

#[test]
#[ignore = "takes seconds; ./ci/test runs it"]
fn only_what_is_waived_is_forgiven() -> Tested {
    const BOTH: Device = Device(&[(CHECK, BROKEN), (CHECK, "fsm.arc.ends_there")]);
    assert_eq!(bundle(BOTH, 1, Some(WAIVERS))?.1.exit, Exit::Findings);
    let (found, made) = bundle(Device(&[(CHECK, BROKEN)]), 1, None)?;
    assert_eq!(made.exit, Exit::Findings);
    // What was found is no reason to refuse what says so.
    let (code, said) = verify(found.path(), &["certificate"])?;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.starts_with("accepted") && said.contains("does not conform (exit code 1)"), "{said}");
    Ok(())
}

#[test]
fn the_statement_says_what_was_found_waived_and_left_out() -> Tested {
    let text = fs::read_to_string(WAIVED.path().join("certificate/STATEMENT.txt"))?;
    let lines = text.lines().map(|line| match line.trim_start() {
        start if start.starts_with("run 1") || start.starts_with("the walk") => {
            line.split("; begun").next().unwrap_or_default()
        }
        start if start.starts_with("suite ") => "  suite         (a version)",
        digits if digits.len() == 64 => "                (a digest)",
        _ => line,
    });
    let lines: Vec<&str> = lines.collect();
    insta::assert_snapshot!(lines.join("\n"));
    Ok(())
}

#[test]
fn the_command_answers() -> Tested {
    let (code, said) = verify(WAIVED.path(), &["certificate"])?;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("accepted   certificate") && said.contains("verdict    conforms with waivers"), "{said}");
    assert!(said.contains("signature  none") && said.contains("another build"), "{said}");
    let (code, said) = verify(WAIVED.path(), &["certificate", "--on", "2098-07-01"])?;
    assert_eq!(code, Some(1), "{said}");
    assert_eq!(said, "refused    certificate\n  - the waiver of fsm.open.running expired on 2098-06-30\n");
    let tampered = Tampered::copy(&WAIVED)?;
    tampered.replace("STATEMENT.txt", "conforms with waivers", "conforms")?;
    let (code, said) = verify(&tampered.path(""), &["."])?;
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("STATEMENT.txt was changed") && said.contains("first in line 3"), "{said}");
    let (code, said) = verify(WAIVED.path(), &["certificate/runs/1"])?;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("the folder of one run") && said.contains("vfio-conform certify"), "{said}");
    Ok(())
}
