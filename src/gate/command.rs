//! `vfio-conform gate`: the command line of the comparison.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use super::compare::{Change, Kind, compare};
use super::doubt::{WhichSide, doubts, is_finished};
use super::patch::Patch;
use super::reference::{self, Reference};
use super::report::{Blocked, Extent, FORMAT, GateReport, Phases, Side, Unjudged, judge};
use super::selection::Selection;
use super::trial::{self, Obstacle, Plan, Subject, Tested, make_folder};
use super::uapi::{UapiChanges, UapiSide};
use super::{JSON, MARKDOWN, patch, text};
use crate::harness::coverage::VerdictLevel;
use crate::harness::folder_lock::FolderLock;
use crate::harness::supervisor::{new_name, reports_folder};
use crate::harness::verdict::{Exit, Verdict};
use crate::lab::Progress;
use crate::lab::environment::CoreOptions;
use crate::lab::qemu::{Built, QemuOptions};
use crate::report::console::terminal_width;
use crate::report::{is_incident, write_whole};
use crate::suites;

/// The examples of `gate --help`, and what its exit codes mean there.
pub const EXAMPLES: &str = "\
A REF is the folder of a finished run, a kernel (7.3, 6.12.95, debug-7.3, a bzImage), a kernel tree that was built,
or TREE@REVISION, whose drivers/vfio is built as modules: for the tree's own kernel if it was built with CONFIG_VFIO=m, else
for the environment's kernel of that series. With --patch both sides have a VFIO core built from source. Nothing is written
to a tree.

Examples:
  vfio-conform gate --base 6.12.95 --head 6.12.107         what a stable update changes
  vfio-conform gate --base 7.3 --patch fix.patch           what a patch to drivers/vfio changes
  b4 am -o- ID | vfio-conform gate --base 7.3 --patch -    a series from a mailing list
  vfio-conform gate --base reports/out/a --head reports/out/b
  vfio-conform gate --base ~/linux@v7.3 --head ~/linux@HEAD -- fsm::
  vfio-conform gate --base ~/linux --patch fix.patch       the same on a kernel that you have built
  git bisect run vfio-conform gate --base ~/good-run --head ~/linux

Exit codes: 0 no regression, 1 regression, 125 cannot tell (a patch that does not apply or build, a kernel that does not
boot, a side that did not finish, a run below --require, a check that is judged on one side alone and may hide a
regression, a signal that asked to stop), 2 wrong usage.";

/// What is compared, and how.
#[derive(Debug, Args)]
pub struct GateCommand {
    /// What was there before
    #[arg(long, value_name = "REF")]
    base: Reference,
    /// What is judged [default with --patch: the base]
    #[arg(long, value_name = "REF", required_unless_present = "patch")]
    head: Option<Reference>,
    /// How many runs of each side; checks whose runs disagree are flaky
    #[arg(long, value_name = "NUMBER", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    repeat: u32,
    /// Run both sides, though they have finished runs; a patch is always run
    #[arg(long)]
    fresh: bool,
    #[command(flatten)]
    guest: QemuOptions,
    /// Exit with 125 if a side reaches a lower level: the profile lacks what this one needs
    #[arg(long, value_name = "LEVEL")]
    require: Option<VerdictLevel>,
    /// Folder of the reports and of all runs [default: a new one in reports/out]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Options of libtest, to run fewer checks: a filter, --exact, --skip
    #[arg(last = true, value_name = "LIBTEST OPTIONS")]
    libtest: Vec<String>,
}

/// The more checks differ, the less likely it is an accident; and the longer it takes to ask again.
const CONFIRMED_AT_MOST: usize = 24;

/// Where the sources of revisions are put.
const BASE_SOURCE: &str = "base-source";
const HEAD_SOURCE: &str = "head-source";

type Failure = Box<dyn std::error::Error>;

impl GateCommand {
    /// Does it.
    ///
    /// # Errors
    /// What is wrong with what was asked.
    pub fn run(self) -> Result<Exit, Failure> {
        self.guest.check()?;
        let selection = Selection::parse(&self.libtest)?;
        let began = Instant::now();
        let (folder, _lock) = folder_of(self.out.as_deref(), "gate")?;
        let progress = Progress::new();
        let mut report = self.compare(&folder, &selection, &mut |step| progress.step(step))?;
        progress.clear();
        report.seconds = began.elapsed().as_secs_f64();
        write(&folder, &report)?;
        anstream::print!("{}", text::to_text(&report, &folder.display().to_string(), terminal_width()));
        Ok(report.outcome.exit())
    }

    fn compare(&self, folder: &Path, selection: &Selection, tell: &mut dyn FnMut(&str)) -> Result<GateReport, Failure> {
        let patches = patch::keep(&self.guest.core.patch, folder)?;
        let report = self.compare_with(&patches, folder, selection, tell)?;
        let uapi = match report.obstacle.as_ref().map(|blocked| &blocked.obstacle) {
            None | Some(Obstacle::DoesNotBoot(_) | Obstacle::NoDevice(_)) => self.uapi(&patches, folder, tell),
            // What was not built has no headers to compare.
            Some(_) => UapiChanges::default(),
        };
        Ok(GateReport { patches, uapi, ..report })
    }

    /// What the two sides say otherwise of the protocol; the sides were built.
    fn uapi(&self, patches: &[Patch], folder: &Path, tell: &mut dyn FnMut(&str)) -> UapiChanges {
        let (base, head) = (folder.join(BASE_SOURCE), folder.join(HEAD_SOURCE));
        let base = UapiSide { reference: &self.base, patches: &[], source: &base };
        let patches: Vec<PathBuf> = patches.iter().map(|patch| patch.path.clone()).collect();
        let reference = self.head.as_ref().unwrap_or(&self.base);
        UapiChanges::between(base, UapiSide { reference, patches: &patches, source: &head }, tell)
    }

    fn compare_with(
        &self,
        patches: &[Patch],
        folder: &Path,
        selection: &Selection,
        tell: &mut dyn FnMut(&str),
    ) -> Result<GateReport, Failure> {
        let head = self.head.as_ref().unwrap_or(&self.base);
        // What the patch changes is to be all that differs.
        let core = CoreOptions { core: !patches.is_empty(), ..CoreOptions::default() };
        let patch = patches.iter().map(|patch| patch.path.clone()).collect();
        let base = side(&self.base, &self.guest, &core, &folder.join(BASE_SOURCE))?;
        let head = side(head, &self.guest, &CoreOptions { patch, ..core }, &folder.join(HEAD_SOURCE))?;
        let plan = Plan { libtest: &self.libtest, selection, repeat: self.repeat, reuse: !self.fresh };
        let names = (base.name.clone(), head.name.clone());
        let mut phases = Phases::default();
        let blocked = |base: Option<&Tested>, side, obstacle| blocked(names.clone(), base, Blocked { side, obstacle });
        // Before any guest is booted, since a patch that cannot be tested is to be told of at once.
        let built = timed(&mut phases.build, || {
            let base = base.build(tell).map_err(|obstacle| (WhichSide::Base, obstacle))?;
            Ok((base, head.build(tell).map_err(|obstacle| (WhichSide::Head, obstacle))?))
        });
        let (base, head) = match built {
            Ok(sides) => sides,
            Err((side, obstacle)) => return Ok(GateReport { phases, ..blocked(None, side, obstacle) }),
        };
        let reaching = |tested: Tested| tested.reaching(self.require);
        let base_tested =
            match timed(&mut phases.base, || base.test(&plan, &folder.join("base"), tell).and_then(reaching)) {
                Ok(tested) => tested,
                Err(obstacle) => return Ok(GateReport { phases, ..blocked(None, WhichSide::Base, obstacle) }),
            };
        let head_tested =
            match timed(&mut phases.head, || head.test(&plan, &folder.join("head"), tell).and_then(reaching)) {
                Ok(tested) => tested,
                Err(obstacle) => {
                    return Ok(GateReport { phases, ..blocked(Some(&base_tested), WhichSide::Head, obstacle) });
                }
            };
        let mut changes = compare(&base_tested.runs, &head_tested.runs);
        if let Ready::Built(subject, _) = &head
            && self.repeat == 1
        {
            timed(&mut phases.again, || confirm(&mut changes, subject, &folder.join("head-again"), tell));
        }
        Ok(GateReport { phases, ..judged(names, &base_tested, &head_tested, changes) })
    }
}

/// Does something, and takes down how long that was.
fn timed<T>(seconds: &mut f64, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = work();
    *seconds = began.elapsed().as_secs_f64();
    done
}

/// One side: finished, or to be tested.
struct Sided {
    name: String,
    what: What,
}

enum What {
    Finished(PathBuf),
    Boot(Box<Subject>),
}

/// A side for which nothing has to be built any more.
enum Ready {
    Finished(PathBuf),
    Built(Box<Subject>, Built),
}

impl Sided {
    fn build(self, tell: &mut dyn FnMut(&str)) -> Result<Ready, Obstacle> {
        match self.what {
            What::Finished(path) => Ok(Ready::Finished(path)),
            What::Boot(subject) => trial::build(&subject, tell).map(|built| Ready::Built(subject, built)),
        }
    }
}

impl Ready {
    fn test(&self, plan: &Plan<'_>, folder: &Path, tell: &mut dyn FnMut(&str)) -> Result<Tested, Obstacle> {
        match self {
            Ready::Finished(path) => trial::read(path, plan.selection),
            Ready::Built(subject, built) => trial::test(subject, built, plan, folder, tell),
        }
    }
}

fn side(reference: &Reference, guest: &QemuOptions, core: &CoreOptions, source: &Path) -> Result<Sided, Failure> {
    let patched = match core.patch.len() {
        0 => String::new(),
        1 => " with the patch".to_owned(),
        count => format!(" with {count} patches"),
    };
    let name = format!("{reference}{patched}");
    if let Reference::Run(path) = reference {
        return match core.patch.is_empty() && !core.core {
            true => Ok(Sided { name, what: What::Finished(path.clone()) }),
            false => Err(format!(
                "failed to patch {}: it is a finished run\n    give the kernel that the patch is for",
                path.display()
            )
            .into()),
        };
    }
    let subject = subject(reference, name.clone(), guest, core, source)?;
    Ok(Sided { name, what: What::Boot(Box::new(subject)) })
}

/// What is booted for a reference; the VFIO core of a revision is put into `source`.
///
/// # Errors
/// Why it cannot be had.
pub fn subject(
    reference: &Reference,
    name: String,
    guest: &QemuOptions,
    core: &CoreOptions,
    source: &Path,
) -> Result<Subject, Failure> {
    let mut guest = QemuOptions { core: core.clone(), ..guest.clone() };
    let mut is_lasting = core.patch.is_empty();
    match reference {
        Reference::Run(path) => return Err(format!("failed to boot {}: it is a finished run", path.display()).into()),
        Reference::Kernel(spec) if Path::new(spec).exists() => {
            guest.kernel.clone_from(spec);
            is_lasting = false;
        }
        Reference::Kernel(spec) => guest.kernel.clone_from(spec),
        Reference::Tree(path) => guest.kernel = path.display().to_string(),
        Reference::Revision { tree, revision } => {
            let commit = reference::commit(tree, revision)?;
            reference::extract(tree, &commit, source)?;
            guest.kernel = reference::kernel_of(tree, &commit)?;
            guest.core.core_source = Some(fs::canonicalize(source)?);
        }
    }
    Ok(Subject { name, guest, is_lasting })
}

/// Asks the head again about what seems to be a regression: an accident of a busy machine does not happen twice.
fn confirm(changes: &mut [Change], subject: &Subject, out: &Path, tell: &mut dyn FnMut(&str)) {
    let suspects: Vec<&str> = of_kind(changes, Kind::Regression).map(|change| change.check.as_str()).collect();
    if suspects.is_empty() || suspects.len() > CONFIRMED_AT_MOST {
        return;
    }
    tell(&format!("{}: asking again about {} that differ", subject.name, suspects.len()));
    let skip = suites::all().into_iter().map(|check| check.name().to_owned());
    // What goes wrong outside checks may need any of them.
    let needs_all = suspects.iter().any(|name| is_incident(name));
    let skip = skip
        .filter(|check| !needs_all && !suspects.contains(&check.as_str()))
        .flat_map(|check| ["--skip".to_owned(), check]);
    let libtest: Vec<String> = std::iter::once("--exact".to_owned()).chain(skip).collect();
    let again = match trial::run_once(subject, &libtest, out, tell) {
        Ok(again) => again,
        // Nothing was asked again.
        Err(Obstacle::Stopped(_)) => {
            let suspects = changes.iter_mut().filter(|change| change.kind == Kind::Regression);
            suspects.for_each(|change| change.kind = Kind::Unclear);
            return;
        }
        // A guest that does not even come up again acquits nobody.
        Err(_) => return,
    };
    for change in changes.iter_mut().filter(|change| change.kind == Kind::Regression) {
        // A run that did not reach its end has not shown that nothing goes wrong outside checks.
        if is_incident(&change.check) && !is_finished(&again) {
            continue;
        }
        let Some(verdict) = again.verdict_of(&change.check) else { continue };
        change.is.push(verdict);
        // A loss shows as a skip, in both runs.
        if verdict == Verdict::Pass {
            change.kind = Kind::Flaky;
        }
    }
}

fn of_kind(changes: &[Change], kind: Kind) -> impl Iterator<Item = &Change> {
    changes.iter().filter(move |change| change.kind == kind)
}

fn blocked(names: (String, String), base: Option<&Tested>, blocked: Blocked) -> GateReport {
    GateReport {
        format: FORMAT,
        outcome: blocked.outcome(),
        base: Side::new(names.0, base),
        head: Side::new(names.1, None),
        patches: Vec::new(),
        uapi: UapiChanges::default(),
        obstacle: Some(blocked),
        changes: Vec::new(),
        unchanged: 0,
        extent: Extent::default(),
        unjudged: Vec::new(),
        doubts: Vec::new(),
        seconds: 0.0,
        phases: Phases::default(),
    }
}

fn judged(names: (String, String), base: &Tested, head: &Tested, mut changes: Vec<Change>) -> GateReport {
    let doubts = doubts(&base.runs, &head.runs, &changes);
    let outcome = judge(&changes, &doubts);
    let (extent, unjudged) = (Extent::of(&changes), Unjudged::of(&changes));
    let unchanged = of_kind(&changes, Kind::Unchanged).count();
    changes.retain(|change| !matches!(change.kind, Kind::Unchanged | Kind::Unjudged));
    changes.sort_by_key(|change| change.kind);
    GateReport {
        format: FORMAT,
        outcome,
        base: Side::new(names.0, Some(base)),
        head: Side::new(names.1, Some(head)),
        patches: Vec::new(),
        uapi: UapiChanges::default(),
        obstacle: None,
        changes,
        unchanged,
        extent,
        unjudged,
        doubts,
        seconds: 0.0,
        phases: Phases::default(),
    }
}

/// The folder that was asked for, or a new one among the reports, with the lock on it.
///
/// # Errors
/// Why it cannot be had.
pub fn folder_of(out: Option<&Path>, what: &str) -> Result<(PathBuf, FolderLock), Failure> {
    let folder = out.map_or_else(|| reports_folder().join(format!("{what}-{}", new_name())), Path::to_owned);
    let lock = make_folder(&folder)?;
    Ok((folder, lock))
}

fn write(folder: &Path, report: &GateReport) -> Result<(), Failure> {
    let failed = |error: std::io::Error| format!("failed to write {}: {error}", folder.display());
    let mut json = serde_json::to_vec_pretty(report)?;
    json.push(b'\n');
    write_whole(folder, JSON, &json).map_err(failed)?;
    write_whole(folder, MARKDOWN, text::to_markdown(report).as_bytes()).map_err(failed)?;
    Ok(())
}
