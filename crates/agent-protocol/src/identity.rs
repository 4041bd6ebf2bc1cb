//! What makes a copy of a guest an individual. Each value is checked once, when it is parsed.

use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why a part of an identity was refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidIdentity {
    /// Not hexadecimal, or of the wrong length.
    #[error("entropy must be 32 to 256 bytes in lowercase hexadecimal")]
    Entropy,
    /// Not 32 digits.
    #[error("a machine-id must be 32 lowercase hexadecimal digits")]
    MachineId,
    /// Not a UUID.
    #[error("a boot-id must be a lowercase UUID like 0b0c5d3e-52b1-4a0e-9a4f-7d1d3d8e0a11")]
    BootId,
    /// Not a host name.
    #[error(
        "a hostname must be 1 to 64 letters, digits, dots and hyphens, and begin and end with a letter or digit"
    )]
    Hostname,
}

/// Fresh randomness for the kernel: 32 to 256 bytes. Its text form is kept out of debug output.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Entropy(Vec<u8>);

impl Entropy {
    /// Takes 32 to 256 random bytes.
    ///
    /// # Errors
    /// [`InvalidIdentity::Entropy`] for another length.
    pub fn new(bytes: Vec<u8>) -> Result<Self, InvalidIdentity> {
        if (32..=256).contains(&bytes.len()) { Ok(Entropy(bytes)) } else { Err(InvalidIdentity::Entropy) }
    }

    /// The random bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Entropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entropy({} bytes)", self.0.len())
    }
}

impl TryFrom<String> for Entropy {
    type Error = InvalidIdentity;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        from_hex(&text).ok_or(InvalidIdentity::Entropy).and_then(Entropy::new)
    }
}

impl From<Entropy> for String {
    fn from(entropy: Entropy) -> Self {
        to_hex(&entropy.0)
    }
}

macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidIdentity;
            fn try_from(text: String) -> Result<Self, Self::Error> {
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err(InvalidIdentity::$name) }
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

checked_text!(
    /// The content of `/etc/machine-id`: 32 lowercase hexadecimal digits.
    MachineId,
    |text| text.len() == 32 && text.bytes().all(is_hex)
);
checked_text!(
    /// The content of `/proc/sys/kernel/random/boot_id`: a lowercase UUID.
    BootId,
    |text| {
        let hyphen = |at| matches!(at, 8 | 13 | 18 | 23);
        text.len() == 36
            && text.bytes().enumerate().all(|(at, byte)| if hyphen(at) { byte == b'-' } else { is_hex(byte) })
    }
);
checked_text!(
    /// A host name that the kernel and DNS accept: 1 to 64 bytes.
    Hostname,
    |text| {
        let inner = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.');
        let ends = [text.bytes().next(), text.bytes().next_back()];
        text.len() <= 64 && inner && ends.iter().all(|end| end.is_some_and(|byte| byte.is_ascii_alphanumeric()))
    }
);

/// Whether the guest's network link is to be up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkState {
    /// Up, or down.
    pub up: bool,
}

/// A new identity for a copy of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Mixed into the kernel's random number generator, and credited in full.
    pub entropy: Entropy,
    /// Nanoseconds since 1970, UTC.
    pub wall_clock_ns: u64,
    /// The new host name.
    pub hostname: Hostname,
    /// The new machine-id.
    pub machine_id: MachineId,
    /// The new boot-id.
    pub boot_id: BootId,
    /// Absent: the link stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<LinkState>,
    /// Milliseconds from the request within which all steps must have been done.
    pub deadline_ms: u64,
}

fn is_hex(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    pairs.iter().map(|[high, low]| Some(nibble(*high)? << 4 | nibble(*low)?)).collect()
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        _ => None,
    }
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).unwrap_or('0');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}
