//! `spore pull`

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use format::{Digest, FullName, Reference};
use hub::{PullError, PullPlan, Pulled, Selector, TagAs, plan_pull_from};
use serde_json::json;
use store::{RefError, Store};

use crate::config::{Config, Hub};
use crate::error::CliError;
use crate::options::Options;
use crate::progress::{self, Transfer};
use crate::{context, hubs, interrupt, output, variants};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore pull --hub /srv/hub python-numpy
  spore pull acme/team/numpy:1.2                      acme is an alias in the configuration
  spore pull python-numpy --dry-run                   from the default hub: what would be fetched
  spore pull --hub /srv/hub numpy@sha256:…            by digest; this sets no tag unless one is given too

Of a tag with variants it takes the one that this host can restore. A pull that was interrupted goes on where it stopped
when it is repeated. It ends with flat files laid out, as the first fork needs them; --no-layout leaves that to the fork.")]
pub(crate) struct PullArgs {
    /// What to fetch: [HUB/]NAME[:TAG][@DIGEST]
    reference: String,
    /// The hub: a folder, s3://…, oci://… or an alias [default: the name's own hub, else the default hub]
    #[arg(long, value_name = "HUB")]
    hub: Option<String>,
    /// Only show what would be fetched
    #[arg(long)]
    dry_run: bool,
    /// Leave the laying out of flat files to the first fork
    #[arg(long)]
    no_layout: bool,
    /// Move the local tag even if it leads to something that came from elsewhere
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(options: &Options, args: &PullArgs) -> Result<ExitCode, CliError> {
    let config = Config::load()?;
    let reference = config.reference(&args.reference)?;
    let store = context::store(options)?;
    let hub = hubs::choose(&config, &store, args.hub.as_deref(), &reference)?;
    let plan = plan(options, &store, &hub, &reference, !args.no_layout)?;
    if args.dry_run {
        output::result(options.format, &plan, || output::transfer(&head(&plan), &plan.transfer));
        return Ok(ExitCode::SUCCESS);
    }
    let fetched = fetch(options, &store, &hub, &reference, plan, args.force)?;
    output::result(options.format, &fetched.document(), || fetched.text());
    Ok(ExitCode::SUCCESS)
}

/// What a pull has brought.
pub(crate) struct Fetched {
    hub: String,
    pub(crate) name: Option<FullName>,
    pub(crate) pulled: Pulled,
    moved: u64,
    present: u64,
}

/// Finds out what is missing here of what `reference` means in `hub`.
pub(crate) fn plan(
    options: &Options,
    store: &Store,
    hub: &Hub,
    reference: &Reference,
    with_layout: bool,
) -> Result<PullPlan, CliError> {
    let which = reference.digest.map_or_else(|| Selector::Tag(reference.tag_or_default()), Selector::Digest);
    let (source, mirrors) = hubs::sources(hub, &reference.name)?;
    let registry = Arc::clone(&source.registry);
    let plan = |which: &Selector| {
        let (source, mirrors) = (source.clone(), mirrors.clone());
        let progress = Arc::new(Transfer::new(options, "planning"));
        interrupt::block_on(async {
            let plan = plan_pull_from(store, source, mirrors, which, progress).await?;
            if with_layout { plan.with_layout().await } else { Ok(plan) }
        })
    };
    plan(&which).or_else(|error| {
        let (digest, key) = variants::choose(store, &registry, &reference.name, error)?;
        progress::note(options, &format!("the variant for this host: {key}"));
        plan(&Selector::Digest(digest))
    })
}

fn head(plan: &PullPlan) -> String {
    let mut head = output::transfer_head(&plan.transfer, "from", "to fetch");
    if plan.arrived_bytes > 0 {
        head.push_str(&format!(
            ", {} of them here from an interrupted pull",
            output::size(plan.arrived_bytes)
        ));
    }
    match plan.flat_bytes {
        Some(bytes @ 1..) => format!("{head}; flat files of up to {}", output::size(bytes)),
        _ => head,
    }
}

/// Fetches it and sets its local tag.
pub(crate) fn fetch(
    options: &Options,
    store: &Store,
    hub: &Hub,
    reference: &Reference,
    plan: PullPlan,
    force: bool,
) -> Result<Fetched, CliError> {
    progress::note(options, &head(&plan));
    let name = full_name(hub, reference);
    let tag = match name.clone() {
        Some(name) => Some(TagAs { may_move: force || is_from(store, &name, &plan.transfer.hub)?, name }),
        None => None,
    };
    let transfer = &plan.transfer;
    let (place, present) = (transfer.hub.clone(), transfer.present_bytes() + plan.arrived_bytes);
    let progress = Arc::new(Transfer::new(options, "pulling"));
    let pulled = interrupt::block_on(plan.execute(tag.as_ref(), progress.clone()));
    progress.finish();
    let moved = progress.moved();
    Ok(Fetched { hub: place, name, pulled: pulled.map_err(explain)?, moved, present })
}

/// Adds what this verb offers.
fn explain(error: CliError) -> CliError {
    match error {
        CliError::Pull(error) if matches!(*error, PullError::Ref(RefError::Exists { .. })) => {
            CliError::Failed(format!("{error}: `spore pull --force` moves it"))
        }
        error => error,
    }
}

/// The local tag of what is pulled: none for a digest alone.
fn full_name(hub: &Hub, reference: &Reference) -> Option<FullName> {
    let tag = match (&reference.tag, reference.digest) {
        (None, Some(_)) => return None,
        _ => reference.tag_or_default(),
    };
    Some(FullName { hub: hub.name.clone(), name: reference.name.clone(), tag })
}

/// Whether a tag that is there came from this hub: a pull follows the hub's tag, and takes nobody else's over.
fn is_from(store: &Store, name: &FullName, hub: &str) -> Result<bool, CliError> {
    Ok(store.get_ref(name)?.is_some_and(|record| record.origin.as_deref() == Some(hub)))
}

impl Fetched {
    fn digest(&self) -> Digest {
        self.pulled.snapshot
    }

    fn document(&self) -> serde_json::Value {
        json!({
            "hub": self.hub,
            "name": self.name.as_ref().map(ToString::to_string),
            "digest": self.digest(),
            "moved_from": self.pulled.moved_from,
            "fetched_bytes": self.moved,
            "present_bytes": self.present,
        })
    }

    fn text(&self) -> String {
        let name = self.name.as_ref().map(|name| format!("{name}  ")).unwrap_or_default();
        let (fetched, present) = (output::size(self.moved), output::size(self.present));
        let before = self.pulled.moved_from.map(|before| format!("\nit was {before}")).unwrap_or_default();
        format!("{name}{}  fetched {fetched}, {present} were here{before}", self.digest())
    }
}
