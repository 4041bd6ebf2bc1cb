//! What is in use: everything that leases, sandboxes, tags and cached bases lead to.
//!
//! The order of reading matters. Protection moves from a lease to a sandbox, a tag or a cached base, never back
//! without a new lease before a test. So leases are read first: whoever has dropped one by then has already made
//! what takes its place, and that is read after.

use std::collections::HashSet;

use format::manifest::media_type;
use format::{Digest, Manifest, limits};

use crate::prune::error::PruneError;
use crate::{BlobError, FlatKey, LoadError, Store, cache, lease};

/// What must stay.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    /// Blobs, manifests among them.
    pub(crate) blobs: HashSet<Digest>,
    /// Flat files that a command or a sandbox needs.
    pub(crate) flats: HashSet<FlatKey>,
    /// Flat files that are kept to make the next fork or bake faster: those of tags, and of cached bases.
    pub(crate) cached_flats: HashSet<FlatKey>,
    /// Snapshots whose parts are among them. A blob that another snapshot lists is not: it may be a manifest all the same, of
    /// an attachment for instance.
    walked: HashSet<Digest>,
}

impl Store {
    /// Reads all roots and what they lead to.
    ///
    /// `between` is called between the reads, so that tests can do something there.
    pub(crate) fn reach(&self, between: &mut dyn FnMut()) -> Result<Reached, PruneError> {
        let mut reached = Reached::default();
        let leased = lease::protected(self)?;
        between();
        for id in self.sandboxes()? {
            match self.sandbox_snapshot(&id)? {
                Some(digest) => {
                    let flats = self.reach_snapshot(&mut reached, &digest, || format!("sandbox {id}"))?;
                    reached.flats.extend(flats);
                }
                // Removed since it was listed, unless the folder is there.
                None if self.sandbox_path(&id).exists() => {
                    return Err(PruneError::UnknownSandbox { path: self.sandbox_path(&id), id });
                }
                None => {}
            }
        }
        between();
        for (name, record) in self.refs_at_once()? {
            let flats = self.reach_snapshot(&mut reached, &record.digest, || format!("tag {name}"))?;
            reached.cached_flats.extend(flats);
        }
        between();
        reached.cached_flats.extend(cache::layers(self)?.into_iter().map(FlatKey::Layer));
        for digest in leased {
            reached.flats.extend([FlatKey::Layer(digest), FlatKey::Map(digest)]);
            if let Some(manifest) = self.manifest_among_blobs(&digest)? {
                let flats = self.reach_parts(&mut reached, &manifest).or_else(|error| match error {
                    // A snapshot on its way here.
                    LoadError::Blob(BlobError::Missing { .. }) => Ok(HashSet::new()),
                    error => Err(PruneError::unreadable("a command's lease".to_owned(), digest, error)),
                })?;
                reached.flats.extend(flats);
            }
            reached.blobs.insert(digest);
        }
        Ok(reached)
    }

    /// Adds the blobs of a snapshot, and gives the flat files that it is laid out in, unless an earlier root led to it.
    fn reach_snapshot(
        &self,
        reached: &mut Reached,
        digest: &Digest,
        root: impl Fn() -> String,
    ) -> Result<HashSet<FlatKey>, PruneError> {
        if !reached.walked.insert(*digest) {
            return Ok(HashSet::new());
        }
        reached.blobs.insert(*digest);
        let manifest = self.read_manifest(digest).map(|(manifest, _)| manifest);
        manifest
            .and_then(|manifest| self.reach_parts(reached, &manifest))
            .map_err(|error| PruneError::unreadable(root(), *digest, error))
    }

    /// Adds all blobs that a manifest lists, and gives the flat files that they are laid out in.
    fn reach_parts(&self, reached: &mut Reached, manifest: &Manifest) -> Result<HashSet<FlatKey>, LoadError> {
        reached.blobs.extend(manifest.blobs().map(|blob| blob.digest));
        self.flat_keys(manifest)
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
