//! From what a hub said to its catalogue: descriptions come in one by one, and what is not shown of them is let go.

use std::collections::{BTreeMap, HashMap};

use format::manifest::annotation;
use format::{Config, Digest, Name, Tag};
use hub::describe::Description;
use serde::Serialize;

use crate::model::{
    Catalog, Engine, Machine, NameEntry, Package, Parent, Recipe, Sizes, Snapshot, TagEntry, Target, Tool,
    VERSION,
};
use crate::sizes::{Blobs, Usage, usage};
use crate::{CatalogError, Heading, Licences, Text};

/// Snapshots of one catalogue.
pub(crate) const SNAPSHOTS: usize = 4096;
/// Tags of one catalogue.
pub(crate) const TAGS: usize = 16_384;
/// Bytes of what snapshots say, as they are counted here: 60,000 for 300 packages. Twice as many are held, and less than
/// as many again are a page, so that all of it fits into 200 MB.
const BYTES: usize = 40 << 20;
/// What a package or a blob takes besides its texts.
const ITEM_BYTES: usize = 64;
/// What a tag's way to a snapshot takes, with its command or its problem.
const LEAD_BYTES: usize = 512;

/// What a hub holds, as far as it is known.
#[derive(Debug, Default)]
pub struct Listing {
    names: BTreeMap<Name, Listed>,
    snapshots: BTreeMap<Digest, (Snapshot, Blobs)>,
    tags: usize,
    bytes: usize,
}

#[derive(Debug, Default)]
struct Listed {
    tags: BTreeMap<Tag, Leads>,
    problem: Option<Text>,
}

#[derive(Debug)]
struct Leads {
    digest: Option<Digest>,
    snapshots: Vec<Digest>,
    problems: Vec<Text>,
}

impl Listing {
    /// Adds a name, and why its tags cannot be listed, if so.
    pub fn add_name(&mut self, name: Name, problem: Option<Text>) {
        self.names.entry(name).or_default().problem = problem;
    }

    /// Adds a tag with the digest that it leads to, if that is known, and for each snapshot there its digest, or what
    /// is wrong with it. The snapshots are added by [`Self::add_snapshot`], before or after.
    ///
    /// # Errors
    /// [`CatalogError::TooLarge`] if that is more than a catalogue holds.
    pub fn add_tag(
        &mut self,
        name: &Name,
        tag: Tag,
        digest: Option<Digest>,
        leads_to: impl IntoIterator<Item = Result<Digest, Text>>,
    ) -> Result<(), CatalogError> {
        let mut leads = Leads { digest, snapshots: Vec::new(), problems: Vec::new() };
        for snapshot in leads_to {
            match snapshot {
                Ok(digest) => leads.snapshots.push(digest),
                Err(problem) => leads.problems.push(problem),
            }
        }
        self.tags += 1;
        if self.tags > TAGS {
            return Err(CatalogError::TooLarge { what: "tags", limit: TAGS });
        }
        self.hold((leads.snapshots.len() + leads.problems.len()) * LEAD_BYTES)?;
        self.names.entry(name.clone()).or_default().tags.insert(tag, leads);
        Ok(())
    }

    /// Adds a snapshot; one that is there already is left as it is.
    ///
    /// # Errors
    /// [`CatalogError::TooLarge`] if that is more than a catalogue holds.
    pub fn add_snapshot(&mut self, description: &Description) -> Result<(), CatalogError> {
        if self.snapshots.contains_key(&description.digest) {
            return Ok(());
        }
        let (snapshot, blobs) = (snapshot(description), Blobs::new(description));
        self.hold(bytes(&snapshot) + blobs.count() * ITEM_BYTES)?;
        if self.snapshots.len() >= SNAPSHOTS {
            return Err(CatalogError::TooLarge { what: "snapshots", limit: SNAPSHOTS });
        }
        self.snapshots.insert(description.digest, (snapshot, blobs));
        Ok(())
    }

    fn hold(&mut self, bytes: usize) -> Result<(), CatalogError> {
        self.bytes += bytes;
        if self.bytes > BYTES {
            return Err(CatalogError::TooLarge { what: "bytes of what it says", limit: BYTES });
        }
        Ok(())
    }

    /// The catalogue of all that was added.
    #[must_use]
    pub fn finish(self, heading: &Heading) -> Catalog {
        let (mut snapshots, blobs): (Vec<_>, Vec<_>) = self.snapshots.into_values().unzip();
        let (usage, bytes) = usage(&blobs);
        let names = names(self.names, heading);
        let mut known = HashMap::<Digest, String>::new();
        for (name, tag, target) in names.iter().flat_map(targets) {
            known.entry(target.digest).or_insert_with(|| format!("{name}:{tag}"));
        }
        for (snapshot, Usage { sizes, shared_with, shared_with_more }) in snapshots.iter_mut().zip(usage) {
            snapshot.sizes = sizes;
            snapshot.shared_with = shared_with;
            snapshot.shared_with_more = shared_with_more;
            if let Some(parent) = &mut snapshot.parent {
                parent.name = known.get(&parent.digest).cloned();
            }
        }
        Catalog {
            version: VERSION,
            title: heading.title().clone(),
            hub: heading.hub().to_owned(),
            bytes,
            names,
            snapshots,
        }
    }
}

fn targets(entry: &NameEntry) -> impl Iterator<Item = (&Name, &Tag, &Target)> {
    entry.tags.iter().flat_map(|tag| tag.snapshots.iter().map(|target| (&entry.name, &tag.tag, target)))
}

fn names(listed: BTreeMap<Name, Listed>, heading: &Heading) -> Vec<NameEntry> {
    let entry = |(name, Listed { tags, problem }): (Name, Listed)| {
        let tags = tags.into_iter().map(|(tag, leads)| tag_entry(&name, tag, leads, heading)).collect();
        NameEntry { name, tags, problem }
    };
    listed.into_iter().map(entry).collect()
}

fn tag_entry(name: &Name, tag: Tag, leads: Leads, heading: &Heading) -> TagEntry {
    let Leads { digest, snapshots, problems } = leads;
    let is_one = snapshots.len() == 1 && problems.is_empty();
    let target = |digest| Target { digest, pull: heading.pull(&format!("{name}:{tag}@{digest}")) };
    TagEntry {
        pull: is_one.then(|| heading.pull(&format!("{name}:{tag}"))),
        snapshots: snapshots.into_iter().map(target).collect(),
        tag,
        digest,
        problems,
    }
}

/// What is shown of a snapshot; what it shares is not known yet.
fn snapshot(description: &Description) -> Snapshot {
    let Description { digest, manifest, config, .. } = description;
    let Config { machine, engine, provenance, lineage, .. } = config;
    let says = |key: &str| manifest.annotations.get(key).map(String::as_str);
    let created = provenance.created_at.parse::<jiff::Timestamp>().ok();
    let package = |package: &format::config::Package| Package {
        name: Text::new(&package.name),
        version: Text::new(&package.version),
        licences: package.licences.iter().filter_map(|licence| Text::some(licence)).collect(),
        source: Text::new(&package.source),
        source_version: Text::new(&package.source_version),
    };
    let tool =
        |(name, version): (&String, &String)| Tool { name: Text::new(name), version: Text::new(version) };
    Snapshot {
        digest: *digest,
        title: says(annotation::TITLE).and_then(Text::some),
        created: created.map(|time| time.to_string()),
        recipe: provenance.recipe.as_ref().map(|recipe| Recipe {
            name: Text::new(&recipe.name),
            version: Text::new(&recipe.version),
            digest: recipe.digest,
        }),
        base: says(annotation::BASE_NAME).and_then(Text::some),
        sizes: Sizes::default(),
        shared_with: Vec::new(),
        shared_with_more: 0,
        machine: Machine {
            architecture: word(&config.architecture),
            vcpus: machine.vcpus,
            memory: machine.memory_size(),
            disks: config.disks.iter().fold(0, |sum: u64, disk| sum.saturating_add(disk.size)),
        },
        engine: Engine {
            kind: word(&engine.kind),
            version: Text::new(&engine.version),
            machine_type: Text::new(&engine.machine_type),
            accelerator: word(&engine.accelerator),
            cpu: Text::new(&engine.cpu.model),
            cpu_features: engine.cpu.features.iter().map(|feature| Text::new(feature)).collect(),
        },
        parent: lineage.parent.map(|digest| Parent { digest, name: None }),
        licences: Licences::new(says(annotation::LICENSES), &provenance.packages),
        packages: provenance.packages.iter().map(package).collect(),
        kernel_version: Text::new(&provenance.kernel_version),
        agent_version: Text::new(&provenance.agent_version),
        tools: provenance.tools.iter().map(tool).collect(),
    }
}

/// An item of an enumeration, as it is persisted: which engines and architectures there are is not for this crate to
/// know.
fn word(item: &impl Serialize) -> Text {
    let item = serde_json::to_value(item).ok();
    Text::new(item.as_ref().and_then(serde_json::Value::as_str).unwrap_or("?"))
}

/// Roughly what the lists of a snapshot take.
fn bytes(snapshot: &Snapshot) -> usize {
    let package = |package: &Package| {
        let texts = [&package.name, &package.version, &package.source, &package.source_version];
        let licences = package.licences.iter().map(|licence| licence.escaped_len() + ITEM_BYTES / 2);
        ITEM_BYTES + texts.iter().map(|text| text.escaped_len()).sum::<usize>() + licences.sum::<usize>()
    };
    let tool = |tool: &Tool| ITEM_BYTES + tool.name.escaped_len() + tool.version.escaped_len();
    let packages: usize = snapshot.packages.iter().map(package).sum();
    packages + snapshot.tools.iter().map(tool).sum::<usize>()
}
