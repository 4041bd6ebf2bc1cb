//! Whatever breaks leaves nothing: neither in the folder nor in the way of the next one.

use std::fs;

use format::Digest;
use hub_server::ServeError;
use reqwest::StatusCode;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::world::{DEADLINE, Setup, World, code};

/// Sends the head of an upload and half of its body.
async fn half(world: &World, method: &str, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(world.addr).await.unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: 200000\r\n\r\n", world.addr);
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(&[1; 100_000]).await.unwrap();
    stream
}

/// Until an upload's file has bytes in it.
async fn arrives(world: &World) {
    let written = || {
        let mut files = fs::read_dir(world.folder().join("tmp/serve")).into_iter().flatten().flatten();
        files.any(|file| file.metadata().is_ok_and(|metadata| metadata.len() > 0))
    };
    let wait = async {
        while !written() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.expect("the first half arrives");
}

#[tokio::test]
async fn an_upload_that_is_cut_leaves_nothing() {
    let world = World::open().await;
    let digest = Digest::of(&[1; 200_000]);
    let path = world.begin("a", None).await;
    for (method, path) in [
        ("PATCH", path.clone()),
        ("PUT", format!("{}?digest={digest}", world.begin("a", None).await)),
        ("POST", format!("/v2/a/blobs/uploads/?digest={digest}")),
    ] {
        let stream = half(&world, method, &path).await;
        arrives(&world).await;
        drop(stream);
    }
    world.settles().await;
    assert_eq!(world.status("GET", &path).await, StatusCode::NOT_FOUND);
    assert!(!world.blob_file(&digest).exists());
    assert_eq!(world.put_blob("a", &[1; 200_000], None).await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_wrong_digest_is_refused() {
    let world = World::open().await;
    let named = Digest::of(b"what was announced");
    let whole = world.request("POST", &format!("/v2/a/blobs/uploads/?digest={named}")).body("something else");
    let answer = whole.send().await.unwrap();
    assert_eq!((answer.status(), code(answer).await.as_str()), (StatusCode::BAD_REQUEST, "DIGEST_INVALID"));
    let path = world.begin("a", None).await;
    for digest in ["", "sha256:00", "md5:x", "sha512:00"] {
        let answer = world.request("PUT", &format!("{path}?digest={digest}")).send().await.unwrap();
        assert_eq!(code(answer).await, "DIGEST_INVALID", "{digest}");
    }
    let answer =
        world.request("PUT", &format!("{path}?digest={named}")).body("again wrong").send().await.unwrap();
    assert_eq!(code(answer).await, "DIGEST_INVALID");
    assert!(!world.blob_file(&named).exists());
    world.settles().await;
}

#[tokio::test]
async fn a_server_that_ends_leaves_no_upload() {
    let limits =
        hub_server::Limits { end: std::time::Duration::from_millis(300), ..hub_server::Limits::default() };
    let world = World::new(Setup { limits, ..Setup::default() }).await;
    world.begin("a", None).await;
    let _stream = half(&world, "POST", &format!("/v2/a/blobs/uploads/?digest={}", Digest::of(b"x"))).await;
    arrives(&world).await;
    let temp = world.stop().await;
    // A write that the disk still has ends by itself.
    crate::world::settles(&temp.path().join("hub")).await;
}

#[tokio::test]
async fn what_a_killed_server_left_is_removed_and_no_living_one_s() {
    let world = World::open().await;
    world.begin("a", None).await;
    let error =
        hub_server::Server::bind(crate::world::options(&world.folder(), Setup::default())).await.unwrap_err();
    assert!(matches!(error, ServeError::Served { .. }), "{error}");
    assert_eq!(world.unfinished(), 1);
    let temp = world.stop().await;
    let left = temp.path().join("hub/tmp/serve/left");
    fs::write(&left, "half of a blob").unwrap();
    let world = World::over(temp, Setup::default()).await.unwrap();
    assert!(!left.exists());
    assert_eq!(world.unfinished(), 0);
}

#[tokio::test]
async fn damage_is_not_given_out_as_what_it_was() {
    let world = World::open().await;
    let manifest = crate::world::manifest(b"config");
    world.put_blob("a", b"config", None).await;
    world.request("PUT", "/v2/a/manifests/1").body(manifest.clone()).send().await.unwrap();
    let path = format!("v2/a/manifests/{}", Digest::of(&manifest));
    fs::write(world.folder().join(&path), "{}").unwrap();
    let answer = world.request("GET", &format!("/{path}")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let said = answer.text().await.unwrap();
    assert!(!said.contains(world.temp.path().to_str().unwrap()), "{said}");
}
