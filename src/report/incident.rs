//! Incidents as findings of the run: each phase in which something went wrong is reported as if it were a check.

use super::run::CheckRun;
use super::text::plural;
use crate::harness::incident::{Incident, Phase, Stop};
use crate::harness::kernel_log::taint_letters;
use crate::harness::outcome::{Broken, Outcome};
use crate::harness::verdict::Verdict;
use crate::requirement::{Requirement, health};

/// The phases in which something went wrong, in their order.
pub fn tests_of(incidents: &[Incident]) -> Vec<CheckRun> {
    let of = |phase: Phase| incidents.iter().filter(|incident| incident.phase == phase).collect::<Vec<_>>();
    Phase::ALL.into_iter().map(|phase| (phase, of(phase))).filter(|(_, all)| !all.is_empty()).map(test).collect()
}

fn test((phase, incidents): (Phase, Vec<&Incident>)) -> CheckRun {
    CheckRun {
        name: phase.test_name().to_owned(),
        requirements: vec![health::LOG.id.to_owned(), health::TAINT.id.to_owned()],
        outcome: outcome(&incidents),
    }
}

/// The outcome of all incidents of a phase. The worst one is shown; the others are counted, and their evidence is kept.
fn outcome(incidents: &[&Incident]) -> Outcome {
    let worst = |wanted: Verdict| incidents.iter().find(|incident| incident.verdict() == wanted);
    let shown = Verdict::ALL.into_iter().find_map(worst);
    let (verdict, message) = shown.map_or((Verdict::Fail, String::new()), |shown| (shown.verdict(), message(shown)));
    let mut outcome = Outcome::without_judgement(verdict, message);
    for incident in incidents {
        for broken in broken(incident) {
            if !outcome.broken.iter().any(|known| known.requirement == broken.requirement) {
                outcome.broken.push(broken);
            }
        }
        outcome.evidence.kernel_log.extend(incident.kernel_log.iter().cloned());
        outcome.evidence.operations.extend(incident.operations.iter().cloned());
        outcome.evidence.notes.extend(incident.device.iter().map(|device| format!("the device was {device}")));
    }
    if let more @ 1.. = incidents.len().saturating_sub(1) {
        outcome.evidence.notes.push(format!("{} of this kind in this run", plural(more, "other incident")));
    }
    outcome
}

fn message(incident: &Incident) -> String {
    let phase = incident.phase;
    match (incident.stop, &incident.report) {
        (Some(stop), Some(report)) => format!("{} {phase}; the kernel reports: {report}", stopped(stop)),
        (Some(stop), None) => format!("{} {phase}", stopped(stop)),
        (None, Some(report)) => format!("the kernel reports {phase}: {report}"),
        (None, None) => format!("the kernel was tainted {phase}: {}", new_taint(incident)),
    }
}

fn stopped(stop: Stop) -> String {
    match stop {
        Stop::Killed { signal } => format!("the executor was killed by signal {signal}"),
        Stop::Ended { code } => format!("the executor ended with code {code}"),
        Stop::Late { seconds, stuck: false } => format!("the executor did not finish within {seconds} s"),
        Stop::Late { seconds, stuck: true } => {
            format!("the executor did not finish within {seconds} s and cannot be killed: it is stuck in the kernel")
        }
        Stop::Panic => "the guest's kernel panicked".to_owned(),
        Stop::GuestDown => "the guest powered off by itself".to_owned(),
        Stop::GuestSilent { seconds } => format!("the guest did not answer within {seconds} s"),
    }
}

fn broken(incident: &Incident) -> Vec<Broken> {
    let report = incident.report.iter().map(|report| accusation(&health::LOG, incident.phase, report.clone()));
    let taint = (incident.new_taint != 0).then(|| accusation(&health::TAINT, incident.phase, new_taint(incident)));
    report.chain(taint).collect()
}

fn accusation(requirement: &'static Requirement, phase: Phase, actual: String) -> Broken {
    Broken {
        requirement: requirement.id.to_owned(),
        level: requirement.level,
        statement: requirement.statement.to_owned(),
        asked: format!("watch the kernel {phase}"),
        expected: "no report and no new taint".to_owned(),
        actual,
    }
}

fn new_taint(incident: &Incident) -> String {
    format!("new taint {} ({:#x})", taint_letters(incident.new_taint), incident.new_taint)
}
