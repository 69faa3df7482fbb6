//! The record of what was done to the device: kept here, and in a slot of memory that outlives the executor.
//!
//! The slot is written before and after each operation and read only when something went wrong, so an operation costs two
//! small writes to memory that nobody waits for.

use std::fmt::Display;
use std::fmt::Write as _;
use std::time::Instant;

use super::outcome::Operation;
use super::slot::Slot;

/// Writes down operations as they happen.
#[derive(Debug)]
pub struct Recorder {
    began: Instant,
    operations: Vec<Operation>,
    slot: Option<Slot>,
    /// Room for a line, so that none has to be made for each.
    line: String,
}

impl Recorder {
    /// A recorder; with a slot, what it knows survives this process.
    pub fn new(slot: Option<Slot>) -> Recorder {
        Recorder { began: Instant::now(), operations: Vec::new(), slot, line: String::new() }
    }

    /// Forgets everything: a new check begins.
    pub fn clear(&mut self) {
        self.began = Instant::now();
        self.operations.clear();
        if let Some(slot) = &mut self.slot {
            slot.clear();
        }
    }

    /// What was recorded since the check began.
    pub fn take(&mut self) -> Vec<Operation> {
        std::mem::take(&mut self.operations)
    }

    /// How many operations were recorded and are kept in memory.
    pub fn recorded(&self) -> usize {
        self.operations.len()
    }

    /// Forgets those beyond so many, which were the same as some before them. The slot has them all.
    pub fn forget_since(&mut self, recorded: usize) {
        self.operations.truncate(recorded);
    }

    /// How long the last operation took, in microseconds.
    pub fn last_micros(&self) -> Option<f64> {
        self.operations.last()?.micros
    }

    /// When the last operation came back, in seconds since the check began.
    pub fn last_end(&self) -> Option<f64> {
        let last = self.operations.last()?;
        Some(last.at + last.micros? / 1e6)
    }

    /// Does one operation and writes down what it was and what came of it.
    pub fn operation<T>(&mut self, what: String, operate: impl FnOnce() -> T, tell: impl FnOnce(&T) -> String) -> T {
        let begin = Instant::now();
        let at = (begin - self.began).as_secs_f64();
        self.append(&format!(">{at:.6}\t{what}\n"));
        let result = operate();
        let micros = begin.elapsed().as_secs_f64() * 1e6;
        let told = tell(&result);
        self.append(&format!("<{micros:.1}\t{told}\n"));
        self.operations.push(Operation { at, what, result: Some(told), micros: Some(micros) });
        result
    }

    /// Writes down that something begins, for whoever finds this process dead: as little as will do, since it is done
    /// a hundred thousand times a second. Nothing is kept in memory, and no time.
    pub fn begun(&mut self, what: &impl Display) {
        if self.slot.is_none() {
            return;
        }
        let mut line = std::mem::take(&mut self.line);
        line.clear();
        // Writing to a String cannot fail.
        let _ = writeln!(line, ">0\t{what}");
        self.append(&line);
        self.line = line;
    }

    fn append(&mut self, line: &str) {
        if let Some(slot) = &mut self.slot {
            slot.append(line);
        }
    }
}

/// Reads what a recorder has written whose process is gone. What cannot be understood ends the record.
pub fn read_back(text: &str) -> Vec<Operation> {
    let mut operations: Vec<Operation> = Vec::new();
    for line in text.lines() {
        if let Some((at, what)) = line.strip_prefix('>').and_then(|l| l.split_once('\t')) {
            let Ok(at) = at.parse() else { break };
            let what = what.to_owned();
            operations.push(Operation { at, what, result: None, micros: None });
        }
        if let Some((micros, told)) = line.strip_prefix('<').and_then(|l| l.split_once('\t'))
            && let Some(last) = operations.last_mut()
        {
            last.micros = micros.parse().ok();
            last.result = Some(told.to_owned());
        }
    }
    operations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::slot::SLOT_BYTES;

    #[test]
    fn what_was_going_on_when_the_process_died_is_read_back() -> std::io::Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        file.as_file().set_len(SLOT_BYTES as u64)?;
        let mut recorder = Recorder::new(Some(Slot::open(file.path(), 0)?));
        recorder.operation("GET".into(), || 7, |n| format!("ok {n}"));
        let ours = Slot::open(file.path(), 0)?;
        let operations = recorder.operation("SET STOP".into(), || ours.operations(), |_| "never".into());
        assert_eq!(operations.len(), 2);
        assert_eq!(operations[0].result.as_deref(), Some("ok 7"));
        assert_eq!(operations[1].what, "SET STOP");
        assert_eq!(operations[1].result, None);
        Ok(())
    }
}
