//! First process of a guest: mounts its root, keeps its warm process, and serves the host that owns it.
//!
//! `docs/agent-protocol.md` says what a host can ask for. One thread, one loop ([`agent`]); descriptors never
//! block; every buffer is bounded; as process 1 it reaps whatever ends in the guest. If it cannot go on,
//! it says so on the console and powers the guest off, because a guest without it is of no use.

mod agent;
mod boot;
mod connection;
mod data;
mod eval;
mod exec;
mod given;
mod identity;
mod link;
mod log;
mod network;
mod port;
mod power;
mod runner;
mod service;
mod session;
mod spawn;
mod streams;
mod sys;
mod task;
mod terminal;
mod tool;
mod users;
mod warm;

use std::convert::Infallible;
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use agent_protocol::CONSOLE_PREFIX;

fn main() -> ExitCode {
    if !rustix::process::getpid().is_init() {
        return tool::main();
    }
    let Err(error) = run();
    console(&format!("the guest is powered off: {error}"));
    // When even this fails the process ends, and the kernel panics.
    let _ = power::off(None);
    ExitCode::FAILURE
}

fn run() -> Result<Infallible, Box<dyn Error>> {
    // That a guest comes this far is what a host looks for that tries whether its accelerator works.
    console(&format!("version {} begins", env!("CARGO_PKG_VERSION")));
    let booted = boot::boot()?;
    Ok(agent::Agent::new(booted)?.run()?)
}

/// Writes a line to where people, and hosts, look when a guest starts or does not.
fn console(line: &str) {
    // Nobody may be looking.
    let _ = writeln!(std::io::stderr(), "{CONSOLE_PREFIX} {line}");
}
