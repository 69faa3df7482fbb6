//! The checks that are compared, as options of libtest name them.

use clap::Parser;
use libtest_mimic::{Arguments, Trial};

use crate::report::{Run, is_incident};

/// Options of libtest that were read, so that a wrong one is refused before anything is booted.
#[derive(Debug)]
pub struct Selection(Arguments);

/// Why options of libtest cannot be used here.
#[derive(Debug, thiserror::Error)]
pub enum SelectionError {
    /// They are wrong.
    #[error("failed to read the options of libtest: {}", .0.trim_end())]
    Wrong(String),
    /// They ask for a list, and no check would run.
    #[error("failed to run the checks: --list runs none\n    `vfio-conform list --checks` lists them")]
    List,
}

impl Selection {
    /// Reads options of libtest.
    ///
    /// # Errors
    /// What is wrong with them.
    pub fn parse(words: &[String]) -> Result<Selection, SelectionError> {
        let words = std::iter::once("vfio-conform".to_owned()).chain(words.iter().cloned());
        let arguments = Arguments::try_parse_from(words).map_err(|error| {
            let text = error.to_string();
            SelectionError::Wrong(text.trim_start_matches("error: ").to_owned())
        })?;
        match arguments.list {
            true => Err(SelectionError::List),
            false => Ok(Selection(arguments)),
        }
    }

    /// Leaves in a finished run only the checks that are meant, and what went wrong outside checks.
    pub fn keep_in(&self, run: &mut Run) {
        run.checks.retain(|check| is_incident(&check.name) || self.has(&check.name));
        run.began.planned.retain(|check| self.has(&check.name));
    }

    fn has(&self, check: &str) -> bool {
        let trial = Trial::test(check, || Ok(()));
        !self.0.is_filtered_out(&trial) && !self.0.is_ignored(&trial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample::{self, journal};

    fn parse(words: &[&str]) -> Result<Selection, SelectionError> {
        Selection::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn wrong_option_of_libtest_is_refused_with_its_text() {
        let error = parse(&["--bogus"]).unwrap_err().to_string();
        assert!(error.contains("unexpected argument '--bogus'"), "{error}");
        assert!(matches!(parse(&["--list"]), Err(SelectionError::List)));
    }

    #[test]
    fn finished_run_keeps_the_checks_that_are_meant() {
        let crash = sample::incident(crate::harness::incident::Phase::Bind, None, Some("WARNING"));
        let mut run = Run::of(&journal(vec![sample::began(&["fsm::a", "reset::a"]), crash])).unwrap();
        parse(&["fsm::"]).unwrap().keep_in(&mut run);
        let names: Vec<&str> = run.checks.iter().map(|check| &*check.name).collect();
        assert_eq!(names, ["fsm::a", "run::bind"]);
        assert_eq!(run.began.planned.len(), 1);
    }
}
