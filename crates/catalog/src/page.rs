//! The catalogue as one HTML file. It reads in full without a script; with its own, one can search and copy.
//!
//! Nothing is loaded from anywhere: styles and script are in the file, and the policy in its head allows these two by
//! their hashes and nothing else. Every text goes through the template engine's escaping; none is marked as safe but
//! those two.

use std::collections::HashMap;

use askama::Template;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use format::{Digest, Name, Tag};

use crate::model::{Catalog, NameEntry, Package, Shared, Snapshot, TagEntry, Target};
use crate::{CatalogError, FamilyCount, Text};

const STYLE: &str = include_str!("../templates/style.css");
const SCRIPT: &str = include_str!("../templates/script.js");

/// What is shown of a name before its older snapshots are folded away.
const UNFOLDED: usize = 3;

/// The page.
///
/// # Errors
/// Never: it is written to memory.
pub fn html(catalog: &Catalog) -> Result<String, CatalogError> {
    let mut anchors = HashMap::new();
    for entry in &catalog.names {
        for tag in &entry.tags {
            for target in &tag.snapshots {
                anchors.entry(target.digest).or_insert_with(|| format!("{}:{}", entry.name, tag.tag));
            }
        }
    }
    Ok(Page::new(&Shelf { catalog, anchors }).render()?)
}

/// The catalogue, and where on the page each snapshot stands: at the first name and tag that lead to it.
struct Shelf<'a> {
    catalog: &'a Catalog,
    anchors: HashMap<Digest, String>,
}

#[derive(Template)]
#[template(path = "index.html")]
struct Page<'a> {
    catalog: &'a Catalog,
    names: Vec<NameView<'a>>,
    broken: Vec<String>,
    style: &'static str,
    script: &'static str,
    policy: String,
}

impl<'a> Page<'a> {
    fn new(shelf: &'a Shelf<'a>) -> Self {
        let policy = format!(
            "default-src 'none'; style-src '{}'; script-src '{}'; img-src data:; base-uri 'none'; form-action 'none'",
            hash(STYLE),
            hash(SCRIPT)
        );
        let catalog = shelf.catalog;
        let names = catalog.names.iter().map(|entry| NameView::new(shelf, entry)).collect();
        Self { catalog, names, broken: broken(catalog), style: STYLE, script: SCRIPT, policy }
    }

    fn summary(&self) -> String {
        let Catalog { names, snapshots, bytes, .. } = self.catalog;
        let newest = snapshots.iter().filter_map(|snapshot| snapshot.created.as_deref()).max();
        let newest = newest.map(|created| format!(" · newest of {}", day(created))).unwrap_or_default();
        let (names, snapshots) = (counted(names.len(), "name"), counted(snapshots.len(), "snapshot"));
        format!("{names} · {snapshots} · {}{newest}", size(*bytes))
    }
}

/// Where on the page it is said what cannot be pulled.
fn broken(catalog: &Catalog) -> Vec<String> {
    let of_entry = |entry: &NameEntry| {
        let name = &entry.name;
        let of_name = entry.problem.is_some().then(|| format!("name/{name}"));
        let tags = entry.tags.iter().filter(|tag| !tag.problems.is_empty());
        of_name.into_iter().chain(tags.map(|tag| anchor(entry, tag))).collect::<Vec<_>>()
    };
    catalog.names.iter().flat_map(of_entry).collect()
}

/// Where on the page a tag stands: with the first of those that lead to the same.
fn anchor(entry: &NameEntry, tag: &TagEntry) -> String {
    let first = entry.tags.iter().find(|other| tag.digest.is_some() && other.digest == tag.digest);
    format!("{}:{}", entry.name, first.unwrap_or(tag).tag)
}

/// As a content security policy names what it allows (CSP Level 3, "hash-source").
fn hash(content: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Digest::of(content.as_bytes()).as_bytes()))
}

struct NameView<'a> {
    name: &'a Name,
    problem: Option<&'a Text>,
    recent: Vec<Release<'a>>,
    older: Vec<Release<'a>>,
}

impl<'a> NameView<'a> {
    fn new(shelf: &'a Shelf<'a>, entry: &'a NameEntry) -> Self {
        let mut recent: Vec<Release<'a>> = Vec::new();
        for tag in &entry.tags {
            let same =
                |release: &&mut Release<'_>| tag.digest.is_some() && release.entry.digest == tag.digest;
            match recent.iter_mut().find(same) {
                Some(release) => release.tags.push(&tag.tag),
                None => recent.push(Release::new(shelf, &entry.name, tag)),
            }
        }
        // Stable: those of the same time stay in the order of their first tags.
        recent.sort_by(|a, b| b.created().cmp(&a.created()));
        let older = recent.split_off(UNFOLDED.min(recent.len()));
        Self { name: &entry.name, problem: entry.problem.as_ref(), recent, older }
    }
}

/// What one tag leads to, or several.
struct Release<'a> {
    id: String,
    entry: &'a TagEntry,
    tags: Vec<&'a Tag>,
    variants: Vec<Variant<'a>>,
}

impl<'a> Release<'a> {
    fn new(shelf: &'a Shelf<'a>, name: &Name, entry: &'a TagEntry) -> Self {
        let variant = |target: &'a Target| {
            Some(Variant { shelf, target, snapshot: shelf.catalog.snapshot(&target.digest)? })
        };
        Self {
            id: format!("{name}:{}", entry.tag),
            entry,
            tags: vec![&entry.tag],
            variants: entry.snapshots.iter().filter_map(variant).collect(),
        }
    }

    fn created(&self) -> Option<&str> {
        self.variants.iter().filter_map(|variant| variant.snapshot.created.as_deref()).max()
    }

    fn created_day(&self) -> Option<&str> {
        self.created().map(day)
    }
}

struct Variant<'a> {
    shelf: &'a Shelf<'a>,
    target: &'a Target,
    snapshot: &'a Snapshot,
}

/// A snapshot elsewhere on the page.
struct Link<'a> {
    /// Its name and tag, if it is in this hub.
    id: Option<&'a str>,
    digest: String,
    bytes: String,
}

impl Variant<'_> {
    fn total(&self) -> String {
        size(self.snapshot.sizes.total)
    }

    fn own(&self) -> String {
        size(self.snapshot.sizes.own)
    }

    fn shared(&self) -> String {
        size(self.snapshot.sizes.shared)
    }

    fn sharing(&self) -> String {
        let Snapshot { shared_with, shared_with_more, .. } = self.snapshot;
        counted(shared_with.len() + shared_with_more, "other")
    }

    fn parts(&self) -> [(&'static str, String); 3] {
        let sizes = self.snapshot.sizes;
        [("memory", size(sizes.memory)), ("disks", size(sizes.disks)), ("rest", size(sizes.other))]
    }

    /// Where each part begins and how much it takes of a bar of 1000.
    fn bar(&self) -> [(&'static str, u128, u128); 3] {
        let sizes = self.snapshot.sizes;
        let share = |bytes: u64| u128::from(bytes) * 1000 / u128::from(sizes.total.max(1));
        let (memory, disks) = (share(sizes.memory), share(sizes.disks));
        let rest = 1000_u128.saturating_sub(memory + disks);
        [("memory", 0, memory), ("disks", memory, disks), ("rest", memory + disks, rest)]
    }

    fn machine(&self) -> String {
        let machine = &self.snapshot.machine;
        let (vcpus, memory, disks) =
            (counted(machine.vcpus as usize, "vCPU"), size(machine.memory), size(machine.disks));
        format!("{vcpus}, {memory} of memory, {disks} of disks")
    }

    fn cpu_features(&self) -> String {
        self.snapshot.engine.cpu_features.iter().map(Text::as_str).collect::<Vec<_>>().join(" ")
    }

    fn package_count(&self) -> String {
        counted(self.snapshot.packages.len(), "package")
    }

    fn families(&self) -> Vec<(String, usize)> {
        let families = &self.snapshot.licences.families;
        families.iter().map(|FamilyCount { family, packages }| (family.to_string(), *packages)).collect()
    }

    fn packages(&self) -> impl Iterator<Item = PackageView<'_>> {
        self.snapshot.packages.iter().map(|package| PackageView { package })
    }

    fn parent(&self) -> Option<Link<'_>> {
        self.snapshot.parent.as_ref().map(|parent| self.link(&parent.digest, 0))
    }

    fn shared_with(&self) -> Vec<Link<'_>> {
        self.snapshot.shared_with.iter().map(|Shared { digest, bytes }| self.link(digest, *bytes)).collect()
    }

    fn link(&self, digest: &Digest, bytes: u64) -> Link<'_> {
        let id = self.shelf.anchors.get(digest).map(String::as_str);
        Link { id, digest: digest.short(), bytes: size(bytes) }
    }
}

struct PackageView<'a> {
    package: &'a Package,
}

impl PackageView<'_> {
    fn licences(&self) -> String {
        self.package.licences.iter().map(Text::as_str).collect::<Vec<_>>().join(", ")
    }

    /// The source, if it is a place that a browser may be sent to.
    fn url(&self) -> Option<String> {
        let url = url::Url::parse(self.package.source.as_str()).ok()?;
        let is_plain = matches!(url.scheme(), "http" | "https") && url.username().is_empty();
        (is_plain && url.password().is_none()).then(|| url.to_string())
    }
}

/// Bytes for people, in binary units. The space does not break.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes}\u{a0}B");
    }
    // In tenths, so that it is exact and needs no floating point.
    let mut tenths = u128::from(bytes) * 10 / 1024;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while tenths >= 10 * 1024 {
        let Some(larger) = units.next() else { break };
        unit = Some(larger);
        tenths /= 1024;
    }
    let unit = unit.copied().unwrap_or_default();
    let (whole, tenth) = (tenths / 10, tenths % 10);
    if whole >= 100 { format!("{whole}\u{a0}{unit}") } else { format!("{whole}.{tenth}\u{a0}{unit}") }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The day of a time.
fn day(created: &str) -> &str {
    created.split_once('T').map_or(created, |(day, _)| day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_binary_units() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1536, "1.5 KiB"),
            (100 << 10, "100 KiB"),
            (1 << 20, "1.0 MiB"),
            (95_800 << 10, "93.5 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16383 PiB"),
        ] {
            assert_eq!(size(bytes).replace('\u{a0}', " "), text, "{bytes}");
        }
    }
}
