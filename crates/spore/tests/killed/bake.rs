//! A bake: of a new name, and of one that leads to a snapshot already.

use std::path::PathBuf;
use std::time::Duration;

use crate::chance::Chance;
use crate::harness::needs::{Need, skipped};
use crate::harness::recipes;
use crate::harness::run::Run;
use crate::harness::shared::{Shared, seed_cache};
use crate::scene::{ANYBODY, DEADLINE, Scene};
use crate::victim::Whom;
use crate::{Trial, aftermath};

struct Bake {
    scene: Scene,
    recipe: PathBuf,
    whole: Duration,
}

pub fn bake(test: &'static str) -> Option<Box<dyn Trial>> {
    if skipped(test, &[Need::Bake]) {
        return None;
    }
    let recipe = recipes::shipped("tiny");
    // What layers and kernel there are is known then: what it takes to make them is mmdebstrap's.
    Shared::of(&recipe);
    let mut bake = Bake { scene: Scene::new(), recipe, whole: Duration::ZERO };
    seed_cache(bake.scene.root());
    bake.whole = bake.scene.measure(bake.command());
    Some(Box::new(bake))
}

impl Bake {
    fn command(&self) -> Run {
        let args = ["bake".as_ref(), self.recipe.as_os_str(), "--name".as_ref(), "baked:latest".as_ref()];
        self.scene.spore.command(args)
    }
}

impl Trial for Bake {
    fn kill(&mut self, turn: usize, chance: &mut Chance) {
        let spore = &self.scene.spore;
        if turn.is_multiple_of(2) {
            spore.run(["rm", "baked"]).succeeds();
            spore.run(["prune"]).succeeds();
        }
        let whom = [ANYBODY, &[Whom::Detached]].concat();
        let killed = self.scene.kill(chance, self.command(), self.whole, &whom);
        if killed.has_failed() {
            self.scene.assert_nothing_runs();
        }
        assert!(aftermath::tags(spore).len() <= 1);
        aftermath::assert_all_ends(spore);
        self.command().deadline(DEADLINE).finish().succeeds();
        spore.fork("baked", 1);
        aftermath::assert_all_ends(spore);
    }
}
