//! What runs in a sandbox behaves as if it ran here: arguments, environment, folder, user, streams, signals, status.
//!
//! Each test has a sandbox of its own, of a snapshot that all tests share.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test says is its output")]
#![allow(unreachable_pub, reason = "modules of a test")]

#[path = "exec_and_eval/abandoned.rs"]
mod abandoned;
#[path = "exec_and_eval/copies.rs"]
mod copies;
#[path = "exec_and_eval/data.rs"]
mod data;
#[path = "exec_and_eval/eval.rs"]
mod eval;
#[path = "exec_and_eval/given.rs"]
mod given;
#[path = "exec_and_eval/guest.rs"]
mod guest;
mod harness;
#[path = "exec_and_eval/logs.rs"]
mod logs;
#[path = "exec_and_eval/network.rs"]
mod network;
#[path = "exec_and_eval/ports.rs"]
mod ports;
#[path = "exec_and_eval/processes.rs"]
mod processes;
#[path = "exec_and_eval/run.rs"]
mod run;
#[path = "exec_and_eval/signals.rs"]
mod signals;
#[path = "exec_and_eval/streams.rs"]
mod streams;
#[path = "exec_and_eval/talk.rs"]
mod talk;
#[path = "exec_and_eval/terminal.rs"]
mod terminal;
#[path = "exec_and_eval/width.rs"]
mod width;
