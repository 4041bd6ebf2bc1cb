//! Forks and kills in a row, as a platform for agents does them: eight of its sessions at a time fork a sandbox each, ask it for
//! something, and kill it when that is answered. A sandbox that nobody asks anything stays all the while beside them.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::harness::needs::{Need, skipped};
use crate::harness::shared::Shared;
use crate::harness::{Spore, files, recipes, words};
use crate::holdings::unfinished;
use crate::process_table::reap_orphans;
use crate::sample::Sample;
use crate::{all_at_once, number, turn};

const TEST: &str = "endurance::forks_and_kills_in_a_row";
const AT_ONCE: usize = 8;
/// After how many forks all is counted, at most.
const INTERVAL: usize = 500;
/// How long one may take on average, on a machine that has other things to do.
const ALLOWED: Duration = Duration::from_secs(2);
/// How long all of them may take besides.
const BEGINNING: Duration = Duration::from_secs(120);

/// Whoever forks.
struct Platform {
    spore: Spore,
    snapshot: String,
}

impl Platform {
    /// Goes through so many sandboxes, a few at a time.
    #[track_caller]
    fn go_through(&self, count: usize) {
        let next = AtomicUsize::new(0);
        all_at_once(AT_ONCE, |_| {
            let is_one_more = next.fetch_add(1, Ordering::Relaxed) < count;
            if is_one_more {
                self.go_through_one(|_| ());
            }
            is_one_more
        });
    }

    /// Calls `after` with what was just done.
    #[track_caller]
    fn go_through_one(&self, after: impl Fn(&str)) {
        let word = words::random();
        let id = self.spore.fork(&self.snapshot, 1).remove(0);
        after("fork");
        // It is nobody's but ours.
        let script = format!("test ! -e /used; echo {word} >/used; cat /used");
        assert_eq!(self.spore.sh(&id, &script), word);
        after("exec");
        self.spore.run(["kill", &id]).succeeds();
        after("kill");
    }

    /// Goes through one while nobody else does anything: what a command leaves is not swept by the next one then.
    #[track_caller]
    fn go_through_one_alone(&self) {
        self.go_through_one(|what| {
            let left = unfinished(self.spore.root());
            assert!(left.is_empty(), "{what} leaves {left:?}");
        });
    }
}

#[test]
fn forks_and_kills_in_a_row() {
    let _turn = turn();
    if skipped(TEST, &[Need::Bake]) {
        return;
    }
    let count = usize::try_from(number("SPORE_TEST_FORKS", 40)).expect("not that many");
    let temporary = files::scratch("temporary");
    let spore = Spore::new().env("TMPDIR", temporary.path());
    let (snapshot, _) = Shared::of(&recipes::shipped("tiny")).pull_into(&spore);
    let platform = Platform { spore, snapshot };
    // What is made once, is made.
    platform.go_through(AT_ONCE);
    let empty = Sample::at_rest(&platform.spore);
    let resident = platform.spore.fork(&platform.snapshot, 1).remove(0);
    let first = Sample::at_rest(&platform.spore);

    println!("\n   forks       s  ms each {}", Sample::HEADINGS);
    println!("{:>8} {:>7} {:>8} {}", 0, 0, "", first.cells());
    let begun = Instant::now();
    let (mut done, ended) = (0, reap_orphans());
    while done < count {
        let batch = (count.div_ceil(4)).min(INTERVAL).min(count - done);
        let batch_begun = Instant::now();
        platform.go_through(batch);
        let each = batch_begun.elapsed().as_millis() / batch as u128;
        platform.go_through_one_alone();
        done += batch;
        let sample = Sample::no_more_than(&first, Some(&first), &platform.spore);
        println!("{done:>8} {:>7} {each:>8} {}", begun.elapsed().as_secs(), sample.cells());
        sample.assert_flat_since(&first, done);
        assert_eq!(files::entries(temporary.path()), Vec::<PathBuf>::new());
        let allowed = BEGINNING + ALLOWED * u32::try_from(done).expect("not that many");
        assert!(begun.elapsed() < allowed, "{done} forks took {:?}", begun.elapsed());
    }
    // Each supervisor has outlived the command that had started it, and has ended by now.
    assert!(reap_orphans() - ended >= count);

    platform.spore.run(["kill", &resident]).succeeds();
    Sample::no_more_than(&empty, None, &platform.spore);
    platform.spore.fsck();
    platform.spore.assert_no_sandboxes();
}
