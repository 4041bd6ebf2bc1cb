//! One file per verb. Each parses nothing and decides nothing: it calls a library and prints what comes back.

pub(crate) mod bake;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod doctor;
pub(crate) mod du;
pub(crate) mod eval;
pub(crate) mod exec;
pub(crate) mod fork;
pub(crate) mod fsck;
pub(crate) mod hub;
pub(crate) mod images;
pub(crate) mod inspect;
pub(crate) mod kill;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod logs;
pub(crate) mod prune;
pub(crate) mod ps;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod rm;
pub(crate) mod run;
pub(crate) mod supervise;
pub(crate) mod tag;
pub(crate) mod version;

use std::process::ExitCode;

use crate::cli::{Cli, Command};
use crate::error::CliError;

/// Runs one verb.
pub(crate) fn run(cli: Cli) -> Result<ExitCode, CliError> {
    let Cli { options, command } = cli;
    match command {
        Command::Pull(args) => pull::run(&options, &args),
        Command::Push(args) => push::run(&options, &args),
        Command::Images(args) => images::run(&options, &args),
        Command::Inspect(args) => inspect::run(&options, &args),
        Command::Tag(args) => tag::run(&options, &args),
        Command::Rm(args) => rm::run(&options, &args),
        Command::Prune(args) => prune::run(&options, &args),
        Command::Du(args) => du::run(&options, &args),
        Command::Bake(args) => bake::run(&options, args),
        Command::Fork(args) => fork::run(&options, &args),
        Command::Run(args) => run::run(&options, args),
        Command::Exec(args) => exec::run(&options, args),
        Command::Eval(args) => eval::run(&options, args),
        Command::Ps(args) => ps::run(&options, &args),
        Command::Logs(args) => logs::run(&options, &args),
        Command::Kill(args) => kill::run(&options, &args),
        Command::Login(args) => login::run(&options, &args),
        Command::Logout(args) => logout::run(&options, &args),
        Command::Hub(args) => hub::run(&options, &args),
        Command::Fsck(args) => fsck::run(&options, &args),
        Command::Doctor(args) => doctor::run(&options, &args),
        Command::Config(args) => config::run(&options, &args),
        Command::Completions(args) => completions::run(&args),
        Command::Version(args) => Ok(version::run(&options, &args)),
        Command::Supervise(args) => supervise::run(&options, &args),
    }
}
