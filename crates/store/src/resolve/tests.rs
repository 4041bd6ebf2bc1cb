//! What references lead to.
use super::*;
use crate::testing::{home, name, put_snapshot};

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

#[test]
fn a_short_name_needs_exactly_one_digest() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let (one, two) = (put_snapshot(store, &lease, &["a"], "1"), put_snapshot(store, &lease, &["a"], "2"));
    store.set_ref(&name("local/numpy:latest"), &one, None).unwrap();
    store.set_ref(&name("hub.example/numpy:latest"), &one, Some("https://hub.example")).unwrap();
    store.set_ref(&name("hub.example/numpy-extra:latest"), &two, None).unwrap();

    let found = store.resolve(&reference("numpy")).unwrap();
    assert_eq!((found.digest, found.origin.as_deref()), (one, Some("https://hub.example")));

    store.set_ref(&name("other.example/numpy:latest"), &two, None).unwrap();
    let error = store.resolve(&reference("numpy")).unwrap_err();
    let ResolveError::Ambiguous { candidates, .. } = &error else { panic!("{error}") };
    assert_eq!(candidates.len(), 3);
    let text = error.to_string();
    assert!(text.contains("local/numpy:latest") && text.contains("other.example/numpy:latest"), "{text}");
    assert!(!text.contains("numpy-extra"), "{text}");

    assert_eq!(store.resolve(&reference("other.example/numpy")).unwrap().digest, two);
    assert_eq!(store.resolve(&reference("local/numpy:latest")).unwrap().digest, one);
}

#[test]
fn nothing_is_found_because_it_looks_alike() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let digest = put_snapshot(store, &lease, &["a"], "1");
    store.set_ref(&name("hub.example/team/numpy:1.2"), &digest, None).unwrap();
    for text in
        ["numpy", "team/numpy", "team/numpy:1", "team/numpy:1.2.0", "nump:1.2", "local/team/numpy:1.2"]
    {
        let error = store.resolve(&reference(text)).unwrap_err().to_string();
        assert!(error.contains("spore pull"), "{error}");
    }
    assert_eq!(store.resolve(&reference("team/numpy:1.2")).unwrap().digest, digest);
}

#[test]
fn who_finds_nothing_is_told_what_is_called_alike() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let digest = put_snapshot(store, &lease, &["a"], "1");
    let error = |text: &str| store.resolve(&reference(text)).unwrap_err().to_string();
    assert!(error("numpy").starts_with("numpy is not in this store: "), "{}", error("numpy"));
    for tag in ["hub.example/team/numpy:1", "hub.example/team/numpy:latest", "local/numpy-extra:latest"] {
        store.set_ref(&name(tag), &digest, None).unwrap();
    }
    let both =
        "numpy is not in this store, but hub.example/team/numpy:latest and hub.example/team/numpy:1 are: ";
    assert!(error("numpy").starts_with(both), "{}", error("numpy"));
    let one = "extra/numpy-extra:2 is not in this store, but local/numpy-extra:latest is: ";
    assert!(error("extra/numpy-extra:2").starts_with(one), "{}", error("extra/numpy-extra:2"));
    for tag in ["a.example/numpy:1", "b.example/numpy:1", "c.example/numpy:1"] {
        store.set_ref(&name(tag), &digest, None).unwrap();
    }
    assert_eq!(error("numpy").matches("/numpy:1").count(), 2, "{}", error("numpy"));
}

#[test]
fn with_a_digest_the_name_decides_nothing() {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    let (one, two) = (put_snapshot(store, &lease, &["a"], "1"), put_snapshot(store, &lease, &["a"], "2"));
    store.set_ref(&name("local/a:latest"), &one, None).unwrap();
    store.set_ref(&name("hub.example/b:latest"), &two, Some("origin")).unwrap();
    let found = store.resolve(&reference(&format!("a@{two}"))).unwrap();
    assert_eq!((found.digest, found.origin.as_deref()), (two, Some("origin")));
    let absent = Digest::of(b"absent");
    assert!(matches!(store.resolve(&reference(&format!("a@{absent}"))), Err(ResolveError::NotFound { .. })));
}
