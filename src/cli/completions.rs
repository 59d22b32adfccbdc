//! `spop-bridge completions`: what the shell completes after the Tab key.

use clap::{CommandFactory, Parser};
use clap_complete::Shell;

use super::Cli;

/// Print a script that completes commands and options in a shell.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The shell that it is for.
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  Where bash, zsh (with fpath+=~/.zfunc before compinit) and fish look for it:
    spop-bridge completions bash > ~/.local/share/bash-completion/completions/spop-bridge
    spop-bridge completions zsh > ~/.zfunc/_spop-bridge
    spop-bridge completions fish > ~/.config/fish/completions/spop-bridge.fish";

pub(super) fn run(args: &Args) {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "spop-bridge", &mut script);
    // clap_complete 4.6 writes a hyphen in the program's name in two ways for bash, so that nothing below a command is completed.
    let script = String::from_utf8_lossy(&script).replace("spop__subcmd__bridge", "spop__bridge");
    super::output::write(script.as_bytes());
}
