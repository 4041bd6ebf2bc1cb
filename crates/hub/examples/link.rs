//! A slow link to a server on loopback, for measurements: `link HOST:PORT BYTES_PER_SECOND DELAY_MS`.
//!
//! It prints the address to connect to, then, for each line that it reads, the bytes that have come from the server since
//! the line before. It ends with its standard input. See `hub::testing::proxy` for what the
//! link is like.

#![allow(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool of measurements ends with what it cannot do, and its results are its output"
)]

use std::io::BufRead;
use std::time::Duration;

use hub::testing::proxy::{Direction, FaultProxy, Link};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut next = || arguments.next().expect("usage: link HOST:PORT BYTES_PER_SECOND DELAY_MS");
    let proxy = FaultProxy::start(next().parse().expect("an address"), []);
    let rate = next().parse().expect("bytes per second");
    let delay = Duration::from_millis(next().parse().expect("milliseconds there and back"));
    proxy.set_links(Link { delay: delay / 2, rate: Some(rate) });
    println!("{}", proxy.addr());
    let mut before = 0;
    for line in std::io::stdin().lock().lines() {
        line.expect("standard input can be read");
        let bytes = proxy.bytes(Direction::ToClient);
        println!("{}", bytes - before);
        before = bytes;
    }
}
