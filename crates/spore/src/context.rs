//! What verbs run in: the store, the engine, interruption.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::qemu::{Options as QemuOptions, Qemu};
use format::Reference;
use sandbox::SupervisorProgram;
use store::{Lease, Resolved, Snapshot, Store};

use crate::cli::Options;
use crate::error::{CliError, Doing};

/// Where a store is without `--root`: `$XDG_DATA_HOME/spore`, else `~/.local/share/spore`.
pub(crate) fn root(options: &Options) -> Result<PathBuf, CliError> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let root = options
        .root
        .clone()
        .or_else(|| set("XDG_DATA_HOME").map(|data| data.join("spore")))
        .or_else(|| set("HOME").map(|home| home.join(".local/share/spore")))
        .ok_or_else(|| CliError::Usage("neither --root nor HOME says where to keep snapshots: give --root".into()))?;
    std::path::absolute(&root).doing(format!("find {}", root.display()))
}

pub(crate) fn store(options: &Options) -> Result<Store, CliError> {
    Ok(Store::open(&root(options)?)?)
}

/// The engine of this host. What it found out about itself is kept in the store's cache.
pub(crate) fn engine(store: &Store) -> Result<Qemu, CliError> {
    let cache = store.cache_folder().join("engine");
    std::fs::create_dir_all(&cache).doing(format!("make {}", cache.display()))?;
    Ok(Qemu::discover(QemuOptions { cache: Some(cache.join("qemu.json")), ..QemuOptions::from_environment()? })?)
}

/// How this executable is started as a supervisor.
pub(crate) fn supervisor(store: &Store) -> Result<SupervisorProgram, CliError> {
    let program = std::env::current_exe().doing("find this executable")?;
    let root = store.root().to_str().ok_or_else(|| CliError::Usage("--root must be UTF-8".into()))?;
    Ok(SupervisorProgram { program, arguments: vec!["--root".into(), root.into(), "supervise".into()] })
}

/// The local snapshot that `text` names, whole, and protected by the lease.
pub(crate) fn snapshot(store: &Store, lease: &Lease, text: &str) -> Result<(Resolved, Snapshot), CliError> {
    let reference: Reference = text.parse()?;
    let resolved = store.resolve(&reference)?;
    lease.protect(&resolved.digest)?;
    let snapshot = store.load_snapshot(&resolved.digest)?;
    Ok((resolved, snapshot))
}

/// A flag that Ctrl-C and SIGTERM set. A second one ends the process at once; what it leaves is swept later.
pub(crate) fn interruption() -> Result<Arc<AtomicBool>, CliError> {
    let flag = Arc::new(AtomicBool::new(false));
    let set = Arc::clone(&flag);
    ctrlc::set_handler(move || {
        if set.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    })
    .map_err(|error| CliError::Failed(format!("cannot handle Ctrl-C: {error}")))?;
    Ok(flag)
}

/// Diagnostics of the libraries, where `SPORE_LOG` asks for them.
pub(crate) fn start_tracing() {
    if let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("SPORE_LOG") {
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    }
}
