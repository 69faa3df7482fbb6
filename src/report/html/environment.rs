//! What was tested, where, and when what was reached.

use maud::{Markup, html};

use super::part;
use crate::device::Identity;
use crate::report::run::Run;
use crate::report::text::{one_line, span};

/// The section.
pub fn section(run: &Run) -> Markup {
    html! {
        section #environment aria-labelledby="environment-h" {
            h2 #environment-h { "Environment" }
            dl.facts {
                @for (name, value) in facts(run) { dt { (name) } dd { (one_line(&value)) } }
            }
            h3 { "Timeline" }
            (timeline(run))
            @if !run.restarts.is_empty() {
                h3 { "Restarts" }
                ul {
                    @for restart in &run.restarts {
                        li { "after " (span(restart.at)) ": " (one_line(&restart.reason)) ", "
                            @match restart.ready {
                                Some(ready) => { "ready again after " (span(ready)) },
                                None => "never ready again",
                            }
                        }
                    }
                }
            }
            @if !run.notes.is_empty() {
                h3 { "Remarks about the journal" }
                ul { @for note in &run.notes { li { (one_line(note)) } } }
            }
        }
    }
}

fn facts(run: &Run) -> Vec<(&'static str, String)> {
    let began = &run.began;
    let mut facts = vec![("device as named", began.device.clone())];
    if let Some(ready) = &run.ready {
        facts.push(("device", identity(&ready.identity)));
        facts.extend(ready.beside.iter().map(|other| ("beside it", identity(other))));
        facts.push((
            "capabilities",
            ready.capabilities.map_or("none: not migratable".to_owned(), |set| set.to_string()),
        ));
        facts.push(("kernel", ready.kernel.clone()));
        facts.extend(ready.accelerator.clone().map(|accelerator| ("accelerator", accelerator)));
        facts.push((
            "kernel's own path",
            match &ready.tracing {
                Ok(()) => "observed".to_owned(),
                Err(why) => format!("not observed: {why}"),
            },
        ));
        facts.push(("taint before", format!("{:#x}", ready.taint)));
    }
    facts.push(("lab", began.lab.clone()));
    facts.extend(began.target.clone().map(|target| ("target", target)));
    facts.extend(began.kernel.clone().map(|kernel| ("kernel asked for", kernel)));
    facts.push(("strict", if began.strict { "yes: a broken should counts" } else { "no" }.to_owned()));
    facts.push(("began", began.started.clone()));
    facts.push(("run", began.run.clone()));
    facts.push(("vfio-conform", began.tool.clone()));
    facts
}

fn identity(identity: &Identity) -> String {
    let version = identity.driver_version.as_ref().map_or(String::new(), |version| format!(" {version}"));
    let pci_id = identity.pci_id.as_ref().map_or(String::new(), |id| format!(" ({id})"));
    format!("{}{pci_id}, driver {}{version}, via {}", identity.name, identity.driver, identity.via)
}

fn timeline(run: &Run) -> Markup {
    let timeline = &run.timeline;
    let stages: Vec<(&str, f64)> = [
        ("environment ready", timeline.environment_ready),
        ("power on", timeline.power_on),
        ("guest up", timeline.guest_up),
        ("device ready", timeline.device_ready),
        ("checks done", timeline.checks_done),
        ("power off", timeline.power_off),
        ("verdict", timeline.verdict),
        ("last event", Some(timeline.last_event)),
    ]
    .into_iter()
    .filter_map(|(stage, at)| Some((stage, at?)))
    .collect();
    let table = html! {
        table {
            thead { tr { th scope="col" { "Reached" } th.figure scope="col" { "after" } } }
            tbody { @for (stage, at) in stages { tr { th scope="row" { (stage) } td.figure { (span(at)) } } } }
        }
    };
    html! {
        (part::scrolled("Timeline", &table))
        @if let Some(seconds) = timeline.power_on_to_verdict { p { b { (span(seconds)) } " from power-on to verdict." } }
    }
}
