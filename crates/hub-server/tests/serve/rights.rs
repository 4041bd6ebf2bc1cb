//! Who may do what: each token what its entry says, and nobody else anything.

use format::Digest;
use hub_server::{Policy, ServeError, Server};
use reqwest::StatusCode;

use crate::world::{Setup, World, code, manifest, options, token, tokens, with};

async fn status(world: &World, method: &str, path: &str, token: Option<&str>) -> StatusCode {
    with(world.request(method, path), token).send().await.unwrap().status()
}

#[tokio::test]
async fn a_token_is_for_its_namespace() {
    let (alice, entry) = token("alice", &["alice/"], true, false);
    let (bob, bobs) = token("bob", &["bob/", "shared"], false, false);
    let (admin, admins) = token("admin", &["*"], true, true);
    let world = World::new(Setup { policy: tokens(&[&entry, &bobs, &admins]), ..Setup::default() }).await;
    let digest = Digest::of(b"config");
    for (name, who, expected) in [
        ("alice/numpy", Some(&alice), StatusCode::CREATED),
        ("alice", Some(&alice), StatusCode::FORBIDDEN),
        ("bob/numpy", Some(&alice), StatusCode::FORBIDDEN),
        ("shared", Some(&bob), StatusCode::CREATED),
        ("alice/numpy", Some(&bob), StatusCode::FORBIDDEN),
        ("any/name", Some(&admin), StatusCode::CREATED),
        ("alice/numpy", None, StatusCode::UNAUTHORIZED),
        ("alice/numpy", Some(&"spore_wrong".to_owned()), StatusCode::UNAUTHORIZED),
    ] {
        let put = world.put_blob(name, b"config", who.map(String::as_str)).await;
        assert_eq!(put.status(), expected, "{name} {who:?}");
        let path = format!("/v2/{name}/manifests/1");
        let put = with(world.request("PUT", &path), who.map(String::as_str)).body(manifest(b"config"));
        assert_eq!(put.send().await.unwrap().status(), expected, "{name} {who:?}");
    }
    // Bob, who cannot pull, reads what he may push; he takes nothing over from elsewhere.
    for (path, who, expected) in [
        ("/v2/alice/numpy/manifests/1".to_owned(), &alice, StatusCode::OK),
        ("/v2/shared/manifests/1".to_owned(), &alice, StatusCode::OK),
        ("/v2/shared/manifests/1".to_owned(), &bob, StatusCode::OK),
        ("/v2/alice/numpy/manifests/1".to_owned(), &bob, StatusCode::FORBIDDEN),
        ("/v2/_catalog".to_owned(), &bob, StatusCode::FORBIDDEN),
        ("/index.json".to_owned(), &bob, StatusCode::FORBIDDEN),
        (format!("/blobs/sha256/{}", digest.hex()), &bob, StatusCode::FORBIDDEN),
        ("/v2/".to_owned(), &bob, StatusCode::OK),
    ] {
        assert_eq!(status(&world, "GET", &path, Some(who)).await, expected, "{path}");
        assert_eq!(status(&world, "GET", &path, None).await, StatusCode::UNAUTHORIZED, "{path}");
    }
    let mount = format!("/v2/bob/x/blobs/uploads/?mount={digest}&from=");
    assert_eq!(
        status(&world, "POST", &format!("{mount}alice/numpy"), Some(&bob)).await,
        StatusCode::ACCEPTED
    );
    assert_eq!(status(&world, "POST", &format!("{mount}shared"), Some(&bob)).await, StatusCode::CREATED);
}

#[tokio::test]
async fn an_upload_is_its_own_s() {
    let (alice, entry) = token("alice", &["alice/"], true, false);
    let (admin, admins) = token("admin", &["*"], true, true);
    let world = World::new(Setup { policy: tokens(&[&entry, &admins]), ..Setup::default() }).await;
    let path = world.begin("alice/x", Some(&alice)).await;
    assert_eq!(status(&world, "GET", &path, Some(&admin)).await, StatusCode::NOT_FOUND);
    let elsewhere = path.replace("alice/x", "alice/y");
    assert_eq!(status(&world, "PATCH", &elsewhere, Some(&alice)).await, StatusCode::NOT_FOUND);
    assert_eq!(status(&world, "GET", &path, Some(&alice)).await, StatusCode::NO_CONTENT);
    for id in ["0", "..", "%2e%2e", "../../../../etc/passwd"] {
        let path = format!("/v2/alice/x/blobs/uploads/{id}");
        assert!(status(&world, "PATCH", &path, Some(&alice)).await.is_client_error(), "{id}");
    }
    assert_eq!(status(&world, "DELETE", &path, Some(&alice)).await, StatusCode::NO_CONTENT);
    assert_eq!(world.unfinished(), 0);
}

#[tokio::test]
async fn deleting_needs_a_right_of_its_own() {
    let (alice, entry) = token("alice", &["alice/"], true, false);
    let (carol, carols) = token("carol", &["alice/"], true, true);
    let world = World::new(Setup { policy: tokens(&[&entry, &carols]), ..Setup::default() }).await;
    world.put_blob("alice/x", b"config", Some(&alice)).await;
    let digest = Digest::of(&manifest(b"config"));
    for tag in ["1", "2", "3"] {
        let put = with(world.request("PUT", &format!("/v2/alice/x/manifests/{tag}")), Some(&alice));
        put.body(manifest(b"config")).send().await.unwrap();
    }
    let path = |reference: &str| format!("/v2/alice/x/manifests/{reference}");
    assert_eq!(status(&world, "DELETE", &path("1"), Some(&alice)).await, StatusCode::FORBIDDEN);
    assert_eq!(status(&world, "DELETE", &path("1"), None).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&world, "DELETE", &path("1"), Some(&carol)).await, StatusCode::ACCEPTED);
    assert_eq!(status(&world, "GET", &path("1"), Some(&alice)).await, StatusCode::NOT_FOUND);
    assert_eq!(status(&world, "GET", &path("2"), Some(&alice)).await, StatusCode::OK);
    assert_eq!(
        status(&world, "DELETE", &path(&digest.to_string()), Some(&carol)).await,
        StatusCode::ACCEPTED
    );
    for reference in ["2", "3", &digest.to_string()] {
        assert_eq!(status(&world, "GET", &path(reference), Some(&alice)).await, StatusCode::NOT_FOUND);
    }
    let index = std::fs::read_to_string(world.folder().join("index.json")).unwrap();
    assert!(!index.contains("alice/x"), "{index}");
    let blob = format!("/v2/alice/x/blobs/{}", Digest::of(b"config"));
    assert_eq!(status(&world, "DELETE", &blob, Some(&carol)).await, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn a_public_hub_is_read_by_everybody() {
    let (alice, entry) = token("alice", &["alice/"], false, false);
    let policy = Policy { is_public: true, ..tokens(&[&entry]) };
    let world = World::new(Setup { policy, ..Setup::default() }).await;
    world.put_blob("alice/x", b"config", Some(&alice)).await;
    let path = format!("/v2/alice/x/blobs/{}", Digest::of(b"config"));
    assert_eq!(status(&world, "GET", &path, None).await, StatusCode::OK);
    // A client that has nothing to say, and says so.
    let empty = world.request("GET", &path).basic_auth("", Some(""));
    assert_eq!(empty.send().await.unwrap().status(), StatusCode::OK);
    // Whoever gives a token is told that it is wrong, and whoever wants to push learns how.
    assert_eq!(status(&world, "GET", &path, Some("wrong")).await, StatusCode::UNAUTHORIZED);
    let ping = world.request("GET", "/v2/").send().await.unwrap();
    assert_eq!(ping.status(), StatusCode::UNAUTHORIZED);
    assert!(ping.headers()["www-authenticate"].to_str().unwrap().starts_with("Basic realm="));
    assert_eq!(status(&world, "POST", "/v2/alice/x/blobs/uploads/", None).await, StatusCode::UNAUTHORIZED);
    let bearer = world.request("POST", "/v2/alice/x/blobs/uploads/").bearer_auth(&alice);
    assert_eq!(bearer.send().await.unwrap().status(), StatusCode::ACCEPTED);
}

#[tokio::test]
async fn without_tokens_only_this_machine_pushes() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().join("hub");
    let mut exposed = options(&folder, Setup::default());
    exposed.listen = ([0, 0, 0, 0], 0).into();
    let error = Server::bind(exposed).await.unwrap_err();
    assert!(matches!(error, ServeError::Exposed { .. }) && error.to_string().contains("--tokens"), "{error}");
    assert!(!folder.exists());
    let world = World::open().await;
    assert_eq!(world.put_blob("a", b"x", None).await.status(), StatusCode::CREATED);
    assert_eq!(world.status("DELETE", "/v2/a/manifests/1").await, StatusCode::FORBIDDEN);
    // What a web page may have sent.
    let path = format!("/v2/a/blobs/uploads/?digest={}", Digest::of(b"y"));
    let page = world.request("POST", &path).header("origin", "https://evil.example").body("y");
    assert_eq!(page.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let rebound = world.request("GET", "/v2/_catalog").header("host", "evil.example");
    assert_eq!(rebound.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    assert!(!world.blob_file(&Digest::of(b"y")).exists());
}

#[tokio::test]
async fn a_server_that_only_reads_takes_nothing() {
    let world = World::open().await;
    world.put_blob("a", b"x", None).await;
    let temp = world.stop().await;
    let read_only = || Policy { is_read_only: true, ..Policy::default() };
    let world = World::over(temp, Setup { policy: read_only(), ..Setup::default() }).await.unwrap();
    let put = world.put_blob("a", b"y", None).await;
    assert_eq!((put.status(), code(put).await.as_str()), (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED"));
    assert_eq!(world.status("GET", &format!("/v2/a/blobs/{}", Digest::of(b"x"))).await, StatusCode::OK);
    // Neither does it make a hub.
    let temp = tempfile::tempdir().unwrap();
    let error = World::over(temp, Setup { policy: read_only(), ..Setup::default() }).await.err().unwrap();
    assert!(matches!(error, ServeError::Hub(_)), "{error}");
}
