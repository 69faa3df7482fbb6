//! What devices answer, in the words of the protocol.

use std::fmt::Display;

use crate::device::migration::{StateAnswer, Transition};
use crate::uapi::Errno;
use crate::uapi::feature::Placement;
use crate::uapi::state::name_of;
use crate::uapi::stream::Readiness;

/// An errno as people know it: `EINVAL`.
pub fn errno_name(errno: Errno) -> String {
    format!("{errno:?}")
}

/// Errnos of which each will do: `ENOTTY or EINVAL`.
pub fn names_of(errnos: &[Errno]) -> String {
    let names: Vec<String> = errnos.iter().map(|errno| errno_name(*errno)).collect();
    names.join(" or ")
}

/// Where a call's structure lies, in words.
pub fn placement_name(placement: Placement) -> &'static str {
    match placement {
        Placement::Ordinary => "ordinary memory",
        Placement::ReadOnly => "memory that cannot be written",
        Placement::Unmapped => "memory that is not there",
        Placement::HeaderOnly => "memory that ends behind the header",
    }
}

/// A call's return, in words.
pub fn tell_return(answer: &Result<i32, Errno>) -> String {
    match answer {
        Ok(0) => "success (0)".to_owned(),
        Ok(number) => format!("the positive return {number}"),
        Err(errno) => errno_name(*errno),
    }
}

/// What came of something that is more than one call, in words.
pub fn tell_done<E: Display>(done: &Result<(), E>) -> String {
    match done {
        Ok(()) => "ok".to_owned(),
        Err(error) => error.to_string(),
    }
}

/// A read's or write's return, in words.
pub fn tell_size(answer: &Result<usize, Errno>) -> String {
    match answer {
        Ok(0) => "0".to_owned(),
        Ok(1) => "1 byte".to_owned(),
        Ok(bytes) => format!("{bytes} bytes"),
        Err(errno) => errno_name(*errno),
    }
}

/// A GET's answer, in words.
pub fn tell_state(answer: &Result<StateAnswer, Errno>) -> String {
    match answer {
        Ok(answer) => format!("the state {}", name_of(answer.device_state)),
        Err(errno) => format!("{} from GET", errno_name(*errno)),
    }
}

/// A SET's answer, in words.
pub fn tell_transition(answer: &Result<Transition, Errno>) -> String {
    match answer {
        Ok(Transition { returned: 0, data_fd: -1, .. }) => "success (0), no data_fd".to_owned(),
        Ok(Transition { returned: 0, data_fd, .. }) => format!("success (0), data_fd {data_fd}"),
        Ok(transition) => format!("the positive return {}", transition.returned),
        Err(errno) => errno_name(*errno),
    }
}

/// A poll's answer, in words.
pub fn tell_readiness(answer: &Result<Readiness, Errno>) -> String {
    let ready = match answer {
        Ok(ready) => ready,
        Err(errno) => return errno_name(*errno),
    };
    let flags =
        [(ready.readable, "POLLIN"), (ready.writable, "POLLOUT"), (ready.error, "POLLERR"), (ready.hang_up, "POLLHUP")];
    let names: Vec<&str> = flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(" ") }
}
