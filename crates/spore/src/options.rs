//! What every verb takes: a flag, else a variable, else a key of the configuration file, else a default.

use std::ffi::OsStr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::environment::variable;
use crate::error::CliError;
use crate::output::{Format, LogFormat};

pub(crate) const ROOT_VARIABLE: &str = "SPORE_ROOT";
pub(crate) const FORMAT_VARIABLE: &str = "SPORE_FORMAT";
pub(crate) const QUIET_VARIABLE: &str = "SPORE_QUIET";
pub(crate) const LOG_FORMAT_VARIABLE: &str = "SPORE_LOG_FORMAT";

/// What every verb takes, before or after its name, as it was typed.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Options for every verb")]
pub(crate) struct Flags {
    /// Where snapshots and sandboxes are kept [default: the XDG data folder] [env: SPORE_ROOT]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// How results are printed [default: text] [env: SPORE_FORMAT]
    #[arg(long, global = true, value_enum)]
    pub(crate) format: Option<Format>,
    /// No progress on standard error [env: SPORE_QUIET]
    #[arg(long, short, global = true)]
    pub(crate) quiet: bool,
    /// What standard error has: text, or a JSON object a line [default: text] [env: SPORE_LOG_FORMAT]
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

/// What holds.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// None: the default, which [`crate::context::root`] knows.
    pub(crate) root: Option<PathBuf>,
    pub(crate) format: Format,
    pub(crate) quiet: bool,
    pub(crate) log_format: LogFormat,
    /// What of this was said by flags.
    pub(crate) flags: Flags,
}

impl Flags {
    /// What holds with these flags.
    ///
    /// # Errors
    /// If a variable has a value that its flag could not have.
    pub(crate) fn resolve(self) -> Result<Options, CliError> {
        Ok(Options {
            root: self.root.clone().or_else(|| variable(ROOT_VARIABLE).map(PathBuf::from)),
            format: chosen(self.format, FORMAT_VARIABLE)?,
            quiet: self.quiet || variable(QUIET_VARIABLE).map_or(Ok(false), |value| truth(&value))?,
            log_format: chosen(self.log_format, LOG_FORMAT_VARIABLE)?,
            flags: self,
        })
    }

    /// How errors are printed while it is not known yet whether all of this can be understood.
    pub(crate) fn expected_format(&self) -> Format {
        chosen(self.format, FORMAT_VARIABLE).unwrap_or_default()
    }
}

fn chosen<T: ValueEnum + Default>(flag: Option<T>, name: &str) -> Result<T, CliError> {
    let Some(value) = flag.is_none().then(|| variable(name)).flatten() else {
        return Ok(flag.unwrap_or_default());
    };
    let parsed = value.to_str().and_then(|value| T::from_str(value, false).ok());
    parsed.ok_or_else(|| {
        let known = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        let known: Vec<_> = known.map(|value| value.get_name().to_owned()).collect();
        CliError::Usage(format!("{name} is {value:?}: expected {}", known.join(" or ")))
    })
}

fn truth(value: &OsStr) -> Result<bool, CliError> {
    match value.to_str() {
        Some("1" | "true" | "yes" | "on") => Ok(true),
        Some("0" | "false" | "no" | "off") => Ok(false),
        _ => Err(CliError::Usage(format!("{QUIET_VARIABLE} is {value:?}: expected true or false"))),
    }
}
