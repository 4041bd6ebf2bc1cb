//! What archives say is what is read of them, whoever wrote them; and what could be read in two ways is refused.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

mod forge;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;

use forge::{Archive, read};
use proptest::prelude::*;
use tar::{EntryType, Header};
use tar_stream::{BLOCK, Blocks, End, Entries, Error, FileInput, Kind, MAX_NAME, Stream, Time, Within};

/// The paths of all entries, and what their files hold.
fn contents(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let found = read(bytes, End::Marked).unwrap();
    found.into_iter().map(|(entry, content)| (String::from_utf8(entry.path).unwrap(), content)).collect()
}

fn refusal(archive: Archive) -> String {
    read(&archive.end(), End::Marked).unwrap_err().to_string()
}

#[test]
fn links_folders_and_devices_have_no_content_whatever_their_size_says() {
    for kind in [
        EntryType::Link,
        EntryType::Symlink,
        EntryType::Directory,
        EntryType::Char,
        EntryType::Block,
        EntryType::Fifo,
    ] {
        let archive = Archive::new()
            .pax(&[("size", b"700")])
            .entry(kind, b"a", b"", |header| {
                header.set_size(700);
                header.set_link_name("b").unwrap();
                header.set_device_major(1).unwrap();
                header.set_device_minor(3).unwrap();
            })
            .file("b", b"content");
        let names: Vec<_> = contents(&archive.end()).into_iter().map(|(path, _)| path).collect();
        assert_eq!(names, ["a", "b"], "{kind:?}");
    }
}

#[test]
fn fields_that_are_blank_are_0_and_what_is_no_number_is_refused() {
    let field = |change: fn(&mut tar::OldHeader)| {
        let archive =
            Archive::new().entry(EntryType::Regular, b"a", b"", |header| change(header.as_old_mut()));
        read(&archive.end(), End::Marked).map(|found| found[0].0.clone()).map_err(|error| error.to_string())
    };
    for blank in [[0; 8], [b' '; 8]] {
        let archive = Archive::new().entry(EntryType::Regular, b"a", b"", |header| {
            let fields = header.as_old_mut();
            (fields.mode, fields.uid, fields.gid, fields.mtime) = (blank, blank, blank, [blank[0]; 12]);
        });
        let (entry, _) = read(&archive.end(), End::Marked).unwrap().remove(0);
        assert_eq!((entry.mode, entry.uid, entry.gid, entry.time), (0, 0, 0, Time::default()));
    }
    // Two's complement, as GNU tar writes what was changed before 1970; it loses no sign by a fraction of its own.
    let time = |seconds: i64| {
        let mut bytes = [0xff; 12];
        bytes[4..].copy_from_slice(&seconds.to_be_bytes());
        let archive =
            Archive::new().entry(EntryType::Regular, b"a", b"", |header| header.as_old_mut().mtime = bytes);
        read(&archive.end(), End::Marked).unwrap()[0].0.time
    };
    for seconds in [-1, -2, -86_400 * 365, i64::MIN] {
        assert_eq!(time(seconds), Time { seconds, nanoseconds: 0 });
    }
    for (change, says) in [
        ((|fields| fields.mode = *b"0x00644\0") as fn(&mut tar::OldHeader), "mode"),
        (|fields| fields.uid = *b"-000001\0", "owner"),
        (|fields| fields.uid = [0xff; 8], "owner"),
        (|fields| fields.uid = [0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff], "owner"),
        (|fields| fields.gid = [0x80, 0, 0, 1, 0, 0, 0, 0], "group"),
        (|fields| fields.mtime = *b"yesterday\0\0\0", "time"),
        (|fields| fields.size = *b"+0000000007\0", "size is no number"),
        (|fields| fields.size = [0xff; 12], "size is no number"),
        // Of which the lowest 64 bits alone would be 7.
        (|fields| fields.size = [0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 7], "size is no number"),
    ] {
        let said = field(change).unwrap_err();
        assert!(said.contains(says) && said.contains("\"a\""), "{said} does not say {says}");
    }
}

#[test]
fn long_names_and_records_replace_what_the_header_says() {
    let (long, target) = ("d/".repeat(900) + "x", "e/".repeat(300));
    let zero = |name: &str| [name.as_bytes(), b"\0"].concat();
    let bytes = Archive::new()
        .entry(EntryType::GNULongLink, b"././@LongLink", &zero(&target), |_| ())
        .entry(EntryType::GNULongName, b"././@LongLink", &zero(&long), |_| ())
        .entry(EntryType::Symlink, b"d/", b"", |_| ())
        .pax(&[("path", b"new\nline"), ("size", b"3"), ("uid", b"4000000000"), ("mtime", b"-1.5")])
        .pax(&[("SCHILY.xattr.user.a", b"1\n2=\0"), ("SCHILY.xattr.user.b", b""), ("atime", b"anything")])
        .entry(EntryType::Regular, b"x", b"abc", |header| header.set_size(0))
        // What is taken back is as the header says it.
        .pax(&[("path", b"other"), ("size", b"1"), ("mtime", b"7")])
        .pax(&[("path", b""), ("size", b""), ("mtime", b"")])
        .file("own", b"abc")
        .end();
    let found = read(&bytes, End::Marked).unwrap();
    let [(link, _), (file, content), (own, own_content)] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((&*link.path, &link.kind), (long.as_bytes(), &Kind::Symlink(target.into_bytes())));
    assert_eq!((&*file.path, file.uid, &content[..]), (&b"new\nline"[..], 4_000_000_000, &b"abc"[..]));
    assert_eq!(file.time, Time { seconds: -2, nanoseconds: 500_000_000 });
    let attributes = [(b"user.a".to_vec(), b"1\n2=\0".to_vec()), (b"user.b".to_vec(), Vec::new())];
    assert_eq!(file.attributes, BTreeMap::from(attributes));
    assert_eq!((&*own.path, &own_content[..], own.time), (&b"own"[..], &b"abc"[..], Time::default()));
}

#[test]
fn a_global_header_changes_no_entry() {
    // What git archive writes.
    let harmless = Archive::new().global(&[("comment", b"b94a4f0"), ("path", b"")]).file("a", b"x");
    assert_eq!(contents(&harmless.end()), [("a".to_owned(), b"x".to_vec())]);
    for (key, value) in [
        ("path", &b"../evil"[..]),
        ("linkpath", b"x"),
        ("size", b"0"),
        ("uid", b"0"),
        ("gid", b"0"),
        ("mtime", b"0"),
        ("SCHILY.xattr.user.a", b"x"),
        ("SCHILY.acl.access", b"x"),
        ("GNU.sparse.major", b"1"),
    ] {
        let said = refusal(Archive::new().global(&[(key, value)]).file("a", b"x"));
        assert!(said.contains("global pax records"), "{key}: {said}");
    }
}

#[test]
fn what_describes_an_entry_is_bounded() {
    let name = |length| vec![b'x'; length];
    let long_name = |archive: Archive, length| {
        archive.entry(EntryType::GNULongName, b"././@LongLink", &name(length), |_| ())
    };
    let file = |archive: Archive| archive.file("a", b"");
    assert!(read(&file(long_name(Archive::new(), MAX_NAME)).end(), End::Marked).is_ok());
    let half = [0; 600 << 10];
    let mut many = Archive::new();
    for _ in 0..17 {
        many = many.pax(&[("comment", b"x")]);
    }
    for (archive, says) in [
        (file(long_name(Archive::new(), MAX_NAME + 1)), "longer than 4096 bytes"),
        (file(Archive::new().pax(&[("linkpath", &name(5000))])), "longer than 4096 bytes"),
        (file(Archive::new().pax(&[("comment", &half)]).pax(&[("comment", &half)])), "longer than 1 MiB"),
        (file(many), "more than 16 headers"),
        (file(Archive::new().pax(&[("path", b"a\0b")])), "zero byte"),
        (file(Archive::new().pax(&[("size", b"1152921504606846976")])), "larger than any file"),
        (Archive::new().entry(EntryType::Regular, b"", b"", |_| ()), "has no name"),
        (Archive::new().entry(EntryType::Symlink, b"a", b"", |_| ()), "leads nowhere"),
        (Archive::new().entry(EntryType::Link, b"a", b"", |_| ()), "leads nowhere"),
        (
            Archive::new().pax(&[("linkpath", &name(4096))]).entry(EntryType::Symlink, b"a", b"", |_| ()),
            "longer than 4095",
        ),
        // It describes nothing.
        (Archive::new().file("a", b"").pax(&[("path", b"b")]), "within what describes an entry"),
    ] {
        let said = refusal(archive);
        assert!(said.contains(says), "{said} does not say {says}");
    }
    let mut wrong = Archive::new().pax(&[("path", b"b")]).file("a", b"").end();
    wrong[512] = b'8';
    assert!(read(&wrong, End::Marked).unwrap_err().to_string().contains("LENGTH KEY=VALUE"));
}

#[test]
fn files_with_holes_are_read_in_gnus_forms_and_no_others() {
    let expected = |place: usize| {
        let mut content = vec![0; 5000];
        content[place..place + 4].copy_from_slice(b"data");
        content
    };
    let bytes = Archive::new()
        .sparse("new", 5000, "2\n1000\n4\n5000\n0\n", b"data")
        .sparse("hole", 5000, "0\n", b"")
        .entry(EntryType::GNUSparse, b"old", b"data", |header| {
            let fields = header.as_old_mut();
            // The magic of GNU's own format.
            fields.pad[..8].copy_from_slice(b"ustar  \0");
            let fields = header.as_gnu_mut().unwrap();
            fields.set_real_size(5000);
            fields.sparse[0].set_offset(4996);
            fields.sparse[0].set_length(4);
        })
        .file("behind", b"x")
        .end();
    let found = contents(&bytes);
    assert_eq!(found[0], ("new".to_owned(), expected(1000)));
    assert_eq!(found[1], ("hole".to_owned(), vec![0; 5000]));
    assert_eq!(found[2], ("old".to_owned(), expected(4996)));
    assert_eq!(found[3], ("behind".to_owned(), b"x".to_vec()));

    for map in [
        "2\n0\n10\n5\n10\n",
        "1\n4090\n20\n",
        "1\n18446744073709551615\n20\n",
        "9999999999999999999999\n",
        "1\n0\n",
        "1\n\n20\n",
        "x\n",
        "1\n0\n9\n",
        "-1\n",
        "",
    ] {
        let said = refusal(Archive::new().sparse("a", 4096, map, &[7; 20]));
        assert!(said.contains("wrong map of holes"), "{map:?}: {said}");
    }
    for (archive, says) in [
        (Archive::new().sparse("a", 1 << 51, "0\n", b""), "larger than any file"),
        (Archive::new().sparse("a", 9, "1048577\n", b""), "more than 1048576 holes"),
        (Archive::new().pax(&[("GNU.sparse.map", b"0,5")]).file("a", b"hello"), "other than GNU's 1.0"),
        (Archive::new().pax(&[("GNU.sparse.major", b"2")]).file("a", b"x"), "other than GNU's 1.0"),
        (Archive::new().pax(&[("SCHILY.realsize", b"9")]).file("a", b"x"), "form of star"),
        (
            Archive::new().pax(&[("GNU.sparse.major", b"1")]).entry(EntryType::Directory, b"a", b"", |_| ()),
            "is no file",
        ),
    ] {
        let said = refusal(archive);
        assert!(said.contains(says), "{said} does not say {says}");
    }
}

#[test]
fn a_map_behind_a_header_ends() {
    let old = Archive::new().entry(EntryType::GNUSparse, b"a", b"", |header| {
        *header = Header::new_gnu();
        header.set_path("a").unwrap();
        header.set_entry_type(EntryType::GNUSparse);
        header.set_size(0);
        header.as_gnu_mut().unwrap().set_real_size(4096);
        header.as_gnu_mut().unwrap().set_is_extended(true);
    });
    let mut more = tar::GnuExtSparseHeader::new();
    more.set_is_extended(true);
    let mut endless = old.clone();
    endless.0.extend(more.as_bytes().repeat(9));
    assert!(refusal(endless).contains("wrong map of holes"));
    assert!(matches!(
        read(&old.0, End::Marked),
        Err(Error::CutShort { within: Within::Extension, position: 512 })
    ));
}

#[test]
fn where_an_archive_may_end_is_the_callers_to_say() {
    let file = Archive::new().file("a", b"content").0;
    let ended = |blocks: usize, behind: &[u8]| [&file[..], &vec![0; blocks * BLOCK], behind].concat();
    for (bytes, open, marked, sealed) in [
        (ended(0, b""), true, false, false),
        (ended(1, b""), true, true, false),
        (ended(2, b""), true, true, true),
        (ended(20, b""), true, true, true),
        (ended(2, &[0; 100]), true, true, true),
        (ended(2, b"x"), true, false, false),
        (ended(1, &[b'x'; 512]), true, false, false),
        (ended(1, &file), true, false, false),
        (ended(4096, b""), false, false, false),
        (file[..100].to_vec(), false, false, false),
        (file[..600].to_vec(), false, false, false),
        (Vec::new(), true, false, false),
    ] {
        for (end, is_whole) in [(End::Open, open), (End::Marked, marked), (End::Sealed, sealed)] {
            let found = read(&bytes, end);
            assert_eq!(found.is_ok(), is_whole, "{} bytes, {end:?}: {found:?}", bytes.len());
        }
    }
    for (length, within) in [(100, Within::Header), (600, Within::Content), (1024, Within::Header)] {
        match read(&file[..length], End::Sealed) {
            Err(Error::CutShort { within: found, position }) => {
                assert!(found == within && position <= length as u64);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(read(&ended(1, b""), End::Sealed), Err(Error::CutShort { within: Within::End, .. })));
    assert!(matches!(
        read(b"\x1f\x8b".repeat(300).as_slice(), End::Open),
        Err(Error::Compressed { by: "gzip" })
    ));
    assert!(matches!(read(&[b'x'; 512], End::Open), Err(Error::NoHeader { position: 0 })));
}

#[test]
fn a_file_and_a_stream_are_read_alike() {
    let bytes = Archive::new().file("a", &[7; 100_000]).sparse("b", 9, "1\n0\n4\n", b"data").end();
    let mut file = tempfile();
    file.write_all(&bytes).unwrap();
    let mut from_file = Entries::new(FileInput::new(&file).unwrap(), End::Sealed);
    let mut from_stream = Entries::new(Stream(&bytes[..]), End::Sealed);
    loop {
        let (one, two) = (from_file.next_entry().unwrap(), from_stream.next_entry().unwrap());
        assert_eq!((&one, from_file.position()), (&two, from_stream.position()));
        if one.is_none() {
            break;
        }
    }
    // What is passed over has to be there.
    file.set_len(50_000).unwrap();
    let mut cut = Blocks::new(FileInput::new(&file).unwrap(), End::Open);
    cut.next_header().unwrap();
    assert!(matches!(cut.next_header(), Err(Error::CutShort { within: Within::Content, .. })));
}

fn tempfile() -> File {
    let path = std::env::temp_dir().join(format!("tar-stream-{}", std::process::id()));
    let file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
    std::fs::remove_file(path).unwrap();
    file
}

/// What a writer says of a file.
#[derive(Debug, Clone)]
struct Said {
    path: Vec<u8>,
    mode: u16,
    uid: u32,
    gid: u32,
    time: Time,
    attributes: BTreeMap<String, Vec<u8>>,
    content: Vec<u8>,
}

fn said() -> impl Strategy<Value = Said> {
    let byte = any::<u8>().prop_map(|byte| byte.max(1));
    let path = prop::collection::vec(byte, 1..300)
        .prop_filter("would be a folder", |path| path.last() != Some(&b'/'));
    let attributes =
        prop::collection::btree_map("user\\.[a-z]{1,9}", prop::collection::vec(any::<u8>(), 0..40), 0..4);
    let ids = (0..u32::MAX, 0..u32::MAX, 0..0o10000_u16);
    let time = (any::<i64>(), 0..1_000_000_000_u32);
    (path, ids, time, attributes, prop::collection::vec(any::<u8>(), 0..1500)).prop_map(
        |(path, (uid, gid, mode), (seconds, nanoseconds), attributes, content)| Said {
            path,
            mode,
            uid,
            gid,
            // The lowest second has no fraction that records could say.
            time: Time { seconds: seconds.max(i64::MIN + 1), nanoseconds },
            attributes,
            content,
        },
    )
}

proptest! {
    /// What is written is what is read, whatever the names, attributes and times.
    #[test]
    fn what_is_written_is_read(files in prop::collection::vec(said(), 0..5)) {
        let mut archive = Archive::new();
        for said in &files {
            let numbers = [said.uid.to_string(), said.gid.to_string(), said.time.to_text()];
            let mut records =
                vec![("path".to_owned(), said.path.clone())];
            for (key, number) in ["uid", "gid", "mtime"].into_iter().zip(numbers) {
                records.push((key.to_owned(), number.into_bytes()));
            }
            for (name, value) in &said.attributes {
                records.push((format!("SCHILY.xattr.{name}"), value.clone()));
            }
            let records: Vec<_> = records.iter().map(|(key, value)| (key.as_str(), &value[..])).collect();
            archive = archive.pax(&records).entry(EntryType::Regular, b"x", &said.content, |header| {
                header.set_mode(said.mode.into());
            });
        }
        let found = read(&archive.end(), End::Sealed).unwrap();
        prop_assert_eq!(found.len(), files.len());
        for ((entry, content), said) in found.into_iter().zip(files) {
            prop_assert_eq!((entry.path, content), (said.path, said.content));
            prop_assert_eq!((entry.mode, entry.uid, entry.gid), (said.mode, said.uid, said.gid));
            prop_assert_eq!(entry.time, said.time);
            let attributes: BTreeMap<_, _> =
                said.attributes.into_iter().map(|(name, value)| (name.into_bytes(), value)).collect();
            prop_assert_eq!(entry.attributes, attributes);
        }
    }
}
