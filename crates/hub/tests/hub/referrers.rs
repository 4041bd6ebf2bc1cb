//! Referrers: by a tag where a registry does not list them, and by its own list where it does.

use std::sync::Arc;

use format::Digest;
use format::manifest::media_type;
use hub::testing::proxy::{Fault, FaultProxy, Rule};
use hub::testing::registry::{RealRegistry, RegistryOptions};
use hub::testing::{MemorySource, SampleSpec, no_access};
use hub::{HubError, HubLocation, RawManifest, Registry, Upload};
use serde_json::json;

use crate::world::{World, name, tag};

const SIGNATURE: &str = "application/vnd.example.signature";
const SBOM: &str = "application/vnd.example.sbom";

/// An artifact of this type about `subject`, whose blobs are in the hub.
async fn artifact(hub: &Arc<dyn Registry>, kind: &str, subject: &Digest) -> RawManifest {
    let source = MemorySource { bytes: b"{}".to_vec(), fails: false };
    let digest = Digest::of(&source.bytes);
    hub.put_blob(&name(), &Upload { digest, size: 2, source: &source, mount_from: &[] }).await.unwrap();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::MANIFEST,
        "artifactType": kind,
        "config": { "mediaType": "application/vnd.oci.empty.v1+json", "digest": digest, "size": 2 },
        "layers": [],
        "subject": { "mediaType": media_type::MANIFEST, "digest": subject, "size": 1 },
        "annotations": { "org.example.kind": kind },
    });
    RawManifest::new(manifest.to_string().into_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_a_registry_lists_none_a_tag_does() {
    let world = World::pushed(&SampleSpec::default()).await;
    let (hub, subject) = (world.hub(), world.sample.digest);
    hub.put_referrer(&name(), &artifact(&hub, SIGNATURE, &subject).await).await.unwrap();
    let tags = hub.tags(&name()).await.unwrap();
    assert_eq!(tags, [tag(), format!("sha256-{}", subject.hex()).parse().unwrap()]);

    // Somebody's own tag of that name is left as it is.
    let other = Digest::of(b"another subject");
    let own = artifact(&hub, SIGNATURE, &subject).await;
    hub.put_tag(&name(), &format!("sha256-{}", other.hex()).parse().unwrap(), &own).await.unwrap();
    let error = hub.put_referrer(&name(), &artifact(&hub, SBOM, &other).await).await.unwrap_err();
    assert!(matches!(error, HubError::Malformed { .. }), "{error}");
}

/// Debian's registry has no list of its own: the answers of one that has are given by the proxy before it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registry_s_own_list_is_believed_to_be_all() {
    let test = "referrers::a_registry_s_own_list_is_believed_to_be_all";
    let Some(registry) = RealRegistry::start(test, &RegistryOptions::default()) else { return };
    let proxy = FaultProxy::start(registry.addr(), []);
    let location = HubLocation::parse(&format!("oci://{}", proxy.addr())).unwrap();
    let hub = hub::open(&location, &no_access()).unwrap();
    let subject = Digest::of(b"subject");
    let (signature, sbom) = (artifact(&hub, SIGNATURE, &subject).await, artifact(&hub, SBOM, &subject).await);
    let page = |artifact: &RawManifest, kind: &str, next: Option<&str>| {
        Fault::Answer {
        status: 200,
        headers: next.map(|next| ("Link".to_owned(), format!("<{next}>; rel=\"next\""))).into_iter().collect(),
        body: json!({
            "schemaVersion": 2,
            "mediaType": media_type::INDEX,
            "manifests": [{ "mediaType": media_type::MANIFEST, "digest": artifact.digest(), "size": 3, "artifactType": kind }],
        })
        .to_string(),
    }
    };
    let path = format!("/v2/{}/referrers/{subject}", name());
    let next = format!("{path}?after=1");
    proxy.set_script([
        Rule::always(Fault::answer(201, &[("OCI-Subject", &subject.to_string())])).on("PUT", "/v2/"),
        Rule::always(page(&sbom, SBOM, None)).on("GET", &next),
        Rule::always(page(&signature, SIGNATURE, Some(&next))).on("GET", &path),
    ]);
    let all = hub.referrers(&name(), &subject, None).await.unwrap();
    assert_eq!(all.iter().map(|one| one.digest).collect::<Vec<_>>(), [signature.digest(), sbom.digest()]);
    // The registry here leaves the choice to us.
    let sboms = hub.referrers(&name(), &subject, Some(SBOM)).await.unwrap();
    assert_eq!(sboms, all[1..]);
    assert_eq!(proxy.count("GET", &format!("{path}?artifactType=")), 1);
    // It says that it keeps the list, so no tag is written.
    hub.put_referrer(&name(), &signature).await.unwrap();
    assert_eq!(proxy.count("PUT", &format!("/v2/{}/manifests/", name())), 1);
    assert_eq!(proxy.count("GET", &format!("/v2/{}/manifests/", name())), 0);
}
