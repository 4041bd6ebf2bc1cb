//! It is a registry: our clients, the suite of the trait, and the API as the specification has it.

use std::sync::Arc;
use std::time::Duration;

use format::{Digest, FullName};
use hub::testing::{SampleSpec, put_sample};
use hub::{Registry, Selector, TagAs};
use hub_server::Limits;
use reqwest::StatusCode;
use store::Store;

use crate::world::{Setup, World, code, manifest, token, tokens};

const SERVER: &str = concat!("spore hub serve ", env!("CARGO_PKG_VERSION"));

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_conforms() {
    let (all, entry) = token("all", &["*"], true, false);
    // What a client has begun and given up is over soon.
    let limits = Limits { upload: Duration::from_secs(10), ..Limits::default() };
    let plain = Setup { limits, ..Setup::default() };
    let tls = Setup { policy: tokens(&[&entry]), limits, tls: true };
    for (world, token) in [(World::new(plain).await, None), (World::new(tls).await, Some(all.as_str()))] {
        let registry = world.registry(token);
        let scope = "conformance".parse().unwrap();
        let report = hub::conformance::run(Arc::clone(&registry), &scope, SERVER).await.unwrap();
        println!("{report}");
        assert!(report.unsupported.is_empty());
        let scope = "through/files".parse().unwrap();
        let report =
            hub::conformance::run_through(registry, world.files(token), &scope, SERVER).await.unwrap();
        println!("{report}");
        assert!(report.unsupported.is_empty());
        world.settles().await;
    }
}

/// Pushes a sample, and gives its digest and the bytes that were sent.
async fn push(store: &Store, hub: Arc<dyn Registry>, seed: &str) -> Digest {
    let sample = put_sample(store, &SampleSpec { seed, memory_pages: 500, ..SampleSpec::default() }).unwrap();
    let name = "team/sample".parse().unwrap();
    let plan = hub::plan_push(store, &sample.digest, hub, &name).await.unwrap();
    plan.execute(Some(&seed.parse().unwrap()), Arc::new(())).await.unwrap();
    sample.digest
}

async fn pull(store: &Store, hub: Arc<dyn Registry>, tag: &str) -> Digest {
    let which = Selector::Tag(tag.parse().unwrap());
    let plan = hub::plan_pull(store, hub, &"team/sample".parse().unwrap(), &which).await.unwrap();
    let name: FullName = format!("hub.example/team/sample:{tag}").parse().unwrap();
    plan.execute(Some(&TagAs { name: name.clone(), may_move: false }), Arc::new(())).await.unwrap();
    let digest = store.get_ref(&name).unwrap().unwrap().digest;
    store.load_snapshot(&digest).unwrap();
    digest
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_push_at_once_and_all_can_be_pulled() {
    let world = World::open().await;
    let stores: Vec<_> =
        (0..4).map(|n| Store::open(&world.temp.path().join(format!("store{n}"))).unwrap()).collect();
    // They share their layers.
    let (one, two) = tokio::join!(
        push(&stores[0], world.registry(None), "one"),
        push(&stores[1], world.registry(None), "two")
    );
    assert_eq!(pull(&stores[2], world.registry(None), "one").await, one);
    assert_eq!(pull(&stores[2], world.files(None), "two").await, two);
    assert_eq!(pull(&stores[3], world.files(None), "one").await, one);
    world.settles().await;
    let index = std::fs::read_to_string(world.folder().join("index.json")).unwrap();
    assert!(index.contains("team/sample:one") && index.contains("team/sample:two"), "{index}");
}

#[tokio::test]
async fn a_blob_comes_in_pieces() {
    let world = World::open().await;
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0] ^ n.to_le_bytes()[1]).collect();
    let digest = Digest::of(&bytes);
    let path = world.begin("a/b", None).await;
    let first =
        world.request("PATCH", &path).header("content-range", "0-99999").body(bytes[..100_000].to_vec());
    let first = first.send().await.unwrap();
    assert_eq!(
        (first.status(), first.headers()["range"].to_str().unwrap()),
        (StatusCode::ACCEPTED, "0-99999")
    );
    // Out of turn: what has come stays.
    let wrong =
        world.request("PATCH", &path).header("content-range", "5-9").body("abcde").send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(wrong.headers()["range"], "0-99999");
    let far = world.request("GET", &path).send().await.unwrap();
    assert_eq!((far.status(), far.headers()["range"].to_str().unwrap()), (StatusCode::NO_CONTENT, "0-99999"));
    // Without a Content-Range, and the last piece with the end.
    let next = world.request("PATCH", &path).body(bytes[100_000..200_000].to_vec()).send().await.unwrap();
    assert_eq!(next.status(), StatusCode::ACCEPTED);
    let end = world.request("PUT", &format!("{path}?digest={digest}")).body(bytes[200_000..].to_vec());
    let end = end.send().await.unwrap();
    assert_eq!(end.status(), StatusCode::CREATED);
    assert_eq!(end.headers()["docker-content-digest"], digest.to_string());
    let location = end.headers()["location"].to_str().unwrap();
    let back = world.request("GET", location).send().await.unwrap().bytes().await.unwrap();
    assert!(back == bytes);
    assert_eq!(world.status("GET", &path).await, StatusCode::NOT_FOUND);
    world.settles().await;
}

#[tokio::test]
async fn a_blob_that_is_there_is_mounted() {
    let world = World::open().await;
    let digest = Digest::of(b"shared");
    world.put_blob("a", b"shared", None).await;
    let mount = |digest| format!("/v2/b/blobs/uploads/?mount={digest}&from=a");
    assert_eq!(world.status("POST", &mount(digest)).await, StatusCode::CREATED);
    assert_eq!(world.status("HEAD", &format!("/v2/b/blobs/{digest}")).await, StatusCode::OK);
    // Of what is not there, an upload is begun.
    assert_eq!(world.status("POST", &mount(Digest::of(b"absent"))).await, StatusCode::ACCEPTED);
    assert_eq!(world.unfinished(), 1);
}

#[tokio::test]
async fn a_manifest_needs_its_parts_and_its_digest() {
    let world = World::open().await;
    let (bytes, put) = (manifest(b"config"), |path: &str| world.request("PUT", path));
    let digest = Digest::of(&bytes);
    let answer = put("/v2/a/manifests/1").body(bytes.clone()).send().await.unwrap();
    assert_eq!(
        (answer.status(), code(answer).await.as_str()),
        (StatusCode::NOT_FOUND, "MANIFEST_BLOB_UNKNOWN")
    );
    world.put_blob("a", b"config", None).await;
    for (path, body, expected) in [
        ("/v2/a/manifests/1".to_owned(), b"{}".to_vec(), "MANIFEST_INVALID"),
        ("/v2/a/manifests/1".to_owned(), b"<html>".to_vec(), "MANIFEST_INVALID"),
        (format!("/v2/a/manifests/{}", Digest::of(b"x")), bytes.clone(), "DIGEST_INVALID"),
        ("/v2/a/manifests/1".to_owned(), vec![b' '; (4 << 20) + 1], "SIZE_INVALID"),
        ("/v2/manifests/manifests/1".to_owned(), bytes.clone(), "MANIFEST_INVALID"),
    ] {
        let answer = put(&path).body(body).send().await.unwrap();
        assert!(answer.status().is_client_error(), "{path}");
        assert_eq!(code(answer).await, expected, "{path}");
    }
    let docker = put("/v2/a/manifests/1")
        .header("content-type", "application/vnd.docker.distribution.manifest.v2+json");
    assert_eq!(code(docker.body(bytes.clone()).send().await.unwrap()).await, "MANIFEST_INVALID");
    assert_eq!(world.status("GET", "/v2/a/manifests/1").await, StatusCode::NOT_FOUND);
    let answer = put("/v2/a/manifests/1").body(bytes.clone()).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::CREATED);
    for reference in ["1".to_owned(), digest.to_string()] {
        let answer = world.request("GET", &format!("/v2/a/manifests/{reference}")).send().await.unwrap();
        assert_eq!(answer.headers()["docker-content-digest"], digest.to_string());
        assert_eq!(answer.headers()["content-type"], "application/vnd.oci.image.manifest.v1+json");
        assert!(answer.bytes().await.unwrap() == bytes);
    }
    let known = world.request("GET", "/v2/a/manifests/1").header("if-none-match", format!("\"{digest}\""));
    assert_eq!(known.send().await.unwrap().status(), StatusCode::NOT_MODIFIED);
}

#[tokio::test]
async fn lists_have_pages() {
    let world = World::open().await;
    world.put_blob("x", b"config", None).await;
    for (name, tag) in [("a/one", "1"), ("a/one", "2"), ("a/one", "3"), ("b", "1"), ("c", "1")] {
        let put = world.request("PUT", &format!("/v2/{name}/manifests/{tag}")).body(manifest(b"config"));
        assert_eq!(put.send().await.unwrap().status(), StatusCode::CREATED);
    }
    for (path, field, expected) in [
        ("/v2/a/one/tags/list?n=2", "tags", &["1", "2", "3"][..]),
        ("/v2/_catalog?n=1", "repositories", &["a/one", "b", "c"]),
    ] {
        let (mut next, mut seen) = (Some(path.to_owned()), Vec::new());
        while let Some(path) = next.take() {
            let answer = world.request("GET", &path).send().await.unwrap();
            let link = answer.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
            next = link.map(|link| link[1..].split_once('>').unwrap().0.to_owned());
            let body: serde_json::Value = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
            let page = body[field].as_array().unwrap();
            assert!(page.len() <= 2);
            seen.extend(page.iter().map(|entry| entry.as_str().unwrap().to_owned()));
        }
        assert_eq!(seen, expected);
    }
    assert_eq!(world.status("GET", "/v2/absent/tags/list").await, StatusCode::NOT_FOUND);
}
