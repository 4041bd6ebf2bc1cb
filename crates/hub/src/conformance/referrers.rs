//! The case of manifests that name another one as their subject.

use std::error::Error;

use format::manifest::media_type;
use format::{Digest, Name};
use serde_json::json;

use super::{Hub, Outcome, ensure, expect, manifest, put, put_tagged, raw, tag};
use crate::{RawManifest, Selector};

/// Referrers are listed in the order in which they were put, each once, all or those of a type, and are manifests like any other.
pub(super) async fn listed(hub: &Hub, name: &Name) -> Outcome {
    let subject = manifest(hub, name, "subject").await?;
    put_tagged(hub, name, &subject, &tag("latest")?).await?;
    let subject = subject.digest();
    expect(&hub.reader.referrers(name, &subject, None).await?, &Vec::new(), "referrers of what has none")?;
    let (signature, sbom) = ("application/vnd.example.signature", "application/vnd.example.sbom");
    let first = artifact(hub, name, signature, &subject).await?;
    let second = artifact(hub, name, sbom, &subject).await?;
    for artifact in [&first, &second, &first] {
        hub.writer.put_referrer(name, artifact).await?;
    }
    let all = hub.reader.referrers(name, &subject, None).await?;
    let digests: Vec<_> = all.iter().map(|one| one.digest).collect();
    expect(&digests, &vec![first.digest(), second.digest()], "referrers")?;
    for (found, (kind, artifact)) in all.iter().zip([(signature, &first), (sbom, &second)]) {
        expect(&found.artifact_type.as_deref(), &Some(kind), "type of a referrer")?;
        expect(&found.size, &(artifact.bytes().len() as u64), "size of a referrer")?;
        expect(&found.annotations.get("org.example.kind").map(String::as_str), &Some(kind), "annotation")?;
    }
    let found = hub.reader.referrers(name, &subject, Some(sbom)).await?;
    ensure(all.get(1..) == Some(found.as_slice()), format_args!("of the type {sbom}: {found:?}"))?;
    let found = hub.reader.get_manifest(name, &Selector::Digest(second.digest())).await?;
    expect(&found, &Some(second), "manifest of a referrer")
}

/// An artifact of type `kind` about `subject`, whose blob is in the hub.
async fn artifact(
    hub: &Hub,
    name: &Name,
    kind: &str,
    subject: &Digest,
) -> Result<RawManifest, Box<dyn Error + Send + Sync>> {
    let digest = put(hub, name, b"{}").await?;
    raw(&json!({
        "schemaVersion": 2,
        "mediaType": media_type::MANIFEST,
        "artifactType": kind,
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": digest, "size": 2 },
        "layers": [],
        "subject": { "mediaType": media_type::MANIFEST, "digest": subject, "size": 1 },
        "annotations": { "org.example.kind": kind },
    }))
}
