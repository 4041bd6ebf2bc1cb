//! `spore hub serve`: a small OCI registry (distribution-spec v1.1) over a hub in a folder, and the folder's own paths
//! beside it, for clients that read hubs as files.
//!
//! ```text
//! server       listens, limits connections and their time, TLS, ends
//! service      one request: who asks, may they, which handler
//! target       what a path means
//! access       tokens, and what each may
//! pull, lists  reading: manifests, blobs and their parts, tags, names
//! push         writing: uploads, manifests, deleting
//! uploads      sessions of uploads, which end when their time is over
//! space        how large the hub may get
//! receive      bodies of requests, as they come, bounded in size and time
//! answer       bodies of answers; refusals, as the specification has them
//! ```
//!
//! Invariants:
//! - Nothing of a request chooses a path: names, tags and digests are parsed by `format`, sessions are looked up in a table.
//! - No blob is in memory as a whole, and none is visible before it has its digest.
//! - Every wait for a client ends: for a head, for the next bytes of a body, for one that does not read; a body must come at
//!   a least rate. Connections, uploads and bytes are limited.
//! - An upload that breaks leaves nothing. What a killed server leaves, its successor removes before it listens.
//! - Tokens are known by their sha256 alone, compared in constant time, and never logged.
//!
//! It is small on purpose: one process, one folder, tokens in one file. Beyond that there are registries and buckets.

mod access;
mod answer;
mod lists;
mod options;
mod pull;
mod push;
mod receive;
mod server;
mod service;
mod space;
mod stalling;
mod target;
mod tokens;
mod uploads;

pub use access::Policy;
pub use options::{Limits, Options, Tls};
pub use server::{ServeError, Server};
pub use tokens::{Namespace, NewToken, TokenError, Tokens};
