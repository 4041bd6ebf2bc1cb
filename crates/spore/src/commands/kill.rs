//! `spore kill`

use std::process::ExitCode;

use clap::Args;
use sandbox::{find, kill, kill_all, list};
use serde_json::json;

use crate::error::CliError;
use crate::options::Options;
use crate::{context, output};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore kill ID ID
  spore kill --all")]
pub(crate) struct KillArgs {
    /// Sandboxes, or how their ids begin
    #[arg(required_unless_present = "all", value_name = "ID")]
    ids: Vec<String>,
    /// All of them, dead ones too
    #[arg(long, conflicts_with = "ids")]
    all: bool,
}

pub(crate) fn run(options: &Options, args: &KillArgs) -> Result<ExitCode, CliError> {
    let store = context::store(options)?;
    // All are looked up before one is ended: a mistyped id ends nothing.
    let sandboxes = if args.all {
        list(&store)?
    } else {
        args.ids.iter().map(|id| find(&store, id)).collect::<Result<Vec<_>, _>>()?
    };
    if args.all {
        kill_all(&store, &sandboxes)?;
    } else {
        sandboxes.iter().try_for_each(|sandbox| kill(&store, sandbox))?;
    }
    let ids: Vec<_> = sandboxes.iter().map(|sandbox| sandbox.id.to_string()).collect();
    output::result(options.format, &json!({ "killed": ids }), || ids.join("\n"));
    Ok(ExitCode::SUCCESS)
}
