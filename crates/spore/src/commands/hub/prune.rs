//! `spore hub prune`

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use hub::prune::{MIN_GRACE, Stored};
use hub::{PruneError, PrunePlan, Pruned, plan_prune};
use serde_json::json;

use crate::config::Config;
use crate::error::CliError;
use crate::options::Options;
use crate::values::parse_duration;
use crate::{hubs, interrupt, output, progress};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore hub prune s3://snapshots --dry-run       what no tag there leads to
  spore hub prune acme                           acme is an alias in the configuration
  spore hub prune /srv/hub --grace 30d

What a tag leads to stays, and all that is younger than the grace. While others push, let the grace be a week or more.
Registries collect by themselves.")]
pub(crate) struct PruneArgs {
    /// The hub: a folder, s3://… or an alias [default: the default hub]
    hub: Option<String>,
    /// How old it must be
    #[arg(long, value_name = "TIME", default_value = "7d", value_parser = parse_duration)]
    grace: Duration,
    /// Allow a grace below an hour: of a push that is under way it removes what was sent already
    #[arg(long)]
    nobody_pushes: bool,
    /// Only show what would be removed
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(options: &Options, args: &PruneArgs) -> Result<ExitCode, CliError> {
    if args.grace < MIN_GRACE && !args.nobody_pushes {
        return Err(CliError::Usage(
            "a grace below an hour takes from a push that is under way what it has sent: add --nobody-pushes if \
             nobody does"
                .to_owned(),
        ));
    }
    let hub = hubs::named(&Config::load()?, args.hub.as_deref())?;
    let registry = hub::open(&hub.location, &hubs::access()?)?;
    let (unneeded, kept_bytes, pruned) = interrupt::block_on(async {
        let plan = plan_prune(&*registry, args.grace).await?;
        progress::note(options, &head(&plan));
        let (unneeded, kept_bytes) = (plan.unneeded.clone(), plan.kept_bytes);
        let pruned = if args.dry_run { None } else { Some(plan.execute().await?) };
        Ok::<_, PruneError>((unneeded, kept_bytes, pruned))
    })?;
    let bytes = unneeded.iter().fold(0_u64, |sum, stored| sum.saturating_add(stored.size));
    let document = json!({
        "hub": registry.location(),
        "dry_run": args.dry_run,
        "plan": { "items": unneeded.iter().map(item).collect::<Vec<_>>(), "bytes": bytes, "kept_bytes": kept_bytes },
        "removed": pruned.map(|pruned| pruned.removed),
        "freed_bytes": pruned.map(|pruned| pruned.freed_bytes),
        "kept": pruned.map(|pruned| pruned.kept),
    });
    output::result(options.format, &document, || describe(&unneeded, bytes, pruned));
    Ok(ExitCode::SUCCESS)
}

fn head(plan: &PrunePlan<'_>) -> String {
    let (count, kept) = (plan.unneeded.len(), output::size(plan.kept_bytes));
    format!("{count} objects, {}, are needed by no tag; {kept} stay", output::size(plan.bytes()))
}

fn item(stored: &Stored) -> serde_json::Value {
    json!({ "item": stored.object.to_string(), "bytes": stored.size })
}

fn describe(unneeded: &[Stored], bytes: u64, pruned: Option<Pruned>) -> String {
    let Some(Pruned { removed, freed_bytes, kept }) = pruned else {
        let row = |stored: &Stored| vec![output::size(stored.size), stored.object.to_string()];
        let rows: Vec<_> = unneeded.iter().map(row).collect();
        let table = if rows.is_empty() { String::new() } else { output::table(&["SIZE", "WHAT"], &rows) };
        return format!("{table}would free {}", output::size(bytes));
    };
    let mut text = format!("removed {removed}, freed {}", output::size(freed_bytes));
    if kept > 0 {
        text.push_str(&format!("; {kept} are needed by now, or gone, and were left"));
    }
    text
}
