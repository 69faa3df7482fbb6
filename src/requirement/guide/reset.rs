use super::Guide;
use crate::requirement::reset::*;

pub(super) static ALL: &[Guide] = &[
    Guide::new(
        &AVAILABLE,
        "Without reset there is no way out of ERROR, nor out of a RESUMING that was given a bad stream: the device is lost \
         to the VM until its user closes it.",
        "The flag is forgotten where the driver answers GET_INFO itself, although the ioctl works. Upstream's mtty is \
         like that.",
    ),
    Guide::new(
        &RUNNING,
        "A VM that resets its device expects one that works.",
        "Reset puts the hardware back and leaves the driver's own idea of the state where it was.",
    ),
    Guide::new(
        &ENDS_SESSION,
        "A stream that goes on after a reset mixes the state of before with that of after it.",
        "Reset ends sessions only if it came from ERROR (pds), or only those of STOP_COPY and not of PRE_COPY \
         (hisi_acc).",
    ),
    Guide::new(
        &WORKS_AFTERWARDS,
        "A failed migration is tried again, on the same device, after a reset.",
        "A flag of the failed attempt survives the reset and refuses or fails the next one.",
    ),
    Guide::new(
        &REPEATED,
        "Guests reset a device several times while they boot, and a VMM once more.",
        "A deferred reset is still queued when the next one comes, and the two wait for each other.",
    ),
    Guide::new(
        &WAKES,
        "A guest that resets its device while it is migrated must not leave threads of the VMM behind.",
        "Reset ends the session and wakes nobody, or waits for a reader that waits for the reset.",
    ),
    Guide::new(
        &DURING_TRANSITION,
        "The guest resets when it likes, also while the VMM asks for a transition.",
        "The two take the same locks in a different order, which is why drivers put off a reset until the transition \
         is over.",
    ),
];
