//! The arcs that the uAPI lists, and which of them a capability set has.

use crate::uapi::state::{Capabilities, State};

use State::{PreCopy, PreCopyP2p, Resuming, Running, RunningP2p, Stop, StopCopy};

/// One direct step between two states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Arc {
    /// Where it begins.
    pub from: State,
    /// Where it ends.
    pub to: State,
}

impl Arc {
    const fn new(from: State, to: State) -> Arc {
        Arc { from, to }
    }

    /// Whether going along it begins a data transfer session, so that a data_fd comes back.
    pub fn begins_session(self) -> bool {
        let enters_saving = self.to.is_saving() && !self.from.is_saving();
        enters_saving || self.to == Resuming
    }

    /// Whether going along it ends the data transfer session.
    pub fn ends_session(self) -> bool {
        let leaves_saving = self.from.is_saving() && !self.to.is_saving();
        leaves_saving || self.from == Resuming
    }
}

/// In every capability set.
const ALWAYS: [Arc; 4] =
    [Arc::new(Stop, StopCopy), Arc::new(StopCopy, Stop), Arc::new(Stop, Resuming), Arc::new(Resuming, Stop)];

/// Between running and stopped, where there is no RUNNING_P2P between them.
const WITHOUT_P2P: [Arc; 2] = [Arc::new(Running, Stop), Arc::new(Stop, Running)];

/// Between running and stopped, by way of RUNNING_P2P.
const WITH_P2P: [Arc; 4] = [
    Arc::new(Running, RunningP2p),
    Arc::new(RunningP2p, Running),
    Arc::new(RunningP2p, Stop),
    Arc::new(Stop, RunningP2p),
];

/// Into and out of PRE_COPY, with or without P2P.
const WITH_PRE_COPY: [Arc; 2] = [Arc::new(Running, PreCopy), Arc::new(PreCopy, Running)];

/// From PRE_COPY on to STOP_COPY, where there is no PRE_COPY_P2P between them.
const WITH_PRE_COPY_WITHOUT_P2P: [Arc; 1] = [Arc::new(PreCopy, StopCopy)];

/// Around PRE_COPY_P2P.
const WITH_PRE_COPY_AND_P2P: [Arc; 5] = [
    Arc::new(PreCopy, PreCopyP2p),
    Arc::new(PreCopyP2p, PreCopy),
    Arc::new(PreCopyP2p, StopCopy),
    Arc::new(RunningP2p, PreCopyP2p),
    Arc::new(PreCopyP2p, RunningP2p),
];

/// All arcs of a capability set.
pub fn arcs(capabilities: Capabilities) -> Vec<Arc> {
    let mut arcs = ALWAYS.to_vec();
    match capabilities.p2p {
        true => arcs.extend(WITH_P2P),
        false => arcs.extend(WITHOUT_P2P),
    }
    if capabilities.pre_copy {
        arcs.extend(WITH_PRE_COPY);
        match capabilities.p2p {
            true => arcs.extend(WITH_PRE_COPY_AND_P2P),
            false => arcs.extend(WITH_PRE_COPY_WITHOUT_P2P),
        }
    }
    arcs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arcs_only_touch_states_that_the_set_has() {
        for set in Capabilities::ALL {
            for arc in arcs(set) {
                assert!(set.has(arc.from) && set.has(arc.to), "{set}: {arc:?}");
            }
        }
    }

    #[test]
    fn pre_copy_brings_seven_arcs_where_p2p_is_there() {
        let with = arcs(Capabilities::FULL).len();
        let without = arcs(Capabilities { p2p: true, pre_copy: false }).len();
        assert_eq!(with - without, 7);
    }
}
