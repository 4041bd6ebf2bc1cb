//! What can go wrong with a VM.

use std::path::{Path, PathBuf};
use std::time::Duration;

use engine::{EngineError, Mismatch};
use format::Digest;
use format::zstd_frame::ZstdError;
use store::SandboxId;

use crate::{Cause, ChannelError};

/// Why an act on a VM failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This host cannot restore the snapshot; nothing was started.
    #[error("snapshot {snapshot} does not run on this host: {}", list(mismatches))]
    Incompatible {
        /// The snapshot.
        snapshot: Digest,
        /// Each reason, with what to do.
        mismatches: Vec<Mismatch>,
    },
    /// More sandboxes than one act makes.
    #[error("{count} sandboxes are more than the {max} that are forked at once: fork again for more", max = crate::MAX_COUNT)]
    TooMany {
        /// How many were asked for.
        count: usize,
    },
    /// A data disk cannot be attached, or was not left as it should be.
    #[error("data disk {}: {reason}", path.display())]
    Data {
        /// The file or folder.
        path: PathBuf,
        /// What callers tell it apart by.
        cause: Cause,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A fork did not become ready and was removed.
    #[error("a fork did not become ready and was removed: {reason}")]
    NotReady {
        /// What callers tell it apart by.
        cause: Cause,
        /// What its supervisor said.
        reason: String,
    },
    /// A fork did not become ready in time and was removed.
    #[error(
        "a fork was not ready within {allowed:?} and was removed: {reason}; allow more with --deadline, or see whether the \
         recipe's on_fork ever ends"
    )]
    NotInTime {
        /// How long it may have taken.
        allowed: Duration,
        /// What was not done by then.
        reason: String,
    },
    /// The VM runs, but no supervisor serves it.
    #[error(
        "sandbox {id} was not taken up by a new supervisor: {reason}; try again, or `spore kill {id}` removes it"
    )]
    NotAdopted {
        /// The sandbox.
        id: SandboxId,
        /// What callers tell it apart by.
        cause: Cause,
        /// What the new supervisor said.
        reason: String,
    },
    /// The sandbox's VM has ended.
    #[error(
        "sandbox {id} is not running: {reason}; `spore logs {id}` shows its logs, `spore kill {id}` removes it"
    )]
    NotRunning {
        /// The sandbox.
        id: SandboxId,
        /// Why.
        reason: String,
    },
    /// What was run in a sandbox is lost, and the sandbox is not.
    #[error(
        "sandbox {id}: its supervisor was ended, and with it what ran for you ({source}); the sandbox runs on, and a new \
         supervisor comes with the next command: repeat yours"
    )]
    Lost {
        /// The sandbox.
        id: SandboxId,
        /// How that showed.
        source: ChannelError,
    },
    /// The guest's agent did not do what was asked.
    #[error("{what}: {source}")]
    Agent {
        /// What was asked.
        what: String,
        /// What happened.
        source: ChannelError,
    },
    /// A command of the recipe failed in the guest.
    #[error("build command {command:?} ended with status {status}; its output ended with:\n{output}")]
    BuildCommand {
        /// The command.
        command: String,
        /// As a shell shows it.
        status: i32,
        /// The last lines.
        output: String,
    },
    /// The guest ended during a bake.
    #[error("the guest ended while {during}: {reason}; its console ended with:\n{console}")]
    GuestEnded {
        /// The stage.
        during: String,
        /// How.
        reason: String,
        /// The last lines.
        console: String,
    },
    /// The host's disk is full, of which a guest hears only that its disk does not work. What had been begun was removed.
    #[error(
        "no space left on the filesystem of {}: {free} bytes were free, and what the guest wrote then is lost; free some \
         (`spore prune` removes what nothing uses) and repeat{}",
        root.display(),
        seen_as(during.as_deref())
    )]
    DiskFull {
        /// The store's root.
        root: PathBuf,
        /// Bytes that were free for this user.
        free: u64,
        /// What failed of it, if anything had by then.
        during: Option<Box<Error>>,
    },
    /// The command was interrupted; what it had begun was removed.
    #[error("interrupted: what was begun was removed")]
    Interrupted,
    /// A file of a sandbox could not be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// What should be a snapshot's engine state is none.
    #[error("engine state {digest}: {source}")]
    State {
        /// Its blob.
        digest: Digest,
        /// What is wrong with it.
        source: ZstdError,
    },
    /// A snapshot would not be valid.
    #[error("the snapshot cannot be made: {0}")]
    Format(String),
    /// The engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The recipe or its base.
    #[error(transparent)]
    Rootfs(#[from] rootfs::Error),
    /// The memory or a disk could not be scanned.
    #[error(transparent)]
    Scan(#[from] memory::ScanError),
    /// The store.
    #[error(transparent)]
    File(#[from] store::FileError),
    /// The store.
    #[error(transparent)]
    Blob(#[from] store::BlobError),
    /// The store.
    #[error(transparent)]
    Load(#[from] store::LoadError),
    /// The store.
    #[error(transparent)]
    Layout(#[from] store::LayoutError),
    /// The store.
    #[error(transparent)]
    Frames(#[from] store::FramesError),
    /// The store.
    #[error(transparent)]
    Sandbox(#[from] store::SandboxError),
    /// The store.
    #[error(transparent)]
    Ref(#[from] store::RefError),
    /// There is no room for it.
    #[error(transparent)]
    Space(#[from] store::SpaceError),
    /// A process could not be looked up or ended.
    #[error(transparent)]
    Process(#[from] host::ProcessError),
}

fn seen_as(failure: Option<&Error>) -> String {
    failure.map(|failure| format!(". What failed of it: {failure}")).unwrap_or_default()
}

fn list(mismatches: &[Mismatch]) -> String {
    mismatches.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Adds what was tried, and on which file, to an I/O error.
pub(crate) trait At<T> {
    fn at(self, what: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T, E: Into<std::io::Error>> At<T> for Result<T, E> {
    fn at(self, what: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io { what, path: path.to_owned(), source: source.into() })
    }
}
