//! Leftovers that are in use, read-only, or not removable.
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use format::Digest;

use super::*;
use crate::SandboxId;
use crate::testing::{Stuck, home, name, put_snapshot};
use crate::trash::Item;

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
fn what_only_talks_to_a_sandbox_sweeps_no_store_but_a_new_one() {
    let home = home();
    let left = home.store.root().join("tmp/leftover");
    fs::write(&left, b"x").unwrap();
    Store::open_unswept(home.store.root()).unwrap();
    assert!(left.exists());
    let root = home.store.root().with_file_name("another");
    Store::open_unswept(&root).unwrap();
    assert!(root.join(crate::refs::INDEX_FILE).exists());
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
    let home = home();
    let store = &home.store;
    let tmp = store.folder(Folder::Tmp);
    let (work, removed) = (tmp.join("a"), store.trash_path(&Item::Sandbox(SandboxId::random().unwrap())));
    let stuck = [&work, &removed].map(|path| Stuck::new(path));
    if stuck.iter().any(Option::is_none) {
        println!("skipped: what_cannot_be_removed_does_not_close_the_store: this user can remove everything");
        return;
    }
    // Nobody can read it, and whether it is a manifest cannot be known.
    let unreadable = store.trash_path(&Item::Blob(Digest::of(b"a folder")));
    fs::create_dir(&unreadable).unwrap();
    let others = [tmp.join("b"), store.trash_path(&Item::Blob(Digest::of(b"other")))];
    others.iter().for_each(|path| fs::write(path, b"x").unwrap());
    Store::open(store.root()).unwrap();
    assert!(others.iter().all(|path| !path.exists()));

    let left = [&work, &removed, &unreadable];
    assert!(left.iter().all(|path| path.exists()));
    let problems = store.fsck(&|_| ()).unwrap().problems;
    assert_eq!(problems.len(), left.len(), "{problems:?}");
    store.put_blob(&store.lease().unwrap(), b"stray").unwrap();
    let report = store.prune(&store.plan_prune(false).unwrap(), &mut || ()).unwrap();
    assert_eq!((report.removed, report.stuck.len()), (1, left.len()), "{report:?}");
    for path in left {
        let path = path.display().to_string();
        assert!(
            problems.iter().any(|problem| problem.to_string() == format!("{path} is left over")),
            "{path}"
        );
        assert!(report.stuck.iter().any(|error| error.to_string().contains(&path)), "{path}: {report:?}");
    }
    drop(stuck);
    assert_eq!(store.prune(&store.plan_prune(false).unwrap(), &mut || ()).unwrap().stuck.len(), 1);
}

#[test]
fn manifests_do_not_return_without_their_parts() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let digest = put_snapshot(store, &lease, &["a"], "1");
    store.set_ref(&name("local/a:1"), &digest, None).unwrap();
    let memory = store.load_snapshot(&digest).unwrap().config.memory.map;
    for digest in [digest, memory] {
        fs::rename(store.blob_path(&digest), store.trash_path(&Item::Blob(digest))).unwrap();
    }
    let in_the_way = store.trash_path(&Item::Blob(Digest::of(b"a folder")));
    fs::create_dir(&in_the_way).unwrap();
    Store::open(store.root()).unwrap();
    assert!(store.has_blob(&memory).unwrap() && !store.has_blob(&digest).unwrap());
    store.load_snapshot(&digest).unwrap();
    fs::remove_dir(&in_the_way).unwrap();
    Store::open(store.root()).unwrap();
    assert!(store.has_blob(&digest).unwrap());
}
