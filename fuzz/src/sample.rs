//! Snapshots, small and valid, for what begins with one.

use std::error::Error;

use format::frame::BlobBuilder;
use format::map::{Codec, MapBlob, MapBuilder};
use format::testing;
use format::{Config, Digest, Manifest, Map, Maps, PAGE_SIZE, zstd_frame};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Pages with little in them, which compress well.
pub fn pages(seed: u8, count: u64) -> Vec<u8> {
    let page =
        |n: u64| (0..PAGE_SIZE).map(move |at| if at % 512 == 0 { seed.wrapping_add(n as u8) } else { 0 });
    (0..count).flat_map(page).collect()
}

/// A frame blob with a frame for each of `frames`, and what a map says of it.
fn blob(frames: &[Vec<u8>]) -> Result<(Vec<u8>, MapBlob)> {
    let (mut builder, mut bytes) = (BlobBuilder::default(), Vec::new());
    for plain in frames {
        let compressed = zstd_frame::encode(plain)?;
        builder.push(&compressed, plain.len())?;
        bytes.extend(compressed);
    }
    let index = builder.finish();
    bytes.extend(index.encode());
    let digest = Digest::of(&bytes);
    Ok((bytes, MapBlob::new(digest, &index)))
}

/// A snapshot, and all that it consists of.
pub struct Sample {
    pub config: Config,
    pub maps: Maps,
    pub manifest: Manifest,
    /// In an order in which none needs a later one; maps with this codec.
    pub blobs: Vec<Vec<u8>>,
}

/// A snapshot of so many layers, whose maps are encoded so.
///
/// # Errors
/// None: it is always the same.
pub fn sample(layers: u8, codec: Codec) -> Result<Sample> {
    let mut blobs = Vec::new();
    let mut config = testing::config(layers, PAGE_SIZE);
    let (mut layer_maps, mut contents) = (Vec::new(), Vec::new());
    for n in 0..layers {
        let content = pages(n, 1);
        let (bytes, blob) = blob(std::slice::from_ref(&content))?;
        let mut builder = MapBuilder::new(1);
        builder.blob(0, 1, &blob, 0)?;
        blobs.push(bytes);
        layer_maps.push(builder.finish()?);
        contents.push(Digest::of(&content));
    }
    let (bytes, of_memory) = blob(&[pages(100, 2), pages(110, 1)])?;
    blobs.push(bytes);
    let mut memory = MapBuilder::new(1024);
    memory.blob(3, 2, &of_memory, 0)?;
    memory.blob(700, 1, &of_memory, 2)?;
    memory.layer(1023, 1, contents[0], 0)?;
    let (bytes, of_disk) = blob(&[pages(120, 1)])?;
    blobs.push(bytes);
    let mut disk = MapBuilder::new(256);
    disk.blob(1, 1, &of_disk, 0)?;
    let maps =
        Maps { memory: memory.finish()?, disks: layer_maps.into_iter().chain([disk.finish()?]).collect() };

    let mut keep = |bytes: Vec<u8>| {
        let digest = Digest::of(&bytes);
        if !blobs.contains(&bytes) {
            blobs.push(bytes);
        }
        digest
    };
    config.engine.state = keep(zstd_frame::encode(b"state")?);
    config.machine.kernel.image = keep(b"a kernel".to_vec());
    config.machine.kernel.initrd = keep(zstd_frame::encode(b"an initrd")?);
    config.memory.map = keep(maps.memory.encode(codec)?);
    for (n, (disk, map)) in config.disks.iter_mut().zip(&maps.disks).enumerate() {
        disk.map = keep(map.encode(codec)?);
        disk.content = contents.get(n).copied();
        disk.size = map.bytes();
    }
    let encoded = config.encode()?;
    let size =
        |digest: &Digest| blobs.iter().find(|blob| Digest::of(blob) == *digest).map_or(0, Vec::len) as u64;
    let manifest = testing::manifest(&config, &encoded, &maps, size);
    blobs.push(encoded);
    blobs.push(manifest.encode()?);
    Ok(Sample { config, maps, manifest, blobs })
}

/// A map of several blobs and layers, with and without gaps.
pub fn many_extents() -> Result<Map> {
    let mut builder = MapBuilder::new(1 << 20);
    let blobs = [blob(&[pages(1, 40)])?.1, blob(&[pages(2, 200)])?.1];
    for n in 0..20 {
        builder.blob(n * 50, 1 + n % 7, &blobs[n as usize % 2], n % 9)?;
        builder.layer(n * 50 + 10, 1 + n, Digest::of(&[n as u8 % 3]), n * 300)?;
    }
    Ok(builder.finish()?)
}
