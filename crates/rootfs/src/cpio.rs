//! Archives in cpio's "newc" form, which the kernel unpacks as its first root filesystem.
//!
//! The same entries give the same bytes: sorted, numbered in that order, owned by root, without times.

use std::collections::BTreeMap;

use crate::Error;

const FOLDER: u32 = 0o040_755;
const FILE: u32 = 0o100_000;
const CHARACTER_DEVICE: u32 = 0o020_600;
const TRAILER: &str = "TRAILER!!!";

/// An archive in the making.
#[derive(Default)]
pub(crate) struct Archive<'a> {
    /// By path without a leading slash, so that a folder comes before what is in it.
    entries: BTreeMap<String, Entry<'a>>,
}

struct Entry<'a> {
    mode: u32,
    device: (u32, u32),
    content: &'a [u8],
}

impl<'a> Archive<'a> {
    /// Adds a file with permission bits, and the folders on its way.
    pub(crate) fn file(&mut self, path: &str, permissions: u32, content: &'a [u8]) {
        self.insert(path, Entry { mode: FILE | permissions, device: (0, 0), content });
    }

    /// Adds a character device.
    pub(crate) fn device(&mut self, path: &str, major: u32, minor: u32) {
        self.insert(path, Entry { mode: CHARACTER_DEVICE, device: (major, minor), content: &[] });
    }

    fn insert(&mut self, path: &str, entry: Entry<'a>) {
        for (end, _) in path.match_indices('/') {
            let folder = path.get(..end).unwrap_or_default().to_owned();
            self.entries.entry(folder).or_insert(Entry { mode: FOLDER, device: (0, 0), content: &[] });
        }
        self.entries.insert(path.to_owned(), entry);
    }

    /// The archive's bytes.
    pub(crate) fn finish(&self) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        for (number, (path, entry)) in (1..).zip(&self.entries) {
            append(&mut out, number, path, entry)?;
        }
        append(&mut out, 0, TRAILER, &Entry { mode: 0, device: (0, 0), content: &[] })?;
        Ok(out)
    }
}

fn append(out: &mut Vec<u8>, number: u32, path: &str, entry: &Entry<'_>) -> Result<(), Error> {
    let too_large =
        |limit: u32| Error::TooLarge { what: format!("{path} of the initrd"), limit: limit.into() };
    let size = u32::try_from(entry.content.len()).map_err(|_| too_large(u32::MAX))?;
    let name_size = u32::try_from(path.len() + 1).map_err(|_| too_large(4096))?;
    let links = if entry.mode == FOLDER { 2 } else { 1 };
    let (major, minor) = entry.device;
    out.extend_from_slice(b"070701");
    for value in [number, entry.mode, 0, 0, links, 0, size, 0, 0, major, minor, name_size, 0] {
        out.extend_from_slice(format!("{value:08x}").as_bytes());
    }
    out.extend_from_slice(path.as_bytes());
    out.push(0);
    pad(out);
    out.extend_from_slice(entry.content);
    pad(out);
    Ok(())
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let mut archive = Archive::default();
        archive.file("spore/x", 0o644, b"hello");
        archive.device("dev/console", 5, 1);
        let header = |number: u32, mode: &str, links: u32, size: u32, device: &str, name: u32| {
            let zero = "00000000";
            format!(
                "070701{number:08x}{mode}{zero}{zero}{links:08x}{zero}{size:08x}{zero}{zero}{device}{name:08x}{zero}"
            )
        };
        let none = "0000000000000000";
        let expected = [
            header(1, "000041ed", 2, 0, none, 4) + "dev\0\0\0",
            header(2, "00002180", 1, 0, "0000000500000001", 12) + "dev/console\0\0\0",
            header(3, "000041ed", 2, 0, none, 6) + "spore\0",
            header(4, "000081a4", 1, 5, none, 8) + "spore/x\0\0\0" + "hello\0\0\0",
            header(0, none.get(..8).unwrap(), 1, 0, none, 11) + "TRAILER!!!\0\0\0\0",
        ];
        let expected = expected.concat();
        assert_eq!(String::from_utf8(archive.finish().unwrap()).unwrap(), expected);
    }
}
