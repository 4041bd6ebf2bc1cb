//! Variables and secrets of a fork: there in the guest, and nowhere on the host.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use agent_protocol::{Reply, Request};
use sandbox::Channel;

use crate::guest::{TINY, kill_supervisor};
use crate::harness::needs::{Need, skipped};
use crate::harness::run::DEADLINE;
use crate::harness::shared::Shared;
use crate::harness::{Spore, files, processes, recipes};

/// In no file and no argument otherwise.
const SECRET: &str = "a-secret-a01d5cd4";
const VALUE: &str = "a-value-77b1c0e2";

#[test]
fn what_a_fork_is_given_is_in_the_guest_alone() {
    if skipped("exec_and_eval::what_a_fork_is_given_is_in_the_guest_alone", &[Need::Bake]) {
        return;
    }
    let spore = Spore::new();
    let (snapshot, _) = Shared::of(&recipes::shipped(TINY)).pull_into(&spore);
    let (_folder, key) = a_key();
    let secret = format!("api-key={}", key.display());
    let fork = spore.command(["fork", &snapshot, "-e", "GIVEN", "-e", "MODE=batch", "--secret", &secret]);
    let forked = fork.env("GIVEN", VALUE).args(["--format", "json"]).finish().succeeds();
    let id = forked.json()["sandboxes"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(spore.sh(&id, "echo $MODE $GIVEN"), format!("batch {VALUE}"));
    assert_eq!(
        spore.run(["exec", &id, "-e", "MODE=x", "--", "sh", "-c", "echo $MODE"]).succeeds().text(),
        "x"
    );
    assert_eq!(spore.sh(&id, "cat /run/secrets/api-key"), SECRET);
    assert_eq!(
        spore.sh(&id, "stat -c '%a %u' /run/secrets/api-key; stat -f -c %T /run/secrets"),
        "400 0\ntmpfs"
    );
    spore.run(["exec", &id, "-u", "1234", "--", "cat", "/run/secrets/api-key"]).exits_with(1);

    // The disk of the guest is a file here, which it has written all it has to by then.
    spore.sh(&id, "sync");
    for path in files::files_below(&spore.root().join("sandboxes")) {
        for word in [SECRET, VALUE] {
            assert!(!contains(&path, word), "{word} is in {}", path.display());
        }
    }
    for process in processes::in_folder(spore.root()) {
        assert!(!process.arguments.contains(SECRET) && !process.arguments.contains(VALUE), "{process:?}");
    }
    let record =
        fs::read_to_string(spore.root().join("sandboxes").join(&id).join("record.json")).expect("a record");
    assert!(record.contains("\"given\": true"), "{record}");
    let other = spore.fork(&snapshot, 1).remove(0);
    assert_eq!(spore.sh(&other, "echo -$GIVEN-; ls /run/secrets 2>/dev/null || echo none"), "--\nnone");

    spore.run(["fork", &snapshot, "--secret", "key"]).exits_with(2).says(&["NAME=FILE"]);
    spore.run(["fork", &snapshot, "--secret", "../x=/etc/hostname"]).exits_with(2).says(&["../x"]);
    spore.run(["fork", &snapshot, "--secret", "x=/dev/zero"]).exits_with(2).says(&["49152"]);
    spore.run(["fork", &snapshot, "-e", "NOT_SET_HERE"]).exits_with(2).says(&["NOT_SET_HERE"]);
}

/// What a capture asks first. The test takes the place of a supervisor that was killed.
#[test]
fn what_was_given_can_be_taken_back() {
    if skipped("exec_and_eval::what_was_given_can_be_taken_back", &[Need::Bake]) {
        return;
    }
    let spore = Spore::new();
    let (snapshot, _) = Shared::of(&recipes::shipped(TINY)).pull_into(&spore);
    let (_folder, key) = a_key();
    let secret = format!("key={}", key.display());
    // The second variable is one that every command has otherwise.
    let forked =
        spore.json(["fork", &snapshot, "-e", "GIVEN=1", "-e", "PATH=/bin:/given", "--secret", &secret]);
    let id = forked["sandboxes"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(spore.sh(&id, "echo $GIVEN $PATH; ls /run/secrets"), "1 /bin:/given\nkey");

    kill_supervisor(&spore);
    let stream =
        host::socket::connect_in(&spore.root().join("sandboxes").join(&id), "agent").expect("a guest");
    let mut agent = Channel::new(stream).expect("a channel");
    let deadline = || host::Deadline::after(DEADLINE);
    agent.greet_until_answered(deadline()).expect("an agent");
    assert_eq!(agent.ask(&Request::Withdraw {}, deadline()).expect("an answer"), Reply::Withdrawn {});
    drop(agent);
    assert_eq!(spore.sh(&id, "echo -$GIVEN-; ls /run/secrets; echo $PATH | grep -c given || true"), "--\n0");
}

/// A file with the secret, which goes with its folder.
fn a_key() -> (tempfile::TempDir, PathBuf) {
    let folder = files::scratch("given");
    let key = folder.path().join("key");
    fs::write(&key, SECRET).expect("a file");
    (folder, key)
}

fn contains(path: &Path, word: &str) -> bool {
    // What has other names is the snapshot's, and was there before.
    let is_file =
        fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.nlink() == 1);
    let bytes = if is_file { fs::read(path).expect("it can be read") } else { Vec::new() };
    let first = word.as_bytes()[0];
    let mut starts = bytes.iter().enumerate().filter(|(_, byte)| **byte == first);
    starts.any(|(at, _)| bytes[at..].starts_with(word.as_bytes()))
}
