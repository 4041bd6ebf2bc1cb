//! What callers tell failures apart by, and which error is which. It is decided here alone, so that what a supervisor finds
//! counts the same for whoever waits for it as what they find themselves.

use agent_protocol::FailureKind;
use engine::EngineError;
use rootfs::{ImageError, LayerError, RegistryErrorKind};
use serde::{Deserialize, Serialize};
use store::{BlobError, LayoutError, LoadError};

use crate::{ChannelError, Error, OutputError};

/// Why something failed, as far as callers tell it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Something that is needed is not in the store, or not in the guest.
    Missing,
    /// This host cannot run the snapshot.
    Incompatible,
    /// Something is not what the snapshot says: bytes, an engine state, or what the engine has attached.
    Invalid,
    /// It took longer than was allowed.
    Timeout,
    /// It was asked for in a way that makes no sense.
    Usage,
    /// The user has stopped it.
    Interrupted,
    /// Anything else.
    Other,
}

impl From<&EngineError> for Cause {
    fn from(error: &EngineError) -> Self {
        match error {
            EngineError::Incompatible(_) => Self::Incompatible,
            EngineError::State { .. } | EngineError::Attachment { .. } => Self::Invalid,
            EngineError::Timeout(_) => Self::Timeout,
            EngineError::Environment { .. } => Self::Usage,
            _ => Self::Other,
        }
    }
}

impl From<&ChannelError> for Cause {
    fn from(error: &ChannelError) -> Self {
        match error {
            ChannelError::Timeout => Self::Timeout,
            _ => Self::Other,
        }
    }
}

impl From<&OutputError> for Cause {
    fn from(error: &OutputError) -> Self {
        match error {
            OutputError::Guest { kind: FailureKind::NotFound, .. } => Self::Missing,
            OutputError::Guest { .. } => Self::Other,
            OutputError::Channel(error) => error.into(),
        }
    }
}

impl From<&BlobError> for Cause {
    fn from(error: &BlobError) -> Self {
        match error {
            BlobError::Missing { .. } => Self::Missing,
            BlobError::File(_) => Self::Other,
            _ => Self::Invalid,
        }
    }
}

impl From<&LoadError> for Cause {
    fn from(error: &LoadError) -> Self {
        match error {
            LoadError::Missing { .. } => Self::Missing,
            LoadError::Blob(error) => error.into(),
            _ => Self::Invalid,
        }
    }
}

impl From<&LayoutError> for Cause {
    fn from(error: &LayoutError) -> Self {
        match error {
            LayoutError::Blob(error) => error.into(),
            LayoutError::Frame { .. }
            | LayoutError::Index { .. }
            | LayoutError::Pages { .. }
            | LayoutError::Content { .. } => Self::Invalid,
            LayoutError::Stopped => Self::Interrupted,
            _ => Self::Other,
        }
    }
}

impl From<&rootfs::Error> for Cause {
    fn from(error: &rootfs::Error) -> Self {
        match error {
            rootfs::Error::Image { source, .. } => (&**source).into(),
            rootfs::Error::Layer { source, .. } => (&**source).into(),
            _ => Self::Other,
        }
    }
}

impl From<&ImageError> for Cause {
    fn from(error: &ImageError) -> Self {
        match error {
            ImageError::Missing { .. } | ImageError::NotNamed { .. } => Self::Missing,
            ImageError::Platform { .. } => Self::Incompatible,
            ImageError::Malformed { .. } | ImageError::Corrupt { .. } | ImageError::Archive { .. } => {
                Self::Invalid
            }
            ImageError::Layer { source, .. } => source.into(),
            ImageError::Registry(error) => match error.kind {
                RegistryErrorKind::Missing => Self::Missing,
                RegistryErrorKind::Corrupt => Self::Invalid,
                RegistryErrorKind::Other => Self::Other,
            },
            _ => Self::Other,
        }
    }
}

impl From<&LayerError> for Cause {
    fn from(error: &LayerError) -> Self {
        match error {
            LayerError::Archive(_) | LayerError::Entry { .. } => Self::Invalid,
            LayerError::Interrupted => Self::Interrupted,
            _ => Self::Other,
        }
    }
}

impl From<&Error> for Cause {
    fn from(error: &Error) -> Self {
        match error {
            Error::NotReady { cause, .. } | Error::NotAdopted { cause, .. } | Error::Data { cause, .. } => {
                *cause
            }
            Error::NotInTime { .. } => Self::Timeout,
            Error::Interrupted => Self::Interrupted,
            Error::Incompatible { .. } => Self::Incompatible,
            Error::State { .. } => Self::Invalid,
            Error::Engine(error) => error.into(),
            Error::Agent { source, .. } => source.into(),
            Error::Blob(error) => error.into(),
            Error::Load(error) => error.into(),
            Error::Layout(error) => error.into(),
            Error::Rootfs(error) => error.into(),
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use format::Digest;

    use super::*;

    fn of(error: impl Into<Error>) -> Cause {
        Cause::from(&error.into())
    }

    #[test]
    fn what_an_engine_refuses_is_told_apart() {
        let state = EngineError::State { file: "state".to_owned(), source: "it is none".into() };
        let attachment =
            EngineError::Attachment { device: String::new(), expected: String::new(), found: String::new() };
        assert_eq!(of(state), Cause::Invalid);
        assert_eq!(of(attachment), Cause::Invalid);
        assert_eq!(of(EngineError::Incompatible(Vec::new())), Cause::Incompatible);
        assert_eq!(of(EngineError::Timeout("start")), Cause::Timeout);
        assert_eq!(of(EngineError::Died { doing: "start", log: String::new() }), Cause::Other);
    }

    #[test]
    fn what_a_store_refuses_is_told_apart() {
        let (digest, found) = (Digest::of(b"said"), Digest::of(b"found"));
        let unexpected = || BlobError::Unexpected { expected: digest, found };
        assert_eq!(of(unexpected()), Cause::Invalid);
        assert_eq!(of(LoadError::Blob(unexpected())), Cause::Invalid);
        assert_eq!(of(LayoutError::Blob(unexpected())), Cause::Invalid);
        assert_eq!(of(LayoutError::Index { blob: digest, found, expected: digest }), Cause::Invalid);
        assert_eq!(of(BlobError::Missing { digest }), Cause::Missing);
        assert_eq!(of(LoadError::Missing { digest, parts: Vec::new() }), Cause::Missing);
        assert_eq!(of(LayoutError::NoLayer(digest)), Cause::Other);
    }

    #[test]
    fn what_a_base_is_refused_for_is_told_apart() {
        let image = |source| of(rootfs::Error::Image { image: String::new(), source: Box::new(source) });
        let layer = |source| image(ImageError::Layer { number: 1, digest: Digest::of(b""), source });
        let io = || std::io::Error::other("it says no");
        let refused = rootfs::ArchiveError::Entry { path: String::new(), reason: "" };
        assert_eq!(layer(LayerError::Archive(refused)), Cause::Invalid);
        assert_eq!(layer(LayerError::Entry { path: String::new(), reason: "" }), Cause::Invalid);
        assert_eq!(layer(LayerError::Read(io())), Cause::Other);
        assert_eq!(layer(LayerError::Write(io())), Cause::Other);
        assert_eq!(layer(LayerError::NoSpace { needed: 2, free: 1 }), Cause::Other);
        assert_eq!(layer(LayerError::TooMuch { what: "", limit: 1 }), Cause::Other);
        assert_eq!(layer(LayerError::Interrupted), Cause::Interrupted);
        let tar = |source| of(rootfs::Error::Layer { path: "base.tar".into(), source: Box::new(source) });
        assert_eq!(tar(LayerError::Entry { path: String::new(), reason: "" }), Cause::Invalid);
        assert_eq!(tar(LayerError::Write(io())), Cause::Other);
        let registry = |kind| image(rootfs::RegistryError { kind, source: "it says no".into() }.into());
        assert_eq!(registry(RegistryErrorKind::Missing), Cause::Missing);
        assert_eq!(registry(RegistryErrorKind::Corrupt), Cause::Invalid);
        assert_eq!(registry(RegistryErrorKind::Other), Cause::Other);
    }

    #[test]
    fn only_a_silent_agent_is_a_late_one() {
        let agent = |source| of(Error::Agent { what: String::new(), source });
        assert_eq!(agent(ChannelError::Timeout), Cause::Timeout);
        assert_eq!(agent(ChannelError::Closed), Cause::Other);
    }

    #[test]
    fn what_a_supervisor_says_is_kept() {
        let not_ready = |cause| of(Error::NotReady { cause, reason: String::new() });
        for cause in [Cause::Missing, Cause::Incompatible, Cause::Invalid, Cause::Other] {
            assert_eq!(not_ready(cause), cause);
        }
    }
}
