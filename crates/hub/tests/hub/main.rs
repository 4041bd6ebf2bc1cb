//! Tests of the public API: one executable, since linking costs more than running.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "what a test cannot set up fails the test, and reports name the real server"
)]

mod broken;
mod conformance;
mod copies;
mod damage;
mod interrupted;
mod mounts;
mod referrers;
mod registries;
mod registry_faults;
mod registry_lies;
mod round_trip;
mod variants;
mod world;
