use super::{Guide, Need};
use crate::requirement::quiesce::*;

const DMA: &[Need] = &[Need::Stimulus("dma_to_memory"), Need::Stimulus("finish_dma")];
const P2P_DMA: &[Need] = &[Need::P2p, Need::Stimulus("dma_to_memory"), Need::Stimulus("finish_dma")];
const INTERRUPT: &[Need] = &[Need::Stimulus("interrupt")];
const WORK: &[Need] = &[Need::Stimulus("start_work"), Need::Stimulus("stop_work"), Need::Stimulus("progress")];

pub(super) static ALL: &[Guide] = &[
    Guide::new(
        &OPERATIONAL,
        "PRE_COPY lasts for most of a migration, and the guest is meant not to notice.",
        "Tracking of changes is switched on by stopping a queue, which nobody starts again.",
    )
    .needing(DMA),
    Guide::new(
        &NO_INTERRUPT,
        "An interrupt in STOP reaches a guest whose processors are stopped, or the wrong host after the switch.",
        "The queues are stopped and the completion timer is not.",
    )
    .needing(INTERRUPT),
    Guide::new(
        &NO_DMA,
        "Guest memory is sent for the last time while the device is in STOP_COPY; what is written afterwards is lost.",
        "The driver asks the firmware to suspend and does not wait for transfers that are queued behind.",
    )
    .needing(DMA),
    Guide::new(
        &FROZEN,
        "A stream of a device that changes while it is read is a stream of no moment at all.",
        "Timers, counters or a firmware task go on in STOP.",
    )
    .needing(WORK),
    Guide::new(
        &STOP_WAITS,
        "The VMM takes the return of the ioctl for the moment from which memory is still.",
        "The ioctl returns when the command to stop was accepted, not when it was done.",
    )
    .needing(DMA),
    Guide::new(
        &ANSWERS,
        "The VMM saves configuration space and tears down interrupts while the device is in STOP.",
        "The driver powers the device down in STOP, or holds a lock that the setup of interrupts needs.",
    ),
    Guide::new(
        &TOUCH_HARMLESS,
        "A malicious guest can keep a mapping of a region and touch it whenever it likes.",
        "A read from a stopped function never completes, and the host takes a machine check or an error on its bus.",
    )
    .needing(&[Need::Stimulus("dirty")]),
    Guide::new(
        &CONTINUES,
        "A migration that is given up goes back to RUNNING on the source, and the guest waits for its transfers.",
        "Stopping discards what is queued, as a reset would.",
    )
    .needing(DMA),
    Guide::new(
        &INTERRUPT_COMES,
        "A guest whose completion interrupt got lost hangs until its own timeout resets the device.",
        "The interrupt is masked in STOP, and the pending bit is cleared instead of kept.",
    )
    .needing(INTERRUPT),
    Guide::new(
        &LOAD_CONTINUES,
        "The guest at the destination waits for transfers and completions that it asked for at the source.",
        "Queues are saved without the descriptors that the device has taken from them already.",
    )
    .needing(DMA),
    Guide::new(
        &P2P_NO_DMA,
        "Several devices are stopped one after the other; one that is still running must not reach one that is stopped.",
        "RUNNING_P2P is advertised and does nothing, since nobody has tested it with two devices.",
    )
    .needing(P2P_DMA),
    Guide::new(
        &P2P_WAITS,
        "The next device is stopped as soon as this ioctl returns.",
        "New transfers are refused while old ones still drain.",
    )
    .needing(P2P_DMA),
];
