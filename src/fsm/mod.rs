//! The oracle: what the protocol says about every request, found by search over the list of arcs.
//!
//! The uAPI lists the arcs that a driver implements and gives two rules for everything else: the shortest path, and
//! no state of the saving group inside it. The oracle follows that text and nothing else, so that it can judge the
//! table in the kernel instead of repeating it.

mod arcs;
mod route;
pub mod table;

pub use arcs::{Arc, arcs};
pub use route::{Refusal, Route, route};
