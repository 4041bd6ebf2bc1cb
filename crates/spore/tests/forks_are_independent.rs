//! Forks share one frozen disk and never see each other's writes, nor does the frozen disk.
//!
//! The file that all of them write lies on the frozen disk already and is overwritten in place, so every
//! write goes to blocks that all of them share.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking, its helpers too"
)]

mod harness;

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use format::Digest;
use harness::frozen::Frozen;
use harness::needs::{Need, skipped};
use harness::run::{DEADLINE, in_parallel};
use harness::shared::Shared;
use harness::{Spore, files, recipes};

const CHILDREN: usize = 20;
const FILE: &str = "/data/file";
const FILE_BYTES: usize = 1 << 20;
/// What the frozen disk has in [`FILE`]: known here, not asked of anyone.
const FREEZE: &str = "[build]\ncommands = [\"mkdir /data\", \"yes frozen | head -c 1048576 >/data/file\"]\n";

#[test]
fn forks_are_independent() {
    if skipped("forks_are_independent", &[Need::Bake]) {
        return;
    }
    let recipe = recipes::changed("tiny", "frozen-file", FREEZE);
    let spore = Spore::new();
    let (snapshot, digest) = Shared::of(recipe.path()).pull_into(&spore);
    let frozen_disk = Frozen::open(spore.root(), &digest).writable_disk();
    let frozen_file = Digest::of(&"frozen\n".repeat(FILE_BYTES).as_bytes()[..FILE_BYTES]).hex();

    let ids = spore.fork(&snapshot, CHILDREN).into_iter().enumerate();
    let children: Vec<_> =
        ids.map(|(number, id)| Child { spore: &spore, id, survives: number % 2 == 0 }).collect();
    let base = children[0].base();
    let inode = |path: &PathBuf| std::fs::metadata(path).expect("a disk can be examined").ino();
    assert!(
        children.iter().all(|child| inode(&child.base()) == inode(&base)),
        "they have disks of their own"
    );
    in_parallel(&children, |child| {
        assert_eq!(child.read(), frozen_file, "{}: before anyone has written", child.id);
        child.write(&child.bytes("first"));
    });
    in_parallel(&children, |child| child.assert_reads("first"));

    // Half of them end while the others write.
    in_parallel(&children, |child| {
        if child.survives {
            child.write(&child.bytes("second"));
        } else {
            spore.run(["kill", &child.id]).succeeds();
        }
    });
    let survivors: Vec<_> = children.iter().filter(|child| child.survives).collect();
    assert_eq!(spore.sandboxes().len(), survivors.len());
    in_parallel(&survivors, |child| child.assert_reads("second"));

    let fresh = Child { spore: &spore, id: spore.fork(&snapshot, 1).remove(0), survives: true };
    assert_eq!(fresh.read(), frozen_file, "a fresh fork reads what others wrote");
    assert_eq!(files::digest(&fresh.base()), frozen_disk, "the frozen disk has changed");
    spore.fsck();
}

/// One of the forks.
struct Child<'a> {
    spore: &'a Spore,
    id: String,
    survives: bool,
}

impl Child<'_> {
    /// The frozen disk, as its engine has opened it.
    fn base(&self) -> PathBuf {
        self.spore.root().join("sandboxes").join(&self.id).join("writable.base")
    }

    /// Bytes that no other child has, nor this one in another round.
    fn bytes(&self, round: &str) -> Vec<u8> {
        let line = format!("{round} {}\n", self.id);
        line.bytes().cycle().take(FILE_BYTES).collect()
    }

    /// Overwrites the file in place, to the disk.
    fn write(&self, bytes: &[u8]) {
        let script = format!("dd of={FILE} bs=64k conv=notrunc,fsync 2>/dev/null");
        let exec = ["exec", "-i", &self.id, "--", "/bin/sh", "-ec", &script];
        self.spore.command(exec).stdin(bytes).deadline(2 * DEADLINE).finish().succeeds();
    }

    /// The sha256 of the file as the disk has it, whatever the guest remembers.
    fn read(&self) -> String {
        let script = format!("sync; echo 3 >/proc/sys/vm/drop_caches; sha256sum <{FILE}");
        let sum = self.spore.sh(&self.id, &script);
        sum.split(' ').next().unwrap_or_default().to_owned()
    }

    fn assert_reads(&self, round: &str) {
        assert_eq!(
            self.read(),
            Digest::of(&self.bytes(round)).hex(),
            "{} reads what it did not write",
            self.id
        );
    }
}
