//! `vfio-conform completions` and `man`: what is made of the definition of the command line.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::harness::verdict::Exit;
use crate::uapi::process::end_with_reader;

/// What `vfio-conform completions --help` ends with.
pub const COMPLETIONS_EXAMPLES: &str = "\
Examples:
  source <(vfio-conform completions bash)                  in this shell
  vfio-conform completions bash | sudo tee /usr/share/bash-completion/completions/vfio-conform
  vfio-conform completions fish > ~/.config/fish/completions/vfio-conform.fish";

/// What `vfio-conform man --help` ends with.
pub const MAN_EXAMPLES: &str = "\
Examples:
  vfio-conform man | man -l -                              read it
  sudo vfio-conform man /usr/local/share/man/man1          a page for each command";

/// For which shell.
#[derive(Debug, Args)]
pub struct CompletionsCommand {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Where the pages go.
#[derive(Debug, Args)]
pub struct ManCommand {
    /// Folder for a page of each command [default: only the main page, printed]
    dir: Option<PathBuf>,
}

impl CompletionsCommand {
    /// Prints the completions of this command line.
    ///
    /// # Errors
    /// Why they cannot be printed.
    pub fn run(&self, cli: Command) -> io::Result<Exit> {
        end_with_reader();
        let mut text = Vec::new();
        clap_complete::generate(self.shell, &mut visible(cli), "vfio-conform", &mut text);
        io::stdout().write_all(&text)?;
        Ok(Exit::Conforms)
    }
}

impl ManCommand {
    /// Prints the main page of this command line, or writes all pages to a folder.
    ///
    /// # Errors
    /// Why they cannot be written.
    pub fn run(&self, cli: Command) -> Result<Exit, Box<dyn std::error::Error>> {
        let cli = visible(cli);
        match &self.dir {
            None => {
                end_with_reader();
                let mut page = Vec::new();
                Man::new(cli).render(&mut page)?;
                io::stdout().write_all(&page)?;
            }
            Some(folder) => write(cli, folder).map_err(|error| unwritable(folder, &error))?,
        }
        Ok(Exit::Conforms)
    }
}

fn write(cli: Command, folder: &Path) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    clap_mangen::generate_to(cli, folder)
}

fn unwritable(folder: &Path, error: &io::Error) -> String {
    format!("failed to write {}: {error}\n    choose another folder: vfio-conform man DIR", folder.display())
}

/// The command line without what people are not to type. Shells would complete it.
fn visible(cli: Command) -> Command {
    let mut shown = Command::new(cli.get_name().to_owned())
        .about(cli.get_about().cloned().unwrap_or_default())
        .after_help(cli.get_after_help().cloned().unwrap_or_default())
        .args(cli.get_arguments().cloned());
    if let Some(version) = cli.get_version() {
        shown = shown.version(version.to_owned());
    }
    if cli.get_subcommands().next().is_some() {
        shown = shown.subcommand_required(true);
    }
    let commands = cli.get_subcommands().filter(|command| !command.is_hide_set());
    shown.subcommands(commands.cloned().map(visible))
}
