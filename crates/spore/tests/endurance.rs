//! What is done all day long leaves nothing behind: forks and kills in a row, and a hundred execs at once.
//!
//! Whatever this starts is counted at quiet moments, when no command runs: processes, descriptors, threads and sockets, all files
//! of the store, its leases among them, and what each guest has. A later count is to have no more of anything than the first
//! one, and what it has more is named. Memory, which is never the same to the byte, may grow by a little ([`sample`]).
//!
//! `SPORE_TEST_FORKS` says how many forks there are (40 unless it is set), `SPORE_TEST_SECONDS` for how long there are execs (15);
//! `make soak-endurance` takes 10,000 and 600, and the rows that are printed show how it goes on.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test says is its output")]
#![allow(unreachable_pub, reason = "modules of a test")]

#[path = "endurance/execs.rs"]
mod execs;
#[path = "endurance/forks.rs"]
mod forks;
#[path = "endurance/guest.rs"]
mod guest;
mod harness;
#[path = "endurance/holdings.rs"]
mod holdings;
#[path = "endurance/process_table.rs"]
mod process_table;
#[path = "endurance/sample.rs"]
mod sample;
#[path = "endurance/work.rs"]
mod work;

use std::num::NonZeroU64;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ScopedJoinHandle;

/// One test after the other: each counts all that this process has started.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    process_table::take_in_orphans();
    turn
}

/// A number that the environment may set.
fn number(name: &str, usual: u64) -> u64 {
    let set = std::env::var(name).ok().map(|text| text.parse::<NonZeroU64>());
    set.map_or(usual, |number| number.unwrap_or_else(|error| panic!("{name}: {error}")).get())
}

/// Calls `act` in so many threads, with their numbers, until it says that there is nothing more to do. When it fails in one of
/// them, the others end with what they are at.
fn all_at_once(workers: usize, act: impl Fn(usize) -> bool + Sync) {
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.fetch_or(std::thread::panicking(), Ordering::Relaxed);
        }
    }
    let stop = AtomicBool::new(false);
    let work = |worker| {
        let stop = Stop(&stop);
        while !stop.0.load(Ordering::Relaxed) && act(worker) {}
    };
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (0..workers).map(|worker| scope.spawn(move || work(worker))).collect();
        let join =
            |thread: ScopedJoinHandle<'_, ()>| thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        threads.into_iter().for_each(join);
    });
}
