//! The gate: whether a kernel, or a patch to its VFIO core, changes what the checks say, and which one of many did.
//!
//! A comparison has two sides, base and head. Each is a finished run or something to boot; [`trial`] makes runs of it,
//! [`compare`] says check by check what became of it, [`report`] judges.

pub mod bisect;
pub mod command;
pub mod compare;
pub mod doubt;
pub mod mail;
pub mod patch;
pub mod reference;
pub mod report;
mod search;
pub mod selection;
mod store;
mod text;
pub mod trial;
mod uapi;

/// The name of the gate's report for programs.
pub const JSON: &str = "gate.json";
/// The name of the gate's report for pull requests.
pub const MARKDOWN: &str = "gate.md";
