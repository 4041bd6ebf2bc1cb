//! What a journey from nothing costs: a row of the table that `make test-recipes` ends with.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::Spore;

/// How often a fork is asked; the time between the others counts.
const TIMES: usize = 3;

/// A snapshot's making, in what a user pays for it.
#[derive(Debug)]
pub struct Measured {
    /// From nothing: packages and kernel are fetched.
    bake: Duration,
    /// Bytes of the whole snapshot, as a hub has it.
    pack: u64,
    /// Bytes of its memory.
    memory: u64,
}

impl Measured {
    /// Of a bake that took `time` and said `baked`.
    #[track_caller]
    pub fn bake(time: Duration, baked: &Value) -> Self {
        let bytes = |value: &Value| value.as_u64().unwrap_or_else(|| panic!("no sizes in {baked}"));
        Self { bake: time, pack: bytes(&baked["size"]), memory: bytes(&baked["parts"]["memory"]) }
    }

    /// Prints the row of a recipe: its forks' first answer is asked for, of one fork after the other on a host that
    /// does nothing else. The time is from the start of `spore fork` to the end of what `ask` does.
    #[track_caller]
    pub fn print(&self, recipe: &str, spore: &Spore, ask: fn(&Spore, &str)) {
        let mut times = [(); TIMES].map(|()| {
            let started = Instant::now();
            let id = spore.fork(recipe, 1).remove(0);
            ask(spore, &id);
            let time = started.elapsed();
            spore.run(["kill", &id]).succeeds();
            time
        });
        times.sort_unstable();
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        println!(
            "recipe: | {recipe} | {:.0} s | {:.1} MiB | {:.1} MiB | {:.2} s |",
            self.bake.as_secs_f64(),
            mib(self.pack),
            mib(self.memory),
            times[TIMES / 2].as_secs_f64()
        );
    }
}
