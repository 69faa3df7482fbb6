use super::Guide;
use crate::requirement::walk::*;

pub(super) static ALL: &[Guide] = &[Guide::new(
    &ALLOWED,
    "Real migrations are cancelled, retried and reset at any point, by a VMM that is as surprised as the driver. Most \
     defects of drivers needed two things in a row that nobody had thought of together.",
    "A flag, a buffer or a reference of one session is still there in the next one, after a way out that is rarely taken.",
)];
