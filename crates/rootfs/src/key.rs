//! Keys of caches: digests of all that decides what is made. Equal keys, equal bytes.

use std::path::Path;

use format::Digest;
use serde::Serialize;

use crate::error::IoContext;
use crate::recipe::{Component, FileEntry};
use crate::{DebianBase, Error, GuestPath, Mirror, Mode, Owner, PackageName, Variant, tree_hash};

/// Raised whenever this crate makes other bytes of the same input.
pub(crate) const LAYER_VERSION: u32 = 2;

/// What decides, on this side of the network, what a Debian archive gives.
#[derive(Serialize)]
pub(crate) struct DebianKey<'a> {
    suite: &'a str,
    variant: Variant,
    packages: &'a [PackageName],
    components: &'a [Component],
    mirror: Option<&'a Mirror>,
    security_mirror: Option<&'a Mirror>,
}

impl<'a> DebianKey<'a> {
    pub(crate) fn of(base: &'a DebianBase) -> Self {
        Self {
            suite: base.suite.as_str(),
            variant: base.variant,
            packages: &base.packages,
            components: &base.components,
            mirror: base.mirror.as_ref(),
            security_mirror: base.security_mirror.as_ref(),
        }
    }
}

/// An added file, by its content.
#[derive(Serialize)]
pub(crate) struct FileKey<'a> {
    content: Digest,
    destination: &'a GuestPath,
    mode: Option<Mode>,
    owner: Owner,
}

impl<'a> FileKey<'a> {
    pub(crate) fn of(entry: &'a FileEntry) -> Result<Self, Error> {
        let content = tree_hash::digest(entry.source.absolute())?;
        Ok(Self { content, destination: &entry.destination, mode: entry.mode, owner: entry.owner })
    }
}

/// The digest of a value's JSON text, which is canonical here: structs keep their order, no maps, no floats.
pub(crate) fn json_digest(value: &impl Serialize) -> Result<Digest, Error> {
    serde_json::to_vec(value).map(|text| Digest::of(&text)).io("encode", Path::new("a cache key"))
}
