//! How images in registries are reached. Who calls this crate has a client; this crate has none.

use std::fmt::Debug;
use std::io::Read;

use format::Digest;

use crate::recipe::RegistryImage;

/// Why a registry did not give something; what it says is shown as it is.
type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Registries, as far as bases need them. What they give is verified here.
pub trait Registries: Debug {
    /// The manifest or index that an image's name leads to, or the one with a digest; at most 4 MiB. `None` if there is none.
    ///
    /// # Errors
    /// If the registry cannot be reached or refuses.
    fn manifest(&self, image: &RegistryImage, digest: Option<&Digest>) -> Result<Option<Vec<u8>>, Failure>;

    /// The bytes of a blob of `size` bytes of that repository. `None` if there is none.
    ///
    /// # Errors
    /// If the registry cannot be reached or refuses.
    fn blob(
        &self,
        image: &RegistryImage,
        digest: &Digest,
        size: u64,
    ) -> Result<Option<Box<dyn Read>>, Failure>;
}

/// None: an image in a registry is then an error.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoRegistries;

impl Registries for NoRegistries {
    fn manifest(&self, _: &RegistryImage, _: Option<&Digest>) -> Result<Option<Vec<u8>>, Failure> {
        Err("there are no registries here".into())
    }

    fn blob(&self, _: &RegistryImage, _: &Digest, _: u64) -> Result<Option<Box<dyn Read>>, Failure> {
        Err("there are no registries here".into())
    }
}
