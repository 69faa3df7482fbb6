//! Evidence in words, one item a line.

use super::text::one_line;
use crate::harness::outcome::{ObservedPath, Operation};

/// What stands in the place of a result that never came.
pub const NEVER_CAME_BACK: &str = "never came back";

/// The operations as a table with a head: when, how long, what, result.
pub fn operations_table(operations: &[Operation]) -> Vec<String> {
    let width = what_width(operations);
    let head = format!("{:>12}  {:>12}  {:width$}  result", "at [s]", "took [us]", "operation");
    let row = |operation: &Operation| {
        let took = operation.micros.map_or("-".to_owned(), |micros| format!("{micros:.1}"));
        format!("{:>12.6}  {took:>12}  {:width$}  {}", operation.at, one_line(&operation.what), result(operation))
    };
    std::iter::once(head).chain(operations.iter().map(row)).collect()
}

/// The operations without their times.
pub fn operations_list(operations: &[Operation]) -> Vec<String> {
    let width = what_width(operations);
    operations
        .iter()
        .map(|operation| {
            let what = one_line(&operation.what);
            format!("{what:width$}  {}", result(operation))
        })
        .collect()
}

/// The kernel's own path of one transition.
pub fn path(path: &ObservedPath) -> String {
    let stations: Vec<&str> = path.through.iter().map(|state| state.name()).collect();
    match stations.is_empty() {
        true => format!("to {}, no step of which was seen", path.to),
        false => format!("to {} through {}", path.to, stations.join(", ")),
    }
}

/// The kernel log from the line on that reports what is wrong, if one does.
pub fn kernel_log_highlights(log: &[String]) -> &[String] {
    const MARKS: [&str; 8] =
        ["BUG:", "WARNING:", "Oops", "KASAN", "UBSAN", "refcount_t:", "general protection", "INFO: "];
    let first = log.iter().position(|line| MARKS.iter().any(|mark| line.contains(mark)));
    &log[first.unwrap_or(0)..]
}

/// The line that tells one kernel report from another, without its time.
pub fn kernel_log_headline(log: &[String]) -> Option<&str> {
    let line = kernel_log_highlights(log).first()?;
    let without_time =
        line.strip_prefix('[').and_then(|rest| rest.split_once(']')).map_or(line.as_str(), |(_, text)| text);
    Some(without_time.trim())
}

fn what_width(operations: &[Operation]) -> usize {
    operations.iter().map(|operation| one_line(&operation.what).chars().count()).max().unwrap_or(0).clamp(9, 40)
}

fn result(operation: &Operation) -> String {
    operation.result.as_deref().map_or(NEVER_CAME_BACK.to_owned(), one_line)
}
