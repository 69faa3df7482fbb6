//! Tests of things that not every machine or archive has. Where one is lacking, its test ends as ignored, and says what it
//! lacks: what was not tested is not passed.
//!
//! `./ci/test` runs all of them; those in guests need `--ignored`, as in `emulated.rs`. `VFIO_CONFORM` names the program that
//! those test, which is otherwise the one that cargo has just built.

mod kernels;
mod program;
mod trials;

use std::error::Error;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Output};

use libtest_mimic::{Arguments, Completion};
use serde_json::{Value, json};
use tempfile::TempDir;

use kernels::{lacking_unfixed, unfixed};
use trials::{Retries, Tested, Try, done, lacking, trial};
use vfio_conform::harness::verdict::Exit;
use vfio_conform::report::{JOURNAL, Run};
use vfio_conform_pci_target::registers::value::DMA_FAULT;

/// The user and the group that own nothing.
const NOBODY: u32 = 65534;
/// What the target's probe writes to by DMA, and up to where.
const IOVA: u64 = 0x10_0000;
const BUFFER_BYTES: u64 = 16 * 4096;

fn main() -> ExitCode {
    let mut trials = vec![
        trial("run_on_a_full_disk_keeps_what_was_written", run_on_a_full_disk_keeps_what_was_written),
        trial("report_into_a_read_only_folder_is_refused", report_into_a_read_only_folder_is_refused),
        trial("run_into_a_folder_of_another_user_is_refused", run_into_a_folder_of_another_user_is_refused),
        trial("test_that_lacks_something_is_ignored", test_that_lacks_something_is_ignored),
        trial("test_that_is_tried_again_has_a_bound", test_that_is_tried_again_has_a_bound),
    ];
    trials.extend(trials::guest_trials![
        dma_is_written_and_logged_up_to_where_it_faults,
        a_kernel_without_the_fix_hangs_on_the_blocked_arcs_and_on_nothing_else,
    ]);
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// What a command came to.
fn words(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A shell in which `$0` is the program, and whose mounts nobody else sees; `None` where this system has none.
fn shell_with_mounts(folder: &Path) -> Option<impl Fn(&str) -> std::io::Result<Output>> {
    let folder = folder.to_owned();
    let shell = move |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", script, env!("CARGO_BIN_EXE_vfio-conform")]);
        command.current_dir(&folder).output()
    };
    let works = shell("mount -t tmpfs none /mnt").is_ok_and(|output| output.status.success());
    works.then_some(shell)
}

const NO_MOUNTS: &str = "a system that lets this user mount in a namespace (unshare --map-root-user --mount)";

fn run_on_a_full_disk_keeps_what_was_written() -> Tested {
    let folder = TempDir::new()?;
    let Some(shell) = shell_with_mounts(folder.path()) else { return lacking(NO_MOUNTS) };
    let script = "mkdir full && mount -t tmpfs -o size=64k full full && ! \"$0\" run model --out full/out \
                  && cp -r full/out kept";
    let output = shell(script)?;
    let said = words(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert!(said.contains("choose another folder with --out, or make room"), "{said}");
    let report = program::vfio_conform(folder.path()).args(["report", "kept"]).output()?;
    assert_eq!(report.status.code(), Some(Exit::Unfinished as i32), "{}", words(&report));
    let counts = Run::read(&folder.path().join("kept").join(JOURNAL))?.counts();
    assert!(counts.pass > 0 && counts.blocked > 0, "{counts:?}");
    done()
}

fn report_into_a_read_only_folder_is_refused() -> Tested {
    let folder = TempDir::new()?;
    let Some(shell) = shell_with_mounts(folder.path()) else { return lacking(NO_MOUNTS) };
    let made = program::vfio_conform(folder.path()).args(["run", "model", "--out", "out", "--", "reset::"]).output()?;
    assert!(made.status.success(), "{}", words(&made));
    let output = shell("mount --bind out out && mount -o remount,ro,bind out && ! \"$0\" report out")?;
    let said = words(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("failed to write out/report.json"), "{said}");
    assert!(said.contains("mend this, then run `vfio-conform report out`"), "{said}");
    let output = shell("mkdir ro && mount -t tmpfs -o ro ro ro && ! \"$0\" run model --out ro/out")?;
    let said = words(&output);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("failed to write ro/out: Read-only file system"), "{said}");
    assert!(said.contains("choose another folder with --out"), "{said}");
    done()
}

/// Root may write everywhere, so root's program gives that up first.
fn run_into_a_folder_of_another_user_is_refused() -> Tested {
    let folder = TempDir::new()?;
    fs::set_permissions(folder.path(), Permissions::from_mode(0o555))?;
    let as_nobody = |words: &[&str]| {
        let mut command = program::vfio_conform(folder.path());
        if nix::unistd::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        command.args(words).output()
    };
    if !as_nobody(&["--version"]).is_ok_and(|output| output.status.success()) {
        return lacking(
            "a program that a user without rights can start: it is in a folder of root's, or root may not be left",
        );
    }
    let output = as_nobody(&["run", "model", "--out", "out"])?;
    assert_eq!(output.status.code(), Some(2), "{}", words(&output));
    assert!(words(&output).contains("failed to write out: Permission denied"), "{}", words(&output));
    done()
}

/// Debian's kernels have no DMA logging, so a kernel that has it must be named.
fn dma_is_written_and_logged_up_to_where_it_faults() -> Tested {
    let Ok(kernel) = std::env::var("VFIO_CONFORM_DEBUG_KERNEL") else {
        return lacking("a kernel with DMA logging, such as debug-7.3, named by VFIO_CONFORM_DEBUG_KERNEL");
    };
    let output = guest(&["--target", "pci", "--kernel", &kernel, "--probe", "dma-logged"]).output()?;
    assert!(output.status.success(), "{}", words(&output));
    let seen: Value = serde_json::from_slice(&output.stdout)?;
    let written = [13, 14, 15];
    let transfer = json!({ "status": DMA_FAULT, "fault": IOVA + BUFFER_BYTES, "completed": 0, "changed": written });
    assert_eq!(seen, json!({ "transfer": transfer, "exact": true, "logged": written, "logged_again": [] }));
    done()
}

/// The core of this kernel spins for ever on the arcs that the uAPI forbids; archives drop old kernels some day.
fn a_kernel_without_the_fix_hangs_on_the_blocked_arcs_and_on_nothing_else() -> Tested {
    let Some(unfixed) = unfixed()? else { return lacking_unfixed() };
    let folder = TempDir::new()?;
    let mut command = guest(&["--target", "mtty", "--kernel", unfixed, "--out"]);
    let output = command.arg(folder.path()).args(["--", "fsm::"]).output()?;
    let said = words(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let report: Value = serde_json::from_slice(&fs::read(folder.path().join("report.json"))?)?;
    let with = |verdict: &str| -> Vec<&str> {
        let checks = report["checks"].as_array().into_iter().flatten().filter(|check| check["verdict"] == verdict);
        let mut names: Vec<&str> = checks.filter_map(|check| check["name"].as_str()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(with("hang"), ["fsm::stop_copy_to_pre_copy", "fsm::stop_copy_to_pre_copy_p2p"], "{said}");
    let findings = with("fail");
    assert!(findings.len() == 6 && findings.iter().all(|name| name.starts_with("fsm::reopened_in_")), "{findings:?}");
    assert_eq!(with("blocked"), [""; 0], "{said}");
    assert_eq!(report["restarts"].as_array().map(Vec::len), Some(2), "{said}");
    done()
}

fn guest(words: &[&str]) -> Command {
    let program =
        std::env::var_os("VFIO_CONFORM").map_or_else(|| env!("CARGO_BIN_EXE_vfio-conform").into(), PathBuf::from);
    let mut command = Command::new(program);
    command.arg("qemu").args(words);
    command
}

fn test_that_lacks_something_is_ignored() -> Tested {
    match lacking("a kernel")? {
        Completion::Ignored { reason } => assert_eq!(reason.as_deref(), Some("a kernel")),
        Completion::Completed => return Err("it passed by doing nothing".into()),
    }
    done()
}

fn test_that_is_tried_again_has_a_bound() -> Tested {
    const TWICE: Retries =
        Retries { tries: 2, since: "the machine may be busy", a_miss_means: "the fault is not found" };
    let of = |tries: &[fn() -> Try<u32>]| -> (Result<u32, Box<dyn Error>>, usize) {
        let mut made = 0;
        let result = TWICE.until_right(|| {
            made += 1;
            Ok(tries[made - 1]())
        });
        (result.map(|(value, _)| value), made)
    };
    let (missed, wrong): (fn() -> _, fn() -> _) =
        (|| Try::Missed("missed".to_owned()), || Try::Wrong("blamed".to_owned()));
    let (right, made) = of(&[|| Try::Right(7)]);
    assert_eq!((right?, made), (7, 1));
    let (right, made) = of(&[missed, || Try::Right(7)]);
    assert_eq!((right?, made), (7, 2));
    let (result, made) = of(&[missed, missed]);
    let why = result.map_or_else(|why| why.to_string(), |_| String::new());
    let expected =
        "missed in all of 2 tries, although the machine may be busy; so the fault is not found:\nmissed\nmissed";
    assert_eq!((why.as_str(), made), (expected, 2));
    let (result, made) = of(&[wrong]);
    assert!(result.is_err_and(|why| why.to_string() == "blamed") && made == 1, "what is wrong has no second chance");
    done()
}
