//! Bundles for tests: made in a moment, of a lab that answers at once, and copied to be tampered with.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use serde_json::Value;
use tempfile::TempDir;
use time::format_description::well_known::Rfc3339;
use time::macros::date;
use time::{Date, Duration, OffsetDateTime};

use vfio_conform::certificate::files::{self, SUMS};
use vfio_conform::certificate::{CertifyError, Labs, Made, Order, PartName, Waivers, make, verify};
use vfio_conform::device::{Hardware, Identity, Module, PciIds};
use vfio_conform::harness::incident::Incident;
use vfio_conform::harness::journal::{LabReady, PlannedCheck, Stage};
use vfio_conform::harness::outcome::{Broken, Outcome};
use vfio_conform::harness::supervisor::{Length, RunFolder, RunOptions, Walk, plan_of};
use vfio_conform::harness::verdict::{Verdict, verdict_of};
use vfio_conform::harness::wire::Done;
use vfio_conform::lab::surroundings::KernelBuild;
use vfio_conform::lab::{Answer, Lab, LabError, Surroundings, Watch};
use vfio_conform::report::{self, JOURNAL};
use vfio_conform::{requirement, suites};

pub type Tested<T = ()> = Result<T, Box<dyn Error>>;

const KERNEL: &str = "6.12.94+deb13-amd64";

/// A day on which every waiver of the tests holds.
pub const TODAY: Date = date!(2099 - 01 - 01);

/// A device that breaks these requirements, each in the check beside it.
#[derive(Debug, Clone, Copy)]
pub struct Device(pub &'static [(&'static str, &'static str)]);

impl Lab for Device {
    fn start(&mut self, watch: &mut dyn Watch) -> Result<LabReady, LabError> {
        watch.stage(Stage::DeviceReady);
        Ok(LabReady {
            kernel: KERNEL.to_owned(),
            identity: Identity {
                name: "0000:65:00.1".to_owned(),
                driver: "some_vfio_pci".to_owned(),
                driver_version: Some("1.0 0123456789ABCDEF".to_owned()),
                pci_id: Some("1d1d:0001".to_owned()),
                via: "cdev".to_owned(),
            },
            beside: Vec::new(),
            capabilities: None,
            accelerator: None,
            tracing: Ok(()),
            taint: 0,
        })
    }

    fn incidents(&mut self) -> Vec<Incident> {
        Vec::new()
    }

    fn run(&mut self, check: &str) -> Answer {
        Done { outcome: outcome(check, self.0), lost: None }.into()
    }

    fn recover(&mut self, watch: &mut dyn Watch) -> Result<LabReady, LabError> {
        self.start(watch)
    }

    fn surroundings(&mut self) -> Surroundings {
        let module = |name: &str, srcversion: &str| Module {
            name: name.to_owned(),
            version: Some("1.0".to_owned()),
            srcversion: Some(srcversion.to_owned()),
            build_id: None,
        };
        Surroundings {
            kernel: KernelBuild {
                release: KERNEL.to_owned(),
                version: "#1 SMP".to_owned(),
                machine: "x86_64".to_owned(),
                command_line: "iommu=pt".to_owned(),
            },
            hardware: Some(Hardware {
                pci: Some(PciIds { id: "1d1d:0001".to_owned(), subsystem: None, revision: None, class: None }),
                firmware: Some("28.39.1002".to_owned()),
                modules: vec![module("some_vfio_pci", "0123456789ABCDEF"), module("vfio", "FEDCBA9876543210")],
                iommu: None,
            }),
            configuration: None,
        }
    }

    fn stop(&mut self, _watch: &mut dyn Watch) {}
}

impl Labs for Device {
    fn lab(&mut self, _part: PartName, folder: &RunFolder) -> Result<Box<dyn Lab>, LabError> {
        fs::write(folder.console(), "").map_err(|error| LabError(error.to_string()))?;
        Ok(Box::new(*self))
    }
}

static PLAN: LazyLock<Vec<PlannedCheck>> = LazyLock::new(|| plan_of(&suites::all()));

/// What a check comes to: it keeps what it can prove, but for what is broken.
fn outcome(check: &str, broken: &[(&str, &str)]) -> Outcome {
    let mut outcome = Outcome::without_judgement(Verdict::Pass, "");
    let planned = PLAN.iter().find(|planned| planned.name == check);
    outcome.proven = planned.map(|planned| planned.requirements.clone()).unwrap_or_default();
    for (_, id) in broken.iter().filter(|(name, _)| *name == check) {
        let requirement = requirement::find(id).expect("a requirement");
        outcome.verdict = verdict_of(requirement.level);
        outcome.message = "asked: expected one thing, got another".to_owned();
        outcome.proven.retain(|proven| proven != id);
        outcome.broken.push(Broken {
            requirement: (*id).to_owned(),
            level: requirement.level,
            statement: requirement.statement.to_owned(),
            asked: "asked".to_owned(),
            expected: "one thing".to_owned(),
            actual: "another".to_owned(),
        });
    }
    outcome
}

/// What is asked for in the tests.
pub fn order(repetitions: u32, waivers: Option<Waivers>) -> Order {
    Order {
        suite: RunOptions {
            device: "0000:65:00.1".to_owned(),
            lab: "local",
            target: None,
            kernel: None,
            strict: false,
            require: None,
            durable: false,
            reproduce: "vfio-conform run 0000:65:00.1 -- --exact {check}".to_owned(),
            guest: None,
            options: None,
            baseline: Vec::new(),
        },
        reproduce_walk: "vfio-conform walk 0000:65:00.1 --seed 7".to_owned(),
        repetitions,
        walk: Walk { seed: 7, length: Length::Steps(500) },
        waivers,
        profile: None,
        firmware: None,
        has_kernel_log: false,
    }
}

/// Makes a bundle of this device in `certificate` of a new folder.
pub fn bundle(mut device: Device, repetitions: u32, waivers: Option<&str>) -> Tested<(TempDir, Made)> {
    let folder = TempDir::new()?;
    let waivers = waivers.map(|text| -> Tested<Waivers> {
        let path = folder.path().join("waivers.toml");
        fs::write(&path, text)?;
        Ok(Waivers::read(&path)?)
    });
    let made = made(&mut device, &folder, repetitions, waivers.transpose()?)?;
    Ok((folder, made))
}

fn made(
    device: &mut Device,
    folder: &TempDir,
    repetitions: u32,
    waivers: Option<Waivers>,
) -> Result<Made, CertifyError> {
    make(&order(repetitions, waivers), &folder.path().join("certificate"), device)
}

/// A copy of a bundle, to be tampered with.
pub struct Tampered {
    _folder: TempDir,
    path: PathBuf,
}

impl Tampered {
    pub fn copy(original: &TempDir) -> Tested<Tampered> {
        let folder = TempDir::new()?;
        let path = folder.path().join("certificate");
        copy(&original.path().join("certificate"), &path)?;
        Ok(Tampered { _folder: folder, path })
    }

    pub fn path(&self, file: &str) -> PathBuf {
        self.path.join(file)
    }

    pub fn text(&self, file: &str) -> Tested<String> {
        Ok(fs::read_to_string(self.path(file))?)
    }

    pub fn write(&self, file: &str, text: &str) -> Tested {
        Ok(fs::write(self.path(file), text)?)
    }

    /// Replaces what has to be there.
    pub fn replace(&self, file: &str, old: &str, new: &str) -> Tested {
        let text = self.text(file)?;
        assert!(text.contains(old), "{file} has no {old}");
        self.write(file, &text.replacen(old, new, 1))
    }

    /// Changes a JSON document.
    pub fn json(&self, file: &str, change: impl FnOnce(&mut Value)) -> Tested {
        let mut value = serde_json::from_str(&self.text(file)?)?;
        change(&mut value);
        self.write(file, &serde_json::to_string(&value)?)
    }

    /// Changes the events of a run.
    pub fn events(&self, run: &str, change: impl FnOnce(&mut Vec<Value>)) -> Tested {
        let file = format!("{run}/{JOURNAL}");
        let mut events: Vec<Value> = self.text(&file)?.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        change(&mut events);
        let lines: Vec<String> = events.iter().map(|event| format!("{event}\n")).collect();
        self.write(&file, &lines.concat())
    }

    /// Sets the wall clock of a run, as NTP may do, and makes everything that shows its time again.
    pub fn set_wall_clock(&self, run: &str, step: Duration) -> Tested {
        let mut begun = (String::new(), String::new());
        self.events(run, |events| {
            let started = events[0]["started"].as_str().expect("a time");
            let old = OffsetDateTime::parse(started, &Rfc3339).expect("RFC 3339");
            begun = (shown(old), shown(old + step));
            events[0]["started"] = (old + step).format(&Rfc3339).expect("RFC 3339").into();
        })?;
        self.remake(run)?;
        let name = if run == "walk" { "the walk".to_owned() } else { run.replace("runs/", "run ") };
        let text = self.text("STATEMENT.txt")?;
        let with_step = |line: &str| match line.trim_start().starts_with(&name) {
            true => line.replace(&format!("begun {}", begun.0), &format!("begun {}", begun.1)),
            false => line.to_owned(),
        };
        let lines: Vec<String> = text.lines().map(|line| with_step(line) + "\n").collect();
        assert_ne!(lines.concat(), text, "the statement shows no time of {name}");
        self.write("STATEMENT.txt", &lines.concat())
    }

    /// Makes the reports of a run again, as somebody does who has vfio-conform.
    pub fn remake(&self, run: &str) -> Tested {
        report::write_all(&self.path(run), None)?;
        Ok(())
    }

    /// Makes the checksums again.
    pub fn reseal(&self) -> Tested {
        let mut listed = files::list(&self.path)?.files;
        listed.remove(SUMS);
        Ok(fs::write(self.path(SUMS), files::sums(&self.path, &listed)?)?)
    }

    /// Why it is refused.
    pub fn refusals(&self) -> Tested<Vec<String>> {
        let verification = verify(&self.path, TODAY.min(OffsetDateTime::now_utc().date()))?;
        Ok(verification.refusals.iter().map(ToString::to_string).collect())
    }
}

/// As the statement shows a time.
fn shown(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).expect("RFC 3339").chars().take(19).collect()
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            false => fs::copy(entry.path(), target).map(|_| ())?,
        }
    }
    Ok(())
}

/// Gives the events their numbers again.
pub fn renumber(events: &mut [Value]) {
    for (number, event) in events.iter_mut().enumerate() {
        event["seq"] = number.into();
    }
}

/// Where the event of that kind of a check stands.
pub fn place(events: &[Value], kind: &str, check: &str) -> usize {
    let is_it = |event: &Value| event["event"] == kind && event["check"] == check;
    events.iter().position(is_it).expect("the event")
}
