//! All that a verb can fail with, and how that is said. The exit codes: `kind`.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::output::{self, Format};

mod kind;

use kind::Kind;

/// Why a verb failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// Arguments that do not go together.
    #[error("{0}")]
    Usage(String),
    /// Something that was named is not there.
    #[error("{0}")]
    NotFound(String),
    /// Something is not what its digest says.
    #[error("{0}")]
    Verification(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
    /// Ctrl-C or SIGTERM. What was begun is gone, but for parts of blobs, which the next try resumes.
    #[error("interrupted: the same command goes on where it stopped")]
    Interrupted,
    /// The same, of what cannot be resumed.
    #[error("interrupted: nothing was kept")]
    Undone,
    /// A snapshot of which parts are nowhere: also listed for scripts.
    #[error("{message}")]
    Incomplete {
        /// What is missing, for people.
        message: String,
        /// The same, one by one.
        parts: pack::Missing,
    },
    /// It failed, and what it had stored is there still. Nothing leads to it.
    #[error("{cause}; what was stored is left to `spore prune`: {left}")]
    Left {
        /// Why it failed.
        cause: Box<CliError>,
        /// Why that was not taken back.
        left: Box<pack::TakeBackError>,
    },
    /// The same, of a copy of files.
    #[error("interrupted: what was copied whole stays, and nothing else")]
    HalfCopied,
    /// The configuration cannot be read.
    #[error("configuration {}: {reason}", path.display())]
    Config {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
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
    Output(#[from] sandbox::OutputError),
    #[error(transparent)]
    Files(#[from] archive::Error),
    #[error(transparent)]
    Recipe(#[from] rootfs::RecipeError),
    #[error(transparent)]
    Rootfs(#[from] rootfs::Error),
    #[error(transparent)]
    Engine(#[from] engine::EngineError),
    #[error(transparent)]
    Location(#[from] hub::LocationError),
    #[error(transparent)]
    Credential(#[from] hub::credentials::CredentialError),
    #[error(transparent)]
    Hub(Box<hub::HubError>),
    #[error(transparent)]
    Serve(#[from] hub_server::ServeError),
    #[error(transparent)]
    Token(#[from] hub_server::TokenError),
    #[error(transparent)]
    Push(Box<hub::PushError>),
    #[error(transparent)]
    Pull(Box<hub::PullError>),
    #[error(transparent)]
    Pack(Box<pack::PackError>),
    #[error(transparent)]
    Unpack(Box<pack::UnpackError>),
    #[error(transparent)]
    Catalog(Box<catalog::CatalogError>),
    #[error(transparent)]
    Copy(Box<hub::CopyError>),
    #[error(transparent)]
    Ticket(Box<hub::bucket::TicketError>),
    #[error(transparent)]
    HubPrune(Box<hub::PruneError>),
    #[error(transparent)]
    Prune(#[from] store::prune::PruneError),
}

// Boxed: they hold more than all other errors do, and every verb hands them up.
impl From<hub::HubError> for CliError {
    fn from(error: hub::HubError) -> Self {
        Self::Hub(Box::new(error))
    }
}

impl From<hub::PushError> for CliError {
    fn from(error: hub::PushError) -> Self {
        Self::Push(Box::new(error))
    }
}

impl From<hub::PullError> for CliError {
    fn from(error: hub::PullError) -> Self {
        Self::Pull(Box::new(error))
    }
}

impl From<pack::PackError> for CliError {
    fn from(error: pack::PackError) -> Self {
        match error {
            pack::PackError::Interrupted => Self::Undone,
            error => Self::Pack(Box::new(error)),
        }
    }
}

impl From<pack::UnpackError> for CliError {
    fn from(error: pack::UnpackError) -> Self {
        match error {
            pack::UnpackError::Interrupted => Self::Undone,
            error => Self::Unpack(Box::new(error)),
        }
    }
}

impl From<catalog::CatalogError> for CliError {
    fn from(error: catalog::CatalogError) -> Self {
        Self::Catalog(Box::new(error))
    }
}

impl From<hub::CopyError> for CliError {
    fn from(error: hub::CopyError) -> Self {
        Self::Copy(Box::new(error))
    }
}

impl From<hub::bucket::TicketError> for CliError {
    fn from(error: hub::bucket::TicketError) -> Self {
        Self::Ticket(Box::new(error))
    }
}

impl From<hub::PruneError> for CliError {
    fn from(error: hub::PruneError) -> Self {
        Self::HubPrune(Box::new(error))
    }
}

/// What a shell shows for a command that Ctrl-C has ended.
pub(crate) const INTERRUPTED: u8 = 130;

/// When a verb passes a command's own status on, Spore's failure is this.
const SPORE_FAILED: u8 = 125;

impl CliError {
    /// Why `user` could not be logged in to `registry`.
    pub(crate) fn of_login(error: hub::HubError, registry: &str, user: &str) -> Self {
        match error {
            hub::HubError::Denied { .. } => Self::Failed(format!(
                "{registry} does not let {user} in with this password; nothing was kept: try again, or ask for an access \
                 token there"
            )),
            error => error.into(),
        }
    }
}

/// Says on standard error what failed, and gives the exit code.
pub(crate) fn report(error: &CliError, format: Format, own_statuses: bool) -> ExitCode {
    let kind = error.kind();
    let parts = match error {
        CliError::Incomplete { parts, .. } => Some(parts),
        _ => None,
    };
    let message = format!("{error}{}", advice(error));
    output::error_about(&message, &format!("{kind:?}").to_lowercase(), parts, format);
    let passes_statuses_on = own_statuses && kind != Kind::Interrupted;
    ExitCode::from(if passes_statuses_on { SPORE_FAILED } else { kind as u8 })
}

/// What to do about a disk that is full or fails, wherever in an error it is. One that says it itself has no such source.
fn advice(error: &CliError) -> &'static str {
    use std::io::{Error, ErrorKind};
    let mut next: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = next {
        let said = error.downcast_ref::<Error>();
        if said.and_then(Error::raw_os_error) == Some(rustix::io::Errno::IO.raw_os_error()) {
            return "; if that is on a disk, it may be failing: look at the kernel's log (`dmesg`) before you repeat";
        }
        if matches!(said.map(Error::kind), Some(ErrorKind::StorageFull | ErrorKind::QuotaExceeded)) {
            return "; free some space there (in a store, `spore prune` removes what nothing uses) and repeat";
        }
        next = error.source();
    }
    ""
}

/// Says what is wrong with the arguments; or what they ask for, which is help or the version.
pub(crate) fn report_parsing(told: &clap::Error) -> ExitCode {
    if told.use_stderr() && output::logs_json() {
        let text = told.render().to_string();
        output::error(text.trim_end().trim_start_matches("error: "), "usage", Format::Text);
    } else {
        // A reader that has gone is no reason to complain.
        told.print().ok();
    }
    ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(Kind::Usage as u8))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_to_do_about_a_disk_is_said_once() {
        use rustix::io::Errno;
        let io = |errno: Errno| sandbox::Error::Io { what: "write", path: "/x".into(), source: errno.into() };
        assert!(advice(&io(Errno::NOSPC).into()).contains("free some"));
        assert!(advice(&io(Errno::DQUOT).into()).contains("free some"));
        assert_eq!(advice(&io(Errno::ACCESS).into()), "");
        let file =
            |errno: Errno| store::FileError::Io { action: "write", path: "/x".into(), source: errno.into() };
        let error = hub::PullError::from(store::BlobError::from(file(Errno::IO)));
        assert!(advice(&error.into()).contains("dmesg"));
        let full =
            store::FileError::NoSpace { action: "write", path: "/x".into(), said: Errno::NOSPC.into() };
        assert!(full.to_string().contains("free some"));
        let error = hub::PullError::from(store::BlobError::from(full));
        assert_eq!(advice(&error.into()), "");
    }
}
