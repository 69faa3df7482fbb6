//! Runs checks: trials, supervisor and executor, deadlines, the kernel-log watch, verdicts, and the journal.

pub mod bench;
pub mod beside;
pub mod check;
pub mod clock;
pub mod coverage;
pub mod executor;
pub mod folder_lock;
pub mod incident;
pub mod journal;
pub mod keeper;
pub mod kernel_log;
pub mod measure;
pub mod outcome;
pub mod record;
pub mod session;
pub mod skip;
pub mod slot;
pub mod stopwatch;
pub mod stream;
pub mod supervisor;
pub mod trace;
pub mod trial;
pub mod verdict;
pub mod wire;
