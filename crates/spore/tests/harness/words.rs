//! Finds words in all that a folder's files hold, compressed or not.
//!
//! A word is [`LENGTH`] random letters, so eight of its bytes in a row come from nowhere else. Wherever a
//! word begins, it covers eight bytes that lie at a multiple of eight: it is enough to look at those, which
//! also finds half a word, at the end of a memory page, whose other half is elsewhere.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::files;

/// Letters of a word.
pub const LENGTH: usize = 16;
const WINDOW: usize = 8;
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A word that looks like nothing else.
pub fn random() -> String {
    files::random_word(LENGTH)
}

/// What is looked for.
#[derive(Debug)]
pub struct Words<'a> {
    words: &'a [String],
    /// Every eight bytes in a row of a word, and which word; sorted.
    windows: Vec<([u8; WINDOW], usize)>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// Words, and in which files.
    pub words: BTreeSet<(String, PathBuf)>,
    /// How many of the files were compressed.
    pub decoded: usize,
    /// Bytes that were looked at.
    pub bytes: u64,
}

impl<'a> Words<'a> {
    pub fn new(words: &'a [String]) -> Self {
        let windows_of = |(number, word): (usize, &'a String)| {
            assert_eq!(word.len(), LENGTH, "{word}");
            word.as_bytes()
                .windows(WINDOW)
                .map(move |window| (window.try_into().expect("eight bytes"), number))
        };
        let mut windows: Vec<_> = words.iter().enumerate().flat_map(windows_of).collect();
        windows.sort_unstable();
        Self { words, windows }
    }

    /// Looks through all files below `folder`: their bytes, and what they are when decompressed. A file's
    /// zstd frames begin at its first byte, or behind a byte that says so, as in maps.
    #[track_caller]
    pub fn find_below(&self, folder: &Path) -> Found {
        let mut found = Found::default();
        for path in files::files_below(folder) {
            let mut note = |numbers: BTreeSet<usize>| {
                found
                    .words
                    .extend(numbers.into_iter().map(|number| (self.words[number].clone(), path.clone())));
            };
            note(self.find(files::open(&path), &mut found.bytes));
            for offset in [0, 1] {
                if let Some(plain) = decoder(files::open(&path), offset) {
                    note(self.find(plain, &mut found.bytes));
                    found.decoded += 1;
                }
            }
        }
        found
    }

    /// The numbers of the words in a stream.
    fn find(&self, mut stream: impl Read, bytes: &mut u64) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        let mut chunk = Vec::new();
        loop {
            chunk.clear();
            let length = stream
                .by_ref()
                .take(1 << 20)
                .read_to_end(&mut chunk)
                .expect("a blob can be read and decoded");
            if length == 0 {
                return found;
            }
            *bytes += length as u64;
            for window in chunk.as_chunks::<WINDOW>().0 {
                if let Ok(at) = self.windows.binary_search_by_key(window, |(window, _)| *window) {
                    found.insert(self.windows[at].1);
                }
            }
        }
    }
}

/// Decodes the zstd frames that begin at `offset`, if they do.
fn decoder(mut file: File, offset: u64) -> Option<impl Read> {
    let mut magic = [0; ZSTD_MAGIC.len()];
    file.seek(SeekFrom::Start(offset)).ok()?;
    file.read_exact(&mut magic).ok()?;
    file.seek(SeekFrom::Start(offset)).ok()?;
    let decoder = || zstd::Decoder::with_buffer(BufReader::with_capacity(1 << 20, file)).ok();
    if magic == ZSTD_MAGIC { decoder() } else { None }
}
