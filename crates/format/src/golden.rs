//! Golden files: the bytes of each format, pinned. They change only together with docs/format.md and a version.
//!
//! `SPORE_GOLDEN=write cargo test -p format golden` writes them anew.

use std::fs;
use std::path::PathBuf;

use crate::frame::{BlobBuilder, Index, Reader};
use crate::manifest::media_type;
use crate::map::{Codec, MapBlob, MapBuilder};
use crate::{Config, Descriptor, Digest, Manifest, Map, testing, zstd_frame};

fn golden(name: &str, bytes: &[u8], digest: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if std::env::var_os("SPORE_GOLDEN").is_some_and(|value| value == "write") {
        fs::write(&path, bytes).unwrap();
    }
    let pinned = fs::read(&path).unwrap();
    assert!(pinned == bytes, "{name} is not what is written today");
    assert_eq!(Digest::of(&pinned).hex(), digest, "{name}");
    pinned
}

fn blob() -> (Vec<u8>, Index) {
    let mut builder = BlobBuilder::default();
    let mut bytes = Vec::new();
    for (fill, pages) in [(1, 2), (2, 1), (3, 256)] {
        let plain = vec![fill; pages * 4096];
        let frame = zstd_frame::encode(&plain).unwrap();
        builder.push(&frame, plain.len()).unwrap();
        bytes.extend(frame);
    }
    let index = builder.finish();
    bytes.extend(index.encode());
    (bytes, index)
}

fn map() -> Map {
    let (bytes, index) = blob();
    let blob = MapBlob::new(Digest::of(&bytes), &index);
    let mut builder = MapBuilder::new(1024);
    builder.blob(0, 3, &blob, 0).unwrap();
    builder.layer(3, 2, Digest::of(b"layer 1"), 0).unwrap();
    builder.blob(100, 256, &blob, 3).unwrap();
    builder.blob(500, 1, &blob, 1).unwrap();
    builder.finish().unwrap()
}

#[test]
fn frames() {
    let (bytes, index) = blob();
    let pinned =
        golden("frames.zst", &bytes, "5ba4a568e8afc1a19597b49e3151fcbb636d6ed5d3f136b2bcb28a4eebc8b2c3");
    let at = index.frames_bytes();
    let parsed = Index::parse(&pinned[at as usize..], at).unwrap();
    let mut plain = Vec::new();
    Reader::new()
        .unwrap()
        .decode(&parsed, 0, &pinned[..parsed.frames()[0].compressed as usize], &mut plain)
        .unwrap();
    assert_eq!(plain, vec![1; 8192]);
}

#[test]
fn maps() {
    let plain = golden(
        "map.plain",
        &map().encode(Codec::Plain).unwrap(),
        "82c7f0931f9df927d989f68de352d2fb2edb5f9efece5597c55f306b9ef57bfe",
    );
    let packed = golden(
        "map.zstd",
        &map().encode(Codec::Zstd).unwrap(),
        "da0bfbe80ed54524fa0ba39dd64a979b3ebacec98496f04539b13d95cf3bb4d6",
    );
    assert_eq!(Map::parse(&plain).unwrap(), map());
    assert_eq!(Map::parse(&packed).unwrap(), map());
}

#[test]
fn configs_and_manifests() {
    let config = testing::config(2, 8192);
    let bytes = golden(
        "config.json",
        &config.encode().unwrap(),
        "28298a4d13e27f8e89b11dd857348bd21ecb1d2058ef1d69cecf3ea49e8ea8d0",
    );
    assert_eq!(Config::parse(&bytes).unwrap(), config);
    let descriptor = |media_type: &str, content: &[u8]| Descriptor {
        media_type: media_type.to_owned(),
        digest: Digest::of(content),
        size: content.len() as u64,
        annotations: std::collections::BTreeMap::new(),
    };
    let layers = vec![
        descriptor(media_type::MAP, &map().encode(Codec::Plain).unwrap()),
        descriptor(media_type::FRAMES, &blob().0),
    ];
    let manifest = Manifest::new(descriptor(media_type::CONFIG, &bytes), layers, Default::default());
    let bytes = golden(
        "manifest.json",
        &manifest.encode().unwrap(),
        "4f65433de2ae78757b4db2c532c95f3249cc9a17401eca66ca126d30279578e0",
    );
    assert_eq!(Manifest::parse(&bytes).unwrap(), manifest);
}
