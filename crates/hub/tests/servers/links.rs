//! Rate and delay of the proxy's links, measured. A busy machine makes things late, never early: so the lower bounds
//! hold always, and the upper ones for the best of some attempts.

use std::time::{Duration, Instant};

use futures_util::future;
use hub::testing::proxy::{Direction, FaultProxy, Link};
use reqwest::Client;

use super::client;
use super::origin::{self, content};

/// 50 Mbit/s, and 40 ms there and back.
const RATE: u64 = 6_250_000;
const DELAY: Duration = Duration::from_millis(20);
const LENGTH: usize = 3 << 20;
/// For as long as attempts are begun.
const PATIENCE: Duration = Duration::from_secs(60);

async fn get(client: &Client, proxy: &FaultProxy, length: usize) {
    let answer = client.get(format!("{}/blob/{length}", proxy.url())).send().await.unwrap();
    assert_eq!(answer.bytes().await.unwrap().len(), length);
}

async fn put(client: &Client, proxy: &FaultProxy) {
    let body = content(LENGTH);
    let answer = client.put(format!("{}/put", proxy.url())).body(body).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), LENGTH.to_string());
}

/// Repeats `act` until it takes at most 3 % longer than `expected`; it may never take 3 % less.
async fn takes<F: Future<Output = ()>>(what: &str, expected: Duration, act: impl Fn() -> F) {
    let (mut best, begun) = (Duration::MAX, Instant::now());
    while begun.elapsed() < PATIENCE {
        let start = Instant::now();
        act().await;
        let took = start.elapsed();
        assert!(took >= expected.mul_f64(0.97), "{what}: {took:?} instead of {expected:?}");
        best = best.min(took);
        if best <= expected.mul_f64(1.03) {
            println!("{what}: {best:?} for {expected:?}");
            return;
        }
    }
    panic!("{what}: at best {best:?} instead of {expected:?}");
}

#[tokio::test]
async fn a_link_has_its_rate_and_its_delay() {
    let (addr, _received) = origin::start().await;
    let proxy = FaultProxy::start(addr, []);
    let (one, other) = (client(None), client(None));
    // Connections are there before anything is measured.
    future::join(get(&one, &proxy, 1), get(&other, &proxy, 1)).await;
    proxy.set_links(Link { delay: DELAY, rate: Some(RATE) });
    let expected = |bytes: usize| DELAY * 2 + Duration::from_secs_f64(bytes as f64 / RATE as f64);

    takes("download", expected(LENGTH), || get(&one, &proxy, LENGTH)).await;
    takes("upload", expected(LENGTH), || put(&one, &proxy)).await;
    takes("two downloads", expected(LENGTH), async || {
        future::join(get(&one, &proxy, LENGTH / 2), get(&other, &proxy, LENGTH / 2)).await;
    })
    .await;

    proxy.set_link(Direction::ToClient, Link { delay: DELAY, rate: Some(RATE / 50) });
    takes("slow download", DELAY * 2 + Duration::from_secs(1), || get(&one, &proxy, 125_000)).await;
}

#[tokio::test]
async fn a_delay_does_not_limit_the_rate() {
    let (addr, _received) = origin::start().await;
    let proxy = FaultProxy::start(addr, []);
    proxy.set_links(Link { delay: Duration::from_millis(250), rate: None });
    let client = client(None);
    let fresh = Instant::now();
    get(&client, &proxy, 1).await;
    assert!(
        fresh.elapsed() >= Duration::from_secs(1),
        "two round trips with the handshake: {:?}",
        fresh.elapsed()
    );
    // Room for a busy machine; one chunk per round trip would take four minutes.
    let start = Instant::now();
    get(&client, &proxy, 8 << 20).await;
    let took = start.elapsed();
    assert!((Duration::from_millis(500)..Duration::from_secs(60)).contains(&took), "{took:?}");
}
