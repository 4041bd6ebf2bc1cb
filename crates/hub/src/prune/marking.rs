//! What the tags of a hub lead to, directly or through image indexes.

use std::collections::HashSet;

use format::manifest::media_type;
use format::{Digest, Name};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::Deserialize;

use super::{PruneError, StoredObject};
use crate::image_index::Kind;
use crate::{HubError, REQUESTS, RawManifest, Registry, Selector};

/// What a manifest or an image index lists. Subjects are left out: what says something of another keeps nothing.
#[derive(Debug, Deserialize)]
struct Listed {
    config: Option<Part>,
    #[serde(default)]
    layers: Vec<Part>,
    #[serde(default)]
    manifests: Vec<Part>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    #[serde(default)]
    media_type: String,
    digest: Digest,
}

/// What is needed, as far as it is known.
struct Marks<'a> {
    hub: &'a dyn Registry,
    needed: HashSet<StoredObject>,
    /// Manifests that indexes list and that have not been read.
    to_read: Vec<(Name, Digest)>,
}

/// All that the tags of `hub`, and `manifests`, need.
pub(super) async fn mark(
    hub: &dyn Registry,
    manifests: Vec<(Name, Digest)>,
) -> Result<HashSet<StoredObject>, PruneError> {
    let names = hub.names().await?;
    let tagged = stream::iter(names).map(|name| async move {
        let tags = hub.tags(&name).await?;
        let roots = tags.into_iter().map(move |tag| (name.clone(), Selector::Tag(tag)));
        Ok::<_, HubError>(roots.collect::<Vec<_>>())
    });
    let tagged: Vec<_> = tagged.buffered(REQUESTS).try_collect().await?;
    let young = manifests.into_iter().map(|(name, digest)| (name, Selector::Digest(digest)));
    let roots: Vec<_> = tagged.into_iter().flatten().chain(young).collect();
    let read = stream::iter(roots).map(|(name, which)| async move {
        let manifest = hub.get_manifest(&name, &which).await?;
        Ok::<_, HubError>((name, which, manifest))
    });
    let mut read = read.buffered(REQUESTS);
    let mut marks = Marks { hub, needed: HashSet::new(), to_read: Vec::new() };
    while let Some((name, which, manifest)) = read.try_next().await? {
        // One that is gone by now needs nothing.
        if let Some(manifest) = manifest {
            marks.take(&name, &which, &manifest)?;
        }
    }
    while let Some((name, digest)) = marks.to_read.pop() {
        let which = Selector::Digest(digest);
        let Some(manifest) = hub.get_manifest(&name, &which).await? else {
            return Err(marks.unreadable(&name, which, "is listed by an image index and not there"));
        };
        marks.take(&name, &which, &manifest)?;
    }
    Ok(marks.needed)
}

impl Marks<'_> {
    fn take(&mut self, name: &Name, which: &Selector, manifest: &RawManifest) -> Result<(), PruneError> {
        let digest = manifest.digest();
        self.needed.insert(StoredObject::Blob(digest));
        if !self.needed.insert(StoredObject::Manifest(name.clone(), digest)) {
            return Ok(());
        }
        let is_known = Kind::parse(manifest.bytes()).is_ok_and(|kind| kind.is_known());
        let listed = serde_json::from_slice::<Listed>(manifest.bytes()).ok().filter(|_| is_known);
        let Some(Listed { config, layers, manifests }) = listed else {
            return Err(self.unreadable(
                name,
                which.clone(),
                "is neither an OCI manifest nor an image index",
            ));
        };
        for part in config.into_iter().chain(layers) {
            self.needed.insert(StoredObject::Blob(part.digest));
        }
        for part in manifests {
            if matches!(part.media_type.as_str(), media_type::MANIFEST | media_type::INDEX) {
                self.to_read.push((name.clone(), part.digest));
            } else {
                self.needed.insert(StoredObject::Blob(part.digest));
            }
        }
        Ok(())
    }

    fn unreadable(&self, name: &Name, which: Selector, reason: &str) -> PruneError {
        let (hub, name) = (self.hub.location().to_owned(), name.clone());
        PruneError::Unreadable { hub, name, which, reason: reason.to_owned() }
    }
}
