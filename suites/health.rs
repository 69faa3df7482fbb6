//! The kernel's own health. The harness watches it during every check; the one check here makes sure that the watch
//! has an ordinary life of the device to look at, whatever else was filtered out.

use crate::harness::bench::Bench;
use crate::harness::check::{Check, Judgement, Needs};
use crate::requirement::health::*;

pub(super) fn checks() -> Vec<Check> {
    vec![Check::new("health::ordinary_life", &[&LOG, &TAINT], ordinary_life).needing(Needs::Nothing)]
}

fn ordinary_life(bench: &mut Bench) -> Judgement {
    let reopened = bench.reopen();
    let actual = match reopened.as_ref() {
        Ok(()) => String::new(),
        Err(error) => error.to_string(),
    };
    // What the watch finds afterwards overrules this.
    bench.judge(&LOG, reopened.is_ok(), "close the device, open it again", "the device to open", actual)
}
