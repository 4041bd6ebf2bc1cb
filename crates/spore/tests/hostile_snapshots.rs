//! What others made is believed in nothing: forged snapshots end in an error that says what is wrong, and nowhere else.
//!
//! Every case takes a true snapshot, which boots nothing but BusyBox, changes one thing, and puts the result into a hub
//! with digests that are right for the changed bytes, as whoever forges one would.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test says is its output")]
#![allow(unreachable_pub, reason = "modules of a test")]

#[path = "hostile/arena.rs"]
mod arena;
#[path = "hostile/configs.rs"]
mod configs;
#[path = "hostile/engines.rs"]
mod engines;
#[path = "hostile/forge.rs"]
mod forge;
#[path = "hostile/frames.rs"]
mod frames;
mod harness;
#[path = "hostile/hubs.rs"]
mod hubs;
#[path = "hostile/manifests.rs"]
mod manifests;
#[path = "hostile/maps.rs"]
mod maps;
#[path = "hostile/raw.rs"]
mod raw;
#[path = "hostile/raw_disks.rs"]
mod raw_disks;
#[path = "hostile/texts.rs"]
mod texts;

use arena::Arena;
use harness::needs::{Need, skipped};

#[test]
fn manifests_are_refused() {
    if !skipped("hostile_snapshots::manifests_are_refused", &[Need::Bake]) {
        Arena::new().refuses(manifests::cases());
    }
}

#[test]
fn configs_are_refused() {
    if !skipped("hostile_snapshots::configs_are_refused", &[Need::Bake]) {
        Arena::new().refuses(configs::cases());
    }
}

#[test]
fn maps_are_refused() {
    if !skipped("hostile_snapshots::maps_are_refused", &[Need::Bake]) {
        Arena::new().refuses(maps::cases());
    }
}

#[test]
fn frames_are_refused() {
    if !skipped("hostile_snapshots::frames_are_refused", &[Need::Bake]) {
        Arena::new().refuses(frames::cases());
    }
}

#[test]
fn engine_states_are_refused() {
    if !skipped("hostile_snapshots::engine_states_are_refused", &[Need::Bake]) {
        Arena::new().refuses(engines::cases());
    }
}
