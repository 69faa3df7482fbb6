//! The kernel's own health. The harness watches it during every check; the one check here makes sure that the watch
//! has an ordinary life of the device to look at, whatever else was filtered out.

use vfio_bindings::bindings::vfio::{VFIO_DEVICE_FLAGS_PCI, VFIO_IRQ_INFO_EVENTFD, VFIO_PCI_CONFIG_REGION_INDEX};

use crate::harness::bench::Bench;
use crate::harness::check::{Check, Environment, Interruption, Judgement, Needs};
use crate::requirement::health::*;
use crate::uapi::Errno;
use crate::uapi::memory::DmaMemory;

/// Anywhere below the addresses that machines reserve.
const IOVA: u64 = 1 << 20;

pub(super) fn checks() -> Vec<Check> {
    vec![Check::new("health::ordinary_life", &[&LOG, &TAINT], ordinary_life).needing(Needs::Nothing)]
}

/// What every user of a device does with it, migration or not. The harness judges by what the kernel said meanwhile,
/// which overrules what is judged here.
fn ordinary_life(bench: &mut Bench) -> Judgement {
    look_around(bench)?;
    let memory = DmaMemory::new(4096).map_err(|errno| blocked("allocate memory", errno))?;
    bench.map(IOVA, &memory).map_err(|errno| blocked("map memory for DMA", errno))?;
    bench.unmap(IOVA, memory.bytes()).map_err(|errno| blocked("unmap it", errno))?;
    bench.open_again()?;
    for requirement in [&LOG, &TAINT] {
        bench.judge(requirement, true, "live an ordinary life", "no report and no new taint", "one")?;
    }
    Ok(())
}

/// Asks for every region and interrupt, and reads the configuration space. Other regions may have registers that do
/// something when they are read.
fn look_around(bench: &mut Bench) -> Judgement {
    let info = bench.info().map_err(|errno| blocked("ask what the device is made of", errno))?;
    for index in 0..info.regions {
        // A device may lack some.
        let _ = bench.region_info(index);
    }
    for index in 0..info.irqs {
        let irq = bench.irq_info(index);
        if irq.is_ok_and(|irq| irq.count > 0 && irq.flags & VFIO_IRQ_INFO_EVENTFD != 0) {
            // A line that is shared with another device may be refused.
            let _ = bench.try_irq(index);
        }
    }
    if info.flags & VFIO_DEVICE_FLAGS_PCI == 0 {
        return Ok(());
    }
    let read = bench.region_read(VFIO_PCI_CONFIG_REGION_INDEX, &mut [0; 4]);
    read.map(drop).map_err(|errno| blocked("read the PCI ids", errno))
}

fn blocked(what: &str, errno: Errno) -> Interruption {
    Interruption::hindered(Environment::Resources, format!("failed to {what}: {errno:?}"))
}
