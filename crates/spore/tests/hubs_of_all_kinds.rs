//! Hubs of all kinds on the command line, side by side: copies from one kind to another, what each of them lists, defaults,
//! mirrors of other kinds, a bucket's pages, and a served folder behind a network that breaks.
//!
//! The servers are real ones on loopback. The snapshots are ones that no engine can run: nothing here forks.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
#![allow(unreachable_pub, reason = "modules of a test")]

#[path = "hubs/copies.rs"]
mod copies;
#[path = "hubs/defaults.rs"]
mod defaults;
#[path = "hubs/faults.rs"]
mod faults;
mod harness;
#[path = "hubs/lists.rs"]
mod lists;
#[path = "hubs/mirrors.rs"]
mod mirrors;
#[path = "hubs/pages.rs"]
mod pages;
