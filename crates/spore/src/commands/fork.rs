//! `spore fork`

use std::fs::File;
use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use agent_protocol::{GIVEN_MAX, Given};
use clap::Args;
use engine::NetworkMode;
use sandbox::{Context, DataDisk, ForkOptions, Forked, Forward, fork};
use serde_json::json;

use crate::environment::parse_variable;
use crate::error::{CliError, Doing};
use crate::options::Options;
use crate::values::{parse_data, parse_duration, parse_forward};
use crate::{context, interrupt, output, progress};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore fork python-numpy
  spore fork python-numpy -n 100 --ttl 10m --format json
  spore fork browser -p 9222:9222 --idle 30m            http://127.0.0.1:9222 leads into it
  spore fork nodejs -p 0:3000           standard error says which port was free
  spore fork python-numpy -n 10 --data ./dataset        its files in /data of each, read-only
  spore fork postgres --data disk.img:rw                a disk image, which this one alone writes to
  spore fork coding-agent -e LANG --secret api-key=key.txt     a variable, and a file /run/secrets/api-key in memory
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
    /// End each after this long without an exec, eval, copy or connection to a port
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    idle: Option<Duration>,
    /// Listen here and lead to a port of the guest: [ADDRESS:]PORT:GUESTPORT; PORT 0 is any that is free [address: 127.0.0.1]
    #[arg(short, long = "publish", value_name = "PORTS", value_parser = parse_forward)]
    ports: Vec<Forward>,
    /// A variable for what runs in them: KEY=VALUE, or KEY with the value that it has here
    #[arg(short, long, value_name = "KEY[=VALUE]", value_parser = parse_variable)]
    env: Vec<(String, String)>,
    #[command(flatten)]
    secrets: Secrets,
    /// A disk in /data: an image file as it is, written to only with :rw, or what is in a folder, as it is
    #[arg(long, value_name = "FILE[:rw]|DIR", value_parser = parse_data)]
    data: Option<DataDisk>,
    /// Connect them to the host's network. What listens on the host's loopback is then reachable from the guest
    #[arg(long)]
    network: bool,
    /// How long one may take to become ready
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = parse_duration)]
    deadline: Duration,
}

/// Small secrets for a guest.
#[derive(Debug, Args)]
pub(crate) struct Secrets {
    /// A secret, which the guest finds in /run/secrets/NAME, in memory: the content of FILE
    #[arg(long = "secret", value_name = "NAME=FILE")]
    secrets: Vec<String>,
}

impl Secrets {
    /// These and the variables, as they are given to a guest.
    pub(crate) fn given(&self, env: &[(String, String)]) -> Result<Given, CliError> {
        let secret = |text: &String| {
            let (name, path) = text.split_once('=').ok_or_else(|| {
                CliError::Usage(format!(
                    "--secret {text:?}: expected NAME=FILE; the value itself would show in ps"
                ))
            })?;
            let mut value = Vec::new();
            let file = File::open(path).doing(format!("open the secret {path}"))?;
            // More is refused by its length.
            file.take(GIVEN_MAX as u64 + 1)
                .read_to_end(&mut value)
                .doing(format!("read the secret {path}"))?;
            Ok((name.to_owned(), value))
        };
        let env = env.iter().cloned().collect();
        let secrets = self.secrets.iter().map(secret).collect::<Result<_, CliError>>()?;
        Given::new(env, secrets).map_err(|error| CliError::Usage(error.to_string()))
    }
}

/// A port that more than one sandbox would need to have.
fn check_ports(count: u32, ports: &[Forward]) -> Result<(), CliError> {
    match ports.iter().find(|forward| forward.host.port() != 0) {
        Some(forward) if count > 1 => Err(CliError::Usage(format!(
            "{count} sandboxes cannot all listen on {}: give port 0, and each gets one that is free",
            forward.host
        ))),
        _ => Ok(()),
    }
}

pub(crate) fn run(options: &Options, args: &ForkArgs) -> Result<ExitCode, CliError> {
    check_ports(args.count, &args.ports)?;
    let given = args.secrets.given(&args.env)?;
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
        idle: args.idle,
        ports: args.ports.clone(),
        given,
        data: args.data.clone(),
        network: if args.network { NetworkMode::User } else { NetworkMode::None },
        name: resolved.name,
        deadline: args.deadline,
    };
    let forked = fork(&context, &lease, &snapshot, &fork_options, &|_| bar.inc(1), interrupted);
    bar.finish_and_clear();
    let forked = forked?;
    let document = json!({ "sandboxes": forked.iter().map(describe).collect::<Vec<_>>() });
    output::result(options.format, &document, || {
        // Scripts take what is on standard output for ids.
        forked.iter().for_each(|one| say_ports(options, &args.ports, one));
        forked.iter().map(|one| format!("{}\n", one.id)).collect::<String>()
    });
    Ok(ExitCode::SUCCESS)
}

/// Says on standard error which ports were found where any was asked for.
pub(crate) fn say_ports(options: &Options, asked: &[Forward], forked: &Forked) {
    let found = asked.iter().zip(&forked.record.ports).filter(|(asked, _)| asked.host.port() == 0);
    for (_, Forward { host, guest }) in found.filter(|_| !options.quiet) {
        output::say(output::Level::Info, &format!("{}: {host} -> {guest}", forked.id));
    }
}

fn describe(forked: &Forked) -> serde_json::Value {
    json!({
        "id": forked.id.as_str(),
        "snapshot": forked.record.snapshot,
        "name": forked.record.name,
        "ends_at": forked.record.ends_at,
        "ports": forked.record.ports,
        "data": forked.record.data,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_one_sandbox_s() {
        let (fixed, any) = (parse_forward("8080:80").unwrap(), parse_forward("0:80").unwrap());
        assert!(check_ports(1, &[fixed]).is_ok() && check_ports(9, &[any]).is_ok());
        assert!(check_ports(2, &[any, fixed]).is_err());
    }
}
