//! A fork of several, with and without files to be laid out first.

use std::fs;
use std::time::Duration;

use crate::chance::Chance;
use crate::harness::needs::{Need, skipped};
use crate::harness::shared::Shared;
use crate::harness::{files, recipes};
use crate::scene::{ANYBODY, Scene};
use crate::victim::Whom;
use crate::{Trial, aftermath};

const COUNT: usize = 3;

struct Fork {
    scene: Scene,
    name: String,
    whole: Duration,
}

pub fn fork(test: &'static str) -> Option<Box<dyn Trial>> {
    if skipped(test, &[Need::Bake]) {
        return None;
    }
    let scene = Scene::new();
    let (name, _) = Shared::of(&recipes::shipped("tiny")).pull_into(&scene.spore);
    let whole = scene.measure_twice(|spore| spore.command(args(&name)), aftermath::assert_all_ends);
    aftermath::assert_all_ends(&scene.spore);
    Some(Box::new(Fork { scene, name, whole }))
}

fn args(name: &str) -> [String; 4] {
    ["fork".to_owned(), name.to_owned(), "-n".to_owned(), COUNT.to_string()]
}

impl Trial for Fork {
    fn kill(&mut self, turn: usize, chance: &mut Chance) {
        let spore = &self.scene.spore;
        if turn.is_multiple_of(4) {
            let flat = self.scene.root().join("flat");
            files::entries(&flat).iter().for_each(|file| fs::remove_file(file).unwrap());
        }
        let whom = [ANYBODY, &[Whom::Detached, Whom::Supervisors, Whom::Engines]].concat();
        let killed = self.scene.kill(chance, spore.command(args(&self.name)), self.whole, &whom);
        if killed.has_failed() {
            self.scene.assert_nothing_runs();
        }
        if matches!(killed.whom, Whom::Command | Whom::Group) && !killed.was_done() {
            // Nobody has seen their names: they end by themselves, unless it had just let go of all of them.
            aftermath::assert_none_runs_or(spore, COUNT);
        }
        aftermath::assert_all_ends(spore);
        assert_eq!(spore.fork(&self.name, COUNT).len(), COUNT);
        aftermath::assert_all_ends(spore);
    }
}
