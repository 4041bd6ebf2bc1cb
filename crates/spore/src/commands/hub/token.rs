//! `spore hub token`

use std::process::ExitCode;

use clap::{Args, Subcommand};
use hub_server::{Namespace, NewToken};
use serde_json::json;

use crate::error::CliError;
use crate::options::Options;
use crate::output::{self, Format, Level};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore hub token new --name alice --push alice/ >> tokens.toml")]
pub(crate) struct TokenArgs {
    #[command(subcommand)]
    verb: TokenVerb,
}

#[derive(Debug, Subcommand)]
enum TokenVerb {
    /// Make a token, and its entry for the file of tokens
    New(NewArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore hub token new --name alice --push alice/ >> tokens.toml
  spore hub token new --name ci --push team/numpy --push team/torch >> tokens.toml
  spore hub token new --name admin --push '*' --delete >> tokens.toml
  spore hub token new --name everybody >> tokens.toml                      to pull, where the hub is not public

The entry goes to standard output; it holds the sha256 of the token alone. The token goes to standard error, once: it is the
password of `spore login`, with any user. A server that runs reads its file of tokens when it is started again.")]
struct NewArgs {
    /// What the token is known by in the log
    #[arg(long)]
    name: String,
    /// What it may push: a name (team/numpy), all below one (alice/), or all (*); can be given more than once
    #[arg(long, value_name = "NAMES")]
    push: Vec<Namespace>,
    /// It may read only what it may push
    #[arg(long, requires = "push")]
    no_pull: bool,
    /// It may delete tags and manifests, where it may push
    #[arg(long, requires = "push")]
    delete: bool,
}

pub(crate) fn run(options: &Options, args: &TokenArgs) -> Result<ExitCode, CliError> {
    let TokenVerb::New(args) = &args.verb;
    let new = NewToken::generate(&args.name, args.push.clone(), !args.no_pull, args.delete)?;
    // A script that wants a document gets the token in it; elsewhere it must not get into the file.
    if options.format == Format::Text {
        if output::logs_json() {
            let reason = "the token would be shown on standard error, which is a log here: add --format json";
            return Err(CliError::Usage(reason.to_owned()));
        }
        output::say(
            Level::Info,
            &format!("the token of {}, which is shown this once:\n{}", args.name, new.token.expose()),
        );
    }
    let document = json!({ "name": args.name, "token": new.token.expose(), "entry": new.entry });
    output::result(options.format, &document, || new.entry.clone());
    Ok(ExitCode::SUCCESS)
}
