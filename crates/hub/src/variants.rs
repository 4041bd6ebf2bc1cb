//! Variants: one tag that leads to snapshots of the same thing for different hosts, through an OCI image index.
//!
//! An index says of each entry what it is, for people and for tools that choose by platform; here the config of the snapshot
//! decides. A registry has no way to change an index in one act: two who add a variant at the same moment can lose one, and the
//! one whose variant is gone pushes it again, which sends nothing but the index.

use std::collections::BTreeMap;
use std::sync::Arc;

use format::manifest::media_type;
use format::{Digest, Name, Tag};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use crate::image_index::{Entry, ImageIndex, Kind, Platform};
use crate::remote::{RemoteSnapshot, VariantKey, read_config, read_snapshot, word};
use crate::{HubError, PullError, RawManifest, Registry, Selector, TRANSFERS};

/// Most variants of one tag.
const VARIANTS: usize = 64;

/// Annotations of an index's entry, for people.
mod annotation {
    pub(super) const ENGINE: &str = "dev.spore.engine";
    pub(super) const ACCELERATOR: &str = "dev.spore.accelerator";
    pub(super) const CPU: &str = "dev.spore.cpu";
}

/// What the operating system of every guest is called in OCI's platforms.
const GUEST_OS: &str = "linux";

/// Reads the snapshots that an index lists.
///
/// # Errors
/// If there are more than 64, one of them cannot be read, or the hub does not answer.
pub async fn read_variants(
    registry: &Arc<dyn Registry>,
    name: &Name,
    digests: &[Digest],
) -> Result<Vec<RemoteSnapshot>, PullError> {
    if digests.len() > VARIANTS {
        let (hub, what) = (registry.location().to_owned(), format!("the index of {name}"));
        let reason = format!("it lists more than {VARIANTS} variants");
        return Err(HubError::Malformed { hub, what, reason }.into());
    }
    let reading = stream::iter(digests).map(|digest| read_snapshot(registry, name, digest));
    reading.buffered(TRANSFERS).try_collect().await
}

/// The index that `tag` leads to, with `new` in it: in the place of what has the same key there. A single snapshot that the tag
/// leads to becomes a variant, too. What others keep in the index stays.
pub(crate) async fn index_with(
    registry: &Arc<dyn Registry>,
    name: &Name,
    tag: &Tag,
    new: &RemoteSnapshot,
) -> Result<RawManifest, PullError> {
    let which = Selector::Tag(tag.clone());
    let mut index = match registry.get_manifest(name, &which).await? {
        None => ImageIndex::new(Vec::new()),
        Some(raw) if Kind::parse(raw.bytes()).is_ok_and(|kind| kind.is_index()) => {
            ImageIndex::parse(raw.bytes()).map_err(|source| PullError::Index {
                name: name.clone(),
                digest: raw.digest(),
                source,
            })?
        }
        Some(raw) => ImageIndex::new(vec![entry(&read_config(registry, name, &raw).await?)]),
    };
    let listed: Vec<_> = index.snapshots().iter().map(|entry| entry.digest).collect();
    let replaced = replaced(registry, name, &listed, new).await?;
    index.manifests.retain(|entry| !replaced.contains(&entry.digest));
    index.manifests.push(entry(new));
    let bytes = index.encode().map_err(|source| PullError::Index {
        name: name.clone(),
        digest: new.digest,
        source,
    })?;
    let too_large = || {
        let (hub, what) = (registry.location().to_owned(), format!("the index of {name}{which}"));
        let reason = "with one more variant it is larger than a manifest may be".to_owned();
        HubError::Malformed { hub, what, reason }
    };
    Ok(RawManifest::new(bytes).ok_or_else(too_large)?)
}

/// Which of `listed` make way for `new`: those with the same key, and those that are not there any more, for which a registry
/// would refuse the index.
async fn replaced(
    registry: &Arc<dyn Registry>,
    name: &Name,
    listed: &[Digest],
    new: &RemoteSnapshot,
) -> Result<Vec<Digest>, PullError> {
    let key = VariantKey::of(&new.config);
    let mut replaced = vec![new.digest];
    for digest in listed.iter().filter(|digest| **digest != new.digest) {
        match read_snapshot(registry, name, digest).await {
            Ok(other) if VariantKey::of(&other.config) != key => {}
            Ok(_) | Err(PullError::NotFound { .. }) => replaced.push(*digest),
            Err(error) => return Err(error),
        }
    }
    Ok(replaced)
}

fn entry(snapshot: &RemoteSnapshot) -> Entry {
    let key = VariantKey::of(&snapshot.config);
    let annotations = [
        (annotation::ENGINE, word(&key.engine)),
        (annotation::ACCELERATOR, word(&key.accelerator)),
        (annotation::CPU, key.cpu_text()),
    ];
    Entry {
        media_type: media_type::MANIFEST.to_owned(),
        digest: snapshot.digest,
        size: snapshot.manifest_size,
        artifact_type: Some(media_type::SNAPSHOT.to_owned()),
        platform: Some(Platform {
            architecture: word(&key.architecture),
            os: GUEST_OS.to_owned(),
            rest: BTreeMap::new(),
        }),
        annotations: annotations.map(|(key, value)| (key.to_owned(), value)).into(),
        rest: BTreeMap::new(),
    }
}
