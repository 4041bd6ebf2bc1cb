//! What goes and what stays; crashes at every step; random interleavings with writers.
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;

use format::Digest;

use super::*;
use crate::file::names;
use crate::testing::{Home, home, layer, name, put_snapshot};
use crate::{FlatKey, Lease, LockKey};

mod interleaved;

/// Lays out something under this key: the collector does not look into flat files.
fn put_flat(store: &Store, lease: &Lease, key: FlatKey) {
    let writer = store.flat_writer(lease, key).unwrap();
    writer.file().write_all(b"content").unwrap();
    writer.commit().unwrap();
}

fn prune(store: &Store, all: bool) -> PruneReport {
    store.prune(&store.plan_prune(all).unwrap(), &mut || ()).unwrap()
}

/// Every blob that the snapshot `digest` needs, itself included.
fn closure(store: &Store, digest: Digest) -> BTreeSet<Digest> {
    let (manifest, _) = store.read_manifest(&digest).unwrap();
    manifest.blobs().map(|blob| blob.digest).chain([digest]).collect()
}

fn all_blobs(store: &Store) -> BTreeSet<Digest> {
    store.blobs().unwrap().into_iter().collect()
}

#[test]
fn what_was_brought_in_vain_goes_unless_somebody_needs_it() {
    let home = home();
    let store = &home.store;
    let (lease, other) = (store.lease().unwrap(), store.lease().unwrap());
    let tagged = put_snapshot(store, &other, &["shared"], "tagged");
    store.set_ref(&name("local/tagged:1"), &tagged, None).unwrap();
    let brought = put_snapshot(store, &lease, &["shared"], "brought");
    let needed = store.put_blob(&lease, b"needed by another").unwrap();
    assert!(store.claim_blob(&other, &needed).unwrap());
    let not_brought = store.put_blob(&lease, b"not brought").unwrap();
    let items = closure(store, brought).into_iter().chain([needed]).map(Item::Blob).collect();
    assert!(store.remove_unused(&items).unwrap());
    assert!(store.load_snapshot(&brought).is_ok(), "the lease protects it");

    // Whoever else holds it.
    let _clone = lease.clone();
    lease.release().unwrap();
    // Nobody waits for another collector.
    let lock = store.try_lock(LockKey::Collector).unwrap().unwrap();
    assert!(!store.remove_unused(&items).unwrap());
    drop(lock);
    store.load_snapshot(&brought).unwrap();
    assert!(store.remove_unused(&items).unwrap());
    let expected: BTreeSet<_> = closure(store, tagged).into_iter().chain([needed, not_brought]).collect();
    assert_eq!(all_blobs(store), expected);
    // It can be used again.
    lease.protect(&not_brought).unwrap();
    assert!(store.remove_unused(&[Item::Blob(not_brought)].into()).unwrap());
    assert!(store.has_blob(&not_brought).unwrap());
}

/// A snapshot that another command has brought, and that nothing leads to, keeps its parts: whoever knows its digest can use it.
#[test]
fn what_was_brought_in_vain_takes_nothing_from_a_snapshot_without_a_tag() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let other = put_snapshot(store, &lease, &["shared"], "other");
    let brought = put_snapshot(store, &lease, &["shared", "own"], "brought");
    let items = closure(store, brought).into_iter().map(Item::Blob).collect();
    drop(lease);
    assert!(store.remove_unused(&items).unwrap());
    assert_eq!(all_blobs(store), closure(store, other));
    store.load_snapshot(&other).unwrap();
}

/// Wherever it is killed, no manifest is there without its parts.
#[test]
fn what_was_brought_in_vain_goes_manifests_first() {
    for fatal in 0.. {
        let home = home();
        let store = &home.store;
        let brought = put_snapshot(store, &store.lease().unwrap(), &["own"], "brought");
        // In the order in which an unpack brings it.
        let items = closure(store, brought).into_iter().map(Item::Blob).collect();
        let plan = store.plan_removal(&items).unwrap();
        let lock = store.try_lock(LockKey::Collector).unwrap().unwrap();
        let mut step = 0;
        let removed = store.prune_stepwise(&lock, &plan, &mut || {
            no_half_snapshot(store);
            step += 1;
            if step > fatal { Err(PruneError::Killed) } else { Ok(()) }
        });
        no_half_snapshot(store);
        if removed.is_ok() {
            assert_eq!(all_blobs(store), BTreeSet::new());
            return;
        }
    }
}

/// A snapshot's attachment may be the manifest of another one, by whoever made it. That says nothing of the parts of this.
#[test]
fn what_lists_the_manifest_of_another_snapshot_takes_nothing_from_it() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let attached = put_snapshot(store, &lease, &["own"], "attached");
    let (_, bytes) = store.read_manifest(&attached).unwrap();
    let other = put_snapshot(store, &lease, &["shared"], "other");
    let mut other = store.load_snapshot(&other).unwrap();
    other.config.attachments = vec![format::config::Attachment {
        media_type: format::manifest::media_type::MANIFEST.to_owned(),
        digest: attached,
        size: bytes.len() as u64,
        critical: false,
    }];
    let encoded = other.config.encode().unwrap();
    store.put_blob(&lease, &encoded).unwrap();
    let size = |digest: &Digest| fs::metadata(store.blob_path(digest)).unwrap().len();
    let manifest = format::testing::manifest(&other.config, &encoded, &other.maps, size);
    let attaching = store.put_blob(&lease, &manifest.encode().unwrap()).unwrap();
    // Read in this order.
    store.set_ref(&name("local/a:1"), &attaching, None).unwrap();
    store.set_ref(&name("local/b:1"), &attached, None).unwrap();
    store.load_snapshot(&attaching).unwrap();
    drop(lease);
    prune(store, true);
    store.load_snapshot(&attaching).unwrap();
    let expected: BTreeSet<_> =
        closure(store, attaching).into_iter().chain(closure(store, attached)).collect();
    assert_eq!(all_blobs(store), expected);
}

#[test]
fn what_nothing_uses_goes_and_what_is_shared_stays() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let kept = put_snapshot(store, &lease, &["shared"], "kept");
    let gone = put_snapshot(store, &lease, &["shared", "own"], "gone");
    store.set_ref(&name("local/kept:1"), &kept, None).unwrap();
    let (shared, own) = (Digest::of(&layer("shared")), Digest::of(&layer("own")));
    let config = store.load_snapshot(&kept).unwrap().config;
    let flats = [FlatKey::Layer(shared), FlatKey::Map(config.memory.map), FlatKey::Layer(own)];
    for key in flats {
        put_flat(store, &lease, key);
    }
    store.set_framing(&own, &store.load_snapshot(&gone).unwrap().config.disks[1].map).unwrap();
    store.set_framing(&shared, &config.disks[0].map).unwrap();
    // Protected by the lease.
    assert!(store.plan_prune(true).unwrap().candidates.is_empty());
    drop(lease);

    let plan = store.plan_prune(false).unwrap();
    let first = &plan.candidates[0];
    assert_eq!((&first.item, first.why), (&Item::Blob(gone), Why::Untagged));
    let report = store.prune(&plan, &mut || ()).unwrap();
    assert_eq!((report.removed, report.kept), (plan.candidates.len(), 0));
    assert!(report.bytes > 0);
    assert_eq!(all_blobs(store), closure(store, kept));
    let left: Vec<_> = store.flat_files().unwrap().iter().map(|flat| flat.key).collect();
    assert_eq!(left.len(), 2);
    assert!(!left.contains(&FlatKey::Layer(own)));
    assert!(store.framing(&shared).unwrap().is_some());
    assert_eq!(store.framing(&own).unwrap(), None);
    assert!(store.plan_prune(false).unwrap().candidates.is_empty());
}

#[test]
fn a_sandbox_keeps_its_snapshot_and_the_flat_files_it_links_to() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let digest = put_snapshot(store, &lease, &["a"], "1");
    let stray = FlatKey::Map(Digest::of(b"of no snapshot"));
    put_flat(store, &lease, stray);
    let draft = store.draft_sandbox(&lease, &digest).unwrap();
    let id = draft.id().clone();
    assert!(store.link_flat(stray, &draft.path().join("memory")).unwrap());
    assert!(!store.link_flat(FlatKey::Map(digest), &draft.path().join("other")).unwrap());
    drop(lease);
    let report = prune(store, true);
    assert_eq!((report.removed, report.kept), (0, 0), "while it is being made");
    draft.commit().unwrap();
    let report = prune(store, true);
    assert_eq!((report.removed, report.kept), (0, 0));
    store.load_snapshot(&digest).unwrap();
    assert_eq!(store.flat_file(stray).unwrap().unwrap().users, 1);

    store.remove_sandbox(&id).unwrap();
    prune(store, false);
    assert!(all_blobs(store).is_empty());
    assert!(store.flat_files().unwrap().is_empty());
}

#[test]
fn cached_bases_stay_unless_all_is_to_go() {
    let home = home();
    let store = &home.store;
    let content = Digest::of(b"base");
    put_flat(store, &store.lease().unwrap(), FlatKey::Layer(content));
    let (bases, kernels) = (store.cache_folder().join("bases"), store.cache_folder().join("kernels"));
    fs::create_dir_all(&bases).unwrap();
    fs::write(bases.join("key.json"), format!(r#"{{"layers":["{content}"],"other":1}}"#)).unwrap();
    fs::create_dir_all(kernels.join("6.1")).unwrap();
    assert_eq!(prune(store, false).removed, 0);
    assert_eq!(store.flat_files().unwrap().len(), 1);
    prune(store, true);
    assert!(store.flat_files().unwrap().is_empty());
    assert!(names(&bases).unwrap().is_empty());
    assert!(names(&kernels).unwrap().is_empty());
}

#[test]
fn all_evicts_what_is_laid_out_unless_it_is_linked_to_or_leased() {
    let home = home();
    let store = &home.store;
    let making = store.lease().unwrap();
    let digest = put_snapshot(store, &making, &["a", "b"], "1");
    store.set_ref(&name("local/a:1"), &digest, None).unwrap();
    let config = store.load_snapshot(&digest).unwrap().config;
    let layer_of = |text| FlatKey::Layer(Digest::of(&layer(text)));
    let (linked, leased, idle) = (FlatKey::Map(config.memory.map), layer_of("a"), layer_of("b"));
    for key in [linked, leased, idle] {
        put_flat(store, &making, key);
    }
    let draft = store.draft_sandbox(&making, &digest).unwrap();
    assert!(store.link_flat(linked, &draft.path().join("memory")).unwrap());
    drop((draft.commit().unwrap(), making));
    // What runs may not have linked to all that it needs yet.
    assert_eq!(prune(store, true).removed, 0);
    store.remove_sandbox(&store.sandboxes().unwrap()[0]).unwrap();
    let link = store.folder(Folder::Sandboxes).join("link");
    assert!(store.link_flat(linked, &link).unwrap());
    let lease = store.lease().unwrap();
    lease.protect(leased.digest()).unwrap();

    assert!(store.plan_prune(false).unwrap().candidates.is_empty());
    let plan = store.plan_prune(true).unwrap();
    let candidates: Vec<_> = plan.candidates.iter().map(|one| (&one.item, one.why)).collect();
    assert_eq!(candidates, [(&Item::Flat(idle), Why::Cache)]);
    assert_eq!(store.prune(&plan, &mut || ()).unwrap().removed, 1);
    let left: BTreeSet<_> = store.flat_files().unwrap().iter().map(|flat| flat.key).collect();
    assert_eq!(left, BTreeSet::from([linked, leased]));
    store.load_snapshot(&digest).unwrap();
}

#[test]
fn a_cache_entry_stays_while_a_bake_works_with_it() {
    let home = home();
    let store = &home.store;
    let (kernel, base) = (Digest::of(b"kernel"), Digest::of(b"base"));
    fs::create_dir_all(store.cache_entry("kernels", &kernel.hex())).unwrap();
    store.write_cache_entry("bases", &format!("{}.json", base.hex()), b"{}").unwrap();
    let held = store.lock(LockKey::Object(kernel), &mut || ()).unwrap();
    let report = prune(store, true);
    assert_eq!((report.removed, report.kept), (1, 1));
    assert!(store.cache_entry("kernels", &kernel.hex()).is_dir());
    drop(held);
    assert_eq!(prune(store, true).removed, 1);
}

#[test]
fn a_damaged_root_stops_collection_and_is_named() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let digest = put_snapshot(store, &lease, &["a"], "1");
    let stray = store.put_blob(&lease, b"stray").unwrap();
    store.set_ref(&name("local/a:1"), &digest, None).unwrap();
    let plan = {
        drop(lease);
        store.plan_prune(false).unwrap()
    };
    fs::remove_file(store.blob_path(&digest)).unwrap();
    for error in [store.plan_prune(false).unwrap_err(), store.prune(&plan, &mut || ()).unwrap_err()] {
        assert!(error.to_string().contains("tag local/a:1"), "{error}");
    }
    assert!(store.has_blob(&stray).unwrap());
    // A filled trash is put back whole then.
    fs::rename(store.blob_path(&stray), store.trash_path(&Item::Blob(stray))).unwrap();
    Store::open(store.root()).unwrap();
    assert!(store.has_blob(&stray).unwrap());
}

#[test]
fn a_lease_of_a_dead_command_protects_nothing_and_goes() {
    let home = home();
    let store = &home.store;
    let stray = store.put_blob(&store.lease().unwrap(), b"stray").unwrap();
    let leases = store.folder(Folder::Leases);
    fs::write(leases.join("dead"), format!("{stray}\n")).unwrap();
    prune(store, false);
    assert!(!store.has_blob(&stray).unwrap());
    assert!(names(&leases).unwrap().is_empty());
}

struct Mixed {
    home: Home,
    lease: Lease,
    tagged: Digest,
    leased: Digest,
    /// Nothing names it yet.
    late: Digest,
}

/// Snapshots that share blobs: with a tag, on a lease, two with neither; and strays.
fn mixed() -> Mixed {
    let home = home();
    let store = &home.store;
    let making = store.lease().unwrap();
    let tagged = put_snapshot(store, &making, &["shared"], "tagged");
    let leased = put_snapshot(store, &making, &["shared", "b"], "leased");
    let late = put_snapshot(store, &making, &["shared", "d"], "late");
    put_snapshot(store, &making, &["shared", "c"], "untagged");
    store.set_ref(&name("local/tagged:1"), &tagged, None).unwrap();
    store.put_blob(&making, b"stray").unwrap();
    for text in ["c", "shared"] {
        put_flat(store, &making, FlatKey::Layer(Digest::of(&layer(text))));
    }
    let lease = store.lease().unwrap();
    lease.protect(&leased).unwrap();
    Mixed { lease, tagged, leased, late, home }
}

/// No manifest is there without all that it lists; and none could be rescued from the trash without it.
fn no_half_snapshot(store: &Store) {
    let place = |digest: &Digest| store.blob_path(digest);
    let trash = |digest: &Digest| store.trash_path(&Item::Blob(*digest));
    let in_trash = names(&store.folder(Folder::Trash)).unwrap();
    let in_trash = in_trash.iter().filter_map(|name| match Item::from_trash(name) {
        Some(Item::Blob(digest)) => Some(digest),
        _ => None,
    });
    for digest in store.blobs().unwrap().into_iter().chain(in_trash) {
        let Some(manifest) = store.manifest_among_blobs(&digest).unwrap() else { continue };
        let can_be_rescued = !place(&digest).exists();
        for blob in manifest.blobs().map(|blob| &blob.digest) {
            let is_there = place(blob).exists() || can_be_rescued && trash(blob).exists();
            assert!(is_there, "{digest} without {blob}");
        }
    }
}

/// Collects, ending as if killed at step `fatal`; somebody begins to need `late` in the middle.
fn prune_until(mixed: &Mixed, fatal: usize) -> Result<PruneReport, PruneError> {
    let Mixed { home, lease, late, .. } = mixed;
    let store = &home.store;
    let plan = store.plan_prune(false).unwrap();
    assert!(plan.candidates.len() > 10);
    let lock = store.try_lock(LockKey::Collector).unwrap().unwrap();
    let mut step = 0;
    store.prune_stepwise(&lock, &plan, &mut || {
        no_half_snapshot(store);
        if names(&store.folder(Folder::Trash)).unwrap().len() > 8 {
            lease.protect(late).unwrap();
        }
        step += 1;
        // From the fatal step on nothing more happens.
        if step > fatal { Err(PruneError::Killed) } else { Ok(()) }
    })
}

#[test]
fn a_crash_at_any_step_leaves_garbage_at_worst() {
    for fatal in 0.. {
        let mixed = mixed();
        let store = &mixed.home.store;
        let survived = prune_until(&mixed, fatal).is_ok();
        Store::open(store.root()).unwrap();
        no_half_snapshot(store);
        assert!(names(&store.folder(Folder::Trash)).unwrap().is_empty());
        // The next collection ends the work, and nothing in use was lost.
        mixed.lease.protect(&mixed.late).unwrap();
        let late = store.has_blob(&mixed.late).unwrap();
        prune(store, false);
        let mut expected = closure(store, mixed.tagged);
        expected.extend(closure(store, mixed.leased));
        if late {
            expected.extend(closure(store, mixed.late));
        }
        assert_eq!(all_blobs(store), expected, "killed at step {fatal}");
        assert_eq!(store.flat_files().unwrap().len(), 1);
        if survived {
            assert!(late && fatal > 40, "{fatal}");
            return;
        }
    }
}
