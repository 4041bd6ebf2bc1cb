//! `spore hub copy`

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use format::{Reference, Tag};
use hub::{CopyEnd, CopyPlan, Delivered, Selector, plan_copy};
use serde_json::json;

use crate::config::{Config, Hub};
use crate::error::CliError;
use crate::options::Options;
use crate::progress::{self, Transfer};
use crate::{hubs, interrupt, output};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore hub copy hub.example/team/numpy:1 acme/numpy           acme is an alias in the configuration; as acme/numpy:1
  spore hub copy --from /srv/hub numpy:1 hub.example/team/numpy:1
  spore hub copy --from /srv/hub --to /mnt/usb team/numpy      under the same name
  spore hub copy hub.example/team/numpy:1 acme/numpy --dry-run  what would be sent

Nothing is unpacked or kept here, and no byte is changed. What the destination has is not sent; between two names of one
registry nothing is. A tag with variants takes all of them along: give a digest to copy one. A copy that was interrupted goes
on where it stopped when it is repeated.")]
pub(crate) struct CopyArgs {
    /// What to copy: [HUB/]NAME[:TAG][@DIGEST]
    source: String,
    /// What it is to be there: [HUB/]NAME[:TAG] [default: the same name; without a tag, the same tag]
    dest: Option<String>,
    /// The hub to copy from: a folder, a URL or an alias [default: the name's own hub, else the default hub]
    #[arg(long, value_name = "HUB")]
    from: Option<String>,
    /// The hub to copy to [default: the hub of DEST, else the default hub]
    #[arg(long, value_name = "HUB")]
    to: Option<String>,
    /// Only show what would be sent
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(options: &Options, args: &CopyArgs) -> Result<ExitCode, CliError> {
    let config = Config::load()?;
    let source = config.reference(&args.source)?;
    let dest = match &args.dest {
        Some(dest) => destination(config.reference(dest)?, &source)?,
        None => destination(Reference { hub: None, digest: None, ..source.clone() }, &source)?,
    };
    let from = hubs::choose_known(&config, args.from.as_deref(), &source)?;
    let to = hubs::choose_known(&config, args.to.as_deref(), &dest)?;
    let access = hubs::access()?;
    let end = |hub: &Hub, reference: &Reference| {
        let registry = hub::open(&hub.location, &access)?;
        Ok::<_, CliError>(CopyEnd { registry, name: reference.name.clone() })
    };
    let (from, target) = (end(&from, &source)?, end(&to, &dest)?);
    let which = source.digest.map_or_else(|| Selector::Tag(source.tag_or_default()), Selector::Digest);
    let plan = interrupt::block_on(plan_copy(&from, &which, &target))?;
    let head = output::transfer_head(&plan.transfer, "to", "to send");
    if args.dry_run {
        output::result(options.format, &plan, || output::transfer(&head, &plan.transfer));
        return Ok(ExitCode::SUCCESS);
    }
    progress::note(options, &head);
    execute(options, plan, &Reference { hub: Some(to.name), ..dest })?;
    Ok(ExitCode::SUCCESS)
}

fn execute(options: &Options, plan: CopyPlan, dest: &Reference) -> Result<(), CliError> {
    let CopyPlan { from_hub, from_name, manifests, transfer, .. } = &plan;
    let mut document = json!({
        "from_hub": from_hub,
        "from_name": from_name,
        "hub": transfer.hub,
        "name": dest.name,
        "tag": dest.tag,
        "digest": transfer.snapshot,
        "manifests": manifests,
    });
    let (digest, count) = (transfer.snapshot, manifests.len());
    let progress = Arc::new(Transfer::new(options, "copying"));
    let copied = interrupt::block_on(plan.execute(dest.tag.as_ref(), progress.clone()));
    progress.finish();
    let delivered = copied?;
    if let Some(fields) = document.as_object_mut() {
        let Delivered { sent_bytes, mounted_bytes, skipped_bytes } = delivered;
        fields.insert("sent_bytes".into(), sent_bytes.into());
        fields.insert("mounted_bytes".into(), mounted_bytes.into());
        fields.insert("skipped_bytes".into(), skipped_bytes.into());
    }
    output::result(options.format, &document, || {
        let variants = if count > 1 { format!(" ({count} manifests)") } else { String::new() };
        format!("{dest}  {digest}{variants}  {}", output::delivered(&delivered))
    });
    Ok(())
}

/// What DEST says; without a tag it is the source's. What is named by its digest alone gets no tag there.
fn destination(dest: Reference, source: &Reference) -> Result<Reference, CliError> {
    if dest.digest.is_some() {
        return Err(CliError::Usage(format!("{dest}: a destination has no digest: what is sent decides it")));
    }
    let of_source = match (&source.tag, source.digest) {
        (None, Some(_)) => None,
        (tag, _) => Some(tag.clone().unwrap_or_else(Tag::default)),
    };
    Ok(Reference { tag: dest.tag.clone().or(of_source), ..dest })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_without_a_tag_has_the_source_s() {
        let digest = format::Digest::of(b"x");
        let named = |dest: &str, source: &str| {
            destination(dest.parse().unwrap(), &source.parse().unwrap()).map(|dest| dest.to_string())
        };
        assert_eq!(named("hub.example/b", "a:1").unwrap(), "hub.example/b:1");
        assert_eq!(named("hub.example/b:2", "a:1").unwrap(), "hub.example/b:2");
        assert_eq!(named("hub.example/b", "a").unwrap(), "hub.example/b:latest");
        assert_eq!(named("hub.example/b", &format!("a@{digest}")).unwrap(), "hub.example/b");
        assert_eq!(named("hub.example/b:1", &format!("a@{digest}")).unwrap(), "hub.example/b:1");
        assert!(matches!(named(&format!("b@{digest}"), "a"), Err(CliError::Usage(_))));
    }
}
