//! However an archive is damaged, reading it ends, and takes no more memory than it may.
//!
//! One test alone in its process, whose allocator counts.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod forge;

use std::fs;
use std::path::Path;

use forge::{Archive, fix_sums, pass_over};
use peak_alloc::PeakAlloc;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tar::EntryType;
use tar_stream::{End, MAX_PARTS, Part};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What describes an entry (1 MiB), as it came and as it was understood; the buffer that data goes through; and some.
const BOUND: usize = 4 << 20;
/// The parts of a file with holes, in a vector that doubles.
const PARTS: usize = 3 * MAX_PARTS * size_of::<Part>();

/// The most memory that was needed at a time to read an archive.
fn peak(bytes: &[u8]) -> usize {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    for end in [End::Open, End::Marked, End::Sealed] {
        let _ = pass_over(bytes, end);
    }
    MEMORY.peak_usage() - before
}

/// An archive with one of everything.
fn sample() -> Vec<u8> {
    Archive::new()
        .global(&[("comment", b"x")])
        .pax(&[("path", b"a"), ("size", b"700"), ("mtime", b"1.5"), ("SCHILY.xattr.user.a", b"x")])
        .file("x", &[7; 700])
        .entry(EntryType::GNULongName, b"././@LongLink", &[b'n'; 300], |_| ())
        .entry(EntryType::Symlink, b"x", b"", |header| header.set_link_name("to").unwrap())
        .sparse("holes", 5000, "2\n0\n4\n1000\n4\n", b"datadata")
        .entry(EntryType::Char, b"device", b"", |_| ())
        .end()
}

#[test]
fn damage_is_survived_in_little_memory() {
    let sample = sample();
    let mut runner = TestRunner::new(Config::with_cases(4000));
    let flips = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20);
    let survived = runner.run(&(flips, any::<bool>(), 0..=sample.len()), |(flips, fix, length)| {
        let mut bytes = sample.clone();
        for (at, byte) in flips {
            bytes[at.index(sample.len())] = byte;
        }
        bytes.truncate(length);
        if fix {
            fix_sums(&mut bytes);
        }
        let peak = peak(&bytes);
        prop_assert!(peak < BOUND, "{peak} bytes");
        Ok(())
    });
    survived.unwrap();

    // What fuzzing has found worth keeping.
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    let folders =
        ["tar_base", "tar_copy", "tar_pack"].map(|target| fs::read_dir(corpus.join(target)).unwrap());
    for file in folders.into_iter().flatten().map(Result::unwrap) {
        let mut bytes = fs::read(file.path()).unwrap();
        assert!(peak(&bytes) < PARTS, "{:?}", file.path());
        fix_sums(&mut bytes);
        assert!(peak(&bytes) < PARTS, "{:?}", file.path());
    }

    // Lengths that are announced and do not come.
    for kind in [EntryType::XHeader, EntryType::GNULongName, EntryType::XGlobalHeader, EntryType::Regular] {
        for size in [1 << 20, 1 << 30, 1 << 50, i64::MAX as u64, u64::MAX] {
            let bytes = Archive::new().entry(kind, b"x", b"", |header| header.set_size(size)).0;
            assert!(peak(&bytes) < BOUND, "{kind:?} {size}");
        }
    }
    // As many parts as there may be, and one more.
    for count in [MAX_PARTS, MAX_PARTS + 1] {
        let map = format!("{count}\n{}", "0\n0\n".repeat(count));
        let peak = peak(&Archive::new().sparse("a", 0, &map, b"").end());
        assert!(peak < PARTS, "{peak} bytes for {count} parts");
    }
}
