//! From what a person asked for to the manifest of one snapshot.

use format::{Digest, limits};
use store::{BlobError, Lease, Store};

use super::PullError;
use super::sources::{Peer, Sources};
use crate::blocking::blocking;
use crate::image_index::{ImageIndex, Kind};
use crate::{HubError, RawManifest, Selector};

/// Where a manifest is looked for.
pub(super) struct Finder<'a> {
    pub(super) store: &'a Store,
    pub(super) lease: &'a Lease,
    pub(super) sources: &'a Sources,
}

impl Finder<'_> {
    /// The manifest that `which` leads to; of an image index that holds one snapshot, that one.
    pub(super) async fn find(&self, which: &Selector) -> Result<RawManifest, PullError> {
        let raw = self.get(which).await?;
        if !Kind::parse(raw.bytes()).is_ok_and(|kind| kind.is_index()) {
            return Ok(raw);
        }
        let index = ImageIndex::parse(raw.bytes()).map_err(|source| PullError::Index {
            name: self.sources.hub().name().clone(),
            digest: raw.digest(),
            source,
        })?;
        let variants: Vec<_> = index.snapshots().iter().map(|entry| entry.digest).collect();
        match variants.as_slice() {
            // What it leads to is read as a manifest, so that indexes of indexes end here.
            [only] => self.get(&Selector::Digest(*only)).await,
            _ => Err(PullError::Variants {
                hub: self.sources.hub().location().to_owned(),
                name: self.sources.hub().name().clone(),
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
        let passes_on = match which {
            Selector::Digest(_) => PullError::is_of_hub,
            Selector::Tag(_) => PullError::is_out_of_reach,
        };
        let mut turn = self.sources.turn(0, passes_on);
        let raw = loop {
            match get_from(turn.peer(), which).await {
                Ok(raw) => break raw,
                Err(error) => turn.pass(error)?,
            }
        };
        if let (Selector::Tag(tag), 1..) = (which, turn.number()) {
            let (digest, mirror) = (raw.digest(), turn.peer().location());
            self.sources.warn(&format!("the tag {tag} is {digest} by what the mirror {mirror} says"));
        }
        Ok(raw)
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
}

async fn get_from(peer: &Peer, which: &Selector) -> Result<RawManifest, PullError> {
    let Some(raw) = peer.get_manifest(which).await? else {
        return Err(not_found(peer, which).await?);
    };
    match which {
        Selector::Digest(digest) if *digest != raw.digest() => {
            let reason = format!("the manifest that came has the digest {}", raw.digest());
            Err(HubError::Corrupt { hub: peer.location().to_owned(), digest: *digest, reason }.into())
        }
        _ => Ok(raw),
    }
}

async fn not_found(peer: &Peer, which: &Selector) -> Result<PullError, HubError> {
    let tags = peer.registry().tags(peer.name()).await?;
    let hint = if tags.is_empty() {
        "it has nothing under this name".to_owned()
    } else {
        let tags: Vec<_> = tags.iter().map(format::Tag::as_str).collect();
        format!("its tags are {}", tags.join(", "))
    };
    let (hub, name) = (peer.location().to_owned(), peer.name().clone());
    Ok(PullError::NotFound { hub, name, which: which.clone(), hint })
}
