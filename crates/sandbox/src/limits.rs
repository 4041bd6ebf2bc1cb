//! How long things may take on which several sides have to agree, and what is said of a sandbox that has reached a limit of its own.

use std::time::Duration;

/// How long the agent of a running VM may take to answer a new supervisor.
pub(crate) const ADOPTION_DEADLINE: Duration = Duration::from_secs(30);

/// How long killed processes may take to be gone.
pub(crate) const KILL_DEADLINE: Duration = Duration::from_secs(10);

/// Why a sandbox has ended whose time was up.
pub(crate) const TIME_LIMIT: &str = "its time limit has passed";
/// Why one has that nobody used.
pub(crate) const IDLE_LIMIT: &str = "it was idle for as long as it may be";
