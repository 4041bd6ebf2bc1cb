//! What there is at a quiet moment: counted, compared with what there was before, and printed.
//!
//! Of what is counted there is never one more, or something leaks. Memory is not the same to the byte: an allocator keeps some of
//! what was once needed at the same time, and how much that was differs. So it is measured from when some of the work was done,
//! and may grow by little.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::guest::Guest;
use crate::harness::Spore;
use crate::holdings::{Common, Holding, counted, listing};
use crate::process_table::{descendants, reap_orphans};

/// How much more a supervisor may have than at first, when nobody had asked it anything, once it has given back what it does not need.
const SUPERVISOR_GROWTH_KIB: u64 = 384;
/// How much more it may have than when it had been at work for a while.
const LATE_SUPERVISOR_GROWTH_KIB: u64 = 128;
/// How much more an agent may have, for the same reason.
const AGENT_GROWTH_KIB: u64 = 512;
/// How long what is on its way to its end may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How many there are of each thing.
pub type Things = BTreeMap<String, usize>;

/// A sandbox that stays, with what runs for it on this host.
#[derive(Debug)]
pub struct Resident {
    pub id: String,
    pub supervisor: u32,
    pub engine: u32,
}

/// Those of a store that run.
#[track_caller]
pub fn residents(spore: &Spore) -> Vec<Resident> {
    let listed = spore.json(["ps", "--all"]);
    let pid = |sandbox: &Value, whose: &str| {
        let pid = sandbox[whose].as_u64().and_then(|pid| u32::try_from(pid).ok());
        pid.unwrap_or_else(|| panic!("no {whose} in {sandbox}"))
    };
    let resident = |sandbox: &Value| Resident {
        id: sandbox["id"].as_str().expect("an id").to_owned(),
        supervisor: pid(sandbox, "supervisor_pid"),
        engine: pid(sandbox, "engine_pid"),
    };
    listed["sandboxes"].as_array().expect("sandboxes").iter().map(resident).collect()
}

/// What there is.
#[derive(Debug)]
pub struct Sample {
    guests: Vec<Guest>,
    host: Host,
    common: Common,
}

/// What there is on this host.
#[derive(Debug)]
struct Host {
    things: Things,
    supervisors: Vec<Holding>,
    engines: Vec<Holding>,
    processes: usize,
    files: usize,
}

impl Sample {
    /// What there is at least over a while: whoever has asked something last may not have been forgotten yet.
    #[track_caller]
    pub fn at_rest(spore: &Spore) -> Self {
        const LOOKS: usize = 10;
        const PAUSE: Duration = Duration::from_millis(100);
        let residents = residents(spore);
        let guests = look_at_guests(spore, &residents);
        let mut host = Host::look(spore, &residents);
        for _ in 1..LOOKS {
            std::thread::sleep(PAUSE);
            let again = Host::look(spore, &residents).things;
            host.things.retain(|what, _| again.contains_key(what));
            host.things.iter_mut().for_each(|(what, count)| *count = again[what].min(*count));
        }
        Self { guests, host, common: Common::count() }
    }

    /// Counts until there is no more of anything than at `first`, nor of supervisors' memory by much, and by less since they were
    /// `warm`, which is to be so before long.
    #[track_caller]
    pub fn no_more_than(first: &Self, warm: Option<&Self>, spore: &Spore) -> Self {
        let residents = residents(spore);
        let guests = until(
            || look_at_guests(spore, &residents),
            |guests| {
                more(guests.iter().map(|guest| &guest.things), first.guests.iter().map(|guest| &guest.things))
            },
        );
        // Nothing is asked of anybody here: each look finds less of those who were asked before.
        let left = |host: &Host| {
            let mut left = more([&host.things], [&first.host.things]);
            left.extend(host.grown_since(&first.host, SUPERVISOR_GROWTH_KIB));
            left.extend(
                warm.iter().flat_map(|warm| host.grown_since(&warm.host, LATE_SUPERVISOR_GROWTH_KIB)),
            );
            left
        };
        let host = until(|| Host::look(spore, &residents), left);
        Self { guests, host, common: Common::count() }
    }

    /// Asserts that memory of agents has not grown since `early`, nor what anybody may make by as much as one for each of `acts`.
    #[track_caller]
    pub fn assert_flat_since(&self, early: &Self, acts: usize) {
        for (now, then) in self.guests.iter().zip(&early.guests) {
            let own = now.anonymous_kib.saturating_sub(then.anonymous_kib);
            assert!(own <= AGENT_GROWTH_KIB, "an agent has {own} KiB more");
        }
        let temporary = self.common.temporary.saturating_sub(early.common.temporary);
        let sockets = self.common.sockets.saturating_sub(early.common.sockets);
        assert!(temporary < acts, "{temporary} more temporary files after {acts}");
        assert!(sockets < acts, "{sockets} more sockets after {acts}");
    }

    /// How many descriptors a supervisor has.
    pub fn supervisor_open(&self) -> usize {
        self.host.supervisors.iter().map(Holding::open).max().unwrap_or(0)
    }

    /// What stands above the cells of rows.
    pub const HEADINGS: &str = "| processes  files tmp sockets | supervisor fds anon dirty KiB | engine fds anon KiB \
        | agent fds anon KiB, guest free";

    /// What is printed of it: of several residents the most.
    pub fn cells(&self) -> String {
        let Self { guests, host, common } = self;
        let most = |of: &[Holding], what: &dyn Fn(&Holding) -> u64| of.iter().map(what).max().unwrap_or(0);
        let guest = |what: &dyn Fn(&Guest) -> u64| guests.iter().map(what).max().unwrap_or(0);
        let open = |one: &Holding| one.open() as u64;
        format!(
            "| {:>9} {:>6} {:>3} {:>7} | {:>14} {:>4} {:>9} | {:>10} {:>8} | {:>9} {:>4} {:>15}",
            host.processes,
            host.files,
            common.temporary,
            common.sockets,
            most(&host.supervisors, &open),
            most(&host.supervisors, &|one| one.anonymous_kib),
            most(&host.supervisors, &|one| one.dirty_kib),
            most(&host.engines, &open),
            most(&host.engines, &|one| one.anonymous_kib),
            guest(&|one| one.open as u64),
            guest(&|one| one.anonymous_kib),
            guest(&|one| one.available_kib),
        )
    }
}

impl Host {
    #[track_caller]
    fn look(spore: &Spore, residents: &[Resident]) -> Self {
        let hold =
            |pid: &dyn Fn(&Resident) -> u32| residents.iter().map(|one| Holding::of(pid(one))).collect();
        let supervisors: Vec<Holding> = hold(&|resident| resident.supervisor);
        let engines: Vec<Holding> = hold(&|resident| resident.engine);
        reap_orphans();
        let processes = descendants();
        let files = listing(spore.root().parent().expect("a root lies in a folder"));
        let counts = (processes.len(), files.len());
        let processes = processes.into_iter().map(|process| {
            format!(
                "{} {} {}",
                if process.is_zombie { "zombie" } else { "process" },
                process.pid,
                process.name
            )
        });
        let mut things = counted(processes.chain(files));
        for (resident, (supervisor, engine)) in residents.iter().zip(supervisors.iter().zip(&engines)) {
            let mut add = |whose: &str, what: &str, count| {
                things.insert(format!("{whose} of {}: {what}", resident.id), count);
            };
            supervisor.descriptors.iter().for_each(|(what, count)| add("supervisor", what, *count));
            engine.descriptors.iter().for_each(|(what, count)| add("engine", what, *count));
            add("supervisor", "threads", supervisor.threads);
        }
        Self { things, supervisors, engines, processes: counts.0, files: counts.1 }
    }

    /// The supervisors that have more memory than `first` by more than `most` KiB.
    fn grown_since(&self, first: &Self, most: u64) -> impl Iterator<Item = String> {
        self.supervisors.iter().zip(&first.supervisors).filter_map(move |(now, then)| {
            let own = now.anonymous_kib.saturating_sub(then.anonymous_kib);
            let dirty = now.dirty_kib.saturating_sub(then.dirty_kib);
            (own.max(dirty) > most).then(|| {
                format!("a supervisor has {own} KiB of anonymous and {dirty} KiB of dirty memory more")
            })
        })
    }
}

#[track_caller]
fn look_at_guests(spore: &Spore, residents: &[Resident]) -> Vec<Guest> {
    residents.iter().map(|resident| Guest::of(spore, &resident.id)).collect()
}

/// Looks until nothing is left.
#[track_caller]
fn until<T>(look: impl Fn() -> T, left: impl Fn(&T) -> Vec<String>) -> T {
    const PAUSE: Duration = Duration::from_millis(50);
    let begun = Instant::now();
    loop {
        let found = look();
        let left = left(&found);
        if left.is_empty() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "something is left: {left:#?}");
        std::thread::sleep(PAUSE);
    }
}

/// What there is more of than there was.
fn more<'a>(
    found: impl IntoIterator<Item = &'a Things>,
    first: impl IntoIterator<Item = &'a Things>,
) -> Vec<String> {
    let more = |(found, first): (&Things, &Things)| {
        let was = |what| first.get(what).copied().unwrap_or(0);
        let more = found.iter().filter(|(what, count)| **count > was(*what));
        more.map(|(what, count)| format!("{what}: {count}, not {}", was(what))).collect::<Vec<_>>()
    };
    found.into_iter().zip(first).flat_map(more).collect()
}
