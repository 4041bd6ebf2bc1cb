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
