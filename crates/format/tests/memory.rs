//! A map takes little memory however fragmented it is: as large as one may be, it is made, encoded and read within the
//! bound of every command.
//!
//! The one test of this executable, since it looks at how much memory its process has ever had at once.

#![allow(clippy::expect_used, clippy::print_stdout)]

use std::fs;

use format::map::Codec;
use format::testing::fragmented;
use format::{Map, limits};

/// What no command may exceed.
const BOUND_BYTES: u64 = 200_000_000;

/// The most memory that the process had at once since it was asked last, in bytes.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("the process can be looked at");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says it");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    fs::write("/proc/self/clear_refs", "5").expect("it can be counted anew");
    kib << 10
}

#[test]
fn the_largest_map_is_read_in_bounded_memory() {
    peak();
    let map = fragmented("blob").expect("a map");
    let made = peak();
    let bytes = map.encode(Codec::Zstd).expect("it can be encoded");
    let encoded = peak();
    // As it is when a snapshot is read: another map is there, and this one comes.
    let again = Map::parse(&bytes).expect("it can be read");
    let read = peak();
    assert_eq!(again.extents().len(), limits::MAP_EXTENTS);
    let mb = |bytes: u64| bytes / 1_000_000;
    println!(
        "{} extents, {} MB encoded: {} MB to make, {} to encode, {} to read beside another",
        map.extents().len(),
        mb(bytes.len() as u64),
        mb(made),
        mb(encoded),
        mb(read)
    );
    for (what, peak) in [("made", made), ("encoded", encoded), ("read", read)] {
        assert!(peak < BOUND_BYTES, "{peak} bytes while it was {what}");
    }
}
