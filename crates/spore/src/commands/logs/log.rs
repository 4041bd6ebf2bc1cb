//! One log of a sandbox, read as it grows.
//!
//! A supervisor cuts a log that is too long: its last lines move to its beginning. Where a reader was is then found by the last
//! bytes that it has read.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use memchr::memmem;

use crate::error::{CliError, Doing};

/// Bytes by which a place in a log is known again.
const MARK_BYTES: usize = 4 << 10;
/// Bytes read at a time.
const BLOCK: usize = 64 << 10;
/// Most bytes of a log that are searched: more than a supervisor leaves.
const SEARCHED_BYTES: u64 = 64 << 20;

/// A log, and how far it was read.
pub(super) struct Log {
    name: &'static str,
    path: PathBuf,
    /// `None` while there is no such file: whoever writes it has not begun.
    file: Option<File>,
    at: u64,
    /// The bytes before `at`.
    mark: Vec<u8>,
}

/// How what was read follows on what was read before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Continuity {
    /// The log has only grown.
    Whole,
    /// It was cut, and the place was found again.
    Cut,
    /// It was cut, and what was read last is not in it any more: it was read from its beginning.
    Lost,
}

impl Log {
    /// The log in the file `path`, which need not be there yet.
    pub(super) fn new(name: &'static str, path: PathBuf) -> Self {
        Self { name, path, file: None, at: 0, mark: Vec::new() }
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Whether anybody has begun to write it.
    pub(super) fn is_there(&self) -> bool {
        self.file.is_some()
    }

    /// Passes over all but its last lines.
    pub(super) fn skip_to_last_lines(&mut self, lines: usize) -> Result<(), CliError> {
        self.try_skip(lines).doing(format!("read {}", self.path.display()))
    }

    fn try_skip(&mut self, lines: usize) -> io::Result<()> {
        self.open()?;
        let Some(file) = &mut self.file else { return Ok(()) };
        self.at = last_lines(file, lines)?;
        let length = usize::try_from(self.at).unwrap_or(MARK_BYTES).min(MARK_BYTES);
        self.mark.resize(length, 0);
        file.read_exact_at(&mut self.mark, self.at - length as u64)
    }

    /// Gives `take` what was not read yet, in pieces.
    pub(super) fn read_on(&mut self, take: &mut dyn FnMut(&[u8])) -> Result<Continuity, CliError> {
        self.try_read_on(take).doing(format!("read {}", self.path.display()))
    }

    fn try_read_on(&mut self, take: &mut dyn FnMut(&[u8])) -> io::Result<Continuity> {
        self.open()?;
        let Some(file) = &self.file else { return Ok(Continuity::Whole) };
        let continuity = if is_marked(file, self.at, &self.mark)? {
            Continuity::Whole
        } else {
            let place = find(file, &self.mark)?;
            self.at = place.unwrap_or(0);
            if place.is_some() { Continuity::Cut } else { Continuity::Lost }
        };
        let mut block = vec![0; BLOCK];
        // To its end as it is by then: what is written faster than it is read would keep us here.
        let end = file.metadata()?.len();
        while self.at < end {
            let count = file.read_at(&mut block, self.at)?;
            let Some(bytes) = block.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
            take(bytes);
            self.at += count as u64;
            self.mark.extend_from_slice(bytes);
            self.mark.drain(..self.mark.len().saturating_sub(MARK_BYTES));
        }
        Ok(continuity)
    }

    fn open(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            self.file = match File::open(&self.path) {
                Err(error) if error.kind() == ErrorKind::NotFound => None,
                opened => Some(opened?),
            };
        }
        Ok(())
    }
}

/// Whether `mark` stands before `at`.
fn is_marked(file: &File, at: u64, mark: &[u8]) -> io::Result<bool> {
    let mut found = vec![0; mark.len()];
    match file.read_exact_at(&mut found, at.saturating_sub(mark.len() as u64)) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        read => read.map(|()| found == mark),
    }
}

/// The place behind `mark`. Of several the first: then lines are shown twice, and none is missing.
fn find(mut file: &File, mark: &[u8]) -> io::Result<Option<u64>> {
    let mut all = Vec::new();
    file.seek(SeekFrom::Start(0))?;
    file.take(SEARCHED_BYTES).read_to_end(&mut all)?;
    Ok(memmem::find(&all, mark).map(|place| (place + mark.len()) as u64))
}

/// Where the last `lines` lines begin, reading backwards: a log can be long.
fn last_lines(file: &mut (impl Read + Seek), lines: usize) -> io::Result<u64> {
    const BLOCK: u64 = 64 << 10;
    let mut start = file.seek(SeekFrom::End(0))?;
    // The end of the last line ends no line before it.
    let (mut left, mut is_last) = (lines, true);
    let mut block = Vec::new();
    while start > 0 {
        let length = start.min(BLOCK);
        start -= length;
        block.clear();
        file.seek(SeekFrom::Start(start))?;
        file.by_ref().take(length).read_to_end(&mut block)?;
        for (index, byte) in block.iter().enumerate().rev() {
            let ends_line = *byte == b'\n' && !is_last;
            if left == 0 || (ends_line && left == 1) {
                return Ok(start + index as u64 + 1);
            }
            left -= usize::from(ends_line);
            is_last = false;
        }
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Cursor, Write};

    use super::*;

    fn tail(text: &[u8], lines: usize) -> Vec<u8> {
        let (mut file, mut rest) = (Cursor::new(text), Vec::new());
        let start = last_lines(&mut file, lines).unwrap();
        file.seek(SeekFrom::Start(start)).unwrap();
        file.read_to_end(&mut rest).unwrap();
        rest
    }

    #[test]
    fn the_last_lines() {
        for (text, lines, expected) in [
            ("", 1, ""),
            ("a", 1, "a"),
            ("a\n", 1, "a\n"),
            ("a\nb\nc\n", 0, ""),
            ("a\nb\nc\n", 1, "c\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\n\n\n", 2, "\n\n"),
            ("a\nb\n", 9, "a\nb\n"),
        ] {
            assert_eq!(tail(text.as_bytes(), lines), expected.as_bytes(), "{text:?} {lines}");
        }
        let long = [b"first\n".to_vec(), vec![0xff; 200_000], b"\nlast\n".to_vec()].concat();
        assert_eq!(tail(&long, 1), b"last\n");
        assert_eq!(tail(&long, 2).len(), 200_000 + 6);
        assert_eq!(tail(&long, 3), long);
    }

    fn read(log: &mut Log) -> (Continuity, String) {
        let mut bytes = Vec::new();
        let continuity = log.read_on(&mut |more| bytes.extend_from_slice(more)).unwrap();
        (continuity, String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn a_log_that_is_cut_is_read_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut log = Log::new("console", path.clone());
        assert_eq!(read(&mut log), (Continuity::Whole, String::new()));
        assert!(!log.is_there());
        // One that comes to be later; more than is remembered of it.
        let lines = |range: std::ops::Range<u32>| range.map(|n| format!("line {n}\n")).collect::<String>();
        fs::write(&path, lines(0..5000)).unwrap();
        assert_eq!(read(&mut log), (Continuity::Whole, lines(0..5000)));
        let mut writer = File::options().append(true).open(&path).unwrap();
        writer.write_all(lines(5000..5010).as_bytes()).unwrap();
        assert_eq!(read(&mut log), (Continuity::Whole, lines(5000..5010)));
        // As a supervisor cuts it, shorter than it was, and then longer before anybody looks.
        fs::write(&path, lines(2000..5020)).unwrap();
        assert_eq!(read(&mut log), (Continuity::Cut, lines(5010..5020)));
        fs::write(&path, lines(4000..9000)).unwrap();
        assert_eq!(read(&mut log), (Continuity::Cut, lines(5020..9000)));
        assert_eq!(read(&mut log), (Continuity::Whole, String::new()));
        // What was read last has gone.
        fs::write(&path, lines(20_000..20_001)).unwrap();
        assert_eq!(read(&mut log), (Continuity::Lost, lines(20_000..20_001)));
    }

    #[test]
    fn a_log_of_which_the_end_was_asked_for_is_read_on_as_well() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, "one\ntwo\nthree\n").unwrap();
        let mut log = Log::new("console", path.clone());
        log.skip_to_last_lines(1).unwrap();
        assert_eq!(read(&mut log), (Continuity::Whole, "three\n".to_owned()));
        fs::write(&path, "two\nthree\nfour\n").unwrap();
        let (continuity, _) = read(&mut log);
        assert_eq!(continuity, Continuity::Lost, "nothing that is remembered was kept in whole");
    }
}
