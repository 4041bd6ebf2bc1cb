//! Broken and resumed transfers.
use std::sync::mpsc;

use super::*;
use crate::testing::{Home, home};

const CONTENT: &[u8] = b"hello, world";

fn start(home: &Home, lease: &Lease) -> Started {
    let size = CONTENT.len() as u64;
    Partial::open(&home.store, lease, &Digest::of(CONTENT), size, &mut || ()).unwrap()
}

fn receive(home: &Home, lease: &Lease) -> Partial {
    match start(home, lease) {
        Started::Receive(partial) => partial,
        Started::Complete => panic!("it is complete"),
    }
}

#[test]
fn a_broken_transfer_goes_on_where_it_broke() {
    let home = home();
    let lease = home.store.lease().unwrap();
    let mut partial = receive(&home, &lease);
    assert_eq!(partial.offset(), 0);
    partial.append(&CONTENT[..5]).unwrap();
    drop(partial);
    assert_eq!(home.store.partial_bytes(&Digest::of(CONTENT)).unwrap(), 5);
    // It is no blob yet, and the next start leaves it alone.
    assert!(!home.store.has_blob(&Digest::of(CONTENT)).unwrap());
    Store::open(home.store.root()).unwrap();
    let mut partial = receive(&home, &lease);
    assert_eq!(partial.offset(), 5);
    partial.append(&CONTENT[5..]).unwrap();
    partial.finish().unwrap();
    assert_eq!(home.store.read_blob(&Digest::of(CONTENT), 100).unwrap(), CONTENT);
    assert!(matches!(start(&home, &lease), Started::Complete));
    assert_eq!(home.store.partial_bytes(&Digest::of(CONTENT)).unwrap(), 0);
    assert_eq!(names(&home.store.folder(Folder::Partial)).unwrap(), [""; 0]);
}

#[test]
fn what_came_is_never_believed() {
    let home = home();
    let lease = home.store.lease().unwrap();
    fs::write(home.store.partial_path(&Digest::of(CONTENT)), b"HELLO").unwrap();
    let mut partial = receive(&home, &lease);
    partial.append(&CONTENT[5..]).unwrap();
    assert!(matches!(partial.finish(), Err(BlobError::Unexpected { .. })));
    // Bad bytes are not resumed: the next try begins anew.
    let mut partial = receive(&home, &lease);
    assert_eq!(partial.offset(), 0);
    assert!(matches!(partial.append(&[0; 100]), Err(BlobError::Size { .. })));
    partial.append(b"x").unwrap();
    partial.restart().unwrap();
    partial.append(&CONTENT[..11]).unwrap();
    assert!(matches!(partial.finish(), Err(BlobError::Size { found: 11, .. })));
    fs::write(home.store.partial_path(&Digest::of(CONTENT)), [0; 100]).unwrap();
    assert_eq!(receive(&home, &lease).offset(), 0);
}

#[test]
fn a_second_receiver_waits_and_finds_it_complete() {
    let home = home();
    let lease = home.store.lease().unwrap();
    let mut partial = receive(&home, &lease);
    let (waits, waiting) = mpsc::channel();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| {
            let digest = Digest::of(CONTENT);
            Partial::open(&home.store, &lease, &digest, CONTENT.len() as u64, &mut || waits.send(()).unwrap())
        });
        waiting.recv_timeout(Duration::from_secs(60)).unwrap();
        partial.append(CONTENT).unwrap();
        partial.finish().unwrap();
        assert!(matches!(second.join().unwrap().unwrap(), Started::Complete));
    });
    assert_eq!(names(&home.store.folder(Folder::Partial)).unwrap(), [""; 0]);
}

#[test]
fn old_ones_are_swept_at_the_next_start_and_all_by_prune() {
    let home = home();
    let store = &home.store;
    let (old, new) = (Digest::of(b"old"), Digest::of(b"new"));
    for digest in [old, new] {
        fs::write(store.partial_path(&digest), b"x").unwrap();
    }
    let past = SystemTime::now() - MAX_AGE - Duration::from_secs(60);
    File::open(store.partial_path(&old)).unwrap().set_modified(past).unwrap();
    Store::open(store.root()).unwrap();
    assert!(!store.partial_path(&old).exists() && store.partial_path(&new).exists());

    let lease = store.lease().unwrap();
    let busy = receive(&home, &lease);
    let plan = store.plan_prune(false).unwrap();
    assert_eq!(plan.candidates.len(), 1);
    store.prune(&plan, &mut || ()).unwrap();
    assert!(!store.partial_path(&new).exists());
    drop(busy);
}

#[test]
fn a_read_only_one_is_resumed() {
    let home = home();
    let lease = home.store.lease().unwrap();
    let path = home.store.partial_path(&Digest::of(CONTENT));
    fs::write(&path, &CONTENT[..5]).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
    let mut partial = receive(&home, &lease);
    assert_eq!(partial.offset(), 5);
    partial.append(&CONTENT[5..]).unwrap();
    partial.finish().unwrap();
    let blob = home.store.blob_path(&Digest::of(CONTENT));
    assert_eq!(fs::metadata(blob).unwrap().permissions().mode() & 0o777, BLOB_MODE);
}
