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
    let partial = receive(&home, &lease);
    assert_eq!(partial.arrived(), 0);
    partial.write(0, &CONTENT[..5]).unwrap();
    drop(partial);
    assert_eq!(home.store.partial_bytes(&Digest::of(CONTENT), 12).unwrap(), 5);
    // It is no blob yet, and the next start leaves it alone.
    assert!(!home.store.has_blob(&Digest::of(CONTENT)).unwrap());
    Store::open(home.store.root()).unwrap();
    let partial = receive(&home, &lease);
    assert_eq!(partial.arrived(), 5);
    assert_eq!(partial.gaps().first(), Some(&(5..12)));
    partial.write(5, &CONTENT[5..]).unwrap();
    partial.finish().unwrap();
    assert_eq!(home.store.read_blob(&Digest::of(CONTENT), 100).unwrap(), CONTENT);
    assert!(matches!(start(&home, &lease), Started::Complete));
    assert_eq!(home.store.partial_bytes(&Digest::of(CONTENT), 12).unwrap(), 0);
    assert_eq!(names(&home.store.folder(Folder::Partial)).unwrap(), [""; 0]);
}

#[test]
fn what_came_is_never_believed() {
    let home = home();
    let lease = home.store.lease().unwrap();
    fs::write(home.store.partial_path(&Digest::of(CONTENT)), b"HELLO").unwrap();
    let partial = receive(&home, &lease);
    partial.write(5, &CONTENT[5..]).unwrap();
    assert!(matches!(partial.finish(), Err(BlobError::Unexpected { .. })));
    // Bad bytes are not resumed: the next try begins anew.
    let partial = receive(&home, &lease);
    assert_eq!(partial.arrived(), 0);
    assert!(matches!(partial.write(0, &[0; 100]), Err(BlobError::Size { .. })));
    assert!(partial.write(1, b"e").is_err(), "it leaves a gap");
    partial.write(0, &CONTENT[..11]).unwrap();
    assert!(matches!(partial.finish(), Err(BlobError::Size { found: 11, .. })));
    fs::write(home.store.partial_path(&Digest::of(CONTENT)), [0; 100]).unwrap();
    assert_eq!(receive(&home, &lease).arrived(), 0);
}

#[test]
fn a_second_receiver_waits_and_finds_it_complete() {
    let home = home();
    let lease = home.store.lease().unwrap();
    let partial = receive(&home, &lease);
    let (waits, waiting) = mpsc::channel();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| {
            let digest = Digest::of(CONTENT);
            Partial::open(&home.store, &lease, &digest, CONTENT.len() as u64, &mut || waits.send(()).unwrap())
        });
        waiting.recv_timeout(Duration::from_secs(60)).unwrap();
        partial.write(0, CONTENT).unwrap();
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
    let partial = receive(&home, &lease);
    assert_eq!(partial.arrived(), 5);
    partial.write(5, &CONTENT[5..]).unwrap();
    partial.finish().unwrap();
    let blob = home.store.blob_path(&Digest::of(CONTENT));
    assert_eq!(fs::metadata(blob).unwrap().permissions().mode() & 0o777, BLOB_MODE);
}

/// Two slots and a bit, without zeros at the ends of what comes.
fn large() -> Vec<u8> {
    let size = usize::try_from(2 * SLOT_BYTES + 1000).unwrap();
    (0..size).map(|n| if n % 1000 == 0 { 0 } else { u8::try_from(n % 251).unwrap() | 1 }).collect()
}

fn slot(number: u64) -> u64 {
    number * SLOT_BYTES
}

fn write(partial: &Partial, content: &[u8], range: Range<u64>) {
    let bytes = &content[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
    partial.write(range.start, bytes).unwrap();
}

#[test]
fn slots_come_at_once_and_each_is_resumed() {
    let (home, content) = (home(), large());
    let (lease, digest, size) = (home.store.lease().unwrap(), Digest::of(&content), content.len() as u64);
    let open = || match Partial::open(&home.store, &lease, &digest, size, &mut || ()).unwrap() {
        Started::Receive(partial) => partial,
        Started::Complete => panic!("it is complete"),
    };
    let partial = open();
    assert_eq!(partial.gaps(), [0..slot(1), slot(1)..slot(2), slot(2)..size]);
    for range in
        [slot(2)..slot(2) + 500, slot(1)..slot(1) + 70_001, slot(1) + 70_001..slot(1) + 300_000, 0..1]
    {
        write(&partial, &content, range);
    }
    let rest = [1..slot(1), slot(1) + 300_000..slot(2), slot(2) + 500..size];
    // One byte was a zero, and so is not known to have come.
    drop(partial);
    assert_eq!(home.store.partial_bytes(&digest, size).unwrap(), 300_000 + 500);
    let partial = open();
    assert_eq!(partial.gaps(), [0..slot(1), rest[1].clone(), rest[2].clone()]);
    assert_eq!(partial.arrived(), 300_500);
    for range in [rest[2].clone(), 0..slot(1)] {
        write(&partial, &content, range);
    }
    // From the blob's first byte on, as who cannot begin in its middle sends it.
    write(&partial, &content, 0..slot(1) + 400_000);
    assert_eq!(partial.gaps().first(), Some(&(slot(1) + 400_000..slot(2))));
    write(&partial, &content, slot(1)..slot(2));
    partial.finish().unwrap();
    assert!(home.store.read_blob(&digest, content.len()).unwrap() == content);
}

#[test]
fn threads_write_slots_while_one_hashes() {
    let (home, content) = (home(), large());
    let (lease, digest, size) = (home.store.lease().unwrap(), Digest::of(&content), content.len() as u64);
    let Started::Receive(partial) = Partial::open(&home.store, &lease, &digest, size, &mut || ()).unwrap()
    else {
        panic!("it is complete")
    };
    std::thread::scope(|scope| {
        for gap in partial.gaps() {
            let (partial, content) = (&partial, &content);
            scope.spawn(move || {
                for start in gap.clone().step_by(10_000) {
                    write(partial, content, start..(start + 10_000).min(gap.end));
                }
            });
        }
    });
    partial.finish().unwrap();
    assert!(home.store.read_blob(&digest, content.len()).unwrap() == content);
}

#[test]
fn what_a_crash_of_the_host_has_lost_is_found() {
    let (home, content) = (home(), large());
    let (lease, digest, size) = (home.store.lease().unwrap(), Digest::of(&content), content.len() as u64);
    let mut left = content.clone();
    left[5 * 4096..6 * 4096].fill(0);
    fs::write(home.store.partial_path(&digest), left).unwrap();
    let Started::Receive(partial) = Partial::open(&home.store, &lease, &digest, size, &mut || ()).unwrap()
    else {
        panic!("it is complete")
    };
    assert_eq!(partial.gaps(), []);
    assert!(matches!(partial.finish(), Err(BlobError::Unexpected { .. })));
    assert_eq!(home.store.partial_bytes(&digest, size).unwrap(), 0);
}
