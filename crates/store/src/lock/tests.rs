//! Locks that are waited for, and removed under waiters.
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::file::names;
use crate::testing::home;

#[test]
fn one_holds_it_others_wait() {
    let home = home();
    let store = &home.store;
    let key = LockKey::Object(Digest::of(b"x"));
    let held = store.lock(key, &mut || panic!("nobody holds it")).unwrap();
    assert!(store.try_lock(key).unwrap().is_none());
    assert!(store.try_lock(LockKey::Flat(FlatKey::Map(Digest::of(b"x")))).unwrap().is_some());
    let (waits, waiting) = mpsc::channel();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| store.lock(key, &mut || waits.send(()).unwrap()).map(drop));
        waiting.recv_timeout(Duration::from_secs(60)).unwrap();
        drop(held);
        other.join().unwrap().unwrap();
    });
}

#[test]
fn a_lock_on_a_removed_file_is_no_lock() {
    let home = home();
    let store = &home.store;
    let key = LockKey::Object(Digest::of(b"x"));
    let path = store.folder(Folder::Locks).join(key.file_name());
    let held = store.lock(key, &mut || ()).unwrap();
    assert!(!remove_unlocked(&path).unwrap());
    let (waits, waiting) = mpsc::channel();
    std::thread::scope(|scope| {
        let other = scope.spawn(|| store.lock(key, &mut || waits.send(()).unwrap()));
        waiting.recv_timeout(Duration::from_secs(60)).unwrap();
        // As a sweep would that had locked it first: the waiter must not end up with the removed file.
        std::fs::remove_file(&path).unwrap();
        drop(held);
        let _lock = other.join().unwrap().unwrap();
        assert!(path.exists());
        assert!(store.try_lock(key).unwrap().is_none());
    });
}

#[test]
fn prune_removes_the_files_of_free_locks_only() {
    let home = home();
    let store = &home.store;
    let (free, held) = (LockKey::Object(Digest::of(b"free")), LockKey::Object(Digest::of(b"held")));
    drop(store.lock(free, &mut || ()).unwrap());
    let _held = store.lock(held, &mut || ()).unwrap();
    store.prune(&store.plan_prune(false).unwrap(), &mut || ()).unwrap();
    let left = names(&store.folder(Folder::Locks)).unwrap();
    assert!(!left.contains(&free.file_name()) && left.contains(&held.file_name()), "{left:?}");
}
