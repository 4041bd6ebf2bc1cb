//! Disks are attached as the bytes that they are: one that looks like an image with a host's file below it opens nothing.

use std::fs;
use std::path::Path;

use crate::arena::{Arena, FORGED};
use crate::case::Carrier;
use crate::harness::files::random_word;
use crate::harness::needs::{Need, find_program, say_skipped, skipped};
use crate::harness::run::Run;

const TEST: &str = "hostile_snapshots::a_disk_that_looks_like_an_image_is_attached_raw";
/// Bytes of a disk that a file system leaves to whoever boots from it.
const FREE_BYTES: usize = 1024;
const CLUSTER_PAGES: u64 = 16;

#[test]
fn a_disk_that_looks_like_an_image_is_attached_raw() {
    if skipped(TEST, &[Need::Bake]) {
        return;
    }
    let arena = Arena::new(Carrier::Hub);
    let secret = random_word(32);
    let host_file = arena.hub.parent().unwrap().join("secret");
    fs::write(&host_file, secret.repeat((1 << 20) / secret.len())).unwrap();

    let mut draft = arena.draft();
    let map = draft.map("writable");
    let first = map.extents().first().unwrap();
    assert_eq!((first.start(), first.page()), (0, 0), "the disk's first page is its blob's");
    // A hole of the disk, which is zero: a table in which no cluster has a place, so that all are the host's file's.
    let covered =
        |page: u64| map.extents().iter().any(|extent| (extent.start()..extent.end()).contains(&page));
    let is_hole = |cluster: &u64| (0..CLUSTER_PAGES).all(|n| !covered(cluster * CLUSTER_PAGES + n));
    let hole = (1..).find(is_hole).unwrap() * CLUSTER_PAGES * format::PAGE_SIZE;
    let header = header(&host_file, map.bytes(), hole);
    draft.edit_frames("writable", |blob| blob.write(0, &header));
    draft.publish(FORGED);

    arena.leaves_nothing(|| {
        arena.pull(FORGED).finish().succeeds();
        let id = arena.fork(FORGED).finish().succeeds().text().to_owned();
        assert_host_file_is_closed(&arena, &host_file);
        assert_would_be_opened(
            &arena.spore.root().join("sandboxes").join(&id).join("writable.base"),
            &secret,
        );
        let disk = "/dev/$(basename $(dirname $(grep -lx writable /sys/block/vd*/serial)))";
        let read = format!("dd if={disk} bs=1M iflag=direct 2>/dev/null");
        let disk = arena.command(["exec", &id, "--", "/bin/sh", "-ec", &read]).finish().succeeds().stdout;
        assert_eq!(disk.len() as u64, map.bytes());
        assert_eq!(disk[..header.len()], header, "the guest does not see its own bytes");
        let found = disk.windows(secret.len()).any(|window| window == secret.as_bytes());
        assert!(!found, "the guest sees the host's file");
        arena.command(["kill", &id]).finish().succeeds();
        arena.command(["rm", FORGED]).finish().succeeds();
    });
    arena.assert_clean();
}

/// A qcow2 header of version 3 (QEMU's docs/interop/qcow2.txt): an image over `backing`, with all tables at `hole`.
fn header(backing: &Path, size: u64, hole: u64) -> Vec<u8> {
    let name = backing.to_str().unwrap().as_bytes();
    let mut bytes = b"QFI\xFB\0\0\0\x03".to_vec();
    let name_at = 120_u64;
    bytes.extend(name_at.to_be_bytes());
    bytes.extend(u32::try_from(name.len()).unwrap().to_be_bytes());
    bytes.extend(16_u32.to_be_bytes());
    bytes.extend(size.to_be_bytes());
    // No encryption; one entry of the first table is enough for half a gibibyte; the tables; one cluster of counts.
    bytes.extend(0_u32.to_be_bytes());
    bytes.extend(1_u32.to_be_bytes());
    bytes.extend(hole.to_be_bytes());
    bytes.extend(hole.to_be_bytes());
    bytes.extend(1_u32.to_be_bytes());
    // No internal snapshots; no features; counts of 16 bits; this header's length; the end of extensions.
    bytes.extend([0; 12]);
    bytes.extend([0; 24]);
    bytes.extend(4_u32.to_be_bytes());
    bytes.extend(104_u32.to_be_bytes());
    bytes.resize(usize::try_from(name_at).unwrap(), 0);
    bytes.extend(name);
    assert!(bytes.len() <= FREE_BYTES, "the path of the test's folder is too long");
    bytes
}

/// Asserts that none of our processes has the file open.
#[track_caller]
fn assert_host_file_is_closed(arena: &Arena, file: &Path) {
    let processes = crate::harness::processes::in_folder(arena.spore.root());
    assert!(processes.iter().any(|process| process.arguments.contains("qemu")), "no engine: {processes:?}");
    for process in processes {
        for open in fs::read_dir(format!("/proc/{}/fd", process.pid)).unwrap() {
            let target = fs::read_link(open.unwrap().path()).unwrap_or_default();
            assert_ne!(target, file, "{process:?} has it open");
        }
    }
}

/// Asserts that whoever lets QEMU guess what the disk is would be given the host's file: else this test proves nothing.
#[track_caller]
fn assert_would_be_opened(disk: &Path, secret: &str) {
    if find_program("qemu-img").is_none() {
        return say_skipped(TEST, "its counter-check: no qemu-img");
    }
    let copy = disk.with_file_name("guessed");
    let convert = Run::new("qemu-img").args(["dd", "-U", "-O", "raw", "bs=1M", "count=1"]);
    let named = |what: &str, path: &Path| format!("{what}={}", path.display());
    convert.args([named("if", disk), named("of", &copy)]).finish().succeeds();
    let guessed = fs::read(&copy).unwrap();
    fs::remove_file(&copy).unwrap();
    assert!(guessed.starts_with(secret.as_bytes()), "the header leads nowhere");
}
