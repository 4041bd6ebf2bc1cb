//! `spore hub index`: a hub's catalogue is made of what can be pulled, and one bad tag hides no other.

#![allow(clippy::indexing_slicing, clippy::unwrap_used)]

mod harness;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use catalog::Catalog;
use format::Digest;
use harness::Spore;
use hub::testing::{SampleSpec, no_access, publish};
use hub::{HubLocation, Registry};
use tempfile::TempDir;

/// A hub in a folder with a snapshot under each of two names.
struct World {
    spore: Spore,
    folder: TempDir,
    digests: [Digest; 2],
}

impl World {
    fn new() -> Self {
        let folder = harness::files::scratch("hub-index");
        let location = HubLocation::folder(&folder.path().join("hub")).unwrap();
        let hub: Arc<dyn Registry> = hub::open(&location, &no_access()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let digests = ["one", "team/two"].map(|name: &str| {
            let (parsed, tag) = (name.parse().unwrap(), "1".parse().unwrap());
            let spec = SampleSpec { seed: name, ..SampleSpec::default() };
            let published = publish(Arc::clone(&hub), &parsed, &tag, &spec, |_, _| {});
            runtime.block_on(published).unwrap()
        });
        Self { spore: Spore::new(), folder, digests }
    }

    fn hub(&self) -> PathBuf {
        self.folder.path().join("hub")
    }

    fn index(&self, args: &[&str]) -> harness::run::Outcome {
        let hub = self.hub();
        self.spore.run(["hub", "index", hub.to_str().unwrap()].iter().chain(args))
    }
}

fn catalog(folder: &Path) -> Catalog {
    serde_json::from_slice(&fs::read(folder.join("catalog.json")).unwrap()).unwrap()
}

#[test]
fn a_folder_gets_its_catalogue() {
    let world = World::new();
    fs::remove_file(world.hub().join("index.json")).unwrap();
    let url = ["--url", "https://hub.example", "--title", "Machines <of> ours"];
    let printed = world.index(&url).succeeds();
    assert!(printed.text().starts_with("2 names, 2 tags, 2 snapshots, "), "{printed}");
    let made = catalog(&world.hub());
    assert_eq!(made.title.as_str(), "Machines <of> ours");
    for digest in world.digests {
        let snapshot = made.snapshot(&digest).unwrap();
        assert!(snapshot.sizes.own > 0 && snapshot.sizes.shared > 0);
    }
    let pull = made.names[1].tags[0].pull.clone().unwrap();
    assert_eq!(pull, "spore pull --hub https://hub.example team/two:1");
    let page = fs::read_to_string(world.hub().join("index.html")).unwrap();
    assert!(page.contains(&pull) && page.contains("<title>Machines &#60;of&#62; ours</title>"));
    assert!(world.hub().join("index.json").is_file(), "what OCI tools read is made anew");
    // The same bytes again, also without a hub of its own.
    let before = (fs::read(world.hub().join("catalog.json")).unwrap(), page);
    let aside = world.folder.path().join("aside/site");
    let output = ["--output", aside.to_str().unwrap()];
    world.index(&[&url[..], &output[..]].concat()).succeeds();
    let after = |folder: &Path| {
        (
            fs::read(folder.join("catalog.json")).unwrap(),
            fs::read_to_string(folder.join("index.html")).unwrap(),
        )
    };
    assert_eq!(after(&aside), before);
    world.index(&url).succeeds();
    assert_eq!(after(&world.hub()), before);
    assert_eq!(harness::files::entries(&aside).len(), 2);
}

#[test]
fn its_commands_pull() {
    let world = World::new();
    let printed = world.index(&[]).succeeds();
    assert!(printed.text().contains("give --url"), "{printed}");
    let made = catalog(&world.hub());
    for tag in made.names.iter().flat_map(|entry| &entry.tags) {
        for command in [tag.pull.clone().unwrap(), tag.snapshots[0].pull.clone()] {
            let words: Vec<_> = command.split(' ').skip(1).collect();
            let pulled = world.spore.run(&words).succeeds();
            assert!(pulled.text().contains(&tag.digest.unwrap().to_string()), "{pulled}");
        }
    }
}

#[test]
fn a_bad_tag_is_named_and_hides_nothing() {
    let world = World::new();
    fs::write(world.hub().join("v2/one/manifests/evil"), "<script>").unwrap();
    let dry = world.index(&["--dry-run"]).exits_with(5).says(&["one:evil"]);
    assert!(dry.text().contains("would be written"), "{dry}");
    assert!(!world.hub().join("index.html").exists(), "a dry run writes nothing");
    world.index(&[]).exits_with(5).says(&["one:evil", "manifest is not valid"]);
    let made = catalog(&world.hub());
    assert_eq!((made.snapshots.len(), made.problems().count()), (2, 1));
    let document = world.index(&["--format", "json"]).exits_with(5);
    let document = document.json();
    assert_eq!((&document["snapshots"], &document["tags"]), (&2.into(), &3.into()));
    assert!(document["problems"][0].as_str().unwrap().starts_with("one:evil: "), "{document}");
}

#[test]
fn what_cannot_be_indexed_says_why() {
    let world = World::new();
    world.index(&["--url", "hub.example"]).exits_with(2).says(&["https://"]);
    world.index(&["--url", "https://me:secret@hub.example"]).exits_with(2).says(&["credentials"]);
    let registry = world.spore.run(["hub", "index", "oci://localhost:1"]);
    registry.exits_with(2).says(&["takes no pages", "--output DIR"]);
    let skipped = world.spore.run(["hub", "index", "oci://localhost:1", "--where-possible"]);
    assert!(skipped.succeeds().text().contains("nothing is written"));
    world.spore.run(["hub", "index", "/nowhere/at/all"]).exits_with(3).says(&["no such folder"]);
    world.spore.run(["hub", "index"]).exits_with(2).says(&["default_hub"]);
}

#[test]
fn push_says_the_licences() {
    let world = World::new();
    let hub = world.hub();
    let hub = hub.to_str().unwrap();
    world.spore.run(["pull", "--hub", hub, "one:1"]).succeeds();
    let elsewhere = world.folder.path().join("elsewhere");
    let push = ["push", "one:1", "--hub", elsewhere.to_str().unwrap()];
    for push in [[&push[..], &["--dry-run"]].concat(), push.to_vec()] {
        let pushed = world.spore.run(push).succeeds();
        let said = "\nlicences: none declared; 1 package: 1 permissive\n  MIT 1";
        assert!(pushed.text().ends_with(said), "{pushed}");
    }
    let document = world.spore.json(push);
    assert_eq!(document["licences"]["families"][0]["family"], "permissive");
    assert_eq!(document["licences"]["named"][0]["licence"], "MIT");
}
