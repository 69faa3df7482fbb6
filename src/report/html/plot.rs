//! The estimates of PRE_COPY over time, each with a scale of its own: dirty_bytes is often a thousandth of initial_bytes.

use maud::{Markup, html};

use super::part;
use crate::report::measure::{Course, CoursePoint};
use crate::report::text::{one_line, span};

/// The width of the picture.
const WIDTH: f64 = 400.0;
/// The height of one curve with its labels.
const PANEL: f64 = 120.0;
/// Where a curve begins and ends.
const LEFT: f64 = 12.0;
const RIGHT: f64 = 388.0;
/// Room above a curve for its name, and below it.
const ABOVE: f64 = 26.0;
const BELOW: f64 = 12.0;
/// Room for the times under both.
const TIMES: f64 = 18.0;

/// One of the two estimates.
struct Curve {
    name: &'static str,
    class: &'static str,
    of: fn(&CoursePoint) -> u64,
}

const CURVES: [Curve; 2] = [
    Curve { name: "initial_bytes", class: "initial", of: |point| point.initial_bytes },
    Curve { name: "dirty_bytes", class: "dirty", of: |point| point.dirty_bytes },
];

/// The picture of one course, and its figures as a table.
pub fn figure(course: &Course, index: usize) -> Markup {
    let height = PANEL * CURVES.len() as f64 + TIMES;
    let (title, desc) = (format!("course-{index}-title"), format!("course-{index}-desc"));
    html! {
        figure.block {
            svg.plot viewBox={ "0 0 " (WIDTH) " " (height) } role="img" aria-labelledby={ (title) " " (desc) } {
                title id=(title) { "Estimates over time in " (one_line(&course.check)) }
                desc id=(desc) { (described(course)) }
                @for (panel, curve) in CURVES.iter().enumerate() { (curve_part(course, curve, panel as f64 * PANEL)) }
                text.axis x=(LEFT) y=(height - 4.0) { "first look" }
                text.axis x=(RIGHT) y=(height - 4.0) text-anchor="end" { (span(lasted(course))) " later" }
            }
            figcaption.legend {
                "What PRECOPY_INFO said in " code { (one_line(&course.check)) }
                ", which changes the device, reads a part, and looks again. initial_bytes must never grow; dirty_bytes grows with each change and falls as it is read."
            }
            details {
                summary { "The figures" }
                (part::scrolled("Figures of the plot", &table(course)))
            }
        }
    }
}

fn described(course: &Course) -> String {
    let told = |curve: &Curve| {
        let values: Vec<String> = course.points.iter().map(|point| (curve.of)(point).to_string()).collect();
        format!("{}: {}.", curve.name, values.join(", "))
    };
    CURVES.iter().map(told).collect::<Vec<String>>().join(" ")
}

fn curve_part(course: &Course, curve: &Curve, top: f64) -> Markup {
    let most = course.points.iter().map(curve.of).max().unwrap_or(0);
    let floor = top + PANEL - BELOW;
    let places = places(course, curve, most, top + ABOVE, floor);
    // Nothing is known of what was between two looks, so the line keeps its height until the next.
    let mut path = String::new();
    for (index, (x, y)) in places.iter().enumerate() {
        path += &match index {
            0 => format!("M{x:.1} {y:.1}"),
            _ => format!(" H{x:.1} V{y:.1}"),
        };
    }
    html! {
        line.axis x1=(LEFT) x2=(RIGHT) y1=(floor) y2=(floor) {}
        line.grid x1=(LEFT) x2=(RIGHT) y1=(top + ABOVE) y2=(top + ABOVE) {}
        text class={ "name " (curve.class) } x=(LEFT) y=(top + 16.0) { (curve.name) }
        text.axis x=(RIGHT) y=(top + 16.0) text-anchor="end" {
            @if most == 0 { "always 0" } @else { "up to " (part::number(most)) " bytes" }
        }
        path class={ "curve " (curve.class) } d=(path) {}
        @for ((x, y), point) in places.iter().zip(&course.points) {
            circle class={ "point " (curve.class) } cx=(format!("{x:.1}")) cy=(format!("{y:.1}")) r="3.5" {
                title { (span(point.at)) ": " (part::number((curve.of)(point))) " bytes" }
            }
        }
    }
}

fn places(course: &Course, curve: &Curve, most: u64, ceiling: f64, floor: f64) -> Vec<(f64, f64)> {
    let first = course.points.first().map_or(0.0, |point| point.at);
    let whole = lasted(course).max(f64::MIN_POSITIVE);
    let place = |point: &CoursePoint| {
        let share = (curve.of)(point) as f64 / most.max(1) as f64;
        (LEFT + ((point.at - first) / whole).clamp(0.0, 1.0) * (RIGHT - LEFT), floor - share * (floor - ceiling))
    };
    course.points.iter().map(place).collect()
}

/// From the first look to the last, in seconds.
fn lasted(course: &Course) -> f64 {
    match course.points.as_slice() {
        [first, .., last] => last.at - first.at,
        _ => 0.0,
    }
}

fn table(course: &Course) -> Markup {
    html! {
        table {
            thead { tr {
                th.figure scope="col" { "at" } th.figure scope="col" { "initial_bytes" } th.figure scope="col" { "dirty_bytes" }
            } }
            tbody {
                @for point in &course.points {
                    tr {
                        td.figure { (span(point.at)) }
                        td.figure { (part::number(point.initial_bytes)) }
                        td.figure { (part::number(point.dirty_bytes)) }
                    }
                }
            }
        }
    }
}
