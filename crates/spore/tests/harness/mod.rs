//! What the end-to-end tests stand on: the real `spore` on real VMs, in roots of their own.
//!
//! ```text
//! spore      a `spore` with a root of its own: runs verbs, reads their JSON, ends its sandboxes when dropped
//! run        one command: its input, its deadline, what came out, what is asserted of that
//! shared     snapshots that all tests share: each recipe is baked once, then pulled from a hub in target/tmp
//! recipes    those that ship with Spore, and changes of them that one test needs
//! frozen     what a snapshot's blobs say was frozen, read without the code under test
//! image      container images, and how they come into a registry
//! needs      what a test cannot run without; a test that lacks it says `skipped: NAME: why`
//! served     `spore hub serve`
//! terminal   a command at a terminal
//! qemu       a QEMU that is a script around the real one
//! processes  which processes of the host belong to a root
//! words      finds random words in blobs, compressed or not
//! files      scratch folders, copies, digests
//! ```
//!
//! Invariants:
//! - Nothing waits longer than its deadline, and nothing sleeps to let something happen.
//! - A test leaves no process and no file but the shared snapshots: a [`Spore`] that cannot end its sandboxes
//!   fails its test.
//! - Nothing of the caller's environment reaches `spore` but what chooses its engine and its mirrors.

#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::print_stderr, clippy::print_stdout, reason = "what a test says is its output")]

pub mod files;
pub mod frozen;
pub mod hubs;
pub mod image;
pub mod needs;
pub mod processes;
pub mod qemu;
pub mod recipes;
pub mod run;
pub mod served;
pub mod shared;
pub mod spore;
pub mod terminal;
pub mod words;

pub use spore::Spore;
