//! Frame blobs: round trips, and each way in which an index can lie.
use super::*;
use crate::zstd_frame;
use proptest::prelude::*;

fn blob(frames: &[Vec<u8>]) -> (Vec<u8>, u64) {
    let mut builder = BlobBuilder::default();
    let mut bytes = Vec::new();
    for plain in frames {
        let compressed = zstd_frame::encode(plain).unwrap();
        assert!(builder.fits(compressed.len()));
        builder.push(&compressed, plain.len()).unwrap();
        bytes.extend(compressed);
    }
    let at = bytes.len() as u64;
    bytes.extend(builder.finish().encode());
    (bytes, at)
}

fn page(byte: u8, pages: usize) -> Vec<u8> {
    vec![byte; pages * 4096]
}

#[test]
fn golden_index() {
    let (bytes, at) = blob(&[page(1, 2), page(2, 1)]);
    let expected = "5e2a4d185c00000053504f52454958300200000013000000002000005b3c734b99ce4e72c13cf6a68db5ffaf53d1c0bf699adee6623169b92e0ac2ae";
    let text: String =
        bytes[at as usize..][..expected.len() / 2].iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(text, expected);
}

#[test]
fn a_blob_is_a_valid_zst_file() {
    let (bytes, _) = blob(&[page(1, 2), page(2, 1)]);
    let plain = zstd::stream::decode_all(&bytes[..]).unwrap();
    assert_eq!(plain, [page(1, 2), page(2, 1)].concat());
}

#[test]
fn changed_bytes_are_found_before_decoding() {
    let (mut bytes, at) = blob(&[page(1, 2)]);
    let index = Index::parse(&bytes[at as usize..], at).unwrap();
    bytes[at as usize - 1] ^= 1;
    let result = Reader::new().unwrap().decode(&index, 0, &bytes[..at as usize], &mut Vec::new());
    assert!(matches!(result, Err(FrameError::Digest { frame: 0, .. })), "{result:?}");
}

#[test]
fn a_frame_that_inflates_beyond_its_length_is_refused() {
    let compressed = zstd_frame::encode(&page(0, 200)).unwrap();
    let mut builder = BlobBuilder::default();
    builder.push(&compressed, 4096).unwrap();
    let mut plain = Vec::new();
    let result = Reader::new().unwrap().decode(&builder.finish(), 0, &compressed, &mut plain);
    assert!(
        matches!(result, Err(FrameError::Zstd { source: ZstdError::WrongLength { .. }, .. })),
        "{result:?}"
    );
}

#[test]
fn lying_indexes_are_refused() {
    let (bytes, at) = blob(&[page(1, 2), page(2, 1)]);
    let good = &bytes[at as usize..];
    assert!(Index::parse(good, at).is_ok());
    assert!(Index::parse(good, at + 1).is_err());
    assert!(Index::parse(&good[..good.len() - 1], at).is_err());
    for position in [0, 4, 8, 16, 20, 23, 24, 27] {
        let mut bad = good.to_vec();
        bad[position] ^= 0x80;
        assert!(Index::parse(&bad, at).is_err(), "byte {position}");
    }
}

#[test]
fn a_blob_is_full_at_its_bound() {
    let mut builder = BlobBuilder::default();
    assert!(builder.fits(BLOB_BYTES as usize - HEADER_BYTES - ENTRY_BYTES));
    assert!(!builder.fits(BLOB_BYTES as usize - HEADER_BYTES - ENTRY_BYTES + 1));
    builder.push(&[0], 4096).unwrap();
    assert!(!builder.fits(BLOB_BYTES as usize - HEADER_BYTES - ENTRY_BYTES));
}

proptest! {
    #[test]
    fn round_trip(sizes in proptest::collection::vec(1_usize..5, 1..12)) {
        let frames: Vec<_> = sizes.iter().enumerate().map(|(n, pages)| page(n as u8, *pages)).collect();
        let (bytes, at) = blob(&frames);
        let index = Index::parse(&bytes[at as usize..], at).unwrap();
        prop_assert_eq!(index.encode(), &bytes[at as usize..]);
        let mut plain = Vec::new();
        let mut reader = Reader::new().unwrap();
        for page in 0..index.plain_pages() {
            let number = index.frame_of(page).unwrap();
            let entry = &index.frames()[number];
            prop_assert!(entry.first_page <= page && page < entry.first_page + entry.pages());
            let compressed = &bytes[entry.offset as usize..][..entry.compressed as usize];
            reader.decode(&index, number, compressed, &mut plain).unwrap();
            prop_assert_eq!(&plain, &frames[number]);
        }
        prop_assert!(index.frame_of(index.plain_pages()).is_err());
    }

    #[test]
    fn garbage_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), at in any::<u64>()) {
        let _ = Index::parse(&bytes, at);
    }
}
