//! QEMU's monitor (QMP): the few commands that keep a guest for later.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::harness::stopwatch::Stopwatch;
use crate::harness::wire::{Receiver, WireError, send};
use crate::lab::LabError;

/// A QEMU that works answers at once.
const ANSWER_BOUND: Duration = Duration::from_secs(10);
/// Bytes a second: more than any disk takes, since QEMU holds back by itself else.
const BANDWIDTH: u64 = 1 << 36;
/// How often to look whether the guest is written.
const TICK: Duration = Duration::from_millis(5);

/// What a monitor says; all else that it says are events.
#[derive(Debug, Deserialize)]
struct Answer {
    #[serde(rename = "return")]
    returned: Option<Value>,
    error: Option<Value>,
    event: Option<String>,
}

/// A monitor that takes commands.
pub struct Monitor {
    stream: UnixStream,
    answers: Receiver<UnixStream>,
    /// The process of its QEMU.
    qemu: u32,
    is_paused: bool,
    was_paused: bool,
}

impl Monitor {
    /// Takes over a monitor that has just connected.
    ///
    /// # Errors
    /// What it said instead of its greeting.
    pub fn new(stream: UnixStream, qemu: u32) -> Result<Monitor, LabError> {
        let answers = stream.try_clone().map_err(|error| failed(&error.into()))?;
        let answers = Receiver::new(answers);
        let mut monitor = Monitor { stream, answers, qemu, is_paused: false, was_paused: false };
        let mut watch = monitor.watch();
        let _greeting: Value = monitor.answers.receive_by(&mut watch, ANSWER_BOUND).map_err(|error| failed(&error))?;
        monitor.execute("qmp_capabilities", &json!({}))?;
        Ok(monitor)
    }

    /// Writes a guest into a file, from which another QEMU can go on with it; the guest stands still meanwhile.
    ///
    /// # Errors
    /// Why it is not there. The guest goes on all the same.
    pub fn save(&mut self, file: &Path, bound: Duration) -> Result<(), LabError> {
        self.execute("stop", &json!({}))?;
        let saved = self.migrate(file, bound);
        self.execute("cont", &json!({}))?;
        // That was our own doing.
        self.was_paused();
        saved
    }

    /// Whether somebody has paused the guest.
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    /// Whether somebody has paused the guest since this was asked last, be it for a moment.
    pub fn was_paused(&mut self) -> bool {
        // A monitor that is gone says no more; its guest is found to be gone too.
        while let Ok(Some(Answer { event, .. })) = self.answers.receive_ready() {
            self.hear(event.as_deref());
        }
        std::mem::take(&mut self.was_paused)
    }

    fn hear(&mut self, event: Option<&str>) {
        match event {
            Some("STOP") => (self.is_paused, self.was_paused) = (true, true),
            Some("RESUME") => self.is_paused = false,
            _ => {}
        }
    }

    fn watch(&self) -> Stopwatch {
        Stopwatch::start([self.qemu])
    }

    /// Has a guest go on that was saved, once it is read.
    ///
    /// # Errors
    /// Why it does not.
    pub fn go_on(&mut self, bound: Duration) -> Result<(), LabError> {
        let mut watch = self.watch();
        while self.execute("query-status", &json!({}))?["status"] == "inmigrate" {
            if watch.ran() >= bound {
                return Err(LabError::failed(
                    "go on with a saved guest",
                    format!("reading it took longer than {bound:?}"),
                ));
            }
            std::thread::sleep(TICK);
            watch.look(TICK);
        }
        self.execute("cont", &json!({}))?;
        self.was_paused();
        Ok(())
    }

    fn migrate(&mut self, file: &Path, bound: Duration) -> Result<(), LabError> {
        self.execute("migrate-set-parameters", &json!({ "max-bandwidth": BANDWIDTH }))?;
        self.execute("migrate", &json!({ "uri": file_uri(file) }))?;
        let mut watch = self.watch();
        while watch.ran() < bound {
            let answer = self.execute("query-migrate", &json!({}))?;
            match answer["status"].as_str() {
                Some("completed") => return Ok(()),
                Some("failed" | "cancelled") => return Err(LabError::failed("save the guest", answer)),
                _ => std::thread::sleep(TICK),
            }
            watch.look(TICK);
        }
        self.execute("migrate_cancel", &json!({}))?;
        Err(LabError::failed("save the guest", format!("it took longer than {bound:?}")))
    }

    fn execute(&mut self, command: &str, arguments: &Value) -> Result<Value, LabError> {
        let message = json!({ "execute": command, "arguments": arguments });
        send(&self.stream, &message).map_err(|error| failed(&error.into()))?;
        let mut watch = self.watch();
        loop {
            let answer: Answer = self.answers.receive_by(&mut watch, ANSWER_BOUND).map_err(|error| failed(&error))?;
            self.hear(answer.event.as_deref());
            match answer {
                Answer { returned: Some(value), .. } => return Ok(value),
                Answer { error: Some(error), .. } => {
                    return Err(LabError::failed(&format!("have QEMU {command}"), error));
                }
                _ => {}
            }
        }
    }
}

fn failed(error: &WireError) -> LabError {
    LabError::failed("talk to QEMU's monitor", error)
}

/// How QEMU is told of a file that holds a guest.
pub fn file_uri(file: &Path) -> String {
    format!("file:{}", file.display())
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::thread;

    use super::*;

    /// A monitor that answers each command with the next of these lines.
    fn monitor_that_says(lines: &'static [&'static str]) -> Result<Monitor, LabError> {
        let (ours, theirs) = UnixStream::pair().map_err(|error| failed(&error.into()))?;
        thread::spawn(move || {
            let mut commands = BufReader::new(&theirs).lines();
            let answers = [r#"{"QMP": {"version": {}}}"#, r#"{"return": {}}"#].iter().chain(lines);
            for (index, line) in answers.enumerate() {
                if index > 0 && !line.contains("event") && commands.next().is_none() {
                    return;
                }
                for line in line.lines() {
                    let line: Value = serde_json::from_str(line).unwrap_or_default();
                    if send(&theirs, &line).is_err() {
                        return;
                    }
                }
            }
        });
        Monitor::new(ours, std::process::id())
    }

    #[test]
    fn a_guest_that_somebody_pauses_is_seen_to_be_and_to_have_been() -> Result<(), LabError> {
        let (ours, theirs) = UnixStream::pair().map_err(|error| failed(&error.into()))?;
        let say = |line: Value| send(&theirs, &line).map_err(|error| failed(&error.into()));
        say(json!({ "QMP": {} }))?;
        say(json!({ "return": {} }))?;
        let mut monitor = Monitor::new(ours, std::process::id())?;
        assert!(!monitor.was_paused() && !monitor.is_paused());
        say(json!({ "event": "STOP" }))?;
        assert!(monitor.was_paused() && monitor.is_paused());
        assert!(!monitor.was_paused() && monitor.is_paused(), "it still is");
        say(json!({ "event": "RESUME" }))?;
        say(json!({ "event": "STOP" }))?;
        say(json!({ "event": "RESUME" }))?;
        assert!(monitor.was_paused() && !monitor.is_paused());
        Ok(())
    }

    #[test]
    fn a_guest_is_saved_when_qemu_says_so() -> Result<(), LabError> {
        let mut monitor = monitor_that_says(&[
            r#"{"return": {}}"#,
            r#"{"return": {}}"#,
            "{\"event\": \"STOP\"}",
            r#"{"return": {}}"#,
            r#"{"return": {"status": "active"}}"#,
            r#"{"return": {"status": "completed"}}"#,
            r#"{"return": {}}"#,
        ])?;
        monitor.save(Path::new("/nowhere"), Duration::from_secs(5))
    }

    #[test]
    fn a_failure_is_told_and_the_guest_goes_on() -> Result<(), LabError> {
        let mut monitor = monitor_that_says(&[
            r#"{"return": {}}"#,
            r#"{"return": {}}"#,
            r#"{"return": {}}"#,
            r#"{"return": {"status": "failed", "error-desc": "no space"}}"#,
            r#"{"return": {}}"#,
            r#"{"error": {"desc": "what?"}}"#,
        ])?;
        let why = monitor.save(Path::new("/nowhere"), Duration::from_secs(5)).expect_err("nothing was written");
        assert!(why.0.contains("no space"), "{}", why.0);
        let why = monitor.execute("stop", &json!({})).expect_err("it was refused");
        assert!(why.0.starts_with("failed to have QEMU stop"), "{}", why.0);
        Ok(())
    }
}
