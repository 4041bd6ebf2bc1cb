//! Ports of the host that lead to ports of the guest, over the agent channel: the guest needs no network for it.
//!
//! ```text
//!   TCP caller ──▶ listener ──▶ a session of the mux ──▶ agent ──▶ loopback:PORT in the guest
//! ```
//!
//! Each connection is a session like any other, bounded by credit in both directions, which do not wait for each other.
//! Whoever can reach a port is not the sandbox's owner: there are never so many connections that the owner gets no session, and a
//! connection whose caller has vanished ends.

use std::cell::Cell;
use std::io;
use std::net::TcpListener as StdListener;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_protocol::{INITIAL_CREDIT, Reply, Request};
use rustix::net::sockopt;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};

use super::mux::{Item, Local, MAX_SESSIONS, Mux, Receiver};
use crate::Error;
use crate::credit::Grants;
use crate::error::At;
use crate::record::Forward;

/// Connections to all ports of one sandbox: the other half of the sessions is its owner's. More wait to be accepted.
const MAX_CONNECTIONS: usize = MAX_SESSIONS / 2;
/// How long a caller may be silent before its host is asked whether it is still there, how often, and for how long at a time.
const KEEPALIVE: (Duration, u32, Duration) = (Duration::from_secs(60), 3, Duration::from_secs(20));
/// How long nothing may move in a connection one direction of which has ended.
const HALF_CLOSED_SILENCE: Duration = Duration::from_secs(600);

/// Listens for one of them, whose port becomes the one that was found for 0; with the guest's.
pub(super) fn bind(forward: &mut Forward) -> Result<(StdListener, u16), Error> {
    let listen = || -> io::Result<_> {
        let listener = StdListener::bind(forward.host)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    let (listener, address) = listen().at("listen on", forward.host.to_string().as_ref())?;
    forward.host = address;
    Ok((listener, forward.guest))
}

/// Serves these ports, in tasks that it spawns.
pub(super) fn serve(ports: Vec<(StdListener, u16)>, mux: &Rc<Mux>) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    for (listener, guest) in ports {
        tokio::task::spawn_local(serve_one(listener, guest, Rc::clone(mux), Arc::clone(&slots)));
    }
}

async fn serve_one(listener: StdListener, guest: u16, mux: Rc<Mux>, slots: Arc<Semaphore>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((caller, _)) => {
                let mux = Rc::clone(&mux);
                tokio::task::spawn_local(async move {
                    // A connection that breaks concerns only its two ends.
                    carry(caller, guest, &mux, HALF_CLOSED_SILENCE).await.ok();
                    drop(slot);
                });
            }
            // Out of descriptors, most likely: callers that go free some.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Carries one connection, both directions at once, until both have ended or one breaks.
async fn carry(caller: TcpStream, guest: u16, mux: &Rc<Mux>, silence: Duration) -> io::Result<()> {
    caller.set_nodelay(true)?;
    let (idle, probes, interval) = KEEPALIVE;
    sockopt::set_tcp_keepidle(&caller, idle)?;
    sockopt::set_tcp_keepcnt(&caller, probes)?;
    sockopt::set_tcp_keepintvl(&caller, interval)?;
    sockopt::set_socket_keepalive(&caller, true)?;
    let (session, events) = Local::open(mux, &Request::Connect { port: guest }).await?;
    let (from_caller, to_caller) = caller.into_split();
    let flow = Flow { moved: Cell::new(Instant::now()), half_closed: Notify::new() };
    tokio::select! {
        // The session is over, or cannot be.
        ended = to_the_caller(events, to_caller, &session, &flow) => ended,
        error = to_the_guest(&from_caller, &session, &flow) => error,
        () = silent(&from_caller, &flow, silence) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// What happens in a connection, for who watches over it.
struct Flow {
    /// When something went through, in either direction.
    moved: Cell<Instant>,
    /// The guest sends no more.
    half_closed: Notify,
}

/// Passes on what the caller sends. Returns only when that fails: at the caller's end, the guest may have more to say.
async fn to_the_guest(caller: &OwnedReadHalf, session: &Local, flow: &Flow) -> io::Result<()> {
    loop {
        session.window().is_open().await;
        caller.readable().await?;
        match session.send(|buffer| caller.try_read(buffer)).await {
            Ok(0) => std::future::pending().await,
            Ok(_) => flow.moved.set(Instant::now()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}

/// Passes on what the guest sends, until the session is over. What waits here meanwhile is bounded by the guest's credit.
async fn to_the_caller(
    mut events: Receiver<Reply>,
    mut caller: OwnedWriteHalf,
    session: &Local,
    flow: &Flow,
) -> io::Result<()> {
    let mut taken = Grants::default();
    while let Some(event) = events.next().await {
        match event {
            Item::Data(_, _, bytes) => {
                caller.write_all(&bytes).await?;
                flow.moved.set(Instant::now());
                if let Some(granted) = taken.take(bytes.len()) {
                    session.grant(granted).await;
                }
            }
            Item::End(..) => {
                caller.shutdown().await?;
                flow.half_closed.notify_one();
            }
            Item::Reply(Reply::Connected {}) => session.window().open(INITIAL_CREDIT),
            Item::Reply(Reply::Exit(_)) => return Ok(()),
            Item::Reply(other) => return Err(io::Error::other(format!("{other:?}"))),
            // The window has it.
            Item::Credit(..) => {}
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}

/// Returns when nothing has moved for that long in a connection one direction of which has ended.
async fn silent(caller: &OwnedReadHalf, flow: &Flow, limit: Duration) {
    tokio::select! {
        // The end of what the caller sends is there, read or not.
        _ = caller.ready(Interest::PRIORITY) => {}
        () = flow.half_closed.notified() => {}
    }
    while let Some(left) = limit.checked_sub(flow.moved.get().elapsed()).filter(|left| !left.is_zero()) {
        tokio::time::sleep(left).await;
    }
}

#[cfg(test)]
mod tests;
