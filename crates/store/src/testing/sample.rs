//! A small snapshot that is valid in every respect but that no engine can run.

use std::fs::File;
use std::io::{self, Write};

use format::config::layer_id;
use format::map::MapBuilder;
use format::testing::{Contents, SampleError};
use format::{Config, Digest, Manifest, Map, PAGE_SIZE};

use crate::{Framing, Lease, Store};

/// What the sample is to be like. Its pages are noise, so that they do not get smaller when they are compressed.
#[derive(Debug, Clone, Copy)]
pub struct SampleSpec<'a> {
    /// Makes memory and writable disk different from those of other samples. Layers are the same in all.
    pub seed: &'a str,
    /// Layers, 1 to 12.
    pub layers: u8,
    /// Pages of each layer, at least 1.
    pub layer_pages: u64,
    /// Pages of memory that are not zero, at least 1.
    pub memory_pages: u64,
}

impl Default for SampleSpec<'_> {
    fn default() -> Self {
        Self { seed: "sample", layers: 2, layer_pages: 2, memory_pages: 3 }
    }
}

/// A snapshot in a store.
#[derive(Debug)]
pub struct Sample {
    /// Its digest.
    pub digest: Digest,
    /// Its manifest.
    pub manifest: Manifest,
    /// Its config.
    pub config: Config,
    /// Keeps it.
    pub lease: Lease,
}

/// Puts a snapshot into `store`.
///
/// # Errors
/// If the spec is out of bounds, or the store fails.
pub fn put_sample(store: &Store, spec: &SampleSpec<'_>) -> Result<Sample, SampleError> {
    let lease = store.lease()?;
    let mut layers = Vec::new();
    for n in 0..spec.layers {
        let content = noise(&layer_id(n), spec.layer_pages);
        let map = store.write_layer_frames(&lease, &file_of(&content)?, spec.layer_pages)?;
        layers.push((Digest::of(&content), map));
    }
    let memory = private_map(store, &lease, &format!("memory of {}", spec.seed), spec.memory_pages, &layers)?;
    let writable = private_map(store, &lease, &format!("disk of {}", spec.seed), 1, &[])?;
    let contents = Contents { state: spec.seed, memory, layers, writable };
    let made = contents.put(|bytes| Ok(store.put_blob(&lease, bytes)?))?;
    Ok(Sample { digest: made.digest, manifest: made.manifest, config: made.config, lease })
}

/// `pages` pages of noise at the start of at least 4 MiB, whose last pages come from the first page of each layer.
fn private_map(
    store: &Store,
    lease: &Lease,
    seed: &str,
    pages: u64,
    layers: &[(Digest, Map)],
) -> Result<Map, SampleError> {
    let file = file_of(&noise(seed, pages))?;
    let size = (pages + 16).max(1024);
    let mut builder = MapBuilder::new(size);
    let mut start = 0;
    for blob in store.write_frames(lease, &file, [(0, pages)], Framing::PRIVATE)? {
        builder.blob(start, blob.plain_pages, &blob, 0)?;
        start += blob.plain_pages;
    }
    for (page, (content, _)) in (size - layers.len() as u64..).zip(layers) {
        builder.layer(page, 1, *content, 0)?;
    }
    Ok(builder.finish()?)
}

fn file_of(bytes: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("sample", rustix::fs::MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    Ok(file)
}

/// Pages that do not compress, the same for the same seed (xorshift64).
fn noise(seed: &str, pages: u64) -> Vec<u8> {
    let start =
        Digest::of(seed.as_bytes()).as_bytes().first_chunk().map_or(1, |seed| u64::from_le_bytes(*seed));
    let mut state = start | 1;
    let words = (0..pages * PAGE_SIZE / 8).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.collect()
}
