//! An engine that attaches something else than it was told: a script before the real QEMU, which changes its arguments.
//!
//! Confined as every engine, it can write to its sandbox's folder only, which goes when the engine is ended. So its record is there,
//! and the script waits until the test has opened that.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::harness::qemu;
use crate::harness::run::{Outcome, Run};

/// How long the script may take to be started, and all of a command.
const DEADLINE: Duration = Duration::from_secs(300);

/// A QEMU that does not do as it is told, and keeps a record of the states that its machine was in.
pub struct Liar {
    program: PathBuf,
    /// Is there when the test has opened the record.
    seen: PathBuf,
}

/// The record of one start.
pub struct Trace(File);

impl Liar {
    /// `change` is in cases of the shell's `case`, which may change `$argument` and `arguments`, those before it.
    pub fn new(folder: &Path, change: &str) -> Self {
        let seen = folder.join("seen");
        let script = format!(
            r#"#!/bin/bash
arguments=()
for argument in "$@"; do
    case $argument in
    {change}
    -S)
        : >trace
        for _ in {{1..6000}}; do [ -e '{seen}' ] && break; sleep 0.01; done
        arguments+=(-trace runstate_set -D trace) ;;
    esac
    arguments+=("$argument")
done
exec QEMU "${{arguments[@]}}"
"#,
            seen = seen.display(),
        );
        fs::remove_file(&seen).ok();
        Self { program: qemu::wrapped(folder, &script), seen }
    }

    /// Runs a command that starts it in one new sandbox of those in `sandboxes`.
    #[track_caller]
    pub fn run(&self, command: Run, sandboxes: &Path) -> (Outcome, Trace) {
        let mut running = command.env("SPORE_QEMU", &self.program).start();
        let begun = Instant::now();
        let trace = loop {
            if let Some(trace) = record(sandboxes) {
                break trace;
            }
            if let Some(outcome) = running.wait(Duration::from_millis(10)) {
                panic!("it was never started: {outcome}");
            }
            assert!(begun.elapsed() < DEADLINE, "it is never started");
        };
        fs::write(&self.seen, "").unwrap();
        let outcome = running.wait(DEADLINE).expect("the command ends");
        (outcome, Trace(trace))
    }
}

/// The record of the one sandbox that has one.
fn record(sandboxes: &Path) -> Option<File> {
    let folders = fs::read_dir(sandboxes).ok()?;
    folders.flatten().find_map(|folder| File::open(folder.path().join("trace")).ok())
}

impl Trace {
    /// Whether the guest has run.
    pub fn has_run(self) -> bool {
        io::read_to_string(self.0).unwrap().contains("(running)")
    }
}
