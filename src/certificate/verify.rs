//! Verifies a bundle: makes everything again from the journals, and compares.
//!
//! Whoever changes a bundle can also make new checksums, so these are only the first look. What counts is that the
//! journals are such as vfio-conform writes, that they have every check of the suite in every run, and that all else in
//! the bundle follows from them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use time::format_description::well_known::Rfc3339;
use time::{Date, Duration, OffsetDateTime};

use super::audit::audit;
use super::document::{Certificate, Environment, FORMAT, SuiteVersion, WalkLength};
use super::files::{self, CERTIFICATE, CONFIGURATION, CONSOLE, ENVIRONMENT, KERNEL_LOG, PACKED_CONFIGURATION};
use super::files::{Listing, PROFILE, SIGNATURES, STATEMENT, SUMS, WAIVERS, WALK_LIST};
use super::judge::{Part, PartName, judge};
use super::refusal::Refusal;
use super::statement::{Facts, statement};
use super::waiver::Waivers;
use crate::harness::coverage::VerdictLevel;
use crate::harness::journal::PlannedCheck;
use crate::harness::supervisor::plan_of;
use crate::harness::verdict::Verdict;
use crate::report::{self, HTML, JOURNAL, JSON, JUNIT, MARKDOWN, Run};
use crate::requirement::walk::ALLOWED;
use crate::suites;

/// How far the wall clock may be set back between two runs of a version that recorded no other clock.
const CLOCK_STEP: Duration = Duration::seconds(2);

/// Why there is nothing to verify.
#[derive(Debug, thiserror::Error)]
pub enum NoBundle {
    /// The folder cannot be read.
    #[error("failed to verify {}: {why}\n    name the folder that `vfio-conform certify --out` made", .path.display())]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// What the system answered.
        why: io::Error,
    },
    /// The folder is that of a run.
    #[error(
        "failed to verify {}: it is the folder of one run, not a certificate\n    \
         `vfio-conform report` reads it; `vfio-conform certify` makes certificates", .0.display()
    )]
    IsRun(PathBuf),
    /// The folder is something else.
    #[error(
        "failed to verify {}: it holds no certificate.json, so it is no certificate, or one that was never finished\n    \
         name the folder that `vfio-conform certify --out` made", .0.display()
    )]
    IsNone(PathBuf),
}

/// What verifying came to.
#[derive(Debug, Default)]
pub struct Verification {
    /// Why the bundle is refused; it is accepted if there is no reason.
    pub refusals: Vec<Refusal>,
    /// What the certificate says, as far as it could be read.
    pub certificate: Option<Certificate>,
    /// Where the runs were, as far as it could be read.
    pub environment: Option<Environment>,
    /// The signatures that lie beside the checksums, which are for other tools to judge.
    pub signatures: Vec<String>,
}

/// Verifies the bundle in a folder as of a day, on which its waivers must still hold.
///
/// # Errors
/// That there is no bundle.
pub fn verify(folder: &Path, day: Date) -> Result<Verification, NoBundle> {
    let listing = files::list(folder).map_err(|why| NoBundle::Unreadable { path: folder.to_owned(), why })?;
    if !listing.files.contains(CERTIFICATE) {
        return Err(match listing.files.contains(JOURNAL) {
            true => NoBundle::IsRun(folder.to_owned()),
            false => NoBundle::IsNone(folder.to_owned()),
        });
    }
    let mut verifier = Verifier { folder, day, refusals: Vec::new(), known: BTreeSet::new() };
    verifier.sums(&listing);
    let certificate = verifier.document::<Certificate>(CERTIFICATE);
    let environment = verifier.document::<Environment>(ENVIRONMENT);
    if let (Some(certificate), Some(environment)) = (&certificate, &environment)
        && verifier.knows(certificate)
    {
        verifier.contents(certificate, environment, &listing);
    }
    // Two lists may miss the same file.
    let mut said = BTreeSet::new();
    verifier.refusals.retain(|refusal| said.insert(refusal.to_string()));
    let signatures = SIGNATURES.iter().filter(|name| listing.files.contains(**name));
    Ok(Verification {
        refusals: verifier.refusals,
        certificate,
        environment,
        signatures: signatures.map(|name| (*name).to_owned()).collect(),
    })
}

struct Verifier<'a> {
    folder: &'a Path,
    day: Date,
    refusals: Vec<Refusal>,
    /// The reports that the journals make, by path.
    known: BTreeSet<String>,
}

impl Verifier<'_> {
    fn refuse(&mut self, refusal: Refusal) {
        self.refusals.push(refusal);
    }

    /// The files against their checksums.
    fn sums(&mut self, listing: &Listing) {
        self.refusals.extend(listing.strange.iter().cloned().map(Refusal::Strange));
        let Ok(text) = fs::read_to_string(self.folder.join(SUMS)) else {
            return self.refuse(Refusal::NoSums);
        };
        let sums = match files::parse_sums(&text) {
            Ok(sums) => sums,
            Err(line) => return self.refuse(Refusal::Sums(line)),
        };
        for (file, sum) in &sums {
            match fs::read(self.folder.join(file)) {
                _ if listing.strange.contains(file) => {}
                Ok(bytes) if files::digest(&bytes) == *sum => {}
                Ok(_) => self.refuse(Refusal::Altered(file.clone())),
                Err(_) => self.refuse(Refusal::Missing(file.clone(), SUMS)),
            }
        }
        for file in listing.files.iter().filter(|file| !sums.contains_key(*file) && !is_beside(file)) {
            self.refuse(Refusal::Unlisted(file.clone(), SUMS));
        }
    }

    /// A document of the bundle, if it can be understood.
    fn document<T: DeserializeOwned>(&mut self, name: &'static str) -> Option<T> {
        let read = fs::read(self.folder.join(name)).map_err(|error| error.to_string());
        match read.and_then(|bytes| serde_json::from_slice(&bytes).map_err(|error| error.to_string())) {
            Ok(document) => Some(document),
            Err(why) => {
                self.refuse(Refusal::Unreadable(name, why));
                None
            }
        }
    }

    /// Whether we know the form of the bundle and the suite that it is of. Nothing else can be said where we do not.
    fn knows(&mut self, certificate: &Certificate) -> bool {
        let ours = SuiteVersion::current();
        let refusal = match certificate {
            Certificate { format, .. } if *format != FORMAT => Refusal::Newer(*format),
            Certificate { suite, .. } if *suite != ours => Refusal::UnknownSuite(suite.to_string(), ours.to_string()),
            Certificate { repetitions: 0, .. } => Refusal::NoRuns,
            _ => return true,
        };
        self.refuse(refusal);
        false
    }

    fn contents(&mut self, certificate: &Certificate, environment: &Environment, listing: &Listing) {
        let parts: Vec<Part> =
            PartName::all(certificate.repetitions).filter_map(|name| self.part(name, certificate)).collect();
        self.list(certificate, listing);
        self.follow(&parts);
        for part in &parts {
            self.agree(part, certificate, environment, &parts[0]);
        }
        let waivers = self.waivers(certificate, &parts);
        if let Some(waivers) = waivers.filter(|_| parts.len() == certificate.repetitions as usize + 1) {
            self.conclude(certificate, environment, &parts, &waivers);
        }
    }

    /// The files against what the certificate lists, and against what certify writes at all.
    fn list(&mut self, certificate: &Certificate, listing: &Listing) {
        let listed: BTreeSet<&String> = certificate.files.iter().collect();
        let there: BTreeSet<&String> = listing.files.iter().filter(|file| !is_beside(file)).collect();
        for file in listed.difference(&there) {
            self.refuse(Refusal::Missing((*file).clone(), CERTIFICATE));
        }
        for file in there.difference(&listed) {
            self.refuse(Refusal::Unlisted((*file).clone(), CERTIFICATE));
        }
        self.known.extend(known_files(certificate.repetitions));
        for file in listed.iter().filter(|file| !self.known.contains(**file)) {
            self.refusals.push(Refusal::Foreign((*file).clone()));
        }
    }

    /// One run: its journal, its plan and its reports; `None` if its journal is not to be trusted.
    fn part(&mut self, name: PartName, certificate: &Certificate) -> Option<Part> {
        let path = format!("{}/{JOURNAL}", name.folder());
        let Ok(bytes) = fs::read(self.folder.join(&path)) else {
            self.refuse(Refusal::Missing(path, CERTIFICATE));
            return None;
        };
        let run = match Run::of(&bytes) {
            Ok(run) => run,
            Err(fault) => {
                self.refuse(Refusal::Journal(name, fault));
                return None;
            }
        };
        let plan = match name {
            PartName::Suite(_) => plan_of(&suites::all()),
            PartName::Walk => {
                let check = format!("walk::seed_{}", certificate.walk.seed);
                vec![PlannedCheck { name: check, requirements: vec![ALLOWED.id.to_owned()] }]
            }
        };
        let mut flaws: Vec<Refusal> = against_plan(name, &run.began.planned, &plan).into_iter().collect();
        flaws.extend(audit(name, &bytes, &run));
        if name == PartName::Walk {
            flaws.extend(against_walk(&run, certificate));
        }
        if !flaws.is_empty() {
            // What follows from a journal that cannot be trusted says nothing more.
            self.refusals.append(&mut flaws);
            return None;
        }
        self.reports(name, &run);
        Some(Part { name, run })
    }

    /// Makes the reports of a run again, and compares.
    fn reports(&mut self, name: PartName, run: &Run) {
        let folder = self.folder.join(name.folder());
        let made = match report::make_all(run) {
            Ok(made) => made,
            Err(error) => return self.refuse(Refusal::NoReport(name, error.to_string())),
        };
        for (file, bytes) in made {
            let path = format!("{}/{file}", name.folder());
            self.known.insert(path.clone());
            match fs::read(folder.join(file)) {
                Ok(there) if there == bytes => {}
                Ok(_) => self.refuse(Refusal::Report(path)),
                Err(_) => self.refuse(Refusal::Missing(path, CERTIFICATE)),
            }
        }
    }

    /// That no run is a copy of another, and that each begins after the one before it has ended.
    fn follow(&mut self, parts: &[Part]) {
        for (index, part) in parts.iter().enumerate() {
            if let Some(earlier) = parts[..index].iter().find(|earlier| is_copy(&earlier.run, &part.run)) {
                self.refuse(Refusal::Copied(part.name, earlier.name));
                continue;
            }
            if let Some(day) = day(&part.run).filter(|day| *day > self.day.saturating_add(Duration::DAY)) {
                self.refuse(Refusal::Future(part.name, day));
            }
            let before = index.checked_sub(1).and_then(|before| parts.get(before));
            self.refusals.extend(before.and_then(|before| disorder(before, part)));
        }
    }

    /// That a run is of what the rest of the bundle speaks of.
    fn agree(&mut self, part: &Part, certificate: &Certificate, environment: &Environment, first: &Part) {
        let (began, name) = (&part.run.began, part.name);
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
        let level = |level: Option<VerdictLevel>| level.map_or_else(|| "none".to_owned(), |level| level.to_string());
        let required = certificate.require.filter(|_| name != PartName::Walk);
        let mut pairs = vec![
            ("run", began.run.clone(), name.run()),
            ("version of vfio-conform", began.tool.clone(), certificate.suite.version.clone()),
            ("device", began.device.clone(), certificate.device.clone()),
            ("strictness", began.strict.to_string(), certificate.strict.to_string()),
            ("required level", level(began.require), level(required)),
            ("lab", began.lab.clone(), first.run.began.lab.clone()),
            ("target", text(&began.target), text(&first.run.began.target)),
            ("kernel asked for", text(&began.kernel), text(&first.run.began.kernel)),
            ("program", environment.tool.version.clone(), certificate.suite.version.clone()),
        ];
        let (Some(ready), Some(first)) = (&part.run.ready, &first.run.ready) else {
            return self.refuse(Refusal::NeverReady(name));
        };
        let set = |ready: &crate::harness::journal::LabReady| {
            ready.capabilities.map_or_else(|| "none".to_owned(), |set| set.to_string())
        };
        let identity = |identity: &crate::device::Identity| {
            let version = identity.driver_version.as_deref().unwrap_or("none");
            let id = identity.pci_id.as_deref().unwrap_or("none");
            format!("{} via {}, driver {} {version}, PCI id {id}", identity.name, identity.via, identity.driver)
        };
        pairs.push(("kernel", ready.kernel.clone(), environment.kernel.release.clone()));
        pairs.push(("capability set", set(ready), set(first)));
        pairs.push(("device", identity(&ready.identity), identity(&first.identity)));
        if let Some(hardware) = &environment.hardware {
            let id = hardware.pci.as_ref().map(|pci| pci.id.clone());
            pairs.push(("PCI id", text(&ready.identity.pci_id), text(&id)));
            let version = hardware.modules.first().and_then(driver_version);
            pairs.push(("driver module", text(&ready.identity.driver_version), text(&version)));
        }
        for (what, found, expected) in pairs.into_iter().filter(|(_, found, expected)| found != expected) {
            self.refuse(Refusal::Other { part: name, what, found, expected });
        }
    }

    /// The waivers, none of which may have expired; `None` if they cannot be understood.
    fn waivers(&mut self, certificate: &Certificate, parts: &[Part]) -> Option<Waivers> {
        if !certificate.files.iter().any(|file| file == WAIVERS) {
            return Some(Waivers::default());
        }
        let read = fs::read_to_string(self.folder.join(WAIVERS)).map_err(|error| error.to_string());
        let waivers = match read.and_then(|text| Waivers::parse(&text).map_err(|complaint| complaint.in_text(&text))) {
            Ok(waivers) => waivers,
            Err(why) => {
                self.refuse(Refusal::Unreadable(WAIVERS, why));
                return None;
            }
        };
        if let Some(waiver) = waivers.expired(self.day) {
            self.refuse(Refusal::Expired(waiver.requirement().to_owned(), waiver.expires()));
        }
        let dated = parts.iter().filter_map(|part| Some((part.name, day(&part.run)?)));
        let then = dated.filter_map(|(name, day)| Some((name, waivers.expired(day)?))).next();
        if let Some((name, waiver)) = then {
            self.refuse(Refusal::ExpiredThen(waiver.requirement().to_owned(), waiver.expires(), name));
        }
        Some(waivers)
    }

    /// The verdict and the statement, made again.
    fn conclude(&mut self, certificate: &Certificate, environment: &Environment, parts: &[Part], waivers: &Waivers) {
        let waivers = &waivers.all;
        let judgement = judge(parts, waivers, environment);
        let judged = Certificate {
            verdict: judgement.verdict,
            exit: judgement.exit,
            level: judgement.coverage.and_then(|coverage| coverage.level),
            ..certificate.clone()
        };
        if judged != *certificate {
            let tell =
                |certificate: &Certificate| format!("{} (exit code {})", certificate.told(), certificate.exit as u8);
            self.refuse(Refusal::Verdict { written: tell(certificate), judged: tell(&judged) });
        }
        let facts = Facts { certificate, environment, parts, waivers, judgement: &judgement };
        let (made, there) = (statement(&facts), fs::read(self.folder.join(STATEMENT)).unwrap_or_default());
        if made.as_bytes() != there {
            let there = String::from_utf8_lossy(&there);
            let same = made.lines().zip(there.lines()).take_while(|(made, there)| made == there).count();
            self.refuse(Refusal::Statement(same + 1));
        }
    }
}

/// What lies beside the files that have checksums.
fn is_beside(file: &str) -> bool {
    file == SUMS || SIGNATURES.contains(&file)
}

/// `version` and `srcversion` as [`crate::device::Identity`] has them.
fn driver_version(module: &crate::device::Module) -> Option<String> {
    let parts: Vec<&str> = [&module.version, &module.srcversion].into_iter().flatten().map(String::as_str).collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

/// Every file that a bundle may have beside reports.
fn known_files(repetitions: u32) -> BTreeSet<String> {
    let single =
        [CERTIFICATE, ENVIRONMENT, STATEMENT, WAIVERS, PROFILE, KERNEL_LOG, CONFIGURATION, PACKED_CONFIGURATION];
    let mut known: BTreeSet<String> = single.map(str::to_owned).into();
    for part in PartName::all(repetitions) {
        known.extend(
            [JOURNAL, JSON, HTML, MARKDOWN, JUNIT, CONSOLE, WALK_LIST].map(|name| format!("{}/{name}", part.folder())),
        );
    }
    known
}

/// The first thing that tells a plan from that of the suite.
fn against_plan(part: PartName, planned: &[PlannedCheck], suite: &[PlannedCheck]) -> Option<Refusal> {
    if let Some(missing) = suite.iter().find(|check| planned.iter().all(|planned| planned.name != check.name)) {
        return Some(Refusal::PlanLacks(part, missing.name.clone()));
    }
    if let Some(alien) = planned.iter().find(|check| !suite.contains(check)) {
        return Some(Refusal::PlanHas(part, alien.name.clone()));
    }
    let displaced = planned.iter().zip(suite).find(|(planned, check)| planned != check)?.0;
    Some(Refusal::PlanOrder(part, displaced.name.clone()))
}

/// A walk that found nothing went as far as it was asked to, and says so.
fn against_walk(run: &Run, certificate: &Certificate) -> Option<Refusal> {
    let outcome = &run.checks.first().filter(|check| check.outcome.verdict == Verdict::Pass)?.outcome;
    let note = outcome.evidence.notes.first().cloned().unwrap_or_default();
    let with_seed = format!(" steps with seed {} in ", certificate.walk.seed);
    let taken: u64 = note.split_once(&with_seed).and_then(|(taken, _)| taken.parse().ok()).unwrap_or_default();
    let is_whole = match certificate.walk.length {
        WalkLength::Steps(steps) => taken >= steps,
        WalkLength::Seconds(seconds) => taken > 0 && outcome.seconds >= seconds as f64,
    };
    (!is_whole).then(|| Refusal::Walk { asked: certificate.walk.to_string(), found: note })
}

/// The day on which a run began, by the wall clock; validity of waivers is in days.
pub fn day(run: &Run) -> Option<Date> {
    began(run).map(OffsetDateTime::date)
}

fn began(run: &Run) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(&run.began.started, &Rfc3339).ok()
}

/// Why a run does not begin after the end of the one before it, in the same boot. The wall clock may be set between them,
/// so it counts only where neither journal has another.
fn disorder(before: &Part, part: &Part) -> Option<Refusal> {
    let lasted = before.run.timeline.last_event.clamp(0.0, 1e9);
    let follows = match (&before.run.began.clock, &part.run.began.clock) {
        (Some(first), Some(then)) => match then.since(first) {
            Some(seconds) => seconds >= lasted,
            None => return Some(Refusal::OtherBoot(part.name, before.name)),
        },
        (Some(_), None) => return Some(Refusal::NoClock(part.name, before.name)),
        (None, Some(_)) => return Some(Refusal::NoClock(before.name, part.name)),
        (None, None) => {
            let (first, then) = (began(&before.run)?, began(&part.run)?);
            first + Duration::seconds_f64(lasted) <= then + CLOCK_STEP
        }
    };
    (!follows).then_some(Refusal::Overlap(part.name, before.name))
}

/// Whether two runs were one: no two begin at the same moment, or take the same times to the nanosecond.
fn is_copy(one: &Run, other: &Run) -> bool {
    let began_together = match (&one.began.clock, &other.began.clock) {
        (Some(one), Some(other)) => one == other,
        _ => one.began.started == other.began.started,
    };
    began_together
        || (one.checks.len() == other.checks.len() && one.timeline == other.timeline && one.checks == other.checks)
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::super::document::{CertifiedVerdict, WalkAsked};
    use super::*;
    use crate::harness::clock::BootMoment;
    use crate::harness::outcome::Outcome;
    use crate::harness::verdict::Exit;
    use crate::report::sample::{self, finish, journal, ready, start};

    fn verifier(folder: &Path, day: Date) -> Verifier<'_> {
        Verifier { folder, day, refusals: Vec::new(), known: BTreeSet::new() }
    }

    #[test]
    fn a_file_of_a_strange_kind_is_refused_as_that_alone() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        fs::write(folder.path().join("there"), "there")?;
        let sum = files::digest(b"there");
        fs::write(folder.path().join(SUMS), format!("{sum}  strange\n{sum}  there\n"))?;
        let (strange, there) = ("strange".to_owned(), [SUMS.to_owned(), "there".to_owned()]);
        let listing = Listing { files: there.into(), strange: [strange.clone()].into() };
        let mut verifier = verifier(folder.path(), date!(2027 - 06 - 30));
        verifier.sums(&listing);
        let said: Vec<String> = verifier.refusals.iter().map(Refusal::to_string).collect();
        assert_eq!(said, [Refusal::Strange(strange).to_string()]);
        Ok(())
    }

    /// A run that began at this second of a minute, and lasted for as many.
    fn part(name: PartName, began: u32, lasted: f64) -> Part {
        let mut run = Run::of(&journal(vec![sample::began(&[]), ready()])).expect("a good journal");
        run.began.started = format!("2026-11-23T05:24:{began:02}Z");
        run.timeline.last_event = lasted;
        Part { name, run }
    }

    #[test]
    fn a_run_is_not_of_the_future_and_not_before_the_last_one_has_ended() {
        let said = |day: Date, second_began: u32| {
            let mut verifier = verifier(Path::new(""), day);
            verifier.follow(&[part(PartName::Suite(1), 0, 10.0), part(PartName::Walk, second_began, 1.0)]);
            verifier.refusals.iter().map(Refusal::to_string).collect::<Vec<_>>()
        };
        let (future, overlap) = (
            |name| Refusal::Future(name, date!(2026 - 11 - 23)).to_string(),
            Refusal::Overlap(PartName::Walk, PartName::Suite(1)).to_string(),
        );
        let (then, nothing) = (date!(2026 - 11 - 23), [""; 0]);
        assert_eq!(said(then, 10), nothing);
        // It may be tomorrow already where the device is, and its clock may be set.
        assert_eq!(said(date!(2026 - 11 - 22), 10), nothing);
        assert_eq!(said(then, 8), nothing);
        assert_eq!(said(date!(2026 - 11 - 21), 10), [future(PartName::Suite(1)), future(PartName::Walk)]);
        assert_eq!(said(then, 7), [overlap]);
    }

    #[test]
    fn a_run_after_the_wall_clock_was_set_back_still_follows() {
        let at = |boot: &str, seconds: f64| Some(BootMoment { boot: boot.to_owned(), seconds });
        let said = |first: Option<BootMoment>, then: Option<BootMoment>, wall: u32| {
            let mut parts = [part(PartName::Suite(1), 30, 10.0), part(PartName::Walk, wall, 1.0)];
            (parts[0].run.began.clock, parts[1].run.began.clock) = (first, then);
            let mut verifier = verifier(Path::new(""), date!(2026 - 11 - 23));
            verifier.follow(&parts);
            verifier.refusals.iter().map(Refusal::to_string).collect::<Vec<_>>()
        };
        let refused = |refusal: Refusal| vec![refusal.to_string()];
        let (one, walk) = (PartName::Suite(1), PartName::Walk);
        // Five seconds back, and far more; the same time of day twice; and no step at all.
        for wall in [35, 0, 30, 40] {
            assert_eq!(said(at("x", 1000.0), at("x", 1010.0), wall), [""; 0], "wall clock {wall}");
        }
        for wall in [35, 40, 59] {
            assert_eq!(said(at("x", 1000.0), at("x", 1009.9), wall), refused(Refusal::Overlap(walk, one)));
            assert_eq!(said(at("x", 1000.0), at("x", 900.0), wall), refused(Refusal::Overlap(walk, one)));
        }
        assert_eq!(said(at("x", 1000.0), at("y", 2000.0), 40), refused(Refusal::OtherBoot(walk, one)));
        assert_eq!(said(at("x", 1000.0), None, 40), refused(Refusal::NoClock(walk, one)));
        assert_eq!(said(None, at("x", 1000.0), 40), refused(Refusal::NoClock(one, walk)));
        assert_eq!(said(at("x", 1000.0), at("x", 1000.0), 40), refused(Refusal::Copied(walk, one)));
    }

    #[test]
    fn a_walk_that_found_nothing_went_as_far_as_it_was_asked_to() {
        let is_whole = |length: WalkLength, verdict: Verdict, note: &str, seconds: f64| {
            let certificate = Certificate {
                format: FORMAT,
                suite: SuiteVersion::current(),
                device: "model".to_owned(),
                strict: false,
                require: None,
                level: None,
                repetitions: 1,
                walk: WalkAsked { seed: 7, length },
                verdict: CertifiedVerdict::Conforms,
                exit: Exit::Conforms,
                files: Vec::new(),
            };
            let mut outcome = Outcome { seconds, ..sample::outcome(verdict, "") };
            outcome.evidence.notes.push(note.to_owned());
            let events = vec![sample::began(&["walk::x"]), ready(), start("walk::x"), finish("walk::x", outcome)];
            against_walk(&Run::of(&journal(events)).expect("a good journal"), &certificate).is_none()
        };
        let (steps, seconds) = (WalkLength::Steps(100), WalkLength::Seconds(5));
        for (length, note, lasted, whole) in [
            (steps, "100 steps with seed 7 in 0.1 s", 0.1, true),
            (steps, "101 steps with seed 7 in 0.1 s", 0.1, true),
            (steps, "99 steps with seed 7 in 0.1 s", 0.1, false),
            (steps, "100 steps with seed 8 in 0.1 s", 0.1, false),
            (steps, "", 0.1, false),
            (seconds, "1 steps with seed 7 in 5 s", 5.0, true),
            (seconds, "9000 steps with seed 7 in 6 s", 6.0, true),
            (seconds, "9000 steps with seed 7 in 5 s", 4.9, false),
            (seconds, "0 steps with seed 7 in 5 s", 5.0, false),
            (seconds, "", 5.0, false),
        ] {
            assert_eq!(is_whole(length, Verdict::Pass, note, lasted), whole, "{length:?}: {note}");
        }
        assert!(is_whole(steps, Verdict::Fail, "", 0.1), "what was found ends it");
    }
}
