//! `spore fork`

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use engine::NetworkMode;
use sandbox::{Context, ForkOptions, Forked, fork};
use serde_json::json;

use crate::error::CliError;
use crate::options::Options;
use crate::{context, interrupt, output, progress};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore fork python-numpy
  spore fork python-numpy -n 100 --ttl 10m --format json
  spore fork hub.example/team/numpy:1.2@sha256:…     the digest decides")]
pub(crate) struct ForkArgs {
    /// A local snapshot: [HUB/]NAME[:TAG][@DIGEST]
    reference: String,
    /// How many
    #[arg(short = 'n', long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    count: u32,
    /// End each after this long: 30s, 10m, 2h, 1d
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// Connect them to the host's network. What listens on the host's loopback is then reachable from the guest
    #[arg(long)]
    network: bool,
    /// How long one may take to become ready
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = parse_duration)]
    deadline: Duration,
}

/// A number and one of `s`, `m`, `h`, `d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("{text:?}: expected a number and one of s, m, h, d, such as 90s or 2h");
    let unit = text.chars().last().ok_or_else(expected)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        'd' => 86_400,
        _ => return Err(expected()),
    };
    let number: u32 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(expected)?;
    let total = u64::from(number) * seconds;
    if total == 0 { Err(expected()) } else { Ok(Duration::from_secs(total)) }
}

pub(crate) fn run(options: &Options, args: &ForkArgs) -> Result<ExitCode, CliError> {
    let store = context::store(options)?;
    let lease = store.lease()?;
    let resolved = context::resolve(&store, &args.reference)?;
    let snapshot = context::snapshot(options, &store, &lease, &resolved.digest)?;
    let interrupted = interrupt::flag()?;
    let engine = context::engine_for(&store, &snapshot.config)?;
    let supervisor = context::supervisor(&store)?;
    let context = Context { store: &store, engine: &engine, supervisor: &supervisor };
    let bar = progress::counter(options, args.count.into(), "forking");
    let fork_options = ForkOptions {
        count: args.count as usize,
        ttl: args.ttl,
        network: if args.network { NetworkMode::User } else { NetworkMode::None },
        name: resolved.name,
        deadline: args.deadline,
    };
    let forked = fork(&context, &lease, &snapshot, &fork_options, &|_| bar.inc(1), interrupted);
    bar.finish_and_clear();
    let forked = forked?;
    let document = json!({ "sandboxes": forked.iter().map(describe).collect::<Vec<_>>() });
    output::result(options.format, &document, || {
        forked.iter().map(|one| format!("{}\n", one.id)).collect::<String>()
    });
    Ok(ExitCode::SUCCESS)
}

fn describe(forked: &Forked) -> serde_json::Value {
    json!({
        "id": forked.id.as_str(),
        "snapshot": forked.record.snapshot,
        "name": forked.record.name,
        "ends_at": forked.record.ends_at,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("2d"), Ok(Duration::from_secs(172_800)));
        for wrong in ["", "s", "10", "0s", "-1s", "1.5h", "1w", "99999999999s", "1é"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
