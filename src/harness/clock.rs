//! The clock that orders runs: time since boot, of one boot. The wall clock may be set at any moment, so it is information
//! for people and orders nothing.

use std::fs;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A moment in one boot of a machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BootMoment {
    /// The boot, as `/proc/sys/kernel/random/boot_id` names it.
    pub boot: String,
    /// Seconds since that boot, time in suspend included (CLOCK_BOOTTIME).
    pub seconds: f64,
}

impl BootMoment {
    /// The present moment; `None` where the kernel does not name its boot.
    pub fn now() -> Option<BootMoment> {
        let boot = fs::read_to_string(BOOT_ID).ok()?.trim().to_owned();
        let seconds = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?).as_secs_f64();
        (!boot.is_empty()).then_some(BootMoment { boot, seconds })
    }

    /// Seconds from an earlier moment to this one, negative if that one is later; `None` between two boots.
    pub fn since(&self, earlier: &BootMoment) -> Option<f64> {
        (self.boot == earlier.boot).then_some(self.seconds - earlier.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_one_boot_are_ordered_by_time_since_boot() {
        let earlier = BootMoment::now().expect("Linux names its boot");
        let later = BootMoment::now().expect("Linux names its boot");
        assert!(later.since(&earlier).is_some_and(|seconds| (0.0..10.0).contains(&seconds)));
        assert!(earlier.since(&later).is_some_and(|seconds| seconds <= 0.0));
    }

    #[test]
    fn moments_of_two_boots_have_no_order() {
        let moment = |boot: &str| BootMoment { boot: boot.to_owned(), seconds: 5.0 };
        assert_eq!(moment("one").since(&moment("two")), None);
    }
}
