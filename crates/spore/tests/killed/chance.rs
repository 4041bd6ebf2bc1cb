//! Chance that can be had again: a seed, which is printed and taken from `SPORE_TEST_SEED` if that is set, a test and a number
//! decide all of it.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The seed of this run.
pub fn seed() -> u64 {
    number_from("SPORE_TEST_SEED").unwrap_or_else(|| RandomState::new().hash_one("a seed"))
}

/// A variable that is a number, if it is set.
pub fn number_from<T: std::str::FromStr>(variable: &str) -> Option<T> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, not {text:?}")))
}

/// A sequence of numbers (SplitMix64).
#[derive(Debug)]
pub struct Chance(u64);

impl Chance {
    /// Of one try of a test: no other try plays a part in it.
    pub fn of(seed: u64, test: &str, number: usize) -> Self {
        let name = test.bytes().fold(0, |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let mut chance = Self(seed ^ name);
        // Numbers that follow each other would give sequences that overlap.
        chance.0 = chance.next() ^ number as u64;
        chance.0 = chance.next();
        chance
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A moment before `end`.
    pub fn moment(&mut self, end: Duration) -> Duration {
        let fraction = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        end.mul_f64(fraction)
    }

    pub fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).expect("it is below a usize")
    }
}
