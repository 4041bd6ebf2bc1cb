//! From a file to frames and a map and back to a file; and blobs that are not what their map says.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use format::config::{Disk, DiskRole};
use format::map::MapBuilder;
use proptest::prelude::*;

use super::*;
use crate::testing::{Home, home, put_snapshot};
use crate::{FlatKey, Framing};

/// A sparse file of `pages` pages in which the listed ones are filled with bytes of their own.
fn sparse(pages: u64, filled: &[u64]) -> File {
    let file = tempfile::tempfile().unwrap();
    file.set_len(pages * PAGE_SIZE).unwrap();
    for page in filled {
        let bytes: Vec<u8> =
            (0..PAGE_SIZE).map(|n| u8::try_from(n * (page + 1) % 251 + 1).unwrap()).collect();
        file.write_all_at(&bytes, page * PAGE_SIZE).unwrap();
    }
    file
}

/// Stores the filled pages of a file and maps them.
fn store_pages(home: &Home, file: &File, pages: u64, filled: &[u64]) -> Map {
    let lease = home.store.lease().unwrap();
    let ranges: Vec<_> = filled.iter().map(|page| (*page, 1)).collect();
    let blobs = home.store.write_frames(&lease, file, &ranges, Framing::PRIVATE).unwrap();
    let mut builder = MapBuilder::new(pages);
    for (stored, page) in (0..).zip(filled) {
        builder.blob(*page, 1, &blobs[0], stored).unwrap();
    }
    // The blobs outlive the lease: nothing collects here.
    builder.finish().unwrap()
}

fn content(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_is_laid_out_is_what_was_stored(filled in proptest::collection::btree_set(0_u64..600, 1..200)) {
        let home = home();
        let filled: Vec<_> = filled.into_iter().collect();
        let file = sparse(600, &filled);
        let map = store_pages(&home, &file, 600, &filled);
        let out = tempfile::tempfile().unwrap();
        write_map(&home.store, &map, &[], &Output::of_test(&out)).unwrap();
        prop_assert!(content(&out) == content(&file));
    }
}

#[test]
fn stored_zeros_become_holes() {
    let home = home();
    let file = sparse(1000, &[3, 999]);
    let all: Vec<_> = (0..1000).collect();
    let map = store_pages(&home, &file, 1000, &all);
    assert_eq!(map.covered_pages(), 1000);
    let out = tempfile::tempfile().unwrap();
    write_map(&home.store, &map, &[], &Output::of_test(&out)).unwrap();
    assert_eq!(content(&out), content(&file));
    assert!(out.metadata().unwrap().blocks() * 512 <= 64 * PAGE_SIZE, "{}", out.metadata().unwrap().blocks());
}

#[test]
fn equal_pages_give_equal_blobs_of_bounded_size() {
    let home = home();
    let file = tempfile::tempfile().unwrap();
    let mut noise = vec![0_u8; 70 << 20];
    let mut state = 1_u64;
    for chunk in noise.chunks_mut(8) {
        // xorshift64: zstd finds nothing in it.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes());
    }
    file.write_all_at(&noise, 0).unwrap();
    let lease = home.store.lease().unwrap();
    let pages = (70 << 20) / PAGE_SIZE;
    let map = home.store.write_layer_frames(&lease, &file, pages).unwrap();
    assert_eq!(map.blobs().len(), 2);
    assert!(map.blobs().iter().all(|blob| blob.size <= format::limits::BLOB_BYTES));
    map.check_layer().unwrap();
    assert_eq!(home.store.write_layer_frames(&lease, &file, pages).unwrap(), map);
    let out = tempfile::tempfile().unwrap();
    write_map(&home.store, &map, &[], &Output::of_test(&out)).unwrap();
    assert_eq!(hash_file(&out).unwrap(), Digest::of(&noise));
}

#[test]
fn memory_takes_pages_from_layers() {
    let home = home();
    let layer = sparse(10, &(0..10).collect::<Vec<_>>());
    let identity = hash_file(&layer).unwrap();
    let mut builder = MapBuilder::new(20);
    builder.layer(5, 3, identity, 7).unwrap();
    let map = builder.finish().unwrap();
    let out = tempfile::tempfile().unwrap();
    assert!(matches!(
        write_map(&home.store, &map, &[], &Output::of_test(&out)),
        Err(LayoutError::NoLayer(_))
    ));
    let layers = [LayerFile { content: identity, file: layer.try_clone().unwrap() }];
    write_map(&home.store, &map, &layers, &Output::of_test(&out)).unwrap();
    assert_eq!(content(&out)[5 * 4096..8 * 4096], content(&layer)[7 * 4096..]);
}

/// Changes one byte of a blob behind the store's back.
fn damage(home: &Home, blob: &Digest, at: u64) {
    let path = home.store.root().join("blobs/sha256").join(blob.hex());
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
}

#[test]
fn damage_is_found_before_it_is_laid_out() {
    let home = home();
    let filled: Vec<_> = (0..100).collect();
    let map = store_pages(&home, &sparse(100, &filled), 100, &filled);
    let blob = map.blobs()[0].clone();
    let out = tempfile::tempfile().unwrap();
    damage(&home, &blob.digest, blob.index_offset + 30);
    assert!(matches!(
        write_map(&home.store, &map, &[], &Output::of_test(&out)),
        Err(LayoutError::Index { .. })
    ));
    damage(&home, &blob.digest, blob.index_offset + 30);
    damage(&home, &blob.digest, 5);
    let error = write_map(&home.store, &map, &[], &Output::of_test(&out)).unwrap_err();
    assert!(matches!(error, LayoutError::Frame { source: FrameError::Digest { .. }, .. }), "{error}");
}

#[test]
fn a_layer_with_a_false_identity_is_not_kept() {
    let home = home();
    let lease = home.store.lease().unwrap();
    let digest = put_snapshot(&home.store, &lease, &["a"], "x");
    let mut snapshot = home.store.load_snapshot(&digest).unwrap();
    let lie = Digest::of(b"another layer");
    snapshot.config.disks[0] =
        Disk { role: DiskRole::Layer, content: Some(lie), ..snapshot.config.disks[0].clone() };
    let error = home.store.lay_out(&lease, &snapshot, NEVER).unwrap_err();
    assert!(matches!(error, LayoutError::Content { expected, .. } if expected == lie), "{error}");
    assert!(home.store.flat_files().unwrap().is_empty());
}

#[test]
fn flat_files_are_laid_out_once_and_shared() {
    let home = home();
    let lease = home.store.lease().unwrap();
    let digest = put_snapshot(&home.store, &lease, &["a", "b"], "x");
    let snapshot = home.store.load_snapshot(&digest).unwrap();
    let flats = home.store.lay_out(&lease, &snapshot, NEVER).unwrap();
    let inode = |key| fs::metadata(home.store.flat_path(key)).unwrap().ino();
    let before: Vec<_> = flats.disks.iter().map(|key| inode(*key)).collect();
    assert_eq!(home.store.lay_out(&lease, &snapshot, NEVER).unwrap(), flats);
    assert_eq!(before, flats.disks.iter().map(|key| inode(*key)).collect::<Vec<_>>());
    assert_eq!(home.store.flat_files().unwrap().len(), 4);
}

#[test]
fn blobs_are_laid_out_as_they_come_in_any_order() {
    let home = home();
    let lease = home.store.lease().unwrap();
    let digest = put_snapshot(&home.store, &lease, &["a", "b"], "x");
    let snapshot = home.store.load_snapshot(&digest).unwrap();
    let mut blobs: Vec<_> = snapshot.manifest.blobs().map(|blob| blob.digest).collect();
    blobs.reverse();
    let mut layout = home.store.layout(&lease, &snapshot.config, &snapshot.maps).unwrap();
    assert!(layout.bytes() > 0);
    for blob in &blobs {
        layout.add(blob).unwrap();
    }
    // Everything has been read: what is left needs no blob.
    for blob in &blobs {
        fs::remove_file(home.store.root().join("blobs/sha256").join(blob.hex())).unwrap();
    }
    let flats = layout.finish(&mut || ()).unwrap();
    assert_eq!(home.store.layout(&lease, &snapshot.config, &snapshot.maps).unwrap().bytes(), 0);
    for key in flats.disks.iter().filter(|key| matches!(key, FlatKey::Layer(_))) {
        let file = home.store.open_flat(*key).unwrap().unwrap();
        assert_eq!(hash_file(&file).unwrap(), *key.digest());
    }
}

#[test]
fn a_layout_that_is_given_up_leaves_what_is_whole() {
    let home = home();
    let lease = home.store.lease().unwrap();
    let digest = put_snapshot(&home.store, &lease, &["a", "b"], "x");
    let snapshot = home.store.load_snapshot(&digest).unwrap();
    let mut layout = home.store.layout(&lease, &snapshot.config, &snapshot.maps).unwrap();
    for map in [&snapshot.maps.disks[0], &snapshot.maps.memory] {
        layout.add(&map.blobs()[0].digest).unwrap();
    }
    // A thread of its own makes it visible.
    let content = snapshot.config.disks[0].content.unwrap();
    let begun = std::time::Instant::now();
    while home.store.open_flat(FlatKey::Layer(content)).unwrap().is_none() {
        assert!(begun.elapsed() < std::time::Duration::from_secs(60), "the layer is whole, and not visible");
        std::thread::yield_now();
    }
    drop(layout);
    let flats: Vec<_> = home.store.flat_files().unwrap().iter().map(|file| file.key).collect();
    // The memory was still without the pages of its layers, unless that has settled, too.
    assert!(flats.contains(&FlatKey::Layer(content)) && flats.len() < 4, "{flats:?}");
    assert_eq!(home.store.fsck(&|_| ()).unwrap().problems.len(), 0);
    assert_eq!(crate::file::names(&home.store.folder(crate::Folder::Tmp)).unwrap(), [""; 0]);
    home.store.lay_out(&lease, &snapshot, NEVER).unwrap();
}

#[test]
fn what_another_command_lays_out_is_waited_for() {
    let home = home();
    let lease = home.store.lease().unwrap();
    let digest = put_snapshot(&home.store, &lease, &["a"], "x");
    let snapshot = home.store.load_snapshot(&digest).unwrap();
    let key = FlatKey::Map(snapshot.config.memory.map);
    let held = std::cell::RefCell::new(Some(home.store.lock(crate::LockKey::Flat(key), &mut || ()).unwrap()));
    let mut layout = home.store.layout(&lease, &snapshot.config, &snapshot.maps).unwrap();
    for blob in snapshot.manifest.blobs() {
        layout.add(&blob.digest).unwrap();
    }
    assert!(home.store.open_flat(key).unwrap().is_none());
    // It gives up: then the one who waited does it.
    let flats = layout.finish(&mut || drop(held.borrow_mut().take())).unwrap();
    assert!(held.borrow().is_none() && home.store.open_flat(flats.memory).unwrap().is_some());
}

/// Each has begun what the other one waits for.
#[test]
fn commands_that_lay_out_the_same_do_not_wait_for_each_other_for_ever() {
    const TIMES: usize = 50;
    let home = home();
    let lease = home.store.lease().unwrap();
    for unique in 0..TIMES {
        let digest = put_snapshot(&home.store, &lease, &["a", "b"], &unique.to_string());
        let snapshot = std::sync::Arc::new(home.store.load_snapshot(&digest).unwrap());
        let (done, results) = std::sync::mpsc::channel();
        for _ in 0..2 {
            let (store, snapshot, done) = (home.store.clone(), snapshot.clone(), done.clone());
            std::thread::spawn(move || {
                let lease = store.lease().unwrap();
                done.send(store.lay_out(&lease, &snapshot, NEVER).unwrap()).unwrap();
            });
        }
        let wait = || results.recv_timeout(std::time::Duration::from_secs(60)).expect("both end");
        assert_eq!(wait(), wait());
    }
}

/// Two snapshots that somebody made for it: the memory of each is the writable disk of the other one.
#[test]
fn commands_that_lay_out_the_same_as_other_parts_do_not_wait_for_each_other_for_ever() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let digest = put_snapshot(store, &lease, &["a"], "x");
    let snapshot = store.load_snapshot(&digest).unwrap();
    let part = |name: &str| {
        let mut builder = MapBuilder::new(16);
        for page in [0, 4] {
            let file = sparse(2, &[0, 1]);
            file.write_all_at(format!("{name} {page}").as_bytes(), 0).unwrap();
            let blobs = store.write_frames(&lease, &file, [(0, 2)], Framing::PRIVATE).unwrap();
            builder.blob(page, 2, &blobs[0], 0).unwrap();
        }
        (Digest::of(name.as_bytes()), builder.finish().unwrap())
    };
    let parts = [part("one"), part("other")];
    let has_begun = std::sync::Arc::new(std::sync::Barrier::new(2));
    let (done, results) = std::sync::mpsc::channel();
    for (memory, writable) in [(0, 1), (1, 0)] {
        let (mut config, mut maps) = (snapshot.config.clone(), snapshot.maps.clone());
        (config.memory.map, maps.memory) = parts[memory].clone();
        (config.disks[1].map, maps.disks[1]) = parts[writable].clone();
        let (store, done, has_begun) = (store.clone(), done.clone(), has_begun.clone());
        std::thread::spawn(move || {
            let lease = store.lease().unwrap();
            let mut layout = store.layout(&lease, &config, &maps).unwrap();
            // The memory's frames come first in any manifest.
            layout.add(&maps.memory.blobs()[0].digest).unwrap();
            has_begun.wait();
            layout.finish(&mut || ()).unwrap();
            done.send(()).unwrap();
        });
    }
    for _ in 0..2 {
        results.recv_timeout(std::time::Duration::from_secs(60)).expect("both end");
    }
    assert_eq!(store.flat_files().unwrap().len(), 3);
}

/// Where nobody is left who wants it, what is still to do is not done, and that is no error.
#[test]
fn a_layout_ends_with_its_feed() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let digest = put_snapshot(store, &lease, &["a"], "1");
    let snapshot = store.load_snapshot(&digest).unwrap();
    for is_all_there in [false, true] {
        let (feed, arrivals) = layout_feed();
        assert!(snapshot.manifest.blobs().all(|blob| feed.there(blob.digest)));
        if is_all_there {
            feed.all_there();
        }
        drop(feed);
        let layout = store.layout(&lease, &snapshot.config, &snapshot.maps).unwrap();
        layout.follow(&arrivals, || ()).unwrap();
        assert!(store.flat_files().unwrap().is_empty());
    }
    let (feed, arrivals) = layout_feed();
    feed.all_there();
    let layout = store.layout(&lease, &snapshot.config, &snapshot.maps).unwrap();
    layout.follow(&arrivals, || ()).unwrap();
    assert_eq!(store.flat_files().unwrap().len(), 3);
    drop(feed);
}

/// Nor is another process waited for.
#[test]
fn whoever_waits_for_another_layout_stops_when_it_is_told_to() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let digest = put_snapshot(store, &lease, &["a"], "1");
    let snapshot = store.load_snapshot(&digest).unwrap();
    let key = FlatKey::Map(snapshot.config.memory.map);
    let _held = store.lock(crate::LockKey::Flat(key), &mut || ()).unwrap();
    let is_waiting = std::sync::atomic::AtomicBool::new(false);
    let stop = || is_waiting.load(std::sync::atomic::Ordering::Relaxed);
    let layout = store.layout(&lease, &snapshot.config, &snapshot.maps).unwrap().until(&stop);
    let finished = layout.finish(&mut || is_waiting.store(true, std::sync::atomic::Ordering::Relaxed));
    assert!(matches!(finished, Err(LayoutError::Stopped)), "{finished:?}");
}

/// Nothing is left of what was begun.
#[test]
fn a_layout_stops_when_it_is_told_to() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let digest = put_snapshot(store, &lease, &["a"], "1");
    let snapshot = store.load_snapshot(&digest).unwrap();
    let stopped = store.layout(&lease, &snapshot.config, &snapshot.maps).unwrap().until(&|| true);
    assert!(matches!(stopped.finish(&mut || ()), Err(LayoutError::Stopped)));
    assert!(store.flat_files().unwrap().is_empty());
    let (feed, arrivals) = layout_feed();
    let follow = store.layout(&lease, &snapshot.config, &snapshot.maps).unwrap().until(&|| true);
    assert!(snapshot.manifest.blobs().all(|blob| feed.there(blob.digest)));
    assert!(matches!(follow.follow(&arrivals, || ()), Err(LayoutError::Stopped)));
    assert!(store.flat_files().unwrap().is_empty());
    store.lay_out(&lease, &snapshot, NEVER).unwrap();
    assert_eq!(store.flat_files().unwrap().len(), 3);
}
