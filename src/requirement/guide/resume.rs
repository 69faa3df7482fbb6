use super::{Guide, Need};
use crate::requirement::resume::*;

pub(super) static ALL: &[Guide] = &[
    Guide::new(
        &RESTORES,
        "It is the other half of a migration: the VM goes on with the device that it had, or it does not go on.",
        "A part of the state is read from the stream and never written to the device, or written before a reset of \
         the device that undoes it.",
    ),
    Guide::new(
        &REPLACES,
        "A destination may have been used before, by a migration that failed for one. What is left of that must not end \
         up in the VM.",
        "Only what differs from the state after a reset is in the stream or written to the device, and nobody makes sure \
         that the device is in that state.",
    )
    .needing(&[Need::Stimulus("dirty")]),
    Guide::new(
        &ANY_WRITE,
        "The stream comes over a network, in pieces that have nothing to do with the reads on the other side. The text \
         promises the user that this does not matter.",
        "write takes each buffer for a whole record, or parses a header from the beginning of each call.",
    ),
    Guide::new(
        &EMPTY_WRITE,
        "A layer that writes in pieces may have nothing at the edges of its buffers, and takes an error for the end of the \
         migration.",
        "A length of 0 is refused together with the ones that are too long.",
    ),
    Guide::new(
        &EMPTY,
        "A connection that broke before the first byte must not give a VM a device without a state.",
        "The length that came is only compared with the expected one in write, which was never called.",
    ),
    Guide::new(
        &TRUNCATED,
        "A connection that breaks gives the destination the beginning of a stream. If that loads, the VM runs with a device \
         that is half its own, and nobody is told.",
        "Only the header is awaited before the load counts as complete, or the length is not compared with what was \
         announced.",
    ),
    Guide::new(
        &FOREIGN,
        "Streams get mixed up: another model, another firmware, another version of the driver. Loading one of those as \
         if it were ours corrupts the device in ways that show much later.",
        "There is a magic number and nobody compares it, or the version is compared with <= where it should be equal.",
    ),
    Guide::new(
        &TRAILING,
        "What is too long was put together wrongly, and then what stands before the end is doubtful too.",
        "Parsing stops at the end of what is needed, and the rest is dropped, or lies in a buffer behind it.",
    ),
    Guide::new(
        &FAILURE_STICKS,
        "A VMM may go on after an error, by design or by mistake. The device must not run with a state that has a hole in \
         it.",
        "The failed write leaves no mark, and RESUMING -> STOP only asks whether enough bytes came.",
    ),
    Guide::new(
        &REFUSED_LANDS,
        "A VMM decides by the state whether to reset. A device that says STOP after a refusal is taken for one that was \
         loaded.",
        "The state is set before the check of the data, or the error path falls through to the ordinary end.",
    ),
    Guide::new(
        &FLIPS,
        "The stream comes from outside of the host. Whoever can change it must not be able to do more than break this one \
         VM's device.",
        "A length from the stream is used before it is checked, or checked after it was added to something and \
         overflowed.",
    ),
    Guide::new(
        &ABORT_RESET,
        "Reset is the only way that the text gives out of a RESUMING that is given up. If it leaves something behind, the \
         next migration to this device fails or, worse, is mixed with this one.",
        "The buffer or the position of the session that was given up is kept for the next one.",
    ),
    Guide::new(
        &ABORT_REOPEN,
        "When a VMM dies while it loads a VM, the next user gets the device.",
        "Closing the device does not end the session, because only the transitions do.",
    ),
    Guide::new(
        &TWO_WRITERS,
        "No sane VMM does it, but any user can, and the kernel must survive it.",
        "The position or the buffer of a session is changed without a lock.",
    ),
    Guide::new(
        &HUGE_WRITE,
        "No sane VMM does it, but any user can, and a check of a length that can be overflowed is no check.",
        "The length is added to the position before it is compared, or cast to a signed or a smaller type.",
    ),
];
