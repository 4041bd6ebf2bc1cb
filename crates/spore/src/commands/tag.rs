//! `spore tag`

use std::process::ExitCode;

use clap::Args;
use serde_json::json;
use store::RefError;

use crate::config::Config;
use crate::error::CliError;
use crate::options::Options;
use crate::{arguments, context, output};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore tag python-numpy:1.2 python-numpy:stable
  spore tag acme/team/numpy@sha256:… numpy:tried
  spore tag python-numpy:1.3 python-numpy:stable --force     moves a tag that leads elsewhere")]
pub(crate) struct TagArgs {
    /// A local snapshot: [HUB/]NAME[:TAG][@DIGEST]
    source: String,
    /// The new local tag: NAME[:TAG]
    dest: String,
    /// Move the tag if it leads elsewhere
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(options: &Options, args: &TagArgs) -> Result<ExitCode, CliError> {
    let config = Config::load()?;
    let source = config.reference(&args.source)?;
    let name = arguments::local_name(&config, &args.dest)?;
    let store = context::store(options)?;
    let resolved = store.resolve(&source)?;
    // An origin is where the snapshot has the tag's own name.
    let is_same_name = resolved.name.is_some_and(|known| known.name == name.name);
    let origin = resolved.origin.as_deref().filter(|_| is_same_name);
    let before = if args.force {
        store.set_ref(&name, &resolved.digest, origin)?
    } else {
        store.create_ref(&name, &resolved.digest, origin).map_err(explain)?;
        None
    };
    let moved_from = before.map(|before| before.digest).filter(|before| *before != resolved.digest);
    let document = json!({ "name": name.to_string(), "digest": resolved.digest, "moved_from": moved_from });
    output::result(options.format, &document, || {
        let before = moved_from.map(|before| format!("\nit was {before}")).unwrap_or_default();
        format!("{name}  {}{before}", resolved.digest)
    });
    Ok(ExitCode::SUCCESS)
}

fn explain(error: RefError) -> CliError {
    match error {
        RefError::Exists { name, digest } => {
            CliError::Failed(format!("{name} is {digest}: give --force to move it, or another name"))
        }
        error => error.into(),
    }
}
