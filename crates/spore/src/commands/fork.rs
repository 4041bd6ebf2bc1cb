//! `spore fork`

use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
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
use crate::{context, interrupt, output, progress};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore fork python-numpy
  spore fork python-numpy -n 100 --ttl 10m --format json
  spore fork jupyter-kernel -p 8888:8888 --idle 30m     http://127.0.0.1:8888 leads into it
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

/// `[ADDRESS:]PORT:GUESTPORT`; an IPv6 address in brackets.
pub(crate) fn parse_forward(text: &str) -> Result<Forward, String> {
    let expected =
        || format!("{text:?}: expected [ADDRESS:]PORT:GUESTPORT, such as 8080:80 or 0.0.0.0:8080:80");
    let (host, guest) = text.rsplit_once(':').ok_or_else(expected)?;
    let guest = guest.parse().ok().filter(|port| *port > 0).ok_or_else(expected)?;
    let host = match host.parse() {
        Ok(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        Err(_) => host.parse().map_err(|_| expected())?,
    };
    Ok(Forward { host, guest })
}

/// `PATH`, or with `:rw` or `:ro` behind it.
pub(crate) fn parse_data(text: &str) -> Result<DataDisk, String> {
    let (path, writable) = match text.rsplit_once(':') {
        Some((path, "rw")) => (path, true),
        Some((path, "ro")) => (path, false),
        _ => (text, false),
    };
    if path.is_empty() {
        return Err(format!("{text:?}: expected FILE, FILE:rw or DIR"));
    }
    Ok(DataDisk { path: path.into(), writable })
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
    fn ports() {
        for (text, host, guest) in [
            ("8080:80", "127.0.0.1:8080", 80),
            ("0:22", "127.0.0.1:0", 22),
            ("0.0.0.0:8080:80", "0.0.0.0:8080", 80),
            ("[::1]:8080:80", "[::1]:8080", 80),
        ] {
            assert_eq!(parse_forward(text), Ok(Forward { host: host.parse().unwrap(), guest }));
        }
        for wrong in ["", "80", "80:", ":80", "80:0", "80:65536", "host:80:80", "::1:80:80", "80:80/udp"] {
            assert!(parse_forward(wrong).is_err(), "{wrong}");
        }
        let (fixed, any) = (parse_forward("8080:80").unwrap(), parse_forward("0:80").unwrap());
        assert!(check_ports(1, &[fixed]).is_ok() && check_ports(9, &[any]).is_ok());
        assert!(check_ports(2, &[any, fixed]).is_err());
    }

    #[test]
    fn data_disks() {
        let disk = |path: &str, writable| Ok(DataDisk { path: path.into(), writable });
        assert_eq!(parse_data("a"), disk("a", false));
        assert_eq!(parse_data("a:rw"), disk("a", true));
        assert_eq!(parse_data("a:rw:ro"), disk("a:rw", false));
        assert_eq!(parse_data("a:b"), disk("a:b", false));
        assert!(parse_data(":rw").is_err() && parse_data("").is_err());
    }

    #[test]
    fn durations() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("2d"), Ok(Duration::from_secs(172_800)));
        for wrong in ["", "s", "10", "0s", "-1s", "1.5h", "1w", "99999999999s", "1é"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
