//! Tests of the public API: one executable, since linking costs more than running.

#![allow(clippy::unwrap_used, reason = "what a test cannot set up fails the test")]

mod broken;
mod conformance;
mod damage;
mod interrupted;
mod round_trip;
mod world;
