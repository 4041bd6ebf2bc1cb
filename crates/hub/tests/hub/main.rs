//! Tests of the public API: one executable, since linking costs more than running.

mod broken;
mod conformance;
mod damage;
mod interrupted;
mod round_trip;
mod world;
