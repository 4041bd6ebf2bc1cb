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

    let talk = Talk::start(run(&[], &["sh", "-c", "echo ready; sleep 1000"]));
    talk.hears("ready");
    talk.interrupt();
    talk.ends_with(130);
    spore.assert_no_sandboxes();
    spore.run(["run", "not-here", "--", "true"]).exits_with(125).says(&["not-here"]);
}
