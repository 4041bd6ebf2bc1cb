//! Why an archive is refused.

use std::fmt;
use std::io;

/// What is wrong with an archive. The texts speak of it as "it".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input failed.
    #[error("it cannot be read: {0}")]
    Read(io::Error),
    /// It ends where something was to follow.
    #[error("it is cut short: it ends behind byte {position}, within {within}")]
    CutShort {
        /// Bytes that there are, or fewer.
        position: u64,
        /// What was to follow.
        within: Within,
    },
    /// It begins as compressed files do.
    #[error("it is compressed by {by}: decompress it first")]
    Compressed {
        /// The program.
        by: &'static str,
    },
    /// No header is where one should be: it is no tar archive, or a damaged one.
    #[error("it is not a whole tar archive: the checksum of a header is wrong, at byte {position}")]
    NoHeader {
        /// Bytes before it.
        position: u64,
    },
    /// Something follows its end that should not.
    #[error("something follows its end, at byte {position}")]
    Trailing {
        /// Bytes before that.
        position: u64,
    },
    /// It is damaged, or of a kind that is not read.
    #[error("it is not a tar archive that can be read: {reason}, at byte {position}")]
    Broken {
        /// Where, in bytes.
        position: u64,
        /// What was found.
        reason: &'static str,
    },
    /// An entry that is refused.
    #[error("its entry {} {reason}", shown(path))]
    Entry {
        /// Its path, as the archive has it.
        path: Vec<u8>,
        /// What is wrong with it, as the rest of a sentence.
        reason: &'static str,
    },
}

/// A part of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Within {
    /// A header, or what should be one.
    Header,
    /// A long name, pax records or a map of holes, or the entry that they describe.
    Extension,
    /// The content of an entry.
    Content,
    /// The two blocks of zeros.
    End,
}

impl fmt::Display for Within {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Header => "a header",
            Self::Extension => "what describes an entry",
            Self::Content => "a file",
            Self::End => "its end",
        })
    }
}

/// Bytes of a path that an error shows.
const SHOWN: usize = 200;

/// A path of an archive for people: in quotes, without bytes that a terminal would obey, and shortened.
#[must_use]
pub fn shown(path: &[u8]) -> String {
    let shown = path.get(..SHOWN).unwrap_or(path);
    let more = if shown.len() < path.len() { "…" } else { "" };
    format!("\"{}{more}\"", shown.escape_ascii())
}
