//! Totals, shares and own bytes.
use crate::FlatKey;
use crate::testing::{home, layer, name, put_snapshot};
use format::Digest;

#[test]
fn own_bytes_are_what_removing_a_snapshot_frees() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let one = put_snapshot(store, &lease, &["shared", "a"], "1");
    let two = put_snapshot(store, &lease, &["shared"], "2");
    store.set_ref(&name("local/one:1"), &one, None).unwrap();
    store.set_ref(&name("local/uno:1"), &one, None).unwrap();
    store.set_ref(&name("local/two:1"), &two, None).unwrap();
    let key = FlatKey::Layer(Digest::of(&layer("shared")));
    let writer = store.flat_writer(&lease, key).unwrap();
    std::io::Write::write_all(&mut writer.file(), &layer("shared")).unwrap();
    writer.commit().unwrap();
    drop(lease);

    let usage = store.usage().unwrap();
    let of = |digest| usage.snapshots.iter().find(|snapshot| snapshot.digest == digest).unwrap();
    assert_eq!(usage.snapshots.len(), 2);
    assert_eq!(of(one).names, [name("local/one:1"), name("local/uno:1")]);
    for snapshot in &usage.snapshots {
        assert_eq!(snapshot.total, snapshot.shared + snapshot.own);
        assert!(snapshot.shared > 0 && snapshot.own > 0);
        assert_eq!(snapshot.flat, usage.flat);
    }
    assert!(usage.flat >= 3 * 4096, "{usage:?}");
    assert_eq!(of(one).shared, of(two).shared);
    assert_eq!(usage.blobs, of(one).own + of(two).own + of(one).shared);

    store.remove_ref(&name("local/two:1")).unwrap();
    let plan = store.plan_prune(false).unwrap();
    assert_eq!(plan.bytes(), of(two).own);
    store.prune(&plan, &mut || ()).unwrap();
    assert_eq!(store.usage().unwrap().blobs, of(one).total);
}
