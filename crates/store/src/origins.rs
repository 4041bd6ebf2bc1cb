//! `origins/`: in which hubs a snapshot was seen, and under which names there.
//!
//! Registries keep each name's blobs apart and can be asked to take one over from another name; somebody has to know which.
//! One file for each snapshot that was pulled or pushed says where it was, and its manifest says which blobs are there with it.
//!
//! Hints, and no more: nothing is decided by them, a wrong one costs a request, a lost one bytes. So a file that cannot be
//! read counts as none, two writers may lose one's line, and a collection removes those whose snapshots are gone.

use std::collections::{HashMap, HashSet};

use format::{Digest, Name};
use serde::{Deserialize, Serialize};

use crate::file::{At, FileError, names, read_small, remove_file, replace};
use crate::{Folder, Store};

/// Places that are remembered of one snapshot: the latest.
const PLACES: usize = 16;

/// Where a snapshot is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    /// The hub's location.
    hub: String,
    /// The name there.
    name: Name,
}

impl Store {
    /// Remembers that the hub at the location `hub` has all of the snapshot `digest` under `name`.
    ///
    /// # Errors
    /// If it cannot be written. Nothing depends on it.
    pub fn add_origin(&self, digest: &Digest, hub: &str, name: &Name) -> Result<(), FileError> {
        let place = Place { hub: hub.to_owned(), name: name.clone() };
        let before = self.places(digest);
        if before.first() == Some(&place) {
            return Ok(());
        }
        let others = before.into_iter().filter(|other| *other != place);
        let places: Vec<_> = std::iter::once(place.clone()).chain(others).take(PLACES).collect();
        let path = self.folder(Folder::Origins).join(digest.hex());
        let bytes = serde_json::to_vec(&places).at("encode", &path)?;
        replace(&self.folder(Folder::Tmp), &path, &bytes)
    }

    /// Under which names the hub at the location `hub` may have which of `wanted`, as far as snapshots tell that are still
    /// here. Names come in no particular order.
    ///
    /// # Errors
    /// If the folder cannot be listed.
    pub fn blob_origins(
        &self,
        hub: &str,
        wanted: &HashSet<Digest>,
    ) -> Result<HashMap<Digest, Vec<Name>>, FileError> {
        let mut origins: HashMap<Digest, Vec<Name>> = HashMap::new();
        if wanted.is_empty() {
            return Ok(origins);
        }
        for file in names(&self.folder(Folder::Origins))? {
            let Ok(snapshot) = Digest::from_hex(&file) else { continue };
            let places: Vec<_> =
                self.places(&snapshot).into_iter().filter(|place| place.hub == hub).collect();
            if places.is_empty() {
                continue;
            }
            // Of one that is damaged or gone, nothing is known.
            let Ok((manifest, _)) = self.read_manifest(&snapshot) else { continue };
            for blob in manifest.blobs().filter(|blob| wanted.contains(&blob.digest)) {
                let known = origins.entry(blob.digest).or_default();
                known.extend(places.iter().map(|place| place.name.clone()));
                known.sort();
                known.dedup();
            }
        }
        Ok(origins)
    }

    /// Forgets the origins of snapshots that `is_kept` denies.
    pub(crate) fn forget_origins(&self, is_kept: &dyn Fn(&Digest) -> bool) -> Result<(), FileError> {
        let folder = self.folder(Folder::Origins);
        for name in names(&folder)? {
            if Digest::from_hex(&name).is_ok_and(|snapshot| !is_kept(&snapshot)) {
                remove_file(&folder.join(name))?;
            }
        }
        Ok(())
    }

    fn places(&self, snapshot: &Digest) -> Vec<Place> {
        let path = self.folder(Folder::Origins).join(snapshot.hex());
        let bytes = read_small(&path).ok().flatten().unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::testing::{home, put_snapshot};

    const HUB: &str = "oci://hub.example";

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn blobs_are_where_a_snapshot_with_them_was_seen() {
        let home = home();
        let store = &home.store;
        let lease = store.lease().unwrap();
        let one = put_snapshot(store, &lease, &["shared"], "one");
        let two = put_snapshot(store, &lease, &["shared"], "two");
        let blobs = |digest| {
            let (manifest, _) = store.read_manifest(&digest).unwrap();
            manifest.blobs().map(|blob| blob.digest).collect::<HashSet<_>>()
        };
        store.add_origin(&one, HUB, &name("team/one")).unwrap();
        store.add_origin(&one, HUB, &name("team/also")).unwrap();
        store.add_origin(&two, "oci://elsewhere.example", &name("team/two")).unwrap();
        let origins = store.blob_origins(HUB, &blobs(two)).unwrap();
        let shared: HashSet<_> = blobs(one).intersection(&blobs(two)).copied().collect();
        assert!(!shared.is_empty());
        assert_eq!(origins.keys().copied().collect::<HashSet<_>>(), shared);
        for names in origins.values() {
            assert_eq!(*names, [name("team/also"), name("team/one")]);
        }
    }

    #[test]
    fn they_are_bounded_and_go_with_their_snapshot() {
        let home = home();
        let store = &home.store;
        let lease = store.lease().unwrap();
        let snapshot = put_snapshot(store, &lease, &["a"], "1");
        for n in 0..PLACES + 5 {
            store.add_origin(&snapshot, HUB, &name(&format!("name-{n}"))).unwrap();
        }
        assert_eq!(store.places(&snapshot).len(), PLACES);
        assert_eq!(store.places(&snapshot)[0].name, name(&format!("name-{}", PLACES + 4)));
        let prune = || store.prune(&store.plan_prune(false).unwrap(), &mut || ()).unwrap();
        prune();
        assert_eq!(store.places(&snapshot).len(), PLACES);
        assert!(store.fsck(&|_| ()).unwrap().problems.is_empty());
        drop(lease);
        prune();
        assert_eq!(names(&store.folder(Folder::Origins)).unwrap(), [""; 0]);
    }

    #[test]
    fn what_cannot_be_read_is_no_hint_and_no_error() {
        let home = home();
        let store = &home.store;
        let snapshot = put_snapshot(store, &store.lease().unwrap(), &["a"], "1");
        let path = store.folder(Folder::Origins).join(snapshot.hex());
        fs::write(&path, b"[{\"hub\":").unwrap();
        assert!(store.blob_origins(HUB, &[snapshot].into()).unwrap().is_empty());
        store.add_origin(&snapshot, HUB, &name("team/a")).unwrap();
        assert_eq!(store.places(&snapshot).len(), 1);
    }
}
