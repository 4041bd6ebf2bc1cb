//! How images in registries are reached. Who calls this crate has a client; this crate has none.

use std::fmt::Debug;
use std::io::Read;

use format::Digest;

use crate::recipe::RegistryImage;

/// Why a registry did not give something; what it says is shown as it is.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct RegistryError {
    /// What callers tell failures apart by.
    pub kind: RegistryErrorKind,
    /// What the client says.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// See [`RegistryError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryErrorKind {
    /// There is no registry, or it does not have that.
    Missing,
    /// What it gave is not what it should be.
    Corrupt,
    /// Anything else: it does not answer, or does not let this user in.
    Other,
}

/// Registries, as far as bases need them. What they give is verified here.
pub trait Registries: Debug {
    /// The manifest or index that an image's name leads to, or the one with a digest; at most 4 MiB. `None` if there is none.
    ///
    /// # Errors
    /// If the registry cannot be reached or refuses.
    fn manifest(
        &self,
        image: &RegistryImage,
        digest: Option<&Digest>,
    ) -> Result<Option<Vec<u8>>, RegistryError>;

    /// The bytes of a blob of `size` bytes of that repository. `None` if there is none.
    ///
    /// # Errors
    /// If the registry cannot be reached or refuses.
    fn blob(
        &self,
        image: &RegistryImage,
        digest: &Digest,
        size: u64,
    ) -> Result<Option<Box<dyn Read>>, RegistryError>;
}

/// None: an image in a registry is then an error.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRegistries;

impl NoRegistries {
    fn refuse<T>() -> Result<T, RegistryError> {
        let source = "there are no registries here".into();
        Err(RegistryError { kind: RegistryErrorKind::Other, source })
    }
}

impl Registries for NoRegistries {
    fn manifest(&self, _: &RegistryImage, _: Option<&Digest>) -> Result<Option<Vec<u8>>, RegistryError> {
        Self::refuse()
    }

    fn blob(&self, _: &RegistryImage, _: &Digest, _: u64) -> Result<Option<Box<dyn Read>>, RegistryError> {
        Self::refuse()
    }
}
