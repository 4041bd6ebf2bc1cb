//! What a server is told.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use format::limits;

use crate::access::Policy;

/// What a server is told.
#[derive(Debug)]
pub struct Options {
    /// The hub's folder.
    pub folder: PathBuf,
    /// Where to listen; port 0 for any that is free.
    pub listen: SocketAddr,
    /// Who may do what.
    pub policy: Policy,
    /// How much of everything.
    pub limits: Limits,
    /// A certificate, for TLS.
    pub tls: Option<Tls>,
}

/// A certificate with its chain, and its key: files in PEM.
#[derive(Debug, Clone)]
pub struct Tls {
    /// The certificate, then those that lead from it to an authority.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one blob.
    pub blob: u64,
    /// Bytes of all blobs, if they are limited.
    pub hub: Option<u64>,
    /// Connections at once. More wait.
    pub connections: usize,
    /// Uploads at once. More are asked to come again.
    pub uploads: usize,
    /// How long a client may take for TLS, and for the head of a request; so long a connection is kept that is not used.
    pub head: Duration,
    /// How long a client may neither send nor take anything in the midst of a body.
    pub stall: Duration,
    /// How long a body may come slower than [`Limits::rate`].
    pub slow: Duration,
    /// Bytes per second of a request's body, on average.
    pub rate: u64,
    /// How long an upload is kept in which nothing happens.
    pub upload: Duration,
    /// How long requests that are under way may take when the server is to end.
    pub end: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // The largest part that a snapshot can have.
            blob: limits::KERNEL_BYTES,
            hub: None,
            connections: 256,
            uploads: 64,
            head: Duration::from_secs(20),
            stall: Duration::from_secs(30),
            slow: Duration::from_secs(60),
            rate: 8 << 10,
            upload: Duration::from_secs(300),
            end: Duration::from_secs(10),
        }
    }
}
