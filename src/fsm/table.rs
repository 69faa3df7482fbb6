//! The oracle's tables, for people: a matrix, and a graph in DOT.

use std::fmt::Write;

use super::arcs::arcs;
use super::route::{Refusal, Route, route};
use crate::uapi::state::{Capabilities, State};

/// The states in the order in which a migration meets them, which reads better than the order of their numbers.
pub const ORDER: [State; 8] = [
    State::Running,
    State::RunningP2p,
    State::PreCopy,
    State::PreCopyP2p,
    State::Stop,
    State::StopCopy,
    State::Resuming,
    State::Error,
];

/// A matrix of every pair of states, then the paths of the combinations.
pub fn matrix(capabilities: Capabilities) -> String {
    let mut text = format!("{capabilities}: from (rows) to (columns)\n\n");
    let width = 13;
    let heading = |state: State| format!("{:<width$}", state.name());
    let columns: String = ORDER.into_iter().map(heading).collect();
    text += format!("{:<width$}{columns}", "").trim_end();
    text.push('\n');
    for from in ORDER {
        let mut row = heading(from);
        for to in ORDER {
            let cell = cell(&route(capabilities, from, to.number()), capabilities.has(from));
            row += &format!("{cell:<width$}");
        }
        text += row.trim_end();
        text.push('\n');
    }
    text += "\n\
        arc        one direct arc\n\
        2, 3, 4    so many arcs, by the path below\n\
        +fd        a new data_fd comes back\n\
        =          already there: success, nothing happens\n\
        blocked    the uAPI forbids it\n\
        no         refused: ERROR as a target, ERROR as the origin, or a state that is not advertised\n\
        -          the device cannot be in the row's state\n\n";
    text + &combinations(capabilities)
}

fn cell(route: &Route, reachable: bool) -> String {
    if !reachable {
        return "-".to_owned();
    }
    let word = match route {
        Route::Stay => "=".to_owned(),
        Route::Refused(Refusal::Blocked) => "blocked".to_owned(),
        Route::Refused(_) => "no".to_owned(),
        Route::Path(path) if path.len() == 2 => "arc".to_owned(),
        Route::Path(path) => (path.len() - 1).to_string(),
    };
    match route.brings_data_fd() {
        true => word + " +fd",
        false => word,
    }
}

fn combinations(capabilities: Capabilities) -> String {
    let mut text = String::new();
    for from in ORDER {
        for to in ORDER {
            let Route::Path(path) = route(capabilities, from, to.number()) else {
                continue;
            };
            if path.len() > 2 {
                text += &path_text(&path);
                text.push('\n');
            }
        }
    }
    text
}

/// A path in the uAPI's own notation: `RUNNING -> STOP -> STOP_COPY`.
pub fn path_text(path: &[State]) -> String {
    let names: Vec<&str> = path.iter().map(|state| state.name()).collect();
    names.join(" -> ")
}

/// The arcs as a graph that Graphviz draws; those that bring a data_fd are bold, forbidden ones dotted.
pub fn dot(capabilities: Capabilities) -> String {
    let mut text = format!("digraph \"{capabilities}\" {{\n    node [shape=box];\n");
    for state in ORDER {
        if !capabilities.has(state) {
            continue;
        }
        let style = match state.is_saving() {
            true => " [style=filled, fillcolor=lightgrey]",
            false => "",
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "    {state}{style};");
    }
    for arc in arcs(capabilities) {
        let style = match arc.begins_session() {
            true => " [style=bold, label=\"data_fd\"]",
            false => "",
        };
        let _ = writeln!(text, "    {} -> {}{style};", arc.from, arc.to);
    }
    for (from, to) in ORDER.into_iter().flat_map(|from| ORDER.into_iter().map(move |to| (from, to))) {
        let blocked = Route::Refused(Refusal::Blocked);
        if route(capabilities, from, to.number()) == blocked {
            let _ = writeln!(text, "    {from} -> {to} [style=dotted, label=\"blocked\"];");
        }
    }
    text.push_str("}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_of_every_capability_set() {
        for set in Capabilities::ALL {
            insta::assert_snapshot!(format!("matrix {set}"), matrix(set));
        }
    }

    #[test]
    fn the_graph_of_the_full_set() {
        insta::assert_snapshot!(dot(Capabilities::FULL));
    }
}
