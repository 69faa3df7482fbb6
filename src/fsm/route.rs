//! What the protocol answers to a request: a path, or a refusal.

use std::collections::VecDeque;
use std::fmt;

use super::arcs::{Arc, arcs};
use crate::uapi::state::{Capabilities, State, name_of};

/// What has to happen when a device in one state is asked for another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// The state asked for is the current one: success, and nothing happens.
    Stay,
    /// The device goes along these states, origin and target included.
    Path(Vec<State>),
    /// The request fails and nothing changes.
    Refused(Refusal),
}

/// Why a request must fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// ERROR cannot be asked for.
    ErrorAsTarget,
    /// From ERROR only a reset leads out.
    FromError,
    /// The capability set does not have the state.
    NotAdvertised(State),
    /// No state has this number.
    OutOfRange(u32),
    /// The uAPI forbids this arc.
    Blocked,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::ErrorAsTarget => f.write_str("ERROR cannot be asked for"),
            Refusal::FromError => f.write_str("only a reset leads out of ERROR"),
            Refusal::NotAdvertised(state) => write!(f, "{state} is not advertised"),
            Refusal::OutOfRange(number) => write!(f, "{} is no state", name_of(*number)),
            Refusal::Blocked => f.write_str("the uAPI forbids this arc"),
        }
    }
}

impl Route {
    /// Whether a data_fd comes back.
    pub fn brings_data_fd(&self) -> bool {
        self.steps().any(Arc::begins_session)
    }

    /// Whether the session that is open before the request ends on the way.
    pub fn ends_session(&self) -> bool {
        self.steps().any(Arc::ends_session)
    }

    /// Whether the path is one arc.
    pub fn is_direct(&self) -> bool {
        self.steps().count() == 1
    }

    fn steps(&self) -> impl Iterator<Item = Arc> + '_ {
        let path = match self {
            Route::Path(path) => path.as_slice(),
            Route::Stay | Route::Refused(_) => &[],
        };
        path.windows(2).map(|pair| Arc { from: pair[0], to: pair[1] })
    }
}

/// What has to happen when a device with this capability set, in the state `from`, is asked for the number `to`.
pub fn route(capabilities: Capabilities, from: State, to: u32) -> Route {
    let Some(to) = State::from_number(to) else {
        return Route::Refused(Refusal::OutOfRange(to));
    };
    if to == State::Error {
        return Route::Refused(Refusal::ErrorAsTarget);
    }
    if !capabilities.has(to) {
        return Route::Refused(Refusal::NotAdvertised(to));
    }
    if from == State::Error {
        return Route::Refused(Refusal::FromError);
    }
    if from == to {
        return Route::Stay;
    }
    if is_blocked(from, to) {
        return Route::Refused(Refusal::Blocked);
    }
    match shortest_path(capabilities, from, to) {
        Some(path) => Route::Path(path),
        None => Route::Refused(Refusal::NotAdvertised(from)),
    }
}

/// The arcs that the uAPI names as forbidden. A path around them exists (through STOP), so no search finds this.
fn is_blocked(from: State, to: State) -> bool {
    from == State::StopCopy && matches!(to, State::PreCopy | State::PreCopyP2p)
}

/// Breadth first, so the first path found is a shortest one.
///
/// A state of the saving group may be inside a path only if the path never leaves the group: going from PRE_COPY to
/// STOP_COPY keeps the session, and every way around would end it.
fn shortest_path(capabilities: Capabilities, from: State, to: State) -> Option<Vec<State>> {
    let stays_saving = from.is_saving() && to.is_saving();
    let may_be_inside = |state: State| state.is_saving() == stays_saving;
    let arcs = arcs(capabilities);
    let mut paths = VecDeque::from([vec![from]]);
    while let Some(path) = paths.pop_front() {
        let here = *path.last()?;
        for arc in arcs.iter().filter(|arc| arc.from == here) {
            let mut longer = path.clone();
            longer.push(arc.to);
            if arc.to == to {
                return Some(longer);
            }
            if may_be_inside(arc.to) && !path.contains(&arc.to) {
                paths.push_back(longer);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::*;

    fn path(set: Capabilities, from: State, to: State) -> Vec<State> {
        match route(set, from, to.number()) {
            Route::Path(path) => path,
            other => panic!("{from} -> {to} under {set}: {other:?}"),
        }
    }

    #[test]
    fn every_pair_of_advertised_states_has_a_path_or_is_blocked() {
        for set in Capabilities::ALL {
            for from in State::ALL.into_iter().filter(|s| set.has(*s) && *s != Error) {
                for to in State::ALL.into_iter().filter(|s| set.has(*s) && *s != Error) {
                    match route(set, from, to.number()) {
                        Route::Stay => assert_eq!(from, to),
                        Route::Path(path) => {
                            assert_eq!((path[0], path[path.len() - 1]), (from, to));
                        }
                        Route::Refused(refusal) => {
                            assert_eq!(refusal, Refusal::Blocked);
                            assert_eq!(from, StopCopy);
                        }
                    }
                }
            }
        }
    }

    /// The paths that the uAPI's rules give by hand, for the set with everything.
    #[test]
    fn paths_with_every_capability() {
        let full = Capabilities::FULL;
        assert_eq!(path(full, PreCopy, StopCopy), [PreCopy, PreCopyP2p, StopCopy]);
        assert_eq!(path(full, PreCopy, Stop), [PreCopy, Running, RunningP2p, Stop]);
        assert_eq!(path(full, PreCopyP2p, Stop), [PreCopyP2p, RunningP2p, Stop]);
        assert_eq!(path(full, RunningP2p, PreCopy), [RunningP2p, Running, PreCopy]);
        assert_eq!(path(full, Running, PreCopyP2p), [Running, RunningP2p, PreCopyP2p]);
        assert_eq!(path(full, Resuming, PreCopy), [Resuming, Stop, RunningP2p, Running, PreCopy]);
        assert_eq!(path(full, StopCopy, Resuming), [StopCopy, Stop, Resuming]);
    }

    #[test]
    fn paths_without_p2p_skip_its_states() {
        let set = Capabilities { p2p: false, pre_copy: true };
        assert_eq!(path(set, PreCopy, StopCopy), [PreCopy, StopCopy]);
        assert_eq!(path(set, Running, StopCopy), [Running, Stop, StopCopy]);
        assert_eq!(path(set, PreCopy, Resuming), [PreCopy, Running, Stop, Resuming]);
    }

    /// If two shortest paths existed, the uAPI would not say which one to take, and neither could we.
    #[test]
    fn the_shortest_path_is_unique() {
        for set in Capabilities::ALL {
            for from in State::ALL {
                for to in State::ALL {
                    let Route::Path(path) = route(set, from, to.number()) else {
                        continue;
                    };
                    assert_eq!(count_paths(set, &path), 1, "{set}: {path:?}");
                }
            }
        }
    }

    fn count_paths(set: Capabilities, found: &[State]) -> usize {
        let (from, to) = (found[0], found[found.len() - 1]);
        let inside_ok = |s: State| s.is_saving() == (from.is_saving() && to.is_saving());
        let mut ends = vec![vec![from]];
        for _ in 1..found.len() {
            ends = ends
                .into_iter()
                .flat_map(|path| {
                    let here = path[path.len() - 1];
                    arcs(set)
                        .into_iter()
                        .filter(move |arc| arc.from == here)
                        .map(move |arc| [path.clone(), vec![arc.to]].concat())
                })
                .filter(|path| {
                    let last = path[path.len() - 1];
                    last == to || (path.len() < found.len() && inside_ok(last))
                })
                .collect();
        }
        ends.len()
    }

    #[test]
    fn refusals() {
        let set = Capabilities { p2p: false, pre_copy: false };
        let refused = |from: State, to: u32| match route(set, from, to) {
            Route::Refused(refusal) => Some(refusal),
            _ => None,
        };
        assert_eq!(refused(Running, 0), Some(Refusal::ErrorAsTarget));
        assert_eq!(refused(Running, 8), Some(Refusal::OutOfRange(8)));
        assert_eq!(refused(Running, 6), Some(Refusal::NotAdvertised(PreCopy)));
        assert_eq!(refused(Error, 2), Some(Refusal::FromError));
        assert_eq!(route(Capabilities::FULL, StopCopy, PreCopyP2p.number()), Route::Refused(Refusal::Blocked));
    }

    #[test]
    fn a_data_fd_comes_exactly_when_a_session_begins() {
        let full = Capabilities::FULL;
        let brings = |from: State, to: State| route(full, from, to.number()).brings_data_fd();
        assert!(brings(Running, PreCopy) && brings(Stop, StopCopy));
        assert!(brings(Running, StopCopy) && brings(StopCopy, Resuming));
        assert!(!brings(PreCopy, StopCopy) && !brings(PreCopyP2p, PreCopy));
        assert!(!brings(Running, Stop) && !brings(Resuming, Stop) && !brings(Stop, Stop));
    }

    #[test]
    fn a_session_ends_exactly_when_the_saving_group_or_resuming_is_left() {
        let full = Capabilities::FULL;
        let ends = |from: State, to: State| route(full, from, to.number()).ends_session();
        assert!(ends(PreCopy, Running) && ends(StopCopy, Stop) && ends(Resuming, Stop));
        assert!(ends(PreCopyP2p, RunningP2p) && ends(StopCopy, Resuming) && ends(Resuming, PreCopy));
        assert!(!ends(PreCopy, StopCopy) && !ends(PreCopyP2p, PreCopy) && !ends(PreCopy, PreCopy));
        assert!(!ends(Running, PreCopy) && !ends(Stop, Resuming) && !ends(Running, Stop));
        assert!(!ends(StopCopy, PreCopy), "a refusal ends nothing");
    }

    #[test]
    fn one_arc_is_direct_and_nothing_else() {
        let direct = |from: State, to: State| route(Capabilities::FULL, from, to.number()).is_direct();
        assert!(direct(Running, PreCopy) && direct(StopCopy, Stop));
        assert!(!direct(Running, Stop) && !direct(Running, Running) && !direct(StopCopy, PreCopy));
    }

    #[test]
    fn refusals_say_why() {
        let refusals = [
            Refusal::ErrorAsTarget,
            Refusal::FromError,
            Refusal::NotAdvertised(PreCopy),
            Refusal::OutOfRange(9),
            Refusal::Blocked,
        ];
        assert_eq!(
            refusals.map(|refusal| refusal.to_string()),
            [
                "ERROR cannot be asked for",
                "only a reset leads out of ERROR",
                "PRE_COPY is not advertised",
                "9 is no state",
                "the uAPI forbids this arc",
            ]
        );
    }
}
