//! Archives that hold what no pack holds, or not all that one does.

use serde_json::json;
use tar::EntryType;

use crate::archive::{Archive, Entry, blob};
use crate::pack_arena::{Forgery, Way, archive};

pub fn cases() -> Vec<Forgery> {
    let mut cases = names();
    cases.extend(kinds());
    cases.extend(extensions());
    cases.extend(blobs());
    cases.extend(heads());
    cases.extend(sizes());
    cases.extend(ends());
    cases
}

const FOREIGN: &[&str] = &["is refused", "no other file"];

fn names() -> Vec<Forgery> {
    vec![
        archive("a path that leads up", FOREIGN, |pack| {
            pack.insert(3, Entry::file("../../../.ssh/authorized_keys", "evil"));
        }),
        archive("a blob that leads up", FOREIGN, |pack| {
            pack.insert(3, Entry::file("blobs/sha256/../../refs/local%2Fevil%3A1", "{}"));
        }),
        archive("a path that leads up by its prefix", FOREIGN, |pack| {
            let mut entry = Entry::file("authorized_keys", "evil");
            let prefix = b"../../../.ssh";
            entry.header.as_ustar_mut().expect("ustar").prefix[..prefix.len()].copy_from_slice(prefix);
            pack.insert(3, entry);
        }),
        archive("an absolute path by its prefix", FOREIGN, |pack| {
            let mut entry = Entry::file("index.json", "{}");
            entry.header.as_ustar_mut().expect("ustar").prefix[..4].copy_from_slice(b"/etc");
            pack.insert(3, entry);
        }),
        archive("an absolute path", FOREIGN, |pack| pack.insert(0, Entry::file("/etc/passwd", "evil"))),
        archive("a file in the store's own folders", FOREIGN, |pack| {
            pack.insert(3, Entry::file("refs/local%2Fevil%3A1", "{}"));
        }),
        archive("a name in capitals", FOREIGN, |pack| {
            let name = pack.entries[3].name().to_uppercase();
            pack.insert(3, Entry::file(&name, "evil"));
        }),
        archive("a name that a terminal obeys", FOREIGN, |pack| {
            pack.insert(3, Entry::file("\u{1b}]0;title\u{7}\u{1b}[2J", "evil"));
        }),
        archive("a name without letters", FOREIGN, |pack| pack.insert(3, Entry::file("", "evil"))),
        archive("a name that is no text", FOREIGN, |pack| {
            let mut entry = Entry::file("x", "evil");
            entry.header.as_old_mut().name[..3].copy_from_slice(&[0xFF, 0xFE, 0x80]);
            pack.insert(3, entry);
        }),
        archive("a blob by another algorithm", FOREIGN, |pack| {
            pack.insert(3, Entry::file(&format!("blobs/sha512/{}", "0".repeat(64)), "evil"));
        }),
    ]
}

fn kinds() -> Vec<Forgery> {
    vec![
        archive("a symbolic link", &["a symbolic link"], |pack| {
            pack.insert(2, Entry::to(EntryType::Symlink, "blobs", "/etc"));
        }),
        archive("a symbolic link in a blob's place", &["a symbolic link"], |pack| {
            let name = pack.entries[4].name();
            pack.entries[4] = Entry::to(EntryType::Symlink, &name, "/dev/zero");
        }),
        archive("a hard link", &["a hard link"], |pack| {
            pack.insert(4, Entry::to(EntryType::Link, "oci-layout", "/etc/shadow"));
        }),
        archive("a device", &["a device"], |pack| {
            pack.insert(4, Entry::of_kind(EntryType::Block, "blobs/sda", []));
        }),
        archive("another device", &["a device"], |pack| {
            pack.insert(4, Entry::of_kind(EntryType::Char, "index.json", []));
        }),
        archive("a pipe", &["a pipe"], |pack| {
            pack.insert(0, Entry::of_kind(EntryType::Fifo, "oci-layout", []));
        }),
        archive("a folder", &["a folder"], |pack| {
            pack.insert(0, Entry::of_kind(EntryType::Directory, "etc/cron.d/", []));
        }),
        archive("a folder that has bytes", &["a folder"], |pack| {
            pack.insert(0, Entry::of_kind(EntryType::Directory, "blobs/", "evil"));
        }),
        archive("a sparse file", &["a sparse file"], |pack| {
            let entry = &mut pack.entries[4];
            *entry = Entry::of_kind(EntryType::GNUSparse, &entry.name(), entry.bytes.clone());
        }),
        archive("a kind that nobody knows", &["of kind"], |pack| {
            pack.insert(4, Entry::of_kind(EntryType::new(b'\x1b'), "index.json", []));
        }),
        archive("contiguous blocks", &["of kind"], |pack| {
            let entry = &mut pack.entries[4];
            *entry = Entry::of_kind(EntryType::Continuous, &entry.name(), entry.bytes.clone());
        }),
    ]
}

/// Headers that say something of the entry behind them.
fn extensions() -> Vec<Forgery> {
    vec![
        archive("a long name of GNU", &["a long name"], |pack| {
            pack.insert(4, Entry::of_kind(EntryType::GNULongName, "././@LongLink", "../".repeat(100)));
        }),
        archive("a long name of 2^60 bytes", &["a long name"], |pack| {
            let mut entry = Entry::of_kind(EntryType::GNULongName, "././@LongLink", "../evil");
            entry.header.set_size(1 << 60);
            pack.insert(4, entry);
        }),
        archive("a long link of GNU", &["a long name"], |pack| {
            pack.insert(4, Entry::of_kind(EntryType::GNULongLink, "././@LongLink", "/etc"));
        }),
        archive("a name by PAX", &["PAX header", "\"path\""], |pack| {
            pack.insert(4, Entry::pax("path", "../../evil"));
        }),
        archive("a size by PAX", &["PAX header", "\"size\""], |pack| {
            pack.insert(4, Entry::pax("size", "18446744073709551615"));
        }),
        archive("a sparse file by PAX", &["PAX header", "GNU.sparse"], |pack| {
            pack.insert(4, Entry::pax("GNU.sparse.realsize", "1099511627776"));
        }),
        archive("a key that a terminal obeys", &["PAX header"], |pack| {
            pack.insert(4, Entry::pax("\u{1b}[2J", "x"));
        }),
        archive("a PAX header that is none", &["no PAX header"], |pack| {
            pack.insert(4, Entry::of_kind(EntryType::XHeader, "x", "evil\n"));
        }),
        archive("a PAX header of 2^40 bytes", &["PAX header of 1099511627776 bytes", "65536"], |pack| {
            let mut entry = Entry::pax("mtime", "1");
            entry.header.set_size(1 << 40);
            pack.insert(4, entry);
        }),
        archive("a header for all entries", &["a header for all entries"], |pack| {
            let entry = Entry::pax("path", "evil");
            pack.insert(0, Entry::of_kind(EntryType::XGlobalHeader, "x", entry.bytes));
        }),
    ]
}

fn blobs() -> Vec<Forgery> {
    vec![
        archive("a blob that nobody declares", &["does not declare"], |pack| {
            pack.insert(5, Entry::file(&blob(format::Digest::of(b"evil")), "evil"));
        }),
        archive("a blob that nobody declares at the end", &["does not declare"], |pack| {
            pack.entries.push(Entry::file(&blob(format::Digest::of(b"evil")), "evil"));
        }),
        archive("a blob that comes twice", &["comes twice"], |pack| {
            let entry = pack.entries[5].clone();
            pack.insert(6, entry);
        }),
        archive("a blob that comes again at the end", &["comes twice"], |pack| {
            pack.entries.push(pack.entries[5].clone());
        }),
        archive("a blob that comes twice under two names", &["comes twice"], |pack| {
            let entry = pack.entries[5].clone();
            pack.insert(6, Entry::file(&format!("./{}", entry.name()), entry.bytes));
        }),
        archive("the manifest again", &["comes twice"], |pack| pack.entries.push(pack.entries[2].clone())),
        archive("the index again", &["index.json", "comes twice"], |pack| {
            pack.entries.push(pack.entries[1].clone());
        }),
        archive("a config that is not what it says", &["config", "corrupt in the pack"], |pack| {
            pack.entries[3].bytes[20] ^= 1;
        }),
        archive("a map that is not what it says", &["memory map", "corrupt in the pack"], |pack| {
            pack.entries[4].bytes[20] ^= 1;
        }),
        archive("frames that are not what they say", &["frames of", "corrupt in the pack"], |pack| {
            let last = pack.entries.last_mut().expect("there are frames");
            last.bytes[20] ^= 1;
        }),
        archive("a blob that is missing", &["neither the pack nor the store has", "frames of"], |pack| {
            pack.entries.pop();
        })
        .exits_with(3),
        archive(
            "no blob but the manifest",
            &["neither the pack nor the store has", "config", "bytes)"],
            |pack| {
                pack.entries.truncate(3);
            },
        )
        .exits_with(3),
        archive("blobs in another order", &["give the pack as a file"], |pack| {
            let last = pack.entries.len() - 1;
            pack.entries.swap(last, last - 1);
        })
        .only_by(Way::Pipe)
        .exits_with(2),
        archive("blobs before what declares them", &["give the pack as a file"], |pack| {
            pack.entries.reverse();
        })
        .only_by(Way::Pipe)
        .exits_with(2),
    ]
}

fn heads() -> Vec<Forgery> {
    let mut cases = vec![
        archive("no oci-layout", &["no oci-layout"], |pack| drop(pack.entries.remove(0))).only_by(Way::File),
        archive("no index", &["no index.json"], |pack| drop(pack.entries.remove(1))).only_by(Way::File),
        archive("no manifest", &["not a pack: it has no blobs/sha256/"], |pack| drop(pack.entries.remove(2)))
            .only_by(Way::File),
        archive("another layout", &["oci-layout", "2.0.0"], |pack| {
            pack.entries[0] = Entry::file("oci-layout", r#"{"imageLayoutVersion":"2.0.0"}"#);
        }),
        archive("a layout of 8 KiB", &["oci-layout", "8192", "4096"], |pack| {
            pack.entries[0] = Entry::file("oci-layout", " ".repeat(8192));
        }),
        archive("an index of more than 4 MiB", &["index.json", "4194304"], |pack| {
            pack.entries[1] = Entry::file("index.json", " ".repeat((4 << 20) + 1));
        }),
        archive("a layout nested without end", &["oci-layout", "is refused"], |pack| {
            let deep = format!(r#"{{"imageLayoutVersion":"1.0.0","x":{}"#, "[".repeat(4000));
            pack.entries[0] = Entry::file("oci-layout", deep);
        }),
        archive("an index nested without end", &["index.json", "is refused"], |pack| {
            let deep = format!(r#"{{"manifests":[{{"annotations":{}"#, r#"{"x":"#.repeat(1 << 18));
            pack.entries[1] = Entry::file("index.json", deep);
        }),
        archive("an index that is nested where nobody looks", &["index.json", "EOF"], |pack| {
            let deep = format!(r#"{{"x":{}"#, "[".repeat(1 << 20));
            pack.entries[1] = Entry::file("index.json", deep);
        }),
        archive("a manifest of 2^62 bytes", &["4611686018427387904"], |pack| {
            pack.entries[2].header.set_size(1 << 62);
        })
        .only_by(Way::Pipe),
    ];
    cases.extend(indexes());
    cases
}

fn indexes() -> Vec<Forgery> {
    vec![
        archive("an index of nothing", &["lists 0 manifests"], |pack| {
            pack.edit_index(|index| index["manifests"] = json!([]));
        }),
        archive("an index of two", &["lists 2 manifests"], |pack| {
            pack.edit_index(|index| {
                let entry = index["manifests"][0].clone();
                index["manifests"].as_array_mut().expect("a list").push(entry);
            });
        }),
        archive("an index of an index", &["vnd.oci.image.index"], |pack| {
            pack.edit_index(|index| {
                index["manifests"][0]["mediaType"] = json!("application/vnd.oci.image.index.v1+json");
            });
        }),
        archive("an index of something that is no digest", &["index.json", "not a digest"], |pack| {
            pack.edit_index(|index| index["manifests"][0]["digest"] = json!("sha256:../../etc/passwd"));
        }),
        archive("a manifest of another size than the index says", &["index.json says 1"], |pack| {
            pack.edit_index(|index| index["manifests"][0]["size"] = json!(1));
        }),
        archive("a manifest that is not what it says", &["manifest", "corrupt in the pack"], |pack| {
            pack.entries[2].bytes[20] ^= 1;
        }),
        archive("a name that is none", &["../../evil", "--name"], |pack| {
            name(pack, "../../evil");
        })
        .exits_with(2),
        archive("a name of somebody's hub", &["hub.example/numpy:1", "--name"], |pack| {
            name(pack, "hub.example/numpy:1");
        })
        .exits_with(2),
        archive("a name that a terminal obeys", &["--name"], |pack| name(pack, "\u{1b}[2J")).exits_with(2),
        archive("a name of 3 MiB", &["--name"], |pack| name(pack, &"x".repeat(3 << 20))).exits_with(2),
        archive("no name", &["proposes no name"], |pack| {
            pack.edit_index(|index| index["manifests"][0]["annotations"] = json!({}));
        })
        .exits_with(2),
    ]
}

fn name(pack: &mut Archive, name: &str) {
    pack.edit_index(|index| {
        index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] = json!(name);
    });
}

fn sizes() -> Vec<Forgery> {
    vec![
        archive("a blob that says it is longer", &["bytes: the manifest declares"], |pack| {
            let entry = &mut pack.entries[6];
            *entry = Entry::file(&entry.name(), [&entry.bytes[..], b"more"].concat());
        }),
        archive("more bytes than the entry says", &["no header", "at byte"], |pack| {
            let entry = &mut pack.entries[6];
            let size = entry.bytes.len() as u64;
            entry.bytes.extend([b'x'; 1024]);
            entry.header.set_size(size);
        }),
        archive("a blob that says it is shorter", &["bytes: the manifest declares"], |pack| {
            let entry = &mut pack.entries[6];
            *entry = Entry::file(&entry.name(), &entry.bytes[1..]);
        }),
        archive("a blob of 2^62 bytes", &["4611686018427387904"], |pack| {
            pack.entries[6].header.set_size(1 << 62);
        })
        .only_by(Way::Pipe),
        archive("a blob that reaches beyond the file", &["cut short"], |pack| {
            pack.entries[6].header.set_size(1 << 62);
        })
        .only_by(Way::File),
        archive("a blob of nearly 2^64 bytes", &["size is no number"], |pack| {
            pack.entries[6].header.set_size(u64::MAX - 100);
        }),
        archive("a size that is no number", &["size is no number"], |pack| {
            pack.entries[6].header.as_old_mut().size = *b"-0000000001\0";
        }),
        archive("a size that is no text", &["size is no number"], |pack| {
            pack.entries[6].header.as_old_mut().size = [0x7F; 12];
        }),
    ]
}

fn ends() -> Vec<Forgery> {
    vec![
        archive("nothing", &["cut short", "byte 0"], |pack| pack.cut = Some(0)),
        archive("half a header", &["cut short", "byte 100", "in a header"], |pack| pack.cut = Some(100)),
        archive("text", &["not a pack", "byte 0"], |pack| {
            pack.entries.clear();
            pack.tail = b"#!/bin/sh\n".repeat(100);
        }),
        archive("a pack that zstd has compressed", &["is compressed", "zstd -d"], |pack| {
            pack.tail = zstd::bulk::compress(&pack.encode(), 3).expect("zstd compresses");
            pack.entries.clear();
        })
        .exits_with(2),
        archive("only an end", &["no oci-layout"], |pack| pack.entries.clear()),
        archive("no end", &["cut short", "behind byte"], |pack| pack.tail.clear()),
        archive("half an end", &["cut short", "its end"], |pack| pack.tail.truncate(512)),
        archive("an end of one block", &["something follows"], |pack| {
            pack.tail[512..].copy_from_slice(&[b'x'; 512]);
        }),
        archive("a second archive", &["something follows"], |pack| {
            let again = pack.encode();
            pack.tail.extend(again);
        }),
        archive("something behind the end", &["something follows"], |pack| pack.tail.extend(b"evil")),
        archive("zeros without end", &["something follows"], |pack| pack.tail.resize(4 << 20, 0)),
        archive("a header that is damaged", &["no header", "at byte"], |pack| {
            let end = pack.encode().len() - pack.tail.len();
            pack.tail = [&[b'x'; 512][..], &pack.tail].concat();
            assert!(end > 0);
        }),
    ]
}
