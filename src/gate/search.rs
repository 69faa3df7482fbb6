//! The search by halves, of many checks at once.

use std::collections::{BTreeMap, BTreeSet};

use crate::harness::verdict::Verdict;

/// What the checks came to on one of those that are searched.
pub type Verdicts = BTreeMap<String, Verdict>;

/// The two between which a check changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Between {
    /// The last one that is as it was at the beginning.
    pub last: usize,
    /// The first one after it that was tested.
    pub first: usize,
}

/// What a search came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// This end cannot be tested.
    NoEnd(usize),
    /// Where each check changed.
    Turns(BTreeMap<String, Between>),
}

/// Searches for where checks change, by halves. `test` says what the checks come to on one of `count`, or nothing if it
/// cannot be tested; it is told which checks matter once that is known.
pub fn search(count: usize, mut test: impl FnMut(usize, Option<&BTreeSet<String>>) -> Option<Verdicts>) -> Found {
    let (first, last) = (0, count.saturating_sub(1));
    let Some(before) = test(first, None) else { return Found::NoEnd(first) };
    let Some(after) = test(last, None) else { return Found::NoEnd(last) };
    let changed: BTreeSet<String> = before
        .iter()
        .filter(|(check, was)| after.get(*check).is_some_and(|is| is != *was))
        .map(|(check, _)| check.clone())
        .collect();
    let mut turns = BTreeMap::new();
    for check in &changed {
        let mut between = Between { last: first, first: last };
        while let Some((index, verdict)) = middle(between, |index| test(index, Some(&changed))?.get(check).copied()) {
            // Whatever is not as it was at the beginning is behind the change.
            match Some(&verdict) == before.get(check) {
                true => between.last = index,
                false => between.first = index,
            }
        }
        turns.insert(check.clone(), between);
    }
    Found::Turns(turns)
}

/// The one nearest to the middle that can be tested, and what came of it.
fn middle(between: Between, mut test: impl FnMut(usize) -> Option<Verdict>) -> Option<(usize, Verdict)> {
    let middle = between.last.midpoint(between.first);
    let mut inner: Vec<usize> = (between.last + 1..between.first).collect();
    inner.sort_by_key(|index| index.abs_diff(middle));
    inner.into_iter().find_map(|index| Some((index, test(index)?)))
}

#[cfg(test)]
mod tests {
    use Verdict::*;

    use super::*;

    /// Searches in a row of verdicts of one check, of which `None` cannot be tested; says also how many were asked.
    fn find(row: &[Option<Verdict>]) -> (Found, usize) {
        let mut asked = BTreeSet::new();
        let found = search(row.len(), |index, _| {
            asked.insert(index);
            row[index].map(|verdict| BTreeMap::from([("fsm::a".to_owned(), verdict)]))
        });
        (found, asked.len())
    }

    fn between(last: usize, first: usize) -> Found {
        Found::Turns(BTreeMap::from([("fsm::a".to_owned(), Between { last, first })]))
    }

    #[test]
    fn the_first_that_differs_is_found_wherever_it_is() {
        for count in 2..40 {
            for first in 1..count {
                let row: Vec<_> = (0..count).map(|index| Some(if index < first { Hang } else { Pass })).collect();
                let (found, asked) = find(&row);
                assert_eq!(found, between(first - 1, first));
                assert!(asked <= 3 + count.ilog2() as usize, "{asked} of {count} were asked");
            }
        }
    }

    #[test]
    fn what_cannot_be_tested_is_passed_over() {
        let row = [Some(Hang), None, Some(Hang), None, None, Some(Pass), Some(Pass)];
        assert_eq!(find(&row).0, between(2, 5));
        assert_eq!(find(&[None, Some(Pass)]).0, Found::NoEnd(0));
        assert_eq!(find(&[Some(Pass), None]).0, Found::NoEnd(1));
    }

    #[test]
    fn ends_that_agree_leave_nothing_to_search() {
        let (found, asked) = find(&[Some(Pass), Some(Fail), Some(Pass)]);
        assert_eq!((found, asked), (Found::Turns(BTreeMap::new()), 2));
    }
}
