//! From what a person asked for to the manifest of one snapshot.

use std::sync::Arc;

use format::{Digest, Name, limits};
use store::{BlobError, Lease, Store};

use super::PullError;
use crate::blocking::blocking;
use crate::image_index::{ImageIndex, Kind};
use crate::{HubError, RawManifest, Registry, Selector};

/// Where a manifest is looked for.
pub(super) struct Finder<'a> {
    pub(super) store: &'a Store,
    pub(super) lease: &'a Lease,
    pub(super) registry: &'a Arc<dyn Registry>,
    pub(super) name: &'a Name,
}

impl Finder<'_> {
    /// The manifest that `which` leads to; of an image index that holds one snapshot, that one.
    pub(super) async fn find(&self, which: &Selector) -> Result<RawManifest, PullError> {
        let raw = self.get(which).await?;
        if !Kind::parse(raw.bytes()).is_ok_and(|kind| kind.is_index()) {
            return Ok(raw);
        }
        let index = ImageIndex::parse(raw.bytes()).map_err(|source| PullError::Index {
            name: self.name.clone(),
            digest: raw.digest(),
            source,
        })?;
        let variants: Vec<_> = index.snapshots().iter().map(|entry| entry.digest).collect();
        match variants.as_slice() {
            // What it leads to is read as a manifest, so that indexes of indexes end here.
            [only] => self.get(&Selector::Digest(*only)).await,
            _ => Err(PullError::Variants {
                hub: self.registry.location().to_owned(),
                name: self.name.clone(),
                which: which.clone(),
                variants,
            }),
        }
    }

    /// A manifest or an image index: by digest from the store, if it is there.
    async fn get(&self, which: &Selector) -> Result<RawManifest, PullError> {
        if let Selector::Digest(digest) = which
            && let Some(stored) = self.stored(digest).await?
        {
            return Ok(stored);
        }
        let Some(raw) = self.registry.get_manifest(self.name, which).await? else {
            return Err(self.not_found(which).await?);
        };
        match which {
            Selector::Digest(digest) if *digest != raw.digest() => {
                let reason = format!("the manifest that came has the digest {}", raw.digest());
                let hub = self.registry.location().to_owned();
                Err(HubError::Corrupt { hub, digest: *digest, reason }.into())
            }
            _ => Ok(raw),
        }
    }

    async fn stored(&self, digest: &Digest) -> Result<Option<RawManifest>, PullError> {
        let (store, lease, digest) = (self.store.clone(), self.lease.clone(), *digest);
        blocking(move || {
            lease.protect(&digest)?;
            if !store.has_blob(&digest)? {
                return Ok(None);
            }
            match store.read_blob(&digest, limits::MANIFEST_BYTES) {
                Ok(bytes) => Ok(RawManifest::new(bytes)),
                // Collected before the lease was read.
                Err(BlobError::Missing { .. }) => Ok(None),
                Err(error) => Err(error.into()),
            }
        })
        .await
    }

    async fn not_found(&self, which: &Selector) -> Result<PullError, HubError> {
        let tags = self.registry.tags(self.name).await?;
        let hint = if tags.is_empty() {
            "it has nothing under this name".to_owned()
        } else {
            let tags: Vec<_> = tags.iter().map(format::Tag::as_str).collect();
            format!("its tags are {}", tags.join(", "))
        };
        let hub = self.registry.location().to_owned();
        Ok(PullError::NotFound { hub, name: self.name.clone(), which: which.clone(), hint })
    }
}
