use super::Guide;
use crate::requirement::concurrency::*;

pub(super) static ALL: &[Guide] = &[
    Guide::new(
        &COME_BACK,
        "VMMs have a thread for migration, one for each virtual CPU and one for events, and a guest can reset its device at \
         any time. A deadlock in the kernel costs the host a process that cannot be killed.",
        "A transition waits with a lock held for a reader that wants that lock, or a reset that could not have the lock \
         is never made up for.",
    ),
    Guide::new(
        &REAL_STATE,
        "Who looks at the state while another thread changes it decides by what it sees.",
        "The state is read without the lock, in the middle of a change.",
    ),
    Guide::new(
        &ONE_OWNER,
        "Two descriptors of one session, in the hands of two threads, split one stream into two that are worth nothing.",
        "Whether a session has to begin is decided before the lock is taken.",
    ),
];
