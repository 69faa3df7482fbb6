//! Tests that may lack what they need, and tests that may be tried again. Both are visible in the result: a test that lacks
//! something ends as ignored, with what it lacks, and never as passed; one that was tried again says so.
//!
//! Each also writes a line to the file that `VFIO_CONFORM_TEST_NOTES` names, of which `./ci/test` makes its last lines.
#![allow(dead_code, unused_imports, unused_macros)] // each test program uses its part

use std::error::Error;
use std::fs::OpenOptions;
use std::io::Write;

use libtest_mimic::{Completion, Failed, Trial};

/// How a test ends that may lack something.
pub type Tested = Result<Completion, Box<dyn Error>>;

/// The test is not run, for want of this.
pub fn lacking(what: &str) -> Tested {
    Ok(Completion::ignored_with(what))
}

/// The test was run to its end.
pub fn done() -> Tested {
    Ok(Completion::Completed)
}

/// A trial of a test.
pub fn trial(name: &'static str, test: fn() -> Tested) -> Trial {
    Trial::ignorable_test(name, move || {
        let completion = test().map_err(|error| Failed::from(error.to_string()))?;
        if let Completion::Ignored { reason } = &completion {
            note("left out", name, reason.as_deref().unwrap_or("no reason"));
        }
        Ok(completion)
    })
}

/// A trial of a test that needs the environment of the qemu lab, so that only `--ignored` runs it.
pub fn in_guests(name: &'static str, test: fn() -> Tested) -> Trial {
    trial(name, test).with_ignored_flag(true)
}

/// Trials of tests of these names in guests.
macro_rules! guest_trials {
    ($($test:ident),+ $(,)?) => { vec![$($crate::trials::in_guests(stringify!($test), $test)),+] };
}
pub(crate) use guest_trials;

/// How often a test may be tried again, and what it means if it must not.
#[derive(Debug, Clone, Copy)]
pub struct Retries {
    /// How often it is tried in all.
    pub tries: usize,
    /// Why one miss proves nothing.
    pub since: &'static str,
    /// What it means that every try missed.
    pub a_miss_means: &'static str,
}

/// What a try came to.
#[derive(Debug)]
pub enum Try<T> {
    /// What should be.
    Right(T),
    /// What a busy machine may cause; it is tried again.
    Missed(String),
    /// What no machine may cause; it is not tried again.
    Wrong(String),
}

impl Retries {
    /// Tries until it is right, as often as allowed. Every try after the first is noted.
    pub fn run<T>(
        &self,
        name: &str,
        attempt: impl FnMut() -> Result<Try<T>, Box<dyn Error>>,
    ) -> Result<T, Box<dyn Error>> {
        let (value, misses) = self.until_right(attempt)?;
        if !misses.is_empty() {
            let what = format!("right in try {} of {}: {}", misses.len() + 1, self.tries, misses.join("; "));
            note("tried again", name, &what);
        }
        Ok(value)
    }

    /// The same, unnoted: with what each try before it missed.
    pub fn until_right<T>(
        &self,
        mut attempt: impl FnMut() -> Result<Try<T>, Box<dyn Error>>,
    ) -> Result<(T, Vec<String>), Box<dyn Error>> {
        let mut misses: Vec<String> = Vec::new();
        while misses.len() < self.tries {
            match attempt()? {
                Try::Right(value) => return Ok((value, misses)),
                Try::Wrong(why) => return Err(why.into()),
                Try::Missed(why) => misses.push(why),
            }
        }
        let Retries { tries, since, a_miss_means } = self;
        let misses = misses.join("\n");
        Err(format!("missed in all of {tries} tries, although {since}; so {a_miss_means}:\n{misses}").into())
    }
}

/// Says it to whoever reads the output, and to the file of notes. Other tests write there too, a line at a time.
fn note(kind: &str, name: &str, what: &str) {
    let what = what.split_whitespace().collect::<Vec<_>>().join(" ");
    println!("{kind}: {name}: {what}");
    let Some(path) = std::env::var_os("VFIO_CONFORM_TEST_NOTES") else { return };
    let line = format!("{kind}\t{name}\t{what}\n");
    let written =
        OpenOptions::new().create(true).append(true).open(&path).and_then(|mut file| file.write_all(line.as_bytes()));
    written.unwrap_or_else(|error| panic!("failed to write {}: {error}", path.display()));
}
