//! Journals for tests, as a run of the qemu lab would leave them.

use crate::device::Identity;
use crate::harness::incident::{Incident, Phase, Stop};
use crate::harness::journal::{Entry, Event, FORMAT, LabReady, PlannedCheck, RunStarted, Stage};
use crate::harness::measure::Sample;
use crate::harness::outcome::{Broken, Evidence, ObservedPath, Operation, Outcome};
use crate::harness::skip::{Lack, Skip};
use crate::harness::verdict::{Exit, RunVerdict, Verdict};
use crate::requirement::Level;
use crate::uapi::state::{Capabilities, State};

/// The beginning of a run that is to do these checks.
pub fn began(planned: &[&str]) -> Event {
    Event::RunStarted(Box::new(RunStarted {
        format: FORMAT,
        run: "20261123-052400-mtty".to_owned(),
        tool: "0.0.1".to_owned(),
        started: "2026-11-23T05:24:00Z".to_owned(),
        clock: None,
        device: "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001".to_owned(),
        lab: "qemu".to_owned(),
        target: Some("mtty".to_owned()),
        kernel: Some("7.3".to_owned()),
        strict: false,
        require: None,
        suite: None,
        reproduce: "./ci/emulated --target mtty --kernel 7.3 -- --exact {check}".to_owned(),
        options: None,
        planned: planned
            .iter()
            .map(|name| PlannedCheck {
                name: (*name).to_owned(),
                requirements: vec![format!("{}.proved", name.replace("::", "."))],
            })
            .collect(),
        guest: None,
        baseline: Vec::new(),
    }))
}

/// The lab can run checks.
pub fn ready() -> Event {
    Event::LabReady(Box::new(LabReady {
        kernel: "7.3.4+deb14-amd64".to_owned(),
        identity: Identity {
            name: "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001".to_owned(),
            driver: "mtty".to_owned(),
            driver_version: Some("0.1".to_owned()),
            pci_id: None,
            via: "group".to_owned(),
        },
        beside: Vec::new(),
        capabilities: Some(Capabilities::FULL),
        accelerator: Some("tcg".to_owned()),
        tracing: Ok(()),
        taint: 0x1000,
    }))
}

/// A check starts.
pub fn start(check: &str) -> Event {
    Event::CheckStarted { check: check.to_owned() }
}

/// A check finishes with this outcome.
pub fn finish(check: &str, outcome: Outcome) -> Event {
    Event::CheckFinished { check: check.to_owned(), outcome: Box::new(outcome) }
}

/// The kernel reports this while no check runs.
pub fn incident(phase: Phase, stop: Option<Stop>, report: Option<&str>) -> Event {
    let lines: Vec<String> = report.map(str::to_owned).into_iter().collect();
    Event::Incident(Box::new(Incident {
        phase,
        device: None,
        stop,
        report: report.map(str::to_owned),
        new_taint: 0,
        kernel_log: lines,
        operations: Vec::new(),
    }))
}

/// The end of a run.
pub fn finished(verdict: RunVerdict, exit: Exit) -> Event {
    Event::RunFinished { verdict, exit, left: 0, stopped_by: None }
}

/// An outcome with nothing to say but its verdict and message.
pub fn outcome(verdict: Verdict, message: &str) -> Outcome {
    Outcome { seconds: 0.0125, ..Outcome::without_judgement(verdict, message) }
}

/// A broken must: a session that outlives its end, found by asking this.
pub fn failed(asked: &str) -> Outcome {
    let broken = Broken {
        requirement: "session.fd.dead_after_leaving".to_owned(),
        level: Level::Must,
        statement: "When the saving group is left the session ends: a later read or write on the old data_fd fails, \
                    delivers no data and never hangs."
            .to_owned(),
        asked: asked.to_owned(),
        expected: "an error, ENODEV by custom".to_owned(),
        actual: "read returned 4096 bytes".to_owned(),
    };
    let evidence = Evidence {
        operations: vec![
            operation(0.000_012, "SET STOP_COPY", Some("ok, data_fd 7"), 113.2),
            operation(0.000_230, "read 4096", Some("4096"), 18.4),
            operation(0.000_301, "SET STOP", Some("ok, data_fd -1"), 40.0),
            operation(0.000_390, "SET RUNNING", Some("ok, data_fd -1"), 40.0),
            operation(0.000_488, "read 4096 on the old data_fd", Some("4096"), 9.9),
        ],
        paths: vec![ObservedPath { to: State::StopCopy, through: vec![State::Running, State::Stop] }],
        ..Evidence::default()
    };
    Outcome { broken: vec![broken], evidence, ..outcome(Verdict::Fail, "the old data_fd still delivers data") }
}

/// A broken should.
pub fn warned() -> Outcome {
    let broken = Broken {
        requirement: "session.fd.close_on_exec".to_owned(),
        level: Level::Should,
        statement: "The data_fd goes away when the process executes another program.".to_owned(),
        asked: "the descriptor flags of the data_fd of STOP_COPY".to_owned(),
        expected: "FD_CLOEXEC is set".to_owned(),
        actual: "FD_CLOEXEC is clear".to_owned(),
    };
    Outcome { broken: vec![broken], ..outcome(Verdict::Warn, "the data_fd stays open across exec") }
}

fn operation(at: f64, what: &str, result: Option<&str>, micros: f64) -> Operation {
    Operation { at, what: what.to_owned(), result: result.map(str::to_owned), micros: result.map(|_| micros) }
}

/// A hang in the kernel.
pub fn hung() -> Outcome {
    Outcome {
        seconds: 10.0,
        evidence: Evidence {
            operations: vec![
                operation(0.000_012, "SET STOP_COPY", Some("ok, data_fd 7"), 113.2),
                operation(0.000_230, "SET PRE_COPY", None, 0.0),
            ],
            ..Evidence::default()
        },
        ..outcome(Verdict::Hang, "SET PRE_COPY did not come back within 10 s, and the executor cannot be killed")
    }
}

/// An oops in the kernel, with text that is dangerous for terminals and for XML.
pub fn crashed() -> Outcome {
    let log = [
        "[    4.812001] mtty: \u{1b}[31mred\u{1b}[0m \u{7} ]]> & <tag> \"quoted\" \u{fffe}\r",
        "[    4.812340] BUG: kernel NULL pointer dereference, address: 0000000000000010",
        "[    4.812346] #PF: supervisor read access in kernel mode",
        "[    4.812349] Oops: Oops: 0000 [#1] SMP NOPTI",
        "[    4.812355] CPU: 1 UID: 0 PID: 71 Comm: vfio-conform Tainted: G           OE       7.3.4+deb14-amd64",
        "[    4.812360] RIP: 0010:mtty_save_state+0x41/0xd0 [mtty]",
        "[    4.812377] Call Trace:",
        "[    4.812379]  <TASK>",
        "[    4.812380]  mtty_set_state+0x1f2/0x4b0 [mtty]",
        "[    4.812385]  vfio_mig_ioctl_set_state+0x9c/0x130 [vfio]",
        "[    4.812390]  </TASK>",
    ];
    Outcome {
        seconds: 0.731,
        evidence: Evidence {
            operations: vec![operation(0.000_012, "SET STOP_COPY", None, 0.0)],
            kernel_log: log.map(str::to_owned).to_vec(),
            ..Evidence::default()
        },
        ..outcome(Verdict::Crash, "the kernel reported a NULL pointer dereference in mtty_save_state")
    }
}

/// The planned checks of [`mtty`].
pub const MTTY: [&str; 11] = [
    "discover::flags_are_a_defined_combination",
    "discover::unknown_feature_is_enotty",
    "fsm::stop_copy_to_pre_copy_is_refused",
    "fsm::every_direct_arc",
    "session::old_fd_is_dead_after_running",
    "session::old_fd_is_dead_after_stop",
    "session::old_fd_is_dead_after_reset",
    "session::fd_is_close_on_exec",
    "precopy::reinit_is_opt_in",
    "dma_logging::start_stop",
    "reset::from_every_state",
];

/// A whole run with every verdict in it, and one restart.
pub fn mtty() -> Vec<Event> {
    let [flags, unknown, blocked_arc, arcs, running, stop, reset, cloexec, reinit, logging, states] = MTTY;
    let estimates = |at, initial_bytes, dirty_bytes| Sample::Estimates { at, initial_bytes, dirty_bytes };
    let pass = Outcome {
        proven: vec!["discover.flags.defined".to_owned()],
        samples: vec![estimates(0.001, 1_052_704, 0), estimates(0.004, 526_352, 4112), estimates(0.009, 0, 4112)],
        ..outcome(Verdict::Pass, "")
    };
    let remarked = Outcome {
        evidence: Evidence {
            notes: vec!["advice session.fd.no_seek is not kept: lseek works".to_owned()],
            ..Evidence::default()
        },
        samples: Vec::new(),
        ..pass.clone()
    };
    let feature = "MIG_PRECOPY_INFOv2".to_owned();
    let without_v2 = Skip::Lacks { what: Lack::Kernel { feature, since: "7.1".to_owned() } };
    let no_logging = Skip::CorrectlyAbsent { what: "DMA_LOGGING is not offered and START is refused".to_owned() };
    vec![
        began(&MTTY),
        Event::Stage { stage: Stage::EnvironmentReady },
        Event::Stage { stage: Stage::PowerOn },
        Event::Stage { stage: Stage::GuestUp },
        ready(),
        Event::Stage { stage: Stage::DeviceReady },
        start(flags),
        finish(flags, pass),
        start(unknown),
        finish(unknown, remarked),
        start(blocked_arc),
        finish(blocked_arc, hung()),
        Event::LabRestarted { reason: "the device hangs in the kernel".to_owned() },
        Event::Stage { stage: Stage::PowerOn },
        Event::Stage { stage: Stage::GuestUp },
        ready(),
        Event::Stage { stage: Stage::DeviceReady },
        start(arcs),
        finish(arcs, crashed()),
        start(running),
        finish(running, failed("read of the data_fd after STOP_COPY -> RUNNING")),
        start(stop),
        finish(stop, failed("read of the data_fd after STOP_COPY -> STOP")),
        start(reset),
        finish(reset, failed("read of the data_fd after VFIO_DEVICE_RESET in STOP_COPY")),
        start(cloexec),
        finish(cloexec, warned()),
        start(reinit),
        finish(reinit, Outcome::skipped(without_v2)),
        start(logging),
        finish(logging, Outcome::skipped(no_logging)),
        finish(states, outcome(Verdict::Blocked, "the time for the whole run was used up")),
        Event::Stage { stage: Stage::ChecksDone },
        Event::Stage { stage: Stage::PowerOff },
        finished(RunVerdict::DoesNotConform, Exit::Unfinished),
    ]
}

/// The bytes of a journal with these events, one every 0.25 s.
pub fn journal(events: Vec<Event>) -> Vec<u8> {
    let lines = events.into_iter().enumerate().map(|(seq, event)| {
        let seq = seq as u64;
        let t = seq as f64 * 0.25;
        let mut line = serde_json::to_vec(&Entry { seq, t, event }).expect("serializable");
        line.push(b'\n');
        line
    });
    lines.flatten().collect()
}

/// A folder with a journal in it.
pub fn folder(journal: &[u8]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::write(folder.path().join("journal.jsonl"), journal).expect("writable");
    folder
}
