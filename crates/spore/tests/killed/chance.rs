//! Random moments that can be had again: the seed is printed, and taken from `SPORE_TEST_SEED` if that is set.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A sequence of numbers that a seed and a name decide (SplitMix64).
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// Says the seed.
    pub fn new(test: &str) -> Self {
        let given = std::env::var("SPORE_TEST_SEED").ok();
        let given = given.map(|text| text.parse().expect("SPORE_TEST_SEED is a number"));
        let seed: u64 = given.unwrap_or_else(|| RandomState::new().hash_one(test));
        println!("{test}: SPORE_TEST_SEED={seed}");
        let name = test.bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        Self(seed ^ name)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A moment before `end`.
    pub fn moment(&mut self, end: Duration) -> Duration {
        let micros = u64::try_from(end.as_micros()).expect("not that long").max(1);
        Duration::from_micros(self.next() % micros)
    }

    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        let choice = self.next() % choices.len() as u64;
        choices[usize::try_from(choice).expect("few choices")]
    }
}

/// How many moments are tried: `SPORE_TEST_KILLS`, 20 unless it is set.
pub fn moments() -> u32 {
    std::env::var("SPORE_TEST_KILLS").map_or(20, |text| text.parse().expect("SPORE_TEST_KILLS is a number"))
}
