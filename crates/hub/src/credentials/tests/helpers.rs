//! Credential helpers, as scripts that do what good and bad ones do.

use std::process::Command;
use std::time::Instant;

use super::*;

/// Keeps the last record that was stored in a file, and notes how it was called.
const KEEPER: &str = r#"#!/bin/sh
cd "${0%/*}" && echo "$1" >> calls || exit 1
case "$1" in
    store) cat > kept ;;
    get) cat > server; if [ -e kept ]; then cat kept; else echo credentials not found in native keychain; exit 1; fi ;;
    erase) cat > server; rm -f kept ;;
esac
"#;

impl Place {
    /// Installs a helper. By another process: a script that this one had open for writing could be held open by a child
    /// that another test starts at that moment, and then cannot be executed.
    fn helper(&self, name: &str, script: &str) -> PathBuf {
        let bin = self.temp.path().join("bin");
        fs::create_dir_all(&bin).unwrap();
        let (source, program) =
            (self.temp.path().join("script"), bin.join(format!("docker-credential-{name}")));
        fs::write(&source, script).unwrap();
        let status = Command::new("install").args(["-m", "755"]).arg(source).arg(&program).status().unwrap();
        assert!(status.success());
        program
    }

    /// What is said of the helper `x`, which is a script with this body. It must not repeat its output.
    fn helper_complaint(body: &str, patience: Duration) -> String {
        let mut place = Self::new(&json!({ "credsStore": "x" }));
        place.credentials.helpers.patience = patience;
        place.helper("x", &format!("#!/bin/sh\n{body}\n"));
        let text = place.credentials.find("r.example", "").unwrap_err().to_string();
        assert!(text.contains("docker-credential-x get: ") && text.contains("r.example"), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
        text
    }
}

fn bin_file(place: &Place, name: &str) -> String {
    fs::read_to_string(place.temp.path().join("bin").join(name)).unwrap_or_default()
}

#[test]
fn a_registry_s_helper_decides_alone() {
    let place = Place::new(&json!({
        "auths": { "r.example": auth("file"), "r.example/ns": auth("file"), "o.example": auth("file") },
        "credHelpers": { "r.example": "keeper" },
        "credsStore": "other",
    }));
    place.helper("keeper", KEEPER);
    place.helper("other", "#!/bin/sh\nexit 1\n");
    assert_eq!(place.user("r.example", "ns"), None);
    assert_eq!(bin_file(&place, "server"), "r.example");
    let record = json!({ "ServerURL": "r.example", "Username": "helper", "Secret": PASSWORD });
    fs::write(place.temp.path().join("bin/kept"), record.to_string()).unwrap();
    assert_eq!(place.user("r.example", "ns").as_deref(), Some("helper"));
    // What the file has is found before the helper for all is asked.
    assert_eq!(place.user("o.example", "ns").as_deref(), Some("file"));
    assert!(place.credentials.find("p.example", "ns").is_err());
}

#[test]
fn a_helper_that_has_none_leaves_it_to_the_next_file() {
    let mut place = Place::new(&json!({ "auths": { "r.example": {} }, "credsStore": "keeper" }));
    place.helper("keeper", KEEPER);
    let next = place.temp.path().join("next.json");
    fs::write(&next, json!({ "auths": { "r.example": auth("next") } }).to_string()).unwrap();
    place.credentials.files.push(next);
    assert_eq!(place.user("r.example", "").as_deref(), Some("next"));
    for (record, user) in [
        (json!({ "Username": "", "Secret": "" }), "next"),
        (json!({ "Username": "<token>", "Secret": "t" }), "token t"),
    ] {
        fs::write(place.temp.path().join("bin/kept"), record.to_string()).unwrap();
        assert_eq!(place.user("r.example", "").as_deref(), Some(user));
    }
}

#[test]
fn a_helper_keeps_logins_and_forgets_them() {
    for settings in [json!({ "credsStore": "keeper" }), json!({ "credHelpers": { "docker.io": "keeper" } })] {
        let mut before = settings.clone();
        before["auths"] = json!({ "o.example": auth("o"), "docker.io": auth("in the open") });
        let place = Place::new(&before);
        place.helper("keeper", KEEPER);
        for credential in [basic("u", "\"\n\\é"), Credential::IdentityToken(Secret::new("t"))] {
            assert_eq!(place.credentials.store("docker.io", &credential).unwrap(), place.file());
            assert_eq!(place.credentials.find("docker.io", "a/b").unwrap(), Some(credential));
        }
        let mut after = settings;
        after["auths"] = json!({ "o.example": auth("o") });
        assert_eq!(place.content(), after);
        let kept: Value = serde_json::from_str(&bin_file(&place, "kept")).unwrap();
        let server = "https://index.docker.io/v1/";
        assert_eq!(kept, json!({ "ServerURL": server, "Username": "<token>", "Secret": "t" }));
        assert!(place.credentials.remove("docker.io").unwrap());
        assert_eq!(bin_file(&place, "server"), server);
        assert!(!place.credentials.remove("docker.io").unwrap());
        assert_eq!(bin_file(&place, "calls"), "store\nget\nstore\nget\nget\nerase\nget\n");
    }
}

#[test]
fn a_logout_forgets_in_both_places() {
    let place = Place::new(&json!({ "auths": { "r.example": auth("file") }, "credsStore": "keeper" }));
    place.helper("keeper", KEEPER);
    assert!(place.credentials.remove("r.example").unwrap());
    assert_eq!(place.content()["auths"], json!({}));
    // A helper that cannot read what it keeps can still erase it.
    place.helper("keeper", "#!/bin/sh\n[ $1 = erase ] && echo gone > \"${0%/*}/erased\"\n");
    assert!(place.credentials.remove("r.example").unwrap());
    assert_eq!(bin_file(&place, "erased"), "gone\n");
}

#[test]
fn what_a_helper_does_wrong_is_said_without_its_words() {
    for (body, expected) in [
        ("echo s3cret; exit 3", "it ended with exit status: 3"),
        ("echo s3cret; kill -9 $$", "it ended with signal: 9"),
        ("echo s3cret", "its answer is not JSON"),
        (r#"echo '{"Username": "s3cret"}'"#, "its answer is not JSON with a Username and a Secret"),
        ("yes s3cret", "it says more than 64 KiB"),
        ("echo s3cret; exec sleep 600", "it has not ended within 500ms"),
        ("exec <&- >&-; exec sleep 600", "it has not ended within 500ms"),
    ] {
        let is_slow = expected.ends_with("500ms");
        let patience = if is_slow { Duration::from_millis(500) } else { Duration::from_secs(60) };
        let complaint = Place::helper_complaint(body, patience);
        assert!(complaint.contains(expected), "{complaint}");
    }
}

#[test]
fn a_helper_that_is_killed_is_gone() {
    let mut place = Place::new(&json!({ "credsStore": "x" }));
    place.credentials.helpers.patience = Duration::from_secs(60);
    // For what it says, which is too much.
    place.helper("x", "#!/bin/sh\necho $$ > \"${0%/*}/pid\"\nexec yes\n");
    place.credentials.find("r.example", "").unwrap_err();
    let pid = bin_file(&place, "pid");
    assert!(!pid.is_empty() && !Path::new("/proc").join(pid.trim()).exists());
}

#[test]
fn what_a_helper_leaves_behind_is_not_waited_for() {
    let place = Place::new(&json!({ "credsStore": "x" }));
    let record = json!({ "Username": "u", "Secret": PASSWORD });
    // It reads nothing, and leaves a process that holds its output open for longer than a helper may take.
    place.helper("x", &format!("#!/bin/sh\nsleep 15 2>/dev/null &\necho '{record}'\n"));
    let begin = Instant::now();
    assert_eq!(place.user("r.example", "").as_deref(), Some("u"));
    assert!(begin.elapsed() < HELPER_PATIENCE);
}

#[test]
fn a_secret_that_fills_the_pipe_reaches_the_helper() {
    let place = Place::new(&json!({ "credsStore": "keeper" }));
    place.helper("keeper", KEEPER);
    let secret = "x".repeat(200_000);
    place.credentials.store("r.example", &basic("u", &secret)).unwrap();
    let kept: Value = serde_json::from_str(&bin_file(&place, "kept")).unwrap();
    assert_eq!(kept["Secret"], secret);
}

#[test]
fn only_plain_names_on_the_search_path_are_helpers() {
    let place = Place::empty();
    let program = place.helper("x", KEEPER);
    for name in ["../x", "/x", "x y", "x\n", "é"] {
        place.write(json!({ "credHelpers": { "r.example": name } }).to_string());
        let error = place.credentials.find("r.example", "").unwrap_err();
        assert!(
            matches!(&error, CredentialError::HelperName { name: named, .. } if named == name),
            "{error}"
        );
    }
    let missing = |place: &Place, credentials: &Credentials| {
        let error = credentials.find("r.example", "").unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, CredentialError::NoHelper { .. }), "{text}");
        assert!(text.contains("docker-credential-x") && text.contains(&place.file().display().to_string()));
    };
    place.write(json!({ "credsStore": "x" }).to_string());
    assert_eq!(place.credentials.find("r.example", "").unwrap(), None);
    for path in ["", ".", ":", "bin", "/nowhere"] {
        missing(&place, &place.credentials.clone().with_search_path(path));
    }
    fs::set_permissions(program, fs::Permissions::from_mode(0o644)).unwrap();
    missing(&place, &place.credentials);
}
