//! Hubs that do not hold what they are asked for.

use std::fs;

use serde_json::json;

use crate::arena::{Arena, FORGED};
use crate::case::Carrier;
use crate::forge::Draft;
use crate::harness::needs::{Need, skipped};
use crate::harness::run::Run;

/// A blob that no other test changes: one of a forged snapshot that is otherwise true.
fn with_its_own_state(arena: &Arena) -> (Draft, format::Digest) {
    let mut draft = arena.draft();
    let old = crate::forge::digest(&draft.config["engine"]["state"]);
    let state = zstd::bulk::decompress(&draft.blob(old), 64 << 20).expect("a true state");
    let digest = draft.replace(old, &zstd::bulk::compress(&state, 19).expect("zstd compresses"));
    (draft, digest)
}

#[test]
fn blobs_that_are_not_what_they_are_called_are_not_stored() {
    if skipped("hostile_snapshots::blobs_that_are_not_what_they_are_called_are_not_stored", &[Need::Bake]) {
        return;
    }
    let arena = Arena::new(Carrier::Hub);
    let (draft, state) = with_its_own_state(&arena);
    let path = draft.blob_path(state);
    draft.publish(FORGED);
    // All else is here, so that nothing else is begun when this one fails.
    arena.pull("tiny").finish().succeeds();
    let bytes = fs::read(&path).unwrap();
    let name = state.to_string();
    let says = |code: i32, words: &[&str]| {
        arena.leaves_nothing(|| drop(arena.pull(FORGED).finish().exits_with(code).says(words)));
        assert!(!arena.spore.root().join("blobs/sha256").join(state.hex()).exists(), "it was stored");
    };

    let mut flipped = bytes.clone();
    flipped[100] ^= 1;
    fs::write(&path, flipped).unwrap();
    says(5, &["engine state", &name, "corrupt", "not stored"]);
    fs::write(&path, &bytes[1..]).unwrap();
    says(5, &[&name, "bytes there"]);
    fs::write(&path, [&bytes[..], b"more"].concat()).unwrap();
    says(5, &[&name, "bytes there"]);
    fs::write(&path, b"").unwrap();
    says(5, &[&name, "0 bytes there"]);
    fs::remove_file(&path).unwrap();
    says(3, &["missing", "engine state", &name]);
    Run::new("mkfifo").args([&path]).finish().succeeds();
    says(1, &[path.to_str().unwrap(), "expected a regular file"]);
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    says(1, &[path.to_str().unwrap(), "expected a regular file"]);
    fs::remove_dir(&path).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &path).unwrap();
    says(1, &[path.to_str().unwrap(), "expected a regular file"]);

    // What was refused does not stand in the way of what is right.
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    arena.pull(FORGED).finish().succeeds();
    arena.assert_clean();
}

#[test]
fn a_digest_is_never_another_snapshot() {
    if skipped("hostile_snapshots::a_digest_is_never_another_snapshot", &[Need::Bake]) {
        return;
    }
    let arena = Arena::new(Carrier::Hub);
    let manifests = arena.hub.join("v2").join(FORGED).join("manifests");
    let asked_for = arena.draft().publish(FORGED);
    let mut other = arena.draft();
    other.manifest["annotations"] = json!({ "org.opencontainers.image.title": "another" });
    let other = other.publish(FORGED);
    assert_ne!(asked_for, other);
    fs::copy(manifests.join(other.to_string()), manifests.join(asked_for.to_string())).unwrap();
    let reference = format!("{FORGED}:latest@{asked_for}");
    arena.leaves_nothing(|| {
        let words: [&str; 2] = [&asked_for.to_string(), &other.to_string()];
        drop(arena.pull(&reference).finish().exits_with(5).says(&words));
    });
    arena.assert_clean();
}

#[test]
fn an_index_chooses_nothing() {
    if skipped("hostile_snapshots::an_index_chooses_nothing", &[Need::Bake]) {
        return;
    }
    let arena = Arena::new(Carrier::Hub);
    let one = arena.draft().publish(FORGED);
    let mut draft = arena.draft();
    draft.manifest["annotations"] = json!({});
    let two = draft.publish(FORGED);
    let manifests = arena.hub.join("v2").join(FORGED).join("manifests");
    let entry = |digest: &format::Digest, media_type: &str| json!({ "mediaType": media_type, "digest": digest, "size": 1 });
    let manifest = "application/vnd.oci.image.manifest.v1+json";
    let index = "application/vnd.oci.image.index.v1+json";
    let tag = |entries: serde_json::Value| {
        let text = json!({ "schemaVersion": 2, "mediaType": index, "manifests": entries }).to_string();
        fs::write(manifests.join("latest"), &text).unwrap();
        fs::write(manifests.join(format::Digest::of(text.as_bytes()).to_string()), &text).unwrap();
        format::Digest::of(text.as_bytes())
    };
    tag(json!([entry(&one, manifest), entry(&two, manifest)]));
    arena.leaves_nothing(|| {
        let words: [&str; 2] = [&one.to_string(), &two.to_string()];
        drop(arena.pull(FORGED).finish().exits_with(2).says(&words));
    });
    tag(json!([]));
    arena.leaves_nothing(|| {
        drop(arena.pull(FORGED).finish().exits_with(2).says(&["an image index without snapshots"]));
    });
    // An index that calls an index a manifest.
    let inner = tag(json!([entry(&one, manifest)]));
    tag(json!([entry(&inner, manifest)]));
    arena.leaves_nothing(|| {
        drop(arena.pull(FORGED).finish().exits_with(5).says(&["not that of a Spore snapshot"]));
    });
    arena.assert_clean();
}

#[test]
fn names_that_are_paths_are_wrong_usage() {
    if skipped("hostile_snapshots::names_that_are_paths_are_wrong_usage", &[Need::Bake]) {
        return;
    }
    let arena = Arena::new(Carrier::Hub);
    arena.leaves_nothing(|| {
        for name in
            ["../hub", "tiny:../latest", "/etc/passwd", "tiny/../../x", "tiny@sha256:../../x", "./tiny"]
        {
            arena.pull(name).finish().exits_with(2);
            arena.fork(name).finish().exits_with(2);
        }
    });
}
