//! The manifest: an OCI image manifest v1.1 that lists a snapshot's config and its closure
//! (docs/format.md, "Manifest"; OCI image-spec v1.1, "Image Manifest").
//!
//! The types are our own and not a general OCI library's: they are read strictly, with bounds, and their bytes are
//! pinned, because their digest is the snapshot's name.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Digest, limits};

/// Media types of what a snapshot consists of.
pub mod media_type {
    /// An OCI image manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An OCI image index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// The artifact type of a snapshot.
    pub const SNAPSHOT: &str = "application/vnd.spore.snapshot.v0";
    /// The config, which identifies a snapshot.
    pub const CONFIG: &str = "application/vnd.spore.snapshot.config.v0+json";
    /// An engine state.
    pub const ENGINE_STATE: &str = "application/vnd.spore.engine-state.v0+zstd";
    /// A kernel image.
    pub const KERNEL: &str = "application/vnd.spore.kernel.v0";
    /// An initrd.
    pub const INITRD: &str = "application/vnd.spore.initrd.v0+zstd";
    /// A map.
    pub const MAP: &str = "application/vnd.spore.map.v0";
    /// A frame blob.
    pub const FRAMES: &str = "application/vnd.spore.frames.v0+zstd";
}

/// Annotation keys that people read. Their values are untrusted and decide nothing.
pub mod annotation {
    /// The snapshot's title.
    pub const TITLE: &str = "org.opencontainers.image.title";
    /// The snapshot's version.
    pub const VERSION: &str = "org.opencontainers.image.version";
    /// When it was made, RFC 3339.
    pub const CREATED: &str = "org.opencontainers.image.created";
    /// The licences of what is in it, an SPDX expression.
    pub const LICENSES: &str = "org.opencontainers.image.licenses";
    /// What it was made from.
    pub const BASE_NAME: &str = "org.opencontainers.image.base.name";
    /// The parent's name, for people.
    pub const PARENT_NAME: &str = "dev.spore.parent.name";
}

/// A blob as a manifest lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its bytes.
    pub size: u64,
    /// What people read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// The manifest of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Manifest {
    schema_version: u32,
    media_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    /// The config.
    pub config: Descriptor,
    /// The config's closure, in the order that docs/format.md says.
    pub layers: Vec<Descriptor>,
    /// What people read.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Why bytes are not the manifest of a snapshot.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// More bytes than a manifest may have.
    #[error("manifest has {0} bytes: at most {max} are allowed", max = limits::MANIFEST_BYTES)]
    TooLarge(usize),
    /// Not JSON of the right shape; says where.
    #[error("manifest is not valid: {0}")]
    Json(#[from] serde_json::Error),
    /// An OCI manifest, but not a snapshot's.
    #[error("manifest is not that of a Spore snapshot: its {field} is {found:?}: expected {expected:?}")]
    NotASnapshot {
        /// Which field says so.
        field: &'static str,
        /// What it holds.
        found: String,
        /// What it would hold.
        expected: &'static str,
    },
    /// A digest is listed twice, or a size is out of bounds.
    #[error("manifest is not valid: blob {digest}: {reason}")]
    Blob {
        /// The blob.
        digest: Digest,
        /// What is wrong with it.
        reason: String,
    },
}

impl Manifest {
    /// The manifest of a snapshot with this config and closure.
    #[must_use]
    pub fn new(config: Descriptor, layers: Vec<Descriptor>, annotations: BTreeMap<String, String>) -> Self {
        Self {
            schema_version: 2,
            media_type: media_type::MANIFEST.to_owned(),
            artifact_type: Some(media_type::SNAPSHOT.to_owned()),
            config,
            layers,
            annotations,
        }
    }

    /// Reads a manifest and checks what it alone can break; [`crate::snapshot::check`] does the rest.
    ///
    /// # Errors
    /// If it is too large, not of this shape, not a snapshot's, or lists a blob twice.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > limits::MANIFEST_BYTES {
            return Err(ManifestError::TooLarge(bytes.len()));
        }
        // What it is comes first: a foreign manifest with fields we do not know is not a broken one of ours.
        let kind: Kind = serde_json::from_slice(bytes)?;
        kind.check()?;
        let manifest: Self = serde_json::from_slice(bytes)?;
        manifest.check()?;
        Ok(manifest)
    }

    fn check(&self) -> Result<(), ManifestError> {
        let mut seen = std::collections::HashSet::new();
        for blob in self.blobs() {
            let error = |reason: String| ManifestError::Blob { digest: blob.digest, reason };
            if !seen.insert(blob.digest) {
                return Err(error("it is listed twice".to_owned()));
            }
            let limit = size_limit(&blob.media_type);
            if blob.size > limit {
                return Err(error(format!("its size is {}: at most {limit} is allowed", blob.size)));
            }
        }
        Ok(())
    }

    /// The bytes that are stored, and whose digest names the snapshot.
    ///
    /// # Errors
    /// If they would be refused when read.
    pub fn encode(&self) -> Result<Vec<u8>, ManifestError> {
        self.check()?;
        let bytes = serde_json::to_vec(self)?;
        if bytes.len() > limits::MANIFEST_BYTES {
            return Err(ManifestError::TooLarge(bytes.len()));
        }
        Ok(bytes)
    }

    /// The config and all of the closure: every blob that the snapshot needs.
    pub fn blobs(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.config).chain(&self.layers)
    }

    /// What the manifest says of the blob `digest`.
    #[must_use]
    pub fn find(&self, digest: &Digest) -> Option<&Descriptor> {
        self.blobs().find(|blob| blob.digest == *digest)
    }

    /// Bytes of all blobs, the manifest itself left out.
    #[must_use]
    pub fn total_size(&self) -> u64 {
        self.blobs().fold(0, |sum, blob| sum.saturating_add(blob.size))
    }
}

/// The largest blob of a media type, in bytes. What is not known is an attachment.
fn size_limit(media_type: &str) -> u64 {
    match media_type {
        media_type::CONFIG => limits::CONFIG_BYTES as u64,
        media_type::ENGINE_STATE => limits::STATE_BYTES as u64,
        media_type::MAP => limits::MAP_BYTES as u64,
        media_type::FRAMES => limits::BLOB_BYTES,
        media_type::KERNEL | media_type::INITRD => limits::KERNEL_BYTES,
        _ => limits::DISK_BYTES,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    schema_version: u32,
    #[serde(default)]
    media_type: String,
    artifact_type: Option<String>,
    config: Option<KindConfig>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KindConfig {
    media_type: String,
}

impl Kind {
    fn check(self) -> Result<(), ManifestError> {
        let field = |field, found: String, expected| {
            if found == expected {
                Ok(())
            } else {
                Err(ManifestError::NotASnapshot { field, found, expected })
            }
        };
        field("schemaVersion", self.schema_version.to_string(), "2")?;
        field("mediaType", self.media_type, media_type::MANIFEST)?;
        let artifact = self.artifact_type.unwrap_or_else(|| media_type::SNAPSHOT.to_owned());
        field("artifactType", artifact, media_type::SNAPSHOT)?;
        let config = self.config.map(|config| config.media_type).unwrap_or_default();
        field("config.mediaType", config, media_type::CONFIG)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn descriptor(media_type: &str, content: &[u8]) -> Descriptor {
        let (digest, size) = (Digest::of(content), content.len() as u64);
        Descriptor { media_type: media_type.to_owned(), digest, size, annotations: BTreeMap::new() }
    }

    fn sample() -> Manifest {
        let annotations = BTreeMap::from([(annotation::TITLE.to_owned(), "sample".to_owned())]);
        let layers = vec![descriptor(media_type::MAP, b"map"), descriptor(media_type::FRAMES, b"frames")];
        Manifest::new(descriptor(media_type::CONFIG, b"{}"), layers, annotations)
    }

    #[test]
    fn golden_bytes() {
        let bytes = sample().encode().unwrap();
        assert_eq!(
            Digest::of(&bytes).to_string(),
            "sha256:29362de69a48f6f86ddc7725942618ada4e976a9290806aedf3d53d8331a48b1",
            "{}",
            String::from_utf8_lossy(&bytes)
        );
        assert_eq!(Manifest::parse(&bytes).unwrap(), sample());
    }

    #[test]
    fn without_artifact_type_it_is_still_a_snapshot() {
        let text = String::from_utf8(sample().encode().unwrap()).unwrap();
        let dropped = text.replace(&format!(r#""artifactType":"{}","#, media_type::SNAPSHOT), "");
        assert_ne!(dropped, text);
        assert!(Manifest::parse(dropped.as_bytes()).is_ok());
        let other = text.replace(media_type::SNAPSHOT, "application/vnd.other");
        assert!(matches!(Manifest::parse(other.as_bytes()), Err(ManifestError::NotASnapshot { .. })));
    }

    #[test]
    fn a_container_image_is_named_as_what_it_is_not() {
        let text = r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","foreign":1,
            "config":{"mediaType":"application/vnd.oci.image.config.v1+json"},"layers":[]}"#;
        let error = Manifest::parse(text.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("not that of a Spore snapshot: its config.mediaType"), "{error}");
    }

    prop_compose! {
        fn manifests()(
            blobs in proptest::collection::btree_map(any::<[u8; 32]>(), ("\\PC{0,30}", 0..limits::CONFIG_BYTES as u64), 1..20),
            texts in proptest::collection::btree_map("\\PC{0,30}", "\\PC{0,30}", 0..4),
        ) -> Manifest {
            let descriptor = |(digest, (media_type, size))| Descriptor {
                media_type,
                digest: Digest::from_bytes(digest),
                size,
                annotations: texts.clone(),
            };
            let mut blobs = blobs.into_iter().map(descriptor);
            let config = blobs.next().map(|blob| Descriptor { media_type: media_type::CONFIG.to_owned(), ..blob });
            Manifest::new(config.unwrap(), blobs.collect(), texts.clone())
        }
    }

    proptest! {
        #[test]
        fn round_trips(manifest in manifests()) {
            let bytes = manifest.encode().unwrap();
            let again = Manifest::parse(&bytes).unwrap();
            prop_assert_eq!(&again, &manifest);
            prop_assert_eq!(again.encode().unwrap(), bytes, "one manifest has two digests");
        }
    }

    #[test]
    fn bad_blobs_are_refused() {
        let mut twice = sample();
        twice.layers.push(twice.layers[0].clone());
        assert!(twice.encode().unwrap_err().to_string().contains("twice"));
        for size in [limits::BLOB_BYTES + 1, 1 << 63, u64::MAX] {
            let mut large = sample();
            large.layers[1].size = size;
            assert!(Manifest::parse(&serde_json::to_vec(&large).unwrap()).is_err(), "{size}");
        }
        let text = String::from_utf8(sample().encode().unwrap()).unwrap();
        assert!(Manifest::parse(text.replacen("\"size\":2", "\"size\":-2", 1).as_bytes()).is_err());
        assert!(
            Manifest::parse(text.replacen("\"layers\"", "\"urls\":[],\"layers\"", 1).as_bytes()).is_err()
        );
    }
}
