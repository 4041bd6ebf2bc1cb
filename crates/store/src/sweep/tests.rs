//! Leftovers that are in use, read-only, or not removable.
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::*;
use crate::testing::home;

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn read_only_files_are_swept() {
    let home = home();
    let path = home.store.root().join("tmp/leftover");
    fs::write(&path, b"x").unwrap();
    set_mode(&path, 0o444);
    Store::open(home.store.root()).unwrap();
    assert!(!path.exists());
}

#[test]
fn a_work_folder_is_swept_only_when_nobody_works_in_it() {
    let home = home();
    let left = home.store.root().join("tmp/leftover");
    fs::create_dir_all(left.join("deep")).unwrap();
    let work = home.store.work_folder().unwrap();
    Store::open(home.store.root()).unwrap();
    assert!(work.path().exists() && !left.exists());
}

#[test]
fn what_cannot_be_removed_does_not_close_the_store() {
    if rustix::process::geteuid().is_root() {
        println!("skipped: what_cannot_be_removed_does_not_close_the_store: root can remove everything");
        return;
    }
    let home = home();
    let tmp = home.store.folder(Folder::Tmp);
    let (stuck, unreadable, last) = (tmp.join("a"), tmp.join("b"), tmp.join("c"));
    fs::create_dir(&stuck).unwrap();
    fs::write(stuck.join("x"), b"x").unwrap();
    set_mode(&stuck, 0o500);
    fs::create_dir(&unreadable).unwrap();
    set_mode(&unreadable, 0);
    fs::write(&last, b"x").unwrap();
    Store::open(home.store.root()).unwrap();
    assert!(stuck.exists() && unreadable.exists() && !last.exists());
    // So that the test's own folder can go.
    set_mode(&stuck, 0o700);
    set_mode(&unreadable, 0o700);
}
