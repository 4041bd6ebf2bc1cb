//! What every verb takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

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
