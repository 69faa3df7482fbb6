//! What came of a step: kept as it came, put into words only where people will read it.

use std::fmt;

use crate::device::migration::StateAnswer;
use crate::harness::bench::{errno_name, tell_return, tell_size, tell_state};
use crate::uapi::Errno;
use crate::uapi::stream::Readiness;

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// There was nothing to do it to.
    Nothing,
    /// What a call returned.
    Returned(Result<i32, Errno>),
    /// What a read or write moved.
    Moved(Result<usize, Errno>),
    /// What a read to the end moved, and what the last read answered.
    Drained(usize, Result<usize, Errno>),
    /// What a SET of the state returned, and the data_fd.
    Set(Result<(i32, i32), Errno>),
    /// Where the device says that it is.
    State(Result<StateAnswer, Errno>),
    /// The estimates of PRECOPY_INFO: initial_bytes, dirty_bytes.
    Estimates(Result<(u64, u64), Errno>),
    /// The estimate of STOP_COPY.
    Size(Result<u64, Errno>),
    /// What poll said.
    Ready(Result<Readiness, Errno>),
    /// Which pages the log of DMA tells of, a bit each.
    Logged(u64),
    /// Something that either worked or did not.
    Done(bool),
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Nothing => f.write_str("nothing to do it to"),
            Answer::Returned(answer) => f.write_str(&tell_return(answer)),
            Answer::Moved(answer) => f.write_str(&tell_size(answer)),
            Answer::Drained(bytes, end) => write!(f, "{bytes} bytes, then {}", tell_size(end)),
            Answer::Set(Ok((returned, data_fd))) => write!(f, "return {returned}, data_fd {data_fd}"),
            Answer::State(answer) => f.write_str(&tell_state(answer)),
            Answer::Estimates(Ok((initial, dirty))) => write!(f, "initial_bytes {initial}, dirty_bytes {dirty}"),
            Answer::Size(Ok(bytes)) => write!(f, "{bytes} bytes"),
            Answer::Ready(Ok(readiness)) => f.write_str(&tell_readiness(*readiness)),
            Answer::Logged(pages) => write!(f, "the pages {pages:#06x}"),
            Answer::Done(true) => f.write_str("ok"),
            Answer::Done(false) => f.write_str("not possible"),
            Answer::Set(Err(errno))
            | Answer::Estimates(Err(errno))
            | Answer::Size(Err(errno))
            | Answer::Ready(Err(errno)) => f.write_str(&errno_name(*errno)),
        }
    }
}

fn tell_readiness(readiness: Readiness) -> String {
    let words: Vec<&str> = [
        (readiness.readable, "readable"),
        (readiness.writable, "writable"),
        (readiness.error, "error"),
        (readiness.hang_up, "hang-up"),
    ]
    .into_iter()
    .filter_map(|(is, word)| is.then_some(word))
    .collect();
    match words.is_empty() {
        true => "not ready".to_owned(),
        false => words.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_in_protocol_words() {
        let ready = |readable, writable| Readiness { readable, writable, ..Readiness::default() };
        for (answer, words) in [
            (Answer::Nothing, "nothing to do it to"),
            (Answer::Returned(Err(Errno::EINVAL)), "EINVAL"),
            (Answer::Moved(Ok(16)), "16 bytes"),
            (Answer::Drained(16, Err(Errno::ENOMSG)), "16 bytes, then ENOMSG"),
            (Answer::Set(Ok((0, 7))), "return 0, data_fd 7"),
            (Answer::Set(Err(Errno::EFAULT)), "EFAULT"),
            (Answer::State(Err(Errno::EIO)), "EIO from GET"),
            (Answer::Estimates(Ok((1, 2))), "initial_bytes 1, dirty_bytes 2"),
            (Answer::Size(Ok(3)), "3 bytes"),
            (Answer::Logged(0x21), "the pages 0x0021"),
            (Answer::Ready(Ok(ready(true, true))), "readable, writable"),
            (Answer::Ready(Ok(ready(false, false))), "not ready"),
            (Answer::Done(true), "ok"),
            (Answer::Done(false), "not possible"),
        ] {
            assert_eq!(answer.to_string(), words);
        }
    }
}
