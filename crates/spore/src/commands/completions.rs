//! `spore completions`

use std::process::ExitCode;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::error::{CliError, Doing};
use crate::output;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore completions bash > ~/.local/share/bash-completion/completions/spore
  spore completions zsh > ~/.zfunc/_spore
  spore completions fish > ~/.config/fish/completions/spore.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs, cli: &mut Command) -> Result<ExitCode, CliError> {
    // Made whole before it is printed: the generator panics where the reader of a pipe has gone.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, cli, "spore", &mut script);
    output::copy(&mut script.as_slice()).doing("print the script")?;
    Ok(ExitCode::SUCCESS)
}
