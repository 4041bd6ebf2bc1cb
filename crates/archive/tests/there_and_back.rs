//! What a copy writes, a copy reads: whatever the names, sizes, holes, modes and times.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use archive::{Destination, Modes, write};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Made {
    /// Its bytes, and pieces of data in it, the rest of which are holes.
    File(u64, Vec<(u64, Vec<u8>)>),
    Folder,
    Symlink(Vec<u8>),
}

#[derive(Debug, Clone)]
struct Node {
    made: Made,
    mode: u32,
    /// Nanoseconds before or after 1970.
    time: i64,
}

fn name(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    let byte = any::<u8>().prop_map(|byte| if matches!(byte, 0 | b'/') { b'\n' } else { byte });
    prop::collection::vec(byte, 1..longest).prop_filter("is special", |name| name != b"." && name != b"..")
}

fn node() -> impl Strategy<Value = Node> {
    let pieces = prop::collection::vec((0..200_000_u64, prop::collection::vec(1..=255_u8, 1..600)), 0..4);
    let made = prop_oneof![
        (0..300_000_u64, pieces).prop_map(|(size, pieces)| Made::File(size, pieces)),
        Just(Made::Folder),
        name(300).prop_map(Made::Symlink),
    ];
    // Who owns a file may read it, else it cannot be copied.
    (made, 0o700..0o1000_u32, -(1_i64 << 60)..1_i64 << 60).prop_map(|(made, mode, time)| Node {
        made,
        mode,
        time,
    })
}

fn make(path: &Path, node: &Node) {
    match &node.made {
        Made::File(size, pieces) => {
            let file = File::create(path).unwrap();
            for (offset, piece) in pieces {
                file.write_all_at(piece, *offset).unwrap();
            }
            file.set_len(*size).unwrap();
        }
        Made::Folder => fs::create_dir(path).unwrap(),
        Made::Symlink(target) => return symlink(OsString::from_vec(target.clone()), path).unwrap(),
    }
    let distance = Duration::from_nanos(node.time.unsigned_abs());
    let epoch = SystemTime::UNIX_EPOCH;
    let time = if node.time < 0 { epoch - distance } else { epoch + distance };
    File::open(path).unwrap().set_modified(time).unwrap();
    fs::set_permissions(path, Permissions::from_mode(node.mode)).unwrap();
}

/// What is at a path: mode, time, and content or target.
fn found(path: &Path) -> (u32, i64, i64, Vec<u8>) {
    let metadata = fs::symlink_metadata(path).unwrap();
    let content = if metadata.is_symlink() {
        fs::read_link(path).unwrap().into_os_string().into_vec()
    } else if metadata.is_file() {
        fs::read(path).unwrap()
    } else {
        Vec::new()
    };
    (metadata.mode(), metadata.mtime(), metadata.mtime_nsec(), content)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn trees_come_back(tree in prop::collection::btree_map(name(256), node(), 0..6)) {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::create_dir_all(from.join("in")).unwrap();
        fs::create_dir(&to).unwrap();
        for (name, node) in &tree {
            make(&from.join("in").join(OsString::from_vec(name.clone())), node);
        }
        let mut stream = Vec::new();
        write(&from, &mut stream, |flaw| panic!("{flaw}")).unwrap();
        Destination::folder(&to).unwrap().extract(stream.as_slice(), Modes::All).unwrap();
        let inside = |root: &Path| -> Vec<PathBuf> {
            let entries = fs::read_dir(root.join("in")).unwrap();
            let mut names: Vec<_> =
                entries.map(|entry| Path::new("in").join(entry.unwrap().file_name())).collect();
            names.sort();
            names
        };
        let made = to.join("from");
        prop_assert_eq!(inside(&made), inside(&from));
        for name in inside(&from) {
            prop_assert_eq!(found(&made.join(&name)), found(&from.join(&name)), "{:?}", name);
        }
    }
}
