//! Programs of the host as steps: what no register can do.
//!
//! A program is told what to do as `key=value` arguments behind its own, so that the same line can be typed by hand. It
//! answers by its exit code: 0 for done, 77 for what it has no way to, anything else for a failure, of which the last
//! line on standard error is the reason. What it writes to standard output is observed.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// The exit code of a program that has no way to what it is asked for, as test programs have it by custom.
const LACKING: i32 = 77;

/// From one look at a program to the next.
const PAUSE: Duration = Duration::from_millis(1);

/// Why a program did not do what it was asked for. Reads as a sentence.
#[derive(Debug, thiserror::Error)]
pub(super) enum CommandError {
    /// It says that it has no way to it.
    #[error("it has no way to this")]
    Lacking,
    /// It cannot be run.
    #[error("failed to run {program}: {why}")]
    Unusable {
        /// The program.
        program: String,
        /// What the system answered.
        why: std::io::Error,
    },
    /// It takes too long.
    #[error("{program} was not done after {} ms, and was killed", .within.as_millis())]
    Slow {
        /// The program.
        program: String,
        /// How long it had.
        within: Duration,
    },
    /// It failed.
    #[error("{program} ended with {status}: {why}")]
    Failed {
        /// The program.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        why: String,
    },
}

/// Runs a program to its end. Returns what it wrote to standard output.
pub(super) fn run(
    program: &[String],
    words: &[String],
    folder: &Path,
    within: Duration,
) -> Result<Vec<u8>, CommandError> {
    let (name, arguments) = program.split_first().map_or(("", program), |(name, rest)| (name.as_str(), rest));
    let unusable = |why: std::io::Error| CommandError::Unusable { program: name.to_owned(), why };
    // Files, since nobody reads pipes while the program runs, and a full pipe would stop it.
    let mut output = tempfile::tempfile().map_err(unusable)?;
    let mut errors = tempfile::tempfile().map_err(unusable)?;
    let child = Command::new(locate(name, folder))
        .args(arguments)
        .args(words)
        .stdin(Stdio::null())
        .stdout(output.try_clone().map_err(unusable)?)
        .stderr(errors.try_clone().map_err(unusable)?)
        // So that what it starts ends with it.
        .process_group(0)
        .spawn()
        .map_err(unusable)?;
    let status = wait(child, within).map_err(unusable)?;
    match status {
        None => Err(CommandError::Slow { program: name.to_owned(), within }),
        Some(status) if status.success() => contents(&mut output).map_err(unusable),
        Some(status) if status.code() == Some(LACKING) => Err(CommandError::Lacking),
        Some(status) => {
            let said = contents(&mut errors).map_err(unusable)?;
            let said = String::from_utf8_lossy(&said);
            let why = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it does not say why").to_owned();
            Err(CommandError::Failed { program: name.to_owned(), status, why })
        }
    }
}

/// A program with a slash in its name is the profile's; others are looked for where the shell does.
fn locate(name: &str, folder: &Path) -> PathBuf {
    match name.contains('/') {
        true => folder.join(name),
        false => PathBuf::from(name),
    }
}

/// Waits for the program; `None` if it had to be killed.
fn wait(mut child: Child, within: Duration) -> std::io::Result<Option<ExitStatus>> {
    let until = Instant::now() + within;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() >= until {
            // It may be gone this very moment, which is as good.
            let _ = killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
            child.wait()?;
            return Ok(None);
        }
        sleep(PAUSE);
    }
}

fn contents(file: &mut File) -> std::io::Result<Vec<u8>> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}
