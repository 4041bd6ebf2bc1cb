//! Container images, made by code as OCI image layouts, and carried into a registry by skopeo, as people's are.

use std::path::Path;

use format::Digest;
use hub::testing::registry::RealRegistry;
use hub::testing::{PASSWORD, USER};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header, HeaderMode};

use super::files;
use super::run::Run;

/// The time of every file.
pub const FILE_TIME: u64 = 1_153_704_088;

/// The archive of one layer.
pub struct Layer(Builder<Vec<u8>>);

impl Layer {
    pub fn new() -> Self {
        let mut builder = Builder::new(Vec::new());
        // Everything is root's.
        builder.mode(HeaderMode::Deterministic);
        builder.follow_symlinks(false);
        Self(builder)
    }

    /// With all that is in a folder.
    pub fn tree(mut self, folder: &Path) -> Self {
        self.0.append_dir_all(".", folder).unwrap();
        self
    }

    pub fn file(self, path: &str, content: &[u8], mode: u32, owner: u64) -> Self {
        self.entry(EntryType::Regular, path, content, mode, owner)
    }

    pub fn folder(self, path: &str, mode: u32, owner: u64) -> Self {
        self.entry(EntryType::Directory, path, b"", mode, owner)
    }

    /// An extended attribute of the entry that is put next.
    pub fn attribute(mut self, name: &str, value: &[u8]) -> Self {
        self.0.append_pax_extensions([(format!("SCHILY.xattr.{name}").as_str(), value)]).unwrap();
        self
    }

    pub fn link(mut self, kind: EntryType, path: &str, target: &str) -> Self {
        let mut header = header(kind, 0, 0o777, 0);
        self.0.append_link(&mut header, path, target).unwrap();
        self
    }

    fn entry(mut self, kind: EntryType, path: &str, content: &[u8], mode: u32, owner: u64) -> Self {
        let mut header = header(kind, content.len(), mode, owner);
        self.0.append_data(&mut header, path, content).unwrap();
        self
    }

    pub fn build(self) -> Vec<u8> {
        self.0.into_inner().unwrap()
    }
}

fn header(kind: EntryType, size: usize, mode: u32, owner: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(size as u64);
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner);
    header.set_mtime(FILE_TIME);
    header
}

/// An image, whose documents a test may forge before they are written.
pub struct Image {
    /// Their archives, lowest first.
    pub layers: Vec<Vec<u8>>,
    pub config: Value,
    /// Of its manifest.
    pub annotations: Value,
}

impl Image {
    pub fn of(layers: &[Vec<u8>]) -> Self {
        let contents: Vec<_> = layers.iter().map(|layer| Digest::of(layer)).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "rootfs": {"type": "layers", "diff_ids": contents},
        });
        Self { layers: layers.to_vec(), config, annotations: json!({}) }
    }

    /// The files of its layout.
    pub fn files(self) -> Vec<(String, Vec<u8>)> {
        let mut files = vec![("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec())];
        let mut put = |kind: &str, bytes: Vec<u8>| {
            let (digest, size) = (Digest::of(&bytes), bytes.len());
            files.push((format!("blobs/sha256/{}", digest.hex()), bytes));
            json!({"mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest, "size": size})
        };
        let layers: Vec<_> = self.layers.into_iter().map(|layer| put("layer.v1.tar", layer)).collect();
        let config = put("config.v1+json", self.config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": layers, "annotations": self.annotations,
        });
        let manifest = put("manifest.v1+json", manifest.to_string().into_bytes());
        let index = json!({"schemaVersion": 2, "manifests": [manifest]});
        files.push(("index.json".to_owned(), index.to_string().into_bytes()));
        files
    }
}

/// Writes an image of these layers, lowest first, as a layout. `process` is what it says of the processes in it.
pub fn write_layout(folder: &Path, layers: &[Vec<u8>], process: &Value) {
    let mut image = Image::of(layers);
    image.config["config"] = process.clone();
    files::write_all(folder, &image.files());
}

/// Carries the image of a layout into a registry, in the documents of `format`: `oci` or `v2s2`, which is docker's own.
#[track_caller]
pub fn push(layout: &Path, registry: &RealRegistry, reference: &str, format: &str) {
    let from = format!("oci:{}", layout.display());
    let to = format!("docker://{}/{reference}", registry.host());
    // A registry that lets anybody in does not ask for them.
    let credentials = format!("--dest-creds={USER}:{PASSWORD}");
    let copy = [
        "--insecure-policy",
        "copy",
        "--dest-tls-verify=false",
        &credentials,
        "--format",
        format,
        &from,
        &to,
    ];
    Run::new("skopeo").args(copy).finish().succeeds();
}
