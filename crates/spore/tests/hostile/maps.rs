//! Maps that reach where nothing is, or that have a second spelling.

use format::Digest;

use crate::case::{Case, arrival};
use crate::forge::Draft;
use crate::raw::{RawExtent, put, zigzag};

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        arrival("an empty map", &["map", "codec"], |draft| set(draft, b"")),
        arrival("an unknown codec", &["map", "codec"], |draft| {
            let plain = draft.blob(draft.map_digest("writable"));
            set(draft, &[&[2], &plain[1..]].concat());
        }),
        arrival("a map without its end", &["map", "cut short"], |draft| {
            draft.edit_map_bytes("writable", |plain| plain.truncate(plain.len() - 1));
        }),
        arrival("a map of its beginning alone", &["map", "cut short"], |draft| {
            draft.edit_map_bytes("writable", |plain| plain.truncate(12));
        }),
        arrival("another kind of file", &["does not begin as a map"], |draft| {
            set(draft, b"\0QFI\xFB\0\0\0\x03\0\0\0\0");
        }),
        arrival("another version", &["does not begin as a map"], |draft| {
            draft.edit_map_bytes("writable", |plain| plain[8] = 1);
        }),
        arrival("bytes behind the end", &["not encoded canonically"], |draft| {
            draft.edit_map_bytes("writable", |plain| plain.push(0));
        }),
        arrival("a number with a zero too many", &["not encoded canonically"], |draft| {
            draft.edit_map_bytes("writable", |plain| {
                let end = (9..).find(|at| plain[*at] < 0x80).expect("a varint ends");
                plain[end] |= 0x80;
                plain.insert(end + 1, 0);
            });
        }),
        arrival("a number of 70 bits", &["exceeds 64 bits"], |draft| {
            draft.edit_map_bytes("writable", |plain| drop(plain.splice(9..9, [0xFF; 10])));
        }),
    ];
    cases.extend(compressed());
    cases.extend(extents());
    cases.extend(sources());
    cases.extend(disks());
    cases
}

fn set(draft: &mut Draft, bytes: &[u8]) {
    draft.replace(draft.map_digest("writable"), bytes);
}

/// Maps in a zstd frame.
fn compressed() -> Vec<Case> {
    vec![
        arrival("a frame that is damaged", &["map", "zstd"], |draft| {
            let mut bytes = draft.map("writable").encode(format::map::Codec::Zstd).expect("a true map");
            let middle = bytes.len() / 2;
            bytes.splice(middle.., [0xFF; 40]);
            set(draft, &bytes);
        }),
        arrival("a frame that says 2^62 bytes", &["4611686018427387904", "33554432"], |draft| {
            // Magic, a header with eight bytes of content size and one of window, one empty last block.
            let mut bytes = vec![1, 0x28, 0xB5, 0x2F, 0xFD, 0xC0, 0x58];
            bytes.extend((1_u64 << 62).to_le_bytes());
            bytes.extend([1, 0, 0]);
            set(draft, &bytes);
        }),
        arrival("a frame of 65 MiB of zeros", &["33554432"], |draft| {
            let bomb = zstd::bulk::compress(&vec![0; 65 << 20], 3).expect("zstd compresses");
            set(draft, &[&[1], bomb.as_slice()].concat());
        }),
        arrival("a frame without its content size", &["zstd frame"], |draft| {
            let plain = draft.map("writable").encode(format::map::Codec::Plain).expect("a true map");
            let frame = zstd::stream::encode_all(&plain[1..], 3).expect("zstd compresses");
            set(draft, &[&[1], frame.as_slice()].concat());
        }),
        arrival("two frames", &["zstd frame"], |draft| {
            let bytes = draft.map("writable").encode(format::map::Codec::Zstd).expect("a true map");
            set(draft, &[bytes.as_slice(), &bytes[1..]].concat());
        }),
    ]
}

fn extents() -> Vec<Case> {
    vec![
        arrival("an extent beyond the disk", &["beyond the address space"], |draft| {
            draft.edit_map("writable", |map| map.extents.last_mut().expect("extents").gap += 1 << 20);
        }),
        arrival("an extent beyond all numbers", &["too large"], |draft| {
            draft.edit_map("writable", |map| map.extents.last_mut().expect("extents").gap = u64::MAX);
        }),
        arrival("an extent that overlaps the one before it", &["too large"], |draft| {
            // Gaps are not signed: were they added without a look at what is lost, this one would go back by a page.
            draft.edit_map("writable", |map| {
                map.extents.last_mut().expect("extents").gap = u64::from(u32::MAX);
            });
        }),
        arrival("an extent that wraps around", &["too large"], |draft| {
            draft.edit_map("writable", |map| {
                map.extents.last_mut().expect("extents").pages = u64::from(u32::MAX);
            });
        })
        .unpack_says(&["beyond its source"]),
        arrival("an extent without pages", &["extent is empty"], |draft| {
            draft.edit_map("writable", |map| map.extents.last_mut().expect("extents").pages = 0);
        }),
        arrival("an extent beyond its source", &["beyond its source"], |draft| {
            draft.edit_map("writable", |map| map.extents.last_mut().expect("extents").page += 1 << 20);
        }),
        arrival("an extent before its source", &["too large"], |draft| {
            draft.edit_map("writable", |map| map.extents[0].page = 1);
        }),
        arrival("two extents that should be one", &["two extents should be one"], |draft| {
            draft.edit_map("memory", |map| {
                let at = map.extents.iter().position(|extent| extent.pages > 1).expect("a long extent");
                map.extents[at].pages -= 1;
                let RawExtent { source, .. } = map.extents[at];
                map.extents.insert(at + 1, RawExtent { gap: 0, pages: 1, source, page: 0 });
            });
        }),
        arrival("2^40 extents", &["extents", "2097152"], |draft| {
            draft.edit_map("writable", |map| map.counts[2] = Some(1 << 40));
        }),
        arrival("two million extents in a few bytes", &["cut short"], |draft| {
            draft.edit_map("writable", |map| map.counts[2] = Some(1 << 21));
        }),
        arrival("more extents than pages", &["beyond the address space"], |draft| {
            let disks = draft.config["disks"].as_array_mut().expect("disks");
            disks.last_mut().expect("the writable disk")["size"] = serde_json::json!(2 * 4096);
            draft.edit_map("writable", |map| {
                map.pages = 2;
                // Each follows on the one before it, of the same page.
                let again = RawExtent { gap: 0, pages: 1, source: 0, page: zigzag(-1) };
                map.extents = vec![RawExtent { page: 0, ..again }, again, again];
            });
        }),
        arrival("a disk without pages", &["no pages"], |draft| {
            draft.edit_map("writable", |map| map.pages = 0);
        }),
        arrival("a disk of 2^32 pages", &["no pages, or more than 2^32 - 1"], |draft| {
            draft.edit_map("writable", |map| map.pages = 1 << 32);
        }),
        arrival("a disk of 2^63 pages", &["no pages, or more than 2^32 - 1"], |draft| {
            draft.edit_map("writable", |map| map.pages = 1 << 63);
        }),
    ]
}

fn sources() -> Vec<Case> {
    vec![
        arrival("a source that is not listed", &["source", "at most"], |draft| {
            draft.edit_map("writable", |map| map.extents[0].source = 1);
        }),
        arrival("a blob that is not used", &["a source is not used"], |draft| {
            draft.edit_map("writable", |map| {
                let mut more = map.blobs[0].clone();
                more.digest = Digest::of(b"not used");
                map.blobs.push(more);
            });
        }),
        arrival("a blob that is listed twice", &["a source is listed twice"], |draft| {
            draft.edit_map("writable", |map| {
                map.blobs.push(map.blobs[0].clone());
                let last = map.extents.last_mut().expect("extents");
                (last.source, last.page) = (1, 0);
            });
        })
        .unpack_says(&["order of their first use"]),
        arrival("sources in another order", &["order of their first use"], |draft| {
            draft.edit_map("writable", |map| {
                let mut more = map.blobs[0].clone();
                more.digest = Digest::of(b"first used, second listed");
                map.blobs.push(more);
                (map.extents[0].source, map.extents[0].page) = (1, 0);
            });
        }),
        arrival("65537 blobs", &["blobs", "32768"], |draft| {
            draft.edit_map("writable", |map| map.counts[0] = Some(65_537));
        }),
        arrival("13 layers", &["layers", "12"], |draft| {
            draft.edit_map("memory", |map| map.counts[1] = Some(13));
        }),
        arrival("a blob of 2^63 bytes", &["cannot be"], |draft| {
            draft.edit_map("writable", |map| map.blobs[0].size = 1 << 63);
        }),
        arrival("an index that lies beyond its blob", &["cannot be"], |draft| {
            draft.edit_map("writable", |map| map.blobs[0].index_offset = u64::MAX - 10);
        }),
        arrival("an index of 2^63 bytes", &["cannot be"], |draft| {
            draft.edit_map("writable", |map| map.blobs[0].index_length = 1 << 63);
        }),
        arrival("a blob of 2^40 plain pages", &["cannot be"], |draft| {
            draft.edit_map("writable", |map| map.blobs[0].plain_pages = 1 << 40);
        }),
        arrival("a blob of another size than declared", &["its map says"], |draft| {
            draft.edit_map("writable", |map| {
                map.blobs[0].size -= 1;
                map.blobs[0].index_length -= 1;
            });
        }),
    ]
}

/// Maps that are in order, of the wrong disk.
fn disks() -> Vec<Case> {
    vec![
        arrival("memory of a layer that is not attached", &["memory map", "none of"], |draft| {
            draft.edit_map("memory", |map| map.layers[0] = Digest::of(b"another image's layer"));
        }),
        arrival("memory beyond a layer's end", &["memory map", "beyond"], |draft| {
            draft.edit_map("memory", |map| {
                let blobs = map.blobs.len() as u64;
                let of_a_layer = map.extents.iter_mut().find(|extent| extent.source >= blobs);
                of_a_layer.expect("some memory is a layer's").page += 2 << 24;
            });
        }),
        arrival("a writable disk of a layer's pages", &["only memory may point into layers"], |draft| {
            let content =
                draft.config["disks"][0]["content"].as_str().expect("a digest").parse().expect("a digest");
            draft.edit_map("writable", |map| {
                map.layers.push(content);
                map.extents.push(RawExtent { gap: 0, pages: 1, source: 1, page: 0 });
            });
        }),
        arrival("a layer with a hole", &["cover every page"], |draft| {
            draft.config["disks"][1]["size"] = serde_json::json!(16_384);
            draft.edit_map("layer1", |map| map.pages = 4);
        }),
        arrival("a layer of pages in another order", &["whole blobs in order"], |draft| {
            draft.edit_map("layer1", |map| {
                let page = |page| RawExtent { gap: 0, pages: 1, source: 0, page: zigzag(page) };
                // The second, the first, the third: each told from where the one before it ended.
                map.extents = vec![page(1), page(-2), page(1)];
            });
        }),
        arrival("one map for two disks", &["bytes, the disk"], |draft| {
            let map = draft.config["disks"][0]["map"].clone();
            let other = std::mem::replace(&mut draft.config["disks"][1]["map"], map);
            draft.manifest["layers"].as_array_mut().expect("blobs").retain(|blob| blob["digest"] != other);
        })
        .unpack_says(&["nothing needs it"]),
        arrival("a map that is a config", &["map"], |draft| {
            let config = draft.seal();
            let mut text = Vec::new();
            put(&mut text, 0);
            text.extend(draft.blob(config));
            set(draft, &text);
            draft.seal();
        }),
    ]
}
