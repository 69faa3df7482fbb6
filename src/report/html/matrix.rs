//! The 8 x 8 matrix of requests: from each state to each state, what the oracle wants and what the device did.

use maud::{Markup, html};

use super::part;
use crate::fsm::table::{ORDER, path_text};
use crate::fsm::{Refusal, Route};
use crate::report::finding::Problem;
use crate::report::transitions::{Kind, Pair, Transitions};
use crate::uapi::state::State;

/// The matrix with its legend.
pub fn table(all: &Transitions<'_>, problems: &[Problem<'_>]) -> Markup {
    let table = html! {
        table.matrix {
            caption { "Every request: from (rows) to (columns)" }
            thead { tr {
                td {}
                @for to in ORDER { th scope="col" { span { (to) } } }
            } }
            tbody {
                @for row in all.pairs.chunks(ORDER.len()) {
                    @if let Some(first) = row.first() {
                        tr {
                            th scope="row" { (first.from) }
                            @for pair in row { (cell(pair, all.capabilities.has(first.from), problems)) }
                        }
                    }
                }
            }
        }
    };
    html! {
        div.block {
            (part::scrolled("Matrix of transitions", &table))
            p.legend {
                b { "arc" } " the driver itself; " b { "2, 3, 4" } " so many arcs, put together by the VFIO core; "
                b { "=" } " already there; " b { "ban" } " forbidden by the uAPI; " b { "no" } " must be refused; "
                b { "·" } " not tested."
            }
            (combinations(all))
        }
    }
}

fn cell(pair: &Pair<'_>, is_reachable: bool, problems: &[Problem<'_>]) -> Markup {
    let word = word(pair);
    let title = format!("{} to {}: {}", pair.from, pair.to, wanted(pair));
    let Some(check) = pair.check else {
        return html! { td title=(title) { span.want { @if is_reachable { (word) } @else { "-" } } span { "·" } } };
    };
    let verdict = check.outcome.verdict;
    html! {
        td.(verdict.word()) {
            a href=(part::link_to(&check.name, problems)) title=(title) {
                span.want { (word) }
                span aria-hidden="true" { (part::mark(verdict)) }
                span.hidden { (verdict) ": " (title) }
            }
        }
    }
}

fn word(pair: &Pair<'_>) -> String {
    match pair.kind() {
        Kind::Arc => "arc".to_owned(),
        Kind::Combination(arcs) => arcs.to_string(),
        Kind::Stay => "=".to_owned(),
        Kind::Blocked => "ban".to_owned(),
        Kind::Refused(_) => "no".to_owned(),
    }
}

fn wanted(pair: &Pair<'_>) -> String {
    match (&pair.route, pair.kind()) {
        (Route::Path(path), Kind::Combination(_)) => format!("combination {}", path_text(path)),
        (_, Kind::Refused(Refusal::NotAdvertised(state))) => format!("{state} is not advertised"),
        (_, Kind::Refused(refusal)) => refusal.to_string(),
        (_, Kind::Blocked) => Refusal::Blocked.to_string(),
        (_, Kind::Stay) => "already there, nothing happens".to_owned(),
        _ => "an arc of the driver".to_owned(),
    }
}

/// The paths of the combinations, for whoever wonders what a number stands for.
fn combinations(all: &Transitions<'_>) -> Markup {
    let paths: Vec<(&Pair<'_>, &[State])> = all
        .pairs
        .iter()
        .filter_map(|pair| match (&pair.route, pair.kind()) {
            (Route::Path(path), Kind::Combination(_)) => Some((pair, path.as_slice())),
            _ => None,
        })
        .collect();
    html! {
        details {
            summary { "The paths of the combinations" }
            ul.names {
                @for (pair, path) in paths {
                    li {
                        @if let Some(check) = pair.check { (part::badge(check.outcome.verdict)) " " }
                        (path_text(path))
                    }
                }
            }
        }
    }
}
