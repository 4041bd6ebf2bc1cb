//! Sizes, counts and times are limited.

use std::time::{Duration, Instant};

use format::Digest;
use hub_server::Limits;
use reqwest::{Body, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::world::{DEADLINE, Setup, World, code};

async fn limited(limits: Limits) -> World {
    World::new(Setup { limits, ..Setup::default() }).await
}

#[tokio::test]
async fn a_blob_has_a_largest_size() {
    let world = limited(Limits { blob: 1000, ..Limits::default() }).await;
    assert_eq!(world.put_blob("a", &[1; 1000], None).await.status(), StatusCode::CREATED);
    let large = world.put_blob("a", &[1; 1001], None).await;
    assert_eq!((large.status(), code(large).await.as_str()), (StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID"));
    // In pieces, and in pieces of which nobody says how long they are.
    let path = world.begin("a", None).await;
    assert_eq!(
        world.request("PATCH", &path).body(vec![1; 600]).send().await.unwrap().status(),
        StatusCode::ACCEPTED
    );
    let second = world.request("PATCH", &path).body(vec![1; 600]).send().await.unwrap();
    assert_eq!(second.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let path = world.begin("a", None).await;
    let pieces = (0..20).map(|_| Ok::<_, std::io::Error>(vec![1_u8; 100]));
    let endless = Body::wrap_stream(futures_util::stream::iter(pieces));
    let answer = world.request("PATCH", &path).body(endless).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
    world.settles().await;
}

#[tokio::test]
async fn a_hub_has_a_largest_size() {
    let limits = Limits { hub: Some(10_000), ..Limits::default() };
    let world = limited(limits).await;
    assert_eq!(world.put_blob("a", &[1; 6000], None).await.status(), StatusCode::CREATED);
    let full = world.put_blob("a", &[2; 6000], None).await;
    assert_eq!(full.status(), StatusCode::INSUFFICIENT_STORAGE);
    // One that is there takes nothing more, one that breaks gives back what it took.
    let path = world.begin("a", None).await;
    world.request("PATCH", &path).body(vec![3; 4000]).send().await.unwrap();
    let wrong = world.request("PUT", &format!("{path}?digest={}", Digest::of(b"x"))).send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    assert_eq!(world.put_blob("a", &[4; 4000], None).await.status(), StatusCode::CREATED);
    assert_eq!(world.put_blob("a", &[5; 1], None).await.status(), StatusCode::INSUFFICIENT_STORAGE);
    // What is there counts for the next server, too.
    let temp = world.stop().await;
    let world = World::over(temp, Setup { limits, ..Setup::default() }).await.unwrap();
    assert_eq!(world.put_blob("a", &[5; 1], None).await.status(), StatusCode::INSUFFICIENT_STORAGE);
}

#[tokio::test]
async fn uploads_are_counted_and_end() {
    let world = limited(Limits { uploads: 2, ..Limits::default() }).await;
    world.begin("a", None).await;
    world.begin("a", None).await;
    let third = world.request("POST", "/v2/a/blobs/uploads/").send().await.unwrap();
    assert_eq!(third.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(third.headers().contains_key("retry-after"));

    let world = limited(Limits { uploads: 1, upload: Duration::from_millis(300), ..Limits::default() }).await;
    let path = world.begin("a", None).await;
    world.settles().await;
    assert_eq!(world.status("PATCH", &path).await, StatusCode::NOT_FOUND);
    world.begin("a", None).await;
}

/// Until the server closes; with what it had said.
async fn closes(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut said)).await.expect("it closes").ok();
    String::from_utf8_lossy(&said).into_owned()
}

#[tokio::test]
async fn whoever_is_too_slow_is_let_go() {
    let short = Duration::from_millis(300);
    let limits = Limits { head: short, stall: short, slow: short, rate: 1 << 20, ..Limits::default() };
    let world = limited(limits).await;
    let connect = async |text: String| {
        let mut stream = TcpStream::connect(world.addr).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    };
    // Nothing, half a head, and a connection that is not used any more.
    let ping = format!("GET /v2/ HTTP/1.1\r\nHost: {}\r\n\r\n", world.addr);
    for (text, expected) in [("", ""), ("GET /v2/ HT", ""), (ping.as_str(), "HTTP/1.1 200")] {
        let start = Instant::now();
        let said = closes(&mut connect(text.to_owned()).await).await;
        assert!(said.starts_with(expected), "{text:?}: {said}");
        assert!(start.elapsed() >= short, "{text:?}");
    }
    // A body that stops, and one that only trickles.
    let begin = async || {
        let path = world.begin("a", None).await;
        let head =
            format!("PATCH {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: 100000\r\n\r\nabc", world.addr);
        connect(head).await
    };
    let said = closes(&mut begin().await).await;
    assert!(said.starts_with("HTTP/1.1 408"), "{said}");
    let mut trickle = begin().await;
    let (mut reader, mut writer) = trickle.split();
    let feed = async {
        while writer.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut said = Vec::new();
    tokio::select! {
        () = feed => {}
        read = tokio::time::timeout(DEADLINE, reader.read_buf(&mut said)) => { read.unwrap().unwrap(); }
    }
    assert!(said.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&said));
    world.settles().await;
}

#[tokio::test]
async fn whoever_does_not_read_is_let_go() {
    let limits = Limits { stall: Duration::from_millis(300), connections: 1, ..Limits::default() };
    let world = limited(limits).await;
    let large = vec![7; 64 << 20];
    let digest = Digest::of(&large);
    std::fs::write(world.blob_file(&digest), &large).unwrap();
    let mut stream = TcpStream::connect(world.addr).await.unwrap();
    let head = format!("GET /v2/a/blobs/{digest} HTTP/1.1\r\nHost: {}\r\n\r\n", world.addr);
    stream.write_all(head.as_bytes()).await.unwrap();
    // It has the only place, until it has lost it.
    assert_eq!(world.status("GET", "/v2/").await, StatusCode::OK);
    assert!(closes(&mut stream).await.len() < large.len());
}
