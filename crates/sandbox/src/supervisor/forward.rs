//! Ports of the host that lead to ports of the guest, over the agent channel: the guest needs no network for it.
//!
//! ```text
//!   TCP client ──▶ listener ──▶ a client of the mux, inside this process ──▶ agent ──▶ 127.0.0.1:PORT in the guest
//! ```
//!
//! Each connection is a session like any other, bounded by credit in both directions.

use std::cell::Cell;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::rc::Rc;
use std::time::Duration;

use agent_protocol::{
    Credit, Decoder, INITIAL_CREDIT, Incoming, MAX_PAYLOAD, Nonce, Reply, Request, SessionId, Stream,
    encode_credit, encode_data, encode_end, encode_request, hello, parse_reply,
};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf as FromCaller, OwnedWriteHalf as ToCaller};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::Notify;

use super::mux::{Mux, serve_client};
use crate::Error;
use crate::error::At;

/// The one session of each connection.
const SESSION: SessionId = SessionId(1);
/// Bytes that went to the caller before they are granted again.
const GRANT_BYTES: u32 = INITIAL_CREDIT / 4;

/// A port of the host that leads to one of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// Where the host listens; port 0: any that is free.
    pub host: SocketAddr,
    /// The port on the guest's loopback.
    pub guest: u16,
}

/// Listens for each of `forwards`, whose ports become those that were found for 0.
pub(super) fn bind(forwards: &mut [Forward]) -> Result<Vec<(StdListener, u16)>, Error> {
    let listen = |forward: &mut Forward| -> io::Result<_> {
        let listener = StdListener::bind(forward.host)?;
        listener.set_nonblocking(true)?;
        forward.host = listener.local_addr()?;
        Ok((listener, forward.guest))
    };
    let each = |forward: &mut Forward| {
        let address = forward.host.to_string();
        listen(forward).at("listen on", address.as_ref())
    };
    forwards.iter_mut().map(each).collect()
}

/// Serves one port for good.
pub(super) async fn serve(listener: StdListener, guest: u16, mux: Rc<Mux>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    loop {
        match listener.accept().await {
            Ok((caller, _)) => {
                let mux = Rc::clone(&mux);
                // A connection that breaks concerns only its two ends.
                tokio::task::spawn_local(async move { carry(caller, guest, &mux).await.ok() });
            }
            // Out of descriptors, most likely: callers that go free some.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn carry(caller: TcpStream, guest: u16, mux: &Rc<Mux>) -> io::Result<()> {
    caller.set_nodelay(true)?;
    let (ours, theirs) = UnixStream::pair()?;
    let client = Rc::clone(mux);
    tokio::task::spawn_local(async move { serve_client(theirs, &client).await });
    let (from_mux, mut to_mux) = ours.into_split();
    let (from_caller, to_caller) = caller.into_split();
    // Nobody else is at the other end of this pair.
    let nonce = Nonce([0; 16]);
    let mut first = hello(nonce).to_vec();
    encode_request(&mut first, SESSION, &Request::Connect { port: guest }).map_err(io::Error::other)?;
    to_mux.write_all(&first).await?;
    let to_mux = tokio::sync::Mutex::new(to_mux);
    let window = Window::default();
    let back = to_the_caller(from_mux, Decoder::host(nonce), to_caller, &to_mux, &window);
    tokio::select! {
        // The session is over, or cannot be.
        ended = back => ended,
        error = to_the_guest(from_caller, &to_mux, &window) => error,
    }
}

/// What the guest is ready to take.
#[derive(Default)]
struct Window {
    bytes: Cell<usize>,
    opened: Notify,
}

/// Passes on what the caller sends. Returns only when that fails: at the caller's end, the guest may have more to say.
async fn to_the_guest(
    mut caller: FromCaller,
    mux: &tokio::sync::Mutex<OwnedWriteHalf>,
    window: &Window,
) -> io::Result<()> {
    let mut buffer = vec![0; MAX_PAYLOAD];
    loop {
        while window.bytes.get() == 0 {
            window.opened.notified().await;
        }
        let limit = window.bytes.get().min(buffer.len());
        let count = caller.read(buffer.get_mut(..limit).unwrap_or_default()).await?;
        window.bytes.set(window.bytes.get() - count);
        let mut out = Vec::new();
        if count == 0 {
            encode_end(&mut out, SESSION, Stream::Stdin);
        } else {
            encode_data(&mut out, SESSION, Stream::Stdin, buffer.get(..count).unwrap_or_default());
        }
        mux.lock().await.write_all(&out).await?;
        if count == 0 {
            std::future::pending::<()>().await;
        }
    }
}

/// Passes on what the guest sends, until the session is over.
async fn to_the_caller(
    mut from_mux: OwnedReadHalf,
    mut decoder: Decoder,
    mut caller: ToCaller,
    mux: &tokio::sync::Mutex<OwnedWriteHalf>,
    window: &Window,
) -> io::Result<()> {
    let mut buffer = vec![0; MAX_PAYLOAD];
    let mut taken = 0_u32;
    loop {
        let count = from_mux.read(&mut buffer).await?;
        let mut input =
            buffer.get(..count).filter(|bytes| !bytes.is_empty()).ok_or(io::ErrorKind::UnexpectedEof)?;
        while let Some(incoming) = decoder.next(&mut input) {
            match incoming {
                Incoming::Data(SESSION, _, []) => caller.shutdown().await?,
                Incoming::Data(SESSION, _, bytes) => {
                    caller.write_all(bytes).await?;
                    taken = taken.saturating_add(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
                }
                Incoming::Credit(SESSION, credit) => window.open(credit.bytes),
                Incoming::Control(SESSION, payload) => {
                    match parse_reply(payload).map_err(io::Error::other)? {
                        Reply::Connected {} => window.open(INITIAL_CREDIT),
                        Reply::Exit(_) => return Ok(()),
                        other => return Err(io::Error::other(format!("{other:?}"))),
                    }
                }
                _ => {}
            }
        }
        if taken >= GRANT_BYTES {
            let mut out = Vec::new();
            let bytes = std::mem::take(&mut taken);
            encode_credit(&mut out, SESSION, Credit { stream: Stream::Stdout, bytes });
            mux.lock().await.write_all(&out).await?;
        }
    }
}

impl Window {
    fn open(&self, bytes: u32) {
        self.bytes.set(self.bytes.get().saturating_add(bytes as usize));
        self.opened.notify_one();
    }
}
