//! What bake keeps in `cache/`, as far as the collector must understand it: `bases/KEY.json` names in its field
//! `layers` the content digests of layers whose flat files are kept for the next bake.

use std::collections::HashSet;

use format::Digest;
use serde::Deserialize;

use crate::file::{FileError, names, read_small};
use crate::{Folder, Store};

const BASES: &str = "bases";

/// Of a base's entry, what keeps flat files. The rest is bake's own.
#[derive(Deserialize)]
struct Base {
    layers: Vec<Digest>,
}

/// The layers that cached bases consist of.
pub(crate) fn layers(store: &Store) -> Result<HashSet<Digest>, FileError> {
    let folder = store.folder(Folder::Cache).join(BASES);
    let mut layers = HashSet::new();
    for name in names(&folder)?.iter().filter(|name| name.ends_with(".json")) {
        let path = folder.join(name);
        let Some(bytes) = read_small(&path)? else { continue };
        // Bake takes an entry that it cannot read for none, and makes it again.
        if let Ok(base) = serde_json::from_slice::<Base>(&bytes) {
            layers.extend(base.layers);
        }
    }
    Ok(layers)
}

/// Everything in the cache, as paths in it: what a collection of caches too takes away, entry by entry.
pub(crate) fn entries(store: &Store) -> Result<Vec<String>, FileError> {
    let folder = store.folder(Folder::Cache);
    let mut entries = Vec::new();
    for group in names(&folder)? {
        let inside = if folder.join(&group).is_dir() { names(&folder.join(&group))? } else { Vec::new() };
        if inside.is_empty() {
            entries.push(group);
        } else {
            entries.extend(inside.into_iter().map(|name| format!("{group}/{name}")));
        }
    }
    Ok(entries)
}
