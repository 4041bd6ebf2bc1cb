//! One zstd frame with its content size in its header (RFC 8878): the only form of compression in the format.
//!
//! The size is read and bounded before the output is allocated; the decoder writes into a buffer of exactly that
//! size, so a frame that inflates beyond what it says is an error and not a growing allocation. With the pinned
//! zstd, equal input and level give equal bytes.

use zstd::zstd_safe;

/// Level for engine states, maps, memory and writable disks.
pub const LEVEL_FAST: i32 = 3;
/// Level for layers, which many snapshots share.
pub const LEVEL_LAYER: i32 = 9;

/// Why bytes are not the one zstd frame that was expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZstdError {
    /// No frame, or one without its content size, or followed by other bytes.
    #[error("expected exactly one zstd frame with its content size")]
    NotOneFrame,
    /// The header says more than is allowed here.
    #[error("zstd frame says that it holds {says} bytes: at most {limit} are allowed")]
    TooLarge {
        /// What the header says.
        says: u64,
        /// What is allowed.
        limit: usize,
    },
    /// The content is not as long as it has to be.
    #[error("zstd frame holds {found} bytes: expected {expected}")]
    WrongLength {
        /// Bytes that it holds or says to hold.
        found: u64,
        /// Bytes that were expected.
        expected: u64,
    },
    /// The decoder gave up.
    #[error("zstd frame is corrupt: {0}")]
    Corrupt(String),
}

/// Compresses frames, reusing its memory.
pub struct Encoder(zstd::bulk::Compressor<'static>);

impl Encoder {
    /// An encoder at `level`.
    ///
    /// # Errors
    /// If memory for it cannot be had.
    pub fn new(level: i32) -> std::io::Result<Self> {
        Ok(Self(zstd::bulk::Compressor::new(level)?))
    }

    /// `plain` as one frame.
    ///
    /// # Errors
    /// If memory for it cannot be had.
    pub fn encode(&mut self, plain: &[u8]) -> std::io::Result<Vec<u8>> {
        self.0.compress(plain)
    }
}

/// Decodes frames, reusing its memory.
pub struct Decoder(zstd::bulk::Decompressor<'static>);

impl Decoder {
    /// A decoder.
    ///
    /// # Errors
    /// If memory for it cannot be had.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self(zstd::bulk::Decompressor::new()?))
    }

    /// Fills `plain`, to its last byte, with the content of the one frame in `bytes`.
    ///
    /// # Errors
    /// If `bytes` is anything but one frame of just that content size.
    pub fn decode_exactly(&mut self, bytes: &[u8], plain: &mut [u8]) -> Result<(), ZstdError> {
        let says = content_size(bytes)?;
        let expected = plain.len() as u64;
        if says != expected {
            return Err(ZstdError::WrongLength { found: says, expected });
        }
        let found =
            self.0.decompress_to_buffer(bytes, plain).map_err(|e| ZstdError::Corrupt(e.to_string()))? as u64;
        if found == expected { Ok(()) } else { Err(ZstdError::WrongLength { found, expected }) }
    }
}

/// The size that the one frame in `bytes` says its content has.
///
/// # Errors
/// If `bytes` is not exactly one frame that says it.
pub fn content_size(bytes: &[u8]) -> Result<u64, ZstdError> {
    let whole = zstd_safe::find_frame_compressed_size(bytes).is_ok_and(|length| length == bytes.len());
    match zstd_safe::get_frame_content_size(bytes) {
        Ok(Some(size)) if whole && !is_skippable(bytes) => Ok(size),
        _ => Err(ZstdError::NotOneFrame),
    }
}

fn is_skippable(bytes: &[u8]) -> bool {
    matches!(bytes, [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..])
}

/// Compresses `plain` to one frame at [`LEVEL_FAST`].
///
/// # Errors
/// If memory for it cannot be had.
pub fn encode(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    Encoder::new(LEVEL_FAST)?.encode(plain)
}

/// The content of the one frame in `bytes`, if it is at most `limit` bytes long.
///
/// # Errors
/// If `bytes` is anything else; nothing is allocated for a content that is too large.
pub fn decode(bytes: &[u8], limit: usize) -> Result<Vec<u8>, ZstdError> {
    let says = content_size(bytes)?;
    let size = usize::try_from(says).ok().filter(|size| *size <= limit);
    let size = size.ok_or(ZstdError::TooLarge { says, limit })?;
    let mut plain = vec![0; size];
    Decoder::new().map_err(|e| ZstdError::Corrupt(e.to_string()))?.decode_exactly(bytes, &mut plain)?;
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes of all kinds: none, noise, and what repeats.
    fn plain() -> impl Strategy<Value = Vec<u8>> {
        let noise = proptest::collection::vec(any::<u8>(), 0..5000);
        (noise, 0_usize..40).prop_map(|(bytes, times)| bytes.repeat(times))
    }

    #[test]
    fn round_trip_and_bounds() {
        let plain = vec![7; 100_000];
        let bytes = encode(&plain).unwrap();
        assert_eq!(decode(&bytes, plain.len()).unwrap(), plain);
        assert_eq!(
            decode(&bytes, plain.len() - 1),
            Err(ZstdError::TooLarge { says: 100_000, limit: plain.len() - 1 })
        );
    }

    #[test]
    fn exactly_one_frame() {
        let one = encode(b"one").unwrap();
        assert_eq!(decode(&[one.clone(), one.clone()].concat(), 100), Err(ZstdError::NotOneFrame));
        assert_eq!(decode(&one[..one.len() - 1], 100), Err(ZstdError::NotOneFrame));
        assert_eq!(decode(b"", 100), Err(ZstdError::NotOneFrame));
        let skippable = [&0x184D_2A5E_u32.to_le_bytes()[..], &0_u32.to_le_bytes()].concat();
        assert_eq!(decode(&skippable, 100), Err(ZstdError::NotOneFrame));
        let mut streamed = zstd::stream::Encoder::new(Vec::new(), 3).unwrap();
        std::io::copy(&mut &b"no content size"[..], &mut streamed).unwrap();
        assert_eq!(decode(&streamed.finish().unwrap(), 100), Err(ZstdError::NotOneFrame));
    }

    #[test]
    fn a_false_length_is_an_error() {
        let bytes = encode(&[1; 4096]).unwrap();
        let mut plain = vec![0; 8192];
        let mut decoder = Decoder::new().unwrap();
        assert!(matches!(decoder.decode_exactly(&bytes, &mut plain), Err(ZstdError::WrongLength { .. })));
        assert!(decoder.decode_exactly(&bytes, &mut plain[..4096]).is_ok());
    }

    proptest! {
        #[test]
        fn round_trips(plain in plain(), level in prop::sample::select(vec![LEVEL_FAST, LEVEL_LAYER])) {
            let bytes = Encoder::new(level).unwrap().encode(&plain).unwrap();
            prop_assert_eq!(content_size(&bytes), Ok(plain.len() as u64));
            prop_assert_eq!(decode(&bytes, plain.len()), Ok(plain));
        }

        /// Whatever was done to a frame, what comes out of it is never longer than it said beforehand.
        #[test]
        fn what_it_says_bounds_what_it_holds(plain in plain(), changes in proptest::collection::vec(any::<(prop::sample::Index, u8)>(), 1..4)) {
            let mut bytes = encode(&plain).unwrap();
            for (at, byte) in changes {
                *at.get_mut(&mut bytes) = byte;
            }
            let says = content_size(&bytes);
            match decode(&bytes, 1 << 20) {
                Ok(found) => prop_assert_eq!(says, Ok(found.len() as u64)),
                Err(ZstdError::TooLarge { says: large, .. }) => prop_assert!(large > 1 << 20),
                Err(_) => {}
            }
        }
    }
}
