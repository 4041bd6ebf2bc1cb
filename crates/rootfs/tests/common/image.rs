//! Container images, made by code, in each form that a base can be made of.
// Each file of tests uses a part of it.
#![allow(dead_code)]

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use format::Digest;
use serde_json::{Value, json};

/// How an image's layers are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

/// An image: its layers' archives, lowest first, and its config.
pub(crate) struct Image {
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) config: Vec<u8>,
}

impl Image {
    pub(crate) fn new(layers: Vec<Vec<u8>>) -> Self {
        Self::with_process(layers, &json!({}))
    }

    pub(crate) fn with_process(layers: Vec<Vec<u8>>, process: &Value) -> Self {
        let contents: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": process,
            "rootfs": {"type": "layers", "diff_ids": contents},
        });
        Self { layers, config: config.to_string().into_bytes() }
    }

    /// Writes an OCI image layout, and gives the manifest's digest.
    pub(crate) fn write_layout(&self, folder: &Path, tag: Option<&str>, packing: Packing) -> Digest {
        fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        let put = |kind: &str, bytes: &[u8]| {
            let digest = Digest::of(bytes);
            fs::write(folder.join("blobs/sha256").join(digest.hex()), bytes).unwrap();
            let media_type = format!("application/vnd.oci.image.{kind}");
            json!({"mediaType": media_type, "digest": digest, "size": bytes.len()})
        };
        let kind = match packing {
            Packing::Plain => "layer.v1.tar",
            Packing::Gzip => "layer.v1.tar+gzip",
            Packing::Zstd => "layer.v1.tar+zstd",
        };
        let layers: Vec<_> = self.layers.iter().map(|layer| put(kind, &pack(layer, packing))).collect();
        let config = put("config.v1+json", &self.config);
        let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers}).to_string();
        let mut entry = put("manifest.v1+json", manifest.as_bytes());
        if let Some(tag) = tag {
            entry["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        }
        let index = folder.join("index.json");
        let mut entries = match fs::read(&index) {
            Ok(bytes) => serde_json::from_slice::<Value>(&bytes).unwrap()["manifests"].take(),
            Err(_) => json!([]),
        };
        entries.as_array_mut().unwrap().push(entry);
        fs::write(index, json!({"schemaVersion": 2, "manifests": entries}).to_string()).unwrap();
        fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Digest::of(manifest.as_bytes())
    }

    /// Writes what `docker save` writes since release 25: an image layout that is also what it was before.
    pub(crate) fn write_docker_layout(&self, folder: &Path, tags: &[&str]) {
        self.write_layout(folder, None, Packing::Plain);
        let blob = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
        let layers: Vec<_> = self.layers.iter().map(|layer| blob(layer)).collect();
        let index = json!([{"Config": blob(&self.config), "RepoTags": tags, "Layers": layers}]);
        fs::write(folder.join("manifest.json"), index.to_string()).unwrap();
    }

    /// Writes what `docker save` wrote before, with a link where a layer is there before.
    pub(crate) fn write_docker_archive(&self, file: &Path, tags: &[&str]) {
        let mut builder = tar::Builder::new(File::create(file).unwrap());
        let mut names: Vec<String> = Vec::new();
        for (number, layer) in self.layers.iter().enumerate() {
            let name = format!("{number}/layer.tar");
            match self.layers[..number].iter().position(|other| other == layer) {
                Some(same) => {
                    let mut header = tar::Header::new_gnu();
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_size(0);
                    builder.append_link(&mut header, &name, format!("../{same}/layer.tar")).unwrap();
                }
                None => append(&mut builder, &name, layer),
            }
            names.push(name);
        }
        append(&mut builder, "config.json", &self.config);
        let index = json!([{"Config": "config.json", "RepoTags": tags, "Layers": names}]).to_string();
        append(&mut builder, "manifest.json", index.as_bytes());
        builder.into_inner().unwrap();
    }
}

/// Puts a folder into an archive.
pub(crate) fn write_archive(folder: &Path, file: &Path) {
    let mut builder = tar::Builder::new(File::create(file).unwrap());
    builder.append_dir_all(".", folder).unwrap();
    builder.into_inner().unwrap();
}

pub(crate) fn pack(bytes: &[u8], packing: Packing) -> Vec<u8> {
    match packing {
        Packing::Plain => bytes.to_vec(),
        Packing::Zstd => zstd::stream::encode_all(bytes, 1).unwrap(),
        Packing::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
    }
}

/// Puts a file into an archive.
pub(crate) fn append(builder: &mut tar::Builder<File>, name: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    builder.append_data(&mut header, name, content).unwrap();
}

/// A layer's archive, entry by entry.
pub(crate) struct Layer(tar::Builder<Vec<u8>>);

impl Layer {
    pub(crate) fn new() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }

    fn header(kind: tar::EntryType, mode: u32) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(0);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_600_000_000);
        header
    }

    pub(crate) fn folder(mut self, path: &str, mode: u32) -> Self {
        self.0.append_data(&mut Self::header(tar::EntryType::Directory, mode), path, &[][..]).unwrap();
        self
    }

    pub(crate) fn owned_folder(mut self, path: &str, mode: u32, owner: u64) -> Self {
        let mut header = Self::header(tar::EntryType::Directory, mode);
        header.set_uid(owner);
        header.set_gid(owner + 1);
        self.0.append_data(&mut header, path, &[][..]).unwrap();
        self
    }

    pub(crate) fn file(self, path: &str, content: &[u8]) -> Self {
        self.file_with(path, content, 0o644, 0, &[])
    }

    pub(crate) fn file_with(
        mut self,
        path: &str,
        content: &[u8],
        mode: u32,
        owner: u64,
        attributes: &[(&str, &[u8])],
    ) -> Self {
        let records: Vec<_> =
            attributes.iter().map(|(name, value)| (format!("SCHILY.xattr.{name}"), *value)).collect();
        self.0.append_pax_extensions(records.iter().map(|(key, value)| (key.as_str(), *value))).unwrap();
        let mut header = Self::header(tar::EntryType::Regular, mode);
        header.set_size(content.len() as u64);
        header.set_uid(owner);
        header.set_gid(owner + 1);
        self.0.append_data(&mut header, path, content).unwrap();
        self
    }

    pub(crate) fn link(mut self, kind: tar::EntryType, path: &str, target: &str) -> Self {
        self.0.append_link(&mut Self::header(kind, 0o777), path, target).unwrap();
        self
    }

    pub(crate) fn device(mut self, path: &str, major: u32, minor: u32) -> Self {
        let mut header = Self::header(tar::EntryType::Char, 0o620);
        header.set_device_major(major).unwrap();
        header.set_device_minor(minor).unwrap();
        self.0.append_data(&mut header, path, &[][..]).unwrap();
        self
    }

    pub(crate) fn build(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}
