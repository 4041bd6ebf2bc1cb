//! The writable disk, made by the real mkfs.ext4.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::Command;

use rootfs::{Size, create_disk};

#[test]
fn disks_are_equal_sparse_and_sound() {
    if !common::has("disks_are_equal_sparse_and_sound", &["mkfs.ext4"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    for path in [&first, &second] {
        create_disk(path, Size::mib(256)).unwrap();
    }
    assert!(fs::read(&first).unwrap() == fs::read(&second).unwrap(), "the same size gives the same bytes");
    let meta = fs::metadata(&first).unwrap();
    assert_eq!(meta.len(), 256 << 20);
    assert!(meta.blocks() * 512 < 1 << 20, "{} bytes are allocated", meta.blocks() * 512);
    let path = format!("/usr/sbin:{}", std::env::var("PATH").unwrap());
    let check = Command::new("e2fsck").env("PATH", path).args(["-f", "-n"]).arg(&first).output().unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    assert!(create_disk(&first, Size::mib(256)).is_err(), "what is there is not overwritten");
    assert_eq!(fs::metadata(&first).unwrap().len(), 256 << 20);
}
