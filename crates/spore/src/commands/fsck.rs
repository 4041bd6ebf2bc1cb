//! `spore fsck`

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::error::CliError;
use crate::options::Options;
use crate::{context, output, problems, progress};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore fsck
  spore fsck --format json

Hashes every blob and every flat file again and reads every snapshot. It changes nothing. The exit code is 5 if
something is wrong.")]
pub(crate) struct FsckArgs {}

pub(crate) fn run(options: &Options, _: &FsckArgs) -> Result<ExitCode, CliError> {
    let store = context::store(options)?;
    let bar = progress::bytes(options, "checking");
    let report = store.fsck(&|progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
    });
    bar.finish_and_clear();
    let report = report?;
    let document = json!({
        "blobs": report.blobs,
        "flat_files": report.flats,
        "snapshots": report.snapshots,
        "problems": problems::document(&report.problems),
    });
    output::result(options.format, &document, || {
        let (blobs, flats, snapshots) = (report.blobs, report.flats, report.snapshots);
        let problems = problems::text(&report.problems);
        format!("{problems}checked: blobs {blobs}, flat files {flats}, snapshots {snapshots}")
    });
    problems::verdict(&report.problems)
}
