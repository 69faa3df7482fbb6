//! The whole, in real guests: a real kernel, its real VFIO core, upstream's `mtty` driver.
//!
//! These tests need the environment of the qemu lab (the first run gets it, as root) and take minutes, so a plain
//! `cargo test` leaves them out; `./ci/test` runs them. `VFIO_CONFORM` names the program to test, which is otherwise
//! the one that cargo has just built.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::{SysconfVar, sysconf};
use serde_json::Value;
use vfio_conform::uapi::state::Capabilities;

mod trials;

use trials::{Retries, Try};

type Tested = Result<(), Box<dyn Error>>;

/// What upstream's mtty does not keep in chapter fsm: it opens in the state that it was closed in.
const MTTY_REOPENED: [&str; 6] = [
    "fsm::reopened_in_pre_copy",
    "fsm::reopened_in_pre_copy_p2p",
    "fsm::reopened_in_resuming",
    "fsm::reopened_in_running_p2p",
    "fsm::reopened_in_stop",
    "fsm::reopened_in_stop_copy",
];

/// And in all others: its stream in PRE_COPY ends like that of STOP_COPY, it forgets a write that it refused, it has no
/// poll, and its DMA logging does nothing.
const MTTY_FINDINGS: [&str; 11] = [
    "dma_logging::start_twice",
    "precopy::end_in_pre_copy",
    "precopy::end_in_pre_copy_p2p",
    "precopy::quiet_at_the_end_in_pre_copy",
    "precopy::quiet_at_the_end_in_pre_copy_p2p",
    "reset::is_available",
    "resume::aborted_by_closing",
    "resume::foreign",
    "resume::good_after_bad",
    "resume::trailing",
    "walk::three_hundred_steps",
];

/// What it was loaded with goes away when it is closed, and it looks there afterwards.
const MTTY_CRASHES: [&str; 1] = ["session::device_closed_in_resuming"];

/// What cannot be judged since nothing can wait in poll.
const MTTY_BLOCKED: [&str; 18] = [
    "precopy::edge_wakes_on_data",
    "precopy::edge_wakes_on_data_in_p2p",
    "precopy::edge_wakes_on_stop_copy",
    "precopy::edge_wakes_on_stop_copy_in_p2p",
    "precopy::no_wakeup_is_lost",
    "precopy::poll_wakes_on_data",
    "precopy::poll_wakes_on_data_in_p2p",
    "precopy::poll_wakes_on_stop_copy",
    "precopy::poll_wakes_on_stop_copy_in_p2p",
    "precopy::several_wake_on_data",
    "precopy::several_wake_on_data_in_p2p",
    "precopy::several_wake_on_stop_copy",
    "precopy::several_wake_on_stop_copy_in_p2p",
    "reset::during_polls",
    "session::closed_during_polls_in_pre_copy",
    "session::closed_during_polls_in_pre_copy_p2p",
    "session::left_during_polls_in_pre_copy",
    "session::left_during_polls_in_pre_copy_p2p",
];

/// The checks that ask for an arc that the uAPI forbids.
const BLOCKED_ARCS: [&str; 2] = ["fsm::stop_copy_to_pre_copy", "fsm::stop_copy_to_pre_copy_p2p"];

fn program() -> PathBuf {
    std::env::var_os("VFIO_CONFORM").map_or_else(|| env!("CARGO_BIN_EXE_vfio-conform").into(), PathBuf::from)
}

fn stumble() -> String {
    concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/faults/stumble").to_owned()
}

/// A finished run.
struct Run {
    exit: Option<i32>,
    said: String,
    report: Value,
    junit: String,
}

impl Run {
    fn read(folder: &Path, output: Output) -> Result<Run, Box<dyn Error>> {
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let report = fs::read(folder.join("report.json")).map_err(|error| format!("{error}; it said:\n{said}"))?;
        let junit = fs::read_to_string(folder.join("junit.xml"))?;
        Ok(Run { exit: output.status.code(), said, report: serde_json::from_slice(&report)?, junit })
    }

    /// The names of the checks by verdict.
    fn by_verdict(&self) -> BTreeMap<String, Vec<String>> {
        let mut by_verdict: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for check in self.checks() {
            by_verdict.entry(text(check, "verdict")).or_default().push(text(check, "name"));
        }
        by_verdict.values_mut().for_each(|names| names.sort());
        by_verdict
    }

    fn with(&self, verdict: &str) -> Vec<String> {
        self.by_verdict().remove(verdict).unwrap_or_default()
    }

    fn checks(&self) -> impl Iterator<Item = &Value> {
        self.report["checks"].as_array().into_iter().flatten()
    }

    fn check(&self, name: &str) -> &Value {
        self.checks().find(|check| check["name"] == name).unwrap_or(&Value::Null)
    }
}

/// What checks have judged although they do not declare it. The kernel's reports belong to no check, and a walk may meet a
/// breach of any rule.
fn undeclared(run: &Run) -> Vec<String> {
    let ids =
        |list: &Value| list.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
    let mut all = Vec::new();
    for check in run.checks() {
        let declared: Vec<String> = ids(&check["requirements"]);
        let mut judged: Vec<String> = ids(&check["proven"]);
        if !text(check, "name").starts_with("walk::") {
            let broken = check["broken"].as_array().into_iter().flatten().map(|broken| text(broken, "requirement"));
            judged.extend(broken.filter(|id| !id.starts_with("health.")));
        }
        let undeclared = judged.into_iter().filter(|id| !declared.contains(id));
        all.extend(undeclared.map(|id| format!("{} judges {id}", text(check, "name"))));
    }
    all
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

fn qemu(kernel: &str, options: &[&str], libtest: &[&str]) -> Result<(Command, tempfile::TempDir), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(program());
    command.args(["qemu", "--target", "mtty", "--kernel", kernel, "--out"]).arg(folder.path()).args(options);
    command.arg("--").args(libtest);
    Ok((command, folder))
}

fn run(kernel: &str, options: &[&str], libtest: &[&str]) -> Result<Run, Box<dyn Error>> {
    let (mut command, folder) = qemu(kernel, options, libtest)?;
    let output = command.output()?;
    Run::read(folder.path(), output)
}

/// Runs the checks that ask for something in STOP, with a kernel that fails at STOP -> RESUMING.
fn run_stumbling(how: &str) -> Result<Run, Box<dyn Error>> {
    let append = format!("stumble.how={how}");
    run("7.3", &["--extra", &stumble(), "--append", &append], &["fsm::stop_to_"])
}

#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn mtty_has_its_known_findings_and_no_others() -> Tested {
    let run = run("7.3", &[], &[])?;
    assert_eq!(run.exit, Some(1), "{}", run.said);
    let mut findings = [&MTTY_REOPENED[..], &MTTY_FINDINGS].concat();
    findings.sort_unstable();
    assert_eq!(run.with("fail"), findings, "{}", run.said);
    assert_eq!(run.with("crash"), MTTY_CRASHES, "{}", run.said);
    assert_eq!(run.with("blocked"), MTTY_BLOCKED, "{}", run.said);
    for blocked in MTTY_BLOCKED {
        assert_eq!(run.check(blocked)["blocked_by"], "precopy.poll.quiet", "{}", run.said);
    }
    assert_eq!(undeclared(&run), [""; 0]);
    assert_eq!(run.with("warn"), ["precopy::changes_are_streamed"], "{}", run.said);
    assert_eq!(run.with("hang"), [""; 0], "{}", run.said);
    for finding in findings {
        // Those that are alike are told once, and named there.
        assert!(run.said.contains(finding), "{finding} is not named:\n{}", run.said);
        let again = text(run.check(finding), "reproduce");
        assert!(again.ends_with(&format!("--exact {finding}")), "{again:?} does not run {finding} again");
    }
    // Where a finding is, there is the way that the kernel took, whether the check is about that or not.
    let path = &run.check("precopy::end_in_pre_copy")["evidence"]["paths"][0];
    assert_eq!(path["to"], "PRE_COPY", "{}", run.said);
    Ok(())
}

#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn a_device_opens_by_its_group_number_too() -> Tested {
    // Without an IOMMU mtty's group is the only one.
    let run = run("7.3", &["--device", "0"], &["--exact", "health::ordinary_life"])?;
    assert_eq!(run.exit, Some(0), "{}", run.said);
    assert_eq!(run.report["device"], "0");
    assert_eq!(run.report["identity"]["driver"], "mtty");
    Ok(())
}

/// The reference of what conforming looks like is not accused, whatever capability set it offers, and nothing is left
/// untried for want of a way to make it do something.
#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn the_pci_target_conforms_with_every_capability_set() -> Tested {
    let newest = Capabilities::ALL.map(|set| ("7.3", set));
    for (kernel, set) in newest.into_iter().chain([("6.12.107", Capabilities::FULL)]) {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(program());
        command.args(["qemu", "--kernel", kernel, "--caps", &set.to_string(), "--strict", "--out"]);
        let output = command.arg(folder.path()).output()?;
        let run = Run::read(folder.path(), output)?;
        assert_eq!(run.exit, Some(0), "{kernel}, {set}: {}", run.said);
        assert_eq!(run.by_verdict().into_keys().collect::<Vec<_>>(), ["pass", "skip"], "{set}: {}", run.said);
        assert_eq!(run.report["capabilities"], set.to_string(), "{}", run.said);
        assert_eq!(run.report["identity"]["name"], "0000:00:10.0", "{}", run.said);
        assert_eq!(run.report["beside"][0]["name"], "0000:00:11.0", "{}", run.said);
        let untried = run.checks().find(|check| text(check, "message").contains("stimulus"));
        assert_eq!(untried, None, "{}", run.said);
    }
    Ok(())
}

#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn the_kernels_own_path_is_evidence() -> Tested {
    let run = run("7.3", &[], &["--exact", "fsm::resuming_to_pre_copy"])?;
    let path = &run.check("fsm::resuming_to_pre_copy")["evidence"]["paths"][0]["through"];
    assert_eq!(*path, serde_json::json!(["RESUMING", "STOP", "RUNNING_P2P", "RUNNING"]), "{}", run.said);
    Ok(())
}

/// Its crash costs a restart, but no boot: the guest goes on from where it was before the first check. On a machine that had
/// other things to do, what counts is the processors' time, of which any program takes more there.
#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn all_of_mtty_costs_at_most_two_and_a_half_bare_boots() -> Tested {
    COSTS.run("all_of_mtty_costs_at_most_two_and_a_half_bare_boots", || {
        let floor = cost_of(bare_boot)?;
        let whole = cost_of(|| {
            let run = run("7.3", &[], &[])?;
            assert_eq!(run.exit, Some(1), "{}", run.said);
            run.report["timeline"]["power_on_to_verdict"].as_f64().ok_or_else(|| "no time in the report".into())
        })?;
        let told = format!("power-on to verdict {whole:.2?}, bare boot {floor:.2?}");
        let is_busy = whole.others + floor.others > (whole.own + floor.own) / 4.0;
        let is_cheap = whole.seconds <= 2.5 * floor.seconds || (is_busy && whole.own <= 3.0 * floor.own);
        println!("{told}");
        Ok(if is_cheap { Try::Right(()) } else { Try::Missed(told) })
    })
}

/// A bare boot and a run are measured one after the other, and a machine may do something else during one of the two.
const COSTS: Retries = Retries {
    tries: 6,
    since: "a machine may do something else during one of the two boots",
    a_miss_means: "a run costs more than two and a half bare boots",
};

/// What something costs, in seconds.
#[derive(Debug)]
struct Cost {
    seconds: f64,
    /// Of the processors' time, for what was started here.
    own: f64,
    /// What others had of it meanwhile.
    others: f64,
}

/// The cost of something that says itself how many seconds it takes.
fn cost_of(action: impl FnOnce() -> Result<f64, Box<dyn Error>>) -> Result<Cost, Box<dyn Error>> {
    let before = processors_time()?;
    let seconds = action()?;
    let after = processors_time()?;
    let [own, all] = [0, 1].map(|whose| after[whose] - before[whose]);
    Ok(Cost { seconds, own, others: all - own })
}

/// Seconds: of what was started here and has ended, and of all that the machine did.
fn processors_time() -> Result<[f64; 2], Box<dyn Error>> {
    let own = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let own = own.user_time() + own.system_time();
    let stat = fs::read_to_string("/proc/stat")?;
    // Behind the name: user, nice, system, idle, iowait, irq, softirq, steal; the two that follow are counted in user.
    let fields = stat.split_whitespace().skip(1).take(8).enumerate().filter(|(place, _)| ![3, 4].contains(place));
    let ticks = fields.map(|(_, ticks)| ticks.parse::<u64>()).sum::<Result<u64, _>>()?;
    let ticks_of_a_second = sysconf(SysconfVar::CLK_TCK)?.ok_or("no length of a tick")?;
    Ok([own.num_microseconds() as f64 / 1e6, ticks as f64 / ticks_of_a_second as f64])
}

/// Seconds.
fn bare_boot() -> Result<f64, Box<dyn Error>> {
    let output = Command::new(program()).args(["qemu", "--kernel", "7.3", "--bare"]).output()?;
    let said = String::from_utf8(output.stdout)?;
    let pairs = said.split_whitespace().zip(said.split_whitespace().skip(1));
    let seconds = pairs.filter(|(_, unit)| *unit == "s").find_map(|(seconds, _)| seconds.parse().ok());
    seconds.ok_or_else(|| format!("no seconds in {said:?}").into())
}

#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn an_oops_is_a_crash_of_its_check_alone() -> Tested {
    let run = run_stumbling("oops")?;
    assert_eq!(run.exit, Some(1), "{}", run.said);
    assert_eq!(run.with("crash"), ["fsm::stop_to_resuming"]);
    assert_eq!(run.by_verdict().into_keys().collect::<Vec<_>>(), ["crash", "pass"], "{}", run.said);
    let evidence = run.check("fsm::stop_to_resuming")["evidence"].to_string();
    assert!(evidence.contains("NULL pointer dereference"), "{evidence}");
    assert!(evidence.contains("SET RESUMING"), "{evidence}");
    Ok(())
}

#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn a_warning_of_the_kernel_fails_the_check_that_was_running() -> Tested {
    let run = run_stumbling("warn")?;
    assert_eq!(run.exit, Some(1), "{}", run.said);
    assert_eq!(run.with("fail"), ["fsm::stop_to_resuming"]);
    let broken = run.check("fsm::stop_to_resuming")["broken"].to_string();
    assert!(broken.contains("health.kernel_log.clean"), "{broken}");
    Ok(())
}

#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn a_panic_costs_one_check_and_a_restart() -> Tested {
    let run = run_stumbling("panic")?;
    assert_eq!(run.exit, Some(1), "{}", run.said);
    assert_eq!(run.with("crash"), ["fsm::stop_to_resuming"]);
    assert_eq!(run.by_verdict().into_keys().collect::<Vec<_>>(), ["crash", "pass"], "{}", run.said);
    let broken = run.check("fsm::stop_to_resuming")["broken"].to_string();
    assert!(broken.contains("Kernel panic"), "{broken}");
    let check = run.check("fsm::stop_to_resuming");
    assert_eq!(check["message"], "the guest's kernel panicked during SET RESUMING", "{}", run.said);
    Ok(())
}

/// A run of one check, with a kernel that fails once in this function.
fn run_stumbling_at(how: &str, at: &str, after: u32) -> Result<Run, Box<dyn Error>> {
    let append = format!("stumble.how={how} stumble.at={at} stumble.after={after}");
    run("7.3", &["--extra", &stumble(), "--append", &append], &["--exact", "fsm::running_to_stop"])
}

/// The finding of a run that belongs to no check, and the verdict of the check beside it.
fn outside(run: &Run, name: &str, verdict: &str, check: &str) -> Tested {
    assert_eq!(run.exit, Some(1), "{}", run.said);
    assert_eq!(run.with(verdict), [name], "{}", run.said);
    assert_eq!(run.with(check), ["fsm::running_to_stop"], "{}", run.said);
    let short = name.trim_start_matches("run::");
    assert!(run.junit.contains(&format!("name=\"{short}\"")), "{}", run.junit);
    Ok(())
}

#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn warning_outside_checks_is_a_finding_of_its_phase() -> Tested {
    for (at, name) in [
        ("mtty_probe", "run::bind"),
        ("vfio_df_open", "run::open"),
        ("vfio_df_close", "run::close"),
        ("mtty_remove", "run::unbind"),
    ] {
        outside(&run_stumbling_at("warn", at, 0)?, name, "fail", "pass")?;
    }
    Ok(())
}

#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn crash_before_the_first_check_is_a_finding_with_reports() -> Tested {
    for (how, at, name, verdict) in [
        ("panic", "mtty_probe", "run::bind", "crash"),
        ("oops", "vfio_df_open", "run::open", "crash"),
        ("panic", "vfio_df_open", "run::open", "crash"),
        ("hang", "vfio_df_open", "run::open", "hang"),
    ] {
        outside(&run_stumbling_at(how, at, 0)?, name, verdict, "blocked")?;
    }
    Ok(())
}

/// What led to it is read from memory that outlives the guest.
#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn a_crash_that_takes_the_guest_with_it_shows_what_was_done() -> Tested {
    let name = "session::device_closed_in_resuming";
    let run = run("7.3", &["--append", "oops=panic"], &["--exact", name])?;
    assert_eq!(run.with("crash"), [name], "{}", run.said);
    let operations = run.check(name)["evidence"]["operations"].as_array().ok_or("no operations")?;
    let done: Vec<(&str, bool)> =
        operations.iter().map(|it| (it["what"].as_str().unwrap_or_default(), it["result"].is_null())).collect();
    assert!(done.contains(&("close, open", false)), "{done:?}");
    assert_eq!(done.last(), Some(&("SET RUNNING", true)), "{done:?}");
    Ok(())
}

#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn a_call_that_is_stuck_in_the_kernel_is_a_hang_of_its_check_alone() -> Tested {
    let run = run_stumbling("hang")?;
    assert_eq!(run.exit, Some(1), "{}", run.said);
    assert_eq!(run.with("hang"), ["fsm::stop_to_resuming"]);
    assert_eq!(run.by_verdict().into_keys().collect::<Vec<_>>(), ["hang", "pass"], "{}", run.said);
    Ok(())
}

#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn the_newest_6_12_refuses_the_blocked_arcs() -> Tested {
    let run = run("6.12", &[], &["fsm::stop_copy_to_"])?;
    assert_eq!(run.exit, Some(0), "{}", run.said);
    for name in BLOCKED_ARCS {
        assert_eq!(run.check(name)["verdict"], "pass", "{}", run.said);
    }
    Ok(())
}

#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn killing_qemu_costs_a_restart_and_no_verdict() -> Tested {
    let (mut command, folder) = qemu("7.3", &[], &["fsm::"])?;
    let supervisor = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    wait_for_checks(folder.path(), 20)?;
    assert!(signal_children(&supervisor, "KILL", None)?, "no QEMU to kill");
    let run = Run::read(folder.path(), supervisor.wait_with_output()?)?;
    assert_eq!(run.exit, Some(1), "{}", run.said);
    assert_eq!(run.with("blocked"), [""; 0], "{}", run.said);
    assert_eq!(run.with("fail"), MTTY_REOPENED);
    assert_eq!(run.report["restarts"].as_array().map(Vec::len), Some(1));
    assert!(text(&run.report["restarts"][0], "reason").contains("QEMU was killed by signal 9"), "{}", run.said);
    Ok(())
}

/// Sends a signal to the processes that a run has started, or to those of them that name this word; false if there are none.
fn signal_children(run: &Child, signal: &str, word: Option<&str>) -> Result<bool, Box<dyn Error>> {
    let mut command = Command::new("pkill");
    command.args([&format!("-{signal}"), "-P", &run.id().to_string()]);
    if let Some(word) = word {
        command.args(["-f", word]);
    }
    Ok(command.status()?.success())
}

/// Runs the pci target, and does something to what the run has started once some checks are over.
fn run_disturbed(libtest: &[&str], disturb: impl FnOnce(&Child, &Path) -> Tested) -> Result<Run, Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(program());
    command.args(["qemu", "--target", "pci", "--kernel", "7.3", "--out"]).arg(folder.path()).arg("--").args(libtest);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    disturb(&child, folder.path())?;
    Run::read(folder.path(), child.wait_with_output()?)
}

const DEVICE_SERVER: &str = "pci-target --socket";

#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn whoever_is_killed_beside_a_guest_is_named_and_costs_no_verdict() -> Tested {
    for (word, reason) in [("qemu-system", "QEMU was killed"), (DEVICE_SERVER, "the emulated device ended (signal: 9")]
    {
        let run = run_disturbed(&["fsm::"], |child, folder| {
            wait_for_checks(folder, 20)?;
            assert!(signal_children(child, "KILL", Some(word))?, "nothing to kill");
            Ok(())
        })?;
        assert_eq!(run.exit, Some(0), "{word}: {}", run.said);
        assert!(text(&run.report["restarts"][0], "reason").contains(reason), "{word}: {}", run.report["restarts"]);
    }
    Ok(())
}

#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn a_guest_that_is_killed_before_its_device_is_open_is_booted_again() -> Tested {
    for word in ["qemu-system", DEVICE_SERVER] {
        let run = run_disturbed(&["fsm::stop_copy_to_"], |child, _| {
            wait_for(Duration::from_secs(180), || signal_children(child, "KILL", Some(word)))
        })?;
        assert_eq!(run.exit, Some(0), "{word}: {}", run.said);
    }
    Ok(())
}

/// Longer than a check may take.
const STOP: Duration = Duration::from_secs(8);

#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn a_guest_that_stood_still_is_accused_of_nothing() -> Tested {
    for word in ["qemu-system", DEVICE_SERVER] {
        let run = run_disturbed(&["fsm::"], |child, folder| {
            for checks in [10, 40] {
                wait_for_checks(folder, checks)?;
                assert!(signal_children(child, "STOP", Some(word))?, "nothing to stop");
                std::thread::sleep(STOP);
                assert!(signal_children(child, "CONT", Some(word))?, "it is gone");
            }
            Ok(())
        })?;
        assert_eq!(run.exit, Some(0), "{word}: {}", run.said);
    }
    Ok(())
}

#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn killing_the_supervisor_leaves_the_truth_and_no_qemu() -> Tested {
    let (mut command, folder) = qemu("7.3", &[], &[])?;
    let mut supervisor = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    wait_for_checks(folder.path(), 20)?;
    supervisor.kill()?;
    supervisor.wait()?;
    wait_until_gone(folder.path())?;
    let finished = finished_checks(folder.path())?;
    let report = Command::new(program()).arg("report").arg(folder.path()).output()?;
    let run = Run::read(folder.path(), report)?;
    assert_eq!(run.exit, Some(3), "{}", run.said);
    for check in run.checks() {
        let (name, verdict) = (text(check, "name"), text(check, "verdict"));
        assert_eq!(finished.contains(&name), verdict != "blocked", "{name}: {verdict}");
    }
    // What is left runs in another guest that is the same.
    let resumed = Command::new(program()).args(["qemu", "--resume"]).arg(folder.path()).output()?;
    let run = Run::read(folder.path(), resumed)?;
    assert_eq!(run.exit, Some(1), "{}", run.said);
    assert!(finished.iter().all(|name| run.said.matches(&format!("test {name} ")).count() == 0), "{}", run.said);
    assert_eq!(run.with("crash"), MTTY_CRASHES, "{}", run.said);
    Ok(())
}

#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn a_kernel_that_does_not_boot_is_said_to_be_one() -> Tested {
    let (mut command, _folder) = qemu("7.3", &["--append", "rdinit=/nowhere root=/dev/nowhere"], &[])?;
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("failed to boot the guest"), "{said}");
    assert!(said.contains("Kernel panic"), "{said}");
    Ok(())
}

/// Made in guests, verified here.
#[test]
#[ignore = "boots guests: ./ci/test runs it"]
fn a_certificate_of_the_pci_target_verifies() -> Tested {
    let folder = tempfile::tempdir()?;
    let dir = folder.path().join("certificate");
    let mut command = Command::new(program());
    // With this seed the walk comes to what our driver once did wrong, and never to anything that no test has met yet.
    command.args(["qemu", "--certify", "--repeat", "1", "--steps", "1000", "--seed", "425964", "--out"]).arg(&dir);
    let output = command.output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", String::from_utf8_lossy(&output.stderr));
    for part in ["verdict       conforms", "1234:c0f0", "vfio_conform_pci", "unit dmar0"] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    assert!(fs::read_to_string(dir.join("kernel-config"))?.contains("CONFIG_VFIO="), "no configuration");
    let verify = || Command::new(program()).arg("verify").arg(&dir).output();
    let accepted = verify()?;
    assert_eq!(accepted.status.code(), Some(0), "{}", String::from_utf8_lossy(&accepted.stdout));
    fs::write(dir.join("STATEMENT.txt"), said.replace("conforms", "conforms well").as_bytes())?;
    assert_eq!(verify()?.status.code(), Some(1));
    Ok(())
}

#[test]
#[ignore = "needs the environment: ./ci/test runs it"]
fn a_kernel_that_is_gone_or_no_kernel_is_said_to_be_one() -> Tested {
    for (kernel, sentence) in [("6.12.1", "gone"), ("0.1", "0.1"), (env!("CARGO_MANIFEST_DIR"), "kernel")] {
        let (mut command, _folder) = qemu(kernel, &[], &[])?;
        let output = command.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        let said: Vec<&str> = said.lines().filter(|line| line.starts_with("vfio-conform: ")).collect();
        assert!(said.len() == 1 && said[0].contains(sentence), "{kernel}: {said:?}");
    }
    Ok(())
}

fn finished_checks(folder: &Path) -> Result<Vec<String>, Box<dyn Error>> {
    let journal = fs::read_to_string(folder.join("journal.jsonl")).unwrap_or_default();
    let whole = journal.rfind('\n').map_or("", |end| &journal[..end]);
    let mut names = Vec::new();
    for line in whole.lines() {
        let entry: Value = serde_json::from_str(line)?;
        if entry["event"] == "check_finished" {
            names.push(text(&entry, "check"));
        }
    }
    Ok(names)
}

fn wait_for_checks(folder: &Path, count: usize) -> Tested {
    wait_for(Duration::from_secs(180), || Ok(finished_checks(folder)?.len() >= count))
}

/// Every QEMU of a run names the run's folder, for the console.
fn wait_until_gone(folder: &Path) -> Tested {
    wait_for(Duration::from_secs(10), || {
        let found = Command::new("pgrep").arg("-f").arg(folder).output()?;
        Ok(found.stdout.is_empty())
    })
}

fn wait_for(bound: Duration, mut arrived: impl FnMut() -> Result<bool, Box<dyn Error>>) -> Tested {
    let end = Instant::now() + bound;
    while !arrived()? {
        if Instant::now() >= end {
            return Err(format!("it did not come within {bound:?}").into());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}
