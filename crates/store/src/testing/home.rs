//! A store in a temporary folder, and small whole snapshots for it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use format::map::MapBuilder;
use format::testing::Contents;
use format::{Digest, FullName, Map, PAGE_SIZE};

use rustix::fs::IFlags;

use crate::{Framing, Lease, Store};

const MEMORY_PAGES: u64 = 16;

pub(crate) struct Home {
    _folder: tempfile::TempDir,
    pub(crate) store: Store,
}

/// A new store, gone when dropped.
pub(crate) fn home() -> Home {
    // Nothing here survives the test, so syncing to a disk would prove nothing.
    let folder = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
    let store = Store::open(&folder.path().join("root")).unwrap();
    Home { _folder: folder, store }
}

pub(crate) fn name(text: &str) -> FullName {
    text.parse().unwrap()
}

/// Pages of bytes that depend on `text` and on nothing else.
pub(crate) fn pages(text: &str, count: u64) -> Vec<u8> {
    let line = format!("{text} ");
    line.bytes().cycle().take(usize::try_from(count * PAGE_SIZE).unwrap()).collect()
}

/// The content of the layer `text`.
pub(crate) fn layer(text: &str) -> Vec<u8> {
    pages(text, 3)
}

/// Stores a whole snapshot: layers of these names, and state, memory and writable disk that are `unique` to it.
pub(crate) fn put_snapshot(store: &Store, lease: &Lease, layers: &[&str], unique: &str) -> Digest {
    let framed = |text: &&str| {
        let content = layer(text);
        let pages = content.len() as u64 / PAGE_SIZE;
        (Digest::of(&content), store.write_layer_frames(lease, &file(&content), pages).unwrap())
    };
    let layers: Vec<_> = layers.iter().map(framed).collect();
    let lowest = layers.first().map(|(content, _)| *content);
    let contents = Contents {
        state: unique,
        memory: private_map(store, lease, &format!("memory {unique}"), lowest),
        writable: private_map(store, lease, &format!("writable {unique}"), None),
        layers,
    };
    contents.put(|bytes| Ok(store.put_blob(lease, bytes)?)).unwrap().digest
}

/// A map with two pages of frames, and one of `layer` if there is one.
fn private_map(store: &Store, lease: &Lease, text: &str, layer: Option<Digest>) -> Map {
    let blobs = store.write_frames(lease, &file(&pages(text, 2)), [(0, 2)], Framing::PRIVATE).unwrap();
    let mut builder = MapBuilder::new(MEMORY_PAGES);
    builder.blob(3, 2, &blobs[0], 0).unwrap();
    if let Some(layer) = layer {
        builder.layer(8, 1, layer, 1).unwrap();
    }
    builder.finish().unwrap()
}

fn file(content: &[u8]) -> std::fs::File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}

/// A folder that cannot be removed until this is dropped.
pub(crate) struct Stuck(std::fs::File);

impl Stuck {
    /// Makes one with a file in it; nothing where this user can remove everything.
    pub(crate) fn new(path: &Path) -> Option<Self> {
        fs::create_dir(path).unwrap();
        fs::write(path.join("x"), b"x").unwrap();
        let folder = fs::File::open(path).unwrap();
        if rustix::process::geteuid().is_root() {
            // Tells root that it may not, where the filesystem can.
            return rustix::fs::ioctl_setflags(&folder, IFlags::IMMUTABLE).is_ok().then_some(Self(folder));
        }
        folder.set_permissions(fs::Permissions::from_mode(0o500)).unwrap();
        Some(Self(folder))
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        rustix::fs::ioctl_setflags(&self.0, IFlags::empty()).ok();
        self.0.set_permissions(fs::Permissions::from_mode(0o700)).ok();
    }
}
