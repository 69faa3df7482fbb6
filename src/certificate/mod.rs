//! Certificates: a bundle of files that says what a device was tested with, where, and what it came to, in a form that
//! anybody can verify.
//!
//! [`make`] runs the whole suite a few times and a walk, and seals what comes of it. [`verify`](mod@verify) makes all that follows
//! from the journals again and compares. Neither trusts the other: what is not in the journals is not believed.

mod audit;
pub mod command;
pub mod document;
pub mod files;
mod judge;
pub mod make;
mod refusal;
mod statement;
pub mod verify;
pub mod waiver;

pub use files::digest;
pub use judge::PartName;
pub use make::{CertifyError, Labs, Made, Order, make};
pub use refusal::{Flaw, Refusal};
pub use verify::{NoBundle, Verification, verify};
pub use waiver::Waivers;
