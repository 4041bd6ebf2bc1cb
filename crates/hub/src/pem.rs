//! Files of certificates and keys.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// Most bytes of a file of authorities: the system's own, of all the world, have a quarter of it.
const AUTHORITIES_BYTES: u64 = 1 << 20;

/// A small file, or its beginning: no certificate is as large.
pub(crate) fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(AUTHORITIES_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}
