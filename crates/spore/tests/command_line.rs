//! What every verb has in common: help and output that fit a terminal, settings and where they come from, logs, pipes that
//! break, and `spore doctor --fix`.
//!
//! The snapshot is one that no engine can run: nothing here forks.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test says is its output")]

mod harness;

#[path = "command_line/doctor.rs"]
mod doctor;
#[path = "command_line/logs.rs"]
mod logs;
#[path = "command_line/pipes.rs"]
mod pipes;
#[path = "command_line/settings.rs"]
mod settings;
#[path = "command_line/versions.rs"]
mod versions;
#[path = "command_line/width.rs"]
mod width;

use harness::Spore;
use hub::testing::{SampleSpec, put_sample};
use store::Store;

/// A user with the snapshots `local/sample:latest` and `local/team/sample:1.2.3-rc1`.
fn user() -> Spore {
    let spore = Spore::new();
    let store = Store::open(spore.root()).unwrap();
    let sample = put_sample(&store, &SampleSpec::default()).unwrap();
    for name in ["local/sample:latest", "local/team/sample:1.2.3-rc1"] {
        store.set_ref(&name.parse().unwrap(), &sample.digest, None).unwrap();
    }
    spore
}

/// Makes what is left of a sandbox whose record nobody can read.
fn leave_dead_sandbox(spore: &Spore) -> String {
    let id = "deadsandboxx";
    let folder = spore.root().join("sandboxes").join(id);
    std::fs::create_dir_all(&folder).unwrap();
    let snapshot = Store::attach(spore.root()).refs().unwrap().values().next().unwrap().digest;
    std::fs::write(folder.join("snapshot"), snapshot.to_string()).unwrap();
    id.to_owned()
}
