//! What verbs run in: the store, the engine, the snapshot that somebody named.

use std::path::PathBuf;
use std::sync::Arc;

use engine::qemu::{Options as QemuOptions, Qemu};
use format::Digest;
use hub::fetch_missing;
use sandbox::SupervisorProgram;
use store::{Lease, LoadError, Resolved, Snapshot, Store};

use crate::config::Config;
use crate::environment::variable;
use crate::error::{CliError, Doing};
use crate::options::Options;
use crate::progress::Transfer;
use crate::{hubs, interrupt};

/// Where a store is without `--root`: `$XDG_DATA_HOME/spore`, else `~/.local/share/spore`.
pub(crate) fn root(options: &Options) -> Result<PathBuf, CliError> {
    let set = |name| variable(name).map(PathBuf::from);
    let root = options
        .root
        .clone()
        .or_else(|| set("XDG_DATA_HOME").map(|data| data.join("spore")))
        .or_else(|| set("HOME").map(|home| home.join(".local/share/spore")))
        .ok_or_else(|| {
            CliError::Usage("neither --root nor HOME says where to keep snapshots: give --root".into())
        })?;
    std::path::absolute(&root).doing(format!("find {}", root.display()))
}

pub(crate) fn store(options: &Options) -> Result<Store, CliError> {
    Ok(Store::open(&root(options)?)?)
}

/// The store, for a verb that only talks to a sandbox.
pub(crate) fn store_of_sandboxes(options: &Options) -> Result<Store, CliError> {
    Ok(Store::open_unswept(&root(options)?)?)
}

/// The engine of this host, which knows whether it can run a snapshot with this config.
pub(crate) fn engine_for(store: &Store, config: &format::Config) -> Result<Qemu, CliError> {
    let mut engine = engine(store)?;
    sandbox::probe_for(store, &mut engine, config)?;
    Ok(engine)
}

/// The engine of this host. What it found out about itself is kept in the store's cache.
pub(crate) fn engine(store: &Store) -> Result<Qemu, CliError> {
    let cache = store.cache_folder().join("engine");
    std::fs::create_dir_all(&cache).doing(format!("make {}", cache.display()))?;
    Ok(Qemu::discover(QemuOptions {
        cache: Some(cache.join("qemu.json")),
        ..QemuOptions::from_variables(variable)?
    })?)
}

/// What a supervisor sees of our environment: how to find the configuration and the engine, and how to log.
const SUPERVISOR_VARIABLES: [&str; 11] = [
    "HOME",
    "LD_LIBRARY_PATH",
    "PATH",
    "RUST_BACKTRACE",
    "SPORE_ACCEL",
    "SPORE_CONFIG",
    "SPORE_LOG",
    "SPORE_LOG_FORMAT",
    "SPORE_QEMU",
    "SPORE_QEMU_DATA",
    "XDG_CONFIG_HOME",
];

/// How this executable is started as a supervisor.
pub(crate) fn supervisor(store: &Store) -> Result<SupervisorProgram, CliError> {
    let program = std::env::current_exe().doing("find this executable")?;
    let root = store.root().to_str().ok_or_else(|| CliError::Usage("--root must be UTF-8".into()))?;
    Ok(SupervisorProgram {
        program,
        arguments: vec!["--root".into(), root.into(), "supervise".into()],
        environment: &SUPERVISOR_VARIABLES,
    })
}

/// What `text` means among the snapshots that are here.
pub(crate) fn resolve(store: &Store, text: &str) -> Result<Resolved, CliError> {
    Ok(store.resolve(&Config::load()?.reference(text)?)?)
}

/// The snapshot `digest`, whole, and protected by the lease. Parts that are missing are fetched by their digests from
/// where a tag of it says that it was pulled from.
pub(crate) fn snapshot(
    options: &Options,
    store: &Store,
    lease: &Lease,
    digest: &Digest,
) -> Result<Snapshot, CliError> {
    let missing = match store.load_leased(lease, digest) {
        Err(error @ LoadError::Missing { .. }) => error,
        loaded => return Ok(loaded?),
    };
    let mut failure = CliError::from(missing);
    for (name, hub) in hubs::origins(&Config::load()?, store, digest)? {
        let progress = Arc::new(Transfer::new(options, "fetching"));
        let (source, mirrors) = hubs::sources(&hub, &name)?;
        let told = Arc::clone(&progress) as Arc<dyn hub::Progress>;
        let fetched = interrupt::block_on(fetch_missing(store, source, mirrors, digest, told));
        progress.finish();
        match fetched {
            Ok(_) => return Ok(store.load_leased(lease, digest)?),
            Err(CliError::Interrupted) => return Err(CliError::Interrupted),
            Err(error) => failure = error,
        }
    }
    Err(failure)
}
