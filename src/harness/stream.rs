//! Moves a whole stream through a session a chunk at a time, so that what it costs in memory does not grow with it.

use std::fmt;
use std::io::{self, Read, Write};

use super::bench::errno_name;
use crate::device::Stream;
use crate::uapi::Errno;

/// As much as is asked for at once.
pub const CHUNK_BYTES: usize = 64 << 10;

/// Where a read to the end of a stream stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEnd {
    /// read returned 0: the permanent end.
    Permanent,
    /// read answered ENOMSG: the temporary end.
    Temporary,
    /// read failed.
    Failed(Errno),
    /// There was no end within the limit.
    None,
}

impl fmt::Display for StreamEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StreamEnd::Permanent => f.write_str("0, the permanent end"),
            StreamEnd::Temporary => f.write_str("ENOMSG, the temporary end"),
            StreamEnd::Failed(errno) => f.write_str(&errno_name(*errno)),
            StreamEnd::None => f.write_str("no end in sight"),
        }
    }
}

/// What a stream was made of, when it went somewhere else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// How long it was.
    pub bytes: u64,
    /// How it ended.
    pub end: StreamEnd,
}

/// Reads a stream to its end, permanent or temporary, into whatever takes bytes: a `Vec`, a file, a hash, or
/// [`io::sink`]. It stops when there is more than `limit`.
///
/// # Errors
/// What the sink said; a device that fails is no error but an end.
pub fn drain_into(stream: &dyn Stream, sink: &mut dyn Write, limit: u64) -> io::Result<Moved> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut bytes = 0;
    loop {
        let end = match stream.read(&mut chunk) {
            Ok(0) => StreamEnd::Permanent,
            Ok(_) if bytes > limit => StreamEnd::None,
            Ok(count) => {
                sink.write_all(&chunk[..count])?;
                bytes += count as u64;
                continue;
            }
            Err(Errno::ENOMSG) => StreamEnd::Temporary,
            Err(errno) => StreamEnd::Failed(errno),
        };
        return Ok(Moved { bytes, end });
    }
}

/// Why a stream could not be written.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// It could not be had.
    #[error("failed to read the stream to write: {0}")]
    Source(#[from] io::Error),
    /// The device would not have it.
    #[error("failed to write the stream after {written} bytes: {errno}")]
    Device {
        /// How much it took.
        written: u64,
        /// The errno as it came; EIO if a write moved nothing.
        errno: Errno,
    },
}

/// Writes a stream to a session, from whatever gives bytes.
///
/// # Errors
/// Which of the two sides failed.
pub fn feed_from(stream: &dyn Stream, source: &mut dyn Read) -> Result<u64, FeedError> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut written = 0;
    loop {
        let count = match source.read(&mut chunk) {
            Ok(0) => return Ok(written),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        match write_all(stream, &chunk[..count]) {
            Ok(()) => written += count as u64,
            Err((part, errno)) => return Err(FeedError::Device { written: written + part as u64, errno }),
        }
    }
}

/// Writes all of it in as few calls as the device takes, or says how far that went.
fn write_all(stream: &dyn Stream, bytes: &[u8]) -> Result<(), (usize, Errno)> {
    let mut written = 0;
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(0) => return Err((written, Errno::EIO)),
            Ok(count) => written += count,
            Err(errno) => return Err((written, errno)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::Device;
    use crate::device::model::{ModelDevice, ModelSpec};
    use crate::uapi::state::State;

    fn session(device: &dyn Device, state: State) -> Result<Box<dyn Stream>, Box<dyn std::error::Error>> {
        let stream = device.set_state(state.number())?.stream;
        stream.ok_or_else(|| format!("{state} has no session").into())
    }

    #[test]
    fn what_is_drained_can_be_fed_back() -> Result<(), Box<dyn std::error::Error>> {
        let device = ModelDevice::new(ModelSpec::default());
        let mut bytes = Vec::new();
        let moved = drain_into(session(&device, State::StopCopy)?.as_ref(), &mut bytes, u64::MAX)?;
        assert_eq!(moved, Moved { bytes: bytes.len() as u64, end: StreamEnd::Permanent });
        (&device as &dyn Device).set_state(State::Stop.number())?;
        let stream = session(&device, State::Resuming)?;
        assert_eq!(feed_from(stream.as_ref(), &mut bytes.as_slice())?, bytes.len() as u64);
        (&device as &dyn Device).set_state(State::Running.number())?;
        Ok(())
    }

    #[test]
    fn there_is_no_end_to_more_than_the_limit() -> Result<(), Box<dyn std::error::Error>> {
        let device = ModelDevice::new(ModelSpec::default());
        let moved = drain_into(session(&device, State::StopCopy)?.as_ref(), &mut io::sink(), 0)?;
        assert!(matches!(moved.end, StreamEnd::None | StreamEnd::Permanent), "{moved:?}");
        Ok(())
    }

    #[test]
    fn a_device_that_refuses_says_how_far_it_went() -> Result<(), Box<dyn std::error::Error>> {
        let device = ModelDevice::new(ModelSpec::default());
        let stream = session(&device, State::Resuming)?;
        let why = feed_from(stream.as_ref(), &mut [0u8; 4096].as_slice()).err().map(|error| error.to_string());
        assert!(why.is_some_and(|why| why.starts_with("failed to write the stream after ")));
        Ok(())
    }
}
