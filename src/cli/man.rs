//! `spop-bridge man`: manual pages.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory, Parser};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, roman};

use super::Cli;
use super::exit::{Exit, Failure};

/// Print the manual page, or write those of all commands into a folder.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The folder that spop-bridge.1, spop-bridge-run.1 and the others go to. Made if it is not there.
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  Read it:
    spop-bridge man | man -l -

  Install it:
    spop-bridge man ~/.local/share/man/man1";

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    match &args.dir {
        None => {
            let page = page(&root).map_err(|error| Failure::new(Exit::Failed, error))?;
            super::output::write(&page);
            Ok(())
        }
        Some(dir) => std::fs::create_dir_all(dir)
            .and_then(|()| write_all(&root, dir))
            .map_err(|error| Failure::new(Exit::Failed, format!("cannot write manual pages to {}: {error}", dir.display()))),
    }
}

/// A page for this command and for each one below it.
fn write_all(command: &Command, dir: &Path) -> io::Result<()> {
    let name = Man::new(command.clone()).get_filename();
    std::fs::write(dir.join(name), page(command)?)?;
    command.get_subcommands().try_for_each(|command| write_all(command, dir))
}

/// The usual sections. What follows the options in `--help` has headings of its own there, which become sections.
fn page(command: &Command) -> io::Result<Vec<u8>> {
    let man = Man::new(command.clone()).manual("User Commands");
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page)?;
    }
    if let Some(help) = command.get_after_help() {
        notes(&help.to_string(), &mut page)?;
    }
    Ok(page)
}

/// Headings stand at the left and end with a colon; what is below them is shown as it is.
fn notes(help: &str, page: &mut dyn Write) -> io::Result<()> {
    let mut roff = Roff::new();
    for line in help.lines() {
        match line.strip_suffix(':').filter(|line| !line.starts_with(' ')) {
            Some(heading) => {
                roff.control("fi", []).control("SH", [heading.to_uppercase().as_str()]).control("nf", []);
            }
            None => {
                // In a block without filling each text is a line.
                roff.text([roman(line.strip_prefix("  ").unwrap_or(line))]);
            }
        }
    }
    roff.to_writer(page)
}
