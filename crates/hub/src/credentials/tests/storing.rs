//! What login and logout leave in files.

use super::*;

#[test]
fn a_login_is_found_again_and_a_logout_ends_it() {
    let temp = tempfile::tempdir().unwrap();
    let file = temp.path().join("new/containers/auth.json");
    let credentials = Credentials::from_files(vec![file.clone()]);
    assert!(!credentials.remove("r.example").unwrap());
    assert!(!file.parent().unwrap().exists());
    for credential in [basic("u", ""), Credential::IdentityToken(Secret::new("t")), basic("u", PASSWORD)] {
        assert_eq!(credentials.store("r.example:5000", &credential).unwrap(), file);
        assert_eq!(credentials.find("r.example:5000", "a/b").unwrap(), Some(credential));
    }
    assert_eq!(
        (mode(&file), mode(file.parent().unwrap()), mode(&temp.path().join("new"))),
        (0o600, 0o700, 0o700)
    );
    assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);
    assert!(credentials.remove("r.example:5000").unwrap());
    assert_eq!(credentials.find("r.example:5000", "a/b").unwrap(), None);
    assert!(!credentials.remove("r.example:5000").unwrap());
}

#[test]
fn what_others_keep_in_the_file_stays() {
    let others = json!({
        "auths": { "o.example": auth("o"), "r.example/ns": auth("ns") },
        "HttpHeaders": { "User-Agent": "é \u{7f}" }, "experimental": "enabled", "n": [1, -2.5, null, true],
    });
    let mut before = others.clone();
    before["auths"]["https://r.example/v1/"] = auth("old");
    before["auths"]["r.example"] = auth("older");
    let place = Place::new(&before);
    fs::set_permissions(place.file(), fs::Permissions::from_mode(0o644)).unwrap();
    place.credentials.store("r.example", &basic("u", PASSWORD)).unwrap();
    let mut expected = others.clone();
    expected["auths"]["r.example"] = auth("u");
    assert_eq!((place.content(), mode(place.file())), (expected, 0o600));
    assert!(place.credentials.remove("r.example").unwrap());
    assert_eq!(place.content(), others);
    // A part of the registry has its own entry, which is none of this logout's.
    assert_eq!(place.user("r.example", "ns/x").as_deref(), Some("ns"));
}

#[test]
fn tools_find_each_other_s_logins() {
    let place = Place::new(&json!({ "auths": null }));
    place.credentials.store("docker.io", &basic("u", PASSWORD)).unwrap();
    assert_eq!(place.content(), json!({ "auths": { "https://index.docker.io/v1/": auth("u") } }));
    place.credentials.store("r.example", &Credential::IdentityToken(Secret::new("t"))).unwrap();
    // "<token>:"
    let entry = json!({ "auth": "PHRva2VuPjo=", "identitytoken": "t" });
    assert_eq!(place.content()["auths"]["r.example"], entry);
}

#[test]
fn links_stay_links() {
    let place = Place::empty();
    let kept = place.temp.path().join("dotfiles/kept.json");
    fs::create_dir(place.temp.path().join("dotfiles")).unwrap();
    symlink("dotfiles/link.json", place.file()).unwrap();
    symlink("kept.json", place.temp.path().join("dotfiles/link.json")).unwrap();
    for user in ["first", "second"] {
        place.credentials.store("r.example", &basic(user, PASSWORD)).unwrap();
        assert!(place.file().is_symlink() && kept.is_file() && !kept.is_symlink());
        assert_eq!(place.user("r.example", "").as_deref(), Some(user));
    }
    fs::remove_file(place.file()).unwrap();
    symlink("auth.json", place.file()).unwrap();
    assert!(matches!(
        place.credentials.store("r.example", &basic("u", "p")),
        Err(CredentialError::Io { .. })
    ));
}

#[test]
fn logins_at_once_are_all_kept() {
    let place = Place::empty();
    let registries: Vec<_> = (0..8).map(|number| format!("r{number}.example")).collect();
    std::thread::scope(|scope| {
        for registry in &registries {
            scope.spawn(|| place.credentials.store(registry, &basic(registry, PASSWORD)).unwrap());
        }
    });
    for registry in &registries {
        assert_eq!(place.user(registry, "").as_ref(), Some(registry));
    }
}
