//! Archives that are nearly packs.

use format::Digest;

use super::*;

fn entry(kind: EntryType, name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
    bytes
}

fn pax(records: &[(&str, &[u8])]) -> Vec<u8> {
    let mut text = Vec::new();
    records.iter().for_each(|(key, value)| pax::push(&mut text, key, value));
    entry(EntryType::XHeader, "PaxHeaders/\n\u{1b}[2J", &text)
}

fn file() -> Vec<u8> {
    entry(EntryType::Regular, "oci-layout", b"{}")
}

fn read(bytes: &[u8]) -> Result<Vec<Entry>, ReadError> {
    let mut entries = Entries::new(Stream(bytes));
    let mut found = Vec::new();
    while let Some(entry) = entries.next()? {
        found.push(entry);
    }
    Ok(found)
}

#[test]
fn records_that_change_nothing_are_accepted() {
    let capability = b"\x01\0\0\x02\0\n\0\n\0\0\0\0\n99 path=x\0\0\0\0\0\0";
    let records =
        [("mtime", &b"1.5"[..]), ("SCHILY.xattr.security.capability", capability), ("uname", b"\n")];
    let bytes = [pax(&records), file(), END.to_vec()].concat();
    let found = read(&bytes).unwrap();
    assert_eq!(found, [Entry { name: EntryName::Layout, size: 2, start: 3 * BLOCK as u64 }]);
}

#[test]
fn records_are_read_to_their_end() {
    let left_over = |behind: &[u8]| {
        let text = [b"11 mtime=1\n", behind].concat();
        [entry(EntryType::XHeader, "x", &text), file(), END.to_vec()].concat()
    };
    read(&left_over(b"")).unwrap();
    for behind in [&b"\n"[..], b"x", b"\0\0\0", b"11 mtime=1", b"9 path=x\n", b"7 path=x\n", b"6 size\n"] {
        assert!(matches!(read(&left_over(behind)), Err(ReadError::Entry { .. })), "{behind:?}");
    }
    // One that describes nothing.
    let last = [file(), pax(&[("mtime", b"1")]), END.to_vec()].concat();
    match read(&last) {
        Err(ReadError::CutShort { during, .. }) => assert_eq!(during, "a PAX header"),
        other => panic!("{other:?}"),
    }
    let folder = entry(EntryType::Directory, "blobs/", b"");
    assert!(read(&[pax(&[("mtime", b"1")]), folder, END.to_vec()].concat()).unwrap().is_empty());
}

#[test]
fn what_was_cut_is_named_and_not_what_was_before_it() {
    let blob = EntryName::Blob(Digest::of(b"x"));
    let (name, head) = (blob.to_string(), file().len());
    let whole = [
        file(),
        pax(&[("mtime", b"1")]),
        entry(EntryType::Regular, &name, &[7; 700]),
        entry(EntryType::Directory, "blobs/", b""),
        END.to_vec(),
    ]
    .concat();
    read(&whole).unwrap();
    for (cut, expected) in [
        (0, "a header"),
        (100, "a header"),
        (BLOCK + 1, "oci-layout"),
        (head, "a header"),
        (head + BLOCK, "a PAX header"),
        (head + 2 * BLOCK, "a header"),
        (head + 3 * BLOCK, &name),
        (head + 3 * BLOCK + 1000, &name),
        (head + 5 * BLOCK, "a header"),
        (head + 6 * BLOCK, "a header"),
        (head + 7 * BLOCK, "its end"),
    ] {
        match read(&whole[..cut]) {
            Err(ReadError::CutShort { at, during }) => {
                assert!(during == expected && at <= cut as u64, "{cut}: {during}, {at}");
            }
            other => panic!("{cut}: {other:?}"),
        }
    }
}

#[test]
fn other_readers_would_see_the_same_files() {
    let mut folder = entry(EntryType::Directory, "blobs/", b"");
    let mut header = Header::from_byte_slice(&folder).clone();
    header.set_size(512);
    header.set_cksum();
    folder.copy_from_slice(header.as_bytes());
    for (bytes, says) in [
        (folder, "folder"),
        (pax(&[("path", b"")]), "\"path\""),
        (pax(&[("hdrcharset", b"BINARY")]), "\"hdrcharset\""),
        (pax(&[("GNU.sparse.major", b"1")]), "GNU.sparse"),
        (entry(EntryType::XGlobalHeader, "x", b"11 mtime=1\n"), "a header for all entries"),
        (entry(EntryType::GNULongName, "x", b"index.json\0"), "a long name"),
        (entry(EntryType::Continuous, "index.json", b""), "of kind '7'"),
    ] {
        let said = read(&[bytes, file(), END.to_vec()].concat()).unwrap_err().to_string();
        assert!(said.contains(says), "{said} does not say {says}");
    }
}
