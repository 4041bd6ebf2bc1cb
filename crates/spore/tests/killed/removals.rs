//! What removes: `rm` or `prune` beside a sandbox that shares nearly all with what goes, and the pruning of a hub.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hub::testing::{SampleSpec, put_sample};
use store::Store;

use crate::chance::Chance;
use crate::harness::needs::{Need, skipped};
use crate::harness::run::Run;
use crate::harness::shared::Shared;
use crate::harness::{Spore, files, recipes};
use crate::scene::Scene;
use crate::victim::Whom;
use crate::{Trial, aftermath};

/// One of the two; the other has its turn before or after it.
struct Removal {
    scene: Scene,
    /// What stays, and its sandbox.
    kept: String,
    running: String,
    other: Shared,
    is_prune: bool,
    whole: Duration,
}

pub fn rm(test: &'static str) -> Option<Box<dyn Trial>> {
    removal(test, false)
}

pub fn prune(test: &'static str) -> Option<Box<dyn Trial>> {
    removal(test, true)
}

fn removal(test: &'static str, is_prune: bool) -> Option<Box<dyn Trial>> {
    if skipped(test, &[Need::Bake]) {
        return None;
    }
    let scene = Scene::new();
    let recipe = recipes::changed("tiny", "other", "");
    let (kept, other) = (Shared::of(&recipes::shipped("tiny")), Shared::of(recipe.path()));
    let (kept, _) = kept.pull_into(&scene.spore);
    let running = scene.spore.fork(&kept, 1).remove(0);
    let mut removal = Removal { scene, kept, running, other, is_prune, whole: Duration::ZERO };
    removal.make_garbage();
    let [rm, prune] = [removal.rm(), removal.prune()].map(|command| removal.scene.measure(command));
    removal.whole = if is_prune { prune } else { rm };
    Some(Box::new(removal))
}

impl Removal {
    fn rm(&self) -> Run {
        self.scene.spore.command(["rm", self.other.name.as_str()])
    }

    fn prune(&self) -> Run {
        self.scene.spore.command(["prune"])
    }

    /// What `rm` removes, and a sandbox that is no more.
    fn make_garbage(&self) {
        let spore = &self.scene.spore;
        self.other.pull_into(spore);
        let ids = spore.fork(&self.other.name, 1);
        spore.run(["kill", &ids[0]]).succeeds();
    }
}

impl Trial for Removal {
    fn kill(&mut self, _: usize, chance: &mut Chance) {
        let spore = &self.scene.spore;
        self.make_garbage();
        if self.is_prune {
            self.rm().finish().succeeds();
            self.scene.kill(chance, self.prune(), self.whole, &[Whom::Command]);
        } else {
            self.scene.kill(chance, self.rm(), self.whole, &[Whom::Command]);
            let again = self.rm().finish();
            // It may have been done already: that is said.
            assert!(matches!(again.status.code(), Some(0 | 3)), "{again}");
        }
        assert_eq!(aftermath::tags(spore).len(), 1);
        self.prune().finish().succeeds();
        let left = spore.json(["prune", "--dry-run"]);
        assert_eq!(left["plan"]["items"], serde_json::json!([]));
        aftermath::assert_no_leftovers(self.scene.root());
        // What is in use was left alone.
        assert_eq!(spore.sh(&self.running, "echo here"), "here");
        let again = spore.fork(&self.kept, 1).remove(0);
        spore.run(["kill", &again]).succeeds();
    }
}

/// Nothing of it needs an engine.
struct HubPrune {
    scene: Scene,
    hub: PathBuf,
    whole: Duration,
    _folder: tempfile::TempDir,
}

pub fn prune_of_a_hub(_: &'static str) -> Option<Box<dyn Trial>> {
    let (scene, folder) = (Scene::new(), files::scratch("hub"));
    let store = Store::open(scene.root()).unwrap();
    let spec = SampleSpec { layer_pages: 100, memory_pages: 2000, ..SampleSpec::default() };
    for name in ["kept", "gone"] {
        let sample = put_sample(&store, &SampleSpec { seed: name, ..spec }).unwrap();
        store.set_ref(&format!("local/{name}:latest").parse().unwrap(), &sample.digest, None).unwrap();
    }
    let hub = folder.path().join("hub");
    let mut prune = HubPrune { scene, hub, whole: Duration::ZERO, _folder: folder };
    prune.push("kept");
    let with_garbage = |_: &Spore| {
        prune.push("gone");
        make_garbage(&prune.hub);
        prune.prune()
    };
    prune.whole = prune.scene.measure_twice(with_garbage, |_| ());
    Some(Box::new(prune))
}

impl HubPrune {
    fn push(&self, name: &str) {
        self.scene.spore.command(["push", name, "--hub"]).args([&self.hub]).finish().succeeds();
    }

    fn prune(&self) -> Run {
        self.scene.spore.command(["hub", "prune"]).args([&self.hub])
    }
}

impl Trial for HubPrune {
    fn kill(&mut self, _: usize, chance: &mut Chance) {
        self.push("gone");
        make_garbage(&self.hub);
        self.scene.kill(chance, self.prune(), self.whole, &[Whom::Command]);
        aftermath::assert_hub_is_whole(&self.hub);
        self.push("gone");
        aftermath::assert_hub_is_whole(&self.hub);
        for name in ["kept", "gone"] {
            let puller = Spore::new();
            puller.command(["pull", name, "--hub"]).args([&self.hub]).finish().succeeds();
            puller.fsck();
        }
        make_garbage(&self.hub);
        self.prune().finish().succeeds();
        aftermath::assert_hub_is_whole(&self.hub);
        let again = self.prune().args(["--format", "json"]).finish().succeeds().json();
        assert_eq!(again["removed"], 0);
    }
}

/// Takes the tag of `gone` away, as docs/hub.md says, and makes all of the hub old enough to be pruned.
fn make_garbage(hub: &Path) {
    fs::remove_file(hub.join("v2/gone/manifests/latest")).unwrap();
    let old = SystemTime::now() - hub::prune::GRACE - Duration::from_secs(3600);
    let is_aged = |path: &PathBuf| path.starts_with(hub.join("blobs")) || path.starts_with(hub.join("v2"));
    for file in files::files_below(hub).into_iter().filter(is_aged) {
        files::open(&file).set_modified(old).unwrap();
    }
}
