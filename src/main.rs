//! The command line, thin.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

use clap::{Args, CommandFactory, Parser, Subcommand};

use vfio_conform::arguments::{Handling, check as check_name, seconds, span, with_checks};
use vfio_conform::baseline::BaselineOptions;
use vfio_conform::catalogue::trace::command::CatalogueCommand;
use vfio_conform::catalogue::{self, Filter, Format, Show};
use vfio_conform::certificate::command::{CERTIFY_HELP, CertifyCommand, GuestCertify, VERIFY_HELP, VerifyCommand};
use vfio_conform::device::{self, DeviceName, Via};
use vfio_conform::fault::command::FaultsCommand;
use vfio_conform::gate::bisect::{self, BisectCommand};
use vfio_conform::gate::command::{self as gate, GateCommand};
use vfio_conform::harness::coverage::VerdictLevel;
use vfio_conform::harness::executor::{self, ExecutorArguments};
use vfio_conform::harness::keeper::ExecutorSpec;
use vfio_conform::harness::supervisor::{self, Length, RunError, RunFolder, RunOptions, Unfinished, Walk};
use vfio_conform::harness::trial::{TRY_EXAMPLES, TryCommand};
use vfio_conform::harness::verdict::Exit;
use vfio_conform::host::command::{
    BIND_EXAMPLES, BindCommand, DOCTOR_EXAMPLES, DoctorCommand, UNBIND_EXAMPLES, UnbindCommand,
};
use vfio_conform::lab::local::LocalLab;
use vfio_conform::lab::pci::SUBCOMMAND;
use vfio_conform::lab::qemu::errand::{self, Errand};
use vfio_conform::lab::qemu::{QemuLab, QemuOptions};
use vfio_conform::lab::{Lab, guest};
use vfio_conform::probe::{Probe, ProbeArguments};
use vfio_conform::report::command::ReportCommand;
use vfio_conform::report::console::terminal_width;
use vfio_conform::report::table::{self, TableCommand};
use vfio_conform::requirement::Level;
use vfio_conform::shell::{COMPLETIONS_EXAMPLES, CompletionsCommand, MAN_EXAMPLES, ManCommand};
use vfio_conform::stimulus::profile::Profile;
use vfio_conform::suites::walk;
use vfio_conform::uapi::process::end_with_reader;
use vfio_conform::uapi::state::Capabilities;
use vfio_conform::uapi::stop;
use vfio_conform::walk::WalkList;
use vfio_conform::{fault, fsm, probe, report};

/// Tells whether a VFIO variant driver keeps the Linux VFIO migration protocol (v2, with PRE_COPY).
#[derive(Debug, Parser)]
#[command(version, after_help = format!("{EXAMPLES}\n\n{}", Exit::TABLE), max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the checks on a device of this host, or on the model.
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunCommand),
    /// Say whether this host can test a device, and what to type where it cannot.
    #[command(after_help = DOCTOR_EXAMPLES)]
    Doctor(DoctorCommand),
    /// Bind a PCI function to the variant driver that fits it.
    #[command(after_help = BIND_EXAMPLES)]
    Bind(BindCommand),
    /// Put a function back as it was before bind.
    #[command(after_help = UNBIND_EXAMPLES)]
    Unbind(UnbindCommand),
    /// Boot a guest with an emulated device and run the checks on it.
    #[command(after_help = QEMU_EXAMPLES)]
    Qemu(QemuCommand),
    /// Do random operations on a device, judge each, and shorten what fails.
    #[command(after_help = WALK_EXAMPLES)]
    Walk(WalkCommand),
    /// Run the operations again that a walk has saved, or that somebody wrote down.
    #[command(after_help = REPLAY_EXAMPLES)]
    Replay(ReplayCommand),
    /// List the requirements and the checks; needs no device.
    #[command(after_help = LIST_EXAMPLES)]
    List(ListCommand),
    /// Say what a requirement asks for, why, what goes wrong, and how to check it; needs no device.
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(ExplainCommand),
    /// Compare the catalogue of requirements with the text of a kernel; needs no device.
    #[command(subcommand, after_help = CATALOGUE_EXAMPLES)]
    Catalogue(CatalogueCommand),
    /// Print what the protocol says about every pair of states.
    #[command(after_help = FSM_EXAMPLES)]
    Fsm(FsmCommand),
    /// Make the reports of a run again, from its journal alone.
    #[command(after_help = report::command::EXAMPLES)]
    Report(ReportCommand),
    /// Run everything several times, and make a bundle of it that anybody can verify.
    #[command(after_help = CERTIFY_HELP)]
    Certify(CertifyCommand),
    /// Verify a certificate, on any machine.
    #[command(after_help = VERIFY_HELP)]
    Verify(VerifyCommand),
    /// Say what a kernel, or a patch to its VFIO core, changes, check by check.
    #[command(
        after_help = gate::EXAMPLES,
        mut_arg("kernel", |kernel| kernel.hide(true).conflicts_with("base")),
        mut_arg("core", |core| core.hide(true).conflicts_with("base")),
        mut_arg("core_source", |source| source.hide(true).conflicts_with("base")),
        mut_arg("patch", |patch| patch.help("Apply this patch to the VFIO core of the head, - for standard input, mail too; may be given again")),
    )]
    Gate(GateCommand),
    /// Say which of many kernels, or of a tree's commits, changed what a check comes to.
    #[command(
        after_help = bisect::EXAMPLES,
        mut_arg("kernel", |kernel| kernel.hide(true)),
        mut_arg("core", |core| core.hide(true).conflicts_with_all(["kernels", "tree"])),
        mut_arg("core_source", |source| source.hide(true).conflicts_with_all(["kernels", "tree"])),
    )]
    Bisect(BisectCommand),
    /// Show that the checks can fail: deliberate defects, and what the suite says to each.
    #[command(subcommand, after_help = fault::command::EXAMPLE)]
    Faults(FaultsCommand),
    /// Look at a profile, which says how one kind of device is stimulated.
    #[command(subcommand, after_help = PROFILE_EXAMPLES)]
    Profile(ProfileCommand),
    /// Print completions for a shell.
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions(CompletionsCommand),
    /// Make manual pages.
    #[command(after_help = MAN_EXAMPLES)]
    Man(ManCommand),
    /// Look at the bundled PCI target from inside a guest.
    #[command(hide = true, name = probe::SUBCOMMAND)]
    Probe(ProbeArguments),
    /// Put finished runs into the README's table of kernels.
    #[command(hide = true, name = table::SUBCOMMAND)]
    KernelTable(TableCommand),
    /// Be the emulated PCI device.
    #[command(hide = true, name = SUBCOMMAND)]
    PciTarget(vfio_conform_pci_target::command::Arguments),
}

impl Command {
    /// Whether it uses devices or guests, which a request to stop must not leave as they are.
    fn is_long(&self) -> bool {
        matches!(
            self,
            Command::Run(_)
                | Command::Qemu(_)
                | Command::Walk(_)
                | Command::Replay(_)
                | Command::Certify(_)
                | Command::Gate(_)
                | Command::Bisect(_)
                | Command::Faults(_)
        )
    }
}

const EXAMPLES: &str = "\
Examples:
  vfio-conform run model                                   a first look, without any device
  vfio-conform doctor                                      can this host test a device, and which?
  sudo vfio-conform run 0000:65:00.1                       the checks on one
  vfio-conform help run                                    more about a command";

const RUN_EXAMPLES: &str = "\
Examples:
  vfio-conform run model                                   the in-process model, as a first look
  vfio-conform run model:stop_copy+p2p                     the model with another capability set
  sudo vfio-conform run 0000:65:00.1                       a function bound to its variant driver
  sudo vfio-conform run 0000:65:00.1 -- fsm::              one chapter of it
  sudo vfio-conform run 0000:65:00.1 -- --exact fsm::stop_copy_to_pre_copy
  sudo vfio-conform run --resume reports/out/latest        what is left after a reboot
  vfio-conform run model -- --list                         the checks that there are";

const QEMU_EXAMPLES: &str = "\
Examples:
  vfio-conform qemu --target mtty --kernel 7.3             boot, check, say what was found
  vfio-conform qemu --target pci --caps stop_copy+p2p      our own PCI device, with one capability set
  vfio-conform qemu --kernel 6.12.107 -- reset::           one chapter on another kernel
  vfio-conform qemu --kernel ~/linux                       a kernel tree that you have built
  vfio-conform qemu --patch fix.patch                      a patch to the VFIO core, which is built as modules
  vfio-conform qemu --target mtty --baseline reports/baselines
  vfio-conform qemu --target pci --walk --for 1m           a random walk
  vfio-conform qemu --target pci --certify --out DIR       a certificate of our own PCI device
  vfio-conform qemu --resume reports/out/latest            what is left of a run that was cut off
  vfio-conform qemu --kernel 7.3 --bare                    boot and power off: the floor of run times";

const WALK_EXAMPLES: &str = "\
Examples:
  vfio-conform walk model                                  20,000 steps with a seed that is printed
  vfio-conform walk model:fault=reset-keeps-session --seed 7
  sudo vfio-conform walk 0000:65:00.1 --for 10m            ten minutes on a function
  ./ci/emulated --target pci --walk --seed 7               in a guest, on the emulated device";

const REPLAY_EXAMPLES: &str = "\
Examples:
  vfio-conform replay reports/out/latest/walk.txt          on the device that it failed on
  sudo vfio-conform replay walk.txt 0000:65:00.1           on another one
  ./ci/emulated --target pci --replay walk.txt             in a guest, on the emulated device";

const LIST_EXAMPLES: &str = "\
Examples:
  vfio-conform list                                        every requirement, by chapter
  vfio-conform list --chapter session --level should       what a session should do
  vfio-conform list ENOTTY feature                         those that speak of both
  vfio-conform list --checks reset                         the checks, and what each can prove
  vfio-conform list --format json                          all of it for programs";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  vfio-conform explain session.end.dead                    a requirement
  vfio-conform explain reset::from_stop                    a check";

const FSM_EXAMPLES: &str = "\
Examples:
  vfio-conform fsm                                         all four capability sets
  vfio-conform fsm --caps stop_copy+p2p+pre_copy           one of them
  vfio-conform fsm --caps stop_copy+p2p+pre_copy --dot | dot -Tsvg > fsm.svg";

const PROFILE_EXAMPLES: &str = "\
Examples:
  vfio-conform profile check fixtures/profiles/example.toml
  sudo vfio-conform profile try 0000:65:00.1 --profile my.toml";

const CATALOGUE_EXAMPLES: &str = "\
Example:
  vfio-conform catalogue trace --header include/uapi/linux/vfio.h";

const SCHEMA_EXAMPLES: &str = "\
Example:
  vfio-conform profile schema > profile.schema.json    and `#:schema profile.schema.json` in a profile's first line";

#[derive(Debug, Args)]
struct RunCommand {
    /// PCI address, mdev UUID, group number, vfioN, or model[:CAPABILITIES[,fault=NAME]]
    #[arg(required_unless_present = "resume")]
    device: Option<DeviceName>,
    /// Run the checks without a verdict of the run in this folder, which was stopped, cut off or lost its device, with the
    /// options that it was begun with
    #[arg(long, value_name = "DIR", conflicts_with_all = ["out", "strict", "require"])]
    resume: Option<PathBuf>,
    /// With --resume: also the check that was running when the run was cut off
    #[arg(long, requires = "resume")]
    retry: bool,
    #[command(flatten)]
    handling: Handling,
    #[command(flatten)]
    common: Common,
}

/// What a run that is resumed has been given already, or does not do.
const OPTIONS_OF_A_NEW_GUEST: [&str; 24] = [
    "target",
    "kernel",
    "core",
    "core_source",
    "patch",
    "via",
    "accel",
    "deadline",
    "wear",
    "caps",
    "device_memory",
    "devices",
    "device",
    "extra",
    "append",
    "bare",
    "walk",
    "replay",
    "certify",
    "probe",
    "plain",
    "script",
    "out",
    "strict",
];

#[derive(Debug, Args)]
struct QemuCommand {
    #[command(flatten)]
    options: QemuOptions,
    /// Continue the run in this folder, with the guest that it had: the checks without a verdict, and the one that was
    /// running when it was cut off
    #[arg(long, value_name = "DIR", conflicts_with_all = OPTIONS_OF_A_NEW_GUEST)]
    resume: Option<PathBuf>,
    /// Boot and power off at once, and say how long it took
    #[arg(long)]
    bare: bool,
    /// Do random operations instead of the checks
    #[arg(long, conflicts_with = "bare")]
    walk: bool,
    #[command(flatten)]
    steps: StepsOptions,
    /// Run the operations of this file instead of the checks
    #[arg(long, value_name = "FILE", conflicts_with_all = ["bare", "walk"])]
    replay: Option<PathBuf>,
    #[command(flatten)]
    certify: GuestCertify,
    /// Also run this check, on a sibling device beside those that the filter leaves
    #[arg(long, value_name = "CHECK", value_parser = check_name)]
    beside: Vec<String>,
    /// Give the driver of the bundled PCI target this fault
    #[arg(long, hide = true, value_name = "NAME")]
    driver_fault: Option<String>,
    /// Run no checks but a probe of the bundled PCI target, and print what it saw as JSON
    #[arg(long, hide = true, value_enum)]
    probe: Option<Probe>,
    /// A static program of fixtures/plain for the probe to compare with
    #[arg(long, hide = true, value_name = "FILE")]
    plain: Option<PathBuf>,
    /// Run no checks but `script` of this folder, whose files are put into a guest that nothing was done to, and print
    /// what it said as JSON
    #[arg(long, hide = true, value_name = "DIR", conflicts_with = "probe")]
    script: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct Common {
    /// Folder of the reports [default: a new one in reports/out, which reports/out/latest points at]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Count a broken should like a broken must
    #[arg(long)]
    strict: bool,
    /// Exit with 125 if the verdict is of a lower level: the profile lacks what this one needs
    #[arg(long, value_name = "LEVEL")]
    require: Option<VerdictLevel>,
    #[command(flatten)]
    baseline: BaselineOptions,
    /// Options of libtest: filters, --exact, --skip, --list, --format pretty|terse|json (-- --help lists them)
    #[arg(last = true, value_name = "LIBTEST OPTIONS")]
    libtest: Vec<String>,
}

#[derive(Debug, Args)]
struct WalkCommand {
    /// PCI address, mdev UUID, group number, vfioN, or model[:CAPABILITIES[,fault=NAME]]
    device: DeviceName,
    #[command(flatten)]
    steps: StepsOptions,
    #[command(flatten)]
    opening: Opening,
}

#[derive(Debug, Args)]
struct StepsOptions {
    /// What the walk follows from [default: another one each time, which is printed]
    #[arg(long, value_name = "NUMBER")]
    seed: Option<u64>,
    /// How many steps
    #[arg(long, default_value_t = 20_000, value_name = "NUMBER")]
    steps: u64,
    /// For how long instead: 30s, 10m, 2h
    #[arg(long = "for", value_name = "TIME", value_parser = span, conflicts_with = "steps")]
    time: Option<Duration>,
}

impl StepsOptions {
    fn walk(&self) -> Walk {
        let length = self.time.map_or(Length::Steps(self.steps), Length::For);
        let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        // Short enough to be typed.
        let seed = self.seed.unwrap_or_else(|| u64::from(now().subsec_nanos()) / 1000);
        Walk { seed, length }
    }
}

#[derive(Debug, Args)]
struct ReplayCommand {
    /// The file
    file: PathBuf,
    /// The device [default: that on which it failed, as the file says]
    device: Option<DeviceName>,
    #[command(flatten)]
    opening: Opening,
}

/// How a device of this host is opened for a walk.
#[derive(Debug, Args)]
struct Opening {
    /// The way to open it [default: cdev where the host has it, else group]
    #[arg(long)]
    via: Option<Via>,
    /// How to stimulate the device [default: the bundled profile that fits it]
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Play the profile on this device although its [match] names others
    #[arg(long, requires = "profile")]
    force_profile: bool,
    /// Seconds that a thousand steps, or a replay, may take
    #[arg(long, default_value_t = walk::DEADLINE.as_secs_f64(), value_parser = seconds)]
    deadline: f64,
    /// Exit with 125 if the walk could not play what this level needs, since the profile lacks it
    #[arg(long, value_name = "LEVEL")]
    require: Option<VerdictLevel>,
    /// Folder of the reports [default: a new one in reports/out, which reports/out/latest points at]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ListCommand {
    /// Words that must be found in an id, a sentence, a source, a ruling or a name
    words: Vec<String>,
    /// One chapter
    #[arg(long)]
    chapter: Option<String>,
    /// One level
    #[arg(long)]
    level: Option<Level>,
    /// The checks instead of the requirements
    #[arg(long)]
    checks: bool,
    /// For people, or both lists for programs
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Args)]
struct ExplainCommand {
    /// Id of a requirement, or name of a check
    name: String,
}

#[derive(Debug, Args)]
struct FsmCommand {
    /// The capability set: stop_copy, with +p2p, +pre_copy or both
    #[arg(long, value_name = "SET")]
    caps: Option<Capabilities>,
    /// A graph for Graphviz instead of a matrix
    #[arg(long)]
    dot: bool,
}

#[derive(Debug, Subcommand)]
enum ProfileCommand {
    /// Say whether a profile can be understood, and what it holds.
    #[command(after_help = PROFILE_EXAMPLES)]
    Check {
        /// The profile
        file: PathBuf,
    },
    /// Play each key of a profile on a device, and say what it did.
    #[command(after_help = TRY_EXAMPLES)]
    Try(TryCommand),
    /// Print a JSON schema of profiles, with which editors complete and check them.
    #[command(after_help = SCHEMA_EXAMPLES)]
    Schema,
}

fn main() -> ExitCode {
    if std::process::id() == 1 {
        // The kernel of a guest started us as its init.
        guest::main();
    }
    let result = match executor_arguments() {
        Some(arguments) => serve(&arguments),
        None => {
            let command = Cli::parse().command;
            if command.is_long() {
                stop::watch();
            }
            carry_out(command)
        }
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => {
            // With nobody there to read it, the exit code still says it.
            let _ = writeln!(std::io::stderr(), "vfio-conform: {error}");
            match stop::requested() {
                Some(_) => Exit::Unfinished.into(),
                None => Exit::Usage.into(),
            }
        }
    }
}

/// Hold a device open and run the checks that standard input names.
#[derive(Parser)]
#[command(name = executor::SUBCOMMAND)]
struct ExecutorCli {
    #[command(flatten)]
    arguments: ExecutorArguments,
}

/// The words of one that is to be an executor. A guest starts them under an emulated processor, where code that runs once
/// is what costs: to learn all other commands takes a tenth of a second there.
fn executor_arguments() -> Option<ExecutorArguments> {
    let mut words = std::env::args_os().skip(1).peekable();
    words.next_if(|word| word == executor::SUBCOMMAND)?;
    Some(ExecutorCli::parse_from(std::iter::once(executor::SUBCOMMAND.into()).chain(words)).arguments)
}

fn carry_out(command: Command) -> Outcome {
    match command {
        Command::Run(command) => run(command),
        Command::Qemu(command) => qemu(command),
        Command::Doctor(command) => command.run(),
        Command::Bind(command) => command.run(),
        Command::Unbind(command) => command.run(),
        Command::Walk(command) => walk_locally(command),
        Command::Replay(command) => replay_locally(command),
        Command::List(command) => list(command),
        Command::Explain(command) => explain(&command),
        Command::Catalogue(command) => command.run().map_err(Into::into),
        Command::Fsm(command) => Ok(print_fsm(&command)),
        Command::Certify(command) => command.run(),
        Command::Verify(command) => command.run(),
        Command::Faults(command) => command.run(),
        Command::Gate(command) => command.run(),
        Command::Bisect(command) => command.run(),
        Command::Report(command) => command.run().map_err(Into::into),
        Command::Profile(ProfileCommand::Check { file }) => check_profile(&file),
        Command::Profile(ProfileCommand::Try(command)) => command.run(),
        Command::Profile(ProfileCommand::Schema) => Ok(print_schema()),
        Command::Completions(command) => command.run(Cli::command()).map_err(Into::into),
        Command::Man(command) => command.run(Cli::command()),
        Command::Probe(arguments) => look(&arguments),
        Command::KernelTable(command) => command.run().map_err(Into::into),
        Command::PciTarget(arguments) => be_pci_target(&arguments),
    }
}

type Outcome = Result<Exit, Box<dyn std::error::Error>>;

fn run(command: RunCommand) -> Outcome {
    let Some(arguments) = libtest_arguments(&command.common) else {
        return Ok(Exit::Conforms);
    };
    if let Some(folder) = &command.resume {
        return run_on(&command, arguments, folder);
    }
    // The command line is not read without one of the two.
    let Some(device) = &command.device else {
        return Err("failed to run: no device is named\n    name one, or a run with --resume".into());
    };
    let options = RunOptions {
        device: device.to_string(),
        lab: "local",
        target: None,
        kernel: None,
        strict: command.common.strict,
        require: command.common.require,
        durable: !device.is_model(),
        reproduce: command.handling.reproduce(device, command.handling.may_hang),
        guest: None,
        options: Some(command.handling.stored()?),
        baseline: command.common.baseline.baseline.clone(),
    };
    device::refuse_unusable(device)?;
    let spec = command.handling.spec(device)?;
    let baseline = command.common.baseline.read()?;
    let folder = RunFolder::create(command.common.out.as_deref())?.with_baseline(baseline);
    let lab = LocalLab::new(spec, &folder.console())?;
    Ok(supervisor::run(&options, &folder, arguments, Box::new(lab))?)
}

/// The checks of a run are chosen once.
fn refuse_filters(unfinished: &Unfinished, arguments: &libtest_mimic::Arguments) -> Result<(), RunError> {
    if arguments.filter.is_none() && arguments.skip.is_empty() && !arguments.ignored {
        return Ok(());
    }
    let why = "its checks were chosen when it began\n    leave out the filters behind --";
    Err(unfinished.refuse(why.to_owned()))
}

/// Continues a run in a guest. The check that was running runs again: a guest cannot take this host down.
fn continue_in_guest(common: &Common, arguments: libtest_mimic::Arguments, folder: &Path) -> Outcome {
    let unfinished = Unfinished::open(folder)?.with_stored_baseline(&common.baseline)?;
    refuse_filters(&unfinished, &arguments)?;
    let Some(options) = unfinished.guest().cloned() else {
        let why = format!("it was a run on this host\n    vfio-conform run --resume {}", folder.display());
        return Err(unfinished.refuse(why).into());
    };
    let lab = QemuLab::new(options, unfinished.folder().console());
    Ok(supervisor::resume(unfinished, arguments, true, Box::new(lab))?)
}

/// Goes on with a run of this host.
fn run_on(command: &RunCommand, arguments: libtest_mimic::Arguments, folder: &Path) -> Outcome {
    let unfinished = Unfinished::open(folder)?;
    refuse_filters(&unfinished, &arguments)?;
    if unfinished.guest().is_some() {
        let why = format!("it was a run in a guest\n    vfio-conform qemu --resume {}", folder.display());
        return Err(unfinished.refuse(why).into());
    }
    let device: DeviceName = unfinished.device().parse()?;
    if let Some(other) = command.device.as_ref().filter(|other| **other != device) {
        let why = format!("it is a run on {device}, not on {other}\n    leave the device out");
        return Err(unfinished.refuse(why).into());
    }
    let stored = unfinished.options()?;
    let handling = command.handling.resumed(stored).map_err(|error| unfinished.refuse(error.to_string()))?;
    let unfinished = unfinished.with_stored_baseline(&command.common.baseline)?;
    let lab = LocalLab::new(handling.spec(&device)?, &unfinished.folder().console())?;
    Ok(supervisor::resume(unfinished, arguments, command.retry, Box::new(lab))?)
}

fn walk_locally(command: WalkCommand) -> Outcome {
    let walk = command.steps.walk();
    let reproduce = format!("vfio-conform walk {} --seed {}", command.device, walk.seed);
    let (options, folder, lab) = open_for_walk(&command.device, command.opening, reproduce)?;
    Ok(supervisor::walk(&options, &folder, walk, lab)?)
}

fn replay_locally(command: ReplayCommand) -> Outcome {
    let list = WalkList::read(&command.file)?;
    let device = match (command.device, list.device) {
        (Some(device), _) => device,
        (None, Some(device)) => device.parse()?,
        (None, None) => return Err("failed to replay: the file names no device\n    name one behind it".into()),
    };
    let reproduce = format!("vfio-conform replay {} {device}", command.file.display());
    let (options, folder, lab) = open_for_walk(&device, command.opening, reproduce)?;
    Ok(supervisor::replay(&options, &folder, list.operations, lab)?)
}

/// What a walk on a device of this host is run with.
type Walking = (RunOptions, RunFolder, Box<dyn Lab>);

fn open_for_walk(
    device: &DeviceName,
    opening: Opening,
    reproduce: String,
) -> Result<Walking, Box<dyn std::error::Error>> {
    let options = RunOptions {
        device: device.to_string(),
        lab: "local",
        target: None,
        kernel: None,
        strict: false,
        require: opening.require,
        durable: !device.is_model(),
        reproduce,
        guest: None,
        options: None,
        baseline: Vec::new(),
    };
    device::refuse_unusable(device)?;
    let folder = RunFolder::create(opening.out.as_deref())?;
    let lab = LocalLab::new(
        ExecutorSpec {
            device: device.to_string(),
            via: opening.via,
            profile: opening.profile,
            force_profile: opening.force_profile,
            may_hang: false,
            wear: None,
            deadline: Duration::from_secs_f64(opening.deadline),
            open_deadline: Duration::from_secs(60),
        },
        &folder.console(),
    )?;
    Ok((options, folder, Box::new(lab)))
}

/// A walk, or a replay of one, in a guest.
fn walk_in_guest(command: QemuCommand) -> Outcome {
    let QemuCommand { mut options, steps, replay, common, .. } = command;
    let list = replay.as_deref().map(WalkList::read).transpose()?;
    let walk = steps.walk();
    options.deadline = options.deadline.max(walk::DEADLINE.as_secs_f64());
    let words = match &replay {
        Some(file) => format!("--replay {}", file.display()),
        None => format!("--walk --seed {}", walk.seed),
    };
    let run = RunOptions {
        device: options.device(),
        lab: "qemu",
        target: Some(options.target.to_string()),
        kernel: Some(options.kernel.clone()),
        strict: common.strict,
        require: common.require,
        durable: false,
        reproduce: options.reproduce().replace("-- --exact {check}", &words),
        // Walks are not resumed.
        guest: None,
        options: None,
        baseline: common.baseline.baseline.clone(),
    };
    let folder = RunFolder::create(common.out.as_deref())?.with_baseline(common.baseline.read()?);
    let lab = Box::new(QemuLab::new(options, folder.console()));
    Ok(match list {
        Some(list) => supervisor::replay(&run, &folder, list.operations, lab)?,
        None => supervisor::walk(&run, &folder, walk, lab)?,
    })
}

fn qemu(command: QemuCommand) -> Outcome {
    command.options.check()?;
    if command.bare {
        return bare(&command.options);
    }
    if let (true, Some(out)) = (command.certify.is_asked(), command.common.out.clone()) {
        return command.certify.run(
            command.options,
            out,
            command.common.strict,
            command.common.require,
            command.steps.walk(),
        );
    }
    if command.walk || command.replay.is_some() {
        return walk_in_guest(command);
    }
    let probe = command.probe.map(|probe| Errand::Probe { probe, plain: command.plain.as_deref() });
    if let Some(errand) = probe.or(command.script.as_deref().map(Errand::Script)) {
        println!("{}", errand::run(&command.options, errand)?);
        return Ok(Exit::Conforms);
    }
    let Some(arguments) = libtest_arguments(&command.common) else {
        return Ok(Exit::Conforms);
    };
    let arguments = with_checks(arguments, &command.beside);
    if let Some(folder) = &command.resume {
        return continue_in_guest(&command.common, arguments, folder);
    }
    let target = command.options.target;
    let options = RunOptions {
        device: command.options.device(),
        lab: "qemu",
        target: Some(target.to_string()),
        kernel: Some(command.options.kernel.clone()),
        strict: command.common.strict,
        require: command.common.require,
        durable: false,
        reproduce: with_driver_fault(command.options.reproduce(), command.driver_fault.as_deref()),
        guest: Some(command.options.clone()),
        options: None,
        baseline: command.common.baseline.baseline.clone(),
    };
    let baseline = command.common.baseline.read()?;
    let folder = RunFolder::create(command.common.out.as_deref())?.with_baseline(baseline);
    let lab = match &command.driver_fault {
        Some(fault) => QemuLab::with_driver_fault(command.options, folder.console(), fault),
        None => QemuLab::new(command.options, folder.console()),
    };
    Ok(supervisor::run(&options, &folder, arguments, Box::new(lab))?)
}

fn bare(options: &QemuOptions) -> Outcome {
    let bare = vfio_conform::lab::qemu::bare(options)?;
    println!("{bare}");
    Ok(Exit::Conforms)
}

/// The command that repeats a check on a driver with this fault.
fn with_driver_fault(reproduce: String, fault: Option<&str>) -> String {
    match fault {
        Some(fault) => reproduce.replace(" -- ", &format!(" --driver-fault {fault} -- ")),
        None => reproduce,
    }
}

/// Reads libtest's own options; `None` if they only asked for the list, which is printed then.
fn libtest_arguments(common: &Common) -> Option<libtest_mimic::Arguments> {
    let program = "vfio-conform ... --".to_owned();
    let words = std::iter::once(program).chain(common.libtest.iter().cloned());
    let arguments = libtest_mimic::Arguments::from_iter(words);
    if arguments.list {
        end_with_reader();
        supervisor::list(&arguments);
        return None;
    }
    Some(arguments)
}

fn list(command: ListCommand) -> Outcome {
    let filter = Filter { chapter: command.chapter, level: command.level, words: command.words };
    let show = match command.checks {
        true => Show::Checks,
        false => Show::Requirements,
    };
    let text = catalogue::list(&filter, show, command.format, terminal_width())?;
    end_with_reader();
    anstream::print!("{text}");
    Ok(Exit::Conforms)
}

fn explain(command: &ExplainCommand) -> Outcome {
    let text = catalogue::explain(&command.name, terminal_width())?;
    end_with_reader();
    anstream::print!("{text}");
    Ok(Exit::Conforms)
}

fn print_fsm(command: &FsmCommand) -> Exit {
    end_with_reader();
    let sets = command.caps.map_or(Capabilities::ALL.to_vec(), |set| vec![set]);
    let print = match command.dot {
        true => fsm::table::dot,
        false => fsm::table::matrix,
    };
    let texts: Vec<String> = sets.into_iter().map(print).collect();
    print!("{}", texts.join("\n\n"));
    Exit::Conforms
}

fn check_profile(file: &Path) -> Outcome {
    let profile = Profile::read(file)?;
    end_with_reader();
    println!("{}: understood", profile.name);
    for (name, steps, _) in profile.plays() {
        let known = match steps {
            Some(steps) => format!("{} steps", steps.get_ref().len()),
            None => "none: checks that need it are skipped".to_owned(),
        };
        println!("  {name:<15}  {known}");
    }
    Ok(Exit::Conforms)
}

fn print_schema() -> Exit {
    end_with_reader();
    print!("{}", Profile::schema());
    Exit::Conforms
}

fn serve(arguments: &ExecutorArguments) -> Outcome {
    executor::serve(arguments)?;
    Ok(Exit::Conforms)
}

fn look(arguments: &ProbeArguments) -> Outcome {
    println!("{}", probe::run(arguments)?);
    Ok(Exit::Conforms)
}

fn be_pci_target(arguments: &vfio_conform_pci_target::command::Arguments) -> Outcome {
    arguments.run()?;
    Ok(Exit::Conforms)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every command that people can type, by its words.
    fn commands(command: &clap::Command, words: &str) -> Vec<(String, clap::Command)> {
        let visible = command.get_subcommands().filter(|command| !command.is_hide_set());
        let below = visible.flat_map(|command| commands(command, &format!("{words} {}", command.get_name())));
        std::iter::once((words.to_owned(), command.clone())).chain(below).collect()
    }

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example_of_itself() {
        let all = commands(&Cli::command(), "vfio-conform");
        assert!(all.len() > 15, "{}", all.len());
        for (words, mut command) in all {
            let help = command.render_long_help().to_string();
            let example = help.split_once("Example").map_or("", |(_, examples)| examples);
            assert!(
                example.contains(&words) || example.contains("./ci/emulated"),
                "{words} --help has no example:\n{help}"
            );
        }
    }

    #[test]
    fn every_argument_says_what_it_is() {
        for (words, command) in commands(&Cli::command(), "vfio-conform") {
            for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
                assert!(argument.get_help().is_some(), "{words}: {}", argument.get_id());
            }
        }
    }
}
