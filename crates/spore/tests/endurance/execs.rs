//! A hundred clients at once, for minutes, some of which are killed in the midst of it: what they leave is nothing.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::harness::needs::{Need, skipped};
use crate::harness::shared::Shared;
use crate::harness::{Spore, files, recipes};
use crate::holdings::{Holding, unfinished};
use crate::process_table::{descendants, reap_orphans};
use crate::sample::{Resident, Sample, residents};
use crate::work::WORKS;
use crate::{all_at_once, number, turn};

const TEST: &str = "endurance::parallel_execs";
const CLIENTS: usize = 100;
const SANDBOXES: usize = 4;
/// For how long they go on between two counts, at most.
const INTERVAL: Duration = Duration::from_secs(30);
/// How many counts there are at least. Up to the first everything warms up.
const COUNTS: u32 = 5;
/// What a supervisor has open for each of its clients.
const DESCRIPTORS_EACH: usize = 2;
/// What a supervisor may have of its own while it is as busy as that.
const BUSY_KIB: u64 = 16 << 10;

/// Who is asked.
struct Sandboxes {
    spore: Spore,
    ids: Vec<String>,
    /// How much each client has done.
    done: [AtomicUsize; CLIENTS],
}

/// The most that a supervisor had while clients were at work.
#[derive(Debug, Default, Clone, Copy)]
struct Peak {
    open: usize,
    anonymous_kib: u64,
}

impl Sandboxes {
    /// Has all clients go on for so long.
    #[track_caller]
    fn ask_for(&self, time: Duration) -> Peak {
        let (begun, is_over) = (Instant::now(), AtomicBool::new(false));
        let supervisors = residents(&self.spore);
        std::thread::scope(|scope| {
            let watcher = scope.spawn(|| watch(&supervisors, &is_over));
            let asked = catch_unwind(AssertUnwindSafe(|| {
                all_at_once(CLIENTS, |client| {
                    self.ask(client);
                    begun.elapsed() < time
                });
            }));
            // Whatever became of them, nobody is to watch on.
            is_over.store(true, Ordering::Relaxed);
            asked.unwrap_or_else(|panic| resume_unwind(panic));
            watcher.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    /// One thing of one client. Each does all there is in turn; neighbours are at different ones.
    fn ask(&self, client: usize) {
        let number = client + self.done[client].load(Ordering::Relaxed);
        WORKS[number % WORKS.len()].act(&self.spore, &self.ids[client % SANDBOXES]);
        self.done[client].fetch_add(1, Ordering::Relaxed);
    }

    fn total(&self) -> usize {
        self.done.iter().map(|done| done.load(Ordering::Relaxed)).sum()
    }
}

fn watch(supervisors: &[Resident], is_over: &AtomicBool) -> Peak {
    const PAUSE: Duration = Duration::from_millis(200);
    let mut peak = Peak::default();
    while !is_over.load(Ordering::Relaxed) {
        for resident in supervisors {
            let holding = Holding::of(resident.supervisor);
            peak.open = peak.open.max(holding.open());
            peak.anonymous_kib = peak.anonymous_kib.max(holding.anonymous_kib);
        }
        std::thread::sleep(PAUSE);
    }
    peak
}

#[test]
fn parallel_execs() {
    let _turn = turn();
    if skipped(TEST, &[Need::Bake]) {
        return;
    }
    let time = Duration::from_secs(number("SPORE_TEST_SECONDS", 15));
    let temporary = files::scratch("temporary");
    let spore = Spore::new().env("TMPDIR", temporary.path());
    let (snapshot, _) = Shared::of(&recipes::shipped("tiny")).pull_into(&spore);
    let ids = spore.fork(&snapshot, SANDBOXES);
    let sandboxes = Sandboxes { spore, ids, done: [const { AtomicUsize::new(0) }; CLIENTS] };
    let first = Sample::at_rest(&sandboxes.spore);

    let ended = reap_orphans();
    println!("\n   execs       s a second, busy supervisor fds anon KiB {}", Sample::HEADINGS);
    println!("{:>8} {:>7} {:>44} {}", 0, 0, "", first.cells());
    let (slice, mut passed, mut warm) = ((time / COUNTS).min(INTERVAL), Duration::ZERO, None);
    while passed < time {
        let (begun, before) = (Instant::now(), sandboxes.total());
        let peak = sandboxes.ask_for(slice);
        assert_eq!(unfinished(sandboxes.spore.root()), Vec::<PathBuf>::new());
        passed += begun.elapsed();
        let done = sandboxes.total();
        let a_second = (done - before) as f64 / begun.elapsed().as_secs_f64();
        let sample = Sample::no_more_than(&first, warm.as_ref(), &sandboxes.spore);
        let Peak { open, anonymous_kib } = peak;
        let seconds = passed.as_secs();
        println!("{done:>8} {seconds:>7} {a_second:>8.1} {open:>25} {anonymous_kib:>9} {}", sample.cells());
        assert_eq!(reap_orphans(), ended, "a supervisor has ended");
        let most = first.supervisor_open() + DESCRIPTORS_EACH * CLIENTS / SANDBOXES;
        assert!(open <= most, "a supervisor has {open} descriptors: expected {most} at most");
        assert!(anonymous_kib < BUSY_KIB, "a busy supervisor has {anonymous_kib} KiB");
        assert_eq!(files::entries(temporary.path()), Vec::<PathBuf>::new());
        match &warm {
            Some(warm) => sample.assert_flat_since(warm, done),
            None => warm = (passed >= time / COUNTS).then_some(sample),
        }
    }
    sandboxes.spore.run(["kill", "--all"]).succeeds();
    sandboxes.spore.fsck();
    sandboxes.spore.assert_no_sandboxes();
    reap_orphans();
    assert_eq!(descendants(), []);
}
