use super::{Guide, Need};
use crate::requirement::health::*;

pub(super) static ALL: &[Guide] = &[
    Guide::new(
        &LOG,
        "What a VMM may call, an attacker inside the VMM may call too. A report in the log is a kernel that has lost its \
         footing, under every VM of the host.",
        "Files that are used after they were freed, locks taken in two orders, and references lost when a session ends in \
         an unusual way.",
    )
    .needing(&[Need::AnyKernel]),
    Guide::new(
        &TAINT,
        "A tainted kernel gets no support from its distribution, and the taint outlives what caused it until a reboot.",
        "A WARN in the driver or the core sets it, even where the log has long scrolled away.",
    )
    .needing(&[Need::AnyKernel]),
];
