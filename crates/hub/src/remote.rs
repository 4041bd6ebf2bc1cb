//! Looking at a snapshot of a hub without fetching it: its manifest and its config, verified.

use std::fmt;
use std::sync::Arc;

use format::config::{Accelerator, Architecture, Cpu, EngineKind};
use format::snapshot::Roles;
use format::{Config, Digest, Manifest, Name};
use tokio::io::AsyncReadExt;

use crate::blocking::blocking;
use crate::{HubError, PlannedBlob, PullError, RawManifest, Registry, Selector};

/// What is known of a snapshot by its manifest and its config.
#[derive(Debug)]
pub struct RemoteSnapshot {
    /// Its digest.
    pub digest: Digest,
    /// Bytes of its manifest.
    pub manifest_size: u64,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its config.
    pub config: Config,
}

/// What tells one variant of a snapshot from another: where it can be restored. The config decides it, whatever an index says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariantKey {
    /// The guest's architecture.
    pub architecture: Architecture,
    /// The VMM.
    pub engine: EngineKind,
    /// What runs the guest's instructions.
    pub accelerator: Accelerator,
    /// The CPU that the guest sees.
    pub cpu: Cpu,
}

impl VariantKey {
    /// That of a snapshot with this config.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let engine = &config.engine;
        Self {
            architecture: config.architecture,
            engine: engine.kind,
            accelerator: engine.accelerator,
            cpu: engine.cpu.clone(),
        }
    }

    /// The CPU as one word: its model and its features, joined by commas.
    #[must_use]
    pub fn cpu_text(&self) -> String {
        let features = self.cpu.features.iter().map(String::as_str);
        [self.cpu.model.as_str()].into_iter().chain(features).collect::<Vec<_>>().join(",")
    }
}

impl fmt::Display for VariantKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (architecture, engine) = (word(&self.architecture), word(&self.engine));
        write!(out, "{architecture} {engine} {} {}", word(&self.accelerator), self.cpu_text())
    }
}

/// A value of an enum as it is written in a config.
pub(crate) fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => "?".to_owned(),
    }
}

/// Reads a snapshot's manifest and its config.
///
/// # Errors
/// If it is not there, not a snapshot's, or not what its digest says; if the hub does not answer.
pub async fn read_snapshot(
    registry: &Arc<dyn Registry>,
    name: &Name,
    digest: &Digest,
) -> Result<RemoteSnapshot, PullError> {
    let raw = manifest(registry, name, &Selector::Digest(*digest)).await?;
    read_config(registry, name, &raw).await
}

/// Reads the config of the snapshot whose manifest this is.
pub(crate) async fn read_config(
    registry: &Arc<dyn Registry>,
    name: &Name,
    raw: &RawManifest,
) -> Result<RemoteSnapshot, PullError> {
    let (digest, manifest) = (raw.digest(), parse(name, raw)?);
    let config = config(registry, name, &digest, &manifest).await?;
    Ok(RemoteSnapshot { digest, manifest_size: raw.bytes().len() as u64, manifest, config })
}

/// What a tag leads to, or what has the digest.
pub(crate) async fn manifest(
    registry: &Arc<dyn Registry>,
    name: &Name,
    which: &Selector,
) -> Result<RawManifest, PullError> {
    let raw = registry.get_manifest(name, which).await?.ok_or_else(|| not_found(registry, name, which))?;
    match which {
        Selector::Digest(digest) if raw.digest() != *digest => {
            let reason = format!("the manifest that came has the digest {}", raw.digest());
            let hub = registry.location().to_owned();
            Err(HubError::Corrupt { hub, digest: *digest, reason }.into())
        }
        _ => Ok(raw),
    }
}

/// The manifest of a snapshot.
pub(crate) fn parse(name: &Name, raw: &RawManifest) -> Result<Manifest, PullError> {
    Manifest::parse(raw.bytes()).map_err(|source| PullError::Manifest {
        name: name.clone(),
        digest: raw.digest(),
        source,
    })
}

/// The config of the snapshot with this manifest, which bounds its size.
pub(crate) async fn config(
    registry: &Arc<dyn Registry>,
    name: &Name,
    snapshot: &Digest,
    manifest: &Manifest,
) -> Result<Config, PullError> {
    let blob = Roles::new(manifest, Vec::new()).blob(&manifest.config);
    let Some(bytes) = small(&**registry, name, &blob).await? else {
        let (hub, name, snapshot) = (registry.location().to_owned(), name.clone(), *snapshot);
        return Err(PullError::Incomplete { hub, name, snapshot, parts: vec![blob] });
    };
    Config::parse(&bytes).map_err(|source| PullError::Config { blob, source })
}

/// All of a blob, which the caller has found small enough to be held, verified; `None` if the hub has none.
pub(crate) async fn small(
    registry: &dyn Registry,
    name: &Name,
    blob: &PlannedBlob,
) -> Result<Option<Vec<u8>>, PullError> {
    let hub = || registry.location().to_owned();
    let Some(reader) = registry.get_blob(name, &blob.digest, 0..blob.size).await? else { return Ok(None) };
    let mut bytes = Vec::new();
    let read = reader.take(blob.size.saturating_add(1)).read_to_end(&mut bytes).await;
    read.map_err(|source| PullError::BrokeOff { hub: hub(), blob: blob.clone(), source })?;
    if bytes.len() as u64 != blob.size {
        return Err(PullError::WrongSize { place: hub(), blob: blob.clone(), found: bytes.len() as u64 });
    }
    let (found, bytes) = blocking(move || (Digest::of(&bytes), bytes)).await;
    if found != blob.digest {
        return Err(PullError::Corrupt { hub: hub(), blob: blob.clone(), found });
    }
    Ok(Some(bytes))
}

pub(crate) fn not_found(registry: &Arc<dyn Registry>, name: &Name, which: &Selector) -> PullError {
    let (hub, name, which) = (registry.location().to_owned(), name.clone(), which.clone());
    PullError::NotFound { hub, name, which, hint: "it has nothing there".to_owned() }
}
