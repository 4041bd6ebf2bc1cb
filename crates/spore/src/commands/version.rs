//! `spore version`

use std::process::ExitCode;

use clap::Args;
use format::manifest::media_type;
use serde_json::json;

use crate::options::Options;
use crate::{agent, output};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore version
  spore version --format json")]
pub(crate) struct VersionArgs {}

pub(crate) fn run(options: &Options, _: &VersionArgs) -> ExitCode {
    let spore = env!("CARGO_PKG_VERSION");
    let document = json!({
        "spore": spore,
        "agent": agent::VERSION,
        "agent_protocol": agent_protocol::VERSION,
        "format": media_type::SNAPSHOT,
    });
    output::result(options.format, &document, || {
        let (agent, protocol) = (agent::VERSION, agent_protocol::VERSION);
        format!("spore {spore}\nagent {agent} (protocol {protocol})\nformat {}", media_type::SNAPSHOT)
    });
    ExitCode::SUCCESS
}
