//! Pack and unpack. Nothing of it needs an engine.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hub::testing::{SampleSpec, put_sample};
use store::Store;

use crate::chance::Chance;
use crate::harness::run::Run;
use crate::harness::{Spore, files};
use crate::scene::Scene;
use crate::victim::Whom;
use crate::{Trial, aftermath};

/// A user with `sample:latest`, its pack, and the same without layers; and the hub that has these.
fn packed(folder: &Path) -> (Scene, [PathBuf; 3]) {
    let scene = Scene::new();
    let store = Store::open(scene.root()).unwrap();
    let spec = SampleSpec { layer_pages: 2000, memory_pages: 3000, ..SampleSpec::default() };
    let sample = put_sample(&store, &spec).unwrap();
    store.set_ref(&"local/sample:latest".parse().unwrap(), &sample.digest, None).unwrap();
    let [whole, small, hub] = ["whole.spore", "small.spore", "hub"].map(|name| folder.join(name));
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    scene.spore.run(["push", "sample", "--hub", &text(&hub)]).succeeds();
    scene.spore.run(["pack", "sample", "-o", &text(&whole)]).succeeds();
    scene.spore.run(["pack", "sample", "-o", &text(&small), "--without-layers"]).succeeds();
    (scene, [whole, small, hub])
}

/// The folder has a whole pack or what was there before, and nothing else.
struct Pack {
    scene: Scene,
    /// What a whole one is.
    right: format::Digest,
    file: PathBuf,
    whole: Duration,
    _folder: tempfile::TempDir,
}

pub fn pack(_: &'static str) -> Option<Box<dyn Trial>> {
    let folder = files::scratch("packs");
    let (scene, [pack, ..]) = packed(folder.path());
    let file = folder.path().join("out/packed.spore");
    fs::create_dir(file.parent().unwrap()).unwrap();
    let right = files::digest(&pack);
    let mut pack = Pack { scene, right, file, whole: Duration::ZERO, _folder: folder };
    pack.whole = pack.scene.measure_twice(|_| pack.command(), |_| ());
    Some(Box::new(pack))
}

impl Pack {
    fn command(&self) -> Run {
        self.scene.spore.command(["pack", "sample", "--force", "-o"]).args([&self.file])
    }
}

impl Trial for Pack {
    fn kill(&mut self, turn: usize, chance: &mut Chance) {
        if turn.is_multiple_of(2) {
            fs::remove_file(&self.file).unwrap();
        }
        let was_there = self.file.exists();
        let killed = self.scene.kill(chance, self.command(), self.whole, &[Whom::Command]);
        assert!(self.file.exists() || !was_there && !killed.was_done());
        let left = files::entries(self.file.parent().unwrap());
        let is_right = |left: &PathBuf| *left == self.file && files::digest(left) == self.right;
        assert!(left.iter().all(is_right), "{left:?}");
        self.command().finish().succeeds();
        assert_eq!(files::digest(&self.file), self.right);
    }
}

/// From a file, and with the hub that has what is left out.
struct Unpack {
    scene: Scene,
    /// What is given to it, and how long that takes.
    args: [(Vec<PathBuf>, Duration); 2],
    _folder: tempfile::TempDir,
}

pub fn unpack(_: &'static str) -> Option<Box<dyn Trial>> {
    let folder = files::scratch("packs");
    let (scene, [whole, small, hub]) = packed(folder.path());
    let args = [vec![whole], vec![small, "--hub".into(), hub]].map(|args| {
        forget(&scene.spore);
        let took = scene.measure_twice(|spore| spore.command(["unpack"]).args(&args), forget);
        (args, took)
    });
    Some(Box::new(Unpack { scene, args, _folder: folder }))
}

fn forget(spore: &Spore) {
    spore.run(["rm", "sample"]).succeeds();
    spore.run(["prune", "--all"]).succeeds();
}

impl Trial for Unpack {
    fn kill(&mut self, turn: usize, chance: &mut Chance) {
        let spore = &self.scene.spore;
        let (args, whole) = &self.args[turn % self.args.len()];
        let unpack = || spore.command(["unpack"]).args(args);
        forget(spore);
        let killed = self.scene.kill(chance, unpack(), *whole, &[Whom::Command]);
        // The tag is there only if all that it leads to is.
        assert!(!killed.was_done() || aftermath::tags(spore).len() == 1);
        unpack().finish().succeeds();
        aftermath::assert_no_leftovers(self.scene.root());
        spore.fsck();
        let left = spore.json(["prune", "--dry-run"]);
        assert_eq!(left["plan"]["items"], serde_json::json!([]), "what was stored is there twice");
    }
}
