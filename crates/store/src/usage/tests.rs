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

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_measured() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let put = |unique: &str| {
        let digest = put_snapshot(store, &lease, &["shared"], unique);
        store.set_ref(&name(&format!("local/{unique}:1")), &digest, None).unwrap();
        digest
    };
    let [sound, no_config, no_manifest] = ["sound", "no-config", "no-manifest"].map(put);
    let before = store.usage().unwrap();
    assert!(before.problems.is_empty());
    let config = store.read_manifest(&no_config).unwrap().0.config.digest;
    for digest in [config, no_manifest] {
        std::fs::remove_file(store.blob_path(&digest)).unwrap();
    }
    std::fs::write(store.root().join("refs/local%2Fbad%3A1"), "{").unwrap();

    let usage = store.usage().unwrap();
    let of = |digest| before.snapshots.iter().find(|snapshot| snapshot.digest == digest).unwrap();
    // Its manifest says still what the one without a config shares.
    assert_eq!(usage.snapshots, [of(sound).clone()]);
    let problems: Vec<_> = usage.problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 3, "{problems:?}");
    for named in
        ["tag local/bad:1 is damaged: ", "snapshot local/no-config:1: ", "snapshot local/no-manifest:1: "]
    {
        assert!(problems.iter().any(|problem| problem.contains(named)), "{named}: {problems:?}");
    }
    assert!(usage.blobs > 0 && usage.blobs < before.blobs);
}
