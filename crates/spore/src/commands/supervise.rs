//! `spore supervise`: what `fork` starts for each sandbox. Not for people.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use sandbox::supervisor::{self, Start};

use crate::context;
use crate::error::{CliError, Doing};
use crate::options::Options;

#[derive(Debug, Args)]
pub(crate) struct SuperviseArgs {
    /// The sandbox
    id: String,
    /// The inherited connection to the command that started this
    connection: i32,
    /// Restore the engine, and go on if a byte comes through this inherited pipe
    #[arg(long, value_name = "FD", conflicts_with = "adopt", required_unless_present = "adopt")]
    restore: Option<i32>,
    /// How many milliseconds the guest may take then
    #[arg(long, default_value_t = 120_000)]
    deadline_ms: u64,
    /// Take up an engine whose supervisor has died
    #[arg(long)]
    adopt: bool,
}

pub(crate) fn run(options: &Options, args: &SuperviseArgs) -> Result<ExitCode, CliError> {
    let parent = host::inherited_stream(args.connection).doing("use the inherited connection")?;
    let store = store::Store::attach(&context::root(options)?);
    let id = args.id.parse()?;
    let engine = context::engine(&store)?;
    let start = match args.restore {
        Some(fd) => Start::Restore {
            keep: host::inherited_pipe(fd).doing("use the inherited pipe")?,
            deadline: Duration::from_millis(args.deadline_ms),
        },
        None => Start::Adopt,
    };
    supervisor::run(&store, &engine, &id, start, parent)?;
    Ok(ExitCode::SUCCESS)
}
