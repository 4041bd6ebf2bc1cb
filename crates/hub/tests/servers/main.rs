//! The servers that tests of hubs run against do what they say: a test that passes because its registry never asked
//! for a token, or its proxy never broke anything, proves nothing.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "what a test cannot set up fails the test, and what it measures is worth reading"
)]

mod faults;
mod links;
mod origin;
mod registry;

use std::path::Path;
use std::time::Duration;

use reqwest::{Certificate, Client, StatusCode};

/// After this, what was waited for will not come.
const DEADLINE: Duration = Duration::from_secs(20);

/// A client that trusts `ca` if one is given, follows nothing and uses no proxy of the machine.
fn client(ca: Option<&Path>) -> Client {
    // Only the first test of the process installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let certificates = ca.map(|path| Certificate::from_pem(&std::fs::read(path).unwrap()).unwrap());
    let builder = Client::builder().no_proxy().timeout(DEADLINE).redirect(reqwest::redirect::Policy::none());
    builder.tls_certs_only(certificates).build().unwrap()
}

async fn status(client: &Client, url: &str) -> StatusCode {
    client.get(url).send().await.unwrap().status()
}
