use super::{Guide, Need};
use crate::requirement::fsm::*;

pub(super) static ALL: &[Guide] = &[
    Guide::new(
        &OPENS_RUNNING,
        "Without migration nobody ever looks at the state: a VM that is started on a device which its last user left in \
         STOP has a device that does nothing.",
        "The state is set where the driver probes the device and not where a user opens it, or closing forgets it. \
         Upstream's mtty is like that.",
    ),
    Guide::new(
        &GET_ONLY_LOOKS,
        "Management asks for the state at any time, for logs and health checks, and must never be what changes it.",
        "GET shares its code with SET and hands out a descriptor, or it finishes what an earlier transition left undone.",
    ),
    Guide::new(
        &ARC,
        "The VMM goes on as soon as the ioctl returns: it reads device memory, or lets the guest run. If the device is \
         not there yet, what it saves is torn.",
        "The command to the firmware is sent and not waited for.",
    ),
    Guide::new(
        &COMBINATION,
        "VMMs ask for the state that they want and leave the steps to the kernel: RUNNING -> STOP_COPY is one call.",
        "A driver implements the arcs that its authors' VMM uses, and fails in the middle of other ways.",
    ),
    Guide::new(
        &PATH,
        "A detour can end the session that a VMM is still streaming from, or let the device run for a moment on a host \
         whose VM is already elsewhere.",
        "A driver has its own table of arcs instead of the core's, or an arc that the core would not have chosen.",
    )
    .needing(&[Need::AnyKernel, Need::Tracing]),
    Guide::new(
        &SAME_STATE,
        "A VMM that retries after a lost answer asks for where the device already is. That must neither fail nor throw \
         away what has been streamed.",
        "The driver goes through leaving and entering once more, and a new session replaces the one in use.",
    ),
    Guide::new(
        &BLOCKED,
        "Going back from STOP_COPY to PRE_COPY would begin a second stream while the first one is half read, and the \
         destination could not tell.",
        "The VFIO core before 7.2 (6.12 before 6.12.107) looks for a way that is none and spins for ever, with a process \
         that cannot be killed.",
    )
    .needing(&[Need::PreCopy]),
    Guide::new(
        &ERROR_AS_TARGET,
        "ERROR says that the device failed. If a user could put it there, no log of a failure could be trusted.",
        "The number 0 is not excluded, and a structure of zeroes asks for ERROR.",
    ),
    Guide::new(
        &NOT_ADVERTISED,
        "A VMM must be able to rely on the flags: what is refused today on this board would otherwise work by chance \
         until firmware changes.",
        "The driver's switch has a case for the state whatever this board's capabilities are.",
    ),
    Guide::new(
        &OUT_OF_RANGE,
        "The number comes from user space and indexes tables in the kernel.",
        "The bound is compared as a signed number, or only one end of the range is checked.",
    ),
    Guide::new(
        &FROM_ERROR,
        "In ERROR the contents of the device are not known. A VM that runs on would run on rubbish.",
        "The driver keeps no trace of the failure and lets the next transition succeed.",
    )
    .needing(&[Need::Stimulus("enter_error")]),
    Guide::new(
        &REFUSAL_KEEPS_STATE,
        "A VMM answers a refusal by going on with what it has. It does not look where the device is now.",
        "The new state is stored before the request is judged, or every failure ends in ERROR.",
    ),
    Guide::new(
        &REFUSAL_KEEPS_SESSION,
        "Hours of pre-copy can hang on one session; a mistaken call must not cost it.",
        "The session is torn down at the beginning of every transition, also of one that never begins.",
    ),
    Guide::new(
        &FAILURE_LANDS,
        "After a failed transition the VMM asks where the device is, and decides between carrying on at the source and \
         a reset. A state off the path tells it a story that never happened.",
        "The driver reports the target although the firmware stopped half way, or refuses the way back for ever.",
    ),
    Guide::new(
        &STEADY,
        "Between two calls the VMM takes the state to be what it was: it may be copying the VM's memory meanwhile.",
        "A worker, a timer or an interrupt of the driver finishes something later and moves the state on.",
    ),
];
