//! Which exit code an error has: the one place that maps them.

use super::{CliError, INTERRUPTED};

/// What scripts can tell apart; `spore --help` documents the numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Failed = 1,
    Usage = 2,
    NotFound = 3,
    Incompatible = 4,
    Verification = 5,
    Interrupted = INTERRUPTED,
}

impl CliError {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Usage(_) | Self::Config { .. } | Self::Reference(_) | Self::Location(_) => Kind::Usage,
            Self::Interrupted | Self::Undone | Self::HalfCopied => Kind::Interrupted,
            Self::Incomplete { .. } => Kind::NotFound,
            Self::Left { cause, .. } => cause.kind(),
            Self::NotFound(_) => Kind::NotFound,
            Self::Verification(_) => Kind::Verification,
            Self::Open(store::OpenError::Newer { .. }) => Kind::Incompatible,
            Self::Resolve(error) => resolve_kind(error),
            Self::Ref(error) => ref_kind(error),
            Self::SandboxId(error) => sandbox_id_kind(error),
            Self::Blob(error) => cause_kind(error),
            Self::Load(error) => cause_kind(error),
            Self::Sandbox(error) => sandbox_kind(error),
            Self::Engine(error) => cause_kind(error),
            Self::Output(error) => cause_kind(error),
            Self::Credential(error) => credential_kind(error),
            Self::Hub(error) => hub_kind(error),
            Self::Serve(error) => serve_kind(error),
            Self::Token(_) | Self::Rootfs(rootfs::Error::MirrorVariable { .. }) => Kind::Usage,
            Self::Push(error) => push_kind(error),
            Self::Pull(error) => pull_kind(error),
            Self::Pack(error) => pack_kind(error),
            Self::Unpack(error) => unpack_kind(error),
            Self::Catalog(error) => catalog_kind(error),
            Self::Copy(error) => copy_kind(error),
            Self::Ticket(error) => ticket_kind(error),
            Self::HubPrune(error) => hub_prune_kind(error),
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

fn ref_kind(error: &store::RefError) -> Kind {
    match error {
        store::RefError::NotFound { .. } => Kind::NotFound,
        store::RefError::Load(error) => cause_kind(error),
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

/// Of what another crate has told apart already.
fn cause_kind(cause: impl Into<sandbox::Cause>) -> Kind {
    use sandbox::Cause;
    match cause.into() {
        Cause::Missing => Kind::NotFound,
        Cause::Incompatible => Kind::Incompatible,
        Cause::Invalid => Kind::Verification,
        Cause::Usage => Kind::Usage,
        Cause::Interrupted => Kind::Interrupted,
        Cause::Timeout | Cause::Other => Kind::Failed,
    }
}

fn sandbox_kind(error: &sandbox::Error) -> Kind {
    match error {
        sandbox::Error::Sandbox(error) => sandbox_id_kind(error),
        sandbox::Error::Ref(error) => ref_kind(error),
        error => cause_kind(error),
    }
}

fn credential_kind(error: &hub::credentials::CredentialError) -> Kind {
    use hub::credentials::CredentialError;
    match error {
        CredentialError::Registry | CredentialError::User { .. } | CredentialError::NoFile => Kind::Usage,
        _ => Kind::Failed,
    }
}

fn hub_kind(error: &hub::HubError) -> Kind {
    match error {
        hub::HubError::NotAHub { .. } => Kind::NotFound,
        hub::HubError::Corrupt { .. } => Kind::Verification,
        _ => Kind::Failed,
    }
}

fn serve_kind(error: &hub_server::ServeError) -> Kind {
    match error {
        hub_server::ServeError::Hub(error) => hub_kind(error),
        hub_server::ServeError::Location(_) | hub_server::ServeError::Exposed { .. } => Kind::Usage,
        _ => Kind::Failed,
    }
}

fn push_kind(error: &hub::PushError) -> Kind {
    match error {
        hub::PushError::Damaged { .. } => Kind::Verification,
        hub::PushError::Snapshot(error) => cause_kind(error),
        hub::PushError::Hub(error) => hub_kind(error),
        hub::PushError::Store(error) => cause_kind(error),
        _ => Kind::Failed,
    }
}

fn ticket_kind(error: &hub::bucket::TicketError) -> Kind {
    use hub::bucket::TicketError;
    match error {
        TicketError::Lifetime | TicketError::Malformed { .. } | TicketError::Other { .. } => Kind::Usage,
        TicketError::Manifest(_) => Kind::Verification,
        TicketError::Hub(error) => hub_kind(error),
        TicketError::Push(error) => push_kind(error),
        _ => Kind::Failed,
    }
}

fn hub_prune_kind(error: &hub::PruneError) -> Kind {
    match error {
        hub::PruneError::Hub(error) => hub_kind(error),
        hub::PruneError::Unreadable { .. } => Kind::Verification,
        _ => Kind::Failed,
    }
}

fn pull_kind(error: &hub::PullError) -> Kind {
    use hub::PullError;
    match error {
        PullError::NotFound { .. } | PullError::Incomplete { .. } | PullError::NoHub { .. } => Kind::NotFound,
        PullError::Variants { .. } => Kind::Usage,
        PullError::WrongSize { .. }
        | PullError::Corrupt { .. }
        | PullError::Manifest { .. }
        | PullError::Index { .. }
        | PullError::Config { .. }
        | PullError::Map { .. }
        | PullError::Inconsistent { .. } => Kind::Verification,
        PullError::Hub(error) => hub_kind(error),
        PullError::Store(error) => cause_kind(error),
        PullError::Layout(error) => cause_kind(error),
        _ => Kind::Failed,
    }
}

fn pack_kind(error: &pack::PackError) -> Kind {
    match error {
        pack::PackError::NotAFile { .. } => Kind::Usage,
        pack::PackError::Damaged { .. } => Kind::Verification,
        pack::PackError::Load(error) => cause_kind(error),
        pack::PackError::Store(error) => cause_kind(error),
        _ => Kind::Failed,
    }
}

fn unpack_kind(error: &pack::UnpackError) -> Kind {
    use pack::{ReadError, UnpackError};
    match error {
        UnpackError::Read(ReadError::Order(_) | ReadError::Compressed) => Kind::Usage,
        UnpackError::Read(ReadError::Io(_)) => Kind::Failed,
        UnpackError::Read(_)
        | UnpackError::Corrupt { .. }
        | UnpackError::Size { .. }
        | UnpackError::Manifest { .. }
        | UnpackError::Config { .. }
        | UnpackError::Map { .. }
        | UnpackError::Inconsistent { .. } => Kind::Verification,
        UnpackError::Missing { .. } => Kind::NotFound,
        UnpackError::Interrupted => Kind::Interrupted,
        UnpackError::Left { cause, .. } => unpack_kind(cause),
        UnpackError::Layout(error) => cause_kind(error),
        UnpackError::Load(error) => cause_kind(error),
        UnpackError::Store(error) => cause_kind(error),
        _ => Kind::Failed,
    }
}

fn catalog_kind(error: &catalog::CatalogError) -> Kind {
    match error {
        catalog::CatalogError::Hub(error) => hub_kind(error),
        catalog::CatalogError::Location { .. } => Kind::Usage,
        _ => Kind::Failed,
    }
}

fn copy_kind(error: &hub::CopyError) -> Kind {
    use hub::CopyError;
    match error {
        CopyError::NotFound { .. } | CopyError::Incomplete { .. } => Kind::NotFound,
        CopyError::Manifest { .. } | CopyError::Invalid { .. } | CopyError::Corrupt { .. } => {
            Kind::Verification
        }
        CopyError::Hub(error) => hub_kind(error),
        _ => Kind::Failed,
    }
}

#[cfg(test)]
mod tests {
    use engine::EngineError;
    use format::Digest;
    use sandbox::Cause;

    use super::*;

    #[test]
    fn an_engine_s_refusal_is_the_same_whoever_meets_it() {
        let attachment = || EngineError::Attachment {
            device: "layer0".to_owned(),
            expected: "4096 bytes".to_owned(),
            found: "8192 bytes".to_owned(),
        };
        let incompatible = || EngineError::Incompatible(Vec::new());
        assert_eq!(CliError::from(attachment()).kind(), Kind::Verification);
        assert_eq!(CliError::from(sandbox::Error::from(attachment())).kind(), Kind::Verification);
        assert_eq!(CliError::from(incompatible()).kind(), Kind::Incompatible);
        assert_eq!(CliError::from(sandbox::Error::from(incompatible())).kind(), Kind::Incompatible);
    }

    #[test]
    fn what_a_supervisor_has_found_decides() {
        let kind = |cause| {
            CliError::from(sandbox::Error::NotReady { cause, reason: "it said so".to_owned() }).kind()
        };
        assert_eq!(kind(Cause::Incompatible), Kind::Incompatible);
        assert_eq!(kind(Cause::Invalid), Kind::Verification);
        assert_eq!(kind(Cause::Missing), Kind::NotFound);
        assert_eq!(kind(Cause::Timeout), Kind::Failed);
        assert_eq!(kind(Cause::Other), Kind::Failed);
    }

    #[test]
    fn what_a_store_lacks_or_has_damaged_is_told_apart() {
        let (digest, found) = (Digest::of(b"said"), Digest::of(b"found"));
        assert_eq!(CliError::from(store::BlobError::Missing { digest }).kind(), Kind::NotFound);
        let unexpected = store::BlobError::Unexpected { expected: digest, found };
        assert_eq!(CliError::from(unexpected).kind(), Kind::Verification);
    }
}
