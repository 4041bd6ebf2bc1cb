//! A true snapshot in a hub, and false ones made of it.

use std::fs;
use std::path::{Path, PathBuf};

use format::{Digest, Map};
use serde_json::{Value, json};

use super::raw::{RawBlob, RawMap};

/// The tag of everything here.
const TAG: &str = "latest";

/// A true snapshot in a directory hub.
#[derive(Debug)]
pub struct Original {
    hub: PathBuf,
    manifest: Value,
    config: Value,
}

impl Original {
    #[track_caller]
    pub fn read(hub: &Path, name: &str) -> Self {
        let read =
            |path: PathBuf| fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let json = |bytes: Vec<u8>| serde_json::from_slice::<Value>(&bytes).expect("it is JSON");
        let manifest = json(read(hub.join("v2").join(name).join("manifests").join(TAG)));
        let config = json(read(blob_path(hub, digest(&manifest["config"]["digest"]))));
        Self { hub: hub.to_owned(), manifest, config }
    }

    pub fn draft(&self) -> Draft {
        let Self { hub, manifest, config } = self;
        Draft {
            hub: hub.clone(),
            manifest: manifest.clone(),
            config: config.clone(),
            text: None,
            is_sealed: false,
        }
    }
}

/// A snapshot that is being forged. What it needs is put into the hub as it is made.
#[derive(Debug)]
pub struct Draft {
    hub: PathBuf,
    pub manifest: Value,
    pub config: Value,
    text: Option<Vec<u8>>,
    is_sealed: bool,
}

#[track_caller]
pub fn digest(value: &Value) -> Digest {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("not a digest: {value}"))
}

pub fn blob_path(hub: &Path, digest: Digest) -> PathBuf {
    hub.join("blobs/sha256").join(digest.hex())
}

impl Draft {
    /// The digest of the map of a disk, or of `memory`.
    #[track_caller]
    pub fn map_digest(&self, of: &str) -> Digest {
        if of == "memory" {
            return digest(&self.config["memory"]["map"]);
        }
        let disks = self.config["disks"].as_array().expect("there are disks");
        let disk = disks.iter().find(|disk| disk["id"] == of);
        digest(&disk.unwrap_or_else(|| panic!("no disk {of}"))["map"])
    }

    pub fn map(&self, of: &str) -> Map {
        Map::parse(&self.blob(self.map_digest(of))).expect("it is a true map until it is changed")
    }

    #[track_caller]
    pub fn blob(&self, digest: Digest) -> Vec<u8> {
        let path = self.blob_path(digest);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    pub fn blob_path(&self, digest: Digest) -> PathBuf {
        blob_path(&self.hub, digest)
    }

    /// Puts bytes into the hub, under the digest that they have.
    pub fn put(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        let path = self.blob_path(digest);
        if !path.exists() {
            fs::write(path, bytes).expect("the hub can be written");
        }
        digest
    }

    /// Puts `bytes` in the place of a blob, wherever config and manifest name it.
    pub fn replace(&mut self, old: Digest, bytes: &[u8]) -> Digest {
        let new = self.put(bytes);
        let layers = self.manifest["layers"].as_array_mut().expect("there are blobs");
        for layer in layers.iter_mut().filter(|layer| layer["digest"] == old.to_string()) {
            layer["digest"] = new.to_string().into();
            layer["size"] = bytes.len().into();
        }
        rename(&mut self.config, &old.to_string(), &new.to_string());
        new
    }

    /// Changes a map's fields.
    pub fn edit_map(&mut self, of: &str, edit: impl FnOnce(&mut RawMap)) {
        let mut map = RawMap::of(&self.map(of));
        edit(&mut map);
        self.set_map(of, &map.encode());
    }

    /// Changes a map's plain bytes.
    pub fn edit_map_bytes(&mut self, of: &str, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut plain = RawMap::of(&self.map(of)).encode();
        edit(&mut plain);
        self.set_map(of, &plain);
    }

    fn set_map(&mut self, of: &str, plain: &[u8]) {
        self.replace(self.map_digest(of), &[&[0], plain].concat());
    }

    /// Changes the frames of a map's first blob; map and manifest follow.
    pub fn edit_frames(&mut self, of: &str, edit: impl FnOnce(&mut RawBlob)) {
        let map = self.map(of);
        let says = &map.blobs()[0];
        let mut blob = RawBlob::of(&self.blob(says.digest), says);
        edit(&mut blob);
        let (bytes, mut now) = blob.encode();
        // A map of another number of pages would be found out before the frames are.
        now.plain_pages = says.plain_pages;
        self.replace(says.digest, &bytes);
        self.edit_map(of, |map| map.blobs[0] = now);
    }

    /// Writes the config, and has the manifest name it; later changes are the manifest's alone.
    pub fn seal(&mut self) -> Digest {
        let bytes = self.text.take().unwrap_or_else(|| serde_json::to_vec(&self.config).expect("it is JSON"));
        let config = self.put(&bytes);
        self.manifest["config"]["digest"] = config.to_string().into();
        self.manifest["config"]["size"] = bytes.len().into();
        self.is_sealed = true;
        config
    }

    /// Any bytes as the config.
    pub fn config_text(&mut self, bytes: impl Into<Vec<u8>>) {
        self.text = Some(bytes.into());
        self.seal();
    }

    /// Any bytes as the manifest: nothing of the draft matters any more.
    pub fn manifest_text(&mut self, bytes: impl Into<Vec<u8>>) {
        self.text = Some(bytes.into());
        self.is_sealed = true;
    }

    /// The manifest's bytes as they stand.
    pub fn manifest_bytes(&mut self) -> String {
        if !self.is_sealed {
            self.seal();
        }
        serde_json::to_string(&self.manifest).expect("it is JSON")
    }

    /// Declares an attachment in the config, and in the manifest too.
    pub fn attach(&mut self, media_type: &str, bytes: &[u8], critical: bool) -> Digest {
        let digest = self.put(bytes);
        let entry = json!({ "mediaType": media_type, "digest": digest, "size": bytes.len() });
        let list = |value: &mut Value, entry: Value| value.as_array_mut().expect("a list").push(entry);
        list(&mut self.manifest["layers"], entry.clone());
        let mut declared = entry;
        declared["critical"] = critical.into();
        list(&mut self.config["attachments"], declared);
        digest
    }

    /// Puts the snapshot into the hub under a name, and gives its digest.
    pub fn publish(mut self, name: &str) -> Digest {
        let text = if self.is_sealed { self.text.take() } else { None };
        let bytes = text.unwrap_or_else(|| self.manifest_bytes().into_bytes());
        let digest = self.put(&bytes);
        let folder = self.hub.join("v2").join(name).join("manifests");
        fs::create_dir_all(&folder).expect("the hub can be written");
        for file_name in [TAG, &digest.to_string()] {
            fs::write(folder.join(file_name), &bytes).expect("the hub can be written");
        }
        digest
    }
}

/// Puts one text in the place of another, at whatever depth.
fn rename(value: &mut Value, old: &str, new: &str) {
    match value {
        Value::String(text) if text == old => new.clone_into(text),
        Value::Array(list) => list.iter_mut().for_each(|one| rename(one, old, new)),
        Value::Object(fields) => fields.values_mut().for_each(|one| rename(one, old, new)),
        _ => {}
    }
}
