//! Archives as nobody should make them.

use super::pax::tests::record;
use super::*;

impl Input for &[u8] {}

/// A header with a right checksum; `change` alters it before.
fn header(path: &str, kind: EntryType, size: u64, change: impl FnOnce(&mut Header)) -> Vec<u8> {
    let mut header = Header::new_ustar();
    let name = &mut header.as_old_mut().name;
    name[..path.len()].copy_from_slice(path.as_bytes());
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    change(&mut header);
    header.set_cksum();
    header.as_bytes().to_vec()
}

fn padded(content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn refusal(bytes: &[u8]) -> String {
    let mut archive = Archive::new(bytes);
    loop {
        match archive.next() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("nothing was refused"),
            Err(error) => return error.to_string(),
        }
    }
}

#[test]
fn entries_are_read_with_their_attributes() {
    let records =
        [("mtime", &b"1700000000.123456789"[..]), ("SCHILY.xattr.user.a", b"b\n"), ("uid", b"3000000000")];
    let pax = records.map(|(key, value)| record(key, value)).concat();
    let mut bytes = header("x", EntryType::XHeader, pax.len() as u64, |_| ());
    bytes.extend(padded(&pax));
    bytes.extend(header("./usr//bin/tool", EntryType::Regular, 3, |header| header.set_mode(0o104_755)));
    bytes.extend(padded(b"abc"));
    bytes.extend(header("usr/link", EntryType::Symlink, 0, |header| header.set_link_name("../x").unwrap()));
    bytes.extend([0; 1024]);
    let mut archive = Archive::new(&*bytes);
    let entry = archive.next().unwrap().unwrap();
    assert_eq!((entry.path.to_string().as_str(), &entry.kind), ("/usr/bin/tool", &Kind::File(3)));
    let Attributes { mode, uid, time, extended, .. } = entry.attributes;
    assert_eq!(
        (mode, uid, time.seconds, time.nanoseconds),
        (0o4755, 3_000_000_000, 1_700_000_000, 123_456_789)
    );
    assert_eq!(extended[&b"user.a"[..]], b"b\n");
    let mut content = String::new();
    archive.content().read_to_string(&mut content).unwrap();
    assert_eq!(content, "abc");
    assert_eq!(archive.next().unwrap().unwrap().kind, Kind::Symlink(b"../x".to_vec()));
    assert_eq!(archive.next().unwrap(), None);
}

#[test]
fn hostile_entries_are_refused_by_name() {
    let file = |path: &str| header(path, EntryType::Regular, 0, |_| ());
    let deep = "d/".repeat(300);
    let long_name = |length: u64| header("././@LongLink", EntryType::GNULongName, length, |_| ());
    let deep = [long_name(deep.len() as u64), padded(deep.as_bytes()), file("x")].concat();
    let device = |major, minor| {
        header("dev", EntryType::Char, 0, |header| {
            header.set_device_major(major).unwrap();
            header.set_device_minor(minor).unwrap();
        })
    };
    let kind = |kind| header("x", kind, 0, |_| ());
    for (bytes, says) in [
        (file("/etc/passwd"), "absolute"),
        (file("a/../../etc/passwd"), "leads out of its folder"),
        (file(".."), "leads out of its folder"),
        (deep, "256 folders deep"),
        (long_name(1 << 30), "longer than 1 MiB"),
        (long_name(u64::MAX), "longer than 1 MiB"),
        (header("x", EntryType::XHeader, 1 << 40, |_| ()), "longer than 1 MiB"),
        (header("big", EntryType::Regular, 1 << 60, |_| ()), "larger than any file"),
        (device(0, 0), "character device 0:0"),
        (device(1 << 13, 0), "device number"),
        (kind(EntryType::GNUSparse), "sparse"),
        (kind(EntryType::Symlink), "symbolic link whose target"),
        (kind(EntryType::new(b'M')), "neither file"),
        (kind(EntryType::Link), "hard link that leads out"),
        (
            header("x", EntryType::Link, 0, |header| {
                header.set_link_name_literal("../../etc/shadow").unwrap();
            }),
            "hard link that leads out",
        ),
        (header("x", EntryType::Regular, 0, |header| header.set_uid(u64::from(u32::MAX))), "owner"),
        ([header("x", EntryType::Regular, 9, |_| ()), b"abc".to_vec()].concat(), "ends within a file"),
        (long_name(9), "ends within a name"),
        (file("x")[..100].to_vec(), "ends within a header"),
        (vec![7; 512], "checksum"),
    ] {
        let said = refusal(&bytes);
        assert!(said.contains(says), "{said} does not say {says}");
    }
}

#[test]
fn whatever_is_cut_or_changed_ends_in_an_error_or_an_end() {
    let pax = record("mtime", b"1700000000.123456789");
    let mut bytes = header("x", EntryType::XHeader, pax.len() as u64, |_| ());
    bytes.extend(padded(&pax));
    bytes.extend(header("a/b", EntryType::Regular, 700, |_| ()));
    bytes.extend(padded(&[b'x'; 700]));
    bytes.extend([0; 1024]);
    let drain = |bytes: &[u8]| {
        let mut archive = Archive::new(bytes);
        while let Ok(Some(_)) = archive.next() {}
    };
    for length in 0..bytes.len() {
        drain(&bytes[..length]);
    }
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            // With a right checksum, so that the fields are what is looked at.
            let sum = |header: &[u8]| {
                let mut copy = Header::from_byte_slice(header).clone();
                copy.set_cksum();
                copy.as_bytes().to_vec()
            };
            for start in [0, 1024] {
                let fixed = sum(&changed[start..start + 512]);
                changed[start..start + 512].copy_from_slice(&fixed);
            }
            drain(&changed);
        }
    }
}
