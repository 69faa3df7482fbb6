use super::{Guide, Need};
use crate::requirement::session::*;

pub(super) static ALL: &[Guide] = &[
    Guide::new(
        &FD_COMES,
        "The descriptor is the only way to the device's state. Without it the migration has nothing to send.",
        "Only one of the two ways into the saving group makes a file, usually because PRE_COPY was added later.",
    ),
    Guide::new(
        &FD_ABSENT,
        "A VMM that is handed a descriptor which it did not expect leaks it, or takes it for a new stream and drops the \
         old one.",
        "data_fd is not set to -1 on the arcs that bring nothing, so the caller's own number comes back, or every arc \
         of the saving group makes a file.",
    ),
    Guide::new(
        &SAME_SESSION,
        "Pre-copy is worth its name only if STOP_COPY goes on where it stopped, on the same descriptor.",
        "Entering STOP_COPY throws the file away and begins a new one.",
    ),
    Guide::new(
        &ENDED,
        "A stale reader that is given data, or an end of stream, takes a stream that was broken off for a complete one, \
         and the destination starts a VM with half a device.",
        "The file is marked as closed in the transition, and read does not look at the mark; or it answers 0.",
    ),
    Guide::new(
        &ENDED_ENODEV,
        "With one errno for it a VMM can tell the end of a session from an I/O error of the device.",
        "EIO, EBADF or EINVAL, as each driver's author saw fit.",
    ),
    Guide::new(
        &STAYS_DEAD,
        "A second attempt at a migration may begin while a thread of the first still holds its descriptor. Two readers \
         of one stream each get half of it.",
        "The driver has one file structure per device and uses it again for the next session.",
    ),
    Guide::new(
        &NEW_WORKS,
        "A VMM that is slow to close a descriptor must still be able to migrate again.",
        "A reference of the old file keeps a buffer, a lock or a busy flag that the new session needs.",
    ),
    Guide::new(
        &EARLY_CLOSE,
        "A migration that is cancelled closes the descriptor first and puts the device back afterwards, and the guest is \
         to run on at the source.",
        "The transition out of the state uses the file that close has freed, or waits for a reader that will not come.",
    ),
    Guide::new(
        &CLOSE_ON_EXEC,
        "VMMs start helpers. A helper that inherits the descriptor holds the session, and can read the guest's secrets.",
        "The file is made with flags of 0 instead of O_CLOEXEC.",
    ),
    Guide::new(
        &ONE_DIRECTION,
        "A VMM that confuses source and destination must hear of it at once, not send a stream of nothing.",
        "The file has both operations, and the one that makes no sense answers success.",
    ),
    Guide::new(
        &BAD_BUFFER,
        "A VMM that takes a short copy for success sends a stream with a hole.",
        "The result of copy_to_user or copy_from_user is not looked at, or counted as bytes that were moved.",
    ),
    Guide::new(
        &AFTER_EFAULT,
        "A VMM that corrects its buffer and reads again has the whole stream.",
        "The position moves before the copy has succeeded.",
    ),
    Guide::new(
        &LOST_FD,
        "The transition has happened when the answer cannot be delivered. A descriptor that nobody knows of would keep \
         the session, and with it the device, for ever.",
        "The file is installed before the answer is copied, and nobody takes it back.",
    ),
    Guide::new(
        &NONE_FREE,
        "A VMM with many devices and disks does run out of descriptors, and must be able to go on afterwards.",
        "The core fails, and the driver keeps a file that nobody can reach; on the next transition it waits for its \
         reader.",
    ),
    Guide::new(
        &LOST_LEAVES_NOTHING,
        "What leaks a little on each failure brings a host down that has many of them.",
        "The descriptor is reserved, the answer cannot be written, and the reservation stays.",
    ),
    Guide::new(
        &NO_SEEK,
        "A stream has no places. A VMM that relies on one by mistake must hear of it.",
        "The file has a position because nobody took it away, and read mixes it with the driver's own. hisi_acc had \
         bugs there.",
    ),
    Guide::new(
        &DUPLICATE,
        "Language runtimes and libraries duplicate descriptors without asking.",
        "The session ends with the first close, because flush was used where release was meant.",
    ),
    Guide::new(
        &OTHER_PROCESS,
        "A VMM in a sandbox has a helper that moves the data.",
        "The driver looks at the current process, for its memory or its rights, where it should look at the file.",
    ),
    Guide::new(
        &WAKES_READER,
        "A thread that hangs in read keeps the VMM from ending, and with it the VM's memory.",
        "The transition takes away what the reader waits for and does not wake it. mlx5 did so.",
    ),
    Guide::new(
        &WAKES_POLLER,
        "A thread that hangs in poll keeps a cancelled migration from ending.",
        "The session is marked as dead, and only read wakes up to that.",
    )
    .needing(&[Need::PreCopy]),
    Guide::new(
        &DEVICE_CLOSED,
        "A VMM that dies has its descriptors closed in any order, and the device goes to the next VM.",
        "close frees what the file still points at, or leaves the state where it was. Upstream's mtty does the \
         latter, and a later transition out of RESUMING brings the kernel down.",
    ),
];
