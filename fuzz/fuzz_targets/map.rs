//! Maps: one encoding each, and ranges that lie where they say.

#![no_main]

use format::limits::{BLOB_BYTES, LAYERS, MAP_BLOBS, MAP_BYTES, MAP_EXTENTS};
use format::map::{Codec, Extent, MapBuilder, Source};
use format::{Map, zstd_frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|blob: &[u8]| {
    let parsed = fuzz::memory::within(bound(blob), || Map::parse(blob));
    let as_layer = Map::parse_layer(blob);
    let Ok(map) = parsed else {
        assert!(as_layer.is_err(), "a layer's map is a map");
        return;
    };
    assert_eq!(as_layer.is_ok(), is_layer(&map));
    check(&map);
    assert_eq!(rebuilt(&map), map);
    let plain = map.encode(Codec::Plain).expect("what was read can be written");
    if blob.first() == Some(&(Codec::Plain as u8)) {
        assert_eq!(plain, blob, "it has a second encoding");
    }
    for encoded in [plain, map.encode(Codec::Zstd).expect("what was read can be written")] {
        assert_eq!(Map::parse(&encoded).as_ref(), Ok(&map));
    }
});

/// The memory that reading it may take: its plain bytes, and some times as much for what they say.
fn bound(blob: &[u8]) -> usize {
    let plain = match blob.split_first() {
        Some((1, frame)) => zstd_frame::content_size(frame).map_or(0, |size| size as usize).min(MAP_BYTES),
        _ => blob.len(),
    };
    (64 << 10) + plain + (16 * plain).min(64 << 20)
}

/// All that whoever lays a map out relies on.
fn check(map: &Map) {
    assert!((1..=u64::from(u32::MAX)).contains(&map.pages()));
    assert!(map.blobs().len() <= MAP_BLOBS && map.layers().len() <= LAYERS);
    assert!(map.extents().len() <= MAP_EXTENTS);
    for blob in map.blobs() {
        assert!(blob.size <= BLOB_BYTES && blob.index_offset + blob.index_length == blob.size);
        assert!(blob.plain_pages > 0);
    }
    let mut before: Option<&Extent> = None;
    let (mut blobs, mut layers) = (vec![false; map.blobs().len()], vec![false; map.layers().len()]);
    for extent in map.extents() {
        assert!(extent.pages() > 0 && extent.end() <= map.pages());
        match extent.source() {
            Source::Blob(n) => {
                assert!(extent.page() + extent.pages() <= map.blobs()[n as usize].plain_pages);
                blobs[n as usize] = true;
            }
            Source::Layer(n) => layers[n as usize] = true,
        }
        if let Some(before) = before {
            assert!(before.end() <= extent.start());
            let touches = before.end() == extent.start() && before.source() == extent.source();
            assert!(!touches || before.page() + before.pages() != extent.page(), "two should be one");
        }
        before = Some(extent);
    }
    assert!(blobs.into_iter().chain(layers).all(|is_used| is_used));
    assert!(map.covered_pages() <= map.pages());
}

/// The same map as whoever writes one makes it.
fn rebuilt(map: &Map) -> Map {
    let mut builder = MapBuilder::new(map.pages());
    for extent in map.extents() {
        let (start, pages, page) = (extent.start(), extent.pages(), extent.page());
        match extent.source() {
            Source::Blob(n) => builder.blob(start, pages, &map.blobs()[n as usize], page),
            Source::Layer(n) => builder.layer(start, pages, map.layers()[n as usize], page),
        }
        .expect("what was read can be made");
    }
    builder.finish().expect("what was read can be made")
}

/// Whether whole blobs, in order, are all of it.
fn is_layer(map: &Map) -> bool {
    let of_extents = map.extents().iter().map(|extent| (extent.source(), extent.page(), extent.pages()));
    let of_blobs = map.blobs().iter().zip(0..).map(|(blob, n)| (Source::Blob(n), 0, blob.plain_pages));
    of_extents.eq(of_blobs) && map.covered_pages() == map.pages()
}
