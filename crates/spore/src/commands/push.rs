//! `spore push`

mod licences;
mod presign;
mod ticket;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use format::Reference;
use hub::{Delivered, PushPlan, plan_push};
use serde::Serialize;
use serde_json::json;

use self::licences::Published;
use crate::config::Config;
use crate::error::CliError;
use crate::options::Options;
use crate::progress::{self, Transfer};
use crate::values::parse_duration;
use crate::{context, hubs, interrupt, output};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore push python-numpy --hub /srv/hub
  spore push python-numpy:1.2 acme/team/numpy:1.2     acme is an alias in the configuration
  spore push python-numpy --variant acme/team/numpy   beside what is there for other hosts
  spore push python-numpy --hub s3://snapshots        into a bucket, with AWS's credentials
  spore push python-numpy --dry-run                   to the default hub: what would be sent

From a machine that shall have no credentials, into a bucket: there,
  spore inspect python-numpy --manifest > manifest.json

with credentials,
  spore push --presign manifest.json team/numpy:1 --hub s3://snapshots \\
    --expires 1h > ticket.json

and there:
  spore push python-numpy --ticket ticket.json")]
pub(crate) struct PushArgs {
    /// A local snapshot: [HUB/]NAME[:TAG][@DIGEST]; with --presign, DEST
    reference: String,
    /// What it is to be there: [HUB/]NAME[:TAG] [default: the same name]
    dest: Option<String>,
    /// The hub: a folder, s3://…, oci://… or an alias [default: the name's own hub, else the default hub]
    #[arg(long, value_name = "HUB")]
    hub: Option<String>,
    /// Add it to the variants that the tag leads to, in place of one for the same architecture, engine, accelerator and CPU.
    /// Of two who do this at the same moment, one may have to repeat it
    #[arg(long, conflicts_with_all = ["presign", "ticket"])]
    variant: bool,
    /// Send nothing: print a ticket with which somebody without credentials can push the snapshot with this manifest
    #[arg(long, value_name = "MANIFEST", conflicts_with_all = ["dry_run", "ticket"])]
    presign: Option<PathBuf>,
    /// How long the ticket is good, at most 84h
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration, requires = "presign")]
    expires: Duration,
    /// Send by a ticket, without credentials
    #[arg(long, value_name = "TICKET")]
    ticket: Option<PathBuf>,
    /// Only show what would be sent
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(options: &Options, args: &PushArgs) -> Result<ExitCode, CliError> {
    if let Some(manifest) = &args.presign {
        return presign::run(options, args, manifest);
    }
    if let Some(ticket) = &args.ticket {
        return ticket::run(options, args, ticket);
    }
    let config = Config::load()?;
    let source = config.reference(&args.reference)?;
    let dest = match &args.dest {
        Some(dest) => destination(config.reference(dest)?)?,
        None => same_name(source.clone(), args.hub.is_some()),
    };
    if args.variant && dest.tag.is_none() {
        return Err(CliError::Usage(format!("{dest}: a variant is of a tag: give DEST with one")));
    }
    let store = context::store(options)?;
    let digest = store.resolve(&source)?.digest;
    let hub = hubs::choose(&config, &store, args.hub.as_deref(), &dest)?;
    let registry = hub::open(&hub.location, &hubs::access()?)?;
    let plan = interrupt::block_on(plan_push(&store, &digest, registry, &dest.name))?;
    let head = output::transfer_head(&plan.transfer, "to", "to send");
    let licences = Published::of(&store, &digest)?;
    if args.dry_run {
        let planned = Planned { plan, licences };
        output::result(options.format, &planned, || planned.text(&head));
        return Ok(ExitCode::SUCCESS);
    }
    progress::note(options, &head);
    let place = plan.transfer.hub.clone();
    let progress = Arc::new(Transfer::new(options, "pushing"));
    let pushed = match &dest.tag {
        Some(tag) if args.variant => interrupt::block_on(plan.execute_as_variant(tag, progress.clone())),
        tag => interrupt::block_on(plan.execute(tag.as_ref(), progress.clone())),
    };
    progress.finish();
    let delivered = pushed?;
    let Delivered { sent_bytes, mounted_bytes, skipped_bytes } = delivered;
    let document = json!({
        "hub": place,
        "name": dest.name,
        "tag": dest.tag,
        "digest": digest,
        "sent_bytes": sent_bytes,
        "mounted_bytes": mounted_bytes,
        "skipped_bytes": skipped_bytes,
        "licences": licences,
    });
    output::result(options.format, &document, || {
        let shown = Reference { hub: Some(hub.name), ..dest };
        format!("{shown}  {digest}  {}\n{licences}", output::delivered(&delivered))
    });
    Ok(ExitCode::SUCCESS)
}

/// What `--dry-run` shows.
#[derive(Serialize)]
struct Planned {
    #[serde(flatten)]
    plan: PushPlan,
    licences: Published,
}

impl Planned {
    fn text(&self, head: &str) -> String {
        format!("{}\n{}", output::transfer(head, &self.plan.transfer).trim_end(), self.licences)
    }
}

/// What DEST says, with the tag that it means.
fn destination(dest: Reference) -> Result<Reference, CliError> {
    if dest.digest.is_some() {
        return Err(CliError::Usage(format!("{dest}: a destination has no digest: what is sent decides it")));
    }
    Ok(Reference { tag: Some(dest.tag_or_default()), ..dest })
}

/// The source's own name as the destination. One given by its digest alone gets no tag there.
fn same_name(source: Reference, is_elsewhere: bool) -> Reference {
    let hub = source.hub.clone().filter(|hub| !is_elsewhere && !hub.is_local());
    let tag = if source.digest.is_some() { source.tag.clone() } else { Some(source.tag_or_default()) };
    Reference { hub, tag, digest: None, ..source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_keeps_its_name_in_the_hub() {
        let digest = format::Digest::of(b"x");
        let named = |text: &str, is_elsewhere| same_name(text.parse().unwrap(), is_elsewhere).to_string();
        assert_eq!(named("local/numpy", false), "numpy:latest");
        assert_eq!(named("hub.example/team/numpy:1", false), "hub.example/team/numpy:1");
        assert_eq!(named("hub.example/team/numpy:1", true), "team/numpy:1");
        assert_eq!(named(&format!("numpy:1@{digest}"), false), "numpy:1");
        assert_eq!(named(&format!("numpy@{digest}"), false), "numpy");
    }
}
