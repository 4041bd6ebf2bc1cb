//! Archives as nobody should make them.

use tar::{EntryType, Header};
use tar_stream::{Stream, pax};

use super::*;

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

fn records(pairs: &[(&str, &[u8])]) -> Vec<u8> {
    let mut records = Vec::new();
    pairs.iter().for_each(|(key, value)| pax::push(&mut records, key, value));
    let mut bytes = header("x", EntryType::XHeader, records.len() as u64, |_| ());
    bytes.extend(padded(&records));
    bytes
}

fn whole(entries: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = entries.concat();
    bytes.extend([0; 1024]);
    bytes
}

fn all(bytes: &[u8], role: Role) -> Result<Vec<Entry>, ArchiveError> {
    let mut archive = Archive::new(Stream(bytes), role);
    let mut entries = Vec::new();
    while let Some(entry) = archive.next()? {
        entries.push(entry);
    }
    archive.finish()?;
    Ok(entries)
}

fn refusal(bytes: &[u8]) -> String {
    all(bytes, Role::File).expect_err("something is refused").to_string()
}

#[test]
fn entries_are_read_with_their_attributes() {
    let bytes = whole(&[
        records(&[
            ("mtime", b"1700000000.123456789"),
            ("SCHILY.xattr.user.a", b"b\n"),
            ("SCHILY.xattr.user.overlay.opaque", b"y"),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/"),
            ("SCHILY.xattr.com.apple.provenance", &[0; 70_000]),
            ("SCHILY.xattr.user.", b"x"),
            ("RHT.security.selinux", b"system_u:object_r:bin_t:s0"),
            ("uid", b"3000000000"),
        ]),
        header("./usr//bin/tool", EntryType::Regular, 3, |header| header.set_mode(0o104_755)),
        padded(b"abc"),
        header("usr/link", EntryType::Symlink, 0, |header| header.set_link_name("../x").unwrap()),
    ]);
    let mut archive = Archive::new(Stream(&*bytes), Role::File);
    let entry = archive.next().unwrap().unwrap();
    assert_eq!(entry.path.to_string(), "/usr/bin/tool");
    let Kind::File { size: 3, parts } = entry.kind else { panic!("{:?}", entry.kind) };
    let Attributes { mode, uid, time, extended, .. } = entry.attributes;
    assert_eq!(
        (mode, uid, time.seconds, time.nanoseconds),
        (0o4755, 3_000_000_000, 1_700_000_000, 123_456_789)
    );
    // Neither those of overlayfs, which are for whiteouts to say, nor other systems'.
    assert_eq!(extended.into_iter().collect::<Vec<_>>(), [(b"user.a".to_vec(), b"b\n".to_vec())]);
    let mut content = Vec::new();
    archive
        .copy(&parts, |bytes, _| {
            content.extend_from_slice(bytes);
            Ok::<_, ArchiveError>(())
        })
        .unwrap();
    assert_eq!(content, b"abc");
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
    let link = |to: &str| header("x", EntryType::Link, 0, |header| header.set_link_name_literal(to).unwrap());
    let described = |pairs: &[(&str, &[u8])]| [records(pairs), file("x")].concat();
    let wide = [0; 40_000];
    for (bytes, says) in [
        (file("/etc/passwd"), "absolute"),
        (file("a/../../etc/passwd"), "leads out of its folder"),
        (file(".."), "leads out of its folder"),
        (deep, "256 folders deep"),
        (long_name(1 << 30), "longer than 1 MiB"),
        (header("x", EntryType::XHeader, 1 << 40, |_| ()), "longer than 1 MiB"),
        (header("big", EntryType::Regular, 1 << 60, |_| ()), "larger than any file"),
        (device(0, 0), "character device 0:0"),
        (device(1 << 13, 0), "device number"),
        (kind(EntryType::GNUSparse), "map of holes"),
        (kind(EntryType::Symlink), "leads nowhere"),
        (kind(EntryType::new(b'M')), "neither file"),
        (kind(EntryType::Link), "leads nowhere"),
        (link("../../etc/shadow"), "hard link that leads out"),
        (link("/etc/shadow"), "hard link that leads out"),
        (header("x", EntryType::Regular, 0, |header| header.set_uid(u64::from(u32::MAX))), "owner"),
        (described(&[("SCHILY.acl.access", b"user:7:rwx")]), "entry \"x\" has an access list"),
        (described(&[("SCHILY.acl.default", b"user:7:rwx")]), "tar --no-acls"),
        (described(&[("SCHILY.xattr.user.a", &[0; 65_536])]), "longer than Linux takes"),
        (
            described(&[("SCHILY.xattr.user.a", &wide), ("SCHILY.xattr.user.b", &wide)]),
            "more than 64 KiB of extended attributes",
        ),
        ([header("x", EntryType::Regular, 9, |_| ()), b"abc".to_vec()].concat(), "within a file"),
        (long_name(9), "within what describes an entry"),
        (file("x")[..100].to_vec(), "within a header"),
        (vec![7; 512], "checksum"),
        // Whoever joins archives by `cat` would get the first one alone.
        ([whole(&[file("x")]), whole(&[file("y")])].concat(), "something follows its end"),
    ] {
        let said = refusal(&bytes);
        assert!(said.contains(says), "{said} does not say {says}");
    }
}

#[test]
fn a_layer_may_have_absolute_names_and_no_end() {
    // As kaniko and ko write them.
    let entries = [
        header("/", EntryType::Directory, 0, |_| ()),
        header("/ko-app/x", EntryType::Regular, 0, |_| ()),
        header("//ko-app/y", EntryType::Link, 0, |header| header.set_link_name_literal("/ko-app/x").unwrap()),
    ];
    let found = all(&entries.concat(), Role::Layer).unwrap();
    let paths: Vec<_> = found.iter().map(|entry| entry.path.to_string()).collect();
    assert_eq!(paths, ["/", "/ko-app/x", "/ko-app/y"]);
    assert_eq!(found[2].kind, Kind::HardLink(EntryPath::parse(b"ko-app/x", Role::File).unwrap()));
    let up = header("/../x", EntryType::Regular, 0, |_| ());
    assert!(all(&up, Role::Layer).unwrap_err().to_string().contains("leads out"));

    // What somebody made has neither, but the root may be called by its name.
    let root = &entries[..1];
    assert_eq!(all(&whole(root), Role::File).unwrap().len(), 1);
    assert!(refusal(&root.concat()).contains("cut short"));
    assert!(refusal(&whole(&entries)).contains("absolute"));
}

#[test]
fn what_follows_the_end_is_bounded() {
    let mut filled = whole(&[header("x", EntryType::Regular, 0, |_| ())]);
    filled.extend(vec![0; 20 << 10]);
    assert_eq!(all(&filled, Role::File).unwrap().len(), 1);
    let mut noise = filled.clone();
    noise.extend(b"noise");
    assert_eq!(all(&noise, Role::Layer).unwrap().len(), 1);
    filled.resize(2 << 20, 0);
    for role in [Role::File, Role::Layer] {
        assert!(all(&filled, role).unwrap_err().to_string().contains("something follows its end"));
    }
}
