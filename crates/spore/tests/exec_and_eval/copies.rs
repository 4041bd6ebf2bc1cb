//! `spore cp`: files, folders and streams, there and back.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use format::Digest;
use rustix::process::Signal;

use crate::guest::{Guest, TINY};
use crate::harness::files;
use crate::harness::run::{Outcome, Run};
use crate::talk::Talk;

impl Guest {
    /// `spore cp FROM TO`, with `ID:` for this guest's side.
    fn cp(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Outcome {
        self.cp_of(from, to).finish()
    }

    fn cp_of(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) -> Run {
        let side = |path: &Path| path.to_str().expect("UTF-8").replace("ID:", &format!("{}:", self.id));
        self.spore.command(["cp", &side(from.as_ref()), &side(to.as_ref())])
    }
}

/// Whatever a tree has that is to be kept.
fn tree(root: &Path) -> Vec<(String, u32, i64, i64, Digest)> {
    let (mut pending, mut found) = (vec![root.to_owned()], Vec::new());
    while let Some(path) = pending.pop() {
        let metadata = fs::symlink_metadata(&path).expect("it can be read");
        let content = if metadata.is_symlink() {
            fs::read_link(&path).expect("a link").into_os_string().into_encoded_bytes()
        } else if metadata.is_dir() {
            pending.extend(files::entries(&path));
            Vec::new()
        } else {
            fs::read(&path).expect("it can be read")
        };
        let name = path.strip_prefix(root).expect("below").to_string_lossy().into_owned();
        found.push((name, metadata.mode(), metadata.mtime(), metadata.mtime_nsec(), Digest::of(&content)));
    }
    found.sort();
    found
}

#[test]
fn a_tree_goes_in_and_comes_back() {
    let Some(guest) = Guest::of(TINY, "a_tree_goes_in_and_comes_back") else { return };
    let folder = files::scratch("copies");
    let root = folder.path().join("tree");
    fs::create_dir_all(root.join("deep/er")).expect("a folder");
    fs::write(root.join("deep/er/data"), vec![b'x'; 3 << 20]).expect("a file");
    fs::write(root.join("run.sh"), "#!/bin/sh\necho it runs\n").expect("a file");
    fs::set_permissions(root.join("run.sh"), fs::Permissions::from_mode(0o754)).expect("a mode");
    symlink("../run.sh", root.join("deep/link")).expect("a link");
    let holes = File::create(root.join("holes")).expect("a file");
    holes.set_len(64 << 20).expect("a length");
    holes.write_all_at(b"data", 40 << 20).expect("data");
    let known = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 987_654_321);
    for name in ["run.sh", "holes"] {
        File::open(root.join(name)).expect("a file").set_modified(known).expect("a time");
    }

    guest.cp(&root, "ID:/tmp").succeeds();
    assert_eq!(guest.sh("/tmp/tree/deep/link"), "it runs");
    assert_eq!(guest.sh("stat -c '%a %Y %u' /tmp/tree/run.sh"), "754 1234567890 0");
    assert_eq!(guest.sh("stat -c %s /tmp/tree/holes; du -k /tmp/tree/holes | cut -f1 | grep -xE '[0-9]{1,3}' >/dev/null && echo few"), "67108864\nfew");
    guest.cp("ID:/tmp/tree", folder.path().join("back")).succeeds();
    assert_eq!(tree(&folder.path().join("back")), tree(&root));
    let blocks = fs::metadata(folder.path().join("back/holes")).expect("it is there").blocks();
    assert!(blocks * 512 < 1 << 20, "{blocks} blocks");

    // What is in it; a file, under another name; as another user.
    guest.cp(root.join("."), "ID:/tmp").succeeds();
    assert_eq!(guest.sh("cat /tmp/deep/er/data | wc -c"), (3 << 20).to_string());
    guest.cp("ID:/tmp/run.sh", folder.path().join("renamed")).succeeds();
    assert_eq!(fs::read(folder.path().join("renamed")).ok(), fs::read(root.join("run.sh")).ok());
    guest.sh("chmod 1777 /tmp");
    let copied = guest.cp_of(root.join("run.sh"), "ID:/tmp/theirs").args(["-u", "1234"]).finish().succeeds();
    assert!(copied.stdout.is_empty(), "{copied}");
    assert_eq!(guest.sh("stat -c %u /tmp/theirs"), "1234");
    let json =
        guest.cp_of("ID:/tmp/theirs", folder.path()).args(["--format", "json"]).finish().succeeds().json();
    assert!(json["bytes"].as_u64() >= Some(1024), "{json}");
    assert!(folder.path().join("theirs").is_file());
}

#[test]
fn trees_as_streams() {
    let Some(guest) = Guest::of(TINY, "trees_as_streams") else { return };
    let folder = files::scratch("copies");
    // Far more than the credit of a stream, while something else is asked of the guest.
    guest.sh("mkdir -p /tmp/out/sub; head -c 6000000 /dev/urandom >/tmp/out/sub/random");
    let sum = guest.sh("sha256sum </tmp/out/sub/random");
    let stream = guest.cp("ID:/tmp/out", "-").succeeds().stdout;
    let listed = Run::new("tar").args(["tf", "-"]).stdin(stream.clone()).finish().succeeds();
    assert_eq!(listed.text(), "out/\nout/sub/\nout/sub/random");
    guest.sh("mkdir /tmp/in");
    guest.cp_of("-", "ID:/tmp/in").stdin(stream).finish().succeeds();
    assert_eq!(guest.sh("sha256sum </tmp/in/out/sub/random"), sum);

    fs::write(folder.path().join("a file"), "content").expect("a file");
    let tar = Run::new("tar")
        .args(["c", "-C", folder.path().to_str().expect("UTF-8"), "a file"])
        .finish()
        .succeeds();
    guest.cp_of("-", "ID:/tmp/in").stdin(tar.stdout).finish().succeeds();
    assert_eq!(guest.sh("cat '/tmp/in/a file'"), "content");
    guest
        .cp_of("-", "ID:/tmp/in")
        .stdin(*b"this is no tar stream")
        .finish()
        .exits_with(1)
        .says(&["in the guest", "tar stream"]);
    let evil = Run::new("tar")
        .args(["cP", "--transform=s,.*,/tmp/evil,", "-C", folder.path().to_str().expect("UTF-8"), "a file"])
        .finish()
        .succeeds();
    guest
        .cp_of("-", "ID:/tmp/in")
        .stdin(evil.stdout)
        .finish()
        .exits_with(1)
        .says(&["leads out of the destination"]);
    assert_eq!(guest.sh("ls /tmp/evil 2>/dev/null || echo none"), "none");
}

#[test]
fn what_cannot_be_copied_is_named() {
    let Some(guest) = Guest::of(TINY, "what_cannot_be_copied_is_named") else { return };
    let folder = files::scratch("copies");
    let here = folder.path().join("here");
    fs::write(&here, "content").expect("a file");
    guest.cp("ID:/no/such", folder.path()).exits_with(3).says(&["in the guest", "/no/such", "No such file"]);
    guest.cp(folder.path().join("missing"), "ID:/tmp").exits_with(1).says(&["missing", "No such file"]);
    guest.cp(&here, "ID:/no/such/folder").exits_with(3).says(&["in the guest", "/no/such"]);
    guest.cp(&here, "ID:/new/").exits_with(1).says(&["/new is no folder"]);
    guest.cp("ID:/etc/passwd", here.join("below")).exits_with(1).says(&["no folder"]);
    guest.cp("ID:/dev/null", folder.path()).exits_with(1).says(&["/dev/null", "a device"]);
    guest.cp(&here, "there").exits_with(2).says(&["SANDBOX:PATH"]);
    guest.cp("ID:/a", "ID:/b").exits_with(2).says(&["spore cp A:PATH -"]);
    guest.cp("nobody:/a", folder.path()).exits_with(3).says(&["nobody"]);
    guest
        .cp_of(&here, "ID:/etc/new")
        .args(["-u", "1234"])
        .finish()
        .exits_with(1)
        .says(&["/etc", "Permission denied"]);
    guest.cp_of(&here, "ID:/tmp").args(["-u", "who"]).finish().exits_with(1).says(&["who"]);
    // A full file system in the guest ends it, however much is still to come.
    guest.sh("mkdir /tmp/small; mount -t tmpfs -o size=1m none /tmp/small");
    let large = folder.path().join("large");
    fs::write(&large, vec![1; 8 << 20]).expect("a file");
    guest.cp(&large, "ID:/tmp/small").exits_with(1).says(&["No space left"]);
    // A link of the guest's is copied as a link, and leads nowhere from here; set-user-id stays there.
    guest.sh("mkdir /tmp/t; ln -s /etc/passwd /tmp/t/link; cp /bin/busybox /tmp/t/su 2>/dev/null || cp /bin/sh /tmp/t/su; chmod 6755 /tmp/t/su");
    guest.cp("ID:/tmp/t", folder.path()).succeeds();
    assert_eq!(fs::read_link(folder.path().join("t/link")).ok(), Some("/etc/passwd".into()));
    assert_eq!(fs::metadata(folder.path().join("t/su")).expect("it is there").mode() & 0o7777, 0o755);
    guest.cp("ID:/tmp/t", folder.path()).succeeds();
}

#[test]
fn what_is_no_file_is_neither_copied_nor_replaced() {
    let Some(guest) = Guest::of(TINY, "what_is_no_file_is_neither_copied_nor_replaced") else { return };
    let folder = files::scratch("copies");
    let pipe = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().expect("coreutils").success());
    // The rest of a tree is copied, both ways.
    guest.sh("mkdir /tmp/t; mkfifo /tmp/t/a-pipe; echo content >/tmp/t/file");
    guest.cp("ID:/tmp/t", folder.path()).exits_with(1).says(&["in the guest", "a-pipe is a named pipe"]);
    assert_eq!(fs::read_to_string(folder.path().join("t/file")).expect("it was copied"), "content\n");
    pipe(&folder.path().join("t/another"));
    guest
        .cp(folder.path().join("t/."), "ID:/tmp")
        .exits_with(1)
        .says(&["another is a named pipe", "1 of the files"]);
    assert_eq!(guest.sh("cat /tmp/file; ls /tmp/another 2>/dev/null || echo none"), "content\nnone");
    // A destination that is none is left as it is.
    let here = folder.path().join("pipe");
    pipe(&here);
    guest.cp("ID:/tmp/file", &here).exits_with(1).says(&["is a named pipe", "`-`"]);
    guest.cp(folder.path().join("t/file"), "ID:/dev/null").exits_with(1).says(&["/dev/null is a device"]);
    guest.sh("mkdir /tmp/d; mkfifo /tmp/d/file");
    guest.cp(folder.path().join("t/file"), "ID:/tmp/d").exits_with(1).says(&["/tmp/d/file is a named pipe"]);
    assert_eq!(guest.sh("test -c /dev/null && test -p /tmp/d/file && echo there"), "there");
}

#[test]
fn a_stream_whose_reader_has_ended_is_not_waited_for() {
    let Some(guest) = Guest::of(TINY, "a_stream_whose_reader_has_ended_is_not_waited_for") else { return };
    let talk = Talk::start(guest.cp_of("-", "ID:/no/such/folder"));
    let error = talk.ends_by_itself_with(3);
    assert!(error.contains("in the guest") && error.contains("/no/such/folder"), "{error}");
}

#[test]
fn an_interrupted_copy_leaves_what_was_there() {
    let Some(guest) = Guest::of(TINY, "an_interrupted_copy_leaves_what_was_there") else { return };
    let folder = files::scratch("copies");
    let old = folder.path().join("old");
    fs::write(&old, "old").expect("a file");
    guest.sh("echo new >/tmp/new");
    // Even of a sandbox that does not answer.
    guest.signal_engine(Signal::STOP);
    for signal in [Signal::INT, Signal::TERM] {
        let talk = Talk::start(guest.cp_of("ID:/tmp/new", &old));
        talk.handles_soon(signal);
        talk.signal(signal);
        let error = talk.ends_by_itself_with(130);
        assert!(error.contains("interrupted"), "{error}");
    }
    guest.signal_engine(Signal::CONT);
    assert_eq!(fs::read_to_string(&old).expect("it is there"), "old");
    assert_eq!(files::entries(folder.path()), std::slice::from_ref(&old));
    guest.cp("ID:/tmp/new", &old).succeeds();
    assert_eq!(fs::read_to_string(&old).expect("it is there"), "new\n");

    // In the guest as well, of half a file.
    let large = folder.path().join("large");
    fs::write(&large, vec![1; 4 << 20]).expect("a file");
    guest.sh("mkdir /tmp/in; echo old >/tmp/in/large");
    let tar = Run::new("tar").args(["c", "-C", folder.path().to_str().expect("UTF-8"), "large"]);
    let stream = tar.finish().succeeds().stdout;
    let half = stream[..stream.len() / 2].to_vec();
    guest.cp_of("-", "ID:/tmp/in").stdin(half).finish().exits_with(1).says(&["ends in the middle"]);
    assert_eq!(guest.sh("ls -A /tmp/in; cat /tmp/in/large"), "large\nold");
}
