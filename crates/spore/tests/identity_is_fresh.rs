//! No two forks are the same machine: names, ids, random numbers of kernel and interpreter, and a clock that
//! is right. A fork whose agent does not acknowledge its new identity does not come to be.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "what a test says is its output")]

mod harness;

use std::collections::HashMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use harness::needs::{Need, skipped};
use harness::run::{DEADLINE, in_parallel};
use harness::shared::Shared;
use harness::{Spore, files, processes, recipes};
use serde_json::Value;

/// Children of each of two forks: an identity that one command counts up is not fresh in the next one.
const CHILDREN: usize = 10;
/// How wrong a clock may be, in seconds.
const CLOCK_SECONDS: f64 = 1.0;
/// What no two children may share, and what the clock says. The clock is read first, close to the moment of
/// asking.
const ASK: &str = r#"
import time
clock = time.time()
import json, os, random, socket, numpy
print(json.dumps({
    "clock": clock,
    "hostname": socket.gethostname(),
    "machine-id": open("/etc/machine-id").read().strip(),
    "boot-id": open("/proc/sys/kernel/random/boot_id").read().strip(),
    "getrandom": os.getrandom(32).hex(),
    "random.random()": random.random(),
    "numpy.random.rand()": numpy.random.rand(),
}))
"#;

#[test]
fn identity_is_fresh() {
    if skipped("identity_is_fresh", &[Need::Bake]) {
        return;
    }
    let spore = Spore::new();
    let (snapshot, _) = Shared::of(&recipes::shipped("python-numpy")).pull_into(&spore);
    let begun = host_clock();
    let children = [spore.fork(&snapshot, CHILDREN), spore.fork(&snapshot, CHILDREN)].concat();
    // A guest gets the time that it is when that is sent; on a busy machine it may get it late.
    let longest = CLOCK_SECONDS + host_clock() - begun;
    let answers = in_parallel(&children, |id| {
        let before = host_clock();
        let answer = spore.eval(id, ASK);
        let asked = before - longest..=host_clock() + CLOCK_SECONDS;
        let answer: Value = serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
        let clock = answer["clock"].as_f64().expect("a time");
        assert!(asked.contains(&clock), "{id} says it is {clock}, but it was asked within {asked:?}");
        (id, answer, before - clock)
    });
    assert_eq!(answers.len(), 2 * CHILDREN);
    let least = answers.iter().map(|(_, _, behind)| *behind).fold(f64::INFINITY, f64::min);
    assert!(least <= CLOCK_SECONDS, "all are behind, by {least} s at least");
    for what in ["hostname", "machine-id", "boot-id", "getrandom", "random.random()", "numpy.random.rand()"] {
        let mut seen = HashMap::new();
        for (id, answer, _) in &answers {
            let value = answer[what].to_string();
            assert!(value.len() > 2, "{id} has no {what}: {answer}");
            if let Some(other) = seen.insert(value.clone(), id) {
                panic!("{id} and {other} share the {what} {value}");
            }
        }
    }
}

#[test]
fn a_fork_whose_hook_fails_is_none() {
    assert_no_fork("on-fork-fails", r#"command = ["/bin/false"]"#, &["on_fork"]);
}

/// The hook freezes the agent, process 1, which can then neither acknowledge nor enforce the hook's own
/// deadline: it is for the host to notice.
#[test]
fn a_fork_whose_agent_is_silent_is_none() {
    const FREEZE_AGENT: &str = r#"
command = ["/bin/sh", "-ec", """
  mkdir /cgroups
  mount -t cgroup2 none /cgroups
  mkdir /cgroups/frozen
  echo 1 >/cgroups/frozen/cgroup.procs
  echo 1 >/cgroups/frozen/cgroup.freeze
"""]
deadline = "1s"
"#;
    assert_no_fork(
        "on-fork-freezes",
        FREEZE_AGENT,
        &["the new identity was not acknowledged", "within 10s", "--deadline", "on_fork"],
    );
}

/// Asserts that forks of a snapshot with such a hook fail, saying so, and that nothing of them is left.
fn assert_no_fork(name: &str, on_fork: &str, says: &[&str]) {
    if skipped(name, &[Need::Bake]) {
        return;
    }
    let recipe = recipes::changed("tiny", name, &format!("[on_fork]\n{on_fork}\n"));
    let spore = Spore::new();
    let (snapshot, _) = Shared::of(recipe.path()).pull_into(&spore);
    let (healthy, _) = Shared::of(&recipes::shipped("tiny")).pull_into(&spore);
    let sibling = spore.fork(&healthy, 1).remove(0);
    let forked = spore.command(["fork", &snapshot, "-n", "3", "--deadline", "10s"]);
    let (mut forked, begun) = (forked.start(), Instant::now());
    let outcome = loop {
        assert!(begun.elapsed() < DEADLINE, "the fork does not end");
        if let Some(outcome) = forked.wait(Duration::from_millis(100)) {
            break outcome.exits_with(1).says(says);
        }
        assert_small_supervisors(&spore);
        assert_eq!(spore.sh(&sibling, "echo here"), "here");
    };
    spore.run(["kill", &sibling]).succeeds();
    assert_eq!(outcome.text(), "", "it names sandboxes that do not exist");
    println!("{name}: {}", outcome.error().trim());
    spore.assert_no_sandboxes();
    assert_eq!(files::entries(&spore.root().join("sandboxes")), Vec::<std::path::PathBuf>::new());
}

/// Asserts on the memory of all that runs for sandboxes and is no engine.
fn assert_small_supervisors(spore: &Spore) {
    const SUPERVISOR_KIB: u64 = 4 << 10;
    for process in processes::in_folder(&spore.root().join("sandboxes")) {
        let own = processes::anonymous_kib_if_there(process.pid).unwrap_or_default();
        assert!(process.is_engine() || own < SUPERVISOR_KIB, "{own} KiB are its own: {process:?}");
    }
}

/// Seconds since 1970.
fn host_clock() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the host's clock is after 1970").as_secs_f64()
}
