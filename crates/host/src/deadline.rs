//! A point in time by which something must have happened.

use std::time::{Duration, Instant};

use rustix::time::Timespec;

/// A point in time by which something must have happened.
///
/// Passed down through every blocking call, so that a chain of them ends when its caller said, however many
/// steps it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

impl Deadline {
    /// `time` from now.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        const FAR: Duration = Duration::from_secs(365 * 24 * 3600);
        let now = Instant::now();
        Self(now.checked_add(time).or_else(|| now.checked_add(FAR)).unwrap_or(now))
    }

    /// The earlier of this and `time` from now.
    #[must_use]
    pub fn within(self, time: Duration) -> Self {
        self.min(Self::after(time))
    }

    /// What is left; `None` once it has passed.
    #[must_use]
    pub fn remaining(self) -> Option<Duration> {
        let left = self.0.saturating_duration_since(Instant::now());
        (!left.is_zero()).then_some(left)
    }

    /// What is left, as poll(2) takes it; zero once it has passed.
    pub(crate) fn timespec(self) -> Timespec {
        Timespec::try_from(self.remaining().unwrap_or_default())
            .unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
    }
}
