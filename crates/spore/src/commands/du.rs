//! `spore du`

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::cli::Options;
use crate::error::CliError;
use crate::{context, output};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore du
  spore du --format json

What `images` says of each snapshot, summed up for the store. Blobs of several snapshots are there once.")]
pub(crate) struct DuArgs {}

pub(crate) fn run(options: &Options, _: &DuArgs) -> Result<ExitCode, CliError> {
    let store = context::store(options)?;
    let usage = store.usage()?;
    let unused = store.plan_prune(false)?.bytes();
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
    });
    output::result(options.format, &document, || {
        let row = |what: &str, bytes, note: &str| vec![what.to_owned(), output::size(bytes), note.to_owned()];
        let count = match usage.snapshots.len() {
            1 => "1 snapshot".to_owned(),
            count => format!("{count} snapshots"),
        };
        let rows = [
            row("blobs", usage.blobs, &count),
            row("flat files", usage.flat, "laid out for engines; a cache"),
            row("bake's cache", usage.cache, "bases and kernels; `spore prune --all` removes it"),
            row("broken pulls", usage.partial, "resumed by the same pull"),
            row("unused", unused, "of these; `spore prune` removes it"),
            row("free", free, "on this filesystem"),
        ];
        format!("{}\n{}", store.root().display(), output::table(&["WHAT", "SIZE", ""], &rows))
    });
    Ok(ExitCode::SUCCESS)
}
