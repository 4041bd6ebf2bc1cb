//! OCI image indexes (image-spec v1.1): what a folder's `index.json` is, and what a tag with variants leads to.
//!
//! They are read leniently, as others write them too, for they decide nothing but which manifest is fetched: that
//! one is checked by its digest.

use std::collections::BTreeMap;

use format::manifest::media_type;
use format::{Digest, Name, Tag};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{PlannedBlob, RawManifest};

/// The annotation of an entry of `index.json` that says `NAME:TAG`.
pub(crate) const REF_NAME: &str = "org.opencontainers.image.ref.name";

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImageIndex {
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    pub(crate) manifests: Vec<Entry>,
    /// What others write: it is kept when the index is written again.
    #[serde(flatten)]
    rest: BTreeMap<String, Value>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Entry {
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<Platform>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(flatten)]
    pub(crate) rest: BTreeMap<String, Value>,
}

/// By which container tools choose.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub(crate) architecture: String,
    #[serde(default)]
    pub(crate) os: String,
    #[serde(flatten)]
    pub(crate) rest: BTreeMap<String, Value>,
}

impl ImageIndex {
    pub(crate) fn new(manifests: Vec<Entry>) -> Self {
        let (media_type, rest) = (media_type::INDEX.to_owned(), BTreeMap::new());
        Self { schema_version: 2, media_type, manifests, rest }
    }

    pub(crate) fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(bytes)
    }

    /// With this entry in place of that of the same tag.
    pub(crate) fn with(mut self, entry: Option<Entry>) -> Self {
        if let Some(entry) = entry {
            self.manifests.retain(|old| old.annotations.get(REF_NAME) != entry.annotations.get(REF_NAME));
            self.manifests.push(entry);
            self.manifests.sort_by(|a, b| a.annotations.get(REF_NAME).cmp(&b.annotations.get(REF_NAME)));
        }
        self
    }

    /// The bytes that are stored, and hashed. Some who wrote it may have left its type out.
    pub(crate) fn encode(mut self) -> serde_json::Result<Vec<u8>> {
        media_type::INDEX.clone_into(&mut self.media_type);
        serde_json::to_vec(&self)
    }

    /// The entries that can be snapshots: copiers may have dropped the artifact type, never changed it.
    pub(crate) fn snapshots(&self) -> Vec<&Entry> {
        let fits = |entry: &&Entry| {
            entry.media_type == media_type::MANIFEST
                && entry.artifact_type.as_deref().is_none_or(|kind| kind == media_type::SNAPSHOT)
        };
        self.manifests.iter().filter(fits).collect()
    }
}

/// The part of any OCI manifest that says what it needs.
#[derive(Debug, Deserialize)]
pub(crate) struct Artifact {
    pub(crate) config: Blob,
    #[serde(default)]
    layers: Vec<Blob>,
}

/// The part of a descriptor that decides.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Blob {
    #[serde(default)]
    media_type: String,
    pub(crate) digest: Digest,
    size: u64,
}

impl Artifact {
    pub(crate) fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(bytes)
    }

    /// All blobs, the config the last.
    pub(crate) fn blobs(&self) -> Vec<PlannedBlob> {
        let planned = |blob: &Blob| {
            let role = format!("part of type {}", format::excerpt(&blob.media_type));
            PlannedBlob { role, digest: blob.digest, size: blob.size }
        };
        let config = PlannedBlob { role: "config".to_owned(), ..planned(&self.config) };
        self.layers.iter().map(planned).chain([config]).collect()
    }
}

impl Entry {
    /// What leads to a manifest by its tag; `None` for what is no manifest: whoever pulls it is told.
    pub(crate) fn of_tag(manifest: &RawManifest, name: &Name, tag: &Tag) -> Option<Self> {
        let kind = Kind::parse(manifest.bytes()).ok().filter(Kind::is_known)?;
        Some(Self {
            media_type: kind.media_type,
            digest: manifest.digest(),
            size: manifest.bytes().len() as u64,
            artifact_type: kind.artifact_type,
            platform: None,
            annotations: [(REF_NAME.to_owned(), format!("{name}:{tag}"))].into(),
            rest: BTreeMap::new(),
        })
    }
}

/// The part of a manifest or an index that says which of the two it is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Kind {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) artifact_type: Option<String>,
}

impl Kind {
    pub(crate) fn parse(bytes: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(bytes)
    }

    pub(crate) fn is_index(&self) -> bool {
        self.media_type == media_type::INDEX
    }

    pub(crate) fn is_known(&self) -> bool {
        self.is_index() || self.media_type == media_type::MANIFEST
    }
}
