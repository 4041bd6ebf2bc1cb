//! `spore images`

use std::collections::HashMap;
use std::process::ExitCode;

use clap::Args;
use format::{Digest, FullName};
use serde_json::json;
use store::usage::{SnapshotUsage, Usage};
use store::{RefRecord, Store};

use crate::error::CliError;
use crate::options::Options;
use crate::{context, output, problems};

mod remote;

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  spore images
  spore images --format json
  spore images --hub oci://hub.example                what a hub offers
  spore images --hub acme team/numpy team/report      under these names: some hubs do not tell which they have
  spore images --hub                                  what the default hub offers
  spore images team/numpy --hub                       under this name

SIZE is what a snapshot's blobs take; OWN the part that removing it would free: other snapshots have the rest, too. FLAT is what the files take that were laid out for engines: a cache, of which `prune --all` removes what no
sandbox uses.")]
pub(crate) struct ImagesArgs {
    /// List what a hub offers instead: a folder, a URL (oci://HOST) or an alias; without HUB the default hub
    #[arg(long, value_name = "HUB", num_args = 0..=1)]
    hub: Option<Option<String>>,
    /// Names in the hub [default: all]
    #[arg(requires = "hub", value_name = "NAME")]
    names: Vec<String>,
}

pub(crate) fn run(options: &Options, args: &ImagesArgs) -> Result<ExitCode, CliError> {
    match &args.hub {
        Some(hub) => remote::run(options, hub.as_deref(), &args.names),
        None => local(options),
    }
}

fn local(options: &Options) -> Result<ExitCode, CliError> {
    let store = context::store(options)?;
    let Usage { snapshots, problems, .. } = store.usage()?;
    let usage: HashMap<Digest, SnapshotUsage> = snapshots.into_iter().map(|one| (one.digest, one)).collect();
    // Those that can't be read are among the problems.
    let (refs, _) = store.readable_refs()?;
    let images: Vec<_> = refs.iter().map(|(name, record)| Image::new(&store, name, record, &usage)).collect();
    let document = json!({
        "images": images.iter().map(Image::document).collect::<Vec<_>>(),
        "problems": problems::document(&problems),
    });
    output::result(options.format, &document, || {
        let rows: Vec<_> = images.iter().map(Image::row).collect();
        let header = ["NAME", "TAG", "DIGEST", "CREATED", "SIZE", "OWN", "FLAT"];
        output::table(&header, &rows) + &problems::text(&problems)
    });
    problems::verdict(&problems)
}

struct Image<'a> {
    name: &'a FullName,
    record: &'a RefRecord,
    created_at: Option<String>,
    usage: Option<&'a SnapshotUsage>,
}

impl<'a> Image<'a> {
    fn new(
        store: &Store,
        name: &'a FullName,
        record: &'a RefRecord,
        usage: &'a HashMap<Digest, SnapshotUsage>,
    ) -> Self {
        let config = store
            .read_manifest(&record.digest)
            .and_then(|(manifest, _)| store.read_config(&manifest.config.digest));
        let created_at = config.ok().map(|config| config.provenance.created_at);
        Self { name, record, created_at, usage: usage.get(&record.digest) }
    }

    fn row(&self) -> Vec<String> {
        let size = |part: fn(&SnapshotUsage) -> u64| {
            self.usage.map_or_else(|| "?".to_owned(), |usage| output::size(part(usage)))
        };
        let flat = match self.usage {
            Some(SnapshotUsage { flat: 0, .. }) => "-".to_owned(),
            _ => size(|usage| usage.flat),
        };
        // To the minute; the document has all of it.
        let created = self.created_at.as_deref().unwrap_or("?").chars().take(16).collect::<String>();
        vec![
            format!("{}/{}", self.name.hub, self.name.name),
            self.name.tag.to_string(),
            self.record.digest.short(),
            created.replace('T', " "),
            size(|usage| usage.total),
            size(|usage| usage.own),
            flat,
        ]
    }

    fn document(&self) -> serde_json::Value {
        json!({
            "name": self.name.to_string(),
            "digest": self.record.digest,
            "origin": self.record.origin,
            "created_at": self.created_at,
            "total_bytes": self.usage.map(|usage| usage.total),
            "own_bytes": self.usage.map(|usage| usage.own),
            "shared_bytes": self.usage.map(|usage| usage.shared),
            "flat_bytes": self.usage.map(|usage| usage.flat),
        })
    }
}
