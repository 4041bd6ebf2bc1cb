//! The command line: the verbs, and `--help` with examples.
//!
//! Help is at most 80 columns wide ([`help`]).

use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands;
use crate::error::CliError;
use crate::options::{Flags, Options};

mod help;
mod lazy;

use lazy::Lazy;

/// Bake a warm VM once, ship it to any host, and fork it there any number of times.
#[derive(Debug, Parser)]
#[command(name = "spore", version, propagate_version = true, disable_help_subcommand = true)]
#[command(max_term_width = help::COLUMNS)]
#[command(after_help = "Examples:
  spore pull --hub /srv/hub python-numpy      fetch a snapshot that somebody baked
  spore fork python-numpy -n 10               ten running VMs of it
  spore eval ID 'numpy.zeros(5).tolist()'     in the warm interpreter of one
  spore exec ID -- uname -a                   any program in it
  spore kill --all                            end them

Exit codes:
  0    done
  1    failed
  2    wrong usage
  3    not found
  4    this host cannot run the snapshot, or this Spore is too old for the store
  5    verification failed: not what digests or the snapshot say
  130  interrupted
  exec, eval and run have the command's own status; 125 when Spore itself
  failed, 126 and 127 as in a shell")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) flags: Flags,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// What was typed.
    ///
    /// # Errors
    /// If it is not understood, or asks for help or the version.
    pub(crate) fn read() -> Result<Self, clap::Error> {
        let matches = match Self::command().try_get_matches() {
            // Fitted only where it is shown: that takes longer than all else that is read here.
            Err(told) if shows_help(&told) => command().try_get_matches(),
            read => read,
        }?;
        Self::from_arg_matches(&matches)
    }
}

fn shows_help(told: &clap::Error) -> bool {
    matches!(told.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand)
}

impl Command {
    /// Runs the verb.
    pub(crate) fn run(self, options: &Options) -> Result<ExitCode, CliError> {
        match self {
            Self::Pull(args) => commands::pull::run(options, &args),
            Self::Push(args) => commands::push::run(options, &args),
            Self::Pack(args) => commands::pack::run(options, &args),
            Self::Unpack(args) => commands::unpack::run(options, &args),
            Self::Images(args) => commands::images::run(options, &args),
            Self::Inspect(args) => commands::inspect::run(options, &args),
            Self::Tag(args) => commands::tag::run(options, &args),
            Self::Rm(args) => commands::rm::run(options, &args),
            Self::Prune(args) => commands::prune::run(options, &args),
            Self::Du(args) => commands::du::run(options, &args),
            Self::Bake(args) => commands::bake::run(options, args.0),
            Self::Fork(args) => commands::fork::run(options, &args),
            Self::Run(args) => commands::run::run(options, &args),
            Self::Exec(args) => commands::exec::run(options, &args),
            Self::Cp(args) => commands::cp::run(options, &args),
            Self::Eval(args) => commands::eval::run(options, args.0),
            Self::Ps(args) => commands::ps::run(options, &args),
            Self::Logs(args) => commands::logs::run(options, &args),
            Self::Kill(args) => commands::kill::run(options, &args),
            Self::Login(args) => commands::login::run(options, &args),
            Self::Logout(args) => commands::logout::run(options, &args),
            Self::Hub(args) => commands::hub::run(options, &args),
            Self::Fsck(args) => commands::fsck::run(options, &args),
            Self::Doctor(args) => commands::doctor::run(options, &args),
            Self::Config(args) => commands::config::run(options, &args),
            Self::Completions(args) => commands::completions::run(&args, &mut command()),
            Self::Man(args) => commands::man::run(&args, command()),
            Self::Version(args) => Ok(commands::version::run(options, &args)),
            Self::Supervise(args) => commands::supervise::run(options, &args),
        }
    }
}

/// The command line as it is shown and understood, with the options of all verbs.
pub(crate) fn command() -> clap::Command {
    let mut command = Cli::command();
    command.build();
    help::fitted(command)
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fetch a snapshot from a hub
    Pull(Lazy<commands::pull::PullArgs>),
    /// Send a snapshot to a hub
    Push(Lazy<commands::push::PushArgs>),
    /// Write a snapshot to one file, or to a pipe
    Pack(Lazy<commands::pack::PackArgs>),
    /// Take a snapshot from a pack
    Unpack(Lazy<commands::unpack::UnpackArgs>),
    /// List the snapshots that are here, or in a hub
    Images(Lazy<commands::images::ImagesArgs>),
    /// Show all that is known of a snapshot or a sandbox
    Inspect(Lazy<commands::inspect::InspectArgs>),
    /// Give a snapshot another local tag
    Tag(Lazy<commands::tag::TagArgs>),
    /// Remove tags of snapshots
    Rm(Lazy<commands::rm::RmArgs>),
    /// Remove what nothing needs any more
    Prune(Lazy<commands::prune::PruneArgs>),
    /// Show what the store takes
    Du(Lazy<commands::du::DuArgs>),
    /// Make a snapshot of a warm VM from a recipe
    Bake(Lazy<commands::bake::BakeArgs>),
    /// Start copies of a snapshot
    Fork(Lazy<commands::fork::ForkArgs>),
    /// Run a program in a fork that ends with it
    Run(Lazy<commands::run::RunArgs>),
    /// Run a program in a sandbox
    Exec(Lazy<commands::exec::ExecArgs>),
    /// Evaluate code in a sandbox's warm process
    Eval(Lazy<commands::eval::EvalArgs>),
    /// Copy files between here and a sandbox
    Cp(Lazy<commands::cp::CpArgs>),
    /// List sandboxes
    Ps(Lazy<commands::ps::PsArgs>),
    /// Show what a sandbox's console, engine and supervisor wrote
    Logs(Lazy<commands::logs::LogsArgs>),
    /// End sandboxes and remove what is left of them
    Kill(Lazy<commands::kill::KillArgs>),
    /// Log in to a registry
    Login(Lazy<commands::login::LoginArgs>),
    /// Forget the login to a registry
    Logout(Lazy<commands::logout::LogoutArgs>),
    /// Act on hubs
    Hub(Lazy<commands::hub::HubArgs>),
    /// Check every byte of the store
    Fsck(Lazy<commands::fsck::FsckArgs>),
    /// Say whether this host has what is needed
    Doctor(Lazy<commands::doctor::DoctorArgs>),
    /// Show the configuration and where each value comes from
    Config(Lazy<commands::config::ConfigArgs>),
    /// Print a shell's completion script
    Completions(Lazy<commands::completions::CompletionsArgs>),
    /// Write the manual pages into a folder
    #[command(hide = true)]
    Man(Lazy<commands::man::ManArgs>),
    /// Print the versions of Spore, its agent and its format
    Version(Lazy<commands::version::VersionArgs>),
    /// Own one sandbox's engine (started by fork)
    #[command(hide = true)]
    Supervise(Lazy<commands::supervise::SuperviseArgs>),
}

impl Command {
    /// Whether exit statuses are those of what runs in the guest, so that Spore's own failure has to be told apart.
    pub(crate) fn has_statuses_of_its_own(&self) -> bool {
        matches!(self, Self::Exec(_) | Self::Eval(_) | Self::Run(_))
    }

    /// Whether it does nothing that a configuration could change: one that cannot be read is no reason to fail.
    pub(crate) fn is_about_spore_alone(&self) -> bool {
        matches!(self, Self::Completions(_) | Self::Man(_) | Self::Version(_))
    }

    /// What is logged where `SPORE_LOG` does not say, if anything.
    pub(crate) fn logs(&self) -> Option<&'static str> {
        match self {
            Self::Hub(args) => args.logs(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::Format;

    #[test]
    fn the_command_line_holds_together() {
        command().debug_assert();
    }

    #[test]
    fn every_verb_has_examples() {
        let command = command();
        let below = command.get_subcommands().flat_map(clap::Command::get_subcommands);
        for verb in command.get_subcommands().chain(below).filter(|verb| !verb.is_hide_set()) {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:") && help.contains("spore "), "{}", verb.get_name());
        }
    }

    #[test]
    fn options_of_every_verb_stand_before_or_after_it() {
        for line in ["spore --root /r --format json -q ps", "spore ps --root /r --format json -q"] {
            let flags = Cli::try_parse_from(line.split(' ')).unwrap().flags;
            assert_eq!(
                (flags.root, flags.format, flags.quiet),
                (Some("/r".into()), Some(Format::Json), true)
            );
        }
    }
}
