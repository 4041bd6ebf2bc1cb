//! `spore hub index`

use std::fs::Permissions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};

use catalog::{Catalog, CatalogError, Heading};
use clap::Args;
use hub::{Page, Registry};
use indicatif::ProgressBar;
use serde_json::json;

use crate::config::Config;
use crate::error::{CliError, Doing};
use crate::options::Options;
use crate::{hubs, interrupt, output, progress};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore hub index /srv/hub --url https://hub.example  the hub is served at that address
  spore hub index acme --title 'Acme machines'        acme is an alias in the configuration
  spore hub index --dry-run                           of the default hub: only what would be written
  spore hub index oci://hub.example --output site/    a registry takes no pages: into a folder

What it lists has passed the checks of a pull. A tag that has not is listed with what is wrong, the pages are written all
the same, and the exit code is 5. The same hub gives the same bytes.")]
pub(crate) struct IndexArgs {
    /// The hub: a folder, a URL or an alias [default: the default hub]
    #[arg(value_name = "HUB")]
    hub: Option<String>,
    /// Where pullers find it, for the commands on the page [default: the hub's own location]
    #[arg(long)]
    url: Option<String>,
    /// What stands above the page
    #[arg(long, default_value = "Snapshots")]
    title: String,
    /// Write the pages to this folder and nothing to the hub
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Do nothing, and do not fail, where the hub takes no pages: for scripts that publish to any hub
    #[arg(long, conflicts_with = "output")]
    where_possible: bool,
    /// Only show what would be written
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(options: &Options, args: &IndexArgs) -> Result<ExitCode, CliError> {
    let registry = open(args)?;
    let heading = match &args.url {
        Some(url) => Heading::at_url(&args.title, url)?,
        None => Heading::new(&args.title, registry.location())?,
    };
    if registry.site().is_none() && args.output.is_none() {
        if args.where_possible {
            report_nothing(options, registry.location());
            return Ok(ExitCode::SUCCESS);
        }
        return Err(CliError::Usage(format!(
            "{} takes no pages, as hubs in folders and buckets do: give --output DIR to write them to a folder",
            registry.location()
        )));
    }
    let steps = Steps { options, bar: OnceLock::new() };
    let listing = interrupt::block_on(catalog::read(Arc::clone(&registry), &steps));
    steps.finish();
    let catalog = listing?.finish(&heading);
    let place = match &args.output {
        Some(folder) => folder.display().to_string(),
        None => registry.location().to_owned(),
    };
    let sizes = put(args, &*registry, &catalog)?;
    report(options, args, &catalog, &place, &sizes);
    verdict(&catalog)
}

/// Makes the pages and puts them where they are to be; gives their names and sizes.
fn put(
    args: &IndexArgs,
    registry: &dyn Registry,
    catalog: &Catalog,
) -> Result<Vec<(&'static str, usize)>, CliError> {
    let mut sizes = Vec::new();
    // One after the other: they may be large.
    for page in [Page::Catalog, Page::Html] {
        let bytes = match page {
            Page::Catalog => catalog.to_json().map_err(CatalogError::from)?,
            Page::Html => catalog::html(catalog)?.into_bytes(),
        };
        sizes.push((page.file_name(), bytes.len()));
        match (&args.output, registry.site()) {
            _ if args.dry_run => {}
            (Some(folder), _) => write(folder, page, &bytes)?,
            (None, Some(site)) => interrupt::block_on(site.put_page(page, bytes))?,
            (None, None) => {}
        }
    }
    if let Some(site) = registry.site().filter(|_| !args.dry_run && args.output.is_none()) {
        interrupt::block_on(site.refresh_index())?;
    }
    Ok(sizes)
}

fn open(args: &IndexArgs) -> Result<Arc<dyn Registry>, CliError> {
    let config = Config::load()?;
    let hub = match &args.hub {
        Some(hub) => config.hub(hub)?,
        None => config.default_hub()?.ok_or_else(|| {
            CliError::Usage(format!("no hub is named: give HUB, or set default_hub in {}", config.place()))
        })?,
    };
    Ok(hub::open(&hub.location, &hubs::access()?)?)
}

/// Into a folder that a web server may be reading: whole or not at all.
fn write(folder: &Path, page: Page, bytes: &[u8]) -> Result<(), CliError> {
    std::fs::create_dir_all(folder).doing(format!("make {}", folder.display()))?;
    let path = folder.join(page.file_name());
    let written = tempfile::Builder::new().permissions(Permissions::from_mode(0o666)).tempfile_in(folder);
    let written = written.and_then(|mut file| {
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(&path)?;
        std::fs::File::open(folder)?.sync_all()
    });
    written.doing(format!("write {}", path.display()))
}

fn report(options: &Options, args: &IndexArgs, catalog: &Catalog, place: &str, sizes: &[(&str, usize)]) {
    let tags: usize = catalog.names.iter().map(|entry| entry.tags.len()).sum();
    let document = json!({
        "hub": catalog.hub,
        "written_to": (!args.dry_run).then_some(place),
        "names": catalog.names.len(),
        "tags": tags,
        "snapshots": catalog.snapshots.len(),
        "bytes": catalog.bytes,
        "pages": sizes.iter().map(|(name, bytes)| json!({ "name": name, "bytes": bytes })).collect::<Vec<_>>(),
        "problems": catalog.problems().collect::<Vec<_>>(),
    });
    output::result(options.format, &document, || {
        let files: Vec<_> =
            sizes.iter().map(|(name, bytes)| format!("{name} {}", output::size(*bytes as u64))).collect();
        let act = if args.dry_run { "would be written" } else { "written" };
        let mut text = format!(
            "{}, {}, {}, {}\n{act} to {place}: {}\n",
            counted(catalog.names.len(), "name"),
            counted(tags, "tag"),
            counted(catalog.snapshots.len(), "snapshot"),
            output::size(catalog.bytes),
            files.join(", ")
        );
        if args.url.is_none() {
            text.push_str(&format!(
                "its commands say --hub {}: give --url if others find it elsewhere\n",
                catalog.hub
            ));
        }
        text
    });
}

fn report_nothing(options: &Options, hub: &str) {
    let document = json!({ "hub": hub, "written_to": null, "pages": [] });
    output::result(options.format, &document, || format!("{hub} takes no pages: nothing is written"));
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// How it ends: one bad tag hides no other, and is not passed over.
fn verdict(catalog: &Catalog) -> Result<ExitCode, CliError> {
    const NAMED: usize = 20;
    let problems: Vec<_> = catalog.problems().collect();
    if problems.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let mut text = format!("what {} of the hub's tags lead to cannot be pulled:", problems.len());
    for problem in problems.iter().take(NAMED) {
        text.push_str(&format!("\n  {problem}"));
    }
    if problems.len() > NAMED {
        text.push_str(&format!("\n  and {} more, which the page lists", problems.len() - NAMED));
    }
    Err(CliError::Verification(text))
}

/// A bar of the tags and snapshots that are read.
struct Steps<'a> {
    options: &'a Options,
    /// From when there is something to count.
    bar: OnceLock<ProgressBar>,
}

impl Steps<'_> {
    fn finish(&self) {
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}

impl catalog::Progress for Steps<'_> {
    fn steps(&self, count: usize) {
        let count = count as u64;
        self.bar.get_or_init(|| progress::counter(self.options, count, "reading")).set_length(count);
    }

    fn step(&self) {
        if let Some(bar) = self.bar.get() {
            bar.inc(1);
        }
    }
}
