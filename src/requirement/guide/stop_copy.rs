use super::{Guide, Need};
use crate::requirement::stop_copy::*;
use crate::uapi::feature::Feature;

const DATA_SIZE: &[Need] = &[Need::Feature(Feature::MigDataSize)];

pub(super) static ALL: &[Guide] = &[
    Guide::new(
        &END_PERMANENT,
        "A VMM may read once more to be sure, or have several readers. An error behind the end makes it throw away a \
         migration that was complete.",
        "The file is torn down when the end was delivered, or the end is a flag that the first read clears.",
    ),
    Guide::new(
        &NO_ENOMSG,
        "ENOMSG means that more may come, so a VMM that meets it in STOP_COPY waits for ever with a stopped VM.",
        "The read of PRE_COPY is used in STOP_COPY too, and does not look at the state.",
    ),
    Guide::new(
        &END_READABLE,
        "An event loop reads when poll tells it to. If poll falls silent at the end, it never learns of the end.",
        "poll asks whether data is left in the queue, and nobody thought of the end as something to be read.",
    ),
    Guide::new(
        &COMPLETE,
        "This is what migration is for: what is not in the stream, the VM on the destination does without.",
        "A page that was dirtied between the last read and the stop is not sent again, the last part of a region is cut \
         off by a rounding, or a register has no place in the stream.",
    ),
    Guide::new(
        &ANY_READ,
        "VMMs read with the buffer that they have. A driver that was tried with one size only loses data with another one.",
        "read ignores the file position, or copies to where the last read began, so that small reads repeat bytes or skip \
         some.",
    ),
    Guide::new(
        &EMPTY_READ,
        "A layer that reads in pieces may ask for nothing at the edges of its buffers, and takes 0 for nothing more than \
         that.",
        "The length is rounded up, or taking the next piece from the queue is done before the length is looked at.",
    ),
    Guide::new(
        &AGAIN,
        "A migration that failed is tried again. The second stream is loaded on another host, which has seen nothing of \
         the first one.",
        "The driver keeps its buffer or its position from session to session, so that the second stream lacks what the \
         first one had.",
    ),
    Guide::new(
        &SAME_BYTES,
        "It is a cheap sign that the kernel's memory leaks into streams that travel over a network.",
        "A structure with padding, or a buffer that is larger than what was put into it, is copied out unwritten.",
    ),
    Guide::new(
        &SIZE_ANY_STATE,
        "A VMM asks while the VM runs, to predict the downtime, long before there is a session.",
        "The answer is taken from the session, so without one the call fails.",
    )
    .needing(DATA_SIZE),
    Guide::new(
        &SIZE_SANE,
        "A VMM adds this to what is left of memory. A number with the highest bit set makes that sum overflow, and the \
         migration never ends or ends too early.",
        "A negative errno is stored in the answer, or a field of a command whose result was not checked.",
    )
    .needing(DATA_SIZE),
    Guide::new(
        &SIZE_ESTIMATE,
        "A VMM stops the VM when this estimate fits into the downtime that it was allowed. If it is far off, the VM stands \
         still for longer, or the migration never converges.",
        "The answer is the size of the largest buffer that could be needed, or counts data and forgets the headers.",
    )
    .needing(DATA_SIZE),
];
