//! All faults that there can be, numbered, and which of them are tried.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use nix::errno::Errno;

use crate::calls::Call;
use crate::chance::Chance;
use crate::tracer::{Fault, Injected};

const ERRORS: [Errno; 3] = [Errno::ENOSPC, Errno::EDQUOT, Errno::EIO];

impl Fault {
    /// What has to be said of it: what it is, and what to do.
    pub fn words(self) -> &'static [&'static str] {
        match self {
            Self::Error(Errno::ENOSPC) => &["no space left", "free some"],
            Self::Error(Errno::EDQUOT) => &["quota", "free some"],
            Self::Error(_) => &["input/output error", "dmesg"],
            // It is no error.
            Self::Short => &["nothing is to be said"],
        }
    }
}

impl fmt::Display for Injected {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::Error(error) => write!(out, "{error:?}")?,
            Fault::Short => write!(out, "half")?,
        }
        write!(out, " at {}, number {}", self.call, self.nth)
    }
}

/// All faults, in an order that does not depend on how threads took turns.
#[derive(Debug)]
pub struct Faults {
    pub all: Vec<Injected>,
}

impl Faults {
    /// Of what a command does each time that nobody disturbs it: where threads take turns in another way, it may need more calls, which
    /// could not be found again.
    pub fn of(runs: &[Vec<Call>]) -> Self {
        let counted = runs.iter().map(|calls| {
            let mut counts = BTreeMap::new();
            calls.iter().for_each(|call| *counts.entry(call).or_insert(0) += 1);
            counts
        });
        let both = |left: BTreeMap<_, usize>, right: BTreeMap<_, usize>| {
            let least = |(call, count): (_, usize)| Some((call, count.min(*right.get(&call)?)));
            left.into_iter().filter_map(least).collect()
        };
        let counts = counted.reduce(both).unwrap_or_default();
        let each = counts.into_iter().flat_map(|(call, count)| (0..count).map(move |nth| (call, nth)));
        let all = each.flat_map(|(call, nth)| {
            let short = call.length.map(|_| Fault::Short);
            let faults = ERRORS.map(Fault::Error).into_iter().chain(short);
            faults.map(move |fault| Injected { call: call.clone(), nth, fault })
        });
        Self { all: all.collect() }
    }

    /// The numbers of those that `SPORE_TEST_FAULTS` asks for, `most` of them at most; without it, of `few`.
    pub fn chosen(&self, test: &str, seed: u64, few: usize, most: usize) -> Vec<usize> {
        match std::env::var("SPORE_TEST_FAULTS").as_deref() {
            Err(_) => self.sample(test, seed, few),
            Ok("all") => self.sample(test, seed, most),
            Ok(range) => {
                let ends = range.split_once("..").map(|(from, to)| (from.parse(), to.parse()));
                let Some((Ok(from), Ok(to))) = ends else {
                    panic!("SPORE_TEST_FAULTS is `all` or FROM..TO, not {range:?}");
                };
                (from..self.all.len().min(to)).collect()
            }
        }
    }

    /// So many, each once: calls that are made a hundred times are as likely as those that are made once.
    fn sample(&self, test: &str, seed: u64, count: usize) -> Vec<usize> {
        let (mut kinds, mut chosen) = (BTreeMap::<_, Vec<_>>::new(), BTreeSet::new());
        for (number, fault) in self.all.iter().enumerate() {
            kinds.entry(&fault.call).or_default().push(number);
        }
        let (mut kinds, mut chance) = (Vec::from_iter(kinds.into_values()), Chance::of(seed, test, 0));
        while chosen.len() < count && !kinds.is_empty() {
            let kind = chance.below(kinds.len());
            let number = chance.below(kinds[kind].len());
            chosen.insert(kinds[kind].swap_remove(number));
            kinds.retain(|kind| !kind.is_empty());
        }
        chosen.into_iter().collect()
    }
}
