//! `spore prune`

use std::process::ExitCode;

use clap::Args;
use sandbox::{Sandbox, Status, kill_all, list};
use serde_json::json;
use store::prune::PrunePlan;

use crate::error::CliError;
use crate::options::Options;
use crate::{context, output, progress};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore prune --dry-run
  spore prune
  spore prune --all

Removes what no tag, no sandbox and no running command needs, and what dead sandboxes have left: their logs too. With
--all, the next fork of a snapshot lays its files out again, and the next bake makes its base again.")]
pub(crate) struct PruneArgs {
    /// Only show what would be removed
    #[arg(long)]
    dry_run: bool,
    /// Also what is kept only to make the next fork or bake faster, unless a sandbox uses it
    #[arg(long)]
    all: bool,
}

pub(crate) fn run(options: &Options, args: &PruneArgs) -> Result<ExitCode, CliError> {
    let store = context::store(options)?;
    let mut dead = list(&store)?;
    dead.retain(|sandbox| matches!(sandbox.status, Status::Dead { .. }));
    if !args.dry_run {
        // Before the plan: what only they needed can go too.
        kill_all(&store, &dead)?;
    }
    let plan = store.plan_prune(args.all)?;
    let mut document = json!({
        "dry_run": args.dry_run,
        "plan": {
            "sandboxes": dead.iter().map(|sandbox| sandbox.id.as_str()).collect::<Vec<_>>(),
            "items": items(&plan),
            "bytes": plan.bytes(),
        },
    });
    let mut text = describe(&dead, &plan);
    let mut stuck = Vec::new();
    if args.dry_run {
        text.push_str(&format!("would free {}", output::size(plan.bytes())));
    } else {
        let wait = &mut || progress::note(options, "another prune is at work: waiting for it");
        let report = store.prune(&plan, wait)?;
        let removed = report.removed + dead.len();
        if let Some(document) = document.as_object_mut() {
            document.insert("removed".into(), removed.into());
            document.insert("freed_bytes".into(), report.bytes.into());
            document.insert("kept".into(), report.kept.into());
            document.insert("stuck".into(), report.stuck.iter().map(ToString::to_string).collect());
        }
        text.push_str(&format!("removed {removed}, freed {}", output::size(report.bytes)));
        if report.kept > 0 {
            text.push_str(&format!("; {} are in use by now and were kept", report.kept));
        }
        stuck = report.stuck;
    }
    output::result(options.format, &document, || text);
    match stuck.as_slice() {
        [] => Ok(ExitCode::SUCCESS),
        [first, ..] => {
            let count = stuck.len();
            Err(CliError::Failed(format!(
                "{count} that nothing needs could not be removed, such as: {first}"
            )))
        }
    }
}

fn items(plan: &PrunePlan) -> Vec<serde_json::Value> {
    let item = |candidate: &store::prune::Candidate| {
        json!({
            "item": candidate.item.to_string(),
            "why": candidate.why.to_string(),
            "bytes": candidate.bytes,
        })
    };
    plan.candidates.iter().map(item).collect()
}

fn describe(dead: &[Sandbox], plan: &PrunePlan) -> String {
    let dead = dead
        .iter()
        .map(|sandbox| vec!["-".to_owned(), format!("sandbox {}", sandbox.id), sandbox.status.to_string()]);
    let items = plan.candidates.iter().map(|candidate| {
        vec![output::size(candidate.bytes), candidate.item.to_string(), candidate.why.to_string()]
    });
    let rows: Vec<_> = dead.chain(items).collect();
    if rows.is_empty() { String::new() } else { output::table(&["SIZE", "WHAT", "WHY"], &rows) }
}
