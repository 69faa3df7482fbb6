//! The gate and the search, in real guests: a fix is named as one, patches that break something are named with what they
//! break, and harmless ones are not.
//!
//! These tests need the environment of the qemu lab, so a plain `cargo test` leaves them out: `cargo test --test gates --
//! --ignored`. All of them take a quarter of an hour; `./ci/test` runs the short ones, `./ci/test --all` every one.
//! `VFIO_CONFORM` names the program to test, which is otherwise the one that cargo has just built.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::SystemTime;

use libtest_mimic::Arguments;
use serde_json::Value;

mod kernels;
mod trials;

use kernels::{lacking_unfixed, unfixed};
use trials::{Tested, done, guest_trials, lacking};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");
/// Chapters that no patch of these is about, and that take most of the time.
const LEFT_OUT: [&str; 7] =
    ["walk::", "wear::", "concurrency::", "quiesce::", "resume::", "dma_logging::", "stop_copy::"];
const BLOCKED_ARCS: [&str; 2] = ["fsm::stop_copy_to_pre_copy", "fsm::stop_copy_to_pre_copy_p2p"];

/// What a gate came to.
struct Gate {
    exit: Option<i32>,
    said: String,
    report: Value,
}

impl Gate {
    /// The changes of a kind.
    fn of_kind(&self, kind: &str) -> Vec<&Value> {
        self.report["changes"].as_array().into_iter().flatten().filter(|change| change["kind"] == kind).collect()
    }

    fn names(&self, kind: &str) -> Vec<&str> {
        self.of_kind(kind).iter().filter_map(|change| change["check"].as_str()).collect()
    }
}

fn program() -> PathBuf {
    std::env::var_os("VFIO_CONFORM").map_or_else(|| env!("CARGO_BIN_EXE_vfio-conform").into(), PathBuf::from)
}

fn main() -> ExitCode {
    let trials = guest_trials![
        the_fix_of_the_blocked_arcs_is_named,
        a_fix_is_told_from_a_finished_run_without_it,
        patches_that_break_something_are_named_with_what_they_break,
        a_patch_that_breaks_something_is_told_from_a_harmless_one,
        harmless_patches_change_nothing,
        a_patch_that_does_not_apply_or_build_is_no_regression,
        patch_to_the_uapi_lists_its_sentences,
        a_built_tree_takes_a_patch_and_stays_as_it_is,
        the_first_kernel_that_refuses_the_blocked_arcs_is_found,
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn gate(options: &[&str], libtest: &[&str]) -> Result<Gate, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let output = Command::new(program())
        .arg("gate")
        .args(options)
        .arg("--out")
        .arg(folder.path())
        .arg("--")
        .args(libtest)
        .output()?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report = fs::read(folder.path().join("gate.json")).map_err(|error| format!("{error}; it said:\n{said}"))?;
    Ok(Gate { exit: output.status.code(), said, report: serde_json::from_slice(&report)? })
}

fn gate_of_patch(patch: &Path) -> Result<Gate, Box<dyn Error>> {
    let skip = LEFT_OUT.map(|chapter| ["--skip", chapter]).concat();
    gate(&["--base", "7.3", "--patch", &patch.display().to_string()], &skip)
}

fn patches(folder: &str) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let entries = fs::read_dir(Path::new(FIXTURES).join(folder))?;
    let mut patches = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, std::io::Error>>()?;
    patches.sort();
    Ok(patches)
}

fn the_fix_of_the_blocked_arcs_is_named() -> Tested {
    let Some(unfixed) = unfixed()? else { return lacking_unfixed() };
    let patch = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/patches/blocked-arcs-6.12.patch");
    for options in [["--base", unfixed, "--head", "6.12"], ["--base", unfixed, "--patch", patch]] {
        let gate = gate(&options, &["fsm::"])?;
        assert_eq!(gate.exit, Some(0), "{}", gate.said);
        assert_eq!(gate.names("fixed"), BLOCKED_ARCS, "{}", gate.said);
        assert_eq!(gate.names("regression"), [""; 0], "{}", gate.said);
    }
    done()
}

/// The same with a kernel of today, from which the fix is taken away.
fn a_fix_is_told_from_a_finished_run_without_it() -> Tested {
    let before = tempfile::tempdir()?;
    let unfixed = Path::new(FIXTURES).join("patches/blocked-arcs-undone-7.3.patch");
    let mut command = Command::new(program());
    command.args(["qemu", "--kernel", "7.3", "--patch"]).arg(unfixed).arg("--out").arg(before.path());
    let output = command.args(["--", "fsm::"]).output()?;
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    let gate = gate(&["--base", &before.path().display().to_string(), "--head", "7.3"], &["fsm::"])?;
    assert_eq!(gate.exit, Some(0), "{}", gate.said);
    assert_eq!(gate.names("fixed"), BLOCKED_ARCS, "{}", gate.said);
    assert_eq!(gate.names("regression"), [""; 0], "{}", gate.said);
    done()
}

fn patches_that_break_something_are_named_with_what_they_break() -> Tested {
    let patches = patches("patches/breaking")?;
    assert_eq!(patches.len(), 10);
    for patch in patches {
        judge_breaking(&patch)?;
    }
    done()
}

/// The name of the file says which requirement is broken.
fn judge_breaking(patch: &Path) -> Tested {
    let broken = patch.file_stem().map(|stem| stem.to_string_lossy().into_owned()).ok_or("no name")?;
    let gate = gate_of_patch(patch)?;
    assert_eq!(gate.exit, Some(1), "{broken}: {}", gate.said);
    let regressions = gate.of_kind("regression");
    let mut accused = regressions.iter().flat_map(|change| change["requirements"].as_array().into_iter().flatten());
    assert!(accused.any(|requirement| requirement["id"] == broken.as_str()), "{broken}: {}", gate.said);
    done()
}

/// The short form of the two tests around it, which `./ci/test` runs: all checks, and a base that is run once.
fn a_patch_that_breaks_something_is_told_from_a_harmless_one() -> Tested {
    let patch = |name: &str| Path::new(FIXTURES).join(name).display().to_string();
    let harmless = gate(&["--base", "7.3", "--patch", &patch("faults/harmless/split-function.patch")], &[])?;
    assert_eq!(harmless.exit, Some(0), "{}", harmless.said);
    assert_eq!(harmless.names("regression"), [""; 0], "{}", harmless.said);
    assert!(harmless.report["unchanged"].as_u64() > Some(350), "{}", harmless.said);
    judge_breaking(&PathBuf::from(patch("patches/breaking/fsm.refuse.blocked_arc.patch")))
}

fn harmless_patches_change_nothing() -> Tested {
    let patches = patches("faults/harmless")?;
    assert_eq!(patches.len(), 10);
    for patch in patches {
        let gate = gate_of_patch(&patch)?;
        assert_eq!(gate.exit, Some(0), "{}: {}", patch.display(), gate.said);
        assert_eq!(gate.names("regression"), [""; 0], "{}: {}", patch.display(), gate.said);
    }
    done()
}

fn a_patch_that_does_not_apply_or_build_is_no_regression() -> Tested {
    let folder = tempfile::tempdir()?;
    let patch = |name: &str, first: &str| -> Result<String, std::io::Error> {
        let path = folder.path().join(name);
        let text = format!(
            "diff --git a/drivers/vfio/vfio_main.c b/drivers/vfio/vfio_main.c\n--- a/drivers/vfio/vfio_main.c\n\
             +++ b/drivers/vfio/vfio_main.c\n@@ -1,1 +1,1 @@\n-{first}\n+this is no C;\n"
        );
        fs::write(&path, text)?;
        Ok(path.display().to_string())
    };
    let first = "// SPDX-License-Identifier: GPL-2.0-only";
    for (path, obstacle) in [
        (patch("unfit.patch", "no such line")?, "patch_does_not_apply"),
        (patch("wrong.patch", first)?, "does_not_build"),
    ] {
        let gate = gate(&["--base", "7.3", "--patch", &path], &["--exact", "health::ordinary_life"])?;
        assert_eq!(gate.exit, Some(125), "{}", gate.said);
        assert_eq!(gate.report["obstacle"]["obstacle"], obstacle, "{}", gate.said);
        assert_eq!(gate.report["obstacle"]["side"], "head", "{}", gate.said);
    }
    done()
}

/// The patch has no line of the header as context, of which the repository keeps none.
fn patch_to_the_uapi_lists_its_sentences() -> Tested {
    let environment = concat!(env!("CARGO_MANIFEST_DIR"), "/ci/environment");
    let output = Command::new(environment).args(["header", "7.3", "--core"]).output()?;
    let header = fs::read_to_string(String::from_utf8_lossy(&output.stdout).trim())?;
    let last = header.lines().position(|line| line.starts_with("#define VFIO_DEVICE_FEATURE_MIG_DATA_SIZE"));
    let line = last.ok_or("the header has no such feature")? + 1;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("uapi.patch");
    let file = "include/uapi/linux/vfio.h";
    let text = format!(
        "diff --git a/{file} b/{file}\n--- a/{file}\n+++ b/{file}\n@@ -{line},0 +{},1 @@\n\
         +/* VFIO_MIG_GET_PRECOPY_INFO has a rule of ours. */\n",
        line + 1
    );
    fs::write(&path, text)?;
    let gate = gate(&["--base", "7.3", "--patch", &path.display().to_string()], &["--exact", BLOCKED_ARCS[0]])?;
    assert_eq!(gate.exit, Some(0), "{}", gate.said);
    let sentences = gate.report["uapi"]["sentences"].as_array().ok_or("no list of sentences")?;
    assert_eq!(sentences.len(), 1, "{}", gate.said);
    assert_eq!((&sentences[0]["kind"], &sentences[0]["line"]), (&Value::from("new"), &Value::from(line + 1)));
    assert!(gate.said.contains("has a rule of ours."), "{}", gate.said);
    assert_eq!(sentences[0]["is_known"], false, "{}", gate.said);
    done()
}

/// The newest file of a tree: when something was last written to it.
fn newest(folder: &Path) -> Result<SystemTime, Box<dyn Error>> {
    let mut newest = fs::metadata(folder)?.modified()?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let time = match entry.file_type()?.is_dir() {
            true => self::newest(&entry.path())?,
            false => entry.metadata()?.modified()?,
        };
        newest = newest.max(time);
    }
    Ok(newest)
}

fn a_built_tree_takes_a_patch_and_stays_as_it_is() -> Tested {
    let Some(tree) = std::env::var_os("VFIO_CONFORM_TREE").map(PathBuf::from) else {
        return lacking("a kernel tree that was built with CONFIG_VFIO=m, named by VFIO_CONFORM_TREE");
    };
    let before = newest(&tree)?;
    for (patch, exit) in [("faults/harmless/comment.patch", 0), ("patches/breaking/fsm.refuse.out_of_range.patch", 1)] {
        let patch = Path::new(FIXTURES).join(patch).display().to_string();
        let gate = gate(&["--base", &tree.display().to_string(), "--patch", &patch], &["fsm::"])?;
        assert_eq!(gate.exit, Some(exit), "{patch}: {}", gate.said);
    }
    assert_eq!(newest(&tree)?, before, "something was written to the tree");
    done()
}

fn the_first_kernel_that_refuses_the_blocked_arcs_is_found() -> Tested {
    let Some(unfixed) = unfixed()? else { return lacking_unfixed() };
    let kernels = kernels::all()?;
    let at = kernels.iter().position(|kernel| kernel == unfixed).ok_or("it is not among them")?;
    let folder = tempfile::tempdir()?;
    let check = BLOCKED_ARCS[0];
    let mut command = Command::new(program());
    command.args(["bisect", "--kernels", "6.12", "--check", check, "--out"]).arg(folder.path());
    let output = command.output()?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    let turns: Value = serde_json::from_slice(&fs::read(folder.path().join("bisect.json"))?)?;
    assert_eq!(turns[0]["check"], check, "{said}");
    assert_eq!(turns[0]["last"], serde_json::json!([unfixed, "hang"]), "{said}");
    assert_eq!(turns[0]["first"], serde_json::json!([kernels[at + 1], "pass"]), "{said}");
    done()
}
