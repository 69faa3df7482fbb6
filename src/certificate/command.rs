//! `vfio-conform certify` and `vfio-conform verify`: their command lines.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use clap::Args;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use super::document::Tool;
use super::files::STATEMENT;
use super::judge::PartName;
use super::make::{CertifyError, Labs, Made, Order, make};
use super::verify::{Verification, verify};
use super::waiver::Waivers;
use crate::arguments::{Handling, span};
use crate::device::{self, DeviceName};
use crate::harness::coverage::VerdictLevel;
use crate::harness::keeper::ExecutorSpec;
use crate::harness::supervisor::{Length, RunFolder, RunOptions, Walk};
use crate::harness::verdict::Exit;
use crate::lab::local::LocalLab;
use crate::lab::qemu::{QemuLab, QemuOptions};
use crate::lab::{Lab, LabError};
use crate::report::text::one_line;
use crate::suites::walk;
use crate::uapi::process::end_with_reader;

/// What stands below the help of `certify`.
pub const CERTIFY_HELP: &str = "\
The folder gets a statement for people, and all that it follows from: the journal and the reports of each run, the \
environment, the kernel's configuration where it can be read, the kernel log of this host (look through it before you \
hand it on), the waivers, and SHA256SUMS. `vfio-conform verify` reads it.

Waivers are TOML; reports/README.md describes them. A broken requirement that is waived does not count, and the \
statement lists it. A check that a waived requirement blocks is covered
by its waiver. Hangs, crashes and other blocked checks are never waived.

Examples:
  vfio-conform certify model --out model-certificate       the in-process model, as a first look
  sudo vfio-conform certify 0000:65:00.1 --out certificate --repeat 10 --walk-for 1h
  sudo vfio-conform certify 0000:65:00.1 --out certificate --waivers waivers.toml
  vfio-conform qemu --target pci --certify --out certificate    the emulated device, in a guest
  cd certificate && gpg --detach-sign --armor SHA256SUMS   whoever answers for it signs it";

/// What stands below the help of `verify`.
pub const VERIFY_HELP: &str = "\
It can prove that nothing in the folder contradicts itself: every file is as it was sealed, every run has every check of \
the suite in its order, each journal is one that vfio-conform writes, and the reports, the verdict and the statement \
follow from the journals.

It cannot prove that the tests were run: whoever has vfio-conform can write journals by hand and seal them anew. Who \
stands behind a certificate is said by a signature over SHA256SUMS, made and checked with other tools:
  gpg --detach-sign --armor SHA256SUMS       gpg --verify SHA256SUMS.asc SHA256SUMS
  minisign -Sm SHA256SUMS                    minisign -Vm SHA256SUMS -p KEY.pub

Exit codes: that of the certified verdict if the certificate is accepted (0 conforms), 1 if it is refused, 2 if the \
folder is no certificate.

Examples:
  vfio-conform verify certificate                          as of today
  vfio-conform verify certificate --on 2027-01-31          did its waivers still hold on that day?
  cd certificate && sha256sum -c SHA256SUMS                the files alone, without vfio-conform";

/// What is certified.
#[derive(Debug, Args)]
pub struct CertifyCommand {
    /// PCI address, mdev UUID, group number, vfioN, or model[:CAPABILITIES[,fault=NAME]]
    device: DeviceName,
    /// Folder of the certificate, which must be empty or not be there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// How often the whole suite runs
    #[arg(long, value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: u32,
    /// How many steps the walk behind that has
    #[arg(long, value_name = "STEPS", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    walk: u64,
    /// For how long it walks instead: 30s, 10m, 2h
    #[arg(long, value_name = "TIME", value_parser = some_time, conflicts_with = "walk")]
    walk_for: Option<Duration>,
    /// What the walk follows from [default: another one each time, which is written down]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// Which broken requirements are known and accepted
    #[arg(long, value_name = "FILE")]
    waivers: Option<PathBuf>,
    /// The version of the firmware, where the device cannot be asked
    #[arg(long, value_name = "VERSION")]
    firmware: Option<String>,
    /// Leave this host's kernel log out, which may hold what is nobody's business; each run keeps what the kernel said in it
    #[arg(long)]
    no_kernel_log: bool,
    /// Count a broken should like a broken must
    #[arg(long)]
    strict: bool,
    /// Exit with 125 if a run of the suite is of a lower level: the profile lacks what this one needs
    #[arg(long, value_name = "LEVEL")]
    require: Option<VerdictLevel>,
    #[command(flatten)]
    handling: Handling,
}

/// What is certified in a guest.
#[derive(Debug, Args)]
pub struct GuestCertify {
    /// Make a certificate in --out: the whole suite --repeat times, then a walk of --steps (or --for, --seed)
    #[arg(long, requires = "out", conflicts_with_all = ["bare", "walk", "replay", "probe", "libtest"])]
    certify: bool,
    /// How often the whole suite runs for a certificate [default: 3]
    #[arg(long, value_name = "NUMBER", requires = "certify", value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeat: Option<u32>,
    /// Which broken requirements are known and accepted in a certificate
    #[arg(long, value_name = "FILE", requires = "certify")]
    waivers: Option<PathBuf>,
}

/// What is verified.
#[derive(Debug, Args)]
pub struct VerifyCommand {
    /// Folder of the certificate
    dir: PathBuf,
    /// As of this day, on which its waivers must still hold [default: today]
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    on: Option<Date>,
}

fn some_time(text: &str) -> Result<Duration, String> {
    span(text).and_then(|time| match time.is_zero() {
        true => Err("a walk of no time tests nothing".to_owned()),
        false => Ok(time),
    })
}

fn day(text: &str) -> Result<Date, String> {
    Date::parse(text, format_description!("[year]-[month]-[day]"))
        .map_err(|_| "it is no day like 2027-01-31".to_owned())
}

type Outcome = Result<Exit, Box<dyn std::error::Error>>;

impl CertifyCommand {
    /// Does it.
    ///
    /// # Errors
    /// Why there is no certificate.
    pub fn run(self) -> Outcome {
        device::refuse_unusable(&self.device)?;
        let spec = self.handling.spec(&self.device)?;
        let is_model = self.device.is_model();
        let length = self.walk_for.map_or(Length::Steps(self.walk), Length::For);
        let walk = Walk { seed: self.seed.unwrap_or_else(any_seed), length };
        let device = self.device.to_string();
        let order = Order {
            suite: RunOptions {
                device: device.clone(),
                lab: "local",
                target: None,
                kernel: None,
                strict: self.strict,
                require: self.require,
                durable: !is_model,
                reproduce: self.handling.reproduce(&self.device, self.handling.may_hang),
                guest: None,
                options: None,
                baseline: Vec::new(),
            },
            reproduce_walk: format!("vfio-conform walk {device} --seed {}", walk.seed),
            repetitions: self.repeat,
            walk,
            waivers: self.waivers.as_deref().map(Waivers::read).transpose()?,
            profile: self.handling.profile.clone(),
            firmware: self.firmware.map(|firmware| one_line(&firmware)),
            has_kernel_log: !is_model && !self.no_kernel_log,
        };
        conclude(make(&order, &self.out, &mut LocalLabs(spec)), &self.out)
    }
}

/// A driver that keeps its device from being opened is a finding, and no wrong usage.
fn conclude(made: Result<Made, CertifyError>, out: &Path) -> Outcome {
    match made {
        Ok(made) => Ok(tell(&made, out)),
        Err(error @ CertifyError::NotOpened(_)) => {
            eprintln!("vfio-conform: {error}");
            Ok(Exit::Findings)
        }
        Err(error) => Err(error.into()),
    }
}

/// Another one each time, and short enough to be typed.
fn any_seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) / 1000
}

struct LocalLabs(ExecutorSpec);

impl Labs for LocalLabs {
    fn lab(&mut self, part: PartName, folder: &RunFolder) -> Result<Box<dyn Lab>, LabError> {
        let mut spec = self.0.clone();
        if part == PartName::Walk {
            spec.deadline = spec.deadline.max(walk::DEADLINE);
        }
        Ok(Box::new(LocalLab::new(spec, &folder.console())?))
    }
}

impl GuestCertify {
    /// Whether it is asked for at all.
    pub fn is_asked(&self) -> bool {
        self.certify
    }

    /// Does it in guests, one for each run.
    ///
    /// # Errors
    /// Why there is no certificate.
    pub fn run(
        self,
        guest: QemuOptions,
        out: PathBuf,
        strict: bool,
        require: Option<VerdictLevel>,
        walk: Walk,
    ) -> Outcome {
        let reproduce = guest.reproduce();
        let order = Order {
            suite: RunOptions {
                device: guest.device(),
                lab: "qemu",
                target: Some(guest.target.to_string()),
                kernel: Some(guest.kernel.clone()),
                strict,
                require,
                durable: false,
                reproduce: reproduce.clone(),
                guest: None,
                options: None,
                baseline: Vec::new(),
            },
            reproduce_walk: reproduce.replace("-- --exact {check}", &format!("--walk --seed {}", walk.seed)),
            repetitions: self.repeat.unwrap_or(3),
            walk,
            waivers: self.waivers.as_deref().map(Waivers::read).transpose()?,
            profile: None,
            firmware: None,
            has_kernel_log: false,
        };
        conclude(make(&order, &out, &mut Guests(guest)), &out)
    }
}

struct Guests(QemuOptions);

impl Labs for Guests {
    fn lab(&mut self, part: PartName, folder: &RunFolder) -> Result<Box<dyn Lab>, LabError> {
        let mut options = self.0.clone();
        if part == PartName::Walk {
            options.deadline = options.deadline.max(walk::DEADLINE.as_secs_f64());
        }
        Ok(Box::new(QemuLab::new(options, folder.console())))
    }
}

fn tell(made: &Made, folder: &std::path::Path) -> Exit {
    end_with_reader();
    println!("{}", made.statement);
    println!("certificate  {}", folder.display());
    println!("next         sign SHA256SUMS in it; `vfio-conform verify {}` verifies it anywhere", folder.display());
    made.exit
}

impl VerifyCommand {
    /// Does it.
    ///
    /// # Errors
    /// That there is no certificate.
    pub fn run(&self) -> Outcome {
        let day = self.on.unwrap_or_else(|| OffsetDateTime::now_utc().date());
        let verification = verify(&self.dir, day)?;
        end_with_reader();
        print!("{}", self.answer(&verification));
        Ok(match (&verification.certificate, verification.refusals.is_empty()) {
            (Some(certificate), true) => certificate.exit,
            _ => Exit::Findings,
        })
    }

    fn answer(&self, verification: &Verification) -> String {
        let dir = self.dir.display();
        let (Some(certificate), true) = (&verification.certificate, verification.refusals.is_empty()) else {
            let reasons = verification.refusals.iter().map(|refusal| format!("  - {refusal}\n"));
            return format!("refused    {dir}\n{}", reasons.collect::<String>());
        };
        let mut lines = vec![
            format!("accepted   {dir}: all of it follows from its journals"),
            format!("verdict    {} (exit code {})", certificate.told(), certificate.exit as u8),
            format!("device     {}", one_line(&certificate.device)),
            format!("suite      vfio-conform {}", certificate.suite),
            format!("statement  {}", self.dir.join(STATEMENT).display()),
        ];
        lines.push(match verification.signatures.as_slice() {
            [] => "signature  none, so nothing here says who made it (--help names tools)".to_owned(),
            names => {
                format!("signature  {}: have the tool that made it check it (--help names some)", names.join(", "))
            }
        });
        let made_by = verification.environment.as_ref().map(|environment| &environment.tool);
        if Tool::this().ok().as_ref() != made_by {
            lines.push("note       another build of this version made it".to_owned());
        }
        lines.join("\n") + "\n"
    }
}
