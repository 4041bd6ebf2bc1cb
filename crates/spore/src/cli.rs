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
  5 verification failed: bytes are not what their digest says
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
    /// Make a snapshot of a warm VM from a recipe
    Bake(commands::bake::BakeArgs),
    /// Send a snapshot to a hub
    Push(commands::push::PushArgs),
    /// Fetch a snapshot from a hub
    Pull(commands::pull::PullArgs),
    /// Start copies of a snapshot
    Fork(commands::fork::ForkArgs),
    /// Run a program in a sandbox
    Exec(commands::exec::ExecArgs),
    /// Evaluate code in a sandbox's warm process
    Eval(commands::eval::EvalArgs),
    /// List sandboxes
    Ps(commands::ps::PsArgs),
    /// End sandboxes and remove what is left of them
    Kill(commands::kill::KillArgs),
    /// Own one sandbox's engine (started by fork)
    #[command(hide = true)]
    Supervise(commands::supervise::SuperviseArgs),
}

impl Command {
    /// Whether exit statuses are those of what runs in the guest, so that Spore's own failure has to be told apart.
    pub(crate) fn has_statuses_of_its_own(&self) -> bool {
        matches!(self, Self::Exec(_) | Self::Eval(_))
    }
}
