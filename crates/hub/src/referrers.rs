//! Referrers: manifests that name another one as their subject, such as signatures and SBOMs.
//!
//! Source: OCI distribution-spec v1.1, "Listing Referrers" and "Referrers Tag Schema". A registry that lists them by itself is
//! asked; everywhere else an image index under the tag `sha256-HEX` of the subject lists them, and whoever puts one writes it
//! there, too. That index cannot be changed in one act: two who do so at the same moment can lose one.
//!
//! What is listed says of itself what it is: it is looked at by its digest, and believed once its signature was checked.

use std::collections::BTreeMap;

use format::manifest::media_type;
use format::{Digest, Name, Tag};
use serde::{Deserialize, Serialize};

use crate::image_index::{Entry, ImageIndex, Kind};
use crate::{HubError, RawManifest, Registry, Selector};

/// A manifest that names another one as its subject.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Referrer {
    /// Its digest.
    pub digest: Digest,
    /// Bytes of the manifest.
    pub size: u64,
    /// What it is.
    pub artifact_type: Option<String>,
    /// What it says for people.
    pub annotations: BTreeMap<String, String>,
}

/// The part of a manifest that makes it a referrer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Referring {
    artifact_type: Option<String>,
    config: Option<Config>,
    subject: Option<Subject>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Config {
    media_type: String,
}

#[derive(Deserialize)]
struct Subject {
    digest: Digest,
}

/// Those of `index` that are of the type, if there is one to be of.
pub(crate) fn of_type(index: ImageIndex, artifact_type: Option<&str>) -> impl Iterator<Item = Referrer> {
    let fits = move |entry: &Entry| {
        artifact_type.is_none_or(|wanted| entry.artifact_type.as_deref() == Some(wanted))
    };
    index.manifests.into_iter().filter(fits).map(|entry| {
        let Entry { digest, size, artifact_type, annotations, .. } = entry;
        Referrer { digest, size, artifact_type, annotations }
    })
}

/// The referrers of `subject` that the index under its tag lists.
pub(crate) async fn by_tag<R: Registry + ?Sized>(
    registry: &R,
    name: &Name,
    subject: &Digest,
    artifact_type: Option<&str>,
) -> Result<Vec<Referrer>, HubError> {
    let index = index(registry, name, subject).await?;
    Ok(index.into_iter().flat_map(|index| of_type(index, artifact_type)).collect())
}

/// Writes `referrer`, which was put, into the index under its subject's tag.
pub(crate) async fn list_under_tag<R: Registry + ?Sized>(
    registry: &R,
    name: &Name,
    referrer: &RawManifest,
) -> Result<(), HubError> {
    let malformed = |reason: String| HubError::Malformed {
        hub: registry.location().to_owned(),
        what: format!("the manifest {}", referrer.digest()),
        reason,
    };
    let referring: Referring =
        serde_json::from_slice(referrer.bytes()).map_err(|error| malformed(error.to_string()))?;
    let subject = referring.subject.ok_or_else(|| malformed("it has no subject".to_owned()))?.digest;
    let mut index = index(registry, name, &subject).await?.unwrap_or_else(|| ImageIndex::new(Vec::new()));
    if index.manifests.iter().any(|entry| entry.digest == referrer.digest()) {
        return Ok(());
    }
    index.manifests.push(Entry {
        media_type: media_type::MANIFEST.to_owned(),
        digest: referrer.digest(),
        size: referrer.bytes().len() as u64,
        artifact_type: referring.artifact_type.or(referring.config.map(|config| config.media_type)),
        platform: None,
        annotations: referring.annotations,
        rest: BTreeMap::new(),
    });
    let bytes = index.encode().map_err(|error| malformed(error.to_string()))?;
    let index = RawManifest::new(bytes)
        .ok_or_else(|| malformed(format!("there is no room for it among the referrers of {subject}")))?;
    registry.put_manifest(name, &index).await?;
    registry.put_tag(name, &tag_of(registry, &subject)?, &index).await
}

async fn index<R: Registry + ?Sized>(
    registry: &R,
    name: &Name,
    subject: &Digest,
) -> Result<Option<ImageIndex>, HubError> {
    let tag = tag_of(registry, subject)?;
    let malformed = |reason: String| HubError::Malformed {
        hub: registry.location().to_owned(),
        what: format!("the list of referrers {name}:{tag}"),
        reason,
    };
    let Some(raw) = registry.get_manifest(name, &Selector::Tag(tag.clone())).await? else { return Ok(None) };
    // Somebody's own tag, which looks like one of these, is not to be written over.
    if !Kind::parse(raw.bytes()).is_ok_and(|kind| kind.is_index()) {
        return Err(malformed("it is no image index".to_owned()));
    }
    ImageIndex::parse(raw.bytes()).map(Some).map_err(|error| malformed(error.to_string()))
}

/// `sha256-HEX`.
fn tag_of<R: Registry + ?Sized>(registry: &R, subject: &Digest) -> Result<Tag, HubError> {
    let tag = subject.to_string().replace(':', "-").parse::<Tag>();
    tag.map_err(|error| HubError::Malformed {
        hub: registry.location().to_owned(),
        what: format!("the tag of {subject}"),
        reason: error.to_string(),
    })
}
