//! A snapshot as large as is wanted, for measurements: `huge ROOT MEMORY_GIB LAYERS_GIB`.
//!
//! Memory and layers are sparse files, of which one page in 128 is not zero, so that a disk can hold them; what is made of them are the
//! pieces, frames and maps of a snapshot of that size. It is made as a bake makes one once its guest is frozen: layers are framed,
//! their pages indexed, memory is sorted and framed. No engine can run it. It is `local/huge:latest`.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool of measurements ends with what it cannot do, and its results are its output"
)]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use format::map::MapBuilder;
use format::testing::Contents;
use format::{Digest, Hasher, Map, PAGE_SIZE};
use memory::{Content, LayerPages, Run};
use store::{Framing, Lease, Store};

/// As many as a machine may well have; at most 12.
const LAYERS: u64 = 4;
/// Of so many pages one is not zero.
const SPARSE: u64 = 128;
const PAGES_PER_GIB: u64 = (1 << 30) / PAGE_SIZE;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("usage: huge ROOT MEMORY_GIB LAYERS_GIB");
    let (root, memory, layers) = (next(), next(), next());
    let gibibytes = |text: String| text.parse::<u64>().expect("GiB") * PAGES_PER_GIB;
    let digest = put(Path::new(&root), gibibytes(memory), gibibytes(layers) / LAYERS);
    println!("{digest}");
}

/// Makes it of memory and layers of so many pages each.
fn put(root: &Path, memory_pages: u64, layer_pages: u64) -> Digest {
    let store = Store::open(root).expect("a store");
    let lease = store.lease().expect("a lease");
    let work = store.work_folder().expect("a folder");
    let file = |name: &str, pages: u64| {
        let path = work.path().join(name);
        let file = File::options().read(true).write(true).create_new(true).open(path).expect("a file");
        file.set_len(pages * PAGE_SIZE).expect("a file of that size");
        file
    };
    let mut files = Vec::new();
    let mut layers = Vec::new();
    for layer in 0..LAYERS {
        let file = file(&format!("layer{layer}"), layer_pages);
        (0..layer_pages).step_by(step()).for_each(|page| write_page(&file, page, &layer_page(layer, page)));
        let map = store.write_layer_frames(&lease, &file, layer_pages).expect("frames");
        layers.push((digest(&file), map));
        files.push(file);
    }
    let image = file("memory", memory_pages);
    // Of those that are not zero, every second one is a layer's.
    for (n, page) in (0..).zip((0..memory_pages).step_by(step())) {
        let known = layer_page(n % LAYERS, (n * SPARSE) % layer_pages);
        let content = if n % 2 == 0 { noise(u64::MAX - page) } else { known };
        write_page(&image, page, &content);
    }
    let index = LayerPages::index(files.iter().collect()).expect("an index");
    let runs = memory::scan(&image, Some(&index)).expect("runs");
    drop(index);
    let memory = map(&store, &lease, &layers, &image, memory_pages, &runs);
    let disk = file("writable", SPARSE);
    write_page(&disk, 1, &noise(1));
    let runs = memory::scan(&disk, None).expect("runs");
    let writable = map(&store, &lease, &[], &disk, SPARSE, &runs);
    let contents = Contents { state: "huge", memory, layers, writable };
    let made = contents.put(|bytes| Ok(store.put_blob(&lease, bytes)?)).expect("a snapshot");
    store.set_ref(&"local/huge:latest".parse().expect("a name"), &made.digest, None).expect("a tag");
    made.digest
}

/// Stores the new pages of runs, and maps all of them.
fn map(store: &Store, lease: &Lease, layers: &[(Digest, Map)], file: &File, pages: u64, runs: &[Run]) -> Map {
    let new = runs.iter().filter(|run| run.content == Content::New);
    let new = new.map(|run| (u64::from(run.start), u64::from(run.pages)));
    let blobs = store.write_frames(lease, file, new, Framing::PRIVATE).expect("frames");
    let mut builder = MapBuilder::new(pages);
    let mut stored = blobs.iter().flat_map(|blob| (0..blob.plain_pages).map(move |page| (blob, page)));
    for run in runs {
        let start = u64::from(run.start);
        match run.content {
            Content::Layer { layer, page } => {
                let (content, _) = layers.get(usize::from(layer)).expect("a layer");
                builder.layer(start, run.pages.into(), *content, page.into()).expect("it fits");
            }
            Content::New => {
                for (page, (blob, at)) in (start..).zip(stored.by_ref().take(run.pages as usize)) {
                    builder.blob(page, 1, blob, at).expect("it fits");
                }
            }
        }
    }
    builder.finish().expect("a map")
}

fn step() -> usize {
    usize::try_from(SPARSE).expect("it is small")
}

fn layer_page(layer: u64, page: u64) -> Vec<u8> {
    noise((layer + 1) << 48 | page)
}

/// A page that cannot be compressed, the same for the same seed: SplitMix64 (Steele, Lea, Flood 2014).
fn noise(seed: u64) -> Vec<u8> {
    const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;
    let words = (1..=PAGE_SIZE / 8).map(|n| {
        // Streams of neighbouring seeds would overlap.
        let mixed = mix(seed).wrapping_add(n.wrapping_mul(GAMMA));
        mix(mixed).to_le_bytes()
    });
    words.flatten().collect()
}

fn mix(mut word: u64) -> u64 {
    word = (word ^ word >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    word = (word ^ word >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ word >> 31
}

fn write_page(file: &File, page: u64, bytes: &[u8]) {
    file.write_all_at(bytes, page * PAGE_SIZE).expect("the disk has room");
}

/// The sha256 of a file.
fn digest(file: &File) -> Digest {
    let (mut hasher, mut buffer, mut at) = (Hasher::new(), vec![0; 1 << 20], 0);
    loop {
        let length = file.read_at(&mut buffer, at).expect("it can be read");
        let Some(read) = buffer.get(..length).filter(|read| !read.is_empty()) else { return hasher.finish() };
        hasher.update(read);
        at += length as u64;
    }
}
