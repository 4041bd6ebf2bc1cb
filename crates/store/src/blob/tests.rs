//! Entering, reading and refusing content.
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::file::names;
use crate::testing::home;

#[test]
fn a_blob_enters_whole_verified_and_read_only() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let mut writer = store.blob_writer(&lease).unwrap();
    writer.append(b"hel").unwrap();
    writer.append(b"lo").unwrap();
    let expected = Digest::of(b"hello");
    assert!(!store.has_blob(&expected).unwrap());
    assert_eq!(writer.finish(Some(&expected)).unwrap(), (expected, 5));
    assert!(store.has_blob(&expected).unwrap());
    assert_eq!(store.blob_size(&expected).unwrap(), 5);
    assert_eq!(store.read_blob(&expected, 5).unwrap(), b"hello");
    assert_eq!(fs::metadata(store.blob_path(&expected)).unwrap().permissions().mode() & 0o777, 0o444);
    assert_eq!(store.put_blob(&lease, b"hello").unwrap(), expected);
}

#[test]
fn wrong_or_unfinished_content_leaves_nothing() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let mut writer = store.blob_writer(&lease).unwrap();
    writer.append(b"hello").unwrap();
    let expected = Digest::of(b"other");
    assert!(matches!(writer.finish(Some(&expected)), Err(BlobError::Unexpected { .. })));
    let mut writer = store.blob_writer(&lease).unwrap();
    writer.append(b"hello").unwrap();
    drop(writer);
    assert_eq!(names(&store.folder(Folder::Tmp)).unwrap(), [""; 0]);
    assert_eq!(store.blobs().unwrap(), []);
}

#[test]
fn reads_are_bounded_and_damage_is_seen() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let digest = store.put_blob(&lease, b"hello").unwrap();
    assert!(matches!(store.read_blob(&digest, 4), Err(BlobError::TooLarge { size: 5, .. })));
    let path = store.blob_path(&digest);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, b"hellO").unwrap();
    let error = store.read_blob(&digest, 5).unwrap_err().to_string();
    assert!(error.contains("damaged") && error.contains(&digest.hex()), "{error}");
    let absent = Digest::of(b"absent");
    assert!(matches!(store.open_blob(&absent), Err(BlobError::Missing { digest }) if digest == absent));
}

#[test]
fn what_is_written_again_replaces_what_was_damaged() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let digest = store.put_blob(&lease, b"hello").unwrap();
    let path = store.blob_path(&digest);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&path, b"").unwrap();
    let mut writer = store.blob_writer(&lease).unwrap();
    writer.append(b"hello").unwrap();
    writer.finish(Some(&digest)).unwrap();
    assert_eq!(store.read_blob(&digest, 5).unwrap(), b"hello");
}

#[test]
fn temporary_files_of_killed_commands_go_and_those_of_living_ones_stay() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    fs::write(store.folder(Folder::Tmp).join("leftover"), b"x").unwrap();
    let mut writer = store.blob_writer(&lease).unwrap();
    writer.append(b"hello").unwrap();
    Store::open(store.root()).unwrap();
    assert_eq!(names(&store.folder(Folder::Tmp)).unwrap().len(), 1);
    let (digest, _) = writer.finish(None).unwrap();
    assert_eq!(store.read_blob(&digest, 5).unwrap(), b"hello");
}

#[test]
fn a_full_disk_is_named_as_such() {
    let error: Result<(), _> = Err(rustix::io::Errno::NOSPC).at("write", std::path::Path::new("/x/y"));
    let error = error.unwrap_err();
    assert!(matches!(error, FileError::NoSpace { .. }));
    assert_eq!(
        error.to_string(),
        "no space left to write /x/y: free some (`spore prune` removes what nothing uses) and repeat"
    );
    let error: Result<(), _> = Err(rustix::io::Errno::DQUOT).at("write", std::path::Path::new("/x/y"));
    assert!(error.unwrap_err().to_string().starts_with("no space left in the quota to write /x/y: "));
    let home = home();
    let needed = home.store.free_space().unwrap().saturating_mul(2).max(1);
    let error = home.store.ensure_space(needed).unwrap_err().to_string();
    assert!(error.contains(&needed.to_string()), "{error}");
    home.store.ensure_space(0).unwrap();
}
