//! `spore hub`: acts on hubs, one file each.

pub(crate) mod copy;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::Options;
use crate::error::CliError;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore hub copy hub.example/team/numpy:1 acme/numpy:1       from one hub to another")]
pub(crate) struct HubArgs {
    #[command(subcommand)]
    verb: HubVerb,
}

#[derive(Debug, Subcommand)]
enum HubVerb {
    /// Copy a snapshot from one hub to another
    Copy(copy::CopyArgs),
}

pub(crate) fn run(options: &Options, args: &HubArgs) -> Result<ExitCode, CliError> {
    match &args.verb {
        HubVerb::Copy(args) => copy::run(options, args),
    }
}
