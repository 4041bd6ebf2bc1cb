//! A small snapshot that is valid in every respect but that no engine can run, and a blob that is in memory: for
//! tests of this and other crates.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::net::Ipv4Addr;

use async_trait::async_trait;
use format::config::{
    Accelerator, Architecture, Config, Cpu, Disk, DiskRole, Engine, EngineKind, Kernel, Lineage, Machine,
    Memory, Network, Profile, Provenance, StateFormat, layer_id,
};
use format::manifest::media_type;
use format::map::{Codec, MapBuilder};
use format::{Descriptor, Digest, Manifest, Map, Maps, PAGE_SIZE, snapshot, zstd_frame};
use store::{Framing, Lease, Store};
use tokio::io::AsyncReadExt;

use crate::{BlobReader, BlobSource};

/// Why a sample could not be made.
pub type SampleError = Box<dyn Error + Send + Sync>;

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
    let put_map = |map: &Map| Ok::<_, SampleError>(store.put_blob(&lease, &map.encode(Codec::Zstd)?)?);
    let layer = |(n, (content, map)): (u8, &(Digest, Map))| {
        let (id, size) = (layer_id(n), map.bytes());
        Ok::<_, SampleError>(Disk {
            id,
            role: DiskRole::Layer,
            size,
            map: put_map(map)?,
            content: Some(*content),
        })
    };
    let mut disks = (0..).zip(&layers).map(layer).collect::<Result<Vec<_>, _>>()?;
    disks.push(Disk {
        id: "writable".into(),
        role: DiskRole::Writable,
        size: writable.bytes(),
        map: put_map(&writable)?,
        content: None,
    });
    let config = Config {
        version: 0,
        architecture: Architecture::Amd64,
        machine: machine(spec.layers, memory.bytes(), put_kernel(store, &lease)?)?,
        engine: Engine {
            kind: EngineKind::Qemu,
            version: "10.0.2".into(),
            machine_type: "pc-q35-7.2".into(),
            accelerator: Accelerator::Tcg,
            cpu: Cpu { model: "Haswell-noTSX".into(), features: vec!["-cx16".into()] },
            state_format: StateFormat::QemuDevicesV1,
            state: store.put_blob(&lease, &zstd_frame::encode(spec.seed.as_bytes())?)?,
        },
        memory: Memory { map: put_map(&memory)? },
        disks,
        lineage: Lineage::default(),
        provenance: Provenance::default(),
        attachments: Vec::new(),
    };
    let maps = Maps { memory, disks: layers.into_iter().map(|(_, map)| map).chain([writable]).collect() };
    finish(store, lease, config, &maps)
}

fn finish(store: &Store, lease: Lease, config: Config, maps: &Maps) -> Result<Sample, SampleError> {
    let descriptor = |media_type: &str, digest: Digest| {
        let size = store.blob_size(&digest)?;
        Ok::<_, SampleError>(Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size,
            annotations: BTreeMap::new(),
        })
    };
    let parts = snapshot::closure(&config, maps);
    let parts = parts.iter().map(|part| descriptor(&part.media_type, part.digest));
    let layers = parts.collect::<Result<_, _>>()?;
    let config_digest = store.put_blob(&lease, &config.encode()?)?;
    let manifest = Manifest::new(descriptor(media_type::CONFIG, config_digest)?, layers, BTreeMap::new());
    let digest = store.put_blob(&lease, &manifest.encode()?)?;
    Ok(Sample { digest, manifest, config, lease })
}

fn machine(layers: u8, memory: u64, kernel: Kernel) -> Result<Machine, SampleError> {
    let profile = Profile::Q35V1;
    let address = |last| Ipv4Addr::new(10, 0, 2, last);
    Ok(Machine {
        profile,
        vcpus: 1,
        memory: profile.memory_regions(memory),
        devices: profile.devices(layers),
        network: Network {
            mac: "52:54:00:12:34:56".parse()?,
            address: address(15),
            prefix: 24,
            gateway: address(2),
            dns: address(3),
        },
        kernel,
    })
}

fn put_kernel(store: &Store, lease: &Lease) -> Result<Kernel, SampleError> {
    let image = store.put_blob(lease, b"a kernel")?;
    let initrd = store.put_blob(lease, &zstd_frame::encode(b"an initrd")?)?;
    Ok(Kernel { command_line: "quiet".into(), image, initrd })
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
    for blob in store.write_frames(lease, &file, &[(0, pages)], Framing::PRIVATE)? {
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

/// A blob in memory.
#[derive(Debug, Clone)]
pub struct MemorySource {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Whether reading fails behind the last of them.
    pub fails: bool,
}

#[async_trait]
impl BlobSource for MemorySource {
    async fn open(&self) -> io::Result<BlobReader> {
        let bytes = io::Cursor::new(self.bytes.clone());
        Ok(if self.fails { Box::pin(bytes.chain(Failing)) } else { Box::pin(bytes) })
    }
}

/// A reader that only fails.
#[derive(Debug, Clone, Copy)]
pub struct Failing;

impl tokio::io::AsyncRead for Failing {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<io::Result<()>> {
        std::task::Poll::Ready(Err(io::Error::other("broken for a test")))
    }
}
