//! Comparing two sparse files without reading what is a hole in both: a disk of many TiB holds a few MiB.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

/// Bytes that are read of each file at a time, at most.
const CHUNK: u64 = 1 << 20;

/// Where two files differ, in bytes; where the shorter one ends, if that is all. A hole is as good as zeros. Moves
/// the files' offsets.
pub(super) fn first_difference(one: &File, other: &File) -> io::Result<Option<u64>> {
    let (length_one, length_other) = (one.metadata()?.len(), other.metadata()?.len());
    let common = length_one.min(length_other);
    let (mut part_one, mut part_other) = (Vec::new(), Vec::new());
    let mut at = 0;
    loop {
        at = next(one, SeekFrom::Data(at))?.min(next(other, SeekFrom::Data(at))?);
        if at >= common {
            return Ok((length_one != length_other).then_some(common));
        }
        // The file that has no data here has a hole that begins here, so the later end is that of the data.
        let end = next(one, SeekFrom::Hole(at))?.max(next(other, SeekFrom::Hole(at))?).min(common);
        let length = end.saturating_sub(at).clamp(1, CHUNK);
        part_one.resize(usize::try_from(length).unwrap_or(0), 0);
        part_other.resize(part_one.len(), 0);
        one.read_exact_at(&mut part_one, at)?;
        other.read_exact_at(&mut part_other, at)?;
        if part_one != part_other {
            let same = part_one.iter().zip(&part_other).take_while(|(one, other)| one == other).count();
            return Ok(Some(at + same as u64));
        }
        at += length;
    }
}

/// The next data or hole; what has none ends at the largest offset.
fn next(file: &File, place: SeekFrom) -> io::Result<u64> {
    match (rustix::fs::seek(file, place), place) {
        (Err(Errno::NXIO), _) => Ok(u64::MAX),
        // A filesystem that knows no holes: all of it is data.
        (Err(Errno::INVAL), SeekFrom::Data(at)) => Ok(at),
        (Err(Errno::INVAL), _) => Ok(u64::MAX),
        (found, _) => Ok(found?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: u64 = 1 << 40;

    /// A file of `LENGTH` bytes with these bytes in it.
    fn sparse(data: &[(u64, &[u8])]) -> File {
        let file = tempfile::tempfile().unwrap();
        file.set_len(LENGTH).unwrap();
        data.iter().for_each(|(at, bytes)| file.write_all_at(bytes, *at).unwrap());
        file
    }

    #[test]
    fn what_is_zero_is_the_same_written_or_not() {
        let written = sparse(&[(0, b"a"), (1 << 30, &[0; 10_000]), (LENGTH - 1, b"z")]);
        let unwritten = sparse(&[(0, b"a"), (LENGTH - 1, b"z")]);
        assert_eq!(first_difference(&written, &unwritten).unwrap(), None);
        assert_eq!(first_difference(&unwritten, &written).unwrap(), None);
        assert_eq!(first_difference(&sparse(&[]), &sparse(&[])).unwrap(), None);
        let long = sparse(&[(7, &vec![1; 3 << 20])]);
        assert_eq!(first_difference(&long, &sparse(&[(7, &vec![1; 3 << 20])])).unwrap(), None);
    }

    #[test]
    fn the_first_difference_is_found_wherever_it_is() {
        let data: &[(u64, &[u8])] = &[(4096, &[1; 4096]), (1 << 35, &[2; 8192])];
        let sound = sparse(data);
        let changed = |at: u64, byte: u8| {
            let file = sparse(data);
            file.write_all_at(&[byte], at).unwrap();
            [first_difference(&sound, &file).unwrap(), first_difference(&file, &sound).unwrap()]
        };
        for at in [0, 4095, 4096, 8191, 8192, 1 << 33, (1 << 35) + 5000, LENGTH - 1] {
            assert_eq!(changed(at, 9), [Some(at); 2]);
        }
        // Lost data.
        assert_eq!(first_difference(&sound, &sparse(&data[..1])).unwrap(), Some(1 << 35));
        assert_eq!(first_difference(&sparse(&data[1..]), &sound).unwrap(), Some(4096));
    }

    #[test]
    fn a_file_that_is_longer_differs_where_the_other_ends() {
        let short = sparse(&[]);
        short.set_len(1 << 30).unwrap();
        assert_eq!(first_difference(&short, &sparse(&[])).unwrap(), Some(1 << 30));
        assert_eq!(first_difference(&sparse(&[]), &short).unwrap(), Some(1 << 30));
        assert_eq!(first_difference(&sparse(&[(5, b"x")]), &short).unwrap(), Some(5));
    }
}
