//! Figures of a run: what the device takes for each arc, for its streams, and for the downtime of a migration; and what
//! its estimates are worth.

use serde::Serialize;

use super::run::{CheckRun, Run};
use super::text::span;
use crate::fsm::{Route, route};
use crate::harness::measure::Sample;
use crate::uapi::state::{Capabilities, State};

/// How many arcs the summary for people shows.
const SLOWEST: usize = 3;

/// All figures. What was not seen is `null` or missing.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Each arc that was taken by a request of its own.
    pub arcs: Vec<ArcFigures>,
    /// Streams that were read to their permanent end.
    pub save: Option<StreamFigures>,
    /// Whole streams that were written.
    pub load: Option<StreamFigures>,
    /// What the device contributes to the downtime of a migration.
    pub downtime: Option<Downtime>,
    /// Estimates, and what came.
    pub estimates: Vec<Estimate>,
    /// How the estimates of PRE_COPY went on while it was read.
    pub courses: Vec<Course>,
}

/// How long one arc takes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ArcFigures {
    /// Where it begins.
    pub from: State,
    /// Where it ends.
    pub to: State,
    /// How often it was measured.
    pub count: usize,
    /// In microseconds.
    pub median: f64,
    /// In microseconds: of a hundred, one takes longer.
    pub p99: f64,
}

/// How long streams take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StreamFigures {
    /// How many were measured.
    pub count: usize,
    /// How long the longest was.
    pub bytes: u64,
    /// How long that one took, in microseconds.
    pub micros: f64,
    /// All bytes by all time.
    pub bytes_per_second: f64,
}

/// The parts of the downtime that the device is to blame for, in microseconds, each from medians.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Downtime {
    /// From the last state in which it runs to STOP_COPY.
    pub stop: f64,
    /// Reading the longest stream.
    pub save: f64,
    /// From STOP to RESUMING, writing the longest stream, and from there to RUNNING; `null` if nothing was loaded.
    pub load: Option<f64>,
}

/// One estimate and what came.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// `MIG_DATA_SIZE` or `PRECOPY_INFO`.
    pub of: &'static str,
    /// What the device said.
    pub estimated: u64,
    /// What came.
    pub came: u64,
}

/// The estimates of one session of PRE_COPY over time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Course {
    /// The check that followed them.
    pub check: String,
    /// In the order of their times.
    pub points: Vec<CoursePoint>,
}

/// The estimates at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CoursePoint {
    /// Seconds since the check began.
    pub at: f64,
    /// Initial data that is left to read.
    pub initial_bytes: u64,
    /// Data that was dirtied since it was read.
    pub dirty_bytes: u64,
}

impl Figures {
    /// The figures of a run.
    pub fn of(run: &Run) -> Figures {
        let samples: Vec<Sample> = run.checks.iter().flat_map(|check| check.outcome.samples.iter().copied()).collect();
        let arcs = arcs(&samples);
        let save = stream(samples.iter().filter_map(|sample| match sample {
            Sample::Save { bytes, micros } => Some((*bytes, *micros)),
            _ => None,
        }));
        let load = stream(samples.iter().filter_map(|sample| match sample {
            Sample::Load { bytes, micros } => Some((*bytes, *micros)),
            _ => None,
        }));
        let capabilities = run.ready.as_ref().and_then(|ready| ready.capabilities);
        let downtime = capabilities.and_then(|set| downtime(set, &arcs, save.as_ref()?, load.as_ref()));
        let mut estimates: Vec<Estimate> = samples.iter().filter_map(estimate).collect();
        estimates.dedup();
        let courses = run.checks.iter().filter_map(course).collect();
        Figures { arcs, save, load, downtime, estimates, courses }
    }

    /// The few that people want to see, as rows of a table.
    pub fn rows(&self) -> Vec<String> {
        let mut rows = Vec::new();
        if let Some(Downtime { stop, save, load }) = &self.downtime {
            let load = load.map_or_else(String::new, |load| format!(", {} to load and run", span(load / 1e6)));
            let (stop, save) = (span(stop / 1e6), span(save / 1e6));
            rows.push(format!("downtime  {stop} to STOP_COPY, {save} to the last byte{load}"));
        }
        for (what, stream) in [("save", &self.save), ("load", &self.load)] {
            if let Some(stream) = stream {
                let speed = stream.bytes_per_second / 1e6;
                rows.push(format!("{what:8}  {} bytes, {speed:.1} MB/s", stream.bytes));
            }
        }
        let mut slowest: Vec<&ArcFigures> = self.arcs.iter().collect();
        slowest.sort_by(|one, other| other.median.total_cmp(&one.median));
        for (index, arc) in slowest.into_iter().take(SLOWEST).enumerate() {
            let label = if index == 0 { "slowest" } else { "" };
            let name = format!("{} -> {}", arc.from, arc.to);
            let (median, p99) = (span(arc.median / 1e6), span(arc.p99 / 1e6));
            rows.push(format!("{label:8}  {name:28} median {median:>8}  p99 {p99:>8}"));
        }
        rows
    }
}

fn arcs(samples: &[Sample]) -> Vec<ArcFigures> {
    let mut taken: Vec<(State, State, Vec<f64>)> = Vec::new();
    for sample in samples {
        let Sample::Arc { from, to, micros } = *sample else {
            continue;
        };
        match taken.iter_mut().find(|(one, other, _)| (*one, *other) == (from, to)) {
            Some((_, _, times)) => times.push(micros),
            None => taken.push((from, to, vec![micros])),
        }
    }
    taken.sort_by_key(|(from, to, _)| (from.number(), to.number()));
    let figures = |(from, to, mut times): (State, State, Vec<f64>)| {
        times.sort_by(f64::total_cmp);
        ArcFigures { from, to, count: times.len(), median: quantile(&times, 50), p99: quantile(&times, 99) }
    };
    taken.into_iter().map(figures).collect()
}

/// The value that so many of a hundred do not exceed; of few values it is the largest for a high rank.
fn quantile(sorted: &[f64], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

fn stream(streams: impl Iterator<Item = (u64, f64)>) -> Option<StreamFigures> {
    let streams: Vec<(u64, f64)> = streams.collect();
    let longest = streams.iter().map(|(bytes, _)| *bytes).max()?;
    let mut times: Vec<f64> =
        streams.iter().filter(|(bytes, _)| *bytes == longest).map(|(_, micros)| *micros).collect();
    times.sort_by(f64::total_cmp);
    let bytes: u64 = streams.iter().map(|(bytes, _)| bytes).sum();
    let micros: f64 = streams.iter().map(|(_, micros)| micros).sum();
    Some(StreamFigures {
        count: streams.len(),
        bytes: longest,
        micros: quantile(&times, 50),
        bytes_per_second: if micros > 0.0 { bytes as f64 / micros * 1e6 } else { 0.0 },
    })
}

fn downtime(
    set: Capabilities,
    arcs: &[ArcFigures],
    save: &StreamFigures,
    load: Option<&StreamFigures>,
) -> Option<Downtime> {
    let begin = if set.pre_copy { State::PreCopy } else { State::Running };
    let load = load.and_then(|load| {
        let (enter, leave) =
            (way(set, arcs, State::Stop, State::Resuming)?, way(set, arcs, State::Resuming, State::Running)?);
        Some(enter + load.micros + leave)
    });
    Some(Downtime { stop: way(set, arcs, begin, State::StopCopy)?, save: save.micros, load })
}

/// The medians of the arcs of a way, added up; `None` if one of them was not measured.
fn way(set: Capabilities, arcs: &[ArcFigures], from: State, to: State) -> Option<f64> {
    let Route::Path(path) = route(set, from, to.number()) else {
        return None;
    };
    let median = |pair: &[State]| arcs.iter().find(|arc| [arc.from, arc.to] == pair).map(|arc| arc.median);
    path.windows(2).map(median).sum()
}

/// The course that a check followed, if it did.
fn course(check: &CheckRun) -> Option<Course> {
    let points = check.outcome.samples.iter().filter_map(|sample| match *sample {
        Sample::Estimates { at, initial_bytes, dirty_bytes } => Some(CoursePoint { at, initial_bytes, dirty_bytes }),
        _ => None,
    });
    let course = Course { check: check.name.clone(), points: points.collect() };
    (course.points.len() > 1).then_some(course)
}

fn estimate(sample: &Sample) -> Option<Estimate> {
    match sample {
        Sample::DataSize { estimated, streamed } => {
            Some(Estimate { of: "MIG_DATA_SIZE", estimated: *estimated, came: *streamed })
        }
        Sample::Precopy { estimated, read } => {
            Some(Estimate { of: "PRECOPY_INFO", estimated: *estimated, came: *read })
        }
        Sample::Arc { .. } | Sample::Save { .. } | Sample::Load { .. } | Sample::Estimates { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let hundred: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!((quantile(&hundred, 50), quantile(&hundred, 99)), (50.0, 99.0));
        assert_eq!((quantile(&[7.0], 50), quantile(&[7.0], 99)), (7.0, 7.0));
        assert_eq!(quantile(&[1.0, 2.0, 3.0], 99), 3.0);
    }

    #[test]
    fn downtime_is_made_of_the_arcs_on_the_way() {
        use State::*;
        let set = Capabilities { p2p: false, pre_copy: false };
        let arc = |from, to, micros| Sample::Arc { from, to, micros };
        let mut samples =
            vec![arc(Running, Stop, 1.0), arc(Stop, StopCopy, 2.0), arc(Stop, Resuming, 4.0), arc(Stop, Running, 16.0)];
        let stream = |bytes, micros| StreamFigures { count: 1, bytes, micros, bytes_per_second: 1.0 };
        let (save, load) = (stream(10, 100.0), stream(10, 200.0));
        let partly = downtime(set, &arcs(&samples), &save, Some(&load));
        assert_eq!(partly, Some(Downtime { stop: 3.0, save: 100.0, load: None }));
        samples.push(arc(Resuming, Stop, 8.0));
        let whole = downtime(set, &arcs(&samples), &save, Some(&load));
        assert_eq!(whole, Some(Downtime { stop: 3.0, save: 100.0, load: Some(228.0) }));
    }
}
