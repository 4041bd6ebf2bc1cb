//! A proxy on loopback between a client and a server, with whatever a network, a proxy or a server may do wrong.
//!
//! ```text
//! client ── read ──► up:   heads, bodies, faults ──► lane to the server ──► server
//!        ◄── lane to the client ◄── down: heads, bodies, faults ◄── read ──
//! ```
//!
//! - [`Link`]: each direction may be slow and late. All connections share its rate, as they share a cable.
//! - [`FaultProxy::stall`], [`FaultProxy::cut`], [`FaultProxy::drop_connections`]: faults of connections, TLS or not.
//! - [`Fault`]: faults of HTTP/1.1 requests. A connection whose first byte begins a TLS handshake is passed on as it
//!   is; requests in it are neither seen nor counted. HTTP/2 without TLS is not understood.
//!
//! All can be changed while the proxy runs. It lives on a thread of its own until dropped.

mod connection;
mod lane;
mod rules;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use self::lane::Wire;
pub use self::rules::{Fault, Rule, SeenRequest};
use super::background::Background;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server: requests.
    ToServer,
    /// From the server to the client: answers.
    ToClient,
}

/// What one direction is like. A link of 50 Mbit/s and 40 ms has, in each direction, a delay of 20 ms and a rate of
/// 6,250,000. What a congestion window does is not modelled: the full rate is there from the first byte.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Link {
    /// How long a byte is under way. A new connection waits for one delay of each direction, as TCP's handshake does.
    pub delay: Duration,
    /// Bytes per second, at least 1, that all connections have together; unlimited if none.
    pub rate: Option<u64>,
}

/// A running proxy.
#[derive(Debug)]
pub struct FaultProxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    _background: Background,
}

#[derive(Debug)]
struct Shared {
    target: SocketAddr,
    to_server: Wire,
    to_client: Wire,
    stalled: watch::Sender<bool>,
    /// Counts the calls of [`FaultProxy::drop_connections`].
    dropped: watch::Sender<u64>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    requests: Vec<SeenRequest>,
    cuts: Vec<(Direction, u64)>,
    connections: u64,
}

impl FaultProxy {
    /// Starts one before `target`. Rules are tried in order; the first that matches a request decides.
    ///
    /// # Panics
    /// If loopback has no free port.
    #[must_use]
    pub fn start(target: SocketAddr, script: impl IntoIterator<Item = Rule>) -> Self {
        let shared = Arc::new(Shared {
            target,
            to_server: Wire::default(),
            to_client: Wire::default(),
            stalled: watch::Sender::new(false),
            dropped: watch::Sender::new(0),
            state: Mutex::new(State { rules: script.into_iter().collect(), ..State::default() }),
        });
        let server = Arc::clone(&shared);
        let (background, addr) = Background::serve("fault proxy", |listener| serve(listener, server));
        Self { addr, shared, _background: background }
    }

    /// Where clients connect to.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://HOST:PORT`, for targets without TLS.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Makes a direction slow and late from here on, or fast again; bytes that are under way keep their times.
    pub fn set_link(&self, direction: Direction, link: Link) {
        self.shared.wire(direction).set(link);
    }

    /// Both directions at once.
    pub fn set_links(&self, link: Link) {
        self.set_link(Direction::ToServer, link);
        self.set_link(Direction::ToClient, link);
    }

    /// While `true`, connections are accepted, kept and read until buffers are full, and nothing is delivered.
    pub fn stall(&self, stalled: bool) {
        self.shared.stalled.send_replace(stalled);
    }

    /// Drops the next connection once `after` bytes of it, heads and TLS included, were delivered in a direction.
    /// Several calls are for as many connections, in order.
    pub fn cut(&self, direction: Direction, after: u64) {
        self.shared.lock().cuts.push((direction, after));
    }

    /// Drops all connections that there are.
    pub fn drop_connections(&self) {
        self.shared.dropped.send_modify(|count| *count += 1);
    }

    /// Adds a rule behind those that there are.
    pub fn add(&self, rule: Rule) {
        self.shared.lock().rules.push(rule);
    }

    /// Replaces all rules; an empty script ends all faults of requests.
    pub fn set_script(&self, script: impl IntoIterator<Item = Rule>) {
        self.shared.lock().rules = script.into_iter().collect();
    }

    /// The heads of all requests so far, in the order in which they came, those answered here included.
    #[must_use]
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.shared.lock().requests.clone()
    }

    /// How many requests had this method and a path that starts so.
    #[must_use]
    pub fn count(&self, method: &str, path_prefix: &str) -> usize {
        let state = self.shared.lock();
        state.requests.iter().filter(|seen| seen.is(method, path_prefix)).count()
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.shared.lock().connections
    }

    /// Connections that there are: none of them, and nothing is delivered any more.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.shared.dropped.receiver_count()
    }

    /// Bytes delivered in a direction so far, heads included.
    #[must_use]
    pub fn bytes(&self, direction: Direction) -> u64 {
        self.shared.wire(direction).delivered()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wire(&self, direction: Direction) -> &Wire {
        match direction {
            Direction::ToServer => &self.to_server,
            Direction::ToClient => &self.to_client,
        }
    }

    /// Notes a request, and says what is to become of it.
    fn note(&self, seen: SeenRequest) -> Option<Fault> {
        let mut state = self.lock();
        let fault = state.rules.iter_mut().find_map(|rule| rule.take(&seen));
        state.requests.push(seen);
        fault
    }
}

async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((client, _)) = listener.accept().await {
        tokio::spawn(connect(client, Arc::clone(&shared)));
    }
}

async fn connect(client: TcpStream, shared: Arc<Shared>) {
    let mut dropped = shared.dropped.subscribe();
    let cut = {
        let mut state = shared.lock();
        state.connections += 1;
        if state.cuts.is_empty() { None } else { Some(state.cuts.remove(0)) }
    };
    // However a connection ends, both of its sockets are closed then, and the client sees that.
    tokio::select! {
        _ = connection::run(client, &shared, cut) => {}
        _ = dropped.changed() => {}
    }
}
