//! Tar archives as plain fields that encode to whatever they say, true or not.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use format::Digest;
use format::manifest::media_type;
use serde_json::{Value, json};
use tar::{EntryType, Header};

use crate::forge::{blob_path, digest};

const BLOCK: usize = 512;

/// A pack that is being forged.
#[derive(Debug, Clone)]
pub struct Archive {
    pub entries: Vec<Entry>,
    /// What follows the last entry.
    pub tail: Vec<u8>,
    /// Bytes of the whole that are left.
    pub cut: Option<usize>,
}

/// A header, and what follows it, which need not have the size that the header says.
#[derive(Debug, Clone)]
pub struct Entry {
    pub header: Header,
    pub bytes: Vec<u8>,
}

impl Entry {
    pub fn file(name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self::of_kind(EntryType::Regular, name, bytes)
    }

    /// Any name, as it stands.
    pub fn of_kind(kind: EntryType, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        Self { header, bytes }
    }

    /// A link or a device to somewhere.
    pub fn to(kind: EntryType, name: &str, target: &str) -> Self {
        let mut entry = Self::of_kind(kind, name, []);
        entry.header.set_link_name_literal(target).expect("it fits");
        entry
    }

    /// A PAX header that sets `key`.
    pub fn pax(key: &str, value: &str) -> Self {
        let rest = key.len() + value.len() + 3;
        let length =
            (rest..).find(|length| length.to_string().len() + rest == *length).expect("there is one");
        Self::of_kind(EntryType::XHeader, "PaxHeaders/x", format!("{length} {key}={value}\n"))
    }

    pub fn name(&self) -> String {
        String::from_utf8_lossy(&self.header.path_bytes()).into_owned()
    }
}

impl Archive {
    /// The pack that Spore would write of a forged snapshot in a hub's folder, were it a true one.
    pub fn of(hub: &Path, manifest: Digest, name: &str) -> Self {
        let bytes = fs::read(blob_path(hub, manifest)).expect("it was published");
        let entry = json!({
            "mediaType": media_type::MANIFEST, "digest": manifest, "size": bytes.len(),
            "annotations": { "org.opencontainers.image.ref.name": name },
        });
        let index = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string();
        let mut entries = vec![
            Entry::file("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#),
            Entry::file("index.json", index),
        ];
        // What is no manifest declares no blobs.
        let declared = serde_json::from_slice::<Value>(&bytes).unwrap_or_default();
        entries.push(Entry::file(&blob(manifest), bytes));
        let layers = declared["layers"].as_array().cloned().unwrap_or_default();
        let (maps, rest): (Vec<_>, Vec<_>) =
            layers.iter().partition(|layer| layer["mediaType"] == media_type::MAP);
        let mut seen = HashSet::from([manifest]);
        for descriptor in [&declared["config"]].into_iter().chain(maps).chain(rest) {
            let Some(text) = descriptor["digest"].as_str() else { continue };
            let Some(digest) = text.parse().ok().filter(|digest| seen.insert(*digest)) else { continue };
            if let Ok(bytes) = fs::read(blob_path(hub, digest)) {
                entries.push(Entry::file(&blob(digest), bytes));
            }
        }
        Self { entries, tail: vec![0; 2 * BLOCK], cut: None }
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for Entry { header, bytes: content } in &self.entries {
            let mut header = header.clone();
            header.set_cksum();
            bytes.extend(header.as_bytes());
            bytes.extend(content);
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        }
        bytes.extend(&self.tail);
        bytes.truncate(self.cut.unwrap_or(usize::MAX));
        bytes
    }

    #[track_caller]
    pub fn entry(&mut self, name: &str) -> &mut Entry {
        self.entries.iter_mut().find(|entry| entry.name() == name).expect("there is such an entry")
    }

    /// Puts an entry behind the first so many.
    pub fn insert(&mut self, at: usize, entry: Entry) {
        self.entries.insert(at, entry);
    }

    /// Changes `index.json`.
    pub fn edit_index(&mut self, edit: impl FnOnce(&mut Value)) {
        let entry = self.entry("index.json");
        let mut index = serde_json::from_slice(&entry.bytes).expect("it is JSON");
        edit(&mut index);
        *entry = Entry::file("index.json", index.to_string());
    }

    /// The manifest's digest.
    pub fn manifest(&mut self) -> Digest {
        let index: Value = serde_json::from_slice(&self.entry("index.json").bytes).expect("it is JSON");
        digest(&index["manifests"][0]["digest"])
    }
}

/// The name of a blob's entry.
pub fn blob(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}
