//! Sandboxes' folders.
use super::*;
use crate::testing::{home, put_snapshot};

#[test]
fn a_sandbox_is_visible_whole_or_not_at_all() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let digest = put_snapshot(store, &lease, &["a"], "1");
    let draft = store.draft_sandbox(&lease, &digest).unwrap();
    fs::write(draft.path().join("log"), "x").unwrap();
    let (id, draft_path) = (draft.id().clone(), draft.path().to_owned());
    assert!(store.sandboxes().unwrap().is_empty());
    // A draft is no leftover while it is being filled.
    Store::open(store.root()).unwrap();
    assert!(draft_path.exists());
    let path = draft.commit().unwrap();
    assert_eq!(path, store.sandbox_path(&id));
    assert!(path.join("log").exists() && !draft_path.exists());
    assert_eq!(store.sandboxes().unwrap(), std::slice::from_ref(&id));
    assert_eq!(store.sandbox_snapshot(&id).unwrap(), Some(digest));

    store.remove_sandbox(&id).unwrap();
    assert!(!path.exists());
    assert!(matches!(store.remove_sandbox(&id), Err(SandboxError::NotFound { .. })));
    assert_eq!(names(&store.folder(Folder::Trash)).unwrap(), [""; 0]);
}

#[test]
fn what_killed_commands_left_is_swept() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let digest = put_snapshot(store, &lease, &["a"], "1");
    let draft = store.draft_sandbox(&lease, &digest).unwrap();
    let id = draft.id().clone();
    draft.commit().unwrap();
    fs::create_dir_all(store.folder(Folder::Tmp).join("aaaaaaaaaaaa/x")).unwrap();
    fs::rename(store.sandbox_path(&id), store.trash_path(&Item::Sandbox(id.clone()))).unwrap();
    Store::open(store.root()).unwrap();
    assert_eq!(names(&store.folder(Folder::Tmp)).unwrap(), [""; 0]);
    assert_eq!(names(&store.folder(Folder::Trash)).unwrap(), [""; 0]);
    assert!(store.sandboxes().unwrap().is_empty());
}

#[test]
fn a_prefix_finds_one_or_says_which() {
    let home = home();
    let store = &home.store;
    for id in ["aaaaaaaaaaaa", "aabbbbbbbbbb", "bbbbbbbbbbbb"] {
        fs::create_dir(store.folder(Folder::Sandboxes).join(id)).unwrap();
    }
    assert_eq!(store.find_sandbox("b").unwrap().as_str(), "bbbbbbbbbbbb");
    assert_eq!(store.find_sandbox("aab").unwrap().as_str(), "aabbbbbbbbbb");
    let error = store.find_sandbox("aa").unwrap_err().to_string();
    assert!(error.contains("aaaaaaaaaaaa, aabbbbbbbbbb"), "{error}");
    assert!(matches!(store.find_sandbox("c"), Err(SandboxError::NotFound { .. })));
    for wrong in ["", "A", "../x", "aaaaaaaaaaaaa", "1"] {
        assert!(matches!(store.find_sandbox(wrong), Err(SandboxError::Id { .. })), "{wrong}");
    }
}

#[test]
fn ids_are_random_and_parse() {
    let (one, two) = (SandboxId::random().unwrap(), SandboxId::random().unwrap());
    assert_ne!(one, two);
    assert_eq!(one.as_str().parse::<SandboxId>().unwrap(), one);
    for wrong in ["", "aaaaaaaaaaa", "aaaaaaaaaaaA", "aaaaaaaaaaa/"] {
        assert!(wrong.parse::<SandboxId>().is_err(), "{wrong}");
    }
}
