//! Says what is going on, on standard error: a line that moves on a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Tells people what is being done.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
    began: Instant,
}

impl Progress {
    /// Progress on standard error.
    pub fn new() -> Progress {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed:>4} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        });
        Progress { bar, began: Instant::now() }
    }

    /// Progress in the middle of a line that somebody else has begun: always whole lines of its own.
    pub fn between_trials() -> Progress {
        say("");
        Progress { bar: None, began: Instant::now() }
    }

    /// This is being done now.
    pub fn step(&self, what: &str) {
        match &self.bar {
            Some(bar) => bar.set_message(what.to_owned()),
            None => say(&format!("[{:>4.0}s] {what}", self.began.elapsed().as_secs_f64())),
        }
    }

    /// Nothing is being done any more; the moving line goes away.
    pub fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A line on standard error. Without anyone to read it, what is being done is done all the same.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

impl Default for Progress {
    fn default() -> Self {
        Progress::new()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}
