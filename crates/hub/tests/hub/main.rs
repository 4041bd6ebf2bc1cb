//! Tests of the public API: one executable, since linking costs more than running.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "what a test cannot set up fails the test, and reports name the real server"
)]

mod broken;
mod bucket_faults;
mod buckets;
mod conformance;
mod copies;
mod damage;
mod describe;
mod foreign_clients;
mod interrupted;
mod mirrors;
mod mounts;
mod proxies;
mod pruning;
mod referrers;
mod registries;
mod registry_faults;
mod registry_lies;
mod round_trip;
mod slow_lines;
mod slow_link;
mod tickets;
mod transfers;
mod variants;
mod web;
mod web_faults;
mod world;
