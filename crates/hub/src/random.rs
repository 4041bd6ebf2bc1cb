//! Names that nobody else has chosen.

use std::io;

/// 128 random bits in hexadecimal digits.
pub(crate) fn word() -> io::Result<String> {
    let mut bytes = [0; 16];
    let read = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    if read != bytes.len() {
        return Err(io::Error::other("the kernel gave too few random bytes"));
    }
    Ok(format!("{:032x}", u128::from_le_bytes(bytes)))
}
