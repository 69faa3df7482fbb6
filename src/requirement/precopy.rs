//! PRE_COPY: estimates, the temporary end of the stream, and waiting for what comes after it.

use super::Level::{Advice, Must, Should};
use super::{Basis, Requirement};

const INFO: &str = "VFIO_MIG_GET_PRECOPY_INFO, struct vfio_precopy_info";
const EOS: &str = "VFIO_MIG_GET_PRECOPY_INFO, on the end of the stream";
const V2: &str = "VFIO_DEVICE_FEATURE_MIG_PRECOPY_INFOv2";
const STATES: &str = "enum vfio_device_mig_state";

/// Of figures that a driver renews only now and then.
const LATE: &str = "Estimates may be a moment old: they are read again for 100 ms before the device is accused.";

/// PRECOPY_INFO is there.
pub static INFO_WORKS: Requirement = Requirement {
    id: "precopy.info.works",
    level: Must,
    statement: "in PRE_COPY and PRE_COPY_P2P, PRECOPY_INFO on the data_fd succeeds and returns 0",
    source: INFO,
    basis: Basis::Text,
    ruling: None,
};

/// And nowhere else.
pub static INFO_ELSEWHERE: Requirement = Requirement {
    id: "precopy.info.elsewhere",
    level: Must,
    statement: "PRECOPY_INFO fails in every state but PRE_COPY and PRE_COPY_P2P",
    source: INFO,
    basis: Basis::Text,
    ruling: None,
};

/// With the errno of the text.
pub static INFO_EINVAL: Requirement = Requirement {
    id: "precopy.info.einval_outside_precopy",
    level: Should,
    statement: "PRECOPY_INFO fails with EINVAL in every state but PRE_COPY and PRE_COPY_P2P",
    source: INFO,
    basis: Basis::Text,
    ruling: Some(
        "ENODEV is as good where the session has ended, since drivers return it from every call on a dead data_fd. ENOTTY is \
         as good where the data_fd never had the call: in RESUMING, and on a device without PRE_COPY.",
    ),
};

/// The size is looked at.
pub static INFO_ARGSZ_SMALL: Requirement = Requirement {
    id: "precopy.info.argsz_small",
    level: Must,
    statement: "PRECOPY_INFO with an argsz below the size of its structure answers EINVAL",
    source: INFO,
    basis: Basis::Ruling,
    ruling: Some("The text gives the structure an argsz and says no more; every other call of VFIO treats it so."),
};

/// A newer user's size does.
pub static INFO_ARGSZ_LARGE: Requirement = Requirement {
    id: "precopy.info.argsz_large",
    level: Must,
    statement: "PRECOPY_INFO with an argsz above the size of its structure works",
    source: INFO,
    basis: Basis::Ruling,
    ruling: Some("Only so can the structure grow, which is what argsz is for."),
};

/// Bad memory is reported.
pub static INFO_EFAULT: Requirement = Requirement {
    id: "precopy.info.efault",
    level: Must,
    statement: "PRECOPY_INFO in memory that cannot be read or written is EFAULT and no other result",
    source: INFO,
    basis: Basis::Ruling,
    ruling: Some("A positive return is a broken EFAULT: a driver leaked the number of bytes not copied."),
};

/// There is initial data.
pub static INITIAL_AT_FIRST: Requirement = Requirement {
    id: "precopy.initial.at_first",
    level: Must,
    statement: "initial_bytes is not 0 when PRE_COPY is entered",
    source: INFO,
    basis: Basis::Ruling,
    ruling: Some(
        "The text says should; a user that waits for initial_bytes to reach 0 would leave PRE_COPY before anything \
         was moved, so we rank it must.",
    ),
};

/// It is read.
pub static INITIAL_FALLS: Requirement = Requirement {
    id: "precopy.initial.falls",
    level: Must,
    statement: "initial_bytes falls as data is read",
    source: INFO,
    basis: Basis::Ruling,
    ruling: Some(LATE),
};

/// And comes to an end.
pub static INITIAL_REACHES_ZERO: Requirement = Requirement {
    id: "precopy.initial.reaches_zero",
    level: Must,
    statement: "initial_bytes is 0 at the temporary end of the stream",
    source: INFO,
    basis: Basis::Text,
    ruling: Some(LATE),
};

/// There is no more of it.
pub static INITIAL_NEVER_GROWS: Requirement = Requirement {
    id: "precopy.initial.never_grows",
    level: Must,
    statement: "without REINIT initial_bytes never grows, whatever the device does",
    source: INFO,
    basis: Basis::Ruling,
    ruling: Some("The text gives REINIT as the only reason for it to be more than was reported before."),
};

/// Only reading makes it less.
pub static INITIAL_UNREAD: Requirement = Requirement {
    id: "precopy.initial.unread",
    level: Advice,
    statement: "initial_bytes stays what it is while nothing is read",
    source: INFO,
    basis: Basis::Ruling,
    ruling: None,
};

/// Nothing is dirty at first.
pub static DIRTY_AT_FIRST: Requirement = Requirement {
    id: "precopy.dirty.at_first",
    level: Must,
    statement: "dirty_bytes is 0 when PRE_COPY is entered",
    source: INFO,
    basis: Basis::Text,
    ruling: Some(
        "A device that is never idle may have changed before it was asked, so one of several sessions that begins \
         with 0 is enough.",
    ),
};

/// It grows for a reason.
pub static DIRTY_UNCHANGED: Requirement = Requirement {
    id: "precopy.dirty.unchanged",
    level: Must,
    statement: "dirty_bytes does not grow while device state does not change",
    source: INFO,
    basis: Basis::Text,
    ruling: Some(
        "Judged on a device that its user leaves alone, and by the least growth of several looks, so that a change of \
         its own is no finding.",
    ),
};

/// It is read.
pub static DIRTY_FALLS: Requirement = Requirement {
    id: "precopy.dirty.falls",
    level: Must,
    statement: "dirty_bytes falls as what was dirtied is read",
    source: INFO,
    basis: Basis::Text,
    ruling: Some(LATE),
};

/// Changes are not put off.
pub static CHANGE_STREAMED: Requirement = Requirement {
    id: "precopy.dirty.streamed",
    level: Should,
    statement: "a change of device state in PRE_COPY is announced by dirty_bytes and poll, and can be read there",
    source: INFO,
    basis: Basis::Text,
    ruling: Some(
        "The text has dirty_bytes track changes and lets the driver choose what it moves in PRE_COPY; a driver that \
         leaves all changes to STOP_COPY does nothing wrong and makes the device stop for longer.",
    ),
};

/// Announced data is there.
pub static DELIVERS: Requirement = Requirement {
    id: "precopy.estimate.delivers",
    level: Must,
    statement: "read() delivers data while initial_bytes or dirty_bytes is not 0",
    source: EOS,
    basis: Basis::Text,
    ruling: Some(
        "The text has the temporary end where both are 0. A user that waits for that point would wait for ever at an end that \
         is announced as data. Estimates may be a moment old: they are read again for 100 ms before the device is accused.",
    ),
};

/// All of it.
pub static PROMISE: Requirement = Requirement {
    id: "precopy.estimate.promise",
    level: Should,
    statement: "reads deliver at least initial_bytes + dirty_bytes before they fail with ENOMSG",
    source: INFO,
    basis: Basis::Ruling,
    ruling: Some(
        "The text calls the fields estimates and leaves drivers much flexibility. mlx5 announces the size that a save needs and \
         delivers the size that it used, so less than was announced is no failure.",
    ),
};

/// Nothing announced, no data.
pub static ZERO_IS_END: Requirement = Requirement {
    id: "precopy.estimate.zero_is_end",
    level: Should,
    statement: "read() delivers no data while initial_bytes and dirty_bytes are both 0",
    source: EOS,
    basis: Basis::Text,
    ruling: Some(
        "The text has the temporary end where both are 0, and calls them estimates; a dirty_bytes that is always 0 is within \
         the flexibility that it leaves. A device that changes in between may break the rule once; it is broken if it never \
         holds in several tries.",
    ),
};

/// Estimates are close.
pub static EXACT: Requirement = Requirement {
    id: "precopy.estimate.exact",
    level: Advice,
    statement: "the estimates are what can be read until the temporary end while nothing changes",
    source: INFO,
    basis: Basis::Ruling,
    ruling: None,
};

/// The temporary end.
pub static EOS_ENOMSG: Requirement = Requirement {
    id: "precopy.eos.enomsg",
    level: Must,
    statement: "at the temporary end of the stream read answers ENOMSG, however often it is asked",
    source: EOS,
    basis: Basis::Ruling,
    ruling: Some(
        "The text says should; 0 would be the permanent end, and a user cannot tell the two apart, so we rank it \
         must.",
    ),
};

/// It is temporary.
pub static EOS_TEMPORARY: Requirement = Requirement {
    id: "precopy.eos.temporary",
    level: Must,
    statement: "once the estimates or poll announce data after a temporary end, read delivers it",
    source: EOS,
    basis: Basis::Text,
    ruling: None,
};

/// Data is readable.
pub static POLL_READABLE: Requirement = Requirement {
    id: "precopy.poll.readable",
    level: Must,
    statement: "poll says readable while there is data to read",
    source: EOS,
    basis: Basis::Text,
    ruling: None,
};

/// The temporary end is not.
pub static POLL_QUIET: Requirement = Requirement {
    id: "precopy.poll.quiet",
    level: Must,
    statement: "poll does not say readable at the temporary end of the stream",
    source: EOS,
    basis: Basis::Ruling,
    ruling: Some("The text has users wait there with poll, which is no waiting if poll comes back at once."),
};

/// New data wakes.
pub static POLL_WAKES_ON_DATA: Requirement = Requirement {
    id: "precopy.poll.wakes_on_data",
    level: Must,
    statement: "new data wakes a poll that waits",
    source: EOS,
    basis: Basis::Text,
    ruling: None,
};

/// STOP_COPY wakes.
pub static POLL_WAKES_ON_STOP_COPY: Requirement = Requirement {
    id: "precopy.poll.wakes_on_stop_copy",
    level: Must,
    statement: "entering STOP_COPY wakes a poll that waits",
    source: EOS,
    basis: Basis::Ruling,
    ruling: Some("In STOP_COPY poll always says readable, so a poll that waits has to say it too."),
};

/// All are woken.
pub static POLL_EVERYONE: Requirement = Requirement {
    id: "precopy.poll.everyone",
    level: Must,
    statement: "of several that wait in poll and epoll, all are woken",
    source: EOS,
    basis: Basis::Ruling,
    ruling: Some("Nothing in the text reserves a data_fd to one user."),
};

/// Edges are seen.
pub static POLL_EDGE: Requirement = Requirement {
    id: "precopy.poll.edge",
    level: Must,
    statement: "new data and entering STOP_COPY are edges to an edge-triggered epoll set that waits",
    source: EOS,
    basis: Basis::Ruling,
    ruling: Some("The text says poll and means what the kernel makes of a driver's poll, of which epoll is a part."),
};

/// No wakeup is lost.
pub static POLL_RACE: Requirement = Requirement {
    id: "precopy.poll.race",
    level: Must,
    statement: "a change that comes while the user goes from reading to waiting wakes the user",
    source: EOS,
    basis: Basis::Text,
    ruling: None,
};

/// O_NONBLOCK is kept.
pub static NONBLOCK: Requirement = Requirement {
    id: "precopy.nonblock",
    level: Advice,
    statement: "with O_NONBLOCK, a read that has no data answers ENOMSG or EAGAIN",
    source: EOS,
    basis: Basis::Ruling,
    ruling: Some("The text is silent on O_NONBLOCK."),
};

/// The opt-in works.
pub static V2_OPT_IN: Requirement = Requirement {
    id: "precopy.v2.opt_in",
    level: Must,
    statement: "a device with PRE_COPY takes the opt-in to PRECOPY_INFOv2, and takes it again",
    source: V2,
    basis: Basis::Text,
    ruling: None,
};

/// Flags are an answer.
pub static V2_FLAGS: Requirement = Requirement {
    id: "precopy.v2.flags",
    level: Must,
    statement: "after the opt-in the flags of PRECOPY_INFO are 0 or REINIT, whatever was passed in",
    source: V2,
    basis: Basis::Text,
    ruling: None,
};

/// The opt-in ends.
pub static V2_ENDS: Requirement = Requirement {
    id: "precopy.v2.ends",
    level: Must,
    statement: "the opt-in ends when the device is closed",
    source: V2,
    basis: Basis::Ruling,
    ruling: Some(
        "The text is silent; another user, who knows nothing of it, must not meet it. The core of the kernel does it \
         so.",
    ),
};

/// No PRE_COPY, no opt-in.
pub static V2_NEEDS_PRE_COPY: Requirement = Requirement {
    id: "precopy.v2.needs_pre_copy",
    level: Must,
    statement: "a device without PRE_COPY refuses the opt-in",
    source: V2,
    basis: Basis::Ruling,
    ruling: Some(
        "The text gives the opt-in a meaning in PRE_COPY only; success would claim what the device does not have.",
    ),
};

/// New initial data is announced.
pub static REINIT_SAID: Requirement = Requirement {
    id: "precopy.reinit.said",
    level: Must,
    statement: "after the opt-in, REINIT says that there is new initial data, and initial_bytes how much",
    source: INFO,
    basis: Basis::Text,
    ruling: Some(
        "Judged where device memory was reconfigured. A driver may take that for dirty data too, so what is broken is \
         initial_bytes growing without REINIT, or REINIT without initial_bytes.",
    ),
};

/// A call that failed has not reported it.
pub static REINIT_AFTER_EFAULT: Requirement = Requirement {
    id: "precopy.reinit.after_efault",
    level: Advice,
    statement: "a PRECOPY_INFO that fails with EFAULT does not count as having reported REINIT",
    source: INFO,
    basis: Basis::Ruling,
    ruling: Some(
        "The text is silent, and the one upstream driver that has REINIT consumes it there. What initial_bytes is after that is \
         open, too.",
    ),
};

/// It begins anew.
pub static REINIT_RESTARTS: Requirement = Requirement {
    id: "precopy.reinit.restarts",
    level: Must,
    statement: "with REINIT dirty_bytes restarts at 0",
    source: INFO,
    basis: Basis::Text,
    ruling: None,
};

/// Only to those who know it.
pub static REINIT_NEEDS_OPT_IN: Requirement = Requirement {
    id: "precopy.reinit.needs_opt_in",
    level: Must,
    statement: "without the opt-in REINIT is never said",
    source: INFO,
    basis: Basis::Text,
    ruling: None,
};

/// It can be left at any point.
pub static LEAVE: Requirement = Requirement {
    id: "precopy.leave.restores",
    level: Must,
    statement: "PRE_COPY can be left for STOP_COPY whatever was read: the stream goes on and restores",
    source: INFO,
    basis: Basis::Text,
    ruling: Some(
        "The text recommends to wait for initial_bytes to reach 0 because leaving earlier may be slower, and for no \
         other reason.",
    ),
};

/// It can be given up.
pub static CANCEL: Requirement = Requirement {
    id: "precopy.cancel.leaks_nothing",
    level: Must,
    statement: "PRE_COPY -> RUNNING a hundred times leaves no descriptor behind, and the device works",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some("The text has the arc end the session; what is left of each would use up the user's descriptors."),
};

pub(super) static ALL: &[&Requirement] = &[
    &INFO_WORKS,
    &INFO_ELSEWHERE,
    &INFO_EINVAL,
    &INFO_ARGSZ_SMALL,
    &INFO_ARGSZ_LARGE,
    &INFO_EFAULT,
    &INITIAL_AT_FIRST,
    &INITIAL_FALLS,
    &INITIAL_REACHES_ZERO,
    &INITIAL_NEVER_GROWS,
    &INITIAL_UNREAD,
    &DIRTY_AT_FIRST,
    &DIRTY_UNCHANGED,
    &DIRTY_FALLS,
    &CHANGE_STREAMED,
    &DELIVERS,
    &PROMISE,
    &ZERO_IS_END,
    &EXACT,
    &EOS_ENOMSG,
    &EOS_TEMPORARY,
    &POLL_READABLE,
    &POLL_QUIET,
    &POLL_WAKES_ON_DATA,
    &POLL_WAKES_ON_STOP_COPY,
    &POLL_EVERYONE,
    &POLL_EDGE,
    &POLL_RACE,
    &NONBLOCK,
    &V2_OPT_IN,
    &V2_FLAGS,
    &V2_ENDS,
    &V2_NEEDS_PRE_COPY,
    &REINIT_SAID,
    &REINIT_AFTER_EFAULT,
    &REINIT_RESTARTS,
    &REINIT_NEEDS_OPT_IN,
    &LEAVE,
    &CANCEL,
];
