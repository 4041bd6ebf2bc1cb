//! What a capture takes of the host's memory, with as many pieces as a map can have.

use std::process::Command;

use super::*;

/// What no command may exceed.
const BOUND_BYTES: u64 = 200_000_000;
/// Tells a process that it is the one whose memory is looked at: other tests take some too.
const ALONE: &str = "SPORE_TEST_ALONE";

#[test]
fn the_most_pieces_are_stored_in_bounded_memory() {
    if std::env::var_os(ALONE).is_some() {
        return store_the_most_pieces();
    }
    let name = "bake::capture::tests::the_most_pieces_are_stored_in_bounded_memory";
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout).into_owned();
    assert!(child.status.success(), "{said}{}", String::from_utf8_lossy(&child.stderr));
    print!("{said}");
    let peak: u64 = said.lines().find_map(|line| line.split("peak=").nth(1)).unwrap().trim().parse().unwrap();
    assert!(peak < BOUND_BYTES, "{peak} bytes");
}

/// Every second page is a piece, some of them new and the others a layer's. The file is a hole: what is in its pages is
/// no matter here.
fn store_the_most_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("root")).unwrap();
    let lease = store.lease().unwrap();
    let extents = u32::try_from(format::limits::MAP_EXTENTS).unwrap();
    let pages = u64::from(extents) * 2;
    let file = tempfile::tempfile().unwrap();
    file.set_len(pages * PAGE_SIZE).unwrap();
    // Alive all the time in a bake: the map of the disk, which is stored before the memory. And the index, until the
    // pieces are stored.
    let layer = Digest::of(b"layer");
    let other = {
        let mut builder = MapBuilder::new(pages);
        (0..u64::from(extents)).for_each(|n| builder.layer(n * 2, 1, layer, 0).unwrap());
        builder.finish().unwrap()
    };
    let index = vec![1_u64; memory::INDEX_PAGES];
    let content = |n| if n % 8 == 0 { Content::New } else { Content::Layer { layer: 0, page: n } };
    let runs: Vec<_> = (0..extents).map(|n| Run { start: n * 2, pages: 1, content: content(n) }).collect();
    let scanned = peak();
    drop(index);
    let map = store_runs(&store, &lease, &[layer], &file, pages, runs).unwrap();
    let stored = peak();
    assert_eq!(map.extents().len(), other.extents().len());
    let bytes = map.encode(Codec::Zstd).unwrap();
    store.put_blob(&lease, &bytes).unwrap();
    let encoded = peak();
    println!(
        "{extents} pieces: {scanned} bytes when all were found, {stored} to store them, {encoded} to encode"
    );
    println!("peak={}", scanned.max(stored).max(encoded));
}

/// The most memory that the process had at once since it was asked last, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().unwrap();
    fs::write("/proc/self/clear_refs", "5").unwrap();
    kib << 10
}
