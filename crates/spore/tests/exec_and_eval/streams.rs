//! Streams arrive whole, apart, and at once, whatever else runs in the guest.

use std::process::Stdio;

use format::Digest;

use crate::guest::{Guest, TINY};
use crate::harness::run::in_parallel;
use crate::talk::Talk;

/// Far more than any buffer or credit on the way.
const BYTES: usize = 4 << 20;

#[test]
fn output_is_complete_and_apart() {
    let Some(guest) = Guest::of(TINY, "output_is_complete_and_apart") else { return };
    let sums = guest.sh(&format!(
        "head -c {BYTES} /dev/urandom >/tmp/out; head -c {BYTES} /dev/urandom >/tmp/err
        sha256sum </tmp/out; sha256sum </tmp/err"
    ));
    let expected: Vec<_> = sums.lines().map(|line| line.split(' ').next().unwrap_or_default()).collect();
    let said = guest.script(&[], "cat /tmp/out & cat /tmp/err >&2; wait; exit 3").finish();
    assert_eq!((said.stdout.len(), said.stderr.len()), (BYTES, BYTES));
    assert_eq!([Digest::of(&said.stdout).hex(), Digest::of(&said.stderr).hex()], *expected);
    assert_eq!(said.status.code(), Some(3));
    // All that was written before the end comes, however short the program lived.
    let short = guest.script(&[], "head -c 60000 /tmp/out; head -c 60000 /tmp/err >&2").finish().succeeds();
    assert_eq!(
        (short.stdout.as_slice(), short.stderr.as_slice()),
        (&said.stdout[..60_000], &said.stderr[..60_000])
    );
}

#[test]
fn input_is_streamed_to_its_end() {
    let Some(guest) = Guest::of(TINY, "input_is_streamed_to_its_end") else { return };
    let mut bytes = vec![0; BYTES];
    getrandom(&mut bytes);
    let sum = guest.exec(&["-i"], &["sha256sum"]).stdin(bytes.clone()).finish().succeeds();
    assert_eq!(sum.text().split(' ').next(), Some(Digest::of(&bytes).hex().as_str()));
    let echoed = guest.exec(&["-i"], &["cat"]).stdin(bytes.clone()).finish().succeeds();
    assert_eq!(Digest::of(&echoed.stdout), Digest::of(&bytes));
    assert_eq!(guest.exec(&["-i"], &["wc", "-c"]).stdin([]).finish().succeeds().text(), "0");
    // Without -i there is nothing to read, whatever is on our own input.
    assert_eq!(guest.exec(&[], &["wc", "-c"]).stdin(bytes.clone()).finish().succeeds().text(), "0");
    // What nobody reads keeps nobody from ending.
    guest.script(&["-i"], "exec 0<&-; exit 4").stdin(bytes).finish().exits_with(4);

    let mut talk =
        Talk::start(guest.script(&["-i"], "while read line; do echo \"heard $line\"; done; exit 5"));
    for line in ["one", "two"] {
        talk.say(line);
        talk.hears(&format!("heard {line}"));
    }
    talk.ends_with(5);
}

#[test]
fn several_run_at_once() {
    let Some(guest) = Guest::of(TINY, "several_run_at_once") else { return };
    // Each waits for the other: one after the other they would never end.
    guest.sh("mkfifo /tmp/there /tmp/back");
    let scripts = ["echo ping >/tmp/there; cat /tmp/back", "cat /tmp/there; echo pong >/tmp/back"];
    let mut said = in_parallel(&scripts, |script| guest.sh(script));
    said.sort();
    assert_eq!(said, ["ping", "pong"]);

    // One whose output nobody reads is in nobody's way.
    let mut unread = guest.exec(&[], &["yes"]);
    let mut unread = unread.command().stderr(Stdio::null()).spawn().expect("it can be started");
    guest.wait_until("pidof yes >/dev/null && echo runs || true", "runs");
    let numbers: Vec<_> = (0..8).collect();
    in_parallel(&numbers, |number| {
        let bytes = format!("{number}\n").repeat(200_000).into_bytes();
        let echoed = guest.exec(&["-i"], &["cat"]).stdin(bytes.clone()).finish().succeeds();
        assert_eq!(Digest::of(&echoed.stdout), Digest::of(&bytes), "{number}");
    });
    // When its reader has gone it ends, here and in the guest.
    drop(unread.stdout.take());
    assert_eq!(unread.wait().expect("its status can be had").code(), Some(141));
    guest.wait_until("pidof yes >/dev/null && echo runs || true", "");
}

fn getrandom(bytes: &mut [u8]) {
    use std::io::Read;
    std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(bytes)).expect("random bytes");
}
