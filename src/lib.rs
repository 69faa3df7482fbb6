//! vfio-conform tells whether a VFIO variant driver keeps the Linux VFIO migration protocol (v2, with PRE_COPY).
//!
//! The rooms, and which way they look: `suites` (the checks) use [`device`], [`fsm`], [`requirement`] and
//! [`stimulus`], which use [`uapi`]; [`harness`] runs the suites; [`report`] reads journals; [`lab`] starts the
//! harness somewhere. [`probe`] looks at what the bundled target is built to do.

/// A list of the same item of every chapter's module, in the order in which the chapters run.
macro_rules! of_each_chapter {
    ($($item:tt)+) => {
        [
            discover::$($item)+,
            fsm::$($item)+,
            session::$($item)+,
            precopy::$($item)+,
            stop_copy::$($item)+,
            resume::$($item)+,
            reset::$($item)+,
            quiesce::$($item)+,
            dma_logging::$($item)+,
            concurrency::$($item)+,
            wear::$($item)+,
            health::$($item)+,
            walk::$($item)+,
        ]
    };
}

pub mod arguments;
pub mod baseline;
pub mod catalogue;
pub mod certificate;
pub mod device;
pub mod fault;
pub mod fsm;
pub mod gate;
pub mod harness;
pub mod host;
pub mod lab;
pub mod probe;
pub mod report;
pub mod requirement;
pub mod shell;
pub mod stimulus;
#[path = "../suites/mod.rs"]
pub mod suites;
pub mod uapi;
pub mod walk;
