//! The catalogue of a hub, as `catalog.json` holds it (docs/hub.md, "Catalogue").
//!
//! All texts that come from snapshots are [`Text`]; names, tags and digests have their own grammar.

use std::io;

use format::{Digest, Name, Tag};
use serde::{Deserialize, Serialize};

use crate::{Licences, Text};

/// The version of the document.
pub const VERSION: u32 = 0;

/// What a hub offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    /// [`VERSION`].
    pub version: u32,
    /// What it is called.
    pub title: Text,
    /// The hub, as `spore pull --hub` takes it.
    pub hub: String,
    /// Bytes of all blobs of the snapshots below, each once.
    pub bytes: u64,
    /// What the hub has under names, sorted.
    pub names: Vec<NameEntry>,
    /// All snapshots that tags lead to, sorted by digest.
    pub snapshots: Vec<Snapshot>,
}

/// A name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameEntry {
    /// The name.
    pub name: Name,
    /// Its tags, sorted.
    pub tags: Vec<TagEntry>,
    /// Why its tags cannot be listed, if so.
    pub problem: Option<Text>,
}

/// A tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagEntry {
    /// The tag.
    pub tag: Tag,
    /// The manifest or image index that it leads to, if that could be found out.
    pub digest: Option<Digest>,
    /// The command that pulls it; only there if the tag leads to exactly one snapshot.
    pub pull: Option<String>,
    /// The snapshot, or each variant of it, that can be pulled.
    pub snapshots: Vec<Target>,
    /// What is wrong with what it leads to.
    pub problems: Vec<Text>,
}

/// A snapshot that a tag leads to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its digest: one of [`Catalog::snapshots`].
    pub digest: Digest,
    /// The command that pulls exactly this one.
    pub pull: String,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its digest.
    pub digest: Digest,
    /// What its maker calls it.
    pub title: Option<Text>,
    /// When it was made: RFC 3339, UTC.
    pub created: Option<String>,
    /// The recipe that it was baked from.
    pub recipe: Option<Recipe>,
    /// What it was made from.
    pub base: Option<Text>,
    /// What it takes.
    pub sizes: Sizes,
    /// The snapshots that it shares the most with, that with the most first; of equal ones by digest.
    pub shared_with: Vec<Shared>,
    /// How many more there are.
    pub shared_with_more: usize,
    /// The guest's machine.
    pub machine: Machine,
    /// What it runs on.
    pub engine: Engine,
    /// The snapshot whose fork this one was.
    pub parent: Option<Parent>,
    /// Its licences.
    pub licences: Licences,
    /// What was installed in it.
    pub packages: Vec<Package>,
    /// The guest's kernel.
    pub kernel_version: Text,
    /// Spore's agent in it.
    pub agent_version: Text,
    /// What made it.
    pub tools: Vec<Tool>,
}

/// A recipe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recipe {
    /// Its name.
    pub name: Text,
    /// Its version.
    pub version: Text,
    /// The digest of its file.
    pub digest: Digest,
}

/// Bytes. `own` and `shared` are all, and so are `memory`, `disks` and `other`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sizes {
    /// All of its blobs, the manifest included: what a pull into an empty store fetches.
    pub total: u64,
    /// Of these, blobs that no other snapshot in the catalogue has.
    pub own: u64,
    /// Of these, blobs that others have too.
    pub shared: u64,
    /// The memory: its map, and the frames that it names.
    pub memory: u64,
    /// The disks: their maps, and the frames that only they name.
    pub disks: u64,
    /// The rest: device state, kernel, initrd, attachments, config, manifest.
    pub other: u64,
}

/// What is shared with another snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shared {
    /// The other one.
    pub digest: Digest,
    /// Bytes of the blobs that both have.
    pub bytes: u64,
}

/// The guest's machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// Processor architecture, in OCI's spelling.
    pub architecture: Text,
    /// Virtual CPUs.
    pub vcpus: u32,
    /// Bytes of memory.
    pub memory: u64,
    /// Bytes of all disks, as the guest sees them.
    pub disks: u64,
}

/// What a snapshot runs on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Engine {
    /// Which VMM.
    pub kind: Text,
    /// The version of it that froze the snapshot.
    pub version: Text,
    /// Its versioned machine type.
    pub machine_type: Text,
    /// What runs the guest's instructions.
    pub accelerator: Text,
    /// The CPU baseline: what a host's CPU must offer, by the model's name.
    pub cpu: Text,
    /// Features that are added to the model and taken from it.
    pub cpu_features: Vec<Text>,
}

/// Where a snapshot comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its digest.
    pub digest: Digest,
    /// Where it is in this hub, `NAME:TAG`, if it is there: the first of them.
    pub name: Option<String>,
}

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub name: Text,
    /// Its version.
    pub version: Text,
    /// The licences that it declares.
    pub licences: Vec<Text>,
    /// Where its source is: a source package's name, or a URL.
    pub source: Text,
    /// Its version there, which may differ from the package's.
    pub source_version: Text,
}

/// A tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tool {
    /// Its name.
    pub name: Text,
    /// Its version.
    pub version: Text,
}

impl Catalog {
    /// The snapshot `digest`.
    #[must_use]
    pub fn snapshot(&self, digest: &Digest) -> Option<&Snapshot> {
        let found = self.snapshots.binary_search_by_key(digest, |snapshot| snapshot.digest).ok()?;
        self.snapshots.get(found)
    }

    /// What of the hub could not be read, as `NAME:TAG: what is wrong`, or `NAME: …` where its tags cannot be listed.
    pub fn problems(&self) -> impl Iterator<Item = String> {
        self.names.iter().flat_map(|entry| {
            let name = &entry.name;
            let of_name = entry.problem.iter().map(move |problem| format!("{name}: {problem}"));
            let of_tags = entry.tags.iter().flat_map(move |TagEntry { tag, problems, .. }| {
                problems.iter().map(move |problem| format!("{name}:{tag}: {problem}"))
            });
            of_name.chain(of_tags)
        })
    }

    /// The document: JSON, one name, tag, snapshot and package a line, the same for the same hub.
    ///
    /// # Errors
    /// Never: every key is a text.
    pub fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, Lines::default()))?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// Breaks lines where `diff` and people want them, and indents nothing: a hub may have 60,000 packages.
#[derive(Debug, Default)]
struct Lines {
    depth: usize,
}

impl Lines {
    /// Of arrays in arrays in arrays, such as the licences of a package, all items are on one line.
    const BROKEN: usize = 2;
}

impl serde_json::ser::Formatter for Lines {
    fn begin_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth += 1;
        out.write_all(b"[")
    }

    fn end_array<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        self.depth -= 1;
        out.write_all(b"]")
    }

    fn begin_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        out.write_all(if first { b"" } else { b"," })?;
        out.write_all(if self.depth <= Self::BROKEN { b"\n" } else { b"" })
    }
}
