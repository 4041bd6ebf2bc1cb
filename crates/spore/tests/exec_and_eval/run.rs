//! `spore run`: one command in a sandbox that is gone when it ends.

use crate::guest::TINY;
use crate::harness::needs::{Need, skipped};
use crate::harness::shared::Shared;
use crate::harness::{Spore, recipes};
use crate::talk::Talk;

#[test]
fn run_leaves_nothing_but_its_status() {
    if skipped("exec_and_eval::run_leaves_nothing_but_its_status", &[Need::Bake]) {
        return;
    }
    let spore = Spore::new();
    let shared = Shared::of(&recipes::shipped(TINY));
    let hub = shared.hub.to_str().expect("a path of cargo's");
    // The first one pulls.
    let first = [
        "run",
        "--hub",
        hub,
        &shared.name,
        "-e",
        "A=1",
        "-w",
        "/tmp",
        "--",
        "sh",
        "-c",
        "echo $A $PWD; exit 7",
    ];
    assert_eq!(spore.run(first).exits_with(7).text(), "1 /tmp");
    spore.assert_no_sandboxes();

    let run = |options: &[&str], command: &[&str]| {
        spore.command([&["run", &shared.name], options, &["--"], command].concat())
    };
    let words = run(&["-i"], &["wc", "-c"]).stdin(vec![b'x'; 1 << 20]).finish();
    assert_eq!(words.succeeds().text(), "1048576");
    run(&[], &["no-such-command"]).finish().exits_with(127).says(&["no-such-command"]);
    run(&[], &["sh", "-c", "kill -9 $$"]).finish().exits_with(137);
    spore.assert_no_sandboxes();

    let variables = run(&["-e", "HERE", "-e", "B=2"], &["sh", "-c", "echo $HERE $B"]);
    assert_eq!(variables.env("HERE", "value").finish().succeeds().text(), "value 2");
    // Found out before anything is fetched.
    spore
        .run(["run", "--hub", hub, "not-there", "--secret", "key=/no/such", "--", "true"])
        .exits_with(125)
        .says(&["secret /no/such"]);
    let served = run(&["-p", "0:7"], &["true"]).finish().succeeds();
    assert!(served.text().is_empty() && served.error().contains(" -> 7\n"), "{served}");
    let idle = Talk::start(run(&["--idle", "1h"], &["sh", "-c", "echo ready; sleep 1000"]));
    idle.hears("ready");
    assert_eq!(spore.json(["ps"])["sandboxes"][0]["idle_seconds"], 3600);
    assert!(spore.run(["ps"]).succeeds().text().contains("idle 1h"));
    drop(idle);
    spore.run(["kill", "--all"]).succeeds();

    let talk = Talk::start(run(&[], &["sh", "-c", "echo ready; sleep 1000"]));
    talk.hears("ready");
    talk.interrupt();
    talk.ends_with(130);
    spore.assert_no_sandboxes();
    spore.run(["run", "not-here", "--", "true"]).exits_with(125).says(&["not-here"]);
}
