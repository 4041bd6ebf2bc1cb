//! Blobs that have the digest which is declared, and hold something else than declared: found out when they are laid out.

use format::Digest;

use crate::case::{Case, layout};
use crate::forge::Draft;
use crate::raw::RawFrame;

pub fn cases() -> Vec<Case> {
    vec![
        layout("a frame that inflates beyond its length", &["blob sha256:", "frame 0", "1048576"], |draft| {
            edit(draft, |frame| *frame = RawFrame { plain: frame.plain, ..RawFrame::new(&vec![7; 1 << 20]) });
        }),
        layout("a frame that does not fill its length", &["blob sha256:", "frame 0", "expected"], |draft| {
            edit(draft, |frame| *frame = RawFrame { plain: frame.plain, ..RawFrame::new(&[7; 2048]) });
        }),
        layout("a frame that says less than it inflates to", &["blob sha256:", "frame 0"], |draft| {
            // The header of the true frame before blocks that hold a mebibyte.
            let long = zstd::bulk::compress(&vec![7; 1 << 20], 3).expect("zstd compresses");
            edit(draft, |frame| {
                let mut bytes = frame.bytes[..header(&frame.bytes)].to_vec();
                bytes.extend(&long[header(&long)..]);
                *frame = RawFrame::with_bytes(bytes, frame.plain);
            });
        }),
        layout("a frame without its content size", &["blob sha256:", "frame 0", "content size"], |draft| {
            edit(draft, |frame| {
                let bytes = zstd::stream::encode_all(frame.decode().as_slice(), 3).expect("zstd compresses");
                *frame = RawFrame::with_bytes(bytes, frame.plain);
            });
        }),
        layout("a frame that is not zstd", &["blob sha256:", "frame 0"], |draft| {
            edit(draft, |frame| *frame = RawFrame::with_bytes(vec![0x55; 100], frame.plain));
        }),
        layout(
            "a frame of other bytes than its index says",
            &["blob sha256:", "frame 0", "digest"],
            |draft| {
                edit(draft, |frame| frame.digest = Digest::of(b"another frame"));
            },
        ),
        layout("a frame of a page more than 4 MiB", &["blob sha256:", "frame 0", "4198400 plain"], |draft| {
            edit(draft, |frame| *frame = RawFrame::new(&vec![7; (4 << 20) + 4096]));
        }),
        layout("a frame of half a page", &["blob sha256:", "frame 0", "2048 plain"], |draft| {
            edit(draft, |frame| *frame = RawFrame::new(&[7; 2048]));
        }),
        layout("a frame of nothing", &["blob sha256:", "frame 0", "0 plain"], |draft| {
            edit(draft, |frame| *frame = RawFrame::new(&[]));
        }),
        layout("an index of longer frames than there are", &["blob sha256:", "frames end"], |draft| {
            edit(draft, |frame| frame.compressed += 1);
        }),
        layout("an index of frames of 4 GiB", &["blob sha256:", "compressed bytes"], |draft| {
            edit(draft, |frame| frame.compressed = u32::MAX);
        }),
        layout("an index of 2^32 - 1 frames", &["blob sha256:", "index"], |draft| {
            draft.edit_frames("writable", |blob| blob.count = Some(u32::MAX));
        }),
        layout("an index that is not the map's", &["blob sha256:", "index"], |draft| {
            draft.edit_map("writable", |map| map.blobs[0].index_digest = Digest::of(b"another index"));
        }),
        layout("more pages than the map says", &["blob sha256:", "plain pages"], |draft| {
            draft.edit_frames("writable", |blob| blob.frames.push(RawFrame::new(&[7; 4096])));
        }),
    ]
}

fn edit(draft: &mut Draft, edit: impl FnOnce(&mut RawFrame)) {
    draft.edit_frames("writable", |blob| edit(&mut blob.frames[0]));
}

/// Bytes of a zstd frame's header (RFC 8878, 3.1.1.1), for frames in a single segment.
fn header(frame: &[u8]) -> usize {
    let size_bytes = [1, 2, 4, 8][usize::from(frame[4] >> 6)];
    assert!(frame[4] & 0x20 != 0, "the frame is a single segment");
    5 + size_bytes
}
