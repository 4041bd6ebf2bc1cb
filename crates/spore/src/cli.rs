//! The command line: verbs, their arguments, and `--help` with examples.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands;

/// Bake a warm VM once, ship it to any host, and fork it there any number of times.
#[derive(Debug, Parser)]
#[command(name = "spore", version, propagate_version = true, disable_help_subcommand = true)]
#[command(after_help = "Examples:
  spore pull --hub /srv/hub python-numpy      fetch a snapshot that somebody baked
  spore fork python-numpy -n 10               ten running VMs of it
  spore eval ID 'numpy.zeros(5).tolist()'     in the warm interpreter of one
  spore exec ID -- uname -a                   any program in it
  spore kill --all                            end them

Exit codes:
  0 done   1 failed   2 wrong usage   3 not found   4 this host cannot run the snapshot
  5 verification failed: not what digests or the snapshot say   130 interrupted
  exec, eval and run: the command's own status; 125 when Spore itself failed, 126 and 127 as in a shell")]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) options: Options,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every verb takes, before or after its name.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Where snapshots and sandboxes are kept [default: the XDG data folder]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "SPORE_ROOT",
        help_heading = "Options for every verb"
    )]
    pub(crate) root: Option<PathBuf>,
    /// How results are printed
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "SPORE_FORMAT",
        help_heading = "Options for every verb"
    )]
    pub(crate) format: Format,
    /// No progress on standard error
    #[arg(long, short, global = true, help_heading = "Options for every verb")]
    pub(crate) quiet: bool,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Format {
    /// Tables and sentences.
    #[default]
    Text,
    /// One JSON document.
    Json,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Fetch a snapshot from a hub
    Pull(commands::pull::PullArgs),
    /// Send a snapshot to a hub
    Push(commands::push::PushArgs),
    /// List the snapshots that are here
    Images(commands::images::ImagesArgs),
    /// Show all that is known of a snapshot or a sandbox
    Inspect(commands::inspect::InspectArgs),
    /// Give a snapshot another local tag
    Tag(commands::tag::TagArgs),
    /// Remove tags of snapshots
    Rm(commands::rm::RmArgs),
    /// Remove what nothing needs any more
    Prune(commands::prune::PruneArgs),
    /// Show what the store takes
    Du(commands::du::DuArgs),
    /// Make a snapshot of a warm VM from a recipe
    Bake(commands::bake::BakeArgs),
    /// Start copies of a snapshot
    Fork(commands::fork::ForkArgs),
    /// Run a program in a fork that ends with it
    Run(commands::run::RunArgs),
    /// Run a program in a sandbox
    Exec(commands::exec::ExecArgs),
    /// Evaluate code in a sandbox's warm process
    Eval(commands::eval::EvalArgs),
    /// List sandboxes
    Ps(commands::ps::PsArgs),
    /// Show what a sandbox's console, engine and supervisor wrote
    Logs(commands::logs::LogsArgs),
    /// End sandboxes and remove what is left of them
    Kill(commands::kill::KillArgs),
    /// Log in to a registry
    Login(commands::login::LoginArgs),
    /// Forget the login to a registry
    Logout(commands::logout::LogoutArgs),
    /// Act on hubs
    Hub(commands::hub::HubArgs),
    /// Check every byte of the store
    Fsck(commands::fsck::FsckArgs),
    /// Say whether this host has what is needed
    Doctor(commands::doctor::DoctorArgs),
    /// Show the configuration and where each value comes from
    Config(commands::config::ConfigArgs),
    /// Print a shell's completion script
    Completions(commands::completions::CompletionsArgs),
    /// Print the versions of Spore, its agent and its format
    Version(commands::version::VersionArgs),
    /// Own one sandbox's engine (started by fork)
    #[command(hide = true)]
    Supervise(commands::supervise::SuperviseArgs),
}

impl Command {
    /// Whether exit statuses are those of what runs in the guest, so that Spore's own failure has to be told apart.
    pub(crate) fn has_statuses_of_its_own(&self) -> bool {
        matches!(self, Self::Exec(_) | Self::Eval(_) | Self::Run(_))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_examples() {
        for verb in Cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
            let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:") && help.contains("spore "), "{}", verb.get_name());
        }
    }

    #[test]
    fn options_of_every_verb_stand_before_or_after_it() {
        for line in ["spore --root /r --format json -q ps", "spore ps --root /r --format json -q"] {
            let options = Cli::try_parse_from(line.split(' ')).unwrap().options;
            assert_eq!(
                (options.root, options.format, options.quiet),
                (Some("/r".into()), Format::Json, true)
            );
        }
    }
}
