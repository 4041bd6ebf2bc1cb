//! Trees there and back, streams of other programs, and streams that nobody would make in good faith.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;
use tar::{EntryType, Header};

use crate::{Destination, Error, Modes, root_name, write};

/// What is kept of one file: name, mode, time, length and hash of its content or target.
type Kept = (PathBuf, u32, i64, i64, (usize, u64));

fn tree(root: &Path) -> Vec<Kept> {
    let (mut pending, mut found) = (vec![root.to_owned()], Vec::new());
    while let Some(path) = pending.pop() {
        let metadata = fs::symlink_metadata(&path).unwrap();
        let content = if metadata.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
        } else if metadata.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            Vec::new()
        } else {
            fs::read(&path).unwrap()
        };
        let name = path.strip_prefix(root).unwrap().to_owned();
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        let content = (content.len(), hasher.finish());
        found.push((name, metadata.mode(), metadata.mtime(), metadata.mtime_nsec(), content));
    }
    found.sort();
    found
}

fn stream_of(path: &Path) -> Vec<u8> {
    let mut stream = Vec::new();
    write(path, &mut stream, |flaw| panic!("{flaw}")).unwrap();
    stream
}

/// A tree with all that is to be kept, below `folder`.
fn sample(folder: &Path) -> PathBuf {
    let root = folder.join("tree");
    let deep = root.join("long ".repeat(20)).join("names ".repeat(30));
    fs::create_dir_all(&deep).unwrap();
    fs::create_dir(root.join("empty")).unwrap();
    fs::write(root.join("empty file"), "").unwrap();
    fs::write(root.join("run.sh"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(root.join("run.sh"), fs::Permissions::from_mode(0o750)).unwrap();
    fs::write(deep.join("new\nline é"), vec![7; 100_000]).unwrap();
    symlink("run.sh", root.join("link")).unwrap();
    symlink("/no/where/".repeat(20), root.join("dangling")).unwrap();
    let holes = File::create(root.join("holes")).unwrap();
    holes.set_len(30 << 20).unwrap();
    for (offset, byte) in [(0, 1), (8 << 20, 2), (20 << 20, 3)] {
        holes.write_all_at(&[byte; 5000], offset).unwrap();
    }
    File::create(root.join("only a hole")).unwrap().set_len(5 << 20).unwrap();
    let old = SystemTime::UNIX_EPOCH - Duration::from_millis(1500);
    File::open(root.join("run.sh")).unwrap().set_modified(old).unwrap();
    let known = SystemTime::UNIX_EPOCH + Duration::new(1_000_000_000, 123_456_789);
    File::open(root.join("empty")).unwrap().set_modified(known).unwrap();
    fs::set_permissions(root.join("empty"), fs::Permissions::from_mode(0o555)).unwrap();
    File::open(&root).unwrap().set_modified(known).unwrap();
    root
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let root = sample(folder.path());
    let stream = stream_of(&root);
    assert!(stream.len() < 1 << 20, "holes take no room in it: {}", stream.len());
    let copy = folder.path().join("copy");
    // The name that it has there does not matter.
    let destination = Destination::named(&copy, root_name(&root)).unwrap();
    destination.extract(stream.as_slice(), Modes::All).unwrap();
    assert_eq!(tree(&copy), tree(&root));
    let blocks = |name: &str| fs::metadata(copy.join(name)).unwrap().blocks();
    assert!(blocks("holes") * 512 < 1 << 20, "holes stay holes: {}", blocks("holes"));
    assert_eq!(blocks("only a hole"), 0);

    // Into a folder that is there; and again, over what is there.
    fs::create_dir(folder.path().join("there")).unwrap();
    let files = |root: &Path| -> Vec<_> { tree(root).into_iter().filter(|kept| kept.4.0 > 0).collect() };
    for again in [false, true] {
        let destination = Destination::named(&folder.path().join("there"), root_name(&root)).unwrap();
        destination.extract(stream.as_slice(), Modes::All).unwrap();
        let made = folder.path().join("there/tree");
        assert_eq!(files(&made), files(&root));
        // Folders that were there keep what they have, and a file that was replaced has changed them.
        assert_eq!(tree(&made) == tree(&root), !again);
    }
    // What is in the folder, without the folder.
    let contents = root.join(".");
    assert_eq!(root_name(&contents), ".");
    let stream = stream_of(&contents);
    fs::create_dir(folder.path().join("open")).unwrap();
    let destination = Destination::named(&folder.path().join("open"), root_name(&contents)).unwrap();
    destination.extract(stream.as_slice(), Modes::All).unwrap();
    assert_eq!(tree(&folder.path().join("open"))[1..], tree(&root)[1..]);
}

#[test]
fn a_file_goes_where_cp_would_put_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("file"), "content").unwrap();
    symlink("file", path("link")).unwrap();
    fs::create_dir(path("folder")).unwrap();
    // What is named is followed, and keeps the name by which it was named.
    let stream = stream_of(&path("link"));
    let copy = |to: &str| {
        let destination = Destination::named(&path(to), "link".as_ref())?;
        destination.extract(stream.as_slice(), Modes::All)
    };
    for (to, found) in [("new", "new"), ("folder", "folder/link"), ("folder/", "folder/link"), ("new", "new")]
    {
        copy(to).unwrap();
        assert_eq!(fs::read_to_string(path(found)).unwrap(), "content", "{to}");
        assert!(!fs::symlink_metadata(path(found)).unwrap().is_symlink());
    }
    assert!(matches!(copy("missing/"), Err(Error::NotAFolder(_))));
    assert!(matches!(copy("missing/new"), Err(Error::File { .. })));
    assert!(matches!(copy("file/new"), Err(Error::NotAFolder(_))));
    assert!(matches!(Destination::folder(&path("file")), Err(Error::NotAFolder(_))));
    for name in ["a/b", "..", "", "/"] {
        assert!(
            matches!(Destination::named(&path("folder"), name.as_ref()), Err(Error::Outside(_))),
            "{name}"
        );
    }
}

#[test]
fn gnu_tar_reads_it_and_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let root = sample(folder.path());
    let tar = |arguments: &[&str]| {
        let status = Command::new("tar").args(arguments).current_dir(folder.path()).status();
        assert!(status.expect("Debian has tar").success(), "{arguments:?}");
    };
    fs::write(folder.path().join("ours.tar"), stream_of(&root)).unwrap();
    fs::create_dir(folder.path().join("theirs")).unwrap();
    tar(&["xpf", "ours.tar", "-C", "theirs"]);
    assert_eq!(tree(&folder.path().join("theirs/tree")), tree(&root));
    for format in ["gnu", "pax"] {
        tar(&["cSf", "theirs.tar", &format!("--format={format}"), "tree"]);
        let copy = folder.path().join(format);
        fs::create_dir(&copy).unwrap();
        let stream = File::open(folder.path().join("theirs.tar")).unwrap();
        Destination::folder(&copy).unwrap().extract(stream, Modes::All).unwrap();
        // Only pax has fractions of seconds.
        let known = |tree: Vec<Kept>| -> Vec<_> {
            let is_pax = format == "pax";
            let kept = tree.into_iter().filter(|(name, ..)| is_pax || name != Path::new("run.sh"));
            kept.map(|(name, mode, time, part, content)| {
                (name, mode, time, part * i64::from(is_pax), content)
            })
            .collect()
        };
        assert_eq!(known(tree(&copy.join("tree"))), known(tree(&root)), "{format}");
        assert!(fs::metadata(copy.join("tree/holes")).unwrap().blocks() * 512 < 1 << 20);
    }
}

/// A stream of entries: kind, name, target, content.
fn forge(entries: &[(EntryType, &str, &str, &str)]) -> Vec<u8> {
    let mut stream = Vec::new();
    for (kind, name, target, content) in entries {
        let mut header = Header::new_gnu();
        let fields = header.as_old_mut();
        fields.name[..name.len()].copy_from_slice(name.as_bytes());
        fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o6755);
        header.set_size(content.len() as u64);
        header.set_mtime(5);
        header.set_cksum();
        stream.extend(header.as_bytes());
        stream.extend(content.as_bytes());
        stream.resize(stream.len().next_multiple_of(512), 0);
    }
    stream.extend([0; 1024]);
    stream
}

#[test]
fn nothing_leads_out_of_the_destination() {
    use EntryType::{Block, Char, Fifo, Link, Regular, Symlink};
    let streams: &[&[(EntryType, &str, &str, &str)]] = &[
        &[(Regular, "../secret", "", "overwritten")],
        &[(Regular, "/secret", "", "overwritten")],
        &[(Regular, "a/../../secret", "", "overwritten")],
        &[(Regular, "./../secret", "", "overwritten")],
        &[(Symlink, "a", "..", ""), (Regular, "a/secret", "", "overwritten")],
        &[(Symlink, "a", "/", ""), (Regular, "a/secret", "", "overwritten")],
        &[(Symlink, "a", "../secret", ""), (Link, "b", "a", ""), (Regular, "b/c", "", "x")],
        &[(Link, "a", "../secret", ""), (Regular, "a", "", "overwritten")],
        &[(Link, "a", "/secret", "")],
        &[(Symlink, "a", "..", ""), (Link, "b", "a/secret", "")],
        &[(Symlink, "a", "..", ""), (EntryType::Directory, "a", "", "")],
        &[(Symlink, "a", "..", ""), (EntryType::Directory, "a/b", "", "")],
        &[(Regular, "theirs/secret", "", "overwritten")],
        &[(EntryType::Directory, "theirs", "", "")],
        &[(Link, "a", "theirs/secret", "")],
        &[(Fifo, "a", "", "")],
        &[(Char, "a", "", "")],
        &[(Block, "a", "", "")],
        &[(EntryType::new(b'Z'), "a", "", "")],
        &[(Link, "a", "a", "")],
        &[(Regular, "folder", "", "x")],
        &[(Symlink, "folder", "x", "")],
    ];
    for stream in streams {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("inside");
        fs::create_dir_all(inside.join("folder")).unwrap();
        fs::write(folder.path().join("secret"), "secret").unwrap();
        symlink("..", inside.join("theirs")).unwrap();
        let before = fs::metadata(folder.path()).unwrap();
        let error = Destination::folder(&inside).unwrap().extract(forge(stream).as_slice(), Modes::All);
        assert!(error.is_err(), "{stream:?}");
        assert_eq!(fs::read_to_string(folder.path().join("secret")).unwrap(), "secret", "{stream:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "{stream:?}");
        let after = fs::metadata(folder.path()).unwrap();
        assert_eq!((after.mode(), after.mtime()), (before.mode(), before.mtime()), "{stream:?}");
    }
}

#[test]
fn a_link_is_replaced_and_never_written_through() {
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("inside");
    fs::create_dir(&inside).unwrap();
    fs::write(folder.path().join("secret"), "secret").unwrap();
    symlink("../secret", inside.join("a")).unwrap();
    fs::hard_link(folder.path().join("secret"), inside.join("b")).unwrap();
    let stream = forge(&[(EntryType::Regular, "a", "", "new"), (EntryType::Regular, "b", "", "new")]);
    Destination::folder(&inside).unwrap().extract(stream.as_slice(), Modes::Permissions).unwrap();
    assert_eq!(fs::read_to_string(folder.path().join("secret")).unwrap(), "secret");
    for name in ["a", "b"] {
        assert_eq!(fs::read_to_string(inside.join(name)).unwrap(), "new");
        // Nobody becomes another user by a file from a guest.
        assert_eq!(fs::metadata(inside.join(name)).unwrap().mode() & 0o7777, 0o755);
    }
}

#[test]
fn who_asks_for_a_name_gets_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let stream = forge(&[
        (EntryType::Directory, ".ssh/", "", ""),
        (EntryType::Regular, ".ssh/keys", "", "x"),
        (EntryType::Regular, ".bashrc", "", "x"),
    ]);
    let destination = Destination::named(folder.path(), "asked".as_ref()).unwrap();
    destination.extract(stream.as_slice(), Modes::Permissions).unwrap_err();
    let names: Vec<_> =
        fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["asked"]);
    assert_eq!(fs::read_to_string(folder.path().join("asked/keys")).unwrap(), "x");
}

#[test]
fn lengths_are_bounded_and_ends_are_missed() {
    let folder = tempfile::tempdir().unwrap();
    let extract = |stream: &[u8]| Destination::folder(folder.path()).unwrap().extract(stream, Modes::All);
    let whole = forge(&[(EntryType::Regular, "a", "", &"x".repeat(700)), (EntryType::Regular, "b", "", "y")]);
    for end in (0..whole.len() - 1024).step_by(100) {
        assert!(matches!(extract(&whole[..end]), Err(Error::Truncated)), "cut at {end}");
    }
    for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(u64::MAX / 2);
        header.set_cksum();
        assert!(matches!(extract(header.as_bytes()), Err(Error::Format(_))), "{kind:?}");
    }
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::GNUSparse);
    header.set_size(0);
    header.as_gnu_mut().unwrap().set_real_size(4096);
    header.as_gnu_mut().unwrap().set_is_extended(true);
    header.set_cksum();
    let mut endless = header.as_bytes().to_vec();
    let mut more = tar::GnuExtSparseHeader::new();
    more.set_is_extended(true);
    endless.extend(more.as_bytes().repeat(9));
    assert!(matches!(extract(&endless), Err(Error::Format(_))));
    for map in
        ["2\n0\n10\n5\n10\n", "1\n4090\n20\n", "9999999999999999999999\n", "1\n0\n", "x\n", "1\n0\n9\n"]
    {
        let mut records = Vec::new();
        for (key, value) in [("major", "1"), ("minor", "0"), ("name", "a"), ("realsize", "4096")] {
            tar_stream::pax::push(&mut records, &format!("GNU.sparse.{key}"), value.as_bytes());
        }
        let records = String::from_utf8(records).unwrap();
        let mut map = map.to_owned().into_bytes();
        map.resize(512, 0);
        let map = String::from_utf8(map).unwrap() + &"z".repeat(20);
        let stream = forge(&[(EntryType::XHeader, "x", "", &records), (EntryType::Regular, "a", "", &map)]);
        assert!(matches!(extract(&stream), Err(Error::Format(_))), "{map:?}");
    }
    let mut other = forge(&[(EntryType::Regular, "c", "", "")]);
    other[0] = b'd';
    assert!(matches!(extract(&other), Err(Error::Format(_))), "its sum is another's");
}

proptest! {
    /// However a stream is damaged, what is made lies in the destination.
    #[test]
    fn damage_is_survived(flips in prop::collection::vec((0..6000_usize, any::<u8>()), 1..30), fix in any::<bool>()) {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir(&root).unwrap();
        fs::write(root.join("a"), "content").unwrap();
        symlink("a", root.join("x".repeat(150))).unwrap();
        let holes = File::create(root.join("holes")).unwrap();
        holes.set_len(1 << 20).unwrap();
        holes.write_all_at(b"data", 500_000).unwrap();
        let mut stream = stream_of(&root);
        for (at, byte) in flips {
            let at = at % stream.len();
            stream[at] = byte;
        }
        if fix {
            for block in stream.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
                let mut header = Header::from_byte_slice(block).clone();
                header.set_cksum();
                block.copy_from_slice(header.as_bytes());
            }
        }
        let inside = folder.path().join("inside");
        fs::create_dir(&inside).unwrap();
        let _ = Destination::folder(&inside).unwrap().extract(stream.as_slice(), Modes::Permissions);
        let names = fs::read_dir(folder.path()).unwrap().count();
        prop_assert_eq!(names, 2);
        // Makes it removable again.
        let _ = Command::new("chmod").args(["-R", "u+rwx"]).arg(&inside).status();
    }
}

#[test]
fn a_stream_that_nobody_reads_is_an_error() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let whole = |flaw: Error| panic!("{flaw}");
    assert!(matches!(write(folder.path(), &mut Full, whole), Err(Error::Stream(_))));
    assert!(matches!(write(&folder.path().join("missing"), &mut Vec::new(), whole), Err(Error::File { .. })));
}

#[test]
fn what_is_no_file_is_left_out_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let (root, copy) = (folder.path().join("root"), folder.path().join("copy"));
    fs::create_dir(&root).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.join("a socket")).unwrap();
    assert!(Command::new("mkfifo").arg(root.join("b pipe")).status().unwrap().success());
    fs::write(root.join("file"), "content").unwrap();
    let (mut stream, mut flaws) = (Vec::new(), Vec::new());
    write(&root, &mut stream, |flaw| flaws.push(flaw.to_string())).unwrap();
    assert!(flaws[0].contains("a socket is a socket") && flaws[1].contains("b pipe is a named"), "{flaws:?}");
    assert_eq!(flaws.len(), 2);
    let destination = Destination::named(&copy, "root".as_ref()).unwrap();
    destination.extract(stream.as_slice(), Modes::All).unwrap();
    assert_eq!(tree(&copy).len(), 2);
    // Asked for by its name, it is an error.
    let whole = |flaw: Error| panic!("{flaw}");
    assert!(matches!(write(&root.join("a socket"), &mut Vec::new(), whole), Err(Error::Kind { .. })));
}

#[test]
fn a_file_that_shrinks_is_named() {
    /// Cuts a file short as soon as anything is written.
    struct Cutting(PathBuf, Vec<u8>);
    impl Write for Cutting {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            File::options().write(true).open(&self.0)?.set_len(10)?;
            self.1.write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, [1; 1000]).unwrap();
    let (mut out, mut flaws) = (Cutting(path.clone(), Vec::new()), Vec::new());
    write(&path, &mut out, |flaw| flaws.push(flaw)).unwrap();
    assert!(matches!(flaws.as_slice(), [Error::Shrank(shrunk)] if shrunk.ends_with("file")), "{flaws:?}");
    // The stream is whole nevertheless.
    let destination = Destination::named(&folder.path().join("copy"), "file".as_ref()).unwrap();
    destination.extract(out.1.as_slice(), Modes::All).unwrap();
    assert_eq!(fs::metadata(folder.path().join("copy")).unwrap().len(), 1000);
}

#[test]
fn the_next_copy_of_a_tree_is_not_led_away() {
    use EntryType::{Link, Regular, Symlink};
    let folder = tempfile::tempdir().unwrap();
    let victim = folder.path().join("victim");
    fs::create_dir(&victim).unwrap();
    let results = folder.path().join("results");
    // What a guest sends for `cp ID:/root/out/. ./results`, twice.
    let first = forge(&[(Symlink, "out", "victim", "")]);
    let second = forge(&[(Regular, "./owned", "", "x")]);
    for stream in [&first, &forge(&[(Link, "out", "out/b", "")])] {
        let destination = Destination::named(&results, ".".as_ref()).unwrap();
        let error = destination.extract(stream.as_slice(), Modes::Permissions).unwrap_err();
        assert!(matches!(&error, Error::Root(root) if root.ends_with("results")), "{error}");
    }
    let destination = Destination::named(&results, ".".as_ref()).unwrap();
    destination.extract(second.as_slice(), Modes::Permissions).unwrap();
    assert_eq!(fs::read_dir(&victim).unwrap().count(), 0);
    assert!(results.join("owned").is_file());
}

#[test]
fn what_is_no_file_is_not_replaced() {
    use std::os::unix::fs::FileTypeExt;
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let refused = |path: &str| match Destination::named(path.as_ref(), "a".as_ref()) {
        Err(Error::NotReplaced { what, .. }) => what,
        other => panic!("{path}: {other:?}"),
    };
    assert_eq!(refused("/dev/null"), "a device");
    assert_eq!(refused("/dev/stdout"), "a link of the system's");
    assert_eq!(refused("/proc/self/fd/1"), "a link of the system's");
    assert_eq!(refused(pipe.to_str().unwrap()), "a named pipe");
    for kind in [EntryType::Regular, EntryType::Symlink] {
        let stream = forge(&[(kind, "pipe", "x", "")]);
        let made = Destination::folder(folder.path()).unwrap().extract(stream.as_slice(), Modes::All);
        assert!(matches!(made, Err(Error::NotReplaced { .. })), "{made:?}");
    }
    assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
}

#[test]
fn a_copy_that_breaks_off_leaves_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let names = |folder: &Path| -> Vec<_> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    };
    // In a folder that is there, and in one that the stream makes.
    for is_there in [true, false] {
        let inside = folder.path().join(is_there.to_string());
        fs::create_dir_all(if is_there { inside.join("sub") } else { inside.clone() }).unwrap();
        if is_there {
            fs::write(inside.join("sub/a"), "old").unwrap();
        }
        let content = "new".repeat(300);
        let stream =
            forge(&[(EntryType::Directory, "sub", "", ""), (EntryType::Regular, "sub/a", "", &content)]);
        let cut = &stream[..stream.len() - 1024 - 512];
        let made = Destination::folder(&inside).unwrap().extract(cut, Modes::All);
        assert!(matches!(made, Err(Error::Truncated)), "{made:?}");
        // Nothing is left of the new one.
        if is_there {
            assert_eq!(names(&inside.join("sub")), ["a"]);
            assert_eq!(fs::read_to_string(inside.join("sub/a")).unwrap(), "old");
        } else {
            assert!(names(&inside.join("sub")).is_empty());
            // It has what it is to have, and does not stay closed.
            assert_eq!(fs::metadata(inside.join("sub")).unwrap().mode() & 0o7777, 0o6755);
        }
    }
}

#[test]
fn what_is_not_trusted_heeds_the_umask() {
    const NAME: &str = "tests::what_is_not_trusted_heeds_the_umask";
    const OF_ITS_OWN: &str = "ARCHIVE_TEST_UMASK";
    if std::env::var_os(OF_ITS_OWN).is_none() {
        // In a process of its own: all tests here have one umask.
        let mut test = Command::new("sh");
        test.args(["-c", "umask 027; exec \"$0\" --exact \"$1\""]);
        let output = test.arg(std::env::current_exe().unwrap()).arg(NAME).env(OF_ITS_OWN, "1").output();
        let output = output.unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let stream = forge(&[(EntryType::Directory, "a", "", ""), (EntryType::Regular, "b", "", "")]);
    for (modes, expected) in [(Modes::Permissions, 0o750), (Modes::All, 0o6755)] {
        let inside = folder.path().join(expected.to_string());
        fs::create_dir(&inside).unwrap();
        Destination::folder(&inside).unwrap().extract(stream.as_slice(), modes).unwrap();
        for name in ["a", "b"] {
            assert_eq!(fs::metadata(inside.join(name)).unwrap().mode() & 0o7777, expected, "{name}");
        }
    }
}
