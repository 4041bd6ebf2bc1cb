//! Manifests: each blob once, of a size that its type may have; and what is made of them for people.

#![no_main]

use std::collections::HashSet;

use format::limits::{
    BLOB_BYTES, CONFIG_BYTES, DISK_BYTES, KERNEL_BYTES, MANIFEST_BYTES, MAP_BYTES, STATE_BYTES,
};
use format::manifest::{Manifest, ManifestError, media_type};
use format::snapshot::Roles;
use fuzz::documents::MANIFEST;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let json = &*fuzz::json::read(input, &[MANIFEST]);
    let parsed = fuzz::memory::within(64 * json.len() + (64 << 10), || Manifest::parse(json));
    let manifest = match parsed {
        Ok(manifest) => manifest,
        Err(ManifestError::NotASnapshot { found, .. }) => return assert!(found.len() <= json.len()),
        Err(_) => return,
    };
    assert_eq!(manifest.config.media_type, media_type::CONFIG);
    let mut seen = HashSet::new();
    let roles = Roles::new(&manifest, Vec::new());
    for blob in manifest.blobs() {
        assert!(seen.insert(blob.digest), "a blob is listed twice");
        assert!(blob.size <= most(&blob.media_type));
        assert_eq!(manifest.find(&blob.digest), Some(blob));
        let shown = roles.blob(blob).to_string();
        // 80 characters of four bytes, each of which may be quoted with up to ten.
        assert!(shown.len() < 1200, "{} bytes for people", shown.len());
    }
    assert!(manifest.total_size() >= manifest.config.size);
    let encoded = manifest.encode().expect("what was read can be written");
    assert!(encoded.len() <= MANIFEST_BYTES);
    let again = Manifest::parse(&encoded).expect("what was written can be read");
    assert_eq!(again, manifest);
    assert_eq!(again.encode().expect("it can be written again"), encoded, "one manifest has two digests");
});

fn most(media_type: &str) -> u64 {
    match media_type {
        media_type::CONFIG => CONFIG_BYTES as u64,
        media_type::ENGINE_STATE => STATE_BYTES as u64,
        media_type::MAP => MAP_BYTES as u64,
        media_type::FRAMES => BLOB_BYTES,
        media_type::KERNEL | media_type::INITRD => KERNEL_BYTES,
        _ => DISK_BYTES,
    }
}
