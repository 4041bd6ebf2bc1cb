//! The JSON documents that describe an image, as far as they matter here.
//!
//! Sources: OCI image-spec v1.1 (manifest.md, image-index.md, config.md), which docker's own documents of schema 2 differ
//! from only in names of media types. Those are not looked at: what a document is, its fields tell, and what a layer is
//! compressed by, its first bytes.

use std::collections::BTreeMap;

use format::Digest;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{ImageDefaults, ImageError};

/// Most bytes of a document.
pub(super) const MAX_DOCUMENT: u64 = format::limits::MANIFEST_BYTES as u64;
/// Most layers of an image: twice what docker's own stacks take.
const MAX_IMAGE_LAYERS: usize = 256;
/// Most bytes of what a config says of processes: it has to fit into the guest's configuration.
const MAX_DEFAULTS: usize = 256 << 10;
/// The annotation that names an entry of a layout's index.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// What a blob is named by.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Descriptor {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// An entry of an index.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct IndexEntry {
    #[serde(flatten)]
    pub(super) blob: Descriptor,
    platform: Option<Platform>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

/// A manifest or an index.
pub(super) enum Document {
    Manifest { config: Descriptor, layers: Vec<Descriptor> },
    Index(Vec<IndexEntry>),
}

impl Document {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        #[derive(Deserialize)]
        struct Either {
            manifests: Option<Vec<IndexEntry>>,
            config: Option<Descriptor>,
            layers: Option<Vec<Descriptor>>,
        }
        let malformed = |reason: &str| ImageError::Malformed { what: "manifest", reason: reason.to_owned() };
        match parse("manifest", bytes)? {
            Either { manifests: Some(entries), config: None, layers: None } => Ok(Self::Index(entries)),
            Either { manifests: None, config: Some(config), layers: Some(layers) } => {
                if layers.len() > MAX_IMAGE_LAYERS {
                    return Err(malformed("it has more than 256 layers"));
                }
                Ok(Self::Manifest { config, layers })
            }
            _ => Err(malformed("expected either config and layers, or manifests")),
        }
    }
}

impl IndexEntry {
    fn is_for_us(&self) -> bool {
        self.platform.as_ref().is_some_and(|p| p.os == "linux" && p.architecture == "amd64")
    }

    fn platform(&self) -> String {
        self.platform.as_ref().map_or("no platform".to_owned(), |p| format!("{}/{}", p.os, p.architecture))
    }

    pub(super) fn ref_name(&self) -> Option<&str> {
        self.annotations.get(REF_NAME).map(String::as_str)
    }
}

/// The entry of an index for this kind of machine: the first that says so, or the only one if it says nothing.
pub(super) fn choose(entries: &[IndexEntry]) -> Result<&IndexEntry, ImageError> {
    match entries {
        [only] if only.platform.is_none() => Ok(only),
        _ => entries.iter().find(|entry| entry.is_for_us()).ok_or_else(|| ImageError::Platform {
            found: entries.iter().map(IndexEntry::platform).collect(),
        }),
    }
}

/// An image's config.
#[derive(Debug, Deserialize)]
pub(super) struct ImageConfig {
    #[serde(flatten)]
    platform: Platform,
    rootfs: Rootfs,
    #[serde(default)]
    config: Option<Process>,
}

#[derive(Debug, Deserialize)]
struct Rootfs {
    diff_ids: Vec<Digest>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Process {
    #[serde(default)]
    user: Option<String>,
    #[serde(default)]
    env: Option<Vec<String>>,
    #[serde(default)]
    entrypoint: Option<Vec<String>>,
    #[serde(default)]
    cmd: Option<Vec<String>>,
    #[serde(default)]
    working_dir: Option<String>,
}

impl ImageConfig {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, ImageError> {
        let config: Self = parse("config", bytes)?;
        let Platform { os, architecture } = &config.platform;
        if os != "linux" || architecture != "amd64" {
            return Err(ImageError::Platform { found: vec![format!("{os}/{architecture}")] });
        }
        Ok(config)
    }

    /// The digests of the layers' tar archives, lowest first.
    pub(super) fn diff_ids(&self) -> &[Digest] {
        &self.rootfs.diff_ids
    }

    pub(super) fn defaults(&self) -> Result<ImageDefaults, ImageError> {
        let Some(process) = &self.config else { return Ok(ImageDefaults::default()) };
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let lists = [&process.env, &process.entrypoint, &process.cmd];
        let texts = lists.into_iter().flatten().flatten().chain(&process.user).chain(&process.working_dir);
        let (mut total, mut has_zero) = (0, false);
        for text in texts {
            total += text.len();
            has_zero |= text.contains('\0');
        }
        let malformed = |reason: &str| ImageError::Malformed { what: "config", reason: reason.to_owned() };
        if total > MAX_DEFAULTS || has_zero {
            return Err(malformed("its variables and commands have more than 256 KiB, or a zero byte"));
        }
        // What is no assignment, docker passes on and shells ignore.
        let variables = process.env.iter().flatten().filter_map(|variable| variable.split_once('='));
        let arguments = [&process.entrypoint, &process.cmd].into_iter().flatten().flatten();
        let cwd = given(&process.working_dir);
        if cwd.as_ref().is_some_and(|path| !path.starts_with('/')) {
            return Err(malformed("its WorkingDir is not absolute"));
        }
        Ok(ImageDefaults {
            user: given(&process.user),
            cwd,
            env: variables
                .filter(|(name, _)| !name.is_empty())
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            command: arguments.cloned().collect(),
        })
    }
}

/// One image in the `manifest.json` of what `docker save` writes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct SavedImage {
    pub(super) config: String,
    #[serde(default)]
    pub(super) repo_tags: Option<Vec<String>>,
    pub(super) layers: Vec<String>,
}

pub(super) fn parse<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, ImageError> {
    serde_json::from_slice(bytes).map_err(|error| ImageError::Malformed { what, reason: error.to_string() })
}
