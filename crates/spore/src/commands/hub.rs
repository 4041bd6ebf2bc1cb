//! `spore hub`: acts on hubs, one file each.

pub(crate) mod copy;
pub(crate) mod index;
pub(crate) mod prune;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::Options;
use crate::error::CliError;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore hub copy hub.example/team/numpy:1 acme/numpy:1       from one hub to another
  spore hub index /srv/hub --url https://hub.example         what it offers, for browsers and programs
  spore hub prune s3://snapshots --dry-run                   what no tag there leads to")]
pub(crate) struct HubArgs {
    #[command(subcommand)]
    verb: HubVerb,
}

#[derive(Debug, Subcommand)]
enum HubVerb {
    /// Copy a snapshot from one hub to another
    Copy(copy::CopyArgs),
    /// Write a hub's catalogue: catalog.json and index.html
    Index(index::IndexArgs),
    /// Remove what no tag of a folder or bucket leads to any more
    Prune(prune::PruneArgs),
}

pub(crate) fn run(options: &Options, args: &HubArgs) -> Result<ExitCode, CliError> {
    match &args.verb {
        HubVerb::Copy(args) => copy::run(options, args),
        HubVerb::Index(args) => index::run(options, args),
        HubVerb::Prune(args) => prune::run(options, args),
    }
}
