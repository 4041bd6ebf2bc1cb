//! `spore logout`

use std::process::ExitCode;

use clap::Args;
use hub::credentials::Credentials;
use serde_json::json;

use super::login::registry;
use crate::error::CliError;
use crate::options::Options;
use crate::output;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore logout registry.example
  spore logout localhost:5000

It ends what `spore login` began, and exits with 3 if there is nothing to end. Logins for parts of a registry, and those
that other tools keep in files of their own, stay.")]
pub(crate) struct LogoutArgs {
    /// The registry: HOST[:PORT]
    registry: String,
}

pub(crate) fn run(options: &Options, args: &LogoutArgs) -> Result<ExitCode, CliError> {
    let location = registry(&args.registry)?;
    let registry = location.host().as_str();
    let credentials = Credentials::from_environment();
    let file = credentials.file()?;
    if !credentials.remove(registry)? {
        return Err(CliError::NotFound(format!(
            "no login to {registry} is kept in {}, or a helper that it names: one that another tool keeps elsewhere is \
             ended with that tool",
            file.display()
        )));
    }
    output::result(options.format, &json!({ "registry": registry, "file": file }), || {
        format!("logged out of {registry}: forgotten in {}", file.display())
    });
    Ok(ExitCode::SUCCESS)
}
