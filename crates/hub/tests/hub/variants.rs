//! One tag, several snapshots: how it comes to that, and what becomes of what was there.

use std::sync::Arc;

use format::config::Accelerator;
use format::{Digest, Manifest};
use hub::testing::registry::{RealRegistry, RegistryOptions};
use hub::testing::{Sample, SampleSpec, no_access, put_sample};
use hub::{
    HubLocation, PullError, PushError, RawManifest, Registry, Selector, VariantKey, plan_pull, plan_push,
    read_variants,
};
use serde_json::{Value, json};
use store::Store;

use crate::world::{World, name, tag};

/// A snapshot that is the sample, but for what ran it.
fn put_variant(store: &Store, seed: &str, accelerator: Accelerator) -> (Digest, store::Lease) {
    let sample: Sample = put_sample(store, &SampleSpec { seed, ..SampleSpec::default() }).unwrap();
    let mut config = sample.config.clone();
    config.engine.accelerator = accelerator;
    let bytes = config.encode().unwrap();
    let mut manifest: Manifest = sample.manifest.clone();
    manifest.config.digest = store.put_blob(&sample.lease, &bytes).unwrap();
    manifest.config.size = bytes.len() as u64;
    let digest = store.put_blob(&sample.lease, &manifest.encode().unwrap()).unwrap();
    (digest, sample.lease)
}

struct Variants {
    world: World,
    hub: Arc<dyn Registry>,
    _registry: RealRegistry,
}

impl Variants {
    fn new(test: &str) -> Option<Self> {
        let registry = RealRegistry::start(&format!("variants::{test}"), &RegistryOptions::default())?;
        let location = HubLocation::parse(&format!("oci://{}", registry.addr())).unwrap();
        let hub = hub::open(&location, &no_access()).unwrap();
        Some(Self { world: World::new(&SampleSpec::default()), hub, _registry: registry })
    }

    async fn add(&self, digest: &Digest) -> Result<(), PushError> {
        let plan = plan_push(&self.world.source, digest, Arc::clone(&self.hub), &name()).await?;
        plan.execute_as_variant(&tag(), Arc::new(())).await.map(drop)
    }

    async fn index(&self) -> Value {
        let raw = self.hub.get_manifest(&name(), &Selector::Tag(tag())).await.unwrap().unwrap();
        serde_json::from_slice(raw.bytes()).unwrap()
    }

    async fn listed(&self) -> Vec<Digest> {
        let index = self.index().await;
        let digest = |entry: &Value| entry["digest"].as_str().unwrap().parse().unwrap();
        index["manifests"].as_array().unwrap().iter().map(digest).collect()
    }

    async fn pull(&self) -> Result<Digest, PullError> {
        let target = self.world.with_new_target().target;
        let plan = plan_pull(&target, Arc::clone(&self.hub), &name(), &Selector::Tag(tag())).await?;
        Ok(plan.execute(None, Arc::new(())).await?.snapshot)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tag_takes_variants_and_each_only_once() {
    let Some(variants) = Variants::new("a_tag_takes_variants_and_each_only_once") else { return };
    let store = &variants.world.source;
    // Pushed as it always is: the tag leads to the one manifest.
    variants.world.push_to(Arc::clone(&variants.hub)).await.unwrap();
    let first = variants.world.sample.digest;
    let (kvm, _lease) = put_variant(store, "kvm", Accelerator::Kvm);
    variants.add(&kvm).await.unwrap();
    assert_eq!(variants.listed().await, [first, kvm]);
    let entry = &variants.index().await["manifests"][1];
    assert_eq!(entry["platform"], json!({ "architecture": "amd64", "os": "linux" }));
    assert_eq!(entry["annotations"]["dev.spore.accelerator"], "kvm");
    let error = variants.pull().await.unwrap_err();
    let PullError::Variants { variants: listed, .. } = error else { panic!("{error}") };
    let read = read_variants(&variants.hub, &name(), &listed).await.unwrap();
    let keys: Vec<_> = read.iter().map(|one| VariantKey::of(&one.config).accelerator).collect();
    assert_eq!(keys, [Accelerator::Tcg, Accelerator::Kvm]);

    // Another one for the same hosts takes the place of the first.
    let (newer, _lease) = put_variant(store, "newer", Accelerator::Tcg);
    variants.add(&newer).await.unwrap();
    assert_eq!(variants.listed().await, [kvm, newer]);
    variants.add(&newer).await.unwrap();
    assert_eq!(variants.listed().await, [kvm, newer]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_variant_makes_an_index_and_others_entries_stay() {
    let Some(variants) = Variants::new("the_first_variant_makes_an_index_and_others_entries_stay") else {
        return;
    };
    let first = variants.world.sample.digest;
    variants.add(&first).await.unwrap();
    assert_eq!(variants.listed().await, [first]);
    assert_eq!(variants.pull().await.unwrap(), first);
    // Somebody keeps something of their own in it.
    let mut index = variants.index().await;
    index["annotations"] = json!({ "org.example.note": "kept" });
    index["manifests"][0]["artifactType"] = json!("application/vnd.example.signature");
    let raw = RawManifest::new(index.to_string().into_bytes()).unwrap();
    variants.hub.put_tag(&name(), &tag(), &raw).await.unwrap();
    let (kvm, _lease) = put_variant(&variants.world.source, "kvm", Accelerator::Kvm);
    variants.add(&kvm).await.unwrap();
    let index = variants.index().await;
    assert_eq!(index["annotations"]["org.example.note"], "kept");
    assert_eq!(index["manifests"][0]["artifactType"], "application/vnd.example.signature");
    assert_eq!(variants.listed().await, [first, kvm]);
    assert_eq!(variants.pull().await.unwrap(), kvm);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_snapshot_takes_no_variant() {
    let Some(variants) = Variants::new("what_is_no_snapshot_takes_no_variant") else { return };
    let config = hub::testing::MemorySource { bytes: b"{}".to_vec(), fails: false };
    let digest = Digest::of(&config.bytes);
    let upload = hub::Upload { digest, size: 2, source: &config, mount_from: &[] };
    variants.hub.put_blob(&name(), &upload).await.unwrap();
    let other = json!({
        "schemaVersion": 2,
        "mediaType": format::manifest::media_type::MANIFEST,
        "config": { "mediaType": "application/vnd.example", "digest": digest, "size": 2 },
        "layers": [],
    });
    let other = RawManifest::new(other.to_string().into_bytes()).unwrap();
    variants.hub.put_tag(&name(), &tag(), &other).await.unwrap();
    let error = variants.add(&variants.world.sample.digest).await.unwrap_err();
    assert!(matches!(error, PushError::Variants(_)), "{error}");
    let found = variants.hub.get_manifest(&name(), &Selector::Tag(tag())).await.unwrap();
    assert_eq!(found, Some(other));
}
