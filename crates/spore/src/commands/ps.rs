//! `spore ps`

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use sandbox::{Forward, Record, Sandbox, Status, list};
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
    output::result(options.format, &document, || table(&sandboxes));
    Ok(ExitCode::SUCCESS)
}

fn table(sandboxes: &[Sandbox]) -> String {
    let mut header = vec!["ID", "SNAPSHOT", "AGE", "ENDS IN", "PORTS", "STATUS"];
    let mut rows: Vec<_> = sandboxes.iter().map(row).collect();
    if rows.iter().all(|row| row.get(PORTS).is_none_or(String::is_empty)) {
        header.remove(PORTS);
        rows.iter_mut().for_each(|row| drop(row.remove(PORTS)));
    }
    output::table(&header, &rows)
}

const PORTS: usize = 4;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

fn row(sandbox: &Sandbox) -> Vec<String> {
    let Some(record) = &sandbox.record else {
        let unknown = || "?".to_owned();
        let id = sandbox.id.to_string();
        return vec![id, unknown(), unknown(), unknown(), String::new(), sandbox.status.to_string()];
    };
    vec![
        sandbox.id.to_string(),
        record.name.clone().unwrap_or_else(|| record.snapshot.short()),
        output::duration(now().saturating_sub(record.created_at)),
        limits(record),
        ports(record),
        sandbox.status.to_string(),
    ]
}

/// How long it has yet: `9m`, `idle 30m`, or both.
pub(crate) fn limits(record: &Record) -> String {
    let end = record.ends_at.map(|end| output::duration(end.saturating_sub(now())));
    let idle = record.idle_seconds.map(|seconds| format!("idle {}", output::duration(seconds)));
    let limits: Vec<_> = end.into_iter().chain(idle).collect();
    if limits.is_empty() { "-".to_owned() } else { limits.join(", ") }
}

/// The ports that lead into it; none: nothing.
pub(crate) fn ports(record: &Record) -> String {
    record.ports.iter().map(port).collect::<Vec<_>>().join(",")
}

/// `8080->80`; with the address where that is not the usual one.
fn port(Forward { host, guest }: &Forward) -> String {
    if host.ip() == Ipv4Addr::LOCALHOST {
        format!("{}->{guest}", host.port())
    } else {
        format!("{host}->{guest}")
    }
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
        "data": record.and_then(|record| record.data.as_ref()),
        "engine_pid": record.and_then(sandbox::Record::engine).map(|process| process.pid),
        "supervisor_pid": record.and_then(sandbox::Record::supervisor).map(|process| process.pid),
    })
}
