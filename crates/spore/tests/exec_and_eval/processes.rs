//! What a program is started with, what its end is told as, and what becomes of what it leaves.

use crate::guest::{Guest, TINY};

#[test]
fn environment_and_folder() {
    let Some(guest) = Guest::of(TINY, "environment_and_folder") else { return };
    let said =
        |options: &[&str], script: &str| guest.script(options, script).finish().succeeds().text().to_owned();
    assert_eq!(said(&["-e", "NAME=a b=c"], "echo \"$NAME\""), "a b=c");
    assert_eq!(said(&["-e", "A=1", "--env", "B=", "-e", "A=2"], "echo \"$A${B-unset}\""), "2");
    assert_eq!(said(&["-e", "NAME=käse\n"], "printf %s \"$NAME\""), "käse");
    assert_eq!(said(&[], "echo \"$HOME ${NAME-unset}\""), "/root unset", "it is left over, or the host's");
    // The host's own environment stays here, but for what is named.
    let run = guest.script(&[], "echo \"${HOST_ONLY-unset}\"").env("HOST_ONLY", "1");
    assert_eq!(run.finish().succeeds().text(), "unset");
    // A name without a slash is looked up where the command's own PATH says.
    guest.sh(
        "mkdir -p '/a folder' && printf '#!/bin/sh\\npwd\\n' >/a\\ folder/here && chmod +x /a\\ folder/here",
    );
    let found = guest.exec(&["-e", "PATH=/a folder:/bin", "-w", "/a folder"], &["here"]).finish();
    assert_eq!(found.succeeds().text(), "/a folder");
    assert_eq!(said(&[], "pwd"), "/");
    guest.exec(&["-w", "/not/there"], &["true"]).finish().exits_with(127).says(&["/not/there", "no folder"]);
    guest.exec(&["-e", "=x"], &["true"]).finish().exits_with(2).says(&["KEY=VALUE"]);
    // Arguments arrive as they are: nothing splits or expands them.
    let arguments = guest.exec(&[], &["printf", "<%s>", "a b", "", "$HOME", "*", "--help", "ä\n"]).finish();
    assert_eq!(arguments.succeeds().stdout, "<a b><><$HOME><*><--help><ä\n>".as_bytes());
}

#[test]
fn users_and_their_groups() {
    let Some(guest) = Guest::of(TINY, "users_and_their_groups") else { return };
    guest.sh("echo 'worker:x:1234:1235::/home/worker:/bin/sh' >>/etc/passwd
        printf 'staff:x:1235:\\nextra:x:77:other,worker\\nothers:x:78:other\\n' >>/etc/group");
    let ids = |user: &str| {
        let script = "echo $(id -u) $(id -g) $(id -G) $HOME";
        guest.script(&["-u", user], script).finish().succeeds().text().to_owned()
    };
    assert_eq!(ids("worker"), "1234 1235 1235 77 /home/worker");
    assert_eq!(ids("1234"), "1234 1235 1235 77 /home/worker");
    assert_eq!(ids("1234:5"), "1234 5 5 /home/worker");
    assert_eq!(ids("4321"), "4321 4321 4321 /");
    assert_eq!(ids("4321:99"), "4321 99 99 /");
    assert_eq!(ids("0"), "0 0 0 /");
    let denied = guest.script(&["-u", "worker"], "echo x >/etc/passwd").finish().exits_with(1);
    assert!(denied.error().contains("ermission denied"), "{denied}");
    guest
        .exec(&["-u", "nobody-here"], &["true"])
        .finish()
        .exits_with(125)
        .says(&["nobody-here", "/etc/passwd"]);
}

#[test]
fn the_status_is_the_command_s() {
    let Some(guest) = Guest::of(TINY, "the_status_is_the_command_s") else { return };
    for status in [0, 7, 124, 255] {
        guest.script(&[], &format!("exit {status}")).finish().exits_with(status);
    }
    for (signal, status) in [("TERM", 143), ("KILL", 137), ("SEGV", 139)] {
        guest.script(&[], &format!("kill -{signal} $$")).finish().exits_with(status);
    }
    guest.sh("echo text >/tmp/text; printf '#!/no/such/shell\\n' >/tmp/script; chmod +x /tmp/script");
    guest.exec(&[], &["/tmp/text"]).finish().exits_with(126).says(&["/tmp/text"]);
    guest.exec(&[], &["/tmp"]).finish().exits_with(126).says(&["/tmp"]);
    guest.exec(&[], &["no-such-command"]).finish().exits_with(127).says(&["no-such-command"]);
    guest.exec(&[], &["/tmp/script"]).finish().exits_with(127).says(&["/tmp/script"]);
    guest.exec(&[], &["/tmp/text/below"]).finish().exits_with(127).says(&["/tmp/text/below"]);
    guest.exec(&[], &[""]).finish().exits_with(125).says(&["argv"]);
}

#[test]
fn orphans_are_adopted_and_reaped() {
    const ORPHANS: usize = 20;
    let Some(guest) = Guest::of(TINY, "orphans_are_adopted_and_reaped") else { return };
    // Their output stays open: their end is not waited for.
    let started = guest.sh(&format!("for n in $(seq {ORPHANS}); do (sleep 1000 & echo $!); done"));
    let pids: Vec<_> = started.lines().collect();
    assert_eq!(pids.len(), ORPHANS, "{started}");
    let parents =
        format!("for pid in {}; do sed -n 's/^PPid:\\t//p' /proc/$pid/status; done", pids.join(" "));
    assert_eq!(guest.sh(&parents), ["1"; ORPHANS].join("\n"), "their parent is not the agent");
    guest.sh(&format!("kill {}", pids.join(" ")));
    let left = format!("for pid in {}; do [ ! -e /proc/$pid ] || echo $pid; done", pids.join(" "));
    guest.wait_until(&left, "");
    guest.wait_until("grep -l '^State:.Z' /proc/[0-9]*/status 2>/dev/null || true", "");
}

#[test]
fn nothing_runs_in_a_sandbox_that_has_ended() {
    let Some(guest) = Guest::of(TINY, "nothing_runs_in_a_sandbox_that_has_ended") else { return };
    let mut running = guest.exec(&[], &["sleep", "1000"]).start();
    guest.wait_until("pidof sleep >/dev/null && echo runs || true", "runs");
    guest.spore.run(["kill", &guest.id]).succeeds();
    let ended = running.wait(crate::harness::run::DEADLINE).expect("what ran in it ends");
    println!("while it was killed: {}", ended.error().trim());
    ended.exits_with(125);
    let after = guest.exec(&[], &["true"]).finish();
    println!("afterwards: {}", after.error().trim());
    after.exits_with(125).says(&[&guest.id]);
    guest.spore.run(["eval", &guest.id, "1"]).exits_with(125).says(&[&guest.id]);
}
