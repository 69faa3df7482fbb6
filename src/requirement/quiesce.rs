//! Quiet states: what a device must not do while it is stopped or P2P quiesced, and that nothing is lost by it.

use super::Level::Must;
use super::{Basis, Requirement};

const STATES: &str = "enum vfio_device_mig_state";

/// A running device runs.
pub static OPERATIONAL: Requirement = Requirement {
    id: "quiesce.running.operational",
    level: Must,
    statement: "in RUNNING and in PRE_COPY the device is fully operational: DMA, interrupts and its own work go on",
    source: STATES,
    basis: Basis::Text,
    ruling: None,
};

/// No interrupt.
pub static NO_INTERRUPT: Requirement = Requirement {
    id: "quiesce.stop.no_interrupt",
    level: Must,
    statement: "in STOP, STOP_COPY and RESUMING the device raises no interrupt, even if one was pending",
    source: STATES,
    basis: Basis::Text,
    ruling: Some("RESUMING counts, since the text calls the device stopped there too."),
};

/// No DMA.
pub static NO_DMA: Requirement = Requirement {
    id: "quiesce.stop.no_dma",
    level: Must,
    statement: "in STOP, STOP_COPY and RESUMING the device does no DMA, even if a transfer was pending",
    source: STATES,
    basis: Basis::Text,
    ruling: Some("RESUMING counts, since the text calls the device stopped there too."),
};

/// No change inside.
pub static FROZEN: Requirement = Requirement {
    id: "quiesce.stop.frozen",
    level: Must,
    statement: "in STOP and STOP_COPY the device does not change its internal state",
    source: STATES,
    basis: Basis::Text,
    ruling: None,
};

/// STOP waits.
pub static STOP_WAITS: Requirement = Requirement {
    id: "quiesce.stop.waits",
    level: Must,
    statement: "a transition to STOP, STOP_COPY or RESUMING returns once no transfer moves any more",
    source: STATES,
    basis: Basis::Text,
    ruling: Some(
        "A transfer that moves may be completed first, or suspended; it may not go on behind the user's back.",
    ),
};

/// A stopped device answers.
pub static ANSWERS: Requirement = Requirement {
    id: "quiesce.stop.answers",
    level: Must,
    statement: "in STOP and STOP_COPY configuration space, region and interrupt information and the setup of interrupts \
                work as in RUNNING",
    source: STATES,
    basis: Basis::Text,
    ruling: None,
};

/// Touching a stopped device is harmless.
pub static TOUCH_HARMLESS: Requirement = Requirement {
    id: "quiesce.stop.touch_harmless",
    level: Must,
    statement: "a user who touches the device's regions in STOP or STOP_COPY harms nobody else: the host stays healthy, \
                and the device can be brought back",
    source: STATES,
    basis: Basis::Text,
    ruling: Some(
        "Only the user's own state may suffer, so what the access answers, and what the device's state is then, is left \
         open; a reset may be needed.",
    ),
};

/// Nothing is lost: transfers and work.
pub static CONTINUES: Requirement = Requirement {
    id: "quiesce.leave.work_continues",
    level: Must,
    statement: "work that was in flight when the device went quiet is complete, or goes on, once it is in RUNNING again",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some(
        "The text forbids a stopped device to change its internal state, and a transfer that was begun is a part of that: \
         it must not get lost.",
    ),
};

/// Nothing is lost: interrupts.
pub static INTERRUPT_COMES: Requirement = Requirement {
    id: "quiesce.leave.interrupt_comes",
    level: Must,
    statement: "an interrupt that was pending when the device was stopped comes once it is in RUNNING again",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some("As for work: a completion that nobody hears of leaves the guest's driver waiting for ever."),
};

/// Nothing is lost by a migration.
pub static LOAD_CONTINUES: Requirement = Requirement {
    id: "quiesce.load.continues",
    level: Must,
    statement: "transfers, interrupts and work that were in flight when a stream was saved go on in the device that has \
                loaded it, once that is in RUNNING",
    source: STATES,
    basis: Basis::Ruling,
    ruling: Some(
        "A stream carries all of the device's internal state, and what is in flight is a part of that. Judged in the device \
         that saved it, with the same memory at the same I/O addresses.",
    ),
};

/// No P2P DMA.
pub static P2P_NO_DMA: Requirement = Requirement {
    id: "quiesce.p2p.no_dma",
    level: Must,
    statement: "in RUNNING_P2P and PRE_COPY_P2P a device that cannot tell peer-to-peer from other DMA begins none at all",
    source: STATES,
    basis: Basis::Text,
    ruling: Some(
        "A device that can tell (`distinguishes` in its profile) has to stop peer-to-peer DMA only, which takes a second \
         device to see.",
    ),
};

/// Entering P2P waits.
pub static P2P_WAITS: Requirement = Requirement {
    id: "quiesce.p2p.waits",
    level: Must,
    statement: "a transition to RUNNING_P2P or PRE_COPY_P2P returns once transfers that it has to stop move no more",
    source: STATES,
    basis: Basis::Text,
    ruling: None,
};

pub(super) static ALL: &[&Requirement] = &[
    &OPERATIONAL,
    &NO_INTERRUPT,
    &NO_DMA,
    &FROZEN,
    &STOP_WAITS,
    &ANSWERS,
    &TOUCH_HARMLESS,
    &CONTINUES,
    &INTERRUPT_COMES,
    &LOAD_CONTINUES,
    &P2P_NO_DMA,
    &P2P_WAITS,
];
