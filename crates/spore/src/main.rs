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
mod log;
mod options;
mod output;
mod problems;
mod progress;
mod registries;
mod terminal;
mod values;
mod variants;

use std::process::ExitCode;
use std::time::Instant;

use options::Options;

fn main() -> ExitCode {
    let begun = Instant::now();
    let configuration = config::values().map(environment::read_file_too);
    output::log_as(log::expected_format(std::env::args_os()));
    let cli::Cli { flags, command } = match cli::Cli::read() {
        Ok(cli) => cli,
        Err(told) => return error::report_parsing(&told),
    };
    let (format, own_statuses) = (flags.expected_format(), command.has_statuses_of_its_own());
    let prepare = || -> Result<Options, error::CliError> {
        if let (Err(error), false) = (configuration, command.is_about_spore_alone()) {
            return Err(error);
        }
        let options = flags.resolve()?;
        log::start(options.log_format, command.logs())?;
        Ok(options)
    };
    let options = match prepare() {
        Ok(options) => options,
        Err(error) => return error::report(&error, format, own_statuses),
    };
    let ended = command.run(&options);
    tracing::info!(failed = ended.is_err(), millis = begun.elapsed().as_millis(), "ended");
    ended.unwrap_or_else(|error| error::report(&error, options.format, own_statuses))
}
