//! Devices side by side: each check runs on all of them at the same time, so that a driver that mixes up what belongs to
//! one device with what belongs to another is seen. A check passes if it passes on each.

use std::thread;

use super::journal::LabReady;
use super::keeper::{ExecutorSpec, Keeper};
use super::verdict::Verdict;
use super::wire::Done;

/// A keeper for each device.
#[derive(Debug)]
pub struct Keepers {
    first: Kept,
    others: Vec<Kept>,
}

/// A device and its keeper.
#[derive(Debug)]
struct Kept {
    device: String,
    keeper: Keeper,
}

impl Keepers {
    /// Keepers for these devices, of which there must be one.
    ///
    /// # Errors
    /// That there is none, or why a keeper cannot be made.
    pub fn new(
        specs: Vec<ExecutorSpec>,
        make: impl Fn(ExecutorSpec) -> std::io::Result<Keeper>,
    ) -> std::io::Result<Keepers> {
        let mut kept = specs.into_iter().map(|spec| Ok(Kept { device: spec.device.clone(), keeper: make(spec)? }));
        let first = kept.next().ok_or_else(|| std::io::Error::other("no device was named"))??;
        Ok(Keepers { first, others: kept.collect::<std::io::Result<_>>()? })
    }

    /// Starts an executor for each device.
    ///
    /// # Errors
    /// Why one of them could not be opened.
    pub fn start(&mut self) -> Result<LabReady, String> {
        let mut ready = self.first.keeper.start()?;
        for other in &mut self.others {
            ready.beside.push(other.keeper.start()?.identity);
        }
        Ok(ready)
    }

    /// Ends the executors, so that the devices are closed.
    pub fn stop(&mut self) {
        self.first.keeper.stop();
        self.others.iter_mut().for_each(|other| other.keeper.stop());
    }

    /// Runs one check on all devices at the same time.
    pub fn run(&mut self, check: &str) -> Done {
        let Keepers { first, others } = self;
        if others.is_empty() {
            return first.keeper.run(check);
        }
        // What stands in the way is met again by the check, which says so.
        others.iter_mut().for_each(|kept| drop(kept.keeper.ensure_executor()));
        let results: Vec<(&str, Done)> = thread::scope(|scope| {
            let others: Vec<_> =
                others.iter_mut().map(|kept| (&*kept.device, scope.spawn(|| kept.keeper.run(check)))).collect();
            let own = (&*first.device, first.keeper.run(check));
            let joined = others.into_iter().map(|(device, thread)| (device, thread.join().unwrap_or_else(|_| died())));
            std::iter::once(own).chain(joined).collect()
        });
        merge(results)
    }
}

fn died() -> Done {
    Done::lost(Verdict::Blocked, "the keeper of this device panicked; please report it")
}

/// One result for all devices: that of the device with the worst news, what the others have against them, and only those
/// proofs that all of them gave.
fn merge(results: Vec<(&str, Done)>) -> Done {
    let rank = |done: &Done| Verdict::ALL.iter().position(|verdict| *verdict == done.outcome.verdict);
    let Some(worst) = (0..results.len()).min_by_key(|index| rank(&results[*index].1)) else {
        return died();
    };
    let mut results = results;
    let (device, mut done) = results.remove(worst);
    done.lost = done.lost.map(|why| format!("{why} ({device})"));
    for (other, theirs) in results {
        let outcome = &mut done.outcome;
        outcome.seconds = outcome.seconds.max(theirs.outcome.seconds);
        outcome.proven.retain(|requirement| theirs.outcome.proven.contains(requirement));
        let news = (&theirs.outcome.verdict, &theirs.outcome.message);
        if news != (&outcome.verdict, &outcome.message) || !theirs.outcome.broken.is_empty() {
            let verdict = theirs.outcome.verdict;
            let note = format!("this is {device}; on {other}: {verdict} {}", theirs.outcome.message);
            outcome.evidence.notes.push(note.trim_end().to_owned());
        }
        for broken in theirs.outcome.broken {
            if !outcome.broken.iter().any(|known| known.requirement == broken.requirement) {
                outcome.proven.retain(|requirement| *requirement != broken.requirement);
                outcome.broken.push(broken);
            }
        }
        done.lost = done.lost.or(theirs.lost.map(|why| format!("{why} ({other})")));
    }
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::outcome::Outcome;
    use crate::requirement::{fsm, health};

    fn done(verdict: Verdict, message: &str, proven: &[&str]) -> Done {
        let mut outcome = Outcome::without_judgement(verdict, message);
        outcome.proven = proven.iter().map(|id| (*id).to_owned()).collect();
        Done { outcome, lost: None }
    }

    #[test]
    fn what_all_devices_keep_passes_without_a_word() {
        let both = merge(vec![("a", done(Verdict::Pass, "", &["x", "y"])), ("b", done(Verdict::Pass, "", &["x"]))]);
        assert_eq!(both, done(Verdict::Pass, "", &["x"]));
    }

    #[test]
    fn the_worst_device_decides_and_is_named() {
        let mut bad = done(Verdict::Fail, "SET STOP: got EIO", &["x"]);
        bad.outcome.accuse(&fsm::ARC, "EIO".to_owned());
        bad.lost = Some("it is gone".to_owned());
        let mut warned = done(Verdict::Warn, "the kernel spoke", &["x"]);
        warned.outcome.accuse(&health::LOG, "WARNING".to_owned());
        let good = done(Verdict::Pass, "", &["x", fsm::ARC.id, health::LOG.id]);
        let merged = merge(vec![("a", good), ("b", bad), ("c", warned)]);
        assert_eq!(merged.outcome.verdict, Verdict::Fail);
        assert_eq!(merged.outcome.message, "SET STOP: got EIO");
        assert_eq!(merged.outcome.proven, ["x"]);
        let broken: Vec<_> = merged.outcome.broken.iter().map(|broken| broken.requirement.as_str()).collect();
        assert_eq!(broken, [fsm::ARC.id, health::LOG.id]);
        let notes = ["this is b; on a: pass", "this is b; on c: warn the kernel spoke"];
        assert_eq!(merged.outcome.evidence.notes, notes);
        assert_eq!(merged.lost.as_deref(), Some("it is gone (b)"));
    }
}
