//! `spore hub`: acts on hubs, one file each.

pub(crate) mod copy;
pub(crate) mod index;
pub(crate) mod prune;
pub(crate) mod serve;
pub(crate) mod token;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::error::CliError;
use crate::options::Options;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore hub copy hub.example/team/numpy:1 acme/numpy:1       from one hub to another
  spore hub index /srv/hub --url https://hub.example         what it offers, for browsers and programs
  spore hub prune s3://snapshots --dry-run                   what no tag there leads to
  spore hub serve /srv/hub                                   a folder as a registry for this machine
  spore hub token new --name alice --push alice/ >> tokens.toml")]
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
    /// Serve a folder as a small registry
    Serve(serve::ServeArgs),
    /// Make tokens for a served hub
    Token(token::TokenArgs),
}

impl HubArgs {
    /// What is logged where `SPORE_LOG` does not say, if anything.
    pub(crate) fn logs(&self) -> Option<&'static str> {
        matches!(self.verb, HubVerb::Serve(_)).then_some(serve::LOG)
    }
}

pub(crate) fn run(options: &Options, args: &HubArgs) -> Result<ExitCode, CliError> {
    match &args.verb {
        HubVerb::Copy(args) => copy::run(options, args),
        HubVerb::Index(args) => index::run(options, args),
        HubVerb::Prune(args) => prune::run(options, args),
        HubVerb::Serve(args) => serve::run(options, args),
        HubVerb::Token(args) => token::run(options, args),
    }
}
