//! All that a verb can fail with, and the one place that maps it to exit codes.

use std::process::ExitCode;

use crate::cli::Format;
use crate::output;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Arguments that do not go together.
    #[error("{0}")]
    Usage(String),
    /// Something that was named is not there.
    #[error("{0}")]
    NotFound(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
    /// A file could not be used.
    #[error("cannot {what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
    #[error(transparent)]
    Reference(#[from] format::ReferenceError),
    #[error(transparent)]
    Open(#[from] store::OpenError),
    #[error(transparent)]
    File(#[from] store::FileError),
    #[error(transparent)]
    Blob(#[from] store::BlobError),
    #[error(transparent)]
    Load(#[from] store::LoadError),
    #[error(transparent)]
    Resolve(#[from] store::ResolveError),
    #[error(transparent)]
    Ref(#[from] store::RefError),
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
    #[error(transparent)]
    SandboxId(#[from] store::SandboxError),
    #[error(transparent)]
    Channel(#[from] sandbox::ChannelError),
    #[error(transparent)]
    Recipe(#[from] rootfs::RecipeError),
    #[error(transparent)]
    Rootfs(#[from] rootfs::Error),
    #[error(transparent)]
    Engine(#[from] engine::EngineError),
}

/// What scripts can tell apart; `spore --help` documents the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Incompatible = 4,
    Verification = 5,
}

/// When a verb passes a command's own status on, Spore's failure is this.
const SPORE_FAILED: u8 = 125;

impl CliError {
    fn kind(&self) -> Kind {
        match self {
            Self::Usage(_) | Self::Reference(_) => Kind::Usage,
            Self::NotFound(_) => Kind::NotFound,
            Self::Resolve(error) => resolve_kind(error),
            Self::Ref(store::RefError::NotFound { .. }) => Kind::NotFound,
            Self::SandboxId(error) => sandbox_id_kind(error),
            Self::Blob(error) => blob_kind(error),
            Self::Load(error) => load_kind(error),
            Self::Sandbox(error) => sandbox_kind(error),
            _ => Kind::Failed,
        }
    }
}

fn resolve_kind(error: &store::ResolveError) -> Kind {
    match error {
        store::ResolveError::NotFound { .. } => Kind::NotFound,
        store::ResolveError::Ambiguous { .. } => Kind::Usage,
        _ => Kind::Failed,
    }
}

fn sandbox_id_kind(error: &store::SandboxError) -> Kind {
    match error {
        store::SandboxError::Id { .. } | store::SandboxError::Ambiguous { .. } => Kind::Usage,
        store::SandboxError::NotFound { .. } => Kind::NotFound,
        _ => Kind::Failed,
    }
}

fn blob_kind(error: &store::BlobError) -> Kind {
    match error {
        store::BlobError::Missing { .. } => Kind::NotFound,
        store::BlobError::File(_) => Kind::Failed,
        _ => Kind::Verification,
    }
}

fn load_kind(error: &store::LoadError) -> Kind {
    match error {
        store::LoadError::Missing { .. } => Kind::NotFound,
        store::LoadError::Blob(error) => blob_kind(error),
        _ => Kind::Verification,
    }
}

fn sandbox_kind(error: &sandbox::Error) -> Kind {
    match error {
        sandbox::Error::Incompatible { .. } => Kind::Incompatible,
        sandbox::Error::Blob(error) => blob_kind(error),
        sandbox::Error::Load(error) => load_kind(error),
        sandbox::Error::Sandbox(error) => sandbox_id_kind(error),
        sandbox::Error::Layout(error) => match error {
            store::LayoutError::Blob(error) => blob_kind(error),
            store::LayoutError::Frame { .. }
            | store::LayoutError::Index { .. }
            | store::LayoutError::Pages { .. }
            | store::LayoutError::Content { .. } => Kind::Verification,
            _ => Kind::Failed,
        },
        _ => Kind::Failed,
    }
}

/// Says on standard error what failed, and gives the exit code.
pub(crate) fn report(error: &CliError, format: Format, own_statuses: bool) -> ExitCode {
    let kind = error.kind();
    output::error(&error.to_string(), &format!("{kind:?}").to_lowercase(), format);
    ExitCode::from(if own_statuses { SPORE_FAILED } else { kind as u8 })
}

/// Adds what was tried to an I/O error.
pub(crate) trait Doing<T> {
    fn doing(self, what: impl Into<String>) -> Result<T, CliError>;
}

impl<T> Doing<T> for std::io::Result<T> {
    fn doing(self, what: impl Into<String>) -> Result<T, CliError> {
        self.map_err(|source| CliError::Io { what: what.into(), source })
    }
}
