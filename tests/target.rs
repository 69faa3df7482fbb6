//! The bundled PCI target in real guests: its DMA, its resets, and what becomes of a run when its process dies.
//!
//! Like the tests in `emulated.rs` these need the environment of the qemu lab; `./ci/test` runs them. `VFIO_CONFORM` names
//! the program to test, which is otherwise the one that cargo has just built.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use vfio_conform::uapi::state::State;
use vfio_conform_pci_target::registers::value::{DMA_BUSY, DMA_DONE, DMA_FAULT, DMA_IDLE};

type Tested = Result<(), Box<dyn Error>>;

/// How long anything may take here, on a machine that does something else too.
const BOUND: Duration = Duration::from_secs(300);
const PAGE: u64 = 4096;
/// The buffer of the probes.
const IOVA: u64 = 0x10_0000;
const BUFFER_PAGES: u64 = 16;

fn program() -> Command {
    let built =
        std::env::var_os("VFIO_CONFORM").map_or_else(|| env!("CARGO_BIN_EXE_vfio-conform").into(), PathBuf::from);
    let mut command = Command::new(built);
    command.args(["qemu", "--target", "pci", "--kernel", "7.3"]);
    command
}

fn look(probe: &str) -> Result<Value, Box<dyn Error>> {
    let output = program().args(["--probe", probe]).output()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> Result<T, String> {
    let end = Instant::now() + BOUND;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if Instant::now() > end {
            return Err(format!("it did not come within {BOUND:?}"));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// What a run said, which has to end by itself.
fn output_of(mut run: Child) -> Result<Output, Box<dyn Error>> {
    let ended = wait_for(|| run.try_wait().ok().flatten());
    if ended.is_err() {
        run.kill()?;
    }
    let output = run.wait_with_output()?;
    match ended {
        Ok(_) => Ok(output),
        Err(why) => Err(format!("a wedged run: {why}; it said {}", String::from_utf8_lossy(&output.stderr)).into()),
    }
}

/// The processes of that kind that a run has started.
fn children(run: &Child, kind: &str) -> Vec<String> {
    let found = Command::new("pgrep").args(["-P", &run.id().to_string(), "-f", kind]).output();
    let found = found.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    found.split_whitespace().map(str::to_owned).collect()
}

fn finished_checks(folder: &Path) -> usize {
    let journal = fs::read_to_string(folder.join("journal.jsonl")).unwrap_or_default();
    journal.lines().filter(|line| line.contains("\"check_finished\"")).count()
}

#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn dma_through_the_iommu_is_exact() -> Tested {
    let seen = look("dma")?;
    let end = IOVA + BUFFER_PAGES * PAGE;
    assert_eq!(seen["mapped"], json!({ "status": DMA_DONE, "fault": 0, "completed": 1, "changed": [4, 5, 6] }));
    assert_eq!(seen["exact"], json!(true), "{seen}");
    let fault =
        |at: u64, changed: &[u64]| json!({ "status": DMA_FAULT, "fault": at, "completed": 1, "changed": changed });
    assert_eq!(seen["over_the_end"], fault(end, &[BUFFER_PAGES - 1]));
    assert_eq!(seen["before"], fault(IOVA - PAGE, &[]));
    assert_eq!(seen["unmapped"], fault(IOVA + 4 * PAGE, &[]));
    Ok(())
}

#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn a_reset_in_the_middle_of_dma_ends_it() -> Tested {
    let seen = look("reset-under-dma")?;
    assert_eq!(seen["before"], DMA_BUSY, "{seen}");
    assert_eq!(seen["state"], State::Running.number(), "{seen}");
    assert_eq!(seen["after"], json!([DMA_IDLE, 0]), "{seen}");
    assert_eq!(seen["changed"], json!([]), "DMA outlived the reset");
    assert_eq!(seen["next"], json!({ "status": DMA_DONE, "fault": 0, "completed": 1, "changed": [0] }));
    assert!(seen["reset_seconds"].as_f64() < Some(5.0), "{seen}");
    Ok(())
}

#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn a_device_process_that_is_killed_costs_a_restart_and_is_named() -> Tested {
    let folder = tempfile::tempdir()?;
    let mut command = program();
    command.arg("--out").arg(folder.path()).args(["--", "fsm::"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = command.spawn()?;
    wait_for(|| (finished_checks(folder.path()) >= 5).then_some(()))?;
    let devices = children(&run, "pci-target");
    let device = devices.first().ok_or("there is no device process")?;
    assert!(Command::new("kill").args(["-KILL", device]).status()?.success());
    let output = output_of(run)?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{said}");
    let report: Value = serde_json::from_slice(&fs::read(folder.path().join("report.json"))?)?;
    // The check that ran runs again, and its second result counts: the driver did not end the device.
    let verdicts: BTreeSet<&str> =
        report["checks"].as_array().into_iter().flatten().filter_map(|check| check["verdict"].as_str()).collect();
    assert!(verdicts.is_subset(&BTreeSet::from(["pass", "skip"])), "{said}");
    let reason = report["restarts"][0]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("emulated device ended (signal: 9"), "{reason}: {said}");
    Ok(())
}

#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn garbage_on_the_devices_socket_ends_the_run_with_the_reason() -> Tested {
    let folder = tempfile::tempdir()?;
    let mut command = program();
    command.env("TMPDIR", folder.path()).arg("--out").arg(folder.path().join("out"));
    let run = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    // QEMU takes longer to start than it takes to be here first.
    let mut peer = wait_for(|| {
        let mut folders = fs::read_dir(folder.path()).ok()?.flatten();
        folders.find_map(|entry| UnixStream::connect(entry.path().join("pci0")).ok())
    })?;
    // A version message that says it is shorter than its head.
    let mut message = vec![0, 0, 1, 0, 4, 0, 0, 0];
    message.resize(64, 0);
    peer.write_all(&message)?;
    let output = output_of(run)?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("the emulated device ended (exit status: 2)"), "{said}");
    assert!(said.contains("a message on its socket makes no sense"), "{said}");
    Ok(())
}
