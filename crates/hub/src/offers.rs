//! What a hub offers: each of its names, tags and variants, as far as manifests and configs tell. One that cannot be read hides
//! no other.

use std::sync::Arc;

use format::{Digest, ManifestError, Name, Tag};
use futures_util::stream::{self, StreamExt};

use crate::image_index::{ImageIndex, Kind};
use crate::remote::{RemoteSnapshot, VariantKey, not_found, read_config, read_snapshot};
use crate::{HubError, PullError, REQUESTS, Registry, Selector};

/// A snapshot that a tag leads to.
#[derive(Debug, Clone)]
pub struct Offer {
    /// The name in the hub.
    pub name: Name,
    /// The tag.
    pub tag: Tag,
    /// The snapshot's digest.
    pub digest: Digest,
    /// Whether it is one of an index of variants.
    pub is_variant: bool,
    /// Bytes of all its blobs.
    pub size: u64,
    /// When it was baked, as its config says: RFC 3339.
    pub created_at: String,
    /// Where it can be restored.
    pub key: VariantKey,
}

/// Something of a hub that cannot be offered.
#[derive(Debug)]
pub struct BadOffer {
    /// The name in the hub.
    pub name: Name,
    /// The tag, if it is one.
    pub tag: Option<Tag>,
    /// What is wrong with it.
    pub error: PullError,
}

/// What a hub offers.
#[derive(Debug, Default)]
pub struct Offers {
    /// In the order of names and tags.
    pub offers: Vec<Offer>,
    /// What cannot be read.
    pub bad: Vec<BadOffer>,
    /// Tags that lead to something else than snapshots: a registry holds other things, too.
    pub others: usize,
}

/// What an entry proves to be.
enum Found {
    Offer(Offer),
    Other,
    Bad(BadOffer),
}

/// Reads what the hub offers under `names`, or under all of its names.
///
/// # Errors
/// [`HubError::Unsupported`] if no names are given and the hub does not tell; if there is no hub or it does not answer. What goes
/// wrong with one name is in the list.
pub async fn list_offers(registry: &Arc<dyn Registry>, names: Option<Vec<Name>>) -> Result<Offers, HubError> {
    let are_given = names.is_some();
    let names = match names {
        Some(names) => names,
        None => registry.names().await?,
    };
    let tags = stream::iter(names).map(|name| async move { (registry.tags(&name).await, name) });
    let tags: Vec<_> = tags.buffered(REQUESTS).collect().await;
    let (mut list, mut tagged) = (Offers::default(), Vec::new());
    for (tags, name) in tags {
        match tags {
            Ok(tags) if tags.is_empty() && are_given => {
                let error = not_found(registry, &name, &Selector::Tag(Tag::default()));
                list.bad.push(BadOffer { name, tag: None, error });
            }
            Ok(tags) => tagged.extend(tags.into_iter().map(|tag| (name.clone(), tag))),
            // Of all names, not of this one.
            Err(error @ (HubError::NotAHub { .. } | HubError::Unavailable { .. })) => return Err(error),
            Err(error) => list.bad.push(BadOffer { name, tag: None, error: error.into() }),
        }
    }
    let reading = stream::iter(tagged).map(|(name, tag)| read_tag(registry, name, tag));
    let mut reading = reading.buffered(REQUESTS);
    while let Some(found) = reading.next().await {
        for found in found {
            match found {
                Found::Offer(offer) => list.offers.push(offer),
                Found::Other => list.others += 1,
                Found::Bad(bad) => list.bad.push(bad),
            }
        }
    }
    Ok(list)
}

/// The snapshots that a tag leads to; nothing for something else.
async fn read_tag(registry: &Arc<dyn Registry>, name: Name, tag: Tag) -> Vec<Found> {
    let which = Selector::Tag(tag.clone());
    let bad = |error| vec![Found::Bad(BadOffer { name: name.clone(), tag: Some(tag.clone()), error })];
    let raw = match registry.get_manifest(&name, &which).await {
        Ok(Some(raw)) => raw,
        Ok(None) => return bad(not_found(registry, &name, &which)),
        Err(error) => return bad(error.into()),
    };
    if !Kind::parse(raw.bytes()).is_ok_and(|kind| kind.is_index()) {
        return vec![offer(&name, &tag, false, read_config(registry, &name, &raw).await)];
    }
    let index = match ImageIndex::parse(raw.bytes()) {
        Ok(index) => index,
        Err(source) => return bad(PullError::Index { name: name.clone(), digest: raw.digest(), source }),
    };
    let mut found = Vec::new();
    // One after the other: other tags are read at the same time.
    for entry in index.snapshots() {
        let snapshot = read_snapshot(registry, &name, &entry.digest).await;
        found.push(offer(&name, &tag, true, snapshot));
    }
    if found.is_empty() { vec![Found::Other] } else { found }
}

fn offer(name: &Name, tag: &Tag, is_variant: bool, read: Result<RemoteSnapshot, PullError>) -> Found {
    let (name, tag) = (name.clone(), tag.clone());
    match read {
        Ok(RemoteSnapshot { digest, manifest, config, .. }) => Found::Offer(Offer {
            name,
            tag,
            digest,
            is_variant,
            size: manifest.total_size(),
            key: VariantKey::of(&config),
            created_at: config.provenance.created_at,
        }),
        Err(PullError::Manifest { source: ManifestError::NotASnapshot { .. }, .. }) => Found::Other,
        Err(error) => Found::Bad(BadOffer { name, tag: Some(tag), error }),
    }
}
