//! Finished runs that can be had again: of a kernel that does not change, with this very program.
//!
//! They are kept beside the environment. Without it, or with a disk that is full, every run is made anew.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::doubt::is_finished;
use crate::harness::verdict::Verdict;
use crate::lab::environment;
use crate::lab::local;
use crate::report::{CheckRun, JOURNAL, Run};

/// After this long without a use a run goes away.
const KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// The name of the run that follows from all of this, and from the program itself.
pub fn key(parts: &[&str], number: u32) -> Option<String> {
    let mut hash = Sha256::new();
    hash.update(fs::read(local::this_program().ok()?).ok()?);
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    let digest = hash.finalize();
    let name: String = digest.iter().take(12).map(|byte| format!("{byte:02x}")).collect();
    Some(format!("{name}-{number}"))
}

/// Puts a finished run into this folder, if there is one, and reads it.
pub fn find(key: &str, into: &Path) -> Option<Run> {
    let kept = folder()?.join(key);
    let run = Run::read(&kept.join(JOURNAL)).ok().filter(is_whole)?;
    fs::create_dir_all(into).ok()?;
    copy_files(&kept, into).ok()?;
    Some(run)
}

/// Keeps a run for the next comparison, if it judged all that it set out to judge.
pub fn keep(key: &str, from: &Path) {
    let Some(folder) = folder() else { return };
    if !Run::read(&from.join(JOURNAL)).is_ok_and(|run| is_whole(&run)) {
        return;
    }
    forget_old(&folder);
    // What cannot be kept is run again; it appears whole or not at all.
    let _ = put(&folder, key, from);
}

/// Whether a run can stand for its kernel. A check that no requirement blocks was blocked by what happened to that one run:
/// a guest that was killed, a disk that was full. Kept, it would hide a regression for as long as the run is kept.
fn is_whole(run: &Run) -> bool {
    let is_an_accident = |check: &CheckRun| check.outcome.blocked_by.is_none();
    is_finished(run) && run.ready.is_some() && !run.with_verdict(Verdict::Blocked).any(is_an_accident)
}

fn folder() -> Option<PathBuf> {
    Some(environment::cache()?.join("runs"))
}

fn put(folder: &Path, key: &str, from: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let new = tempfile::Builder::new().prefix(".new").tempdir_in(folder)?;
    copy_files(from, new.path())?;
    let place = folder.join(key);
    if place.exists() {
        fs::remove_dir_all(&place)?;
    }
    fs::rename(new.keep(), place)
}

fn copy_files(from: &Path, into: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            fs::copy(entry.path(), into.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn forget_old(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok) {
        let age = entry.metadata().and_then(|data| data.modified()).ok().and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age > KEPT) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::outcome::Outcome;
    use crate::harness::verdict::{Exit, RunVerdict};
    use crate::report::sample::{self, finish, finished, journal, outcome, start};

    const A: &str = "fsm::a";
    const B: &str = "fsm::b";

    fn run(of_b: Option<Verdict>, ends: bool) -> Run {
        run_with(of_b.map(|verdict| outcome(verdict, "QEMU was killed")), ends)
    }

    fn run_with(of_b: Option<Outcome>, ends: bool) -> Run {
        let pass = [start(A), finish(A, outcome(Verdict::Pass, ""))];
        let of_b = of_b.into_iter().flat_map(|outcome| [start(B), finish(B, outcome)]);
        let end = ends.then(|| finished(RunVerdict::Conforms, Exit::Conforms));
        let events = [sample::began(&[A, B]), sample::ready()].into_iter().chain(pass).chain(of_b).chain(end);
        Run::of(&journal(events.collect())).unwrap()
    }

    #[test]
    fn only_a_run_that_judged_everything_is_kept() {
        assert!(is_whole(&run(Some(Verdict::Pass), true)));
        assert!(is_whole(&run(Some(Verdict::Hang), true)));
        assert!(is_whole(&run(Some(Verdict::Skip), true)));
        assert!(!is_whole(&run(Some(Verdict::Blocked), true)), "QEMU was killed under it");
        let by = crate::harness::check::Obstacle::Requirement(&crate::requirement::fsm::ARC);
        assert!(is_whole(&run_with(Some(Outcome::blocked(by, "EIO")), true)), "the kernel does so each time");
        assert!(!is_whole(&run(None, true)), "it was stopped");
        assert!(!is_whole(&run(Some(Verdict::Pass), false)), "it was cut off");
    }
}
