//! Whatever is killed, at whatever moment: what a run leaves behind is the truth.
//!
//! The moments are random and spread over a whole run. The seed is printed; `VFIO_CONFORM_SEED` repeats it.

mod processes;
mod program;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tempfile::TempDir;

use vfio_conform::harness::verdict::Exit;
use vfio_conform::report::{JOURNAL, JSON};

use processes::executors_of;

/// How many supervisors are killed, each at a moment of its own.
const SUPERVISORS: u32 = 8;
/// What they run: little, so that the moments lie close together.
const CHAPTER: &str = "session::";
/// How many runs of everything lose their executors again and again.
const RUNS_WITHOUT_PEACE: u32 = 1;
/// How often, so that a busy machine comes to an end too.
const KILLS: usize = 6;
/// How many runs there are at once.
const AT_ONCE: u32 = 4;
/// A killed process is gone within this, however busy the machine is.
const GONE_WITHIN: Duration = Duration::from_secs(2);

static SEED: LazyLock<u64> = LazyLock::new(|| {
    let given = std::env::var("VFIO_CONFORM_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("VFIO_CONFORM_SEED={seed}");
    seed
});

/// The randomness of one run. Two that differ in this number have nothing in common.
fn random(number: u32) -> StdRng {
    StdRng::seed_from_u64(SEED.wrapping_add(number.into()))
}

#[test]
fn a_killed_supervisor_leaves_a_true_journal_and_no_executor() {
    let whole = time_of_a_run();
    in_parallel(SUPERVISORS, |number| {
        let part = whole * 11 / 10 / SUPERVISORS;
        let moment = part * number + part.mul_f64(random(number).random());
        let folder = folder();
        let mut supervisor = start(folder.path(), CHAPTER);
        thread::sleep(moment);
        // One that has ended already is as good a case.
        let _ = supervisor.kill();
        supervisor.wait().expect("a status");
        no_executor_is_left(supervisor.id());
        the_report_is_true(folder.path());
    });
}

#[test]
fn executor_killed_from_outside_accuses_nobody() {
    in_parallel(RUNS_WITHOUT_PEACE, |number| {
        let mut random = random(1000 + number);
        let folder = folder();
        let mut supervisor = start(folder.path(), CHAPTER);
        let (mut kills, mut finished_at_kill) = (0, 0);
        while supervisor.try_wait().expect("a status").is_none() {
            thread::sleep(Duration::from_millis(random.random_range(5..40)));
            // One executor after another that does not even come to open its device is a lab that is lost for good, so
            // each is left alone until a check is over that it may have run.
            let finished = finished(folder.path()).len();
            if kills < KILLS && is_ready(folder.path()) && finished > finished_at_kill {
                let killed = executors_of(supervisor.id());
                let killed = killed.into_iter().filter(|pid| kill(*pid, Signal::SIGKILL).is_ok()).count();
                kills += killed;
                if killed > 0 {
                    // The check that was running will be over by this.
                    finished_at_kill = finished + 1;
                }
            }
        }
        assert!(kills > 0, "the run was over before a kill");
        let code = supervisor.wait().expect("a status").code();
        let finished = finished(folder.path());
        assert_eq!(finished.len(), planned(folder.path()).len(), "a check has no verdict");
        // Its check is run once more, and blocked only if that is killed too.
        let blocked = finished.values().filter(|verdict| *verdict == "blocked").count();
        assert!(blocked * 2 <= kills, "{kills} kills block {blocked} checks");
        let exit = if blocked > 0 { Exit::Unfinished } else { Exit::Conforms };
        assert_eq!(code, Some(exit as i32));
        assert!(
            !finished.values().any(|verdict| ["crash", "fail", "warn", "hang"].contains(&verdict.as_str())),
            "{finished:?}"
        );
        no_executor_is_left(supervisor.id());
        the_report_is_true(folder.path());
    });
}

/// What the report says is what the journal says, read here without any of the program's own code.
fn the_report_is_true(folder: &Path) {
    let planned = planned(folder);
    let finished = finished(folder);
    let output = program::vfio_conform(folder).args(["report", "out"]).output().expect("started");
    let said = String::from_utf8_lossy(&output.stderr);
    if planned.is_empty() {
        assert_eq!(output.status.code(), Some(Exit::Usage as i32), "{said}");
        assert!(said.contains("failed to read the journal"), "{said}");
        return;
    }
    let report = fs::read(folder.join("out").join(JSON)).unwrap_or_else(|error| panic!("{error}: {said}"));
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    let checks = report["checks"].as_array().expect("checks");
    assert_eq!(checks.iter().map(|check| text(&check["name"])).collect::<Vec<_>>(), planned);
    for check in checks {
        let expected = finished.get(&text(&check["name"])).map_or("blocked", String::as_str);
        assert_eq!(check["verdict"], expected, "{check}");
    }
    if finished.len() < planned.len() {
        assert_eq!(report["exit"], Exit::Unfinished as u8, "a run that was cut off is not finished");
        assert_ne!(report["verdict"], "conforms");
    }
}

/// The whole lines of the journal. What follows the last newline was never finished.
fn events(folder: &Path) -> Vec<Value> {
    let journal = fs::read_to_string(folder.join("out").join(JOURNAL)).unwrap_or_default();
    let whole = journal.rfind('\n').map_or("", |end| &journal[..end]);
    whole.lines().map(|line| serde_json::from_str(line).expect("a whole line is an event")).collect()
}

fn planned(folder: &Path) -> Vec<String> {
    let events = events(folder);
    let planned = events.first().and_then(|first| first["planned"].as_array());
    planned.into_iter().flatten().map(|check| text(&check["name"])).collect()
}

/// The verdicts of the checks that have one.
fn finished(folder: &Path) -> BTreeMap<String, String> {
    let events = events(folder);
    let finished = events.iter().filter(|event| event["event"] == "check_finished");
    finished.map(|event| (text(&event["check"]), text(&event["outcome"]["verdict"]))).collect()
}

fn is_ready(folder: &Path) -> bool {
    fs::read_to_string(folder.join("out").join(JOURNAL)).is_ok_and(|journal| journal.contains("\"lab_ready\""))
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

fn folder() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

fn start(folder: &Path, filter: &str) -> Child {
    let mut command = program::vfio_conform(folder);
    command.args(["run", "model", "--out", "out", "--", filter]).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("started")
}

/// How long a run takes that nobody disturbs, while as many others go on as later.
fn time_of_a_run() -> Duration {
    let began = Instant::now();
    in_parallel(AT_ONCE, |_| {
        assert!(start(folder().path(), CHAPTER).wait().expect("a status").success());
    });
    began.elapsed()
}

/// Does something with every number below this one, [`AT_ONCE`] at a time.
fn in_parallel(count: u32, action: impl Fn(u32) + Sync) {
    let action = &action;
    thread::scope(|scope| {
        for first in 0..AT_ONCE {
            scope.spawn(move || (first..count).step_by(AT_ONCE as usize).for_each(action));
        }
    });
}

fn no_executor_is_left(supervisor: u32) {
    let end = Instant::now() + GONE_WITHIN;
    while !executors_of(supervisor).is_empty() {
        assert!(Instant::now() < end, "an executor has outlived its supervisor");
        thread::sleep(Duration::from_millis(5));
    }
}
