//! What tags lead to and snapshots are, without a store: what a pull would refuse is not described.

use std::fs;

use format::manifest::media_type;
use hub::describe::Describer;
use hub::testing::SampleSpec;
use hub::{PullError, RawManifest};

use crate::world::*;

#[tokio::test]
async fn a_snapshot_is_described_by_what_its_hub_has() {
    let world = World::pushed(&SampleSpec::default()).await;
    let describer = Describer::new(world.hub());
    let tagged = describer.tagged(&name(), &tag()).await.unwrap();
    assert_eq!((tagged.digest, tagged.snapshots), (world.sample.digest, vec![world.sample.digest]));
    let described = describer.snapshot(&name(), &world.sample.digest).await.unwrap();
    assert_eq!(described.manifest, world.sample.manifest);
    assert_eq!(described.config, world.sample.config);
    assert_eq!(described.memory_frames, [world.digest_of("frames of memory")].into());
}

#[tokio::test]
async fn variants_are_listed_once() {
    let world = World::pushed(&SampleSpec::default()).await;
    let digest = world.sample.digest;
    let entry = |media_type: &str| serde_json::json!({"mediaType": media_type, "digest": digest, "size": 1});
    let put = async |entries: &[serde_json::Value]| {
        let index =
            serde_json::json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": entries});
        let index = RawManifest::new(index.to_string().into_bytes()).unwrap();
        world.hub().put_tag(&name(), &tag(), &index).await.unwrap();
        index.digest()
    };
    let describer = Describer::new(world.hub());
    let index =
        put(&[entry(media_type::MANIFEST), entry(media_type::MANIFEST), entry(media_type::INDEX)]).await;
    let tagged = describer.tagged(&name(), &tag()).await.unwrap();
    assert_eq!((tagged.digest, tagged.snapshots), (index, vec![digest]));
    put(&[entry(media_type::INDEX)]).await;
    let empty = describer.tagged(&name(), &tag()).await.unwrap_err();
    assert!(matches!(empty, PullError::Variants { .. }), "{empty}");
    let index = describer.snapshot(&name(), &index).await.unwrap_err();
    assert!(index.to_string().contains(&name().to_string()), "{index}");
}

#[tokio::test]
async fn what_a_pull_would_refuse_is_not_described() {
    let world = World::pushed(&SampleSpec::default()).await;
    let refusal = async |world: &World| {
        let describer = Describer::new(world.hub());
        describer.snapshot(&name(), &world.sample.digest).await.map(|_| ()).unwrap_err()
    };
    for role in ["frames of disk layer1", "kernel", "memory map"] {
        let path = world.hub_blob(&world.digest_of(role));
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[1..]).unwrap();
        let error = refusal(&world).await;
        assert!(matches!(error, PullError::WrongSize { .. }), "{role}: {error}");
        fs::remove_file(&path).unwrap();
        let error = refusal(&world).await;
        assert!(matches!(error, PullError::Incomplete { .. }), "{role}: {error}");
        fs::write(&path, bytes).unwrap();
    }
    let config = world.sample.manifest.config.digest;
    for digest in [world.digest_of("memory map"), world.digest_of("map of disk layer0"), config] {
        let path = world.hub_blob(&digest);
        let bytes = fs::read(&path).unwrap();
        let mut damaged = bytes.clone();
        *damaged.last_mut().unwrap() ^= 1;
        fs::write(&path, damaged).unwrap();
        let error = refusal(&world).await;
        assert!(matches!(&error, PullError::Corrupt { blob, .. } if blob.digest == digest), "{error}");
        fs::write(&path, bytes).unwrap();
    }
    Describer::new(world.hub()).snapshot(&name(), &world.sample.digest).await.unwrap();
}
