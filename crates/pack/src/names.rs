//! What the files of a pack are called, and the two of them that are small documents (OCI image-spec v1.1, "Image
//! Layout").

use std::collections::BTreeMap;
use std::fmt;

use format::manifest::media_type;
use format::{Digest, Name, Reference, Tag};
use serde::{Deserialize, Serialize, Serializer};

/// What an image layout's `oci-layout` says.
const LAYOUT_VERSION: &str = "1.0.0";
/// The annotation that a layout's tags are kept in.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
const BLOBS: &str = "blobs/sha256/";
/// The folders of a pack. skopeo gives one that has no header of its own to root, which only root can do.
pub(crate) const FOLDERS: [&str; 2] = ["blobs/", BLOBS];

/// Bytes of `oci-layout`.
pub(crate) const LAYOUT_BYTES: u64 = 4096;

/// A file of a pack. Anything else has no place in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum EntryName {
    /// `oci-layout`
    Layout,
    /// `index.json`
    Index,
    /// `blobs/sha256/HEX`
    Blob(Digest),
}

impl EntryName {
    /// The file of exactly this name, in front of which `./` may stand, as `tar -c .` writes it.
    pub(crate) fn parse(name: &str) -> Result<Self, &'static str> {
        let name = name.strip_prefix("./").unwrap_or(name);
        match name {
            "oci-layout" => Ok(Self::Layout),
            "index.json" => Ok(Self::Index),
            _ => name
                .strip_prefix(BLOBS)
                .and_then(|hex| Digest::from_hex(hex).ok())
                .map(Self::Blob)
                .ok_or("a pack has oci-layout, index.json and blobs/sha256/HEX, and no other file"),
        }
    }

    /// Whether a folder of this name holds files of a pack.
    pub(crate) fn is_folder(name: &str) -> bool {
        let below = name.strip_prefix("./").unwrap_or(name);
        let is_named = |folder: &&str| below == *folder || folder.strip_suffix('/') == Some(below);
        FOLDERS.iter().any(is_named) || matches!(name, "." | "./")
    }
}

impl fmt::Display for EntryName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout => out.write_str("oci-layout"),
            Self::Index => out.write_str("index.json"),
            Self::Blob(digest) => write!(out, "{BLOBS}{}", digest.hex()),
        }
    }
}

/// `oci-layout`. What others add is not read.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Layout {
    image_layout_version: String,
}

impl Layout {
    pub(crate) fn new() -> Self {
        Self { image_layout_version: LAYOUT_VERSION.to_owned() }
    }

    /// Why it is none that is known.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.image_layout_version == LAYOUT_VERSION {
            return Ok(());
        }
        let found = format::excerpt(&self.image_layout_version);
        Err(format!("its version is {found:?}: expected {LAYOUT_VERSION:?}"))
    }
}

/// `index.json`. What others add is not read.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    schema_version: u32,
    #[serde(default = "index_type")]
    media_type: String,
    manifests: Vec<ManifestEntry>,
}

/// What an index says of one manifest.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ManifestEntry {
    media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    artifact_type: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<String, String>,
}

fn index_type() -> String {
    media_type::INDEX.to_owned()
}

impl Index {
    /// The index of one snapshot: its manifest, of `size` bytes.
    pub(crate) fn new(digest: Digest, size: u64, name: Option<&str>) -> Self {
        let annotations = name.map(|name| (REF_NAME.to_owned(), name.to_owned())).into_iter().collect();
        let entry = ManifestEntry {
            media_type: media_type::MANIFEST.to_owned(),
            digest,
            size,
            artifact_type: Some(media_type::SNAPSHOT.to_owned()),
            annotations,
        };
        Self { schema_version: 2, media_type: index_type(), manifests: vec![entry] }
    }

    /// The one manifest that it lists.
    pub(crate) fn only(self) -> Result<ManifestEntry, String> {
        let count = self.manifests.len();
        let mut manifests = self.manifests.into_iter();
        match (manifests.next(), manifests.next()) {
            (Some(only), None) if only.media_type == media_type::MANIFEST => Ok(only),
            (Some(only), None) => {
                let found = format::excerpt(&only.media_type);
                Err(format!("it lists one {found:?}: expected {:?}", media_type::MANIFEST))
            }
            _ => Err(format!("it lists {count} manifests: a pack has one")),
        }
    }
}

impl ManifestEntry {
    /// The name that it has for people.
    pub(crate) fn name(&self) -> Option<ProposedName> {
        self.annotations.get(REF_NAME).map(|text| ProposedName::new(text))
    }
}

/// The name that a pack proposes: untrusted, decides nothing by itself, and can be shown to a terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposedName {
    /// `NAME[:TAG]`, of no hub.
    Name(Name, Tag),
    /// Anything else: its beginning, quoted.
    Other(String),
}

impl ProposedName {
    fn new(text: &str) -> Self {
        match text.parse() {
            Ok(Reference { hub: None, name, tag, digest: None }) => Self::Name(name, tag.unwrap_or_default()),
            _ => Self::Other(format!("{:?}", format::excerpt(text))),
        }
    }
}

impl fmt::Display for ProposedName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name, tag) => write!(out, "{name}:{tag}"),
            Self::Other(quoted) => out.write_str(quoted),
        }
    }
}

impl Serialize for ProposedName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_exact() {
        let digest = Digest::of(b"x");
        let blob = format!("blobs/sha256/{}", digest.hex());
        assert_eq!(EntryName::parse(&blob), Ok(EntryName::Blob(digest)));
        assert_eq!(EntryName::parse(&format!("./{blob}")), Ok(EntryName::Blob(digest)));
        assert_eq!(EntryName::parse("index.json"), Ok(EntryName::Index));
        for wrong in [
            "",
            "/index.json",
            "../index.json",
            "././index.json",
            "blobs/../index.json",
            "index.json/",
            "INDEX.JSON",
            "blobs/sha256/",
            "blobs/sha512/00",
            &format!("/{blob}"),
            &format!("{blob}/"),
            &format!("blobs/sha256/../sha256/{}", digest.hex()),
            &blob.to_uppercase(),
        ] {
            assert!(EntryName::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_proposed_name_is_one_or_is_quoted() {
        let shown = |text: &str| ProposedName::new(text).to_string();
        assert_eq!(shown("team/numpy:1.2"), "team/numpy:1.2");
        assert_eq!(shown("numpy"), "numpy:latest");
        for wrong in ["", "../x", "/etc/passwd", "hub.example/numpy", "local/numpy:1", "numpy@sha256:0", "N"]
        {
            assert_eq!(ProposedName::new(wrong), ProposedName::Other(format!("{wrong:?}")));
        }
        assert_eq!(shown("\u{1b}]0;t\u{7}\u{9b}2J"), "\"\\u{1b}]0;t\\u{7}\\u{9b}2J\"");
        assert!(shown(&"x".repeat(3 << 20)).len() < 100);
    }

    #[test]
    fn folders_are_those_of_the_layout() {
        for folder in [".", "./", "blobs", "blobs/", "./blobs/sha256/"] {
            assert!(EntryName::is_folder(folder), "{folder}");
        }
        for wrong in ["", "/", "..", "../", "blobs//", "blobs/sha512", "etc"] {
            assert!(!EntryName::is_folder(wrong), "{wrong}");
        }
    }
}
