//! The version of a store: which rules its folders and files follow, so that no Spore works on what it does not know.
//!
//! `version` in the root holds a decimal number and a newline. A store without it was made before there were versions,
//! follows the rules of version 1, and is given it when it is opened. What changes the rules so that an older Spore would
//! misread or damage a store raises [`CURRENT`], and brings the step that makes a store of the version before into one of
//! the new: repeatable, since a crash leaves it half done, and without harm to commands at work. The number is written
//! last.
//!
//! Invariants:
//! - The version is read before anything in the root is made, swept or changed.
//! - A number that is not known is never replaced, and never guessed at.

use std::path::Path;

use super::OpenError;
use crate::file::{FileError, read_small, replace, sync_parent};

/// The file's name in the root.
pub(super) const VERSION_FILE: &str = "version";

/// The version that this Spore makes, and the newest that it reads.
pub(super) const CURRENT: u32 = 1;

/// What a store says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// It was made before there were versions.
    Unversioned,
    /// All is as this Spore makes it.
    Current,
}

/// Reads the version of the store at `root`.
///
/// # Errors
/// If it is newer than [`CURRENT`], or no version.
pub(super) fn check(root: &Path) -> Result<Found, OpenError> {
    let path = root.join(VERSION_FILE);
    let Some(bytes) = read_small(&path)? else { return Ok(Found::Unversioned) };
    let text = std::str::from_utf8(&bytes).unwrap_or_default();
    match text.strip_suffix('\n').unwrap_or(text).parse() {
        Ok(0) | Err(_) => {
            let found = String::from_utf8_lossy(&bytes).into_owned();
            let reason = format!(
                "it holds {found:?}, which is no version: restore it from a backup; a store that only Spore 0.1 has used \
                 has 1 there"
            );
            Err(FileError::content(&path, &reason).into())
        }
        Ok(version) if version > CURRENT => Err(OpenError::Newer { root: root.to_owned(), version }),
        Ok(_) => Ok(Found::Current),
    }
}

/// Writes the version of a store that has become one of [`CURRENT`].
pub(super) fn write(root: &Path, tmp: &Path) -> Result<(), FileError> {
    let path = root.join(VERSION_FILE);
    replace(tmp, &path, format!("{CURRENT}\n").as_bytes())?;
    sync_parent(&path)
}
