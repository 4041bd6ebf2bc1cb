//! Flat files that a collection has in its hands.
use super::*;
use crate::testing::home;

#[test]
fn one_in_the_trash_can_be_linked_and_opened() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let key = FlatKey::Map(Digest::of(b"x"));
    let to = store.root().join("tmp/link");
    assert!(!store.link_flat(key, &to).unwrap() && store.open_flat(key).unwrap().is_none());
    store.flat_writer(&lease, key).unwrap().commit().unwrap();
    fs::rename(store.flat_path(key), store.trash_path(&Item::Flat(key))).unwrap();
    assert!(store.open_flat(key).unwrap().is_some());
    assert!(store.link_flat(key, &to).unwrap());
    assert!(to.exists());
}

#[test]
fn a_link_is_told_from_a_copy() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let (key, other) = (FlatKey::Map(Digest::of(b"x")), FlatKey::Layer(Digest::of(b"x")));
    let (link, copy) = (store.root().join("tmp/link"), store.root().join("tmp/copy"));
    for key in [key, other] {
        store.flat_writer(&lease, key).unwrap().commit().unwrap();
    }
    assert!(!store.is_link_to_flat(key, &link).unwrap(), "nothing is there");
    store.link_flat(key, &link).unwrap();
    fs::copy(&link, &copy).unwrap();
    assert!(store.is_link_to_flat(key, &link).unwrap());
    assert!(!store.is_link_to_flat(other, &link).unwrap());
    assert!(!store.is_link_to_flat(key, &copy).unwrap());
    fs::rename(store.flat_path(key), store.trash_path(&Item::Flat(key))).unwrap();
    assert!(store.is_link_to_flat(key, &link).unwrap(), "it is only on its way out");
    fs::remove_file(store.trash_path(&Item::Flat(key))).unwrap();
    assert!(!store.is_link_to_flat(key, &link).unwrap());
}

/// What runs has the file open that is there.
#[test]
fn a_layer_that_is_there_is_not_replaced() {
    let home = home();
    let (store, lease) = (&home.store, home.store.lease().unwrap());
    let (content, work) = (Digest::of(b"content"), store.work_folder().unwrap());
    let file = work.path().join("layer");
    let place = || {
        fs::write(&file, b"content").unwrap();
        store.place_layer(&lease, &content, &file).unwrap();
        assert!(!file.exists());
        fs::metadata(store.flat_path(FlatKey::Layer(content))).unwrap().ino()
    };
    assert_eq!(place(), place());
}
