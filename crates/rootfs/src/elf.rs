//! The one thing that is read from ELF files: what a kernel module depends on.

/// Offsets in the header of a 64-bit little-endian file and in its section headers (`elf(5)`).
const SECTIONS_AT: usize = 0x28;
const SECTION_SIZE_AT: usize = 0x3a;
const SECTION_COUNT_AT: usize = 0x3c;
const NAMES_INDEX_AT: usize = 0x3e;
const NAME_AT: usize = 0x00;
const OFFSET_AT: usize = 0x18;
const SIZE_AT: usize = 0x20;

/// The names of the modules that a module depends on, with underscores, as its `.modinfo` has them.
pub(crate) fn module_depends(file: &[u8]) -> Result<Vec<String>, &'static str> {
    if !file.starts_with(b"\x7fELF\x02\x01") {
        return Err("it is not a 64-bit little-endian ELF file");
    }
    let info = section(file, b".modinfo").ok_or("it has no .modinfo section")?;
    let depends = info.split(|byte| *byte == 0).find_map(|line| line.strip_prefix(b"depends="));
    let depends = depends.ok_or("its .modinfo does not say what it depends on")?;
    let names = std::str::from_utf8(depends).map_err(|_| "the names it depends on are not text")?;
    Ok(names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect())
}

fn section<'a>(file: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let table = usize::try_from(number::<8>(file, SECTIONS_AT)?).ok()?;
    let size = usize::try_from(number::<2>(file, SECTION_SIZE_AT)?).ok()?;
    let count = usize::try_from(number::<2>(file, SECTION_COUNT_AT)?).ok()?;
    let header = |index: usize| file.get(table.checked_add(index.checked_mul(size)?)?..);
    let content = |header: &[u8]| {
        let start = usize::try_from(number::<8>(header, OFFSET_AT)?).ok()?;
        let size = usize::try_from(number::<8>(header, SIZE_AT)?).ok()?;
        file.get(start..start.checked_add(size)?)
    };
    let names = content(header(usize::try_from(number::<2>(file, NAMES_INDEX_AT)?).ok()?)?)?;
    let found = (0..count).filter_map(header).find(|header| {
        let start = number::<4>(header, NAME_AT).and_then(|start| names.get(usize::try_from(start).ok()?..));
        start.and_then(|start| start.strip_prefix(name)).is_some_and(|rest| rest.first() == Some(&0))
    })?;
    content(found)
}

/// The little-endian number of `WIDTH` bytes at an offset.
fn number<const WIDTH: usize>(bytes: &[u8], offset: usize) -> Option<u64> {
    let bytes = bytes.get(offset..)?.get(..WIDTH)?;
    Some(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The smallest file that is read as a module which depends on `depends`, comma-separated.
    pub(crate) fn module(depends: &str) -> Vec<u8> {
        let info = format!("license=GPL\0depends={depends}\0name=x\0");
        let names = "\0.names\0.modinfo\0";
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[SECTIONS_AT] = 64;
        file[SECTION_SIZE_AT] = 64;
        file[SECTION_COUNT_AT] = 2;
        let mut at = 64 + 2 * 64;
        for (name, content) in [(1, names), (8, &info)] {
            let mut header = [0; 64];
            header[NAME_AT] = name;
            header[OFFSET_AT..][..8].copy_from_slice(&(at as u64).to_le_bytes());
            header[SIZE_AT..][..8].copy_from_slice(&(content.len() as u64).to_le_bytes());
            file.extend_from_slice(&header);
            at += content.len();
        }
        file.extend_from_slice(names.as_bytes());
        file.extend_from_slice(info.as_bytes());
        file
    }

    #[test]
    fn depends_is_found() {
        assert_eq!(
            module_depends(&module("virtio,virtio-ring")),
            Ok(vec!["virtio".into(), "virtio_ring".into()])
        );
        assert_eq!(module_depends(&module("")), Ok(vec![]));
    }

    #[test]
    fn damaged_files_are_refused() {
        let whole = module("virtio");
        assert!(module_depends(b"").is_err());
        for end in 0..whole.len() - "name=x\0".len() - 1 {
            assert!(module_depends(&whole[..end]).is_err(), "cut at {end}");
        }
        for position in 6..64 {
            let mut damaged = whole.clone();
            damaged[position] = 0xff;
            module_depends(&damaged).ok();
        }
    }
}
