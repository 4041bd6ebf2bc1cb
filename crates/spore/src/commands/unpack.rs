//! `spore unpack`

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::Args;
use format::{FullName, HubName, Name, Reference};
use hub::fetch_missing;
use pack::{Arrived, Counts, Input, TagAs, UnpackError, UnpackOptions, UnpackPlan, plan_unpack};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;
use store::{RefError, Store};

use super::pack::Told;
use crate::config::{Config, Hub};
use crate::error::{CliError, Doing};
use crate::options::Options;
use crate::progress::{self, Transfer};
use crate::{context, hubs, interrupt, output};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore unpack numpy.spore
  ssh other-host spore pack python-numpy | spore unpack -
  spore unpack numpy.spore --name numpy:tried
  spore unpack small.spore --hub /srv/hub                what it lacks and this host too comes from there
  spore unpack numpy.spore --dry-run                     checks every byte, keeps nothing
  skopeo copy docker://hub.example/team/numpy:1 oci-archive:numpy.tar &&
    spore unpack numpy.tar --name numpy

Every blob is verified before it counts, and the tag is set last: an unpack that fails leaves nothing. What is missing
is named, all of it at once. A pack that other tools have written is to be a file: from a pipe it comes in an order that
would have to be kept in memory. It ends with flat files laid out, as the first fork needs them.")]
pub(crate) struct UnpackArgs {
    /// The pack; - is standard input
    file: PathBuf,
    /// The local tag: NAME[:TAG] [default: what the pack proposes]
    #[arg(long, value_name = "NAME:TAG")]
    name: Option<String>,
    /// Move the tag if it leads elsewhere
    #[arg(long)]
    force: bool,
    /// Where to fetch by digest what neither the pack nor this host has, under the name that is given or proposed: a
    /// folder, s3://…, oci://… or an alias
    #[arg(long, value_name = "HUB")]
    hub: Option<String>,
    /// Most bytes that the snapshot may have, packed or laid out, as 64GiB [default: what the disk holds]
    #[arg(long, value_name = "SIZE", value_parser = super::hub::serve::size)]
    max_size: Option<u64>,
    /// Leave the laying out of flat files to the first fork
    #[arg(long)]
    no_layout: bool,
    /// Check the pack and show what it has; store nothing
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(options: &Options, args: &UnpackArgs) -> Result<ExitCode, CliError> {
    let interrupted = interrupt::flag()?;
    unpack(options, args, interrupted).map_err(|error| {
        // Whatever could not be read then: it was the user who ended it.
        if interrupted.load(Ordering::SeqCst) { CliError::Undone } else { error }
    })
}

fn unpack(
    options: &Options,
    args: &UnpackArgs,
    interrupted: &'static AtomicBool,
) -> Result<ExitCode, CliError> {
    let config = Config::load()?;
    let hub = args.hub.as_deref().map(|hub| config.hub(hub)).transpose()?;
    let given = args.name.as_deref().map(|name| super::tag::local_name(&config, name)).transpose()?;
    let store = context::store(options)?;
    let input = input(&args.file, interrupted)?;
    let how = UnpackOptions { max_bytes: args.max_size, lay_out: !args.no_layout, may_lack: hub.is_some() };
    let plan = plan_unpack(&store, input, how)?;
    progress::note(options, &head(&plan));
    let told = Told { bar: progress::bytes(options, "unpacking"), interrupted: Some(interrupted) };
    told.bar.set_length(plan.blob_bytes);
    if args.dry_run {
        return verify(options, plan, &told, hub.is_some());
    }
    let name = given.map_or_else(|| proposed(plan.name.as_deref()), Ok)?;
    let tag = TagAs { name, may_move: args.force };
    let arrived = plan.execute(&tag, &told);
    told.bar.finish_and_clear();
    let mut arrived = arrived.map_err(explain)?;
    let (counts, fetched) =
        (arrived.counts.clone(), fetch(options, &store, hub, &tag.name.name, &mut arrived)?);
    let unpacked = arrived.finish(&tag, &told).map_err(explain)?;
    let document = json!({
        "name": tag.name.to_string(),
        "digest": unpacked.snapshot,
        "moved_from": unpacked.moved_from,
        "unpacked_bytes": counts.new_bytes,
        "fetched_bytes": fetched,
        "present_bytes": counts.present_bytes,
    });
    output::result(options.format, &document, || {
        let (new, present) = (output::size(counts.new_bytes), output::size(counts.present_bytes));
        let fetched =
            if fetched == 0 { String::new() } else { format!("fetched {}, ", output::size(fetched)) };
        let before = unpacked.moved_from.map(|before| format!("\nit was {before}")).unwrap_or_default();
        format!("{}  {}  unpacked {new}, {fetched}{present} were here{before}", tag.name, unpacked.snapshot)
    });
    Ok(ExitCode::SUCCESS)
}

/// Fetches what is missing, by the digests that the manifest declares. Gives its bytes.
fn fetch(
    options: &Options,
    store: &Store,
    hub: Option<Hub>,
    name: &Name,
    arrived: &mut Arrived,
) -> Result<u64, CliError> {
    let Some(hub) = hub.filter(|_| !arrived.counts.missing.is_empty()) else { return Ok(0) };
    arrived.store_manifest()?;
    let (source, mirrors) = hubs::sources(&hub, name)?;
    let progress = Arc::new(Transfer::new(options, "fetching"));
    let told = Arc::clone(&progress) as Arc<dyn hub::Progress>;
    let fetched = interrupt::block_on(fetch_missing(store, source, mirrors, &arrived.snapshot, told));
    progress.finish();
    // What was fetched stays until the tag is there: the pack's lease has all that the manifest declares.
    fetched.map(|_| progress.moved())
}

fn verify(options: &Options, plan: UnpackPlan, told: &Told, may_lack: bool) -> Result<ExitCode, CliError> {
    let (snapshot, name, head) = (plan.snapshot, plan.name.clone(), head(&plan));
    let counts = plan.verify(told);
    told.bar.finish_and_clear();
    let counts = counts?;
    let document = json!({ "digest": snapshot, "name": name, "pack": counts });
    output::result(options.format, &document, || {
        let Counts { new_bytes, present_bytes, missing } = &counts;
        let (new, present) = (output::size(*new_bytes), output::size(*present_bytes));
        let rows: Vec<_> = missing
            .iter()
            .map(|part| vec![output::size(part.size), part.digest.to_string(), part.role.clone()])
            .collect();
        let missing = if rows.is_empty() {
            String::new()
        } else {
            output::table(&["MISSING", "DIGEST", "PART"], &rows)
        };
        format!("{head}\nwould unpack {new}, {present} are here\n{missing}")
    });
    if counts.missing.is_empty() || may_lack {
        return Ok(ExitCode::SUCCESS);
    }
    Err(explain(UnpackError::Missing { snapshot, parts: counts.missing }))
}

fn head(plan: &UnpackPlan) -> String {
    let name = plan.name.as_ref().map(|name| format!("{name}  ")).unwrap_or_default();
    let (all, present) = (output::size(plan.blob_bytes), output::size(plan.present_bytes));
    let flat = match plan.flat_bytes {
        Some(bytes @ 1..) => format!("; flat files of up to {}", output::size(bytes)),
        _ => String::new(),
    };
    format!("{name}{}: blobs of {all}, of which {present} are here{flat}", plan.snapshot)
}

/// The tag that a pack proposes. It chooses a name among those that are made here, and nothing else.
fn proposed(name: Option<&str>) -> Result<FullName, CliError> {
    let usage = |why: String| CliError::Usage(format!("{why}: give --name NAME[:TAG]"));
    let Some(text) = name else { return Err(usage("the pack proposes no name".to_owned())) };
    match text.parse() {
        Ok(Reference { hub: None, name, tag, digest: None }) => {
            Ok(FullName { hub: HubName::local(), name, tag: tag.unwrap_or_default() })
        }
        _ => Err(usage(format!(
            "the pack proposes the name {:?}, which is not NAME[:TAG]",
            format::excerpt(text)
        ))),
    }
}

/// Adds what this verb offers.
fn explain(error: UnpackError) -> CliError {
    match error {
        UnpackError::Ref(RefError::Exists { .. }) => {
            CliError::Failed(format!("{error}: --force moves it, --name gives another name"))
        }
        UnpackError::Missing { .. } => CliError::NotFound(format!(
            "{error}; unpack or pull what has it first, or name a hub that has it by --hub"
        )),
        error => error.into(),
    }
}

fn input(path: &Path, interrupted: &'static AtomicBool) -> Result<Input, CliError> {
    let file = if path == Path::new("-") {
        if io::stdin().is_terminal() {
            return Err(CliError::Usage(
                "a pack does not come from a terminal: give a file, or a pipe".to_owned(),
            ));
        }
        File::from(io::stdin().as_fd().try_clone_to_owned().doing("read standard input")?)
    } else {
        File::open(path).doing(format!("open {}", path.display()))?
    };
    let what = || format!("examine {}", path.display());
    let metadata = file.metadata().doing(what())?;
    if metadata.is_dir() {
        return Err(CliError::Usage(format!("{} is a folder: a pack is a file", path.display())));
    }
    // Whoever gives a file that was read from in part means the rest.
    let is_at_start = metadata.is_file() && rustix::fs::tell(&file).is_ok_and(|at| at == 0);
    Ok(if is_at_start { Input::File(file) } else { Input::Stream(Box::new(Pipe { file, interrupted })) })
}

/// A pipe from which nothing may ever come: who waits for it hears Ctrl-C.
struct Pipe {
    file: File,
    interrupted: &'static AtomicBool,
}

impl Read for Pipe {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        const PATIENCE: Duration = Duration::from_millis(250);
        let patience = Timespec::try_from(PATIENCE).map_err(io::Error::other)?;
        loop {
            if self.interrupted.load(Ordering::SeqCst) {
                return Err(io::Error::other("interrupted"));
            }
            let mut waiting = [PollFd::new(&self.file, PollFlags::IN)];
            match poll(&mut waiting, Some(&patience)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return self.file.read(buffer),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_proposes_a_name_of_what_is_made_here() {
        let name = |text| proposed(Some(text)).map(|name| name.to_string());
        assert_eq!(name("numpy").unwrap(), "local/numpy:latest");
        assert_eq!(name("team/numpy:1.2").unwrap(), "local/team/numpy:1.2");
        for wrong in ["", "../x", "/etc/passwd", "hub.example/numpy", "local/numpy:1", "numpy@sha256:0", "N"]
        {
            let error = name(wrong).unwrap_err().to_string();
            assert!(error.contains("--name"), "{error}");
        }
        assert!(proposed(None).is_err());
    }
}
