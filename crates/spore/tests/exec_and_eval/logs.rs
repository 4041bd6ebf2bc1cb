//! `spore logs`: what console, engine and supervisor wrote, also of a sandbox that has ended.

use std::fs;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::guest::{Guest, TINY};
use crate::harness::run::DEADLINE;
use crate::talk::Talk;

#[test]
fn logs_outlive_the_guest() {
    let Some(guest) = Guest::of(TINY, "logs_outlive_the_guest") else { return };
    let logs = |options: &[&str]| {
        let run = guest.spore.run([&["logs", &guest.id], options].concat()).succeeds();
        String::from_utf8_lossy(&run.stdout).into_owned()
    };
    guest.sh("printf 'first word\\nlast word\\n' >/dev/console");
    let begun = Instant::now();
    while logs(&["--console", "-n", "1"]).trim() != "last word" {
        assert!(begun.elapsed() < DEADLINE, "{}", logs(&[]));
    }
    assert!(logs(&["--console"]).contains("first word"));
    assert!(!logs(&["--console", "-n", "1"]).contains("first word"));

    let sandbox = guest.spore.json(["ps"])["sandboxes"][0].clone();
    let engine =
        sandbox["engine_pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    kill_process(engine.expect("a pid"), Signal::KILL).expect("it can be killed");
    while guest.spore.json(["ps"])["sandboxes"].as_array().is_some_and(|running| !running.is_empty()) {
        assert!(begun.elapsed() < DEADLINE, "{}", guest.spore.json(["ps", "-a"]));
    }
    let all = logs(&[]);
    assert!(all.contains("==> console <==") && all.contains("last word"), "{all}");
    let json = guest.spore.json(["logs", &guest.id]);
    assert!(json["logs"]["console"].as_str().is_some_and(|text| text.contains("last word")), "{json}");
    guest.spore.run(["kill", &guest.id]).succeeds();
    guest.spore.run(["logs", &guest.id]).says(&[&guest.id]);
}

#[test]
fn logs_are_followed_to_the_end() {
    let Some(guest) = Guest::of(TINY, "logs_are_followed_to_the_end") else { return };
    let mut said =
        Talk::start(guest.script(&["-i"], "while read word; do echo $word >/dev/console; echo said; done"));
    said.say("one word");
    said.hears("said");
    let begun = Instant::now();
    while guest.spore.run(["logs", &guest.id, "--console", "-n", "1"]).succeeds().text().trim() != "one word"
    {
        assert!(begun.elapsed() < DEADLINE, "it is never logged");
    }
    let followed = Talk::start(guest.spore.command(["logs", &guest.id, "-f", "--console", "-n", "1"]));
    followed.hears("one word");
    said.say("another");
    followed.hears("another");
    let lines = Talk::start(guest.spore.command([
        "logs",
        &guest.id,
        "-f",
        "--console",
        "-n",
        "1",
        "--format",
        "json",
    ]));
    lines.hears(r#"{"line":"another\r","log":"console"}"#);
    said.say("one more");
    followed.hears("one more");
    lines.hears(r#"{"line":"one more\r","log":"console"}"#);

    // A log that nobody has written yet.
    let log = guest.spore.root().join("sandboxes").join(&guest.id).join("supervisor.log");
    fs::remove_file(&log).ok();
    let later = Talk::start(guest.spore.command(["logs", &guest.id, "-f", "--supervisor"]));
    fs::write(&log, "a late word\n").expect("a log");
    later.hears("a late word");
    said.ends_with(0);
    guest.spore.run(["kill", &guest.id]).succeeds();
    for following in [followed, lines, later] {
        following.ends_with(0);
    }
}
