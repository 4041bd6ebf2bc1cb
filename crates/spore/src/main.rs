//! `spore`: bake a warm VM, ship it, fork it.
//!
//! This crate is what people and scripts touch: arguments, output, progress, exit codes, and the wiring of the libraries
//! to each other. It decides nothing about snapshots. One file per verb in [`commands`].

#![allow(rustdoc::broken_intra_doc_links, reason = "the documentation of arguments is the text of --help")]

mod agent;
mod arguments;
mod cli;
mod commands;
mod config;
mod context;
mod environment;
mod error;
mod hubs;
mod interrupt;
mod leaving;
mod options;
mod output;
mod problems;
mod progress;
mod registries;
mod terminal;
mod variants;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    context::start_tracing();
    let format = cli.options.format;
    let own_statuses = cli.command.has_statuses_of_its_own();
    match cli.run() {
        Ok(status) => status,
        Err(error) => error::report(&error, format, own_statuses),
    }
}
