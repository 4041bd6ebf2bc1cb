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
use format::{FullName, HubName, Name};
use hub::{RawManifest, plan_parts};
use pack::{
    Arrived, Counts, Input, ProposedName, ReadError, UnpackError, UnpackOptions, UnpackPlan, Unpacked,
    plan_unpack,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;
use store::{RefError, Store, TagAs};

use crate::config::Config;
use crate::error::{CliError, Doing};
use crate::hubs::Repository;
use crate::options::Options;
use crate::progress::{self, PackBar, Transfer};
use crate::{arguments, context, hubs, interrupt, output};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore unpack numpy.spore
  ssh other-host spore pack python-numpy | spore unpack -
  spore unpack numpy.spore --name numpy:tried
  spore unpack small.spore --hub /srv/hub                what it lacks and this host too comes from there
  spore unpack small.spore --hub hub.example/team/numpy  from a repository of a registry
  spore unpack numpy.spore --dry-run                     checks the digest of all in it, keeps nothing
  skopeo copy docker://hub.example/team/numpy:1 oci-archive:numpy.tar &&
    spore unpack numpy.tar --name numpy

Every blob is verified before it counts, and the tag is set last: an unpack that fails leaves nothing. What is missing
is named, all of it at once. A pack that other tools have written is to be a file: from a pipe it comes in an order that
would have to be kept in memory. It ends with flat files laid out, as the first fork needs them.

--dry-run reads all of the pack, also what this host has: names, sizes, digests, and whether manifest, config and maps belong
together. What it does not look at is what only laying out shows: whether frames decode to what they say, and whether
layers are what their snapshot declares.")]
pub(crate) struct UnpackArgs {
    /// The pack; - is standard input
    file: PathBuf,
    /// The local tag: NAME[:TAG] [default: what the pack proposes]
    #[arg(long, value_name = "NAME:TAG")]
    name: Option<String>,
    /// Move the tag if it leads elsewhere
    #[arg(long)]
    force: bool,
    /// Where to fetch by digest what neither the pack nor this host has: a folder, s3://…, https://… or an alias; of a registry a
    /// repository, as oci://HOST/NAME, HOST/NAME or ALIAS/NAME, which need not be the pack's own name
    #[arg(long, value_name = "HUB")]
    hub: Option<String>,
    /// Most bytes that the snapshot may have, packed or laid out, as 64GiB [default: what the disk holds]
    #[arg(long, value_name = "SIZE", value_parser = arguments::size)]
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
    let explain = |error| explain(error, interrupted);
    let config = Config::load()?;
    let given = args.name.as_deref().map(|name| arguments::local_name(&config, name)).transpose()?;
    let store = context::store(options)?;
    let hub = args.hub.as_deref().map(|hub| hubs::repository(&config, &store, hub)).transpose()?;
    let input = input(&args.file, interrupted)?;
    let how = UnpackOptions { max_bytes: args.max_size, lay_out: !args.no_layout, may_lack: hub.is_some() };
    let plan = plan_unpack(&store, input, how).map_err(explain)?;
    progress::note(options, &head(&plan));
    if args.dry_run {
        return verify(options, plan, hub.is_some(), interrupted);
    }
    let name = given.map_or_else(|| proposed(plan.name.as_ref()), Ok)?;
    let tag = TagAs { name, may_move: args.force };
    let bar = PackBar::new(options, "unpacking", plan.blob_bytes, interrupted);
    let arrived = plan.execute(&tag, &bar);
    bar.finish();
    let arrived = arrived.map_err(explain)?;
    let counts = arrived.counts.clone();
    let fetched = match hub.filter(|_| !counts.missing.is_empty()) {
        Some(hub) => match fetch(options, &store, &hub, &tag.name.name, &arrived) {
            Ok(bytes) => bytes,
            Err(cause) => return Err(given_up(cause, arrived)),
        },
        None => 0,
    };
    let bar = PackBar::of_the_rest(options, interrupted);
    let unpacked = arrived.finish(&tag, &bar);
    bar.finish();
    report(options, &tag.name, &unpacked.map_err(explain)?, &counts, fetched);
    Ok(ExitCode::SUCCESS)
}

fn report(options: &Options, name: &FullName, unpacked: &Unpacked, counts: &Counts, fetched: u64) {
    let Unpacked { snapshot, moved_from } = unpacked;
    let document = json!({
        "name": name.to_string(),
        "digest": snapshot,
        "moved_from": moved_from,
        "unpacked_bytes": counts.new_bytes,
        "fetched_bytes": fetched,
        "present_bytes": counts.present_bytes,
    });
    output::result(options.format, &document, || {
        let (new, present) = (output::size(counts.new_bytes), output::size(counts.present_bytes));
        let fetched =
            if fetched == 0 { String::new() } else { format!("fetched {}, ", output::size(fetched)) };
        let before = moved_from.map(|before| format!("\nit was {before}")).unwrap_or_default();
        format!("{name}  {snapshot}  unpacked {new}, {fetched}{present} were here{before}")
    });
}

/// Fetches what is missing, by the digests that the manifest declares. Gives its bytes.
fn fetch(
    options: &Options,
    store: &Store,
    repository: &Repository,
    local: &Name,
    arrived: &Arrived,
) -> Result<u64, CliError> {
    // Where it decides nothing, what the snapshot is going to be called here does for messages.
    let (source, mirrors) = hubs::sources(&repository.hub, repository.name.as_ref().unwrap_or(local))?;
    let manifest = RawManifest::new(arrived.manifest().to_vec())
        .ok_or_else(|| CliError::Verification("the manifest is too large for a hub".to_owned()))?;
    let progress = Arc::new(Transfer::new(options, "fetching"));
    let told = Arc::clone(&progress) as Arc<dyn hub::Progress>;
    let fetched = interrupt::block_on(async {
        let plan = plan_parts(store, source, mirrors, manifest, Arc::clone(&told)).await?;
        let plan = if arrived.may_be_laid_out() { plan.with_layout().await? } else { plan };
        plan.fetch_parts(told).await
    });
    progress.finish();
    fetched.map(|()| progress.moved())
}

/// Takes back what was stored, and says why nothing came of it.
fn given_up(cause: CliError, arrived: Arrived) -> CliError {
    match (cause, arrived.take_back()) {
        (CliError::Interrupted, Ok(())) => CliError::Undone,
        (cause, Ok(())) => cause,
        (cause, Err(left)) => {
            let cause = if let CliError::Interrupted = cause { stopped() } else { cause };
            CliError::Left { cause: Box::new(cause), left: Box::new(left) }
        }
    }
}

/// An interruption of which more is to be said.
fn stopped() -> CliError {
    CliError::Unpack(Box::new(UnpackError::Interrupted))
}

fn verify(
    options: &Options,
    plan: UnpackPlan,
    may_lack: bool,
    interrupted: &'static AtomicBool,
) -> Result<ExitCode, CliError> {
    let (snapshot, name, head) = (plan.snapshot, plan.name.clone(), head(&plan));
    let bar = PackBar::new(options, "checking", plan.blob_bytes, interrupted);
    let counts = plan.verify(&bar);
    bar.finish();
    let counts = counts.map_err(|error| explain(error, interrupted))?;
    let document = json!({ "digest": snapshot, "name": name, "pack": counts });
    let is_enough = counts.missing.is_empty() || may_lack;
    output::result(options.format, &document, || {
        let Counts { new_bytes, present_bytes, missing } = &counts;
        let (new, present) = (output::size(*new_bytes), output::size(*present_bytes));
        // Else the error says what is missing.
        let missing = if is_enough && !missing.is_empty() {
            format!("\nthe hub is to have:{missing}")
        } else {
            String::new()
        };
        format!("{head}\nwould unpack {new}, {present} are here{missing}")
    });
    if is_enough {
        return Ok(ExitCode::SUCCESS);
    }
    Err(explain(UnpackError::Missing { snapshot, parts: counts.missing }, interrupted))
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
fn proposed(name: Option<&ProposedName>) -> Result<FullName, CliError> {
    let why = match name {
        Some(ProposedName::Name(name, tag)) => {
            return Ok(FullName { hub: HubName::local(), name: name.clone(), tag: tag.clone() });
        }
        Some(other) => format!("the pack proposes the name {other}, which is not NAME[:TAG]"),
        None => "the pack proposes no name".to_owned(),
    };
    Err(CliError::Usage(format!("{why}: give --name NAME[:TAG]")))
}

/// Adds what this verb offers.
fn explain(error: UnpackError, interrupted: &AtomicBool) -> CliError {
    match error {
        UnpackError::Ref(RefError::Exists { .. }) => {
            CliError::Failed(format!("{error}: --force moves it, --name gives another name"))
        }
        UnpackError::Missing { ref parts, .. } => CliError::Incomplete {
            message: format!("{error}\nunpack or pull what has it first, or name a hub that has it by --hub"),
            parts: parts.clone(),
        },
        // Whoever waits for a pipe hears of Ctrl-C by an error.
        UnpackError::Read(ReadError::Io(_)) if interrupted.load(Ordering::SeqCst) => CliError::Undone,
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
