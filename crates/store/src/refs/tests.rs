//! Tags and the index that is derived from them.
use std::fs;

use super::*;
use crate::testing::{home, name, put_snapshot};

#[test]
fn a_tag_is_set_moved_and_removed_and_the_index_follows() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let (one, two) = (put_snapshot(store, &lease, &["a"], "1"), put_snapshot(store, &lease, &["a"], "2"));
    let tag = name("hub.example:5000/team/numpy:1.0");
    assert_eq!(store.set_ref(&tag, &one, Some("https://hub.example:5000")).unwrap(), None);
    let record = store.get_ref(&tag).unwrap().unwrap();
    assert_eq!((record.digest, record.origin.as_deref()), (one, Some("https://hub.example:5000")));
    assert_eq!(record.size, store.blob_size(&one).unwrap());

    assert!(
        matches!(store.create_ref(&tag, &two, None), Err(RefError::Exists { digest, .. }) if digest == one)
    );
    store.create_ref(&tag, &one, None).unwrap();
    assert_eq!(store.set_ref(&tag, &two, None).unwrap().unwrap().digest, one);

    let index: serde_json::Value =
        serde_json::from_slice(&std::fs::read(store.root().join("index.json")).unwrap()).unwrap();
    assert_eq!(index["manifests"].as_array().unwrap().len(), 1);
    assert_eq!(index["manifests"][0]["digest"], two.to_string());
    assert_eq!(index["manifests"][0]["annotations"][REF_NAME], tag.to_string());

    assert_eq!(store.remove_ref(&tag).unwrap(), Some(two));
    assert!(matches!(store.remove_ref(&tag), Err(RefError::NotFound { .. })));
    assert!(store.refs().unwrap().is_empty());
    let index = std::fs::read_to_string(store.root().join("index.json")).unwrap();
    assert!(!index.contains("sha256:"), "{index}");
}

#[test]
fn a_tag_never_leads_to_what_is_not_there() {
    let home = home();
    let absent = Digest::of(b"absent");
    let error = home.store.set_ref(&name("local/a:1"), &absent, None).unwrap_err();
    assert!(error.to_string().contains(&absent.to_string()), "{error}");
    let lease = home.store.lease().unwrap();
    let digest = put_snapshot(&home.store, &lease, &["a"], "1");
    let kernel = home.store.load_snapshot(&digest).unwrap().config.machine.kernel.image;
    std::fs::remove_file(home.store.blob_path(&kernel)).unwrap();
    let error = home.store.set_ref(&name("local/a:1"), &digest, None).unwrap_err();
    assert!(error.to_string().contains(&format!("missing: kernel {kernel}")), "{error}");
    assert!(home.store.refs().unwrap().is_empty());
}

#[test]
fn an_index_that_a_killed_command_left_is_written_anew() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let digest = put_snapshot(store, &lease, &["a"], "1");
    store.set_ref(&name("local/a:1"), &digest, None).unwrap();
    std::fs::write(store.root().join("index.json"), "{}").unwrap();
    Store::open(store.root()).unwrap();
    let index = std::fs::read_to_string(store.root().join("index.json")).unwrap();
    assert!(index.contains(&digest.to_string()), "{index}");
}

#[test]
fn file_names_stay_in_their_folder_and_have_one_spelling() {
    let tag = name("hub.example:5000/a/b:1");
    let encoded = file_name(&tag).unwrap();
    assert_eq!(encoded, "hub.example%3A5000%2Fa%2Fb%3A1");
    assert_eq!(full_name(&encoded), Some(tag));
    for wrong in
        ["hub.example%3a5000%2Fa%3A1", "local%2Fa", "..%2F..%2Fa%3A1", "%", "%zz", "local%2Fa%3A%31", "€"]
    {
        assert_eq!(full_name(wrong), None, "{wrong}");
    }
    let long = name(&format!("{}.example/{}:{}", "h".repeat(60), "n".repeat(200), "t".repeat(100)));
    assert!(matches!(file_name(&long), Err(RefError::TooLong { .. })));
}

#[test]
fn a_damaged_tag_is_an_error_that_names_its_file() {
    let home = home();
    let path = home.store.folder(Folder::Refs).join("local%2Fa%3A1");
    std::fs::write(&path, "{}").unwrap();
    let error = home.store.refs().unwrap_err().to_string();
    assert!(error.contains("local%2Fa%3A1"), "{error}");
}

/// However large the list of them becomes.
#[test]
fn a_store_of_many_tags_can_be_opened() {
    const TAGS: usize = 5000;
    let home = home();
    let store = &home.store;
    let digest = put_snapshot(store, &store.lease().unwrap(), &["a"], "1");
    store.set_ref(&name("local/a:0"), &digest, None).unwrap();
    let refs = store.folder(Folder::Refs);
    for number in 1..TAGS {
        fs::copy(refs.join("local%2Fa%3A0"), refs.join(format!("local%2Fa%3A{number}"))).unwrap();
    }
    let index = store.root().join(INDEX_FILE);
    Store::open(store.root()).unwrap();
    let written = fs::read(&index).unwrap();
    assert!(written.len() > 1 << 20, "{}", written.len());
    let modified = || fs::metadata(&index).unwrap().modified().unwrap();
    let before = modified();
    Store::open(store.root()).unwrap();
    assert!(fs::read(&index).unwrap() == written && modified() == before, "it said what the tags say");
}

#[test]
fn a_damaged_tag_keeps_nobody_from_the_others() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let digest = put_snapshot(store, &lease, &["a"], "1");
    fs::write(store.folder(Folder::Refs).join("local%2Fbad%3A1"), "{").unwrap();
    Store::open(store.root()).unwrap();
    store.set_ref(&name("local/good:1"), &digest, None).unwrap();
    let (refs, damaged) = store.readable_refs().unwrap();
    assert_eq!(refs.keys().collect::<Vec<_>>(), [&name("local/good:1")]);
    let [(bad, error)] = damaged.as_slice() else { panic!("{damaged:?}") };
    assert!(*bad == name("local/bad:1") && error.to_string().contains("local%2Fbad%3A1"), "{error}");
    let index = fs::read_to_string(store.root().join(INDEX_FILE)).unwrap();
    assert!(index.contains("local/good:1"), "{index}");
    // What it leads to is not known, so nothing is known to be unused.
    assert!(store.refs().is_err() && store.plan_prune(false).is_err());
    assert_eq!(store.remove_ref(bad).unwrap(), None);
    assert_eq!(store.refs().unwrap().len(), 1);
}
