//! Entries that are replaced, and what counts as one.
use super::*;
use crate::testing::home;

#[test]
fn an_entry_is_replaced_whole() {
    let home = home();
    let store = &home.store;
    for content in ["long content", "short"] {
        store.write_cache_entry("bases", "x.json", content.as_bytes()).unwrap();
        assert_eq!(fs::read_to_string(store.cache_entry("bases", "x.json")).unwrap(), content);
    }
    for file in ["one", "two"] {
        let work = store.work_folder().unwrap();
        let folder = work.path().join("made");
        fs::create_dir_all(folder.join("below")).unwrap();
        fs::write(folder.join("below").join(file), "").unwrap();
        store.place_cache_entry("kernels", "x", &folder).unwrap();
        assert_eq!(names(&store.cache_entry("kernels", "x").join("below")).unwrap(), [file]);
    }
    assert_eq!(entries(store).unwrap(), ["bases/x.json", "kernels/x"]);
    assert!(names(&store.folder(Folder::Trash)).unwrap().is_empty());
}

#[test]
fn entries_are_locked_by_the_digest_in_their_name() {
    let digest = Digest::of(b"x");
    let expected = Some(LockKey::Object(digest));
    assert_eq!(lock_key(&format!("bases/{}.json", digest.hex())), expected);
    assert_eq!(lock_key(&format!("kernels/{}", digest.hex())), expected);
    assert_eq!(lock_key("engine/qemu.json"), None);
}
