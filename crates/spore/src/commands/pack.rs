//! `spore pack`

use std::fs::File;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use format::PlannedBlob;
use pack::{Contents, PackError, PackFile, PackPlan, plan_pack};
use serde_json::json;

use crate::config::Config;
use crate::error::{CliError, Doing};
use crate::options::Options;
use crate::progress::{self, PackBar};
use crate::{arguments, context, interrupt, output};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore pack python-numpy -o numpy.spore
  spore pack python-numpy | ssh other-host spore unpack -
  spore pack python-numpy -o small.spore --without-layers     for hosts that have the same base
  spore pack tried -o new.spore --since python-numpy          only what python-numpy has not
  spore pack python-numpy --dry-run
  skopeo copy oci-archive:numpy.spore docker://hub.example/team/numpy:1

A pack is one snapshot as an OCI image layout in a tar, which other OCI tools know as an oci-archive. It is not
compressed: what is in it is. Equal snapshots of equal names make equal packs.")]
pub(crate) struct PackArgs {
    /// A local snapshot: [HUB/]NAME[:TAG][@DIGEST]
    reference: String,
    /// The file; - is standard output, which is the default where that is no terminal
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Leave out what layers consist of, which is then to be where it is unpacked, or in a hub
    #[arg(long)]
    without_layers: bool,
    /// Leave out all that this snapshot has, which is then to be where it is unpacked, or in a hub
    #[arg(long, value_name = "SNAPSHOT")]
    since: Option<String>,
    /// The name that the pack proposes to whoever unpacks it: NAME[:TAG] [default: the one that it has here]
    #[arg(long, value_name = "NAME:TAG")]
    name: Option<String>,
    /// Replace the file if it is there
    #[arg(long)]
    force: bool,
    /// Only show what the pack would have; fetch and write nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(options: &Options, args: &PackArgs) -> Result<ExitCode, CliError> {
    let file = file(args)?;
    let config = Config::load()?;
    let given = args.name.as_deref().map(|name| arguments::local_name(&config, name)).transpose()?;
    let store = context::store(options)?;
    let resolved = context::resolve(&store, &args.reference)?;
    let since = args.since.as_deref().map(|since| context::resolve(&store, since)).transpose()?;
    let lease = store.lease()?;
    // A plan fetches nothing.
    let snapshot = if args.dry_run {
        store.load_leased(&lease, &resolved.digest)?
    } else {
        context::snapshot(options, &store, &lease, &resolved.digest)?
    };
    let contents = Contents {
        name: given.or(resolved.name).map(|name| format!("{}:{}", name.name, name.tag)),
        without_layers: args.without_layers,
        since: since.map(|since| since.digest),
    };
    let plan = plan_pack(&store, &lease, &snapshot, &contents)?;
    if args.dry_run {
        output::result(options.format, &plan, || dry_run(&plan));
        return Ok(ExitCode::SUCCESS);
    }
    progress::note(options, &head(&plan));
    let Some(path) = file else {
        write_stdout(options, &plan)?;
        return Ok(ExitCode::SUCCESS);
    };
    write_file(options, &plan, path, args.force)?;
    let document = json!({
        "file": path,
        "name": plan.name,
        "digest": plan.snapshot,
        "bytes": plan.bytes,
        "left_out_bytes": plan.left_out_bytes(),
    });
    output::result(options.format, &document, || {
        format!("{}  {}  {}", path.display(), plan.snapshot, output::size(plan.bytes))
    });
    Ok(ExitCode::SUCCESS)
}

/// The file to write to; `None` is standard output. What stands in its way is said before a snapshot is fetched.
fn file(args: &PackArgs) -> Result<Option<&Path>, CliError> {
    let path = args.output.as_deref().filter(|path| *path != Path::new("-"));
    match path {
        None if !args.dry_run && io::stdout().is_terminal() => {
            Err(CliError::Usage("a pack is nothing for a terminal: give -o FILE, or a pipe".to_owned()))
        }
        Some(path) if !args.dry_run => {
            PackFile::check(path, args.force).map_err(explain)?;
            Ok(Some(path))
        }
        path => Ok(path),
    }
}

/// Nothing is to be tidied up, and a reader that does not read must not keep anybody from ending it.
fn write_stdout(options: &Options, plan: &PackPlan) -> Result<(), CliError> {
    let interrupted = interrupt::flag()?;
    interrupt::ends_process()?;
    let bar = PackBar::new(options, "packing", plan.bytes, interrupted);
    // Not by way of the buffer that looks for lines.
    let stdout = io::stdout().as_fd().try_clone_to_owned().doing("write to standard output")?;
    let written = plan.write(&mut File::from(stdout), &bar);
    bar.finish();
    Ok(written?)
}

fn write_file(options: &Options, plan: &PackPlan, path: &Path, may_replace: bool) -> Result<(), CliError> {
    let bar = PackBar::new(options, "packing", plan.bytes, interrupt::flag()?);
    let mut file = PackFile::create(path, may_replace, plan.bytes).map_err(explain)?;
    let written = plan.write(&mut file, &bar);
    bar.finish();
    written.map_err(|error| match error {
        PackError::Output(source) => PackError::Write { path: path.to_owned(), source },
        error => error,
    })?;
    file.finish().map_err(explain)
}

/// Adds what this verb offers.
fn explain(error: PackError) -> CliError {
    match error {
        PackError::Exists { .. } => CliError::Failed(format!("{error}: --force replaces it")),
        error => error.into(),
    }
}

fn head(plan: &PackPlan) -> String {
    let (count, bytes) = (plan.packed.len(), output::size(plan.bytes));
    let left_out = match plan.left_out.len() {
        0 => String::new(),
        count => format!("; {count} blobs stay out, {}", output::size(plan.left_out_bytes())),
    };
    format!("{}\n{count} blobs, a pack of {bytes}{left_out}", plan.snapshot)
}

fn dry_run(plan: &PackPlan) -> String {
    let row = |part: &PlannedBlob, how: &str| {
        vec![output::size(part.size), part.digest.to_string(), format!("{}{how}", part.role)]
    };
    let packed = plan.packed.iter().map(|part| row(part, ""));
    let left_out = plan.left_out.iter().map(|part| row(part, ", left out"));
    let rows: Vec<_> = packed.chain(left_out).collect();
    format!("{}\n{}", head(plan), output::table(&["SIZE", "DIGEST", "PART"], &rows))
}
