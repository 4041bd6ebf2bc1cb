//! Supervisors that die at the worst moment: when their engine runs already and no record names it yet.

use crate::harness::needs::{Need, skipped};
use crate::harness::processes;
use crate::harness::recipes;
use crate::harness::shared::Shared;
use crate::victim::{Victim, Whom, is_engine};
use crate::{DEADLINE, Scene, aftermath};

#[test]
fn a_supervisor_that_dies_while_its_engine_starts() {
    const TEST: &str = "killed_anywhere::a_supervisor_that_dies_while_its_engine_starts";
    if skipped(TEST, &[Need::Bake]) {
        return;
    }
    let scene = Scene::new(TEST);
    let (name, _) = Shared::of(&recipes::shipped("tiny")).pull_into(&scene.spore);
    for _ in 0..3 {
        let mut victim = Victim::start(scene.spore.command(["fork", &name]), &scene.output);
        victim.wait_for(DEADLINE, || processes::in_folder(scene.root()).iter().any(is_engine));
        victim.kill(Whom::Supervisors, scene.root());
        let ending = victim.wait(DEADLINE);
        assert_eq!(ending.status.code(), Some(1), "{}", ending.output);
        assert!(ending.output.contains("its supervisor has ended"), "{}", ending.output);
        // The command has seen to it before it ended.
        let left = processes::in_folder(scene.root());
        assert!(left.is_empty(), "left behind: {left:#?}");
        aftermath::assert_all_ends(&scene.spore);
    }
    scene.spore.fsck();
}
