//! Frame blobs: their index, and what decodes their frames.

#![no_main]

use format::frame::{BlobBuilder, FrameError, INDEX_MAX_BYTES, Index, Reader};
use format::limits::{BLOB_FRAMES, FRAME_COMPRESSED_BYTES, FRAME_PLAIN_BYTES};
use format::{PAGE_SIZE, zstd_frame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    index(bytes);
    frame(bytes);
});

fn index(bytes: &[u8]) {
    // Where the index lies is a map's word: the one that its frames would make true.
    let lengths = bytes.get(20..).unwrap_or_default().chunks_exact(40);
    let end =
        lengths.map(|entry| u64::from(u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3]]))).sum();
    let Ok(index) = fuzz::memory::within(2 * bytes.len() + 4096, || Index::parse(bytes, end)) else { return };
    assert_eq!(index.encode(), bytes, "it has a second encoding");
    assert!(bytes.len() as u64 <= INDEX_MAX_BYTES && index.frames().len() <= BLOB_FRAMES);
    assert_eq!(index.frames_bytes(), end);
    let (mut offset, mut page) = (0, 0);
    for (n, frame) in index.frames().iter().enumerate() {
        assert_eq!((frame.offset, frame.first_page), (offset, page));
        assert!(frame.pages() > 0 && frame.pages() * PAGE_SIZE == u64::from(frame.plain));
        assert!(frame.plain as usize <= FRAME_PLAIN_BYTES);
        assert!((1..=FRAME_COMPRESSED_BYTES).contains(&(frame.compressed as usize)));
        offset += u64::from(frame.compressed);
        page += frame.pages();
        assert_eq!(index.frame_of(frame.first_page), Ok(n));
        assert_eq!(index.frame_of(page - 1), Ok(n));
    }
    assert_eq!(index.plain_pages(), page);
    assert!(index.frame_of(page).is_err());
    assert!(Index::parse(bytes, end + 1).is_err());
}

fn frame(compressed: &[u8]) {
    const LIMIT: usize = 4 * FRAME_PLAIN_BYTES;
    let says = zstd_frame::content_size(compressed).ok();
    let bound = says.map_or(0, |says| (says as usize).min(LIMIT)) + 4096;
    match fuzz::memory::within(bound, || zstd_frame::decode(compressed, LIMIT)) {
        Ok(plain) => assert_eq!(says, Some(plain.len() as u64)),
        Err(zstd_frame::ZstdError::TooLarge { .. }) => assert!(says.is_some_and(|says| says > LIMIT as u64)),
        Err(_) => {}
    }
    // A page is what a frame has at least.
    for length in [says.unwrap_or(0), PAGE_SIZE] {
        let mut builder = BlobBuilder::default();
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if builder.push(compressed, length).is_err() {
            continue;
        }
        let index = builder.finish();
        let mut reader = Reader::new().expect("there is memory");
        let mut plain = Vec::new();
        let decoded = fuzz::memory::within(FRAME_PLAIN_BYTES + 4096, || {
            reader.decode(&index, 0, compressed, &mut plain)
        });
        assert_eq!(plain.len(), length, "it is as long as the index says");
        assert!(decoded.is_err() || zstd_frame::content_size(compressed) == Ok(length as u64));
        let other = [compressed, b"!"].concat();
        let refused = reader.decode(&index, 0, &other, &mut plain);
        assert!(matches!(refused, Err(FrameError::Digest { .. })), "it is decoded before it is compared");
    }
}
