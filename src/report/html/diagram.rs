//! The state machine as a picture: the driver's arcs, the forbidden ones, and the combinations that went wrong.
//!
//! It is higher than wide, so that its letters can be read on a phone.

use maud::{Markup, html};

use super::part;
use crate::harness::verdict::Verdict;
use crate::report::text::plural;
use crate::report::transitions::{Pair, Transitions};
use crate::uapi::state::State;

/// The size of the picture.
const WIDTH: f64 = 400.0;
const HEIGHT: f64 = 376.0;
/// Room left of the states, for what swings out there.
const MARGIN: f64 = 8.0;
/// Half the size of a state's box.
const BOX: (f64, f64) = (56.0, 18.0);
/// How far an arc is from the one in the other direction.
const APART: f64 = 9.0;
/// How far a bent line swings out, by its length.
const BEND: f64 = 0.22;
/// More combinations than these would hide the picture; the matrix has them all.
const COMBINATIONS: usize = 6;

/// How a line is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// The driver's own.
    Arc,
    /// What the uAPI forbids.
    Blocked,
    /// Several arcs, put together by the core.
    Combination,
}

/// The picture with its legend.
pub fn figure(all: &Transitions<'_>) -> Markup {
    let broken: Vec<&Pair<'_>> = all.broken_combinations().collect();
    let drawn = if broken.len() > COMBINATIONS { &[] } else { broken.as_slice() };
    html! {
        figure.block {
            svg.diagram viewBox={ (-MARGIN) " 0 " (WIDTH) " " (HEIGHT) } role="img" aria-labelledby="diagram-title diagram-desc" {
                title #diagram-title { "The state machine, as this run saw it" }
                desc #diagram-desc { (described(all)) }
                (heads())
                rect.session x="214" y="10" width="146" height="292" rx="12" {}
                text.session x="287" y="296" text-anchor="middle" { "one session (saving)" }
                @for pair in all.blocked() { (line(pair, Line::Blocked)) }
                @for pair in all.arcs() { (line(pair, Line::Arc)) }
                @for pair in drawn { (line(pair, Line::Combination)) }
                @for state in State::ALL { @if all.capabilities.has(state) { (state_box(state)) } }
            }
            figcaption.legend {
                "Solid: an arc of the driver. Dotted: forbidden by the uAPI, must be refused. "
                @if !drawn.is_empty() { "Dashed: a combination, put together by the VFIO core, that went wrong. " }
                @if broken.len() > COMBINATIONS {
                    (plural(broken.len(), "combination")) " went wrong; the matrix shows which. "
                }
                @for verdict in seen(all) { (part::badge(verdict)) " " }
                @if all.arcs().any(|pair| pair.check.is_none()) { span.badge.unseen { "· not tested" } }
            }
        }
    }
}

/// The verdicts that the picture shows.
fn seen(all: &Transitions<'_>) -> Vec<Verdict> {
    let shows = |verdict: &Verdict| {
        let mut lines = all.arcs().chain(all.blocked()).chain(all.broken_combinations());
        lines.any(|pair| pair.check.is_some_and(|check| check.outcome.verdict == *verdict))
    };
    Verdict::ALL.into_iter().filter(shows).collect()
}

/// The picture in words.
fn described(all: &Transitions<'_>) -> String {
    let lines = all.arcs().chain(all.blocked()).map(|pair| format!("{}.", told(pair)));
    lines.collect::<Vec<String>>().join(" ")
}

fn told(pair: &Pair<'_>) -> String {
    let verdict = pair.check.map_or("not tested", |check| check.outcome.verdict.word());
    let seen = match (pair.alone, pair.inside) {
        (0, 0) => "never taken".to_owned(),
        (alone, 0) => format!("taken {} by a request of its own", times(alone)),
        (alone, inside) => {
            format!("taken {} by a request of its own, {} inside a combination", times(alone), times(inside))
        }
    };
    format!("{} to {}: {verdict}, {seen}", pair.from, pair.to)
}

fn times(count: usize) -> String {
    match count {
        1 => "once".to_owned(),
        _ => format!("{count} times"),
    }
}

/// The heads of arrows, one for each colour, since a marker does not take that of its line everywhere.
fn heads() -> Markup {
    html! {
        defs {
            @for class in Verdict::ALL.map(Verdict::word).into_iter().chain(["unseen"]) {
                marker id={ "head-" (class) } viewBox="0 0 10 10" refX="9" refY="5" markerUnits="userSpaceOnUse" markerWidth="12" markerHeight="12" orient="auto" {
                    path.head.(class) d="M0 0.5 L10 5 L0 9.5 z" {}
                }
            }
        }
    }
}

fn state_box(state: State) -> Markup {
    let (x, y) = place(state);
    let class = if state == State::Error { "state error" } else { "state" };
    html! {
        rect class=(class) x=(x - BOX.0) y=(y - BOX.1) width=(BOX.0 * 2.0) height=(BOX.1 * 2.0) rx="6" {}
        text.state x=(x) y=(y + 4.5) text-anchor="middle" { (state) }
    }
}

/// What runs stands on the left, what saves on the right, and a migration goes down.
fn place(state: State) -> (f64, f64) {
    const LEFT: f64 = 92.0;
    const RIGHT: f64 = 287.0;
    match state {
        State::Running => (LEFT, 42.0),
        State::RunningP2p => (LEFT, 144.0),
        State::Stop => (LEFT, 246.0),
        State::Resuming => (LEFT, 348.0),
        State::PreCopy => (RIGHT, 42.0),
        State::PreCopyP2p => (RIGHT, 144.0),
        State::StopCopy => (RIGHT, 246.0),
        State::Error => (RIGHT, 348.0),
    }
}

fn line(pair: &Pair<'_>, line: Line) -> Markup {
    let class = pair.check.map_or("unseen", |check| check.outcome.verdict.word());
    let mark = pair.check.map_or("·", |check| part::mark(check.outcome.verdict));
    let style = match line {
        Line::Arc => "arc",
        Line::Blocked => "arc dotted",
        Line::Combination => "arc dashed",
    };
    let (path, (x, y)) = match line == Line::Combination || !is_free(pair) {
        true => bent(pair.from, pair.to),
        false => straight(pair.from, pair.to),
    };
    html! {
        g {
            title { (told(pair)) }
            path class={ (style) " " (class) } d=(path) marker-end={ "url(#head-" (class) ")" } {}
            circle.mark.(class) cx=(x) cy=(y) r="8" {}
            text.mark.(class) x=(x) y=(y + 4.0) text-anchor="middle" aria-hidden="true" { (mark) }
        }
    }
}

/// Whether a straight line is clear of other lines and of boxes. PRE_COPY_P2P may be in the way of the forbidden one.
fn is_free(pair: &Pair<'_>) -> bool {
    let ((x, y), (to_x, to_y)) = (place(pair.from), place(pair.to));
    let is_forbidden_around_p2p = pair.from == State::StopCopy && pair.to == State::PreCopy;
    (x == to_x || y == to_y) && !is_forbidden_around_p2p
}

/// A straight line, a little to the right of the way, and the place of its mark.
fn straight(from: State, to: State) -> (String, (f64, f64)) {
    let ((x, y), (to_x, to_y)) = (place(from), place(to));
    let (right, down) = ((to_x - x).signum() * f64::from(x != to_x), (to_y - y).signum() * f64::from(y != to_y));
    let (side_x, side_y) = (-down * APART, right * APART);
    let begin = (x + right * BOX.0 + side_x, y + down * BOX.1 + side_y);
    let end = (to_x - right * BOX.0 + side_x, to_y - down * BOX.1 + side_y);
    // Off the middle, so that the marks of two directions do not touch.
    let mark = (begin.0 + (end.0 - begin.0) * 0.36, begin.1 + (end.1 - begin.1) * 0.36);
    (format!("M{:.1} {:.1} L{:.1} {:.1}", begin.0, begin.1, end.0, end.1), mark)
}

/// A line that swings out of the way of what stands between, and the place of its mark.
fn bent(from: State, to: State) -> (String, (f64, f64)) {
    let ((x, y), (to_x, to_y)) = (place(from), place(to));
    let begin = edge((x, y), (to_x, to_y));
    let end = edge((to_x, to_y), (x, y));
    let (along_x, along_y) = (end.0 - begin.0, end.1 - begin.1);
    if x == to_x {
        return around(from, to);
    }
    let control = ((begin.0 + end.0) / 2.0 - along_y * BEND, (begin.1 + end.1) / 2.0 + along_x * BEND);
    let mark = ((begin.0 + 2.0 * control.0 + end.0) / 4.0, (begin.1 + 2.0 * control.1 + end.1) / 4.0);
    let path = format!("M{:.1} {:.1} Q{:.1} {:.1} {:.1} {:.1}", begin.0, begin.1, control.0, control.1, end.0, end.1);
    (path, mark)
}

/// A line between two states above each other, around what is between them, on the outer side.
fn around(from: State, to: State) -> (String, (f64, f64)) {
    let ((x, y), (_, to_y)) = (place(from), place(to));
    let out = if x < WIDTH / 2.0 { -1.0 } else { 1.0 };
    let side = x + out * BOX.0;
    let bow = side + out * 44.0;
    let path = format!("M{side:.1} {y:.1} C{bow:.1} {y:.1} {bow:.1} {to_y:.1} {side:.1} {to_y:.1}");
    (path, (side + out * 33.0, (y + to_y) / 2.0))
}

/// Where the line from the middle of a box to somewhere else leaves the box.
fn edge(middle: (f64, f64), toward: (f64, f64)) -> (f64, f64) {
    let (x, y) = (toward.0 - middle.0, toward.1 - middle.1);
    let scale = (BOX.0 / x.abs()).min(BOX.1 / y.abs());
    (middle.0 + x * scale, middle.1 + y * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_begin_and_end_at_the_edges_of_boxes() {
        let (path, _) = straight(State::Running, State::RunningP2p);
        assert_eq!(path, "M83.0 60.0 L83.0 126.0");
        let (back, _) = straight(State::RunningP2p, State::Running);
        assert_eq!(back, "M101.0 126.0 L101.0 60.0");
        let (x, y) = edge((0.0, 0.0), (100.0, 0.0));
        assert!((x - BOX.0).abs() < 1e-9 && y == 0.0);
    }

    #[test]
    fn no_number_is_endless() {
        for from in State::ALL {
            for to in State::ALL.into_iter().filter(|to| *to != from) {
                let lines = [straight(from, to).0, bent(from, to).0];
                assert!(!lines.concat().contains("NaN") && !lines.concat().contains("inf"), "{from} {to}: {lines:?}");
            }
        }
    }
}
