//! Credentials in real files, and from real helpers.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

mod helpers;
mod storing;

const PASSWORD: &str = "correct:horse";

fn basic(user: &str, password: &str) -> Credential {
    Credential::Basic { user: user.to_owned(), password: Secret::new(password) }
}

/// A folder with one file of credentials.
struct Place {
    temp: TempDir,
    credentials: Credentials,
}

impl Place {
    fn empty() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let credentials = Credentials::from_files(vec![temp.path().join("auth.json")])
            .with_search_path(temp.path().join("bin"));
        Self { temp, credentials }
    }

    fn new(content: &Value) -> Self {
        let place = Self::empty();
        place.write(content.to_string());
        place
    }

    fn write(&self, content: impl AsRef<[u8]>) {
        fs::write(self.file(), content).unwrap();
    }

    fn file(&self) -> &Path {
        self.credentials.file().unwrap()
    }

    fn content(&self) -> Value {
        serde_json::from_slice(&fs::read(self.file()).unwrap()).unwrap()
    }

    fn user(&self, registry: &str, repository: &str) -> Option<String> {
        match self.credentials.find(registry, repository).unwrap()? {
            Credential::Basic { user, password } => {
                assert_eq!(password.expose(), PASSWORD);
                Some(user)
            }
            Credential::IdentityToken(token) => Some(format!("token {}", token.expose())),
        }
    }

    /// What is said of a file that cannot be used; it must name the file and show nothing of its content.
    fn complaint(&self, registry: &str) -> String {
        let text = self.credentials.find(registry, "").unwrap_err().to_string();
        assert!(text.contains(&self.file().display().to_string()), "{text}");
        assert!(!text.contains("s3cret"), "{text}");
        text
    }
}

fn auth(user: &str) -> Value {
    use base64::Engine;
    let text = format!("{user}:{PASSWORD}");
    json!({ "auth": base64::engine::general_purpose::STANDARD.encode(text) })
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o777
}

#[test]
fn the_environment_says_where() {
    let files = |variables: &[(&str, &str)]| {
        let variables = variables.to_vec();
        Credentials::from_variables(move |name| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
        .files
    };
    let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
    assert_eq!(
        files(&[("HOME", "/h"), ("XDG_RUNTIME_DIR", "/run/u"), ("REGISTRY_AUTH_FILE", "")]),
        paths(&["/run/u/containers/auth.json", "/h/.config/containers/auth.json", "/h/.docker/config.json"])
    );
    assert_eq!(
        files(&[("HOME", "/h"), ("XDG_CONFIG_HOME", "/c"), ("DOCKER_CONFIG", "/d"), ("XDG_RUNTIME_DIR", "")]),
        paths(&["/c/containers/auth.json", "/d/config.json"])
    );
    assert_eq!(files(&[("HOME", "/h"), ("REGISTRY_AUTH_FILE", "/a.json")]), paths(&["/a.json"]));
    assert_eq!(files(&[]), paths(&[]));
    let nowhere = Credentials::from_files(Vec::new());
    assert_eq!(nowhere.find("r.example", "a").unwrap(), None);
    assert!(matches!(nowhere.store("r.example", &basic("u", "p")), Err(CredentialError::NoFile)));
}

#[test]
fn secrets_are_not_shown() {
    let secret = Secret::new("s3cret");
    assert_eq!(secret.expose(), "s3cret");
    for shown in [
        format!("{secret} {secret:?} {secret:#?}"),
        format!("{:?}", basic("u", "s3cret")),
        format!("{:?}", Credential::IdentityToken(secret)),
    ] {
        assert!(shown.contains("redacted") && !shown.contains("s3cret"), "{shown}");
    }
}

#[test]
fn the_most_specific_key_decides() {
    let place = Place::new(&json!({ "auths": {
        "r.example": auth("host"),
        "r.example/ns": auth("namespace"),
        "r.example/ns/repo": auth("repository"),
        "r.example/marker": {},
        "r.example:5000": auth("port"),
    }}));
    for (registry, repository, user) in [
        ("r.example", "ns/repo", Some("repository")),
        ("r.example", "ns/repo/deeper", Some("repository")),
        ("r.example", "ns/other", Some("namespace")),
        ("r.example", "nsx/repo", Some("host")),
        ("r.example", "marker", Some("host")),
        ("r.example", "", Some("host")),
        ("r.example:5000", "ns/repo", Some("port")),
        ("r.example:5001", "ns/repo", None),
        ("example", "", None),
    ] {
        assert_eq!(place.user(registry, repository).as_deref(), user, "{registry} {repository}");
    }
}

#[test]
fn keys_that_are_urls_mean_their_host() {
    let place = Place::new(&json!({ "auths": {
        "https://a.example/v1/": auth("a"),
        "http://b.example:5000": auth("b"),
        "https://c.example/v2/": auth("c, as a URL"),
        "c.example": auth("c"),
        "https://index.docker.io/v1/": auth("hub"),
    }}));
    for (registry, user) in [
        ("a.example", Some("a")),
        ("b.example:5000", Some("b")),
        ("c.example", Some("c")),
        ("docker.io", Some("hub")),
        ("registry-1.docker.io", Some("hub")),
        ("v1", None),
        ("b.example", None),
    ] {
        assert_eq!(place.user(registry, "x/y").as_deref(), user, "{registry}");
    }
}

#[test]
fn files_are_asked_in_turn() {
    let temp = tempfile::tempdir().unwrap();
    let files: Vec<_> = ["absent/auth.json", "empty", "2", "3"].map(|name| temp.path().join(name)).into();
    fs::write(&files[1], "\n").unwrap();
    fs::write(&files[2], json!({ "auths": { "a.example": auth("2"), "b.example": {} } }).to_string())
        .unwrap();
    fs::write(&files[3], json!({ "auths": { "a.example": auth("3"), "b.example": auth("3") } }).to_string())
        .unwrap();
    let credentials = Credentials::from_files(files);
    assert_eq!(credentials.find("a.example", "x").unwrap(), Some(basic("2", PASSWORD)));
    assert_eq!(credentials.find("b.example", "x").unwrap(), Some(basic("3", PASSWORD)));
    assert_eq!(credentials.find("c.example", "x").unwrap(), None);
}

#[test]
fn a_file_that_is_none_is_named_and_not_shown() {
    let place = Place::empty();
    for (content, expected) in [
        (r#"{ "auths": "s3cret" }"#, "expected auths to be an object"),
        (r#"{ "credsStore": 1 }"#, "expected credsStore to be a string"),
        (r#"{ "credHelpers": [] }"#, "expected credHelpers to be an object"),
        ("{\n  \"s3cret", "expected JSON: it is broken at line 2"),
        (r#""s3cret""#, "expected a JSON object"),
    ] {
        place.write(content);
        let complaint = place.complaint("r.example");
        assert!(complaint.contains(expected), "{complaint}");
        assert!(place.credentials.store("r.example", &basic("u", "p")).is_err());
        assert_eq!(fs::read_to_string(place.file()).unwrap(), content);
    }
    for (entry, expected) in [
        (r#""s3cret""#, "expected r.example to be an object"),
        (r#"{ "auth": ["s3cret"] }"#, "expected auth to be a string"),
        (r#"{ "auth": "s3cret" }"#, "base64 of USER:PASSWORD"),
        // "s3cret" without a colon.
        (r#"{ "auth": "czNjcmV0" }"#, "base64 of USER:PASSWORD"),
    ] {
        place.write(format!(r#"{{ "auths": {{ "r.example": {entry} }} }}"#));
        let complaint = place.complaint("r.example");
        assert!(complaint.contains(expected), "{complaint}");
        // One registry's entry is in nobody else's way, and a new login repairs it.
        assert_eq!(place.user("o.example", ""), None);
        place.credentials.store("r.example", &basic("u", PASSWORD)).unwrap();
        assert_eq!(place.user("r.example", "").as_deref(), Some("u"));
    }
    place.write(format!("{{}}{}", " ".repeat(1 << 20)));
    assert!(place.complaint("r.example").contains("at most 1 MiB"));
    assert!(place.credentials.store("r.example", &basic("u", "p")).is_err());
    place.write(format!("{{}}{}", " ".repeat((1 << 20) - 2)));
    assert_eq!(place.user("r.example", ""), None);
}

#[test]
fn nothing_waits_for_a_file_that_is_none() {
    let place = Place::empty();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, place.file(), fifo, 0o600.into(), 0).unwrap();
    assert!(place.complaint("r.example").contains("expected a regular file"));
}

#[test]
fn names_that_mean_something_else_are_refused() {
    let place = Place::empty();
    for registry in ["", "https://r.example", "u:s3cret@r.example", "r.example/ns", "a b", "-a", "a\n"] {
        for error in [
            place.credentials.find(registry, "").unwrap_err(),
            place.credentials.store(registry, &basic("u", "p")).unwrap_err(),
            place.credentials.remove(registry).unwrap_err(),
        ] {
            assert!(matches!(error, CredentialError::Registry), "{registry}");
            assert!(!error.to_string().contains("s3cret"));
        }
    }
    for registry in ["localhost:5000", "[::1]:5000", "127.0.0.1", "My_Host-1.example"] {
        check_registry(registry).unwrap();
    }
    for user in ["", "a:b", "<token>"] {
        let refused = place.credentials.store("r.example", &basic(user, "s3cret")).unwrap_err();
        assert!(matches!(refused, CredentialError::User { .. }) && !refused.to_string().contains("s3cret"));
    }
    assert!(!place.file().exists());
}
