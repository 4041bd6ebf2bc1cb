//! Loading whole snapshots, and saying what is missing.
use std::fs;

use super::*;
use crate::testing::{home, layer, put_snapshot};

#[test]
fn a_whole_snapshot_loads() {
    let home = home();
    let lease = home.store.lease().unwrap();
    let digest = put_snapshot(&home.store, &lease, &["a", "b"], "1");
    let snapshot = home.store.load_snapshot(&digest).unwrap();
    assert_eq!(snapshot.digest, digest);
    assert_eq!(snapshot.config.layers().count(), 2);
    assert_eq!(snapshot.maps.disks.len(), 3);
}

#[test]
fn everything_that_is_missing_is_named_at_once() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let digest = put_snapshot(store, &lease, &["a", "b"], "1");
    let snapshot = store.load_snapshot(&digest).unwrap();
    let gone = [
        snapshot.maps.disks[1].blobs()[0].digest,
        snapshot.config.memory.map,
        snapshot.maps.disks[2].blobs()[0].digest,
        snapshot.config.machine.kernel.image,
    ];
    for digest in gone {
        fs::remove_file(store.blob_path(&digest)).unwrap();
    }
    let error = store.load_snapshot(&digest).unwrap_err();
    let LoadError::Missing { parts, .. } = &error else { panic!("{error}") };
    assert_eq!(parts.len(), 4);
    let text = error.to_string();
    let content = Digest::of(&layer("b"));
    assert!(
        text.contains(&format!("frames of layer1 of 2 layers (content {content}) {}", gone[0])),
        "{text}"
    );
    assert!(text.contains(&format!("map of memory {}", gone[1])), "{text}");
    assert!(text.contains(&format!("frames of disk writable {}", gone[2])), "{text}");
    assert!(text.contains(&format!("kernel {}", gone[3])), "{text}");
}

#[test]
fn without_config_or_manifest_it_still_says_what_is_missing() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let digest = put_snapshot(store, &lease, &["a"], "1");
    let snapshot = store.load_snapshot(&digest).unwrap();
    fs::remove_file(store.blob_path(&snapshot.manifest.config.digest)).unwrap();
    fs::remove_file(store.blob_path(&snapshot.config.memory.map)).unwrap();
    let error = store.load_snapshot(&digest).unwrap_err().to_string();
    assert!(
        error.contains("config sha256:") && error.contains("part of type application/vnd.spore.map.v0"),
        "{error}"
    );
    fs::remove_file(store.blob_path(&digest)).unwrap();
    let error = store.load_snapshot(&digest).unwrap_err().to_string();
    assert!(error.contains(&format!("manifest {digest}")), "{error}");
}

#[test]
fn parts_that_do_not_belong_together_are_refused() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let (one, two) = (put_snapshot(store, &lease, &["a"], "1"), put_snapshot(store, &lease, &["b"], "2"));
    let (mut one, two) = (store.read_manifest(&one).unwrap().0, store.read_manifest(&two).unwrap().0);
    // The other snapshot's layers under this one's config.
    one.layers = two.layers;
    let forged = store.put_blob(&lease, &one.encode().unwrap()).unwrap();
    let error = store.load_snapshot(&forged).unwrap_err();
    assert!(matches!(error, LoadError::Inconsistent { .. }), "{error}");
}
