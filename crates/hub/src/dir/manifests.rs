//! Manifests and tags of a hub in a folder: files under `v2/NAME/manifests`, and the `index.json` derived from them.

use std::path::Path;

use format::{Name, Tag};

use super::file::{self, DirError};
use super::folder::Folder;
use super::layout::Layout;
use super::writable::{MANIFESTS, Writable};
use super::{index, read_manifest};
use crate::image_index::{Entry, Kind};
use crate::{RawManifest, Selector};

pub(super) fn get(layout: &Layout, name: &Name, which: &Selector) -> Result<Option<RawManifest>, DirError> {
    layout.check()?;
    let file_name = match which {
        Selector::Tag(tag) => tag.to_string(),
        Selector::Digest(digest) => digest.to_string(),
    };
    let Some(manifest) = read_manifest(&layout.manifests_path(name).join(file_name))? else {
        return Ok(None);
    };
    match which {
        Selector::Digest(digest) if *digest != manifest.digest() => {
            let reason = format!("the manifest of that name has the digest {}", manifest.digest());
            Err(DirError::Corrupt { digest: *digest, reason })
        }
        _ => Ok(Some(manifest)),
    }
}

/// Blob first, for OCI tools; then under its digest.
pub(super) fn put(layout: &Layout, name: &Name, manifest: &RawManifest) -> Result<(), DirError> {
    let hub = writable(layout, name, manifest)?;
    write(&hub, &hub.blobs()?, &manifest.digest().hex(), manifest)?;
    write(&hub, &hub.manifests(name)?, &manifest.digest().to_string(), manifest)
}

/// The tag, then the index that lists it.
pub(super) fn put_tag(
    layout: &Layout,
    name: &Name,
    tag: &Tag,
    manifest: &RawManifest,
) -> Result<(), DirError> {
    let hub = writable(layout, name, manifest)?;
    write(&hub, &hub.manifests(name)?, tag.as_str(), manifest)?;
    write_index(layout, &hub)
}

/// Removes files of a name, in this order, and lists what is left; `false` if the last of them is not there.
pub(super) fn remove(layout: &Layout, name: &Name, files: &[String]) -> Result<bool, DirError> {
    layout.check()?;
    let folder = layout.manifests_path(name);
    let is_there = match files.last() {
        Some(last) => file::size(&folder.join(last))?.is_some(),
        None => false,
    };
    if !is_there {
        return Ok(false);
    }
    let hub = layout.prepare()?;
    let folder = hub.manifests(name)?;
    files.iter().try_for_each(|file_name| folder.remove(file_name))?;
    write_index(layout, &hub)?;
    Ok(true)
}

/// The hub, if it is to have `manifest` under `name`.
fn writable(layout: &Layout, name: &Name, manifest: &RawManifest) -> Result<Writable, DirError> {
    layout.check_writable(name)?;
    if Kind::parse(manifest.bytes()).is_ok_and(|kind| kind.is_known()) {
        return layout.prepare();
    }
    let reason = "it is neither an OCI manifest nor an image index".to_owned();
    Err(DirError::Corrupt { digest: manifest.digest(), reason })
}

fn write(hub: &Writable, folder: &Folder, file_name: &str, manifest: &RawManifest) -> Result<(), DirError> {
    let mut temp = hub.temp_file()?;
    temp.append(manifest.bytes())?;
    temp.place(folder, file_name)
}

/// Derives `index.json` from all tags. Under a lock, so that of two pushers the later one lists both tags.
pub(super) fn write_index(layout: &Layout, hub: &Writable) -> Result<(), DirError> {
    let locked = hub.names()?;
    locked.lock()?;
    let mut entries = Vec::new();
    for name in names(layout)? {
        for tag in tags(layout, &name)? {
            let path = layout.manifests_path(&name).join(tag.as_str());
            match read_manifest(&path) {
                Ok(manifest) => {
                    entries.extend(manifest.and_then(|manifest| Entry::of_tag(&manifest, &name, &tag)));
                }
                // One file that somebody put there must not stop all others from pushing.
                Err(DirError::Malformed { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }
    index::place(hub, entries)
}

pub(super) fn tags(layout: &Layout, name: &Name) -> Result<Vec<Tag>, DirError> {
    layout.check()?;
    let entries = file::entries(&layout.manifests_path(name))?;
    // The others are digests.
    Ok(entries
        .into_iter()
        .filter(|entry| !entry.is_folder)
        .filter_map(|entry| entry.name.parse().ok())
        .collect())
}

pub(super) fn names(layout: &Layout) -> Result<Vec<Name>, DirError> {
    layout.check()?;
    let mut names = Vec::new();
    collect_names(&layout.names_path(), "", &mut names)?;
    names.sort_unstable();
    Ok(names)
}

/// Goes no deeper than names are long, and follows no links.
fn collect_names(folder: &Path, prefix: &str, names: &mut Vec<Name>) -> Result<(), DirError> {
    for entry in file::entries(folder)?.into_iter().filter(|entry| entry.is_folder) {
        let path = folder.join(&entry.name);
        if entry.name == MANIFESTS {
            if !file::entries(&path)?.is_empty() {
                names.extend(prefix.parse::<Name>());
            }
            continue;
        }
        let below = if prefix.is_empty() { entry.name } else { format!("{prefix}/{}", entry.name) };
        if below.parse::<Name>().is_ok() {
            collect_names(&path, &below, names)?;
        }
    }
    Ok(())
}
