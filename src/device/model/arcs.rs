//! The model's own walk through the states, written by hand from the arcs that the uAPI text lists.
//!
//! This is deliberately not the oracle and must never use it: where the two disagree, one of them has read the text
//! wrongly.

use crate::uapi::state::{Capabilities, State};

/// The arc that a device takes first on its way from one state to another one; `None` where the text permits no way.
///
/// Both states are in the capability set and differ.
pub(super) fn first_arc(set: Capabilities, from: State, target: State) -> Option<State> {
    if set.p2p { first_arc_with_p2p(from, target) } else { first_arc_without_p2p(from, target) }
}

/// RUNNING_P2P lies between RUNNING and STOP, and PRE_COPY_P2P between PRE_COPY and STOP_COPY.
fn first_arc_with_p2p(from: State, target: State) -> Option<State> {
    use State::*;
    Some(match (from, target) {
        (Running, PreCopy) => PreCopy,
        (Running, _) => RunningP2p,

        (RunningP2p, Running | PreCopy) => Running,
        (RunningP2p, PreCopyP2p) => PreCopyP2p,
        (RunningP2p, _) => Stop,

        (Stop, StopCopy) => StopCopy,
        (Stop, Resuming) => Resuming,
        (Stop, _) => RunningP2p,

        (PreCopy, PreCopyP2p | StopCopy) => PreCopyP2p,
        (PreCopy, _) => Running,

        (PreCopyP2p, PreCopy) => PreCopy,
        (PreCopyP2p, StopCopy) => StopCopy,
        (PreCopyP2p, _) => RunningP2p,

        (StopCopy, PreCopy | PreCopyP2p) => return None,
        (StopCopy | Resuming, _) => Stop,

        (Error, _) => return None,
    })
}

/// RUNNING and STOP are neighbours, and so are PRE_COPY and STOP_COPY.
fn first_arc_without_p2p(from: State, target: State) -> Option<State> {
    use State::*;
    Some(match (from, target) {
        (Running, PreCopy) => PreCopy,
        (Running, _) => Stop,

        (Stop, StopCopy) => StopCopy,
        (Stop, Resuming) => Resuming,
        (Stop, _) => Running,

        (PreCopy, StopCopy) => StopCopy,
        (PreCopy, _) => Running,

        (StopCopy, PreCopy) => return None,
        (StopCopy | Resuming, _) => Stop,

        (Error | RunningP2p | PreCopyP2p, _) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn way(set: Capabilities, from: State, target: State) -> Option<Vec<State>> {
        let mut way = vec![from];
        while way.last() != Some(&target) {
            assert!(way.len() < 8, "{from} -> {target} never arrives: {way:?}");
            way.push(first_arc(set, *way.last()?, target)?);
        }
        Some(way)
    }

    #[test]
    fn every_way_arrives_except_those_that_are_blocked() {
        use State::*;
        for set in Capabilities::ALL {
            let states = || State::ALL.into_iter().filter(move |state| set.has(*state));
            for from in states() {
                for target in states().filter(|target| *target != Error) {
                    let blocked = from == Error || (from == StopCopy && matches!(target, PreCopy | PreCopyP2p));
                    assert_eq!(way(set, from, target).is_none(), blocked, "{set}: {from} -> {target}");
                }
            }
        }
    }

    #[test]
    fn ways_pass_through_states_of_the_set_only() {
        for set in Capabilities::ALL {
            let states = || State::ALL.into_iter().filter(move |state| set.has(*state));
            for (from, target) in states().flat_map(|from| states().map(move |target| (from, target))) {
                if target == State::Error {
                    continue;
                }
                let way = way(set, from, target).unwrap_or_default();
                assert!(way.iter().all(|state| set.has(*state)), "{set}: {way:?}");
            }
        }
    }

    #[test]
    fn the_longest_ways_are_the_texts() {
        use State::*;
        let full = Capabilities::FULL;
        assert_eq!(way(full, PreCopy, StopCopy), Some(vec![PreCopy, PreCopyP2p, StopCopy]));
        assert_eq!(way(full, PreCopy, Resuming), Some(vec![PreCopy, Running, RunningP2p, Stop, Resuming]));
        assert_eq!(way(full, PreCopyP2p, Stop), Some(vec![PreCopyP2p, RunningP2p, Stop]));
        assert_eq!(way(full, Resuming, PreCopy), Some(vec![Resuming, Stop, RunningP2p, Running, PreCopy]));
        assert_eq!(way(full, StopCopy, Resuming), Some(vec![StopCopy, Stop, Resuming]));
        let no_p2p = Capabilities { p2p: false, pre_copy: true };
        assert_eq!(way(no_p2p, PreCopy, StopCopy), Some(vec![PreCopy, StopCopy]));
        assert_eq!(way(no_p2p, PreCopy, Stop), Some(vec![PreCopy, Running, Stop]));
    }
}
