//! One file per verb. Each parses nothing and decides nothing: it calls a library and prints what comes back.

pub(crate) mod bake;
pub(crate) mod eval;
pub(crate) mod exec;
pub(crate) mod fork;
pub(crate) mod kill;
pub(crate) mod ps;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod supervise;

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::error::CliError;

/// Runs one verb.
pub(crate) fn run(cli: Cli) -> Result<ExitCode, CliError> {
    let Cli { options, command } = cli;
    match command {
        Command::Bake(args) => bake::run(&options, args),
        Command::Push(args) => push::run(&options, &args),
        Command::Pull(args) => pull::run(&options, &args),
        Command::Fork(args) => fork::run(&options, args),
        Command::Exec(args) => exec::run(&options, args),
        Command::Eval(args) => eval::run(&options, args),
        Command::Ps(args) => ps::run(&options, &args),
        Command::Kill(args) => kill::run(&options, &args),
        Command::Supervise(args) => supervise::run(&options, &args),
    }
}
