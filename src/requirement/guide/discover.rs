use super::{Guide, Need};
use crate::requirement::discover::*;

pub(super) static ALL: &[Guide] = &[
    Guide::new(
        &FLAGS,
        "A VMM chooses its whole plan from these flags. From a set that it does not know it can only conclude that the \
         device cannot migrate.",
        "P2P or PRE_COPY is advertised without STOP_COPY, or a flag of a vendor's own tree escapes into a release.",
    ),
    Guide::new(
        &PROBE,
        "A management layer probes to decide whether a VM may be placed on a host at all, long before anything \
         migrates.",
        "PROBE is answered from a table and use from the driver, and the two drift apart when a feature is added; errnos \
         differ between the two ways.",
    ),
    Guide::new(
        &PROBE_CHANGES_NOTHING,
        "Probing happens while the guest works. A probe with an effect stops or disturbs a VM that nobody migrates.",
        "The driver looks at SET before it looks at PROBE.",
    ),
    Guide::new(
        &UNKNOWN_FEATURE,
        "User space of tomorrow runs on the kernel of today: ENOTTY is how it finds out that a feature is not there, \
         and any other errno reads as a failure of the device.",
        "A driver's own handler of the ioctl answers EINVAL for what it does not know, instead of passing it to the core.",
    ),
    Guide::new(
        &ARGSZ_SMALL,
        "The size is the only thing that keeps the kernel from reading or writing behind the caller's structure.",
        "The length of the header is checked and that of the feature's own structure is not.",
    ),
    Guide::new(
        &ARGSZ_LARGE,
        "Structures grow at their end. A caller that was built against a newer header passes a larger size, and must \
         work all the same.",
        "The size is compared for equality.",
    ),
    Guide::new(
        &UNKNOWN_FLAGS,
        "A bit that is ignored today cannot be given a meaning tomorrow, since callers may already be passing it.",
        "Only the feature number is masked out of the flags, and the rest is never looked at.",
    ),
    Guide::new(
        &GET_AND_SET,
        "A call that means two things at once has no defined result; a VMM with such a bug must hear of it before \
         its users do.",
        "The driver tests the bits one after the other and performs whichever it finds first.",
    ),
    Guide::new(
        &WRONG_DIRECTION,
        "A SET that is taken for a GET looks like success to a caller whose request was never carried out.",
        "The handler of a feature with one direction never asks which direction was meant.",
    ),
    Guide::new(
        &BAD_MEMORY,
        "A VMM hands over addresses of its own. If an answer that could not be written counts as success, it reads what \
         was there before and acts on that.",
        "The count of bytes that copy_to_user left over is returned as it is, which is positive and looks like success.",
    ),
    Guide::new(
        &REFUSAL_CHANGES_NOTHING,
        "After an error a VMM takes the device to be where it was. If it is not, the next transition begins in another \
         state than it thinks.",
        "The driver acts first and validates afterwards.",
    ),
    Guide::new(
        &NOT_MIGRATABLE,
        "ENOTTY is how a VMM learns that a device blocks migration. Half a feature set makes it try, and fail in the \
         middle.",
        "A driver fills in its migration operations although the firmware of this board lacks what they need.",
    )
    .needing(&[Need::NoMigration]),
    Guide::new(
        &SUCCESS_IS_ZERO,
        "Callers compare with 0. A positive number counts as failure for some and as success for others.",
        "A helper that returns a byte count is returned straight from the ioctl.",
    ),
];
