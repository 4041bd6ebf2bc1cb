//! `spore hub`: acts on hubs, one file each.

pub(crate) mod prune;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::Options;
use crate::error::CliError;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore hub prune s3://snapshots --dry-run       what no tag there leads to")]
pub(crate) struct HubArgs {
    #[command(subcommand)]
    verb: HubVerb,
}

#[derive(Debug, Subcommand)]
enum HubVerb {
    /// Remove what no tag of a folder or bucket leads to any more
    Prune(prune::PruneArgs),
}

pub(crate) fn run(options: &Options, args: &HubArgs) -> Result<ExitCode, CliError> {
    match &args.verb {
        HubVerb::Prune(args) => prune::run(options, args),
    }
}
