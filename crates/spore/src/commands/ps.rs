//! `spore ps`

use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use sandbox::{Sandbox, Status, list};
use serde_json::json;

use crate::error::CliError;
use crate::options::Options;
use crate::{context, output};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore ps
  spore ps -a --format json")]
pub(crate) struct PsArgs {
    /// Dead ones too
    #[arg(short, long)]
    all: bool,
}

pub(crate) fn run(options: &Options, args: &PsArgs) -> Result<ExitCode, CliError> {
    let store = context::store(options)?;
    let mut sandboxes = list(&store)?;
    sandboxes.retain(|sandbox| args.all || !matches!(sandbox.status, Status::Dead { .. }));
    let document = json!({ "sandboxes": sandboxes.iter().map(describe).collect::<Vec<_>>() });
    output::result(options.format, &document, || {
        let rows: Vec<_> = sandboxes.iter().map(row).collect();
        output::table(&["ID", "SNAPSHOT", "AGE", "ENDS IN", "PORTS", "STATUS"], &rows)
    });
    Ok(ExitCode::SUCCESS)
}

fn row(sandbox: &Sandbox) -> Vec<String> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let (snapshot, age, left) = match &sandbox.record {
        Some(record) => (
            record.name.clone().unwrap_or_else(|| record.snapshot.short()),
            output::duration(now.saturating_sub(record.created_at)),
            record.ends_at.map_or_else(|| "-".to_owned(), |end| output::duration(end.saturating_sub(now))),
        ),
        None => ("?".to_owned(), "?".to_owned(), "?".to_owned()),
    };
    let ports = sandbox.record.iter().flat_map(|record| &record.ports);
    let ports: Vec<_> = ports.map(|port| format!("{}->{}", port.host, port.guest)).collect();
    let ports = if ports.is_empty() { "-".to_owned() } else { ports.join(",") };
    vec![sandbox.id.to_string(), snapshot, age, left, ports, sandbox.status.to_string()]
}

/// A sandbox for scripts.
pub(crate) fn describe(sandbox: &Sandbox) -> serde_json::Value {
    let record = sandbox.record.as_ref();
    json!({
        "id": sandbox.id.as_str(),
        "status": sandbox.status,
        "snapshot": record.map(|record| record.snapshot),
        "name": record.and_then(|record| record.name.clone()),
        "created_at": record.map(|record| record.created_at),
        "ends_at": record.and_then(|record| record.ends_at),
        "idle_seconds": record.and_then(|record| record.idle_seconds),
        "ports": record.map(|record| &record.ports),
        "engine_pid": record.and_then(sandbox::Record::engine).map(|process| process.pid),
        "supervisor_pid": record.and_then(sandbox::Record::supervisor).map(|process| process.pid),
    })
}
