//! `spore bake`

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use format::{Name, Tag};
use rootfs::{Mirrors, Recipe};
use sandbox::bake::{Bake, BakeOptions};

use crate::environment::variable;
use crate::error::CliError;
use crate::options::Options;
use crate::progress::Stages;
use crate::registries::Registries;
use crate::{agent, context, interrupt, output};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore bake recipes/python-numpy
  spore bake recipes/python-numpy --name team/numpy:1.2")]
pub(crate) struct BakeArgs {
    /// A folder with a recipe.toml
    recipe: PathBuf,
    /// Name and tag instead of the recipe's own
    #[arg(long, value_name = "NAME[:TAG]")]
    name: Option<String>,
    /// A kernel image instead of Debian's
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// The modules folder of that kernel (lib/modules/VERSION)
    #[arg(long, value_name = "DIR", requires = "kernel")]
    kernel_modules: Option<PathBuf>,
    /// Most bytes that the base may unpack to, as 8GiB [default: 64GiB]
    #[arg(long, value_name = "SIZE", value_parser = crate::arguments::size)]
    max_size: Option<u64>,
    /// Install packages and fetch the kernel again even if they are cached
    #[arg(long)]
    refresh: bool,
}

pub(crate) fn run(options: &Options, args: BakeArgs) -> Result<ExitCode, CliError> {
    let interrupted = interrupt::flag()?;
    let (name, tag) = name_and_tag(args.name.as_deref())?;
    let recipe = Recipe::load(&args.recipe)?;
    let store = context::store(options)?;
    let mut engine = context::engine(&store)?;
    let registries = Registries::new()?;
    let progress = Stages::new(options);
    let bake_options = BakeOptions {
        name,
        tag,
        kernel: args.kernel.map(|image| (image, args.kernel_modules)),
        max_base: args.max_size,
        mirrors: Mirrors::from_variables(variable)?,
        registries: &registries,
        refresh: args.refresh,
        agent: agent::AGENT,
        agent_version: agent::VERSION,
        runners: agent::RUNNERS,
        created_at: jiff::Timestamp::now().to_string(),
    };
    let bake =
        Bake { store: &store, recipe: &recipe, options: &bake_options, progress: &progress, interrupted };
    let baked = bake.run(&mut engine);
    progress.finish();
    let baked = baked?;
    output::result(options.format, &baked, || {
        format!("{}  {}  {}", baked.names.join(" "), baked.digest, output::size(baked.size))
    });
    Ok(ExitCode::SUCCESS)
}

/// `NAME[:TAG]` without a hub: what is baked here is `local/`.
fn name_and_tag(text: Option<&str>) -> Result<(Option<Name>, Option<Tag>), CliError> {
    let Some(text) = text else { return Ok((None, None)) };
    let reference: format::Reference = text.parse()?;
    if reference.hub.is_some_and(|hub| !hub.is_local()) || reference.digest.is_some() {
        return Err(CliError::Usage(format!("--name {text}: expected NAME[:TAG]; push gives it a hub")));
    }
    Ok((Some(reference.name), reference.tag))
}
