//! Writers and a collector, step by step in a random order.
//!
//! Each writer is a small state machine that does one file operation a turn, as a command that pulls, tags, forks
//! or removes would. Before each change that the collector makes, and between its reads, random writers take random
//! turns. At any moment every snapshot with a tag or a sandbox must be readable, and when the collector is done all
//! of it must be in place.

use format::Config;
use proptest::prelude::*;

use super::*;
use crate::{LoadError, SandboxDraft, SandboxId};

/// A snapshot's blobs, the manifest last, as a hub would send them.
type Source = Vec<(Digest, Vec<u8>)>;

fn sources() -> Vec<Source> {
    let home = home();
    let store = &home.store;
    let lease = store.lease().unwrap();
    [(&["a"][..], "1"), (&["a", "b"], "2"), (&["b"], "3")]
        .iter()
        .map(|(layers, unique)| {
            let digest = put_snapshot(store, &lease, layers, unique);
            let read = |digest| (digest, store.read_blob(&digest, 1 << 20).unwrap());
            let mut source: Source =
                closure(store, digest).into_iter().filter(|d| *d != digest).map(read).collect();
            source.push(read(digest));
            source
        })
        .collect()
}

/// What a writer does next.
#[derive(Debug)]
enum Turn {
    /// Nothing has begun.
    Idle,
    /// Protect blob `part` of a source.
    Protect { source: usize, part: usize, lease: Lease },
    /// Test whether it is there, and write it if not.
    Put { source: usize, part: usize, lease: Lease },
    /// All parts are there: name it, or make a sandbox of it.
    Use { digest: Digest, lease: Lease },
    /// Its flat files are there: link to them.
    LaidOut { digest: Digest, flats: Vec<FlatKey>, lease: Lease },
    /// The sandbox is to become visible.
    Linked { draft: SandboxDraft },
    /// A known snapshot is to be used: its digest was read from a tag and is to be claimed.
    Found { digest: Digest },
}

struct World<'a> {
    store: &'a Store,
    sources: &'a [Source],
    writers: Vec<Turn>,
    choices: std::vec::IntoIter<u8>,
    collector_works: bool,
}

impl World<'_> {
    fn choose(&mut self, from: usize) -> usize {
        usize::from(self.choices.next().unwrap_or(0)) % from
    }

    /// One turn of one writer.
    fn turn(&mut self) {
        let writer = self.choose(3);
        let turn = std::mem::replace(&mut self.writers[writer], Turn::Idle);
        self.writers[writer] = self.next(turn);
        self.check();
    }

    fn next(&mut self, turn: Turn) -> Turn {
        let store = self.store;
        match turn {
            Turn::Idle => self.begin(),
            Turn::Protect { source, part, lease } => {
                lease.protect(&self.sources[source][part].0).unwrap();
                Turn::Put { source, part, lease }
            }
            Turn::Put { source, part, lease } => {
                let (digest, bytes) = &self.sources[source][part];
                if !store.has_blob(digest).unwrap() {
                    let mut writer = store.blob_writer(&lease).unwrap();
                    writer.append(bytes).unwrap();
                    writer.finish(Some(digest)).unwrap();
                }
                if part + 1 == self.sources[source].len() {
                    return Turn::Use { digest: *digest, lease };
                }
                // Killed at times.
                if self.choose(40) == 39 {
                    Turn::Idle
                } else {
                    Turn::Protect { source, part: part + 1, lease }
                }
            }
            Turn::Use { digest, lease } => {
                if self.choose(3) == 0 {
                    let Config { memory, disks, .. } = store.load_snapshot(&digest).unwrap().config;
                    let layers = disks.iter().filter_map(|disk| disk.content.map(FlatKey::Layer));
                    let flats: Vec<_> = layers.chain([FlatKey::Map(memory.map)]).collect();
                    for key in &flats {
                        if store.claim_flat(&lease, *key).unwrap().is_none() {
                            put_flat(store, &lease, *key);
                        }
                    }
                    return Turn::LaidOut { digest, flats, lease };
                }
                let tag = self.tag();
                store.set_ref(&tag, &digest, None).unwrap();
                Turn::Idle
            }
            Turn::LaidOut { digest, flats, lease } => {
                let draft = store.draft_sandbox(&lease, &digest).unwrap();
                for key in flats {
                    assert!(store.link_flat(key, &draft.path().join(key.to_string())).unwrap(), "{key}");
                }
                Turn::Linked { draft }
            }
            Turn::Linked { draft } => {
                draft.commit().unwrap();
                Turn::Idle
            }
            Turn::Found { digest } => {
                let lease = store.lease().unwrap();
                // Its tag may have gone meanwhile, and parts of it with it: then this says so.
                match store.load_leased(&lease, &digest) {
                    Ok(_) => Turn::Use { digest, lease },
                    Err(LoadError::Missing { .. }) => Turn::Idle,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    fn begin(&mut self) -> Turn {
        let store = self.store;
        let refs = store.refs().unwrap();
        match self.choose(6) {
            0 | 1 => {
                let source = self.choose(self.sources.len());
                Turn::Protect { source, part: 0, lease: store.lease().unwrap() }
            }
            2 => {
                let tag = self.tag();
                store.remove_ref(&tag).ok();
                Turn::Idle
            }
            3 => {
                let ids: Vec<SandboxId> = store.sandboxes().unwrap();
                ids.iter().for_each(|id| store.remove_sandbox(id).unwrap());
                Turn::Idle
            }
            _ => {
                let found = self.choose(refs.len().max(1));
                refs.values().nth(found).map_or(Turn::Idle, |record| Turn::Found { digest: record.digest })
            }
        }
    }

    fn tag(&mut self) -> format::FullName {
        name(["local/a:1", "local/b:1", "local/c:1"][self.choose(3)])
    }

    /// What must be readable is.
    fn check(&self) {
        let tagged = self.store.refs().unwrap().into_values().map(|record| record.digest);
        let running = self.store.sandboxes().unwrap();
        let running = running.iter().map(|id| self.store.sandbox_snapshot(id).unwrap().unwrap());
        for digest in tagged.chain(running).collect::<BTreeSet<_>>() {
            self.store.load_snapshot(&digest).unwrap();
            if !self.collector_works {
                assert!(closure(self.store, digest).is_subset(&all_blobs(self.store)));
            }
        }
    }

    fn collect(&mut self) {
        let caches_too = self.choose(2) == 1;
        let plan = self.store.plan_prune(caches_too).unwrap();
        let lock = self.store.try_lock(LockKey::Collector).unwrap().unwrap();
        self.collector_works = true;
        let store = self.store;
        store
            .prune_stepwise(&lock, &plan, &mut || {
                for _ in 0..self.choose(8) {
                    self.turn();
                }
                Ok(())
            })
            .unwrap();
        self.collector_works = false;
        self.check();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn nothing_in_use_is_ever_lost(choices in prop::collection::vec(any::<u8>(), 300..1000)) {
        let sources = sources();
        let home = home();
        let mut world = World {
            store: &home.store,
            sources: &sources,
            writers: (0..3).map(|_| Turn::Idle).collect(),
            choices: choices.into_iter(),
            collector_works: false,
        };
        while world.choices.len() > 0 {
            for _ in 0..world.choose(60) {
                world.turn();
            }
            world.collect();
        }
        // In the end, with nobody at work, exactly what is in use is left.
        world.writers.clear();
        prune(&home.store, false);
        let mut expected = BTreeSet::new();
        for digest in home.store.refs().unwrap().into_values().map(|record| record.digest) {
            expected.extend(closure(&home.store, digest));
        }
        for id in home.store.sandboxes().unwrap() {
            expected.extend(closure(&home.store, home.store.sandbox_snapshot(&id).unwrap().unwrap()));
        }
        prop_assert_eq!(all_blobs(&home.store), expected);
    }
}
