//! A walk as a file: what is known of it in comments, then an operation a line.

use std::fmt;
use std::path::Path;

use super::operation::Operation;

/// The line that says on which device the walk failed.
const DEVICE: &str = "# device: ";

/// A list of operations that can be read, changed by hand, and run again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WalkList {
    /// The device on which it failed, as it was named.
    pub device: Option<String>,
    /// What is worth knowing of it.
    pub remarks: Vec<String>,
    /// The operations.
    pub operations: Vec<Operation>,
}

/// Why a list cannot be used. Reads as one sentence with the place.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// The file cannot be read.
    #[error("failed to read the list of operations {path}: {why}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system answered.
        why: std::io::Error,
    },
    /// A line is no operation.
    #[error(
        "failed to read the list of operations {path}: line {line}: {why}\n    each line is one operation, as a walk \
         prints it, or a comment that begins with #"
    )]
    Garbled {
        /// The file.
        path: String,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// There is nothing in it.
    #[error("failed to read the list of operations {0}: there is no operation in it")]
    Empty(String),
}

impl WalkList {
    /// Reads a file.
    ///
    /// # Errors
    /// What is wrong with it, and where.
    pub fn read(path: &Path) -> Result<WalkList, ListError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|why| ListError::Unreadable { path: name.clone(), why })?;
        let list =
            WalkList::parse(&text).map_err(|(line, why)| ListError::Garbled { path: name.clone(), line, why })?;
        match list.operations.is_empty() {
            true => Err(ListError::Empty(name)),
            false => Ok(list),
        }
    }

    fn parse(text: &str) -> Result<WalkList, (usize, String)> {
        let mut list = WalkList { device: None, remarks: Vec::new(), operations: Vec::new() };
        for (index, line) in text.lines().enumerate() {
            match (line.strip_prefix(DEVICE), line.strip_prefix('#')) {
                (Some(device), _) => list.device = Some(device.trim().to_owned()),
                (None, Some(remark)) => list.remarks.push(remark.trim().to_owned()),
                (None, None) if line.trim().is_empty() => {}
                (None, None) => list.operations.push(line.parse().map_err(|why| (index + 1, why))?),
            }
        }
        Ok(list)
    }
}

impl fmt::Display for WalkList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(device) = &self.device {
            writeln!(f, "{DEVICE}{device}")?;
        }
        for remark in &self.remarks {
            writeln!(f, "# {remark}")?;
        }
        for operation in &self.operations {
            writeln!(f, "{operation}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uapi::state::{Capabilities, State};

    #[test]
    fn lists_read_back_what_they_print() {
        let list = WalkList {
            device: Some("model:stop_copy".to_owned()),
            remarks: vec!["seed 7".to_owned()],
            operations: super::super::plan(Capabilities::FULL, 7, 0),
        };
        assert_eq!(WalkList::parse(&list.to_string()), Ok(list));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        let list = WalkList::parse("# by hand\n\n  SET STOP  \nGET\n");
        assert_eq!(list.map(|list| list.operations), Ok(vec![Operation::Set(State::Stop.number()), Operation::Get]));
        let wrong = WalkList::parse("GET\nSET STOPP\n");
        assert_eq!(wrong, Err((2, "\"SET STOPP\" is no operation of a walk".to_owned())));
    }
}
