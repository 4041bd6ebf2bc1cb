//! A snapshot's blobs, read by what docs/format.md says and not by the code under test: without store and
//! decoder of frames, by zstd alone. What this says was frozen is what a test compares with.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use format::map::Source;
use format::{Config, Digest, Hasher, Manifest, Map, PAGE_SIZE};

/// A snapshot in a folder of blobs: a store's root, or a directory hub.
#[derive(Debug)]
pub struct Frozen {
    blobs: PathBuf,
    pub manifest: Manifest,
    pub config: Config,
}

impl Frozen {
    /// The snapshot `digest` in `folder`.
    #[track_caller]
    pub fn open(folder: &Path, digest: &Digest) -> Self {
        let blobs = folder.join("blobs/sha256");
        let read = |digest: &Digest| fs::read(blobs.join(digest.hex())).expect("a blob can be read");
        let manifest = Manifest::parse(&read(digest)).expect("a manifest");
        let config = Config::parse(&read(&manifest.config.digest)).expect("a config");
        Self { blobs, manifest, config }
    }

    /// Where a blob lies.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.blobs.join(digest.hex())
    }

    /// The sha256 of all bytes that the writable disk had.
    #[track_caller]
    pub fn writable_disk(&self) -> Digest {
        let disk = self.config.disks.last().expect("the writable disk comes last");
        let map = Map::parse(&fs::read(self.path(&disk.map)).expect("a map can be read")).expect("a map");
        let streams: HashMap<_, _> =
            map.blobs().iter().map(|blob| (blob.digest, self.plain(&blob.digest))).collect();
        let mut hasher = Hasher::new();
        let mut done = 0;
        for extent in map.extents() {
            zeros(extent.start() - done, &mut hasher);
            let Source::Blob(number) = extent.source() else { panic!("a disk has a layer's pages") };
            let stream = &streams[&map.blobs()[number as usize].digest];
            hasher.update(&stream[bytes(extent.page())..bytes(extent.page() + extent.pages())]);
            done = extent.end();
        }
        zeros(map.pages() - done, &mut hasher);
        hasher.finish()
    }

    /// A frame blob's plain stream.
    #[track_caller]
    fn plain(&self, digest: &Digest) -> Vec<u8> {
        let mut plain = Vec::new();
        decoder(&self.path(digest))
            .and_then(|mut frames| frames.read_to_end(&mut plain))
            .expect("a frame blob");
        plain
    }
}

/// Reads the plain bytes of a `.zst` file: of all its frames, and nothing of its skippable ones.
///
/// # Errors
/// If the file cannot be read.
pub fn decoder(path: &Path) -> io::Result<impl Read + use<>> {
    zstd::Decoder::new(fs::File::open(path)?)
}

fn zeros(pages: u64, hasher: &mut Hasher) {
    let page = vec![0; bytes(1)];
    (0..pages).for_each(|_| hasher.update(&page));
}

fn bytes(pages: u64) -> usize {
    usize::try_from(pages * PAGE_SIZE).expect("it fits into memory")
}
