//! What the device takes for what it does, and what its estimates are worth.

use maud::{Markup, html};

use super::{part, plot};
use crate::report::measure::{ArcFigures, Downtime, Figures, StreamFigures};
use crate::report::text::{one_line, plural, span};

/// How many estimates are listed.
const ESTIMATES: usize = 24;

/// The sections of estimates and of time.
pub fn sections(figures: &Figures) -> Markup {
    html! {
        section #estimates aria-labelledby="estimates-h" {
            h2 #estimates-h { "Estimates in PRE_COPY" }
            @if figures.courses.is_empty() {
                p { "Not followed in this run: the device has no PRE_COPY, or the check that follows it did not run." }
            }
            @for (index, course) in figures.courses.iter().enumerate() { (plot::figure(course, index)) }
            (estimates(figures))
        }
        section #time aria-labelledby="time-h" {
            h2 #time-h { "Time" }
            @if figures.arcs.is_empty() && figures.save.is_none() && figures.load.is_none() { p { "Nothing was measured." } }
            @if let Some(figures) = &figures.downtime { (downtime(figures)) }
            (streams(figures))
            (arcs(&figures.arcs))
        }
    }
}

fn estimates(figures: &Figures) -> Markup {
    if figures.estimates.is_empty() {
        return html! {};
    }
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "Estimate" } th.figure scope="col" { "Bytes promised" } th.figure scope="col" { "Bytes that came" }
                th.figure scope="col" { "Difference" }
            } }
            tbody {
                @for estimate in figures.estimates.iter().take(ESTIMATES) {
                    tr {
                        td { (estimate.of) }
                        td.figure { (part::number(estimate.estimated)) }
                        td.figure { (part::number(estimate.came)) }
                        td.figure { (difference(estimate.estimated, estimate.came)) }
                    }
                }
            }
        }
    };
    let more = figures.estimates.len().saturating_sub(ESTIMATES);
    html! {
        h3 { "What was promised, and what came" }
        (part::scrolled("Estimates", &table))
        @if more > 0 { p.note { (plural(more, "more estimate")) " in report.json." } }
    }
}

fn difference(promised: u64, came: u64) -> String {
    match came.abs_diff(promised) {
        0 => "none".to_owned(),
        bytes if came > promised => format!("+{}", part::number(bytes)),
        bytes => format!("-{}", part::number(bytes)),
    }
}

fn downtime(downtime: &Downtime) -> Markup {
    let micros = |micros: f64| span(micros / 1e6);
    html! {
        h3 { "What the device adds to the downtime of a migration" }
        ul {
            li { b { (micros(downtime.stop)) } " from the last state in which it runs to STOP_COPY" }
            li { b { (micros(downtime.save)) } " to read its state to the last byte" }
            @if let Some(load) = downtime.load { li { b { (micros(load)) } " to load that state and run" } }
        }
    }
}

fn streams(figures: &Figures) -> Markup {
    let streams: Vec<(&str, &StreamFigures)> = [("Save", &figures.save), ("Load", &figures.load)]
        .into_iter()
        .filter_map(|(what, stream)| Some((what, stream.as_ref()?)))
        .collect();
    if streams.is_empty() {
        return html! {};
    }
    let table = html! {
        table {
            thead { tr {
                th scope="col" { "Stream" } th.figure scope="col" { "Throughput" } th.figure scope="col" { "Longest" } th.figure scope="col" { "It took" }
                th.figure scope="col" { "Count" }
            } }
            tbody {
                @for (what, stream) in streams {
                    tr {
                        th scope="row" { (what) }
                        td.figure { (format!("{:.1}", stream.bytes_per_second / 1e6)) " MB/s" }
                        td.figure { (part::number(stream.bytes)) " bytes" }
                        td.figure { (span(stream.micros / 1e6)) }
                        td.figure { (stream.count) }
                    }
                }
            }
        }
    };
    html! { h3 { "Streams" } (part::scrolled("Streams", &table)) }
}

fn arcs(arcs: &[ArcFigures]) -> Markup {
    let longest = arcs.iter().map(|arc| arc.p99).fold(f64::MIN_POSITIVE, f64::max);
    // The scale is that of roots: a short arc is still seen beside one that takes a thousand times as long.
    let percent = |micros: f64| format!("{:.1}%", (micros / longest).sqrt() * 100.0);
    if arcs.is_empty() {
        return html! {};
    }
    let table = html! {
        table.latencies {
            thead { tr {
                th scope="col" { "Arc" } th.figure scope="col" { "Median" } th.figure scope="col" { "99 %" } th.figure scope="col" { "Count" }
            } }
            tbody {
                @for arc in arcs {
                    tr {
                        th scope="row" {
                            (one_line(&format!("{} → {}", arc.from, arc.to)))
                            span.track aria-hidden="true" {
                                span.late style={ "width:" (percent(arc.p99)) } {}
                                span.median style={ "width:" (percent(arc.median)) } {}
                            }
                        }
                        td.figure { (span(arc.median / 1e6)) }
                        td.figure { (span(arc.p99 / 1e6)) }
                        td.figure { (arc.count) }
                    }
                }
            }
        }
    };
    html! {
        h3 { "Arcs" }
        (part::scrolled("Latency of each arc", &table))
        p.legend { "Bars: the median, and paler what 99 of 100 do not exceed, on a scale of square roots." }
    }
}
