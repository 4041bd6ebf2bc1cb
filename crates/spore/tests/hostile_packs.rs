//! A pack is believed in nothing: forged ones end in an error that says what is wrong, and leave no trace.
//!
//! Every case takes a true pack, changes one thing, and gives the result to `spore unpack` as a file and through a pipe. Digests
//! are right for the changed bytes wherever whoever forges one could make them so. The snapshot is one that no engine can
//! run: nothing here forks.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test says is its output")]
#![allow(dead_code, unreachable_pub, reason = "modules of a test, some of them shared with another")]

#[path = "packs/archive.rs"]
mod archive;
#[path = "packs/arena.rs"]
mod arena;
#[path = "hostile/configs.rs"]
mod configs;
#[path = "packs/entries.rs"]
mod entries;
#[path = "hostile/forge.rs"]
mod forge;
mod harness;
#[path = "hostile/manifests.rs"]
mod manifests;
#[path = "hostile/maps.rs"]
mod maps;
#[path = "hostile/raw.rs"]
mod raw;

use archive::Entry;
use arena::{Arena, Way};
use raw::RawFrame;
use serde_json::json;
use tar::EntryType;

#[test]
fn archives_are_refused() {
    Arena::new().refuses_archives(entries::cases());
}

#[test]
fn manifests_are_refused() {
    Arena::new().refuses(manifests::cases());
}

#[test]
fn configs_are_refused() {
    Arena::new().refuses(configs::cases());
}

#[test]
fn maps_are_refused() {
    Arena::new().refuses(maps::cases());
}

/// At the borders of every entry, in its header, and in its middle.
#[test]
fn what_is_cut_short_is_refused() {
    let arena = Arena::new();
    let whole = arena.archive(arena.draft());
    let mut at = 0;
    for entry in &whole.entries {
        let padded = entry.bytes.len().next_multiple_of(512);
        for cut in [at, at + 100, at + 512, at + 512 + entry.bytes.len() / 2, at + 512 + padded - 1] {
            let mut short = whole.clone();
            short.cut = Some(cut);
            arena.refuses_bytes(
                &short.encode(),
                Way::Both,
                5,
                &["the pack is cut short", "behind byte"],
                &[],
            );
        }
        at += 512 + padded;
    }
    arena.spore.fsck();
}

/// What blobs hold is known when they are laid out: by then all of them are stored, and have to go again.
#[test]
fn what_cannot_be_laid_out_is_taken_back() {
    let arena = Arena::new();
    let mut draft = arena.draft();
    draft.edit_frames("memory", |blob| blob.frames[0] = RawFrame::new(&[7; 4096]));
    let pack = arena.archive(draft).encode();
    arena.refuses_bytes(&pack, Way::Both, 5, &["blob sha256:"], &[]);

    let mut draft = arena.draft();
    let another = format::Digest::of(b"another layer");
    let declared = draft.config["disks"][1]["content"].as_str().unwrap().parse().unwrap();
    draft.config["disks"][1]["content"] = json!(another);
    draft.edit_map("memory", |map| {
        map.layers.iter_mut().filter(|layer| **layer == declared).for_each(|layer| *layer = another);
    });
    let pack = arena.archive(draft).encode();
    arena.refuses_bytes(&pack, Way::Both, 5, &["a layer has the content", &another.to_string()], &[]);
    // Whoever does not lay out finds it at the fork; nothing is wrong with the pack by itself.
    arena.unpack(&pack, Way::Pipe, &["--no-layout"]).succeeds();
    arena.spore.run(["rm", "forged:1"]).succeeds();
    arena.spore.run(["prune"]).succeeds();
}

/// A few blobs that would fill a disk are refused by what the maps say, before one of them is stored.
#[test]
fn what_lays_out_to_too_much_is_refused() {
    let arena = Arena::new();
    let mut draft = arena.draft();
    draft.edit_frames("writable", |blob| blob.frames = vec![RawFrame::new(&vec![0; 1 << 20]); 60]);
    let pages = 60 * 256;
    draft.edit_map("writable", |map| {
        (map.pages, map.blobs[0].plain_pages) = (pages, pages);
        map.extents = vec![raw::RawExtent { gap: 0, pages, source: 0, page: 0 }];
    });
    draft.config["disks"].as_array_mut().unwrap().last_mut().unwrap()["size"] = json!(pages * 4096);
    let pack = arena.archive(draft).encode();
    assert!(pack.len() < 1 << 18, "{}", pack.len());
    let says = ["bytes laid out", "at most 33554432"];
    arena.refuses_bytes(&pack, Way::Both, 1, &says, &["--max-size", "32MiB"]);
    arena.unpack(&pack, Way::Pipe, &["--max-size", "64MiB"]).succeeds();
}

/// What is large and allowed is read, in little memory; the same without bounds is refused.
#[test]
fn annotations_may_be_huge_within_the_manifest_s_bound() {
    let arena = Arena::new();
    let mut draft = arena.draft();
    let texts: Vec<_> = (0..40_000).map(|n| (format!("{n:060}"), json!("\u{1b}[2J"))).collect();
    draft.manifest["annotations"] = serde_json::Value::Object(texts.into_iter().collect());
    let pack = arena.archive(draft).encode();
    assert!(pack.len() > 2 << 20, "{}", pack.len());
    arena.unpack(&pack, Way::Pipe, &[]).succeeds();
    arena.unpack(&pack, Way::File, &[]).succeeds();
    arena.spore.fsck();
}

/// Packs of other tools have folders, times and owners in them.
#[test]
fn what_other_tools_add_is_accepted() {
    let arena = Arena::new();
    let mut pack = arena.archive(arena.draft());
    for name in ["./", "./blobs/", "./blobs/sha256/"].into_iter().rev() {
        pack.insert(0, Entry::of_kind(EntryType::Directory, name, []));
    }
    for at in (3..pack.entries.len()).rev() {
        let entry = &mut pack.entries[at];
        *entry = Entry::file(&format!("./{}", entry.name()), entry.bytes.clone());
        entry.header.set_mtime(1_800_000_000);
        entry.header.set_uid(1000);
        pack.insert(at, Entry::pax("mtime", "1800000000.123456789"));
    }
    pack.tail.resize(10_240, 0);
    for way in [Way::Pipe, Way::File] {
        arena.unpack(&pack.encode(), way, &[]).succeeds();
    }
    arena.spore.fsck();
}

#[test]
fn devices_are_no_packs() {
    let arena = Arena::new();
    let before = harness::files::files_below(arena.spore.root());
    arena.spore.run(["unpack", "/dev/null"]).exits_with(5).says(&["cut short", "byte 0"]);
    arena.spore.run(["unpack", "/dev/zero"]).exits_with(5).says(&["something follows"]);
    arena.spore.run(["unpack", "/dev/urandom"]).exits_with(5).says(&["not a pack"]);
    assert_eq!(harness::files::files_below(arena.spore.root()), before);
}
