//! What a device of the kernel holds on to, as far as procfs and sysfs tell.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use super::sysfs::Found;
use crate::device::Footprint;

/// What is in use and given back when it is needed, or belongs to processes: none of it is a leak of a driver.
const NOT_THE_KERNELS_OWN: [&str; 6] = ["MemFree", "Buffers", "Cached", "SwapCached", "AnonPages", "SReclaimable"];

/// What drivers allocate, and the files that they hold: all that has a name of its own belongs to others.
const DRIVERS_OBJECTS: [&str; 2] = ["kmalloc-", "filp"];
/// That the kernel takes back when it needs it.
const RECLAIMABLE: &str = "kmalloc-rcl-";

/// What is freed once nobody can look at it any more is collected for five seconds first.
const COLLECTED_FOR: Duration = Duration::from_secs(6);

/// KASAN holds back what is freed, up to a thirtieth of all memory, so that later use of it shows. How much the kernel uses
/// then says nothing about who has given back what.
static HOLDS_BACK: LazyLock<bool> =
    LazyLock::new(|| File::open("/proc/kallsyms").is_ok_and(|symbols| has_quarantine(BufReader::new(symbols))));

/// What the kernel knows of each kind of objects.
const KINDS: &str = "/sys/kernel/slab";

/// Looks at everything now.
pub(super) fn footprint(found: &Found) -> Footprint {
    Footprint { module_references: module_references(found), kernel_bytes: bytes_in_use(), objects: objects_in_use() }
}

/// How long the kernel may hold back what was freed. To find out takes longer than to look at what is in use, so it is asked
/// for only where something seems to be left.
pub(super) fn freed_within() -> Option<Duration> {
    (!*HOLDS_BACK).then_some(COLLECTED_FOR)
}

/// How many objects there are of each kind. Each processor keeps some prepared, up to a hundred of the small ones, and they
/// count as used until the kernel is asked to put them back, which is root's to ask and costs nobody anything that counts.
fn objects_in_use() -> BTreeMap<String, u64> {
    let read = || fs::read_to_string("/proc/slabinfo").map(|text| objects(&text)).unwrap_or_default();
    for kind in read().keys() {
        // Where that is not possible, what little is left shows only after many sessions.
        let _ = fs::write(Path::new(KINDS).join(kind).join("shrink"), "1");
    }
    read()
}

/// The name, and behind it how many are in use.
fn objects(slabinfo: &str) -> BTreeMap<String, u64> {
    let of_line = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        let is_drivers = DRIVERS_OBJECTS.iter().any(|begin| name.starts_with(begin)) && !name.starts_with(RECLAIMABLE);
        Some((name.to_owned(), words.next()?.parse().ok()?)).filter(|_| is_drivers)
    };
    slabinfo.lines().filter_map(of_line).collect()
}

fn bytes_in_use() -> Option<u64> {
    let used = kernel_bytes(&fs::read_to_string("/proc/meminfo").ok()?)?;
    let prepared = fs::read_to_string("/proc/zoneinfo").map(|text| prepared_pages(&text)).unwrap_or_default();
    Some(used.saturating_sub(prepared * page_bytes()))
}

/// How many free pages processors keep for themselves, which /proc/meminfo counts as used.
fn prepared_pages(zoneinfo: &str) -> u64 {
    let count = |line: &str| line.trim().strip_prefix("count:")?.trim().parse::<u64>().ok();
    zoneinfo.lines().filter_map(count).sum()
}

fn page_bytes() -> u64 {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().map_or(4096, i64::cast_unsigned)
}

/// Whether a kernel with these symbols, each in a line with its address and kind, is built with generic KASAN.
fn has_quarantine(symbols: impl BufRead) -> bool {
    symbols.lines().map_while(Result::ok).any(|line| line.split_whitespace().nth(2) == Some("kasan_quarantine_reduce"))
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
    fn pages_on_the_lists_of_processors_are_free() {
        let zoneinfo = "\
Node 0, zone      DMA
  pages free     3840
  pagesets
    cpu: 0
              count:    12
              high:     0
    cpu: 1
              count:    30
              count_max: 7
";
        assert_eq!(prepared_pages(zoneinfo), 42);
        assert_eq!(prepared_pages(""), 0);
    }

    #[test]
    fn objects_are_those_that_drivers_allocate() {
        let slabinfo = "\
slabinfo - version: 2.1
# name            <active_objs> <num_objs> <objsize> <objperslab> <pagesperslab> : tunables <limit>
kmalloc-rcl-64       11     12     64   64    1 : tunables    0    0    0
kmalloc-cg-512      123    128    512    8    1 : tunables    0    0    0
filp                  7     16    256   16    1 : tunables    0    0    0
dentry             9000   9000    192   21    1 : tunables    0    0    0
";
        assert_eq!(objects(slabinfo), [("filp".to_owned(), 7), ("kmalloc-cg-512".to_owned(), 123)].into());
    }

    #[test]
    fn a_kernel_with_kasan_is_known_by_its_symbols() {
        let other = "0000000000000000 T kfree\n0000000000000000 t kasan_quarantine_reduce_x\t[m]\n";
        assert!(!has_quarantine(other.as_bytes()));
        assert!(has_quarantine(format!("{other}0000000000000000 T kasan_quarantine_reduce\n").as_bytes()));
    }

    #[test]
    fn this_kernel_tells() {
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
        assert!(kernel_bytes(&meminfo).is_some_and(|bytes| bytes > 0));
    }
}
