//! Packs that are ended while they are written or read.

use std::fs;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::run::DEADLINE;
use crate::harness::{Spore, files};
use crate::{baker, in_folder, kept};

/// Killed while it waits for more, an unpack leaves no tag; the next one is as if there had been none.
#[test]
fn a_killed_unpack_leaves_no_tag() {
    let (baker, _) = baker();
    let pack = baker.run(["pack", "base:1"]).succeeds().stdout;
    let user = Spore::new();
    let half = |command: &mut std::process::Command| {
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(&pack[..pack.len() / 2]).unwrap();
        let end = Instant::now() + DEADLINE;
        let blobs = user.root().join("blobs/sha256");
        while !blobs.is_dir() || files::entries(&blobs).len() < 2 {
            assert!(Instant::now() < end, "it stores nothing");
            std::thread::sleep(Duration::from_millis(5));
        }
        (child, pipe)
    };
    let (mut child, _pipe) = half(user.command(["unpack", "-"]).command());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(files::entries(&user.root().join("refs")), Vec::<PathBuf>::new());
    user.command(["prune"]).finish().succeeds();
    assert!(kept(&user).is_empty());
    // Told to end, it takes back what it has stored by itself.
    let (mut child, _pipe) = half(user.command(["unpack", "-", "--quiet"]).command());
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(kept(&user).is_empty(), "{:?}", kept(&user));
    user.command(["unpack", "-"]).stdin(pack).finish().succeeds();
    user.fsck();
}

/// What writes into a pipe that nobody reads ends all the same, whatever it has done before.
#[test]
fn a_pack_into_a_pipe_is_interrupted() {
    let (baker, folder) = baker();
    let hub = in_folder(&folder, "hub");
    baker.json(["push", "base:1", "--hub", &hub]);
    let user = Spore::new();
    user.json(["pull", "base:1", "--hub", &hub, "--no-layout"]);
    let blobs = user.root().join("blobs/sha256");
    let size = |path: &PathBuf| fs::metadata(path).unwrap().len();
    let lost = files::entries(&blobs).into_iter().max_by_key(size).unwrap();
    for is_whole in [true, false] {
        if !is_whole {
            fs::remove_file(&lost).unwrap();
        }
        let mut command = user.command(["pack", "base:1"]);
        let mut child = command.command().stdout(Stdio::piped()).spawn().unwrap();
        let mut pipe = child.stdout.take().unwrap();
        pipe.read_exact(&mut [0; 512]).unwrap();
        kill_process(Pid::from_child(&child), Signal::INT).unwrap();
        let end = Instant::now() + DEADLINE;
        while child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < end, "it goes on");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(!child.wait().unwrap().success());
    }
    assert!(lost.exists(), "it was fetched");
}
