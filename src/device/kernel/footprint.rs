//! What a device of the kernel holds on to, as far as procfs and sysfs tell.

use std::fs;

use super::sysfs::Found;
use crate::device::Footprint;

/// What is in use and given back when it is needed, or belongs to processes: none of it is a leak of a driver.
const NOT_THE_KERNELS_OWN: [&str; 6] = ["MemFree", "Buffers", "Cached", "SwapCached", "AnonPages", "SReclaimable"];

/// Looks at everything now.
pub(super) fn footprint(found: &Found) -> Footprint {
    Footprint {
        module_references: module_references(found),
        kernel_bytes: fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(kernel_bytes),
    }
}

/// A driver that is built into the kernel has no module.
fn module_references(found: &Found) -> Option<u64> {
    let count = fs::read_to_string(found.path.join("driver/module/refcnt")).ok()?;
    count.trim().parse().ok()
}

fn kernel_bytes(meminfo: &str) -> Option<u64> {
    let kibibytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let elsewhere: u64 = NOT_THE_KERNELS_OWN.iter().filter_map(|name| kibibytes(name)).sum();
    Some(kibibytes("MemTotal")?.saturating_sub(elsewhere) << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_free_or_belongs_to_processes_is_not_the_kernels() {
        let meminfo = "MemTotal:  1000 kB\nMemFree: 600 kB\nCached: 100 kB\nSwapCached: 1 kB\nAnonPages: 99 kB\n";
        assert_eq!(kernel_bytes(meminfo), Some(200 << 10));
        assert_eq!(kernel_bytes("MemFree: 1 kB"), None);
    }

    #[test]
    fn this_kernel_tells() {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
        assert!(kernel_bytes(&meminfo).is_some_and(|bytes| bytes > 0));
    }
}
