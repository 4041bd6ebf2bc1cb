//! What is in use: everything that leases, sandboxes, tags and cached bases lead to.
//!
//! The order of reading matters. Protection moves from a lease to a sandbox, a tag or a cached base, never back
//! without a new lease before a test. So leases are read first: whoever has dropped one by then has already made
//! what takes its place, and that is read after.

use std::collections::HashSet;

use format::manifest::media_type;
use format::{Digest, Manifest, limits};

use crate::prune::PruneError;
use crate::{BlobError, FlatKey, LoadError, Store, cache, lease};

/// What must stay.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    /// Blobs, manifests among them.
    pub(crate) blobs: HashSet<Digest>,
    /// Flat files.
    pub(crate) flats: HashSet<FlatKey>,
}

impl Store {
    /// Reads all roots and what they lead to. With `keep_caches`, cached bases are roots too.
    ///
    /// `between` is called between the reads, so that tests can do something there.
    pub(crate) fn reach(&self, keep_caches: bool, between: &mut dyn FnMut()) -> Result<Reached, PruneError> {
        let mut reached = Reached::default();
        let leased = lease::protected(self)?;
        between();
        for id in self.sandboxes()? {
            match self.sandbox_snapshot(&id)? {
                Some(digest) => self.reach_snapshot(&mut reached, &digest, || format!("sandbox {id}"))?,
                // Removed since it was listed, unless the folder is there.
                None if self.sandbox_path(&id).exists() => {
                    return Err(PruneError::UnknownSandbox { path: self.sandbox_path(&id), id });
                }
                None => {}
            }
        }
        between();
        for (name, record) in self.refs_at_once()? {
            self.reach_snapshot(&mut reached, &record.digest, || format!("tag {name}"))?;
        }
        between();
        if keep_caches {
            reached.flats.extend(cache::layers(self)?.into_iter().map(FlatKey::Layer));
        }
        for digest in leased {
            reached.flats.extend([FlatKey::Layer(digest), FlatKey::Map(digest)]);
            if let Some(manifest) = self.manifest_among_blobs(&digest)? {
                self.reach_parts(&mut reached, &manifest).or_else(|error| match error {
                    // A snapshot on its way here.
                    LoadError::Blob(BlobError::Missing { .. }) => Ok(()),
                    error => Err(PruneError::unreadable("a command's lease".to_owned(), digest, error)),
                })?;
            }
            reached.blobs.insert(digest);
        }
        Ok(reached)
    }

    fn reach_snapshot(
        &self,
        reached: &mut Reached,
        digest: &Digest,
        root: impl Fn() -> String,
    ) -> Result<(), PruneError> {
        if !reached.blobs.insert(*digest) {
            return Ok(());
        }
        let manifest = self.read_manifest(digest).map(|(manifest, _)| manifest);
        manifest
            .and_then(|manifest| self.reach_parts(reached, &manifest))
            .map_err(|error| PruneError::unreadable(root(), *digest, error))
    }

    /// All blobs that a manifest lists, and the flat files that they are laid out in.
    fn reach_parts(&self, reached: &mut Reached, manifest: &Manifest) -> Result<(), LoadError> {
        reached.blobs.extend(manifest.blobs().map(|blob| blob.digest));
        reached.flats.extend(self.flat_keys(manifest)?);
        Ok(())
    }

    /// The flat files that a snapshot is laid out in. Only its config knows the contents that name the layers'.
    pub(crate) fn flat_keys(&self, manifest: &Manifest) -> Result<HashSet<FlatKey>, LoadError> {
        let config = self.read_config(&manifest.config.digest)?;
        let layers = config.layers().filter_map(|disk| disk.content).map(FlatKey::Layer);
        let maps = manifest.layers.iter().filter(|blob| blob.media_type == media_type::MAP);
        Ok(layers.chain(maps.map(|blob| FlatKey::Map(blob.digest))).collect())
    }

    /// The blob `digest` as a manifest, if it is there and is one.
    pub(crate) fn manifest_among_blobs(&self, digest: &Digest) -> Result<Option<Manifest>, PruneError> {
        let bytes = match self.read_blob(digest, limits::MANIFEST_BYTES) {
            Ok(bytes) => bytes,
            Err(BlobError::Missing { .. } | BlobError::TooLarge { .. }) => return Ok(None),
            Err(BlobError::File(error)) => return Err(error.into()),
            Err(error) => {
                return Err(PruneError::unreadable(format!("blob {digest}"), *digest, error.into()));
            }
        };
        Ok(Manifest::parse(&bytes).ok())
    }
}
