//! Every kind of damage is found and named.
use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use format::PAGE_SIZE;
use format::map::{Codec, MapBuilder};

use super::*;
use crate::lock::lock_existing;
use crate::testing::{Home, home, name, pages, put_snapshot};
use crate::trash::Item;
use crate::{Folder, Framing, LockKey, SandboxId, Snapshot};

fn filled() -> (Home, Snapshot) {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let digest = put_snapshot(store, &lease, &["a", "b"], "1");
    let other = put_snapshot(store, &lease, &["a"], "2");
    store.set_ref(&name("local/one:1"), &digest, None).unwrap();
    store.set_ref(&name("local/two:1"), &other, None).unwrap();
    let snapshot = store.load_snapshot(&digest).unwrap();
    store.lay_out(&lease, &snapshot, &|| false).unwrap();
    store.draft_sandbox(&lease, &digest).unwrap().commit().unwrap();
    (home, snapshot)
}

fn problems(store: &Store) -> Vec<String> {
    let report = store.fsck(&|_| ()).unwrap();
    report
        .problems
        .iter()
        .inspect(|problem| assert!(!problem.remedy().is_empty()))
        .map(ToString::to_string)
        .collect()
}

fn damage(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_sound_store_has_no_problems() {
    let (home, _) = filled();
    let done = AtomicU64::new(0);
    let report = home.store.fsck(&|progress| {
        assert!(progress.done <= progress.total);
        done.fetch_max(progress.done, Ordering::Relaxed);
    });
    let report = report.unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
    assert_eq!((report.snapshots, report.flats), (2, 4));
    assert_eq!(report.blobs, home.store.blobs().unwrap().len());
    assert!(done.into_inner() > 4 * 4096);
    assert!(crate::file::names(&home.store.folder(Folder::Tmp)).unwrap().is_empty());
}

#[test]
fn a_damaged_blob_is_named_with_the_snapshots_that_have_it() {
    let (home, snapshot) = filled();
    let frames = snapshot.maps.disks[0].blobs()[0].digest;
    damage(&home.store.blob_path(&frames));
    let problems = problems(&home.store);
    let blob =
        problems.iter().find(|problem| problem.starts_with(&format!("blob {frames} is damaged"))).unwrap();
    assert!(blob.contains("snapshot local/one:1") && blob.contains("snapshot local/two:1"), "{blob}");
    // Its last byte belongs to the index, which is read on its own.
    assert!(problems.iter().any(|problem| problem.contains("its index has the digest")), "{problems:?}");
}

#[test]
fn a_damaged_config_names_its_snapshot() {
    let (home, snapshot) = filled();
    damage(&home.store.blob_path(&snapshot.manifest.config.digest));
    let problems = problems(&home.store);
    assert!(problems.iter().any(|problem| problem.starts_with("snapshot local/one:1: ")), "{problems:?}");
}

#[test]
fn damaged_flat_files_are_found() {
    let (home, snapshot) = filled();
    let store = &home.store;
    let layer = FlatKey::Layer(snapshot.config.disks[1].content.unwrap());
    let memory = FlatKey::Map(snapshot.config.memory.map);
    damage(&store.flat_path(layer));
    // The last page is a hole: what is not covered must be zero.
    damage(&store.flat_path(memory));
    let problems = problems(store);
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems.iter().any(|problem| problem.starts_with(&format!("flat file {layer} is damaged"))));
    let offset = snapshot.maps.memory.bytes() - 1;
    let expected = format!("flat file {memory} is damaged: it differs from its map at byte {offset}");
    assert!(problems.contains(&expected), "{problems:?}");
}

#[test]
fn a_short_flat_file_is_found() {
    let (home, snapshot) = filled();
    let key = FlatKey::Map(snapshot.config.disks[2].map);
    fs::File::options().write(true).open(home.store.flat_path(key)).unwrap().set_len(4096 * 5).unwrap();
    let problems = problems(&home.store);
    assert_eq!(
        problems,
        [format!("flat file {key} is damaged: it differs from its map at byte {}", 4096 * 5)]
    );
}

#[test]
fn missing_parts_and_roots_that_lead_nowhere_are_named() {
    let (home, snapshot) = filled();
    let store = &home.store;
    let kernel = snapshot.config.machine.kernel.image;
    fs::remove_file(store.blob_path(&kernel)).unwrap();
    let found = problems(store);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|problem| problem.contains(&format!("missing: kernel {kernel}"))), "{found:?}");

    fs::remove_file(store.blob_path(&snapshot.digest)).unwrap();
    let found = problems(store);
    let dangling = format!("tag local/one:1 leads to {}, which is not in the store", snapshot.digest);
    assert!(found.contains(&dangling), "{found:?}");
    let id = &store.sandboxes().unwrap()[0];
    assert!(found.contains(&format!("sandbox {id} is of no snapshot in the store")), "{found:?}");
}

#[test]
fn foreign_files_are_named() {
    let (home, _) = filled();
    let store = &home.store;
    let foreign =
        ["notes.txt", "blobs/sha512", "blobs/sha256/README", "refs/latest", "flat/disk.img", "sandboxes/x"];
    for path in foreign {
        fs::File::create(store.root().join(path)).unwrap().write_all(b"x").unwrap();
    }
    let mut expected: Vec<_> = foreign
        .iter()
        .map(|path| format!("{} is not the store's", store.root().join(path).display()))
        .collect();
    let mut found = problems(store);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn a_damaged_tag_is_named_and_the_rest_is_checked() {
    let (home, snapshot) = filled();
    fs::write(home.store.folder(Folder::Refs).join("local%2Fbad%3A1"), "{").unwrap();
    fs::remove_file(home.store.blob_path(&snapshot.config.engine.state)).unwrap();
    let problems = problems(&home.store);
    assert!(problems.iter().any(|problem| problem.contains("local%2Fbad%3A1 is not as a store writes it")));
    assert!(problems.iter().any(|problem| problem.contains("missing: engine state")), "{problems:?}");
}

#[test]
fn what_is_left_over_is_named_unless_a_command_is_at_work_on_it() {
    let (home, snapshot) = filled();
    let store = &home.store;
    let _work = store.work_folder().unwrap();
    let trash = |id| store.trash_path(&Item::Sandbox(id));
    let [left, going] = [(); 2].map(|()| trash(SandboxId::random().unwrap()));
    [&left, &going].into_iter().for_each(|path| fs::create_dir(path).unwrap());
    let killed = store.folder(Folder::Leases).join("killed");
    fs::write(&killed, format!("{}\n", snapshot.digest)).unwrap();
    let held = lock_existing(&going).unwrap().unwrap();
    let expected = |paths: &[&Path]| -> Vec<_> {
        paths.iter().map(|path| format!("{} is left over", path.display())).collect()
    };
    assert_eq!(problems(store), expected(&[&left, &killed]));
    drop(held);
    assert_eq!(problems(store).len(), 3);
    // Whoever collects removes them all.
    let _collector = store.try_lock(LockKey::Collector).unwrap().unwrap();
    assert_eq!(problems(store), [""; 0]);
}

#[test]
fn holes_of_a_huge_disk_are_not_read() {
    const PAGES: u64 = 1 << 30;
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let plain = fs::File::from(rustix::fs::memfd_create("plain", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
    (&plain).write_all(&pages("disk", 2)).unwrap();
    let blobs = store.write_frames(&lease, &plain, [(0, 2)], Framing::PRIVATE).unwrap();
    let mut map = MapBuilder::new(PAGES);
    map.blob(PAGES / 2, 2, &blobs[0], 0).unwrap();
    let map = map.finish().unwrap();
    let key = FlatKey::Map(store.put_blob(&lease, &map.encode(Codec::Zstd).unwrap()).unwrap());
    let writer = store.flat_writer(&lease, key).unwrap();
    crate::layout::write_map(store, &map, &[], &writer.output().unwrap()).unwrap();
    writer.commit().unwrap();

    let begin = Instant::now();
    assert_eq!(problems(store), [""; 0]);
    let flat = fs::File::options().read(true).write(true).open(store.flat_path(key)).unwrap();
    let damaged = |offset: u64| {
        let mut before = [0];
        flat.read_exact_at(&mut before, offset).unwrap();
        flat.write_all_at(&[before[0] ^ 1], offset).unwrap();
        let expected = format!("flat file {key} is damaged: it differs from its map at byte {offset}");
        assert_eq!(problems(store), [expected]);
        flat.write_all_at(&before, offset).unwrap();
    };
    let data = PAGES / 2 * PAGE_SIZE;
    [0, data - 1, data + 5000, data + 2 * PAGE_SIZE, PAGES * PAGE_SIZE - 1].into_iter().for_each(damaged);
    assert_eq!(problems(store), [""; 0], "zeros were written where the map has none");
    // Reading 4 TiB of holes takes many minutes.
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
}
