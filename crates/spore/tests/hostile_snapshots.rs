//! What others made is believed in nothing: forged snapshots end in an error that says what is wrong, and nowhere else.
//!
//! Every case takes a true snapshot, which boots nothing but BusyBox, changes one thing, and puts the result into a hub
//! with digests that are right for the changed bytes, as whoever forges one would.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test says is its output")]
#![allow(dead_code, unreachable_pub, reason = "modules of a test, some of them shared with another")]

#[path = "packs/archive.rs"]
mod archive;
#[path = "hostile/arena.rs"]
mod arena;
#[path = "hostile/case.rs"]
mod case;
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
#[path = "hostile/layers.rs"]
mod layers;
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
use case::Carrier;
use harness::needs::{Need, skipped};

#[test]
fn manifests_are_refused() {
    if !skipped("hostile_snapshots::manifests_are_refused", &[Need::Bake]) {
        Arena::new(Carrier::Hub).refuses(manifests::cases());
    }
}

#[test]
fn configs_are_refused() {
    if !skipped("hostile_snapshots::configs_are_refused", &[Need::Bake]) {
        Arena::new(Carrier::Hub).refuses(configs::cases());
    }
}

#[test]
fn maps_are_refused() {
    if !skipped("hostile_snapshots::maps_are_refused", &[Need::Bake]) {
        Arena::new(Carrier::Hub).refuses(maps::cases());
    }
}

#[test]
fn frames_are_refused() {
    if !skipped("hostile_snapshots::frames_are_refused", &[Need::Bake]) {
        Arena::new(Carrier::Hub).refuses(frames::cases());
    }
}

#[test]
fn engine_states_are_refused() {
    if !skipped("hostile_snapshots::engine_states_are_refused", &[Need::Bake]) {
        Arena::new(Carrier::Hub).refuses(engines::cases());
    }
}

#[test]
fn a_layer_is_what_it_claims_or_is_not_attached() {
    if !skipped("hostile_snapshots::a_layer_is_what_it_claims_or_is_not_attached", &[Need::Bake]) {
        layers::is_what_it_claims(Carrier::Hub);
    }
}

#[test]
fn texts_are_neither_paths_nor_terminal_commands() {
    if !skipped("hostile_snapshots::texts_are_neither_paths_nor_terminal_commands", &[Need::Bake]) {
        texts::lead_nowhere(Carrier::Hub);
    }
}
