//! Tests of the public API: one executable, since linking costs more than running.

#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "what a test cannot set up fails the test, and what is skipped is said"
)]

mod browser;
mod bucket;
mod chromium;
mod folder;
mod hostile;
mod pages;
