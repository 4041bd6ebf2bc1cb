//! `spore hub`: acts on hubs, one file each.

pub(crate) mod serve;
pub(crate) mod token;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::cli::Options;
use crate::error::CliError;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore hub serve /srv/hub                                   a folder as a registry for this machine
  spore hub token new --name alice --push alice/ >> tokens.toml")]
pub(crate) struct HubArgs {
    #[command(subcommand)]
    verb: HubVerb,
}

#[derive(Debug, Subcommand)]
enum HubVerb {
    /// Serve a folder as a small registry
    Serve(serve::ServeArgs),
    /// Make tokens for a served hub
    Token(token::TokenArgs),
}

pub(crate) fn run(options: &Options, args: &HubArgs) -> Result<ExitCode, CliError> {
    match &args.verb {
        HubVerb::Serve(args) => serve::run(options, args),
        HubVerb::Token(args) => token::run(options, args),
    }
}
