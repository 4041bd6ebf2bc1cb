//! A sample snapshot straight into a hub, with a description of the test's choosing.

use std::collections::BTreeMap;
use std::sync::Arc;

use format::testing::SampleError;
use format::{Config, Digest, Name, Tag};
use store::Store;

use super::{MemorySource, SampleSpec, put_sample};
use crate::{RawManifest, Registry, Upload, plan_push};

/// Puts a sample into the hub as `name:tag`. `edit` may change of its config what its blobs do not depend on, and the
/// manifest's annotations.
///
/// # Errors
/// If the config then breaks a rule, or the hub fails.
pub async fn publish(
    registry: Arc<dyn Registry>,
    name: &Name,
    tag: &Tag,
    spec: &SampleSpec<'_>,
    edit: impl FnOnce(&mut Config, &mut BTreeMap<String, String>),
) -> Result<Digest, SampleError> {
    let folder = tempfile::tempdir()?;
    let store = Store::open(folder.path())?;
    let sample = put_sample(&store, spec)?;
    let plan = plan_push(&store, &sample.digest, Arc::clone(&registry), name).await?;
    plan.execute(None, Arc::new(())).await?;
    let (mut config, mut manifest) = (sample.config, sample.manifest);
    edit(&mut config, &mut manifest.annotations);
    let bytes = config.encode()?;
    (manifest.config.digest, manifest.config.size) = (Digest::of(&bytes), bytes.len() as u64);
    let source = MemorySource { bytes, fails: false };
    let upload = Upload {
        digest: manifest.config.digest,
        size: manifest.config.size,
        source: &source,
        mount_from: &[],
    };
    registry.put_blob(name, &upload).await?;
    let manifest = RawManifest::new(manifest.encode()?).ok_or("the manifest is too large")?;
    registry.put_manifest(name, &manifest).await?;
    registry.put_tag(name, tag, &manifest).await?;
    Ok(manifest.digest())
}
