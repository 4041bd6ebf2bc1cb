//! `spore run`

use std::process::ExitCode;
use std::time::Duration;

use agent_protocol::Given;
use clap::Args;
use engine::NetworkMode;
use format::Reference;
use sandbox::{Context, DataDisk, ForkOptions, Forked, Forward, find, fork, kill};
use store::{Lease, ResolveError, Resolved, SandboxId, Store};

use super::exec::{self, CommandArgs};
use super::fork::{Secrets, say_ports};
use super::pull;
use crate::config::Config;
use crate::error::CliError;
use crate::options::Options;
use crate::values::{parse_data, parse_duration, parse_forward};
use crate::{context, hubs, interrupt};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore run python-numpy -- python3 -c 'print(1)'
  spore run --hub /srv/hub python-numpy -- python3 --version     pulls it unless it is here
  echo data | spore run python-numpy -i -- sort
  spore run python-numpy -it -- python3          at this terminal

A snapshot that is here is used as it is; `spore pull` moves its tag. The exit status is the command's; 125 when Spore
failed, 126 when it cannot be executed, 127 when it is not found, 128 + N when signal N ended it.")]
pub(crate) struct RunArgs {
    /// A snapshot: [HUB/]NAME[:TAG][@DIGEST]
    reference: String,
    /// The hub to pull it from: a folder, s3://…, oci://… or an alias [default: the name's own hub, else the default hub]
    #[arg(long, value_name = "HUB")]
    hub: Option<String>,
    /// End it after this long: 30s, 10m, 2h, 1d
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    ttl: Option<Duration>,
    /// End it after this long without its command or a connection to a port
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    idle: Option<Duration>,
    /// Listen here and lead to a port of the guest: [ADDRESS:]PORT:GUESTPORT; PORT 0 is any that is free, and standard error
    /// says which [address: 127.0.0.1]
    #[arg(short, long = "publish", value_name = "PORTS", value_parser = parse_forward)]
    ports: Vec<Forward>,
    #[command(flatten)]
    secrets: Secrets,
    /// A disk in /data: an image file as it is, written to only with :rw, or what is in a folder, as it is
    #[arg(long, value_name = "FILE[:rw]|DIR", value_parser = parse_data)]
    data: Option<DataDisk>,
    /// Connect it to the host's network. What listens on the host's loopback is then reachable from the guest
    #[arg(long)]
    network: bool,
    /// How long it may take to become ready
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = parse_duration)]
    deadline: Duration,
    #[command(flatten)]
    command: CommandArgs,
}

pub(crate) fn run(options: &Options, args: &RunArgs) -> Result<ExitCode, CliError> {
    // What is wrong with the arguments is said before anything is fetched.
    let (request, terminal) = args.command.request()?;
    let given = args.secrets.given(&[])?;
    let store = context::store(options)?;
    let lease = store.lease()?;
    let resolved = here_or_pulled(options, &store, &lease, args)?;
    let forked = fork_one(options, &store, &lease, resolved, args, given)?;
    say_ports(options, &args.ports, &forked);
    let followed = exec::open(&store, forked.id.as_str()).and_then(|channel| {
        let (store, id) = (store.clone(), forked.id.clone());
        exec::follow(options, channel, &request, terminal, move || drop(remove(&store, &id)))
    });
    // Before it is removed.
    let followed = followed.map_err(|error| exec::explain(options, forked.id.as_str(), error));
    let removed = remove(&store, &forked.id);
    let status = followed?;
    removed?;
    Ok(status)
}

/// What the reference leads to here; where it leads nowhere, what it leads to in its hub.
fn here_or_pulled(
    options: &Options,
    store: &Store,
    lease: &Lease,
    args: &RunArgs,
) -> Result<Resolved, CliError> {
    let config = Config::load()?;
    let reference = config.reference(&args.reference)?;
    let hub =
        args.hub.as_deref().map(|flag| hubs::choose(&config, store, Some(flag), &reference)).transpose()?;
    let named =
        Reference { hub: hub.as_ref().map(|hub| hub.name.clone()).or(reference.hub.clone()), ..reference };
    match store.resolve(&named) {
        Err(ResolveError::NotFound { .. }) => {}
        resolved => return Ok(resolved?),
    }
    let hub = match hub {
        Some(hub) => hub,
        None => hubs::choose(&config, store, None, &named).map_err(|error| match error {
            CliError::Usage(reason) => CliError::Usage(format!("{named} is not here, and {reason}")),
            error => error,
        })?,
    };
    let plan = pull::plan(options, store, &hub, &named, true)?;
    let fetched = pull::fetch(options, store, &hub, &named, plan, false)?;
    // Before the pull's own lease goes.
    lease.protect(&fetched.pulled.snapshot)?;
    Ok(Resolved { digest: fetched.pulled.snapshot, name: fetched.name, origin: None })
}

fn fork_one(
    options: &Options,
    store: &Store,
    lease: &Lease,
    resolved: Resolved,
    args: &RunArgs,
    given: Given,
) -> Result<Forked, CliError> {
    let snapshot = context::snapshot(options, store, lease, &resolved.digest)?;
    let engine = context::engine_for(store, &snapshot.config)?;
    let supervisor = context::supervisor(store)?;
    let context = Context { store, engine: &engine, supervisor: &supervisor };
    let fork_options = ForkOptions {
        count: 1,
        ttl: args.ttl,
        idle: args.idle,
        ports: args.ports.clone(),
        given,
        data: args.data.clone(),
        network: if args.network { NetworkMode::User } else { NetworkMode::None },
        name: resolved.name,
        deadline: args.deadline,
    };
    let forked = fork(&context, lease, &snapshot, &fork_options, &|_| (), interrupt::flag()?)?;
    forked.into_iter().next().ok_or_else(|| CliError::Failed("the fork is not there".into()))
}

fn remove(store: &Store, id: &SandboxId) -> Result<(), CliError> {
    Ok(kill(store, &find(store, id.as_str())?)?)
}
