//! `spore man`: the manual pages, one for each verb. For who packages Spore.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Command};

use crate::error::{CliError, Doing};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore man ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Where to write them; made if it is not there
    folder: PathBuf,
}

pub(crate) fn run(args: &ManArgs, cli: Command) -> Result<ExitCode, CliError> {
    let folder = &args.folder;
    std::fs::create_dir_all(folder).doing(format!("make {}", folder.display()))?;
    clap_mangen::generate_to(cli, folder).doing(format!("write manual pages into {}", folder.display()))?;
    Ok(ExitCode::SUCCESS)
}
