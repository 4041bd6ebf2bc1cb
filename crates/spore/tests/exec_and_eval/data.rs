//! `--data`: a disk that a fork has besides those of its snapshot.

use std::fs::{self, File};
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

use crate::guest::TINY;
use crate::harness::needs::{Need, skipped};
use crate::harness::run::Run;
use crate::harness::shared::Shared;
use crate::harness::spore::strings;
use crate::harness::{Spore, files, recipes};

/// A host, and a snapshot on it.
fn host(test: &str) -> Option<(Spore, String)> {
    if skipped(&format!("exec_and_eval::{test}"), &[Need::Bake]) {
        return None;
    }
    let spore = Spore::new();
    let (snapshot, _) = Shared::of(&recipes::shipped(TINY)).pull_into(&spore);
    Some((spore, snapshot))
}

/// An empty ext4 of 16 MiB.
fn image(path: &Path) {
    File::create(path).and_then(|file| file.set_len(16 << 20)).expect("a file");
    Run::new("/sbin/mkfs.ext4").args(["-q", "-F"]).args([path]).finish().succeeds();
}

fn fork(spore: &Spore, snapshot: &str, count: usize, data: &str) -> Vec<String> {
    let forked = spore.json(["fork", snapshot, "-n", &count.to_string(), "--data", data]);
    strings(&forked["sandboxes"], "id")
}

#[test]
fn a_folder_is_a_disk_of_all_siblings() {
    let Some((spore, snapshot)) = host("a_folder_is_a_disk_of_all_siblings") else { return };
    let folder = files::scratch("data");
    fs::create_dir(folder.path().join("sub")).expect("a folder");
    fs::write(folder.path().join("sub/file"), "content").expect("a file");
    // Larger than the disk that the guest was frozen with.
    fs::write(folder.path().join("large"), vec![b'x'; 5 << 20]).expect("a file");
    let data = folder.path().to_str().expect("UTF-8");
    let ids = fork(&spore, &snapshot, 2, data);
    for id in &ids {
        assert_eq!(
            spore.sh(id, "cat /data/sub/file; tr -d x </data/large; wc -c </data/large"),
            format!("content{}", 5 << 20)
        );
        spore.run(["exec", id, "--", "touch", "/data/new"]).exits_with(1).says(&["Read-only"]);
        assert_eq!(
            spore.sh(id, "cat /sys/block/$(basename $(readlink /dev/disk/by-id/virtio-data0))/ro"),
            "1"
        );
    }
    let listed = spore.json(["ps"]);
    assert_eq!(listed["sandboxes"][0]["data"]["writable"], false, "{listed}");
    // Whoever has no data disk has what the snapshot had.
    let other = spore.fork(&snapshot, 1).remove(0);
    assert_eq!(spore.sh(&other, "ls /data 2>/dev/null || echo none"), "none");

    // A new supervisor changes nothing.
    let supervisor =
        listed["sandboxes"][0]["supervisor_pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    kill_process(supervisor.and_then(Pid::from_raw).expect("a process"), Signal::KILL).expect("it runs");
    let id = listed["sandboxes"][0]["id"].as_str().expect("an id");
    assert_eq!(spore.sh(id, "cat /data/sub/file"), "content");
    spore.run(["kill", "--all"]).succeeds();
    spore.fsck();
}

#[test]
fn an_image_is_written_by_one() {
    let Some((spore, snapshot)) = host("an_image_is_written_by_one") else { return };
    let folder = files::scratch("data");
    let disk = folder.path().join("disk.img");
    image(&disk);
    let read = disk.to_str().expect("UTF-8").to_owned();
    let write = format!("{read}:rw");
    let id = fork(&spore, &snapshot, 1, &write).remove(0);
    let on_host = |name: &str| {
        Run::new("/sbin/debugfs")
            .args(["-R", &format!("cat /{name}")])
            .args([&disk])
            .finish()
            .succeeds()
            .text()
            .to_owned()
    };
    let refused = |data: &str, reason: &str| {
        spore.run(["fork", &snapshot, "--data", data]).exits_with(1).says(&["disk.img", reason]);
    };
    refused(&write, "it is in use");
    refused(&read, "another sandbox writes to it");
    // What it has written and not brought there is there when it is gone, open files or not.
    spore.sh(&id, "echo a word >/data/word; sleep 1000 >/data/open 2>&1 &");
    spore.run(["kill", &id]).succeeds();
    assert_eq!(on_host("word"), "a word");
    let features = Run::new("/sbin/dumpe2fs").args(["-h"]).args([&disk]).finish().succeeds();
    assert!(!features.text().contains("needs_recovery"), "{features}");

    let ids = fork(&spore, &snapshot, 2, &read);
    for id in &ids {
        assert_eq!(spore.sh(id, "cat /data/word"), "a word");
        spore.run(["exec", id, "--", "touch", "/data/new"]).exits_with(1).says(&["Read-only"]);
    }
    refused(&write, "it is in use");
    spore.run(["kill", "--all"]).succeeds();
    let run = ["run", &snapshot, "--data", &write, "--", "sh", "-c", "cat /data/word; echo more >/data/more"];
    assert_eq!(spore.run(run).succeeds().text(), "a word");
    assert_eq!(on_host("more"), "more");

    // One that was not let go of has a journal to be replayed.
    let id = fork(&spore, &snapshot, 1, &write).remove(0);
    spore.sh(&id, "echo last >/data/last; sync");
    let engine =
        spore.json(["ps"])["sandboxes"][0]["engine_pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
    kill_process(engine.and_then(Pid::from_raw).expect("a process"), Signal::KILL).expect("it runs");
    // Who notices first decides whether it is also said that something may be missing.
    spore.run(["kill", &id]);
    refused(&read, "attach it writable once");
    let id = fork(&spore, &snapshot, 1, &write).remove(0);
    assert_eq!(spore.sh(&id, "cat /data/last"), "last");
}

#[test]
fn what_is_no_data_disk_is_named() {
    let Some((spore, snapshot)) = host("what_is_no_data_disk_is_named") else { return };
    let folder = files::scratch("data");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let refused = |data: &str, code: i32, reason: &str| {
        spore.run(["fork", &snapshot, "--data", data]).exits_with(code).says(&["data disk", reason]);
    };
    refused(&path("missing"), 3, "no such file or folder");
    refused(&format!("{}:rw", folder.path().display()), 2, "a folder can only be read");
    refused("/dev/null", 2, "neither a file nor a folder");
    fs::write(path("short"), "too short").expect("a file");
    refused(&path("short"), 2, "512 bytes");
    image(Path::new(&path("disk")));
    let shared = ["fork", &snapshot, "-n", "2", "--data", &format!("{}:rw", path("disk"))];
    spore.run(shared).exits_with(2).says(&["one sandbox alone"]);
    assert_eq!(spore.sandboxes(), Vec::<String>::new());
    // Without a file system that the guest knows it is a disk all the same.
    fs::write(path("raw"), [b"raw bytes\n".as_slice(), &[0; 1014]].concat()).expect("a file");
    let id = fork(&spore, &snapshot, 1, &path("raw")).remove(0);
    assert_eq!(
        spore.sh(&id, "head -n 1 /dev/disk/by-id/virtio-data0; mount | grep -c data || true"),
        "raw bytes\n0"
    );
}
