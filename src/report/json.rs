//! `report.json`: the run for programs. `reports/report.schema.json` describes it too.

use std::collections::BTreeSet;

use serde::Serialize;

use super::measure::Figures;
use super::run::{CheckRun, Counts, Remaining, Restart, Run, Timeline};
use crate::baseline::Applied;
use crate::device::Identity;
use crate::harness::check::Environment;
use crate::harness::coverage::Coverage;
use crate::harness::outcome::{Broken, Evidence, Sibling};
use crate::harness::skip::Skip;
use crate::harness::verdict::{Exit, RunVerdict, Verdict};
use crate::stimulus::ProfileKey;
use crate::uapi::stop::StopSignal;

/// The version of the form of report.json. It grows when an old reader would misread a new report.
pub const FORMAT: u32 = 1;

/// A whole report.
#[derive(Debug, Serialize)]
pub struct Report<'a> {
    /// The version of this form.
    pub format: u32,
    /// The run's own name, which is also that of its folder.
    pub run: &'a str,
    /// Version of vfio-conform.
    pub tool: &'a str,
    /// When the run began, as RFC 3339 in UTC.
    pub started: &'a str,
    /// What the run came to.
    pub verdict: RunVerdict,
    /// The exit code that goes with the verdict.
    pub exit: Exit,
    /// Whether a broken should counts like a broken must.
    pub strict: bool,
    /// Whether the run ended before it was done.
    pub cut_off: bool,
    /// The signal that asked the run to stop before it was done; `null` if none did.
    pub stopped_by: Option<StopSignal>,
    /// How many checks `run --resume` would run; `null` where a run cannot be resumed.
    pub left: Option<Remaining>,
    /// The device as it was named.
    pub device: &'a str,
    /// What the device is; `null` if the lab was never ready, as for all that follows up to `taint`.
    pub identity: Option<&'a Identity>,
    /// Further devices of its kind on which each check ran at the same time.
    pub beside: &'a [Identity],
    /// The driver that the device is bound to.
    pub driver: Option<&'a str>,
    /// The capability set, as `stop_copy+p2p+pre_copy`; `null` also if the device cannot migrate.
    pub capabilities: Option<String>,
    /// `uname -r`.
    pub kernel: Option<&'a str>,
    /// `tcg`, `kvm`; `null` also where no guest is involved.
    pub accelerator: Option<&'a str>,
    /// Whether the kernel's own path could be seen.
    pub tracing: Option<Tracing<'a>>,
    /// The taint mask of the kernel before the first check.
    pub taint: Option<u64>,
    /// `local`, `qemu`.
    pub lab: &'a str,
    /// Which emulated device, where the lab starts one.
    pub target: Option<&'a str>,
    /// Which kernel was asked for, where the lab boots one.
    pub kernel_asked: Option<&'a str>,
    /// When what was reached, in seconds since the run began.
    pub timeline: &'a Timeline,
    /// Each time that the lab was lost and started again.
    pub restarts: &'a [Restart],
    /// How many checks came to which verdict.
    pub counts: Counts,
    /// How much of the protocol was judged, and what would have more of it judged.
    pub coverage: &'a Coverage,
    /// What the device takes for what it does.
    pub figures: Figures,
    /// Remarks about the journal itself.
    pub notes: &'a [String],
    /// What of it was expected, and what was not seen though it was; `null` if no baseline was given.
    pub baseline: Option<&'a Applied>,
    /// Every planned check, in the planned order.
    pub checks: Vec<Check<'a>>,
}

/// Whether the kernel's own path could be seen.
#[derive(Debug, Serialize)]
pub struct Tracing<'a> {
    /// Whether it could.
    pub available: bool,
    /// Why not.
    pub why: Option<&'a str>,
}

/// One check.
#[derive(Debug, Serialize)]
pub struct Check<'a> {
    /// `chapter::check_name`.
    pub name: &'a str,
    /// The chapter alone.
    pub chapter: &'a str,
    /// The ids of the requirements that it can prove.
    pub requirements: &'a [String],
    /// What it came to.
    pub verdict: Verdict,
    /// How long it took, in seconds, putting the device back included.
    pub seconds: f64,
    /// Why, in one sentence; empty on a plain pass.
    pub message: &'a str,
    /// The id of the broken requirement that keeps a blocked check from judging; `null` for all others.
    pub blocked_by: Option<&'a str>,
    /// What else keeps a blocked check from judging; `null` also where the lab does.
    pub hindered_by: Option<Environment>,
    /// The key of the profile that blocked it.
    pub blocked_by_key: Option<ProfileKey>,
    /// What ran on a sibling device, if the result is another one without it.
    pub sibling: Option<&'a Sibling>,
    /// The command that runs just this check again.
    pub reproduce: String,
    /// The requirements that were judged and kept.
    pub proven: &'a [String],
    /// The requirements that were broken.
    pub broken: &'a [Broken],
    /// Why the check was skipped; `null` if it was not.
    pub skip: Option<&'a Skip>,
    /// Keys of the profile that the check asked for and played.
    pub played: &'a BTreeSet<ProfileKey>,
    /// Keys of the profile that the check asked for in vain.
    pub lacked: &'a BTreeSet<ProfileKey>,
    /// What was seen on the way.
    pub evidence: &'a Evidence,
}

/// Makes the text of `report.json`.
///
/// # Errors
/// What writing JSON answered.
pub fn to_json(run: &Run) -> serde_json::Result<Vec<u8>> {
    let mut json = serde_json::to_vec_pretty(&Report::of(run))?;
    json.push(b'\n');
    Ok(json)
}

impl<'a> Report<'a> {
    /// The report of a run.
    pub fn of(run: &'a Run) -> Report<'a> {
        let began = &run.began;
        let ready = run.ready.as_ref();
        Report {
            format: FORMAT,
            run: &began.run,
            tool: &began.tool,
            started: &began.started,
            verdict: run.verdict,
            exit: run.exit,
            strict: began.strict,
            cut_off: run.cut_off,
            stopped_by: run.stopped_by,
            left: run.remaining(),
            device: &began.device,
            identity: ready.map(|ready| &ready.identity),
            beside: ready.map(|ready| ready.beside.as_slice()).unwrap_or_default(),
            driver: ready.map(|ready| ready.identity.driver.as_str()),
            capabilities: ready.and_then(|ready| ready.capabilities).map(|set| set.to_string()),
            kernel: ready.map(|ready| ready.kernel.as_str()),
            accelerator: ready.and_then(|ready| ready.accelerator.as_deref()),
            tracing: ready.map(|ready| Tracing {
                available: ready.tracing.is_ok(),
                why: ready.tracing.as_ref().err().map(String::as_str),
            }),
            taint: ready.map(|ready| ready.taint),
            lab: &began.lab,
            target: began.target.as_deref(),
            kernel_asked: began.kernel.as_deref(),
            timeline: &run.timeline,
            restarts: &run.restarts,
            counts: run.counts(),
            coverage: &run.coverage,
            figures: Figures::of(run),
            notes: &run.notes,
            baseline: run.baseline.as_ref(),
            checks: run.checks.iter().map(|check| Check::of(run, check)).collect(),
        }
    }
}

impl<'a> Check<'a> {
    fn of(run: &Run, check: &'a CheckRun) -> Check<'a> {
        let outcome = &check.outcome;
        Check {
            name: &check.name,
            chapter: check.chapter(),
            requirements: &check.requirements,
            verdict: outcome.verdict,
            seconds: outcome.seconds,
            message: &outcome.message,
            blocked_by: outcome.blocked_by.as_deref(),
            hindered_by: outcome.hindered_by,
            blocked_by_key: outcome.blocked_by_key,
            sibling: outcome.sibling.as_ref(),
            reproduce: run.reproduce(&check.name),
            proven: &outcome.proven,
            broken: &outcome.broken,
            skip: outcome.skip.as_ref(),
            played: &outcome.played,
            lacked: &outcome.lacked,
            evidence: &outcome.evidence,
        }
    }
}
