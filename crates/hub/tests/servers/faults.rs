//! Each fault of the proxy reaches the client, on the requests that it is for and on no others.

use std::time::Duration;

use hub::testing::proxy::{Direction, Fault, FaultProxy, Rule};
use hub::testing::registry::{RealRegistry, RegistryOptions};
use reqwest::{Client, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::origin::{self, Received, content};
use super::{DEADLINE, client, status};

/// Long enough for an answer on loopback to come, were it to come.
const NOTHING_COMES: Duration = Duration::from_millis(300);

async fn start(script: impl IntoIterator<Item = Rule>) -> (FaultProxy, Client, Received) {
    let (addr, received) = origin::start().await;
    (FaultProxy::start(addr, script), client(None), received)
}

async fn body(client: &Client, url: &str) -> reqwest::Result<Vec<u8>> {
    Ok(client.get(url).send().await?.bytes().await?.to_vec())
}

/// All that comes from the proxy until it closes.
async fn raw(proxy: &FaultProxy, request: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // A reset after the last byte is as good as a close.
    let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap();
    answer
}

#[tokio::test]
async fn without_faults_all_passes() {
    let (proxy, client, mut received) = start([]).await;
    let url = proxy.url();
    for path in ["/blob/100000", "/chunked/100000", "/blob/0", "/chunked/0"] {
        let length = path.rsplit_once('/').unwrap().1.parse().unwrap();
        assert_eq!(body(&client, &format!("{url}{path}")).await.unwrap(), content(length), "{path}");
    }
    assert_eq!(client.head(format!("{url}/blob/0")).send().await.unwrap().status(), StatusCode::OK);
    let sent = client.put(format!("{url}/put")).body(content(100_000)).send().await.unwrap();
    assert_eq!(sent.text().await.unwrap(), "100000");
    assert_eq!(received.recv().await.unwrap(), content(100_000));
    assert_eq!((proxy.count("GET", "/blob/"), proxy.count("PUT", "/")), (2, 1));
    assert_eq!((proxy.requests().len(), proxy.connections()), (6, 1));
    assert!(proxy.bytes(Direction::ToServer) > 100_000 && proxy.bytes(Direction::ToClient) > 200_000);
}

#[tokio::test]
async fn answers_are_scripted_for_matching_requests() {
    let answer = Fault::answer(429, &[("Retry-After", "7")]);
    let (proxy, client, mut received) = start([Rule::times(2, answer).on("PUT", "/put").after(1)]).await;
    let url = proxy.url();
    let mut statuses = Vec::new();
    for _ in 0..4 {
        assert_eq!(status(&client, &format!("{url}/blob/1")).await, StatusCode::OK);
        let answer = client.put(format!("{url}/put")).body(content(50_000)).send().await.unwrap();
        let retry = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        statuses.push((answer.status().as_u16(), retry));
    }
    let limited = (429, Some("7".to_owned()));
    assert_eq!(statuses, [(200, None), limited.clone(), limited, (200, None)]);
    received.close();
    let mut reached_the_server = 0;
    while received.recv().await.is_some() {
        reached_the_server += 1;
    }
    assert_eq!(reached_the_server, 2);

    let body = "{}".to_owned();
    proxy.set_script([Rule::always(Fault::Answer { status: 503, headers: Vec::new(), body })]);
    let answer = client.get(format!("{url}/blob/1")).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap()), (503, "{}".to_owned()));
    proxy.set_script([]);
    assert_eq!(status(&client, &format!("{url}/blob/1")).await, StatusCode::OK);
}

#[tokio::test]
async fn a_byte_is_corrupted_once() {
    for kind in ["blob", "chunked"] {
        let (proxy, client, _received) = start([Rule::once(Fault::CorruptAnswer { at: 40_001 })]).await;
        let url = format!("{}/{kind}/100000", proxy.url());
        let mut wrong = content(100_000);
        wrong[40_001] ^= 1;
        assert_eq!(body(&client, &url).await.unwrap(), wrong);
        assert_eq!(body(&client, &url).await.unwrap(), content(100_000));
    }
}

#[tokio::test]
async fn a_truncated_answer_promises_all_and_ends_exactly() {
    let (proxy, client, _received) = start([Rule::times(2, Fault::TruncateAnswer { after: 33_333 })]).await;
    let answer = raw(&proxy, "GET /blob/100000 HTTP/1.1\r\n\r\n").await;
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n".to_vec();
    assert_eq!(answer, [head, content(33_333)].concat());
    assert!(body(&client, &format!("{}/blob/100000", proxy.url())).await.is_err());
    assert!(body(&client, &format!("{}/blob/100000", proxy.url())).await.is_ok());
}

#[tokio::test]
async fn a_range_is_ignored() {
    let (proxy, client, _received) = start([Rule::once(Fault::IgnoreRange)]).await;
    let ask = || client.get(format!("{}/blob/1000", proxy.url())).header("Range", "bytes=10-19").send();
    let answer = ask().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.bytes().await.unwrap().len()), (200, 1000));
    let answer = ask().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.bytes().await.unwrap().len()), (206, 10));
    assert!(proxy.requests().iter().all(|seen| seen.header("range") == Some("bytes=10-19")));
}

#[tokio::test]
async fn a_redirect_leads_elsewhere_and_what_follows_is_seen() {
    let (other, _client, _received) = start([]).await;
    let (proxy, client, _received) = start([Rule::once(Fault::Redirect { to: other.addr() })]).await;
    let url = format!("{}/blob/10?a=b", proxy.url());
    let answer = client.get(url).bearer_auth("secret").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::TEMPORARY_REDIRECT);
    let location = answer.headers().get("location").unwrap().to_str().unwrap();
    assert_eq!(location, format!("{}/blob/10?a=b", other.url()));
    assert_eq!(proxy.requests()[0].header("Authorization"), Some("Bearer secret"));
    assert_eq!(other.requests(), []);
}

#[tokio::test]
async fn requests_and_answers_are_cut() {
    let script = [
        Rule::once(Fault::CutRequest { after: 5_000 }).on("PUT", "/"),
        Rule::once(Fault::LoseAnswer).on("PUT", "/"),
    ];
    let (proxy, client, mut received) = start(script).await;
    let put = || client.put(format!("{}/put", proxy.url())).body(content(100_000)).send();
    assert!(put().await.is_err());
    assert_eq!(received.recv().await.unwrap(), content(5_000));
    assert!(put().await.is_err());
    assert_eq!(received.recv().await.unwrap(), content(100_000));
    assert!(put().await.is_ok());
}

#[tokio::test]
async fn a_connection_is_cut_after_so_many_bytes() {
    let (proxy, client, _received) = start([]).await;
    proxy.cut(Direction::ToClient, 50);
    proxy.cut(Direction::ToServer, 10);
    let request = "GET /blob/1000 HTTP/1.1\r\n\r\n";
    assert_eq!(raw(&proxy, request).await.len(), 50);
    assert_eq!(raw(&proxy, request).await.len(), 0);
    assert_eq!(proxy.bytes(Direction::ToServer), request.len() as u64 + 10);
    assert_eq!(status(&client, &format!("{}/blob/1", proxy.url())).await, StatusCode::OK);
}

#[tokio::test]
async fn a_stall_holds_what_comes_and_lets_it_go() {
    let (proxy, client, _received) = start([]).await;
    proxy.stall(true);
    let url = format!("{}/blob/10", proxy.url());
    let answer = body(&client, &url);
    tokio::pin!(answer);
    assert!(timeout(NOTHING_COMES, &mut answer).await.is_err());
    proxy.stall(false);
    assert_eq!(timeout(DEADLINE, answer).await.unwrap().unwrap(), content(10));
}

#[tokio::test]
async fn an_answer_stalls_and_dropped_connections_end_it() {
    let (proxy, _client, _received) = start([Rule::once(Fault::StallAnswer { after: 20 })]).await;
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    stream.write_all(b"GET /blob/100 HTTP/1.1\r\n\r\n").await.unwrap();
    let mut head = vec![0; "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n".len()];
    stream.read_exact(&mut head).await.unwrap();
    let mut part = [0; 20];
    stream.read_exact(&mut part).await.unwrap();
    assert_eq!(part, *content(20));
    assert!(timeout(NOTHING_COMES, stream.read_u8()).await.is_err());
    proxy.drop_connections();
    assert!(timeout(DEADLINE, stream.read_u8()).await.unwrap().is_err());
}

#[tokio::test]
async fn a_closed_server_closes_idle_clients() {
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::start(server.local_addr().unwrap(), []);
    let mut stream = TcpStream::connect(proxy.addr()).await.unwrap();
    drop(server.accept().await.unwrap());
    assert_eq!(timeout(DEADLINE, stream.read(&mut [0; 1])).await.unwrap().unwrap_or(0), 0);
}

#[tokio::test]
async fn tls_passes_untouched() {
    let options = RegistryOptions { tls: true, ..RegistryOptions::default() };
    let Some(registry) = RealRegistry::start("tls_passes_untouched", &options) else { return };
    let proxy = FaultProxy::start(registry.addr(), [Rule::always(Fault::answer(503, &[]))]);
    let client = client(registry.ca().as_deref());
    let url = format!("https://localhost:{}/v2/", proxy.addr().port());
    assert_eq!(status(&client, &url).await, StatusCode::OK);
    assert_eq!(proxy.requests(), []);
    assert!(proxy.bytes(Direction::ToClient) > 0);
}
