//! QEMU's releases, and what they differ in.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A release of QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Version {
    pub(super) major: u32,
    pub(super) minor: u32,
    pub(super) micro: u32,
}

impl Version {
    /// The oldest that is tried and supported.
    pub(super) const OLDEST: Self = Self::new(7, 2);

    const fn new(major: u32, minor: u32) -> Self {
        Self { major, minor, micro: 0 }
    }

    /// From `QEMU emulator version 10.0.2 (Debian …)`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (_, rest) = text.split_once("version ")?;
        let number = rest.split(|letter: char| !letter.is_ascii_digit() && letter != '.').next()?;
        let mut parts = number.split('.').map(str::parse);
        let (major, minor) = (parts.next()?.ok()?, parts.next()?.ok()?);
        let micro = parts.next().map_or(Some(0), Result::ok)?;
        Some(Self { major, minor, micro })
    }

    /// Whether it can map a memory file privately that it may only read. Earlier ones open it for writing, and
    /// with `readonly=on` they make the guest's memory a ROM.
    pub(super) fn maps_memory_read_only(self) -> bool {
        self >= Self::new(8, 2)
    }

    /// Whether it reads a state from a named file. Later ones deprecate descriptors of files.
    pub(super) fn reads_state_files(self) -> bool {
        self >= Self::new(8, 2)
    }

    /// Whether its software emulation spoils the flags after `cmpxchg16b`, which kernels from 6.12 on die of.
    /// Seen in 7.2, not in 10.0; 8.0 is taken for the first without it.
    pub(super) fn emulates_cx16_wrongly(self) -> bool {
        self < Self::new(8, 0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// The version in a machine type such as `pc-q35-7.2`; `None` for all that is not a versioned q35.
pub(super) fn q35(machine_type: &str) -> Option<(u32, u32)> {
    let (major, minor) = machine_type.strip_prefix("pc-q35-")?.split_once('.')?;
    let digits = |text: &str| {
        let plain = (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse().ok()).flatten()
    };
    Some((digits(major)?, digits(minor)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_and_ordered() {
        let debian =
            Version::parse("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7+deb12u18+b3)\nCopyright");
        let later = Version::parse("QEMU emulator version 10.0.2").unwrap();
        assert_eq!(debian.map(|version| version.to_string()).as_deref(), Some("7.2.22"));
        assert!(debian.unwrap() >= Version::OLDEST && later > debian.unwrap());
        assert_eq!(Version::parse("QEMU emulator version 9.1").unwrap().to_string(), "9.1.0");
        assert_eq!(Version::parse("busybox"), None);
        assert!(later.maps_memory_read_only() && !debian.unwrap().maps_memory_read_only());
    }

    #[test]
    fn only_versioned_q35_machines_are_known() {
        assert_eq!(q35("pc-q35-7.2"), Some((7, 2)));
        assert_eq!(q35("pc-q35-10.0"), Some((10, 0)));
        for other in ["q35", "pc-q35-7.2,accel=kvm", "pc-i440fx-7.2", "pc-q35-4.0.1", "pc-q35-.2", "pc-q35-7"]
        {
            assert_eq!(q35(other), None, "{other}");
        }
    }
}
