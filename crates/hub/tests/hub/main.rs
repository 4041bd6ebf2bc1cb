//! Tests of the public API: one executable, since linking costs more than running.

#![allow(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "what a test cannot set up fails the test, and reports name the real server"
)]

mod broken;
mod bucket_faults;
mod buckets;
mod conformance;
mod damage;
mod interrupted;
mod pruning;
mod registries;
mod registry_faults;
mod round_trip;
mod tickets;
mod world;
