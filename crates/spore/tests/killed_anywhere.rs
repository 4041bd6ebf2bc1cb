//! Whatever is killed, whenever: the store is whole, the same command then succeeds, and nothing runs on unseen.
//!
//! Kills are numbered over all who are killed, in turns. Seed and number decide who it is, who of its processes, and at which
//! part of the time that it takes; both are printed with each kill, which these variables repeat alone, as far as a clock can:
//!
//! ```text
//! SPORE_TEST_SEED   the seed; random unless it is set
//! SPORE_TEST_FROM   the number of the first kill; 0 unless it is set
//! SPORE_TEST_KILLS  the number behind that of the last; 48 unless it is set, four for each; 600 in `make soak`
//! ```

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test says is its output")]
#![allow(unreachable_pub, reason = "modules of a test")]

#[path = "killed/aftermath.rs"]
mod aftermath;
#[path = "killed/bake.rs"]
mod bake;
#[path = "killed/chance.rs"]
mod chance;
#[path = "killed/exec.rs"]
mod exec;
#[path = "killed/fork.rs"]
mod fork;
mod harness;
#[path = "killed/interrupted.rs"]
mod interrupted;
#[path = "killed/packs.rs"]
mod packs;
#[path = "killed/places.rs"]
mod places;
#[path = "killed/removals.rs"]
mod removals;
#[path = "killed/running.rs"]
mod running;
#[path = "killed/scene.rs"]
mod scene;
#[path = "killed/small_disk.rs"]
mod small_disk;
#[path = "killed/transfers.rs"]
mod transfers;
#[path = "killed/victim.rs"]
mod victim;

use chance::{Chance, number_from, seed};

/// What is killed again and again: made ready once, and then killed.
trait Trial {
    /// One kill, and all that must be true after it. `turn` counts those of this trial.
    fn kill(&mut self, turn: usize, chance: &mut Chance);
}

/// Says that it is skipped, or makes it ready. It is given what it is called where it is skipped.
type Prepare = fn(&'static str) -> Option<Box<dyn Trial>>;

/// Who is killed, in turns.
const TRIALS: [(&str, Prepare); 12] = [
    ("bake", bake::bake),
    ("push", transfers::push),
    ("pull", transfers::pull),
    ("pack", packs::pack),
    ("unpack", packs::unpack),
    ("fork", fork::fork),
    ("exec", exec::exec),
    ("rm", removals::rm),
    ("prune", removals::prune),
    ("supervisor", running::supervisor),
    ("engine", running::engine),
    ("hub prune", removals::prune_of_a_hub),
];

/// Kills those for whom `is_meant` says so.
fn kill(is_meant: impl Fn(&str) -> bool) {
    let seed = seed();
    let from = number_from("SPORE_TEST_FROM").unwrap_or(0);
    let to = number_from("SPORE_TEST_KILLS").unwrap_or(4 * TRIALS.len());
    let mut trials = TRIALS.map(|_| None);
    for number in from..to {
        let (turn, index) = (number / TRIALS.len(), number % TRIALS.len());
        let (name, prepare) = TRIALS[index];
        if !is_meant(name) {
            continue;
        }
        let trial = trials[index].get_or_insert_with(|| prepare(name));
        let Some(trial) = trial else { continue };
        println!("kill {number} of {to}, of {name}: SPORE_TEST_SEED={seed} SPORE_TEST_FROM={number}");
        trial.kill(turn, &mut Chance::of(seed, name, number));
    }
}

#[test]
fn a_killed_bake() {
    kill(|name| name == "bake");
}

#[test]
fn a_killed_push() {
    kill(|name| name == "push");
}

#[test]
fn a_killed_pull() {
    kill(|name| name == "pull");
}

#[test]
fn a_killed_pack() {
    kill(|name| name == "pack");
}

#[test]
fn a_killed_unpack() {
    kill(|name| name == "unpack");
}

#[test]
fn a_killed_fork() {
    kill(|name| name == "fork");
}

#[test]
fn a_killed_exec() {
    kill(|name| name == "exec");
}

#[test]
fn a_killed_rm() {
    kill(|name| name == "rm");
}

#[test]
fn a_killed_prune() {
    kill(|name| name == "prune");
}

#[test]
fn a_killed_supervisor() {
    kill(|name| name == "supervisor");
}

#[test]
fn a_killed_engine() {
    kill(|name| name == "engine");
}

#[test]
fn a_killed_prune_of_a_hub() {
    kill(|name| name == "hub prune");
}

/// All of them in the order of their numbers, so that one number says where to go on.
#[test]
#[ignore = "`make soak` runs it, with 600 kills"]
fn soak() {
    kill(|_| true);
}
