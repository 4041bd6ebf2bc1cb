//! Tests of the public API: one executable, since linking costs more than running.

#![allow(clippy::indexing_slicing, clippy::print_stdout, clippy::unwrap_used, reason = "a test's")]

mod pages;
