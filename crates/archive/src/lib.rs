//! Trees of files to a tar stream and back, for copies between a host and a guest, neither of which trusts the other.
//!
//! ```text
//!   file or folder ──write──▶ tar stream ──Destination::extract──▶ one folder, and nothing outside it
//! ```
//!
//! What is kept: content, holes, modes, mtimes with their fractions, symbolic links. What is not: owners, extended attributes;
//! hard links become files of their own. The stream is what POSIX calls pax, with GNU's format 1.0 for files with holes; GNU
//! tar, bsdtar and Python read it. What is read may also be what GNU tar writes by default: `tar-stream` reads it, and bounds every
//! length in it.
//!
//! Invariants:
//! - Nothing in a stream chooses a path outside the destination: a name is relative and without `..`, and no
//!   component of it is followed if it is a symbolic link, whoever made that. A file or link that exists is replaced, never
//!   written through; a device, pipe or socket is neither.
//! - A name never leads to half a file: a file gets its name when it is whole, and keeps what it had until then.
//! - A stream that ends before its end marker is an error, so that half a tree is never taken for a whole one.

mod draft;
mod error;
mod extract;
mod read;
mod sparse;
mod write;

pub use error::Error;
pub use extract::{Destination, Modes};
pub use write::{root_name, write};

/// Bytes moved at a time.
const CHUNK: usize = 64 << 10;

#[cfg(test)]
mod tests;
