//! From a walk that fails to the few steps that matter: delta debugging (ddmin of Zeller and Hildebrandt), then simpler
//! steps in the place of those that are left.
//!
//! A device may fail only sometimes. So a list counts as failing if it fails in one of several tries, as many as the
//! whole list needed.

use super::operation::Operation;

/// How often the whole list is tried, to see whether it fails each time.
const FIRST_TRIES: usize = 3;
/// How often a list is tried if the whole one fails only sometimes.
const TRIES: usize = 12;

/// What came of trying a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried<F> {
    /// It failed in the same way, at this step.
    Fails {
        /// Counted from 0.
        step: usize,
        /// The particulars.
        finding: F,
    },
    /// It did not, or in another way.
    Passes,
    /// It was not tried: there is no time left, or no device.
    NotTried,
}

/// What a list was shortened to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortened<F> {
    /// The steps that matter.
    pub operations: Vec<Operation>,
    /// How the shortest list fails; `None` if not even the whole one failed again.
    pub finding: Option<F>,
    /// How often a list was tried.
    pub tries: usize,
    /// Whether the whole list failed each time that it was tried, once at least.
    pub fails_always: bool,
    /// Whether it ended because there was nothing left to leave out.
    pub is_minimal: bool,
}

/// Shortens a list that has failed.
pub fn shorten<F>(operations: Vec<Operation>, tried: impl FnMut(&[Operation]) -> Tried<F>) -> Shortened<F> {
    let mut shortener =
        Shortener { tried, tries: 0, passes: 0, repeats: 1, out_of_time: false, best: operations, finding: None };
    let fails_always = shortener.confirm();
    if shortener.finding.is_some() {
        shortener.leave_out();
        shortener.simplify();
    }
    Shortened {
        is_minimal: !shortener.out_of_time,
        operations: shortener.best,
        finding: shortener.finding,
        tries: shortener.tries,
        fails_always,
    }
}

struct Shortener<T, F> {
    tried: T,
    tries: usize,
    passes: usize,
    repeats: usize,
    out_of_time: bool,
    /// The shortest list so far that fails.
    best: Vec<Operation>,
    finding: Option<F>,
}

impl<F, T: FnMut(&[Operation]) -> Tried<F>> Shortener<T, F> {
    /// Whether the whole list fails each time.
    fn confirm(&mut self) -> bool {
        let whole = self.best.clone();
        let failed = (0..FIRST_TRIES).filter(|_| self.accept(whole.clone())).count();
        // One for which there was no time says nothing.
        if failed > 0 && self.passes == 0 {
            return true;
        }
        self.repeats = TRIES;
        if failed == 0 {
            self.accept(whole);
        }
        false
    }

    /// Takes a list for the best one if it fails.
    fn accept(&mut self, candidate: Vec<Operation>) -> bool {
        for _ in 0..self.repeats {
            if self.out_of_time {
                return false;
            }
            self.tries += 1;
            match (self.tried)(&candidate) {
                Tried::Fails { step, finding } => {
                    self.best = candidate;
                    // What comes after the step that fails cannot matter.
                    self.best.truncate(step + 1);
                    self.finding = Some(finding);
                    return true;
                }
                Tried::Passes => self.passes += 1,
                Tried::NotTried => self.out_of_time = true,
            }
        }
        false
    }

    /// Leaves out as much as can be left out, in large pieces first.
    fn leave_out(&mut self) {
        let mut pieces = 2;
        loop {
            let size = self.best.len().div_ceil(pieces);
            if self.leave_out_one_of(size) {
                pieces = (pieces - 1).max(2);
                continue;
            }
            if size == 1 {
                return;
            }
            pieces = (pieces * 2).min(self.best.len());
        }
    }

    /// From the end, since what led to the failure is near it.
    fn leave_out_one_of(&mut self, size: usize) -> bool {
        let mut end = self.best.len();
        while end > 0 {
            let begin = end.saturating_sub(size);
            let candidate = [&self.best[..begin], &self.best[end..]].concat();
            if !candidate.is_empty() && self.accept(candidate) {
                return true;
            }
            end = begin;
        }
        false
    }

    /// A look at the state is the simplest step, and accuses nobody else.
    fn simplify(&mut self) {
        let mut index = self.best.len();
        while index > 0 {
            index = (index - 1).min(self.best.len().saturating_sub(1));
            for simpler in simpler_than(self.best[index]) {
                let mut candidate = self.best.clone();
                candidate[index] = simpler;
                if self.accept(candidate) {
                    break;
                }
            }
        }
    }
}

fn simpler_than(operation: Operation) -> Vec<Operation> {
    match operation {
        Operation::Get => Vec::new(),
        Operation::Read(1) => vec![Operation::Get],
        Operation::Read(_) => vec![Operation::Get, Operation::Read(1)],
        Operation::ReadVector(bytes) => vec![Operation::Get, Operation::Read(bytes)],
        Operation::WriteVector(portion) => vec![Operation::Get, Operation::Write(portion)],
        _ => vec![Operation::Get],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::uapi::state::Capabilities;
    use crate::walk::operation::Portion;
    use crate::walk::plan;

    /// A device that fails at a reset once these have happened in this order; as often as `flaky` says.
    fn fails_after(needed: &[Operation], operations: &[Operation], flaky: bool) -> Tried<()> {
        if flaky {
            return Tried::Passes;
        }
        let mut needed = needed.iter();
        let mut next = needed.next();
        for (step, operation) in operations.iter().enumerate() {
            if next.is_none() && *operation == Operation::Reset {
                return Tried::Fails { step, finding: () };
            }
            if Some(operation) == next {
                next = needed.next();
            }
        }
        Tried::Passes
    }

    fn walk() -> (Vec<Operation>, Vec<Operation>) {
        let needed = vec![Operation::EnterError, Operation::Poll, Operation::DataSize];
        let mut walk = plan(Capabilities::FULL, 3, 0);
        walk.retain(|operation| !needed.contains(operation));
        walk.insert(20, needed[0]);
        walk.insert(200, needed[1]);
        walk.insert(500, needed[2]);
        walk.push(Operation::Reset);
        (walk, needed)
    }

    #[test]
    fn what_does_not_matter_is_left_out() {
        let (walk, needed) = walk();
        let shortened = shorten(walk, |operations| fails_after(&needed, operations, false));
        assert_eq!(shortened.operations, [&needed[..], &[Operation::Reset]].concat());
        assert!(shortened.fails_always && shortened.is_minimal);
        assert_eq!(shortened.tries, 124, "halves first, then quarters, and so on");
    }

    #[test]
    fn a_list_that_fails_once_in_a_while_is_tried_again_before_it_is_given_up() {
        let mut turn = 0;
        let shortened = shorten(vec![Operation::Reset], |_| {
            turn += 1;
            if turn == FIRST_TRIES + 2 { Tried::Fails { step: 0, finding: () } } else { Tried::Passes }
        });
        assert_eq!((shortened.finding, shortened.fails_always), (Some(()), false));
    }

    #[test]
    fn what_is_left_is_made_simpler() {
        let fails_at_reads = |operations: &[Operation]| {
            let reads = |operation: &Operation| matches!(operation, Operation::Read(_) | Operation::ReadVector(_));
            match operations.iter().position(reads) {
                Some(step) => Tried::Fails { step, finding: () },
                None => Tried::Passes,
            }
        };
        let simplest = |operation| shorten(vec![Operation::Poll, operation], fails_at_reads).operations;
        assert_eq!(simplest(Operation::Read(9)), [Operation::Read(1)]);
        assert_eq!(simplest(Operation::ReadVector(9)), [Operation::Read(9)]);
        assert_eq!(simpler_than(Operation::Get), []);
        assert_eq!(simpler_than(Operation::Read(1)), [Operation::Get]);
        let write = simpler_than(Operation::WriteVector(Portion::Rest));
        assert_eq!(write, [Operation::Get, Operation::Write(Portion::Rest)]);
    }

    #[test]
    fn a_device_that_fails_sometimes_is_asked_more_often() {
        let (walk, needed) = walk();
        let mut turn = 0u64;
        let shortened = shorten(walk, |operations| {
            turn = turn.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
            fails_after(&needed, operations, !(turn >> 40).is_multiple_of(3))
        });
        assert_eq!(shortened.operations, [&needed[..], &[Operation::Reset]].concat());
        assert!(!shortened.fails_always);
    }

    #[test]
    fn what_never_fails_again_stays_as_it_was() {
        let (walk, _) = walk();
        let shortened = shorten(walk.clone(), |_| Tried::<()>::Passes);
        assert_eq!(shortened.operations, walk);
        assert_eq!(shortened.finding, None);
    }

    #[test]
    fn when_the_time_is_over_the_best_so_far_counts() {
        let (walk, needed) = walk();
        let mut left = 6;
        let shortened = shorten(walk.clone(), |operations| match left {
            0 => Tried::NotTried,
            _ => {
                left -= 1;
                fails_after(&needed, operations, false)
            }
        });
        assert!(!shortened.is_minimal && shortened.finding.is_some());
        assert!(shortened.operations.len() < walk.len());
    }

    #[test]
    fn a_list_that_there_was_no_time_for_did_not_pass() {
        let (walk, needed) = walk();
        for (tries, fails_always) in [(0, false), (1, true), (2, true)] {
            let mut left = tries;
            let shortened = shorten(walk.clone(), |operations| match left {
                0 => Tried::NotTried,
                _ => {
                    left -= 1;
                    fails_after(&needed, operations, false)
                }
            });
            assert_eq!(shortened.fails_always, fails_always, "{tries} tries");
        }
    }
}
