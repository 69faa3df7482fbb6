//! Watches the steps that the kernel itself takes: a kprobe on the function that chooses each next state.
//!
//! The probe lives in a trace instance of its own and goes away with it, so nothing of the host's tracing is touched.
//! Records are consumed from `trace_pipe`, which neither waits nor disturbs anything.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::uapi::state::State;

const MOUNTS: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
const SYMBOL: &str = "vfio_mig_get_next_state";

/// One call of the kernel's choosing function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// The state that the device stands in.
    pub current: State,
    /// The state that it is to end in.
    pub target: State,
}

/// A trace of this thread's steps.
#[derive(Debug)]
pub struct Tracer {
    place: Place,
    // Taken on the way out: an instance whose pipe is open cannot be removed.
    pipe: Option<File>,
}

/// Where the probe of one process lives.
#[derive(Debug)]
struct Place {
    tracing: PathBuf,
    instance: PathBuf,
    event: String,
}

impl Tracer {
    /// Sets the probe.
    ///
    /// # Errors
    /// Why the path cannot be observed here, in one sentence.
    pub fn start() -> Result<Tracer, String> {
        let place = Place::of(std::process::id())
            .ok_or("tracefs is not mounted, or this user may not see it, or the kernel has no kprobes")?;
        let why = |what: &str| {
            let what = what.to_owned();
            move |error: std::io::Error| format!("failed to {what}: {error}")
        };
        append(&place.kprobe_events(), &probe(&place.event)?)
            .map_err(why("set a kprobe on vfio_mig_get_next_state"))?;
        let mut tracer = Tracer { place, pipe: None };
        let pipe = tracer.place.open_pipe();
        tracer.pipe = Some(pipe.map_err(why("make a trace instance"))?);
        Ok(tracer)
    }

    /// The steps since the last time, in their order.
    pub fn take(&mut self) -> Vec<Step> {
        let mut text = Vec::new();
        let mut chunk = [0u8; 4096];
        while let Some(Ok(bytes @ 1..)) = self.pipe.as_mut().map(|pipe| pipe.read(&mut chunk)) {
            text.extend(&chunk[..bytes]);
        }
        parse(&String::from_utf8_lossy(&text), std::process::id())
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        self.pipe = None;
        self.place.remove();
    }
}

impl Place {
    fn of(process: u32) -> Option<Place> {
        let tracing = MOUNTS.into_iter().map(Path::new).find(|mount| mount.join("kprobe_events").exists())?;
        Some(Place {
            tracing: tracing.to_owned(),
            instance: tracing.join(format!("instances/vfio_conform_{process}")),
            event: format!("vfio_conform_{process}/next_state"),
        })
    }

    fn kprobe_events(&self) -> PathBuf {
        self.tracing.join("kprobe_events")
    }

    fn switch(&self) -> PathBuf {
        self.instance.join("events").join(&self.event).join("enable")
    }

    fn open_pipe(&self) -> std::io::Result<File> {
        fs::create_dir(&self.instance)?;
        fs::write(self.switch(), "1")?;
        OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(self.instance.join("trace_pipe"))
    }

    /// Leaves tracing as it was found. An instance must be silent and closed before its event can go, so what is
    /// refused at first is refused at last too; there is nobody to tell then.
    fn remove(&self) {
        let _ = fs::write(self.switch(), "0");
        let _ = fs::remove_dir(&self.instance);
        let _ = append(&self.kprobe_events(), &format!("-:{}", self.event));
    }
}

/// Removes the probe of a process that died without doing so.
pub fn clean_up(process: u32) {
    if let Some(place) = Place::of(process).filter(|place| place.instance.exists()) {
        place.remove();
    }
}

/// The definition of the probe: the second and third argument of the function, as this machine passes them.
fn probe(event: &str) -> Result<String, String> {
    let (current, target) = match std::env::consts::ARCH {
        "x86_64" => ("%si", "%dx"),
        "aarch64" => ("%x1", "%x2"),
        other => return Err(format!("the arguments of a function are not known on {other}")),
    };
    Ok(format!("p:{event} {SYMBOL} cur={current}:u32 new={target}:u32"))
}

fn append(path: &Path, line: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    file.write_all(format!("{line}\n").as_bytes())
}

/// Reads lines like `name-123 [001] ..... 7.5: next_state: (vfio_mig_get_next_state+0x0/0x1 [vfio]) cur=2 new=1`.
fn parse(text: &str, process: u32) -> Vec<Step> {
    let mine = format!("-{process}");
    text.lines()
        .filter(|line| {
            line.split_whitespace().take_while(|word| !word.starts_with('[')).any(|word| word.ends_with(&mine))
        })
        .filter_map(|line| {
            let field = |name: &str| {
                let value = line.split_whitespace().find_map(|w| w.strip_prefix(name))?;
                State::from_number(value.parse().ok()?)
            };
            Some(Step { current: field("cur=")?, target: field("new=")? })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_other_processes_are_left_out() {
        let text = "\
 vfio-conform-71  [001] ..... 12.1: next_state: (vfio_mig_get_next_state+0x0/0x90 [vfio]) cur=2 new=1
 vfio-conform-72  [001] ..... 12.2: next_state: (vfio_mig_get_next_state+0x0/0x90 [vfio]) cur=5 new=1
 vfio-conform-71  [000] ..... 12.3: next_state: (vfio_mig_get_next_state+0x0/0x90 [vfio]) cur=5 new=1
CPU:0 [LOST 12 EVENTS]
";
        let step = |current| Step { current, target: State::Stop };
        assert_eq!(parse(text, 71), [step(State::Running), step(State::RunningP2p)]);
    }
}
