//! `spore hub`: acts on hubs. One file per verb; nothing but which one is meant is decided here.

pub(crate) mod index;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::Options;
use crate::error::CliError;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore hub index /srv/hub                            what it offers, for browsers and programs")]
pub(crate) struct HubArgs {
    #[command(subcommand)]
    command: HubCommand,
}

#[derive(Debug, Subcommand)]
enum HubCommand {
    /// Write a hub's catalogue: catalog.json and index.html
    Index(index::IndexArgs),
}

pub(crate) fn run(options: &Options, args: &HubArgs) -> Result<ExitCode, CliError> {
    match &args.command {
        HubCommand::Index(args) => index::run(options, args),
    }
}
