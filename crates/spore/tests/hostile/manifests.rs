//! Manifests that are not what they say. Nothing is stored of any of them.

use serde_json::{Value, json};

use crate::case::{Case, arrival};
use crate::forge::Draft;

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        arrival("an empty manifest", &["manifest is not valid"], |draft| draft.manifest_text("")),
        arrival("half a manifest", &["manifest is not valid"], |draft| {
            let text = draft.manifest_bytes();
            draft.manifest_text(&text.as_bytes()[..text.len() / 2]);
        }),
        arrival("a manifest of random bytes", &["manifest is not valid"], |draft| {
            draft.manifest_text([0xFF; 500]);
        }),
        arrival("a manifest of more than 4 MiB", &["4194304"], |draft| {
            let text = draft.manifest_bytes();
            draft.manifest_text(text + &" ".repeat(4 << 20));
        })
        .pull_exits_with(1),
        arrival("a manifest nested without end", &["manifest is not valid"], |draft| {
            draft.manifest_text("[".repeat(1 << 20));
        }),
        arrival("a container image", &["not that of a Spore snapshot", "config.mediaType"], |draft| {
            draft.manifest["config"]["mediaType"] = json!("application/vnd.oci.image.config.v1+json");
        }),
        arrival("another artifact", &["artifactType"], |draft| {
            draft.manifest["artifactType"] = json!("application/vnd.spore.snapshot.v1");
        }),
        arrival("another schema", &["schemaVersion"], |draft| draft.manifest["schemaVersion"] = json!(1)),
        arrival("an unknown field", &["unknown field", "subject"], |draft| {
            draft.manifest["subject"] = json!({});
        }),
        arrival("an unknown field that is a terminal's command", &["unknown field"], |draft| {
            draft.manifest["\u{1b}]0;title\u{7}\u{1b}[2J"] = json!({});
        }),
        arrival("a field twice", &["duplicate field", "layers"], |draft| {
            let text = draft.manifest_bytes();
            draft.manifest_text(text.replacen("\"layers\":", "\"layers\":[],\"layers\":", 1));
        }),
        arrival("a digest of another algorithm", &["is not a digest"], |draft| {
            draft.manifest["layers"][0]["digest"] = json!(format!("sha512:{}", "0".repeat(128)));
        }),
        arrival("a digest that is a path", &["is not a digest"], |draft| {
            draft.manifest["layers"][0]["digest"] = json!("sha256:../../../../escaped");
        }),
    ];
    cases.extend(closures());
    cases.extend(sizes());
    cases
}

fn blobs(draft: &mut Draft) -> &mut Vec<Value> {
    draft.manifest["layers"].as_array_mut().expect("there are blobs")
}

/// Lists that are not the closure of the config.
fn closures() -> Vec<Case> {
    vec![
        arrival("a blob twice", &["listed twice"], |draft| {
            let first = draft.manifest["layers"][0].clone();
            blobs(draft).push(first);
        }),
        arrival("blobs in another order", &["not in order"], |draft| blobs(draft).swap(0, 1)),
        arrival("a blob that nothing needs", &["nothing needs it"], |draft| {
            let digest = draft.put(b"undeclared");
            let entry = json!({ "mediaType": "application/octet-stream", "digest": digest, "size": 10 });
            blobs(draft).push(entry);
        }),
        arrival("frames that are not declared", &["frames of", "is not declared"], |draft| {
            drop(blobs(draft).pop());
        }),
        arrival("an engine state that is not declared", &["engine state", "is not declared"], |draft| {
            drop(blobs(draft).remove(0));
        }),
        arrival("a map that is not declared", &["memory map", "is not declared"], |draft| {
            drop(blobs(draft).remove(3));
        }),
        arrival("a kernel declared as a map", &["kernel", "is declared as"], |draft| {
            blobs(draft)[1]["mediaType"] = json!("application/vnd.spore.initrd.v0+zstd");
        }),
        arrival("nothing declared", &["is not declared"], |draft| blobs(draft).clear()),
    ]
}

/// Sizes that are not true, or not possible.
fn sizes() -> Vec<Case> {
    vec![
        arrival("a blob of 2^63 bytes", &["9223372036854775808"], |draft| {
            draft.manifest["layers"][0]["size"] = json!(1_u64 << 63);
        }),
        arrival("a blob of 2^64 - 1 bytes", &["18446744073709551615"], |draft| {
            draft.manifest["layers"][4]["size"] = json!(u64::MAX);
        }),
        arrival("a blob of 2^64 bytes", &["manifest is not valid"], |draft| {
            size_text(draft, "18446744073709551616");
        }),
        arrival("a blob of -1 bytes", &["manifest is not valid"], |draft| size_text(draft, "-1")),
        arrival("a blob of half a byte", &["manifest is not valid"], |draft| size_text(draft, "0.5")),
        arrival("a config of 2^63 bytes", &["9223372036854775808"], |draft| {
            draft.seal();
            draft.manifest["config"]["size"] = json!(1_u64 << 63);
        }),
        arrival("a config that is longer than declared", &["config", "is corrupt there"], |draft| {
            draft.seal();
            draft.manifest["config"]["size"] = json!(100);
        })
        .unpack_says(&["the manifest declares 100"]),
        arrival("an engine state that is shorter than declared", &["engine state", "bytes there"], |draft| {
            draft.manifest["layers"][0]["size"] = json!(60 << 20);
        })
        .unpack_says(&["the manifest declares 62914560"]),
        arrival("a map that is longer than declared", &["map", "is corrupt there"], |draft| {
            draft.manifest["layers"][3]["size"] = json!(1);
        })
        .unpack_says(&["the manifest declares 1"]),
        arrival("frames whose map says another size", &["frames of memory", "its map says"], |draft| {
            let blob = draft.map("memory").blobs()[0].clone();
            let mut bytes = draft.blob(blob.digest);
            bytes.push(0);
            draft.edit_map("memory", |map| map.blobs[0].digest = format::Digest::of(&bytes));
            draft.replace(blob.digest, &bytes);
        }),
    ]
}

/// Any text as the size of the first blob.
fn size_text(draft: &mut Draft, size: &str) {
    draft.manifest["layers"][0]["size"] = json!(12_345_678);
    let text = draft.manifest_bytes();
    draft.manifest_text(text.replace("12345678", size));
}
