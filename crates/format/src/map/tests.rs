//! Maps: golden bytes, round trips of random maps, and encodings that must be refused.
use super::*;
use proptest::prelude::*;

fn blob(name: &str, pages: u64) -> MapBlob {
    MapBlob {
        digest: Digest::of(name.as_bytes()),
        size: 1000,
        plain_pages: pages,
        index_offset: 900,
        index_length: 100,
        index_digest: Digest::of(b"index"),
    }
}

fn sample() -> Map {
    let (a, b) = (blob("a", 10), blob("b", 300));
    let mut builder = MapBuilder::new(1000);
    builder.blob(0, 2, &a, 0).unwrap();
    builder.blob(2, 3, &a, 2).unwrap();
    builder.layer(5, 1, Digest::of(b"layer"), 77).unwrap();
    builder.blob(500, 200, &b, 100).unwrap();
    builder.blob(700, 1, &a, 3).unwrap();
    builder.finish().unwrap()
}

#[test]
fn golden_plain_bytes() {
    let map = sample();
    assert_eq!(map.extents().len(), 4);
    let plain = map.encode(Codec::Plain).unwrap();
    assert_eq!(plain.len(), 208);
    assert_eq!(
        Digest::of(&plain).to_string(),
        "sha256:9857238a39aa532d48b7e9f9d1ed66cf1b12db85339c27dc954ed87201528258"
    );
    assert_eq!(Map::parse(&plain).unwrap(), map);
    assert_eq!(Map::parse(&map.encode(Codec::Zstd).unwrap()).unwrap(), map);
}

/// Encodes a map as it stands, canonical or not.
fn raw(change: impl FnOnce(&mut Map)) -> Result<Map, MapError> {
    let mut map = sample();
    change(&mut map);
    let mut bytes = vec![Codec::Plain as u8];
    codec::encode(&map, &mut bytes);
    Map::parse(&bytes)
}

#[test]
fn what_is_not_canonical_is_refused() {
    assert!(raw(|_| ()).is_ok());
    let split = raw(|map| {
        let first = map.extents[0];
        map.extents[0].pages = 2;
        map.extents.insert(1, Extent { start: 2, pages: 3, page: 2, ..first });
    });
    assert!(split.unwrap_err().to_string().contains("should be one"));
    assert!(raw(|map| map.blobs.push(blob("c", 1))).unwrap_err().to_string().contains("not used"));
    assert!(raw(|map| map.blobs[1] = map.blobs[0].clone()).is_err());
    let swapped = raw(|map| {
        map.blobs.swap(0, 1);
        map.extents.iter_mut().filter(|e| e.source < 2).for_each(|e| e.source ^= 1);
    });
    assert!(swapped.is_err());
    let plain = sample().encode(Codec::Plain).unwrap();
    assert!(Map::parse(&[plain.as_slice(), &[0]].concat()).is_err(), "a byte more");
    assert!(Map::parse(&plain[..plain.len() - 1]).is_err(), "a byte less");
}

#[test]
fn out_of_range_is_refused() {
    assert!(raw(|map| map.extents[0].page = 6).unwrap_err().to_string().contains("beyond its source"));
    assert!(raw(|map| map.pages = 700).unwrap_err().to_string().contains("beyond the address space"));
    assert!(raw(|map| map.extents[0].pages = 0).is_err());
    assert!(raw(|map| map.pages = 0).is_err());
    assert!(raw(|map| map.pages = 1 << 63).is_err());
    assert!(raw(|map| map.blobs[0].size = 1 << 63).is_err());
    assert!(raw(|map| map.blobs[0].plain_pages = 1 << 63).is_err());
    assert!(raw(|map| map.blobs[0].index_offset = u64::MAX).is_err());
    let mut builder = MapBuilder::new(10);
    builder.blob(4, 4, &blob("a", 10), 0).unwrap();
    builder.blob(7, 1, &blob("a", 10), 9).unwrap();
    assert!(builder.finish().unwrap_err().to_string().contains("overlap"));
}

#[test]
fn counts_are_checked_before_allocation() {
    let mut plain = b"\0SPOREMAP\0".to_vec();
    plain.extend([1, 0, 0]);
    plain.extend([0xFF, 0xFF, 0x7F]);
    assert!(Map::parse(&plain).unwrap_err().to_string().contains("cut short"));
    let too_many = [b"\0SPOREMAP\0".as_slice(), &[1, 0xFF, 0xFF, 0xFF, 0x7F]].concat();
    assert!(Map::parse(&too_many).unwrap_err().to_string().contains("blobs"));
}

#[test]
fn layer_maps_hold_whole_blobs_in_order() {
    let (a, b) = (blob("a", 10), blob("b", 5));
    let mut builder = MapBuilder::new(15);
    builder.blob(0, 10, &a, 0).unwrap();
    builder.blob(10, 5, &b, 0).unwrap();
    assert_eq!(builder.finish().unwrap().check_layer(), Ok(()));
    assert!(sample().check_layer().is_err());
    let mut short = MapBuilder::new(16);
    short.blob(0, 10, &a, 0).unwrap();
    assert!(short.finish().unwrap().check_layer().is_err());
}

prop_compose! {
    fn runs()(runs in proptest::collection::vec((0_u64..5, 1_u64..9, 0_u8..6, 0_u64..50), 0..60))
        -> Vec<(u64, u64, u8, u64)> { runs }
}

proptest! {
    #[test]
    fn round_trip(runs in runs()) {
        let mut builder = MapBuilder::new(2000);
        let mut expected = vec![None; 2000];
        let mut at = 0;
        for (gap, pages, source, page) in runs {
            at += gap;
            match source {
                0..4 => builder.blob(at, pages, &blob(&source.to_string(), 100), page).unwrap(),
                _ => builder.layer(at, pages, Digest::of(&[source]), page).unwrap(),
            }
            for n in 0..pages {
                expected[(at + n) as usize] = Some((source, page + n));
            }
            at += pages;
        }
        let map = builder.finish().unwrap();
        for codec in [Codec::Plain, Codec::Zstd] {
            prop_assert_eq!(&Map::parse(&map.encode(codec).unwrap()).unwrap(), &map);
        }
        let mut found = vec![None; 2000];
        for extent in map.extents() {
            for n in 0..extent.pages() {
                let source = (0..6).find(|s| match extent.source() {
                    Source::Blob(b) => *s < 4 && map.blobs()[b as usize].digest == Digest::of(s.to_string().as_bytes()),
                    Source::Layer(l) => *s >= 4 && map.layers()[l as usize] == Digest::of(&[*s]),
                });
                found[(extent.start() + n) as usize] = source.map(|s| (s, extent.page() + n));
            }
        }
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn changed_bytes_never_panic_and_never_parse_to_another_encoding(position in 0_usize..208, bit in 0_u8..8) {
        let mut plain = sample().encode(Codec::Plain).unwrap();
        plain[position] ^= 1 << bit;
        if let Ok(map) = Map::parse(&plain) {
            prop_assert_eq!(map.encode(Codec::Plain).unwrap(), plain);
        }
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Map::parse(&bytes);
        let _ = Map::parse(&[b"\0SPOREMAP\0", bytes.as_slice()].concat());
    }
}
