//! The proof that checks can fail: deliberate defects, each switched on where it lives, and what the suite says to it.
//!
//! [`catalogue`] knows the faults, a [`lane`] has devices with them, [`run`] tries them, [`judge`] tells whether the suite
//! was right, and [`matrix`] writes that down for people and machines.

pub mod catalogue;
pub mod command;
pub mod judge;
pub mod lane;
pub mod matrix;
pub mod run;
pub mod variations;
