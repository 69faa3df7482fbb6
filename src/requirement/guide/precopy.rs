use super::{Guide, Need};
use crate::requirement::precopy::*;
use crate::uapi::feature::Feature;

pub(super) static ALL: &[Guide] = &[
    Guide::new(
        &INFO_WORKS,
        "QEMU asks for the estimates all the time while it decides whether to stop the VM. Without an answer it \
         cannot begin.",
        "PRE_COPY_P2P is forgotten where the driver compares the state, because P2P was added later.",
    )
    .needing(&[Need::PreCopy]),
    Guide::new(
        &INFO_ELSEWHERE,
        "Estimates of PRE_COPY have no meaning in STOP_COPY. A VMM that is given them decides by numbers of the past.",
        "The driver looks at the file and not at the state, and goes on answering in STOP_COPY.",
    ),
    Guide::new(
        &INFO_EINVAL,
        "A VMM that knows EINVAL can tell a call in the wrong state from a device that has failed.",
        "The errno of the last check in the function is returned, whatever the reason.",
    ),
    Guide::new(
        &INFO_ARGSZ_SMALL,
        "The size is the only thing that keeps the kernel from writing over memory that the caller did not offer.",
        "argsz is read and never compared.",
    )
    .needing(&[Need::PreCopy]),
    Guide::new(
        &INFO_ARGSZ_LARGE,
        "A VMM that was built for a newer kernel must run on this one.",
        "argsz is compared for equality.",
    )
    .needing(&[Need::PreCopy]),
    Guide::new(
        &INFO_EFAULT,
        "A VMM that takes a positive return for success decides by numbers that were never written.",
        "What copy_to_user could not copy is returned as it is. mlx5 did so.",
    )
    .needing(&[Need::PreCopy]),
    Guide::new(
        &INITIAL_AT_FIRST,
        "A VMM waits for initial_bytes to reach 0 before it stops the VM. If it is 0 at first, it stops the VM before \
         anything was moved.",
        "The first chunk is made only when it is read, and counts only then.",
    )
    .needing(&[Need::PreCopy]),
    Guide::new(
        &INITIAL_FALLS,
        "Progress is what a VMM shows and decides by; a migration that never progresses is given up.",
        "The field holds the size of the first image and is never touched again.",
    )
    .needing(&[Need::PreCopy]),
    Guide::new(
        &INITIAL_REACHES_ZERO,
        "A VMM that is told that initial data is left when there is none never stops the VM, and the migration never \
         ends.",
        "A header counts at first and is not taken off when it is read.",
    )
    .needing(&[Need::PreCopy]),
    Guide::new(
        &INITIAL_NEVER_GROWS,
        "A VMM that has seen 0 has already told the destination that the initial phase is over.",
        "Dirty data is added to the wrong of the two fields, or a reconfigured device begins anew without saying so.",
    )
    .needing(&[Need::PreCopy]),
    Guide::new(
        &INITIAL_UNREAD,
        "An estimate that falls by itself promises an end that is not coming.",
        "The estimate is of what the firmware still has to make, and not of what the user still has to read.",
    )
    .needing(&[Need::PreCopy]),
    Guide::new(
        &DIRTY_AT_FIRST,
        "The two fields together tell how much is left. What counts twice makes the VMM wait for longer.",
        "The dirty log is begun before the image is taken, so that taking it makes everything dirty.",
    )
    .needing(&[Need::PreCopy]),
    Guide::new(
        &DIRTY_UNCHANGED,
        "A VMM stops the VM once the device dirties less than it can move. A device that seems never to be idle is \
         never stopped.",
        "Asking makes the firmware save once more, and what it saved before stays counted.",
    )
    .needing(&[Need::PreCopy]),
    Guide::new(
        &DIRTY_FALLS,
        "If reading does not help, nothing tells a VMM when it is time to stop the VM.",
        "The field counts what was ever dirtied, or only what is in the buffer at hand. mlx5 did the latter.",
    )
    .needing(&[Need::PreCopy, Need::Stimulus("dirty")]),
    Guide::new(
        &CHANGE_STREAMED,
        "What is moved while the VM runs need not be moved while it stands still.",
        "PRE_COPY hands over a header to compare versions and nothing else. Upstream's mtty is like that.",
    )
    .needing(&[Need::PreCopy, Need::Stimulus("dirty")]),
    Guide::new(
        &DELIVERS,
        "A VMM that is shown data which never comes turns in circles: it reads, gets ENOMSG, and asks again.",
        "A save that was announced is still on its way from the firmware, and read does not wait for it. mlx5 did so.",
    )
    .needing(&[Need::PreCopy]),
    Guide::new(
        &PROMISE,
        "A VMM plans by the announced bytes. What does not come makes its progress and its forecast of the downtime wrong.",
        "The size that a save needs at most is announced, and the size that it used is streamed.",
    )
    .needing(&[Need::PreCopy]),
    Guide::new(
        &ZERO_IS_END,
        "Both fields at 0 is how a VMM learns that now is the time to stop the VM.",
        "A buffer is taken off the count when it is queued and not when it is read, or a record's header is not \
         counted.",
    )
    .needing(&[Need::PreCopy]),
    Guide::new(
        &EXACT,
        "The closer the estimate, the shorter the VM stands still.",
        "Headers of records are not counted. mlx5 did not.",
    )
    .needing(&[Need::PreCopy]),
    Guide::new(
        &EOS_ENOMSG,
        "0 means that the stream is complete. A VMM that reads it in PRE_COPY may close the stream, and the \
         destination starts a VM with half a device.",
        "read has one way to say that the buffer is empty. Upstream's mtty is like that.",
    )
    .needing(&[Need::PreCopy]),
    Guide::new(
        &EOS_TEMPORARY,
        "What changes after the first pass has to follow, or the rest comes while the VM stands still.",
        "A flag says that the end was met, and nothing takes it back.",
    )
    .needing(&[Need::PreCopy, Need::Stimulus("dirty")]),
    Guide::new(
        &POLL_READABLE,
        "A VMM that waits before it reads never begins.",
        "poll looks at the buffer, which is only filled by read.",
    )
    .needing(&[Need::PreCopy]),
    Guide::new(
        &POLL_QUIET,
        "A VMM that waits for data and is told at once to go on turns in circles with a processor of the host.",
        "The file has no poll, and the kernel's default says always ready. Upstream's mtty is like that.",
    )
    .needing(&[Need::PreCopy]),
    Guide::new(
        &POLL_WAKES_ON_DATA,
        "A VMM that sleeps on while there is data moves all of it when the VM stands still.",
        "The interrupt that brings new data puts it into a list and does not touch the wait queue.",
    )
    .needing(&[Need::PreCopy, Need::Stimulus("dirty")]),
    Guide::new(
        &POLL_WAKES_ON_STOP_COPY,
        "The VM stands still from here on, and every moment that the reader sleeps is downtime.",
        "The transition changes what poll would say and tells nobody.",
    )
    .needing(&[Need::PreCopy]),
    Guide::new(
        &POLL_EVERYONE,
        "A VMM has a thread that moves data and a loop that watches; both wait.",
        "wake_up_interruptible with exclusive waiters wakes one of them.",
    )
    .needing(&[Need::PreCopy, Need::Stimulus("dirty")]),
    Guide::new(
        &POLL_EDGE,
        "Event loops in use today are edge-triggered, and an edge that does not come never comes.",
        "poll fills the buffer by itself when it is asked, and nothing wakes those who do not ask.",
    )
    .needing(&[Need::PreCopy, Need::Stimulus("dirty")]),
    Guide::new(
        &POLL_RACE,
        "A wakeup that is lost once in a thousand is a migration that stalls once in a while, in production.",
        "poll looks for data first and enters the wait queue afterwards.",
    )
    .needing(&[Need::PreCopy, Need::Stimulus("dirty")]),
    Guide::new(
        &NONBLOCK,
        "A VMM with one thread must not be held up by one device.",
        "O_NONBLOCK is never looked at, and a read waits for the firmware.",
    )
    .needing(&[Need::PreCopy]),
    Guide::new(
        &V2_OPT_IN,
        "Without it new initial data cannot be told from dirty data.",
        "The core does it, so this can only break with a core that was changed.",
    )
    .needing(&[Need::PreCopy, Need::Kernel(7, 1)]),
    Guide::new(
        &V2_FLAGS,
        "A VMM that reads its own garbage as REINIT begins the initial phase anew, again and again.",
        "The structure is copied from the user and back, flags included. Every driver did so before there was an opt- \
         in.",
    )
    .needing(&[Need::PreCopy, Need::Kernel(7, 1)]),
    Guide::new(
        &V2_ENDS,
        "The next user may be an old VMM, which passes garbage in flags and does not expect an answer there.",
        "The flag is kept with the device and not with its being open.",
    )
    .needing(&[Need::PreCopy, Need::Kernel(7, 1)]),
    Guide::new(
        &V2_NEEDS_PRE_COPY,
        "A VMM probes for it to learn what the device can do.",
        "The core does it, so this can only break with a core that was changed.",
    )
    .needing(&[Need::Feature(Feature::MigPrecopyInfoV2)]),
    Guide::new(
        &REINIT_SAID,
        "A VMM that is not told stops the VM while a new configuration has still to be set up at the destination, \
         which is slow.",
        "initial_bytes is raised, and the flag is forgotten, or counts as said though the answer could not be written to the \
         user's memory.",
    )
    .needing(&[Need::PreCopy, Need::Kernel(7, 1), Need::Stimulus("reconfigure")]),
    Guide::new(
        &REINIT_AFTER_EFAULT,
        "A VMM whose call failed does not know that the initial phase has begun again, and may leave PRE_COPY too early.",
        "The flag is cleared when it is put into the structure, before that is copied to the user.",
    )
    .needing(&[Need::PreCopy, Need::Kernel(7, 1), Need::Stimulus("reconfigure")]),
    Guide::new(
        &REINIT_RESTARTS,
        "What was dirty before belongs to data that is sent again anyway, and would count twice.",
        "The list of what is dirty is not emptied when the initial data is made anew.",
    )
    .needing(&[Need::PreCopy, Need::Kernel(7, 1), Need::Stimulus("reconfigure")]),
    Guide::new(
        &REINIT_NEEDS_OPT_IN,
        "A VMM that does not know the flag sees an initial phase that never ends.",
        "The driver does not ask whether the user has opted in.",
    )
    .needing(&[Need::PreCopy, Need::Stimulus("reconfigure")]),
    Guide::new(
        &LEAVE,
        "A VMM may have to stop the VM early, when the host is going down. The stream must be a good one then, too.",
        "STOP_COPY begins behind what PRE_COPY would have sent, or sends only what is dirty.",
    )
    .needing(&[Need::PreCopy]),
    Guide::new(
        &CANCEL,
        "Migrations are cancelled and tried again, on hosts that run for years.",
        "The file of PRE_COPY is dropped on the way to STOP_COPY only.",
    )
    .needing(&[Need::PreCopy]),
];
