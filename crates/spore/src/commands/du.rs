//! `spore du`

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::error::CliError;
use crate::options::Options;
use crate::{context, output, problems};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore du
  spore du --format json

What `images` says of each snapshot, summed up for the store. Blobs of several snapshots are there once.")]
pub(crate) struct DuArgs {}

pub(crate) fn run(options: &Options, _: &DuArgs) -> Result<ExitCode, CliError> {
    let store = context::store(options)?;
    let usage = store.usage()?;
    // With a tag or a snapshot that can't be read it is not known what is unused, which is then a problem as well.
    let unused = if usage.problems.is_empty() { Some(store.plan_prune(false)?.bytes()) } else { None };
    let free = store.free_space()?;
    let snapshots = usage.snapshots.iter().map(|one| {
        json!({
            "digest": one.digest,
            "names": one.names.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "total_bytes": one.total,
            "own_bytes": one.own,
            "shared_bytes": one.shared,
            "flat_bytes": one.flat,
        })
    });
    let document = json!({
        "root": store.root(),
        "blobs_bytes": usage.blobs,
        "flat_bytes": usage.flat,
        "cache_bytes": usage.cache,
        "partial_bytes": usage.partial,
        "prunable_bytes": unused,
        "free_bytes": free,
        "snapshots": snapshots.collect::<Vec<_>>(),
        "problems": problems::document(&usage.problems),
    });
    output::result(options.format, &document, || {
        let row = |what: &str, bytes: u64, note: &str| cells(what, output::size(bytes), note);
        let unused = unused.map_or_else(|| "?".to_owned(), output::size);
        let count = match usage.snapshots.len() {
            1 => "1 snapshot".to_owned(),
            count => format!("{count} snapshots"),
        };
        let rows = [
            row("blobs", usage.blobs, &count),
            row("flat files", usage.flat, "laid out for engines; a cache"),
            row("bake's cache", usage.cache, "bases and kernels; `spore prune --all` removes it"),
            row("broken pulls", usage.partial, "resumed by the same pull"),
            cells("unused", unused, "of these; `spore prune` removes it"),
            row("free", free, "on this filesystem"),
        ];
        let table = output::table(&["WHAT", "SIZE", ""], &rows);
        format!("{}\n{table}{}", store.root().display(), problems::text(&usage.problems))
    });
    problems::verdict(&usage.problems)
}

fn cells(what: &str, size: String, note: &str) -> Vec<String> {
    vec![what.to_owned(), size, note.to_owned()]
}
