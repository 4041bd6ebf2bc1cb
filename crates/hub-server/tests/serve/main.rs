//! A real server on loopback, and the clients that it is for: ours of registries and of files, skopeo, curl, and some who mean
//! no good.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "what a test cannot set up fails the test, and reports name the real server"
)]

mod broken;
mod clients;
mod limits;
mod registry;
mod rights;
mod world;
