//! Each recipe that ships with Spore goes all the way: baked, pushed to a hub, pulled into an empty store, forked,
//! and used in every fork for what it is there for.
//!
//! `make test` does so with those that are marked, `make test-recipes` with all, one after the other, and measures.
//! A recipe's file in `recipes/` says how it is used; `recipes/journey.rs` is what all have in common.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "what a test says is its output")]
#![allow(unreachable_pub, reason = "modules of a test")]

#[path = "recipes/browser.rs"]
mod browser;
#[path = "recipes/code_interpreter.rs"]
mod code_interpreter;
#[path = "recipes/coding_agent.rs"]
mod coding_agent;
mod harness;
#[path = "recipes/journey.rs"]
mod journey;
#[path = "recipes/jupyter_kernel.rs"]
mod jupyter_kernel;
#[path = "recipes/measure.rs"]
mod measure;
#[path = "recipes/nodejs.rs"]
mod nodejs;
#[path = "recipes/postgres.rs"]
mod postgres;
#[path = "recipes/python_numpy.rs"]
mod python_numpy;
