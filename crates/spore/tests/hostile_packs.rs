//! A pack is believed in nothing: forged ones end in an error that says what is wrong, and leave no trace.
//!
//! Every case takes a true pack, changes one thing, and gives the result to `spore unpack` as a file and through a pipe. Digests
//! are right for the changed bytes wherever whoever forges one could make them so. The snapshot is one that no engine can
//! run, but where a fork is what finds it out.
//!
//! | what may be wrong | test |
//! |---|---|
//! | path traversal, absolute paths, links, devices, undeclared and duplicate blobs, sizes, ends | `archives_are_refused` |
//! | manifest, config, maps: more extents than pages, deep JSON | `manifests_…`, `configs_…`, `maps_are_refused` |
//! | frames, layers, engine states, texts | `frames_are_refused`, `what_cannot_be_laid_out_…`, `a_layer_…`, `engine_states_…`, `texts_…` |
//! | truncation at every section | `what_is_cut_short_is_refused` |
//! | a tiny blob that lays out to more than `--max-size` | `what_lays_out_to_too_much_is_refused` |
//! | huge annotations, a manifest and an index of 4 MiB | `annotations_may_be_huge_…`, `documents_of_four_mebibytes_…` |
//! | a store or a hub that has parts | `what_the_store_has_…`, `a_hub_completes_no_forgery` |
//! | a name that a terminal obeys | `a_terminal_obeys_no_name` |
//! | the same of a base: a tar archive, a container image | `bases_are_refused` |
//! | memory | each command that needs no engine has 200 MB; the worst maps: crate `pack`, `tests/memory.rs` |

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::unwrap_used)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what a test says is its output")]
#![allow(dead_code, unreachable_pub, reason = "modules of a test, some of them shared with another")]

#[path = "packs/archive.rs"]
mod archive;
#[path = "hostile/arena.rs"]
mod arena;
#[path = "hostile/bases.rs"]
mod bases;
#[path = "hostile/case.rs"]
mod case;
#[path = "hostile/configs.rs"]
mod configs;
#[path = "hostile/engines.rs"]
mod engines;
#[path = "packs/entries.rs"]
mod entries;
#[path = "hostile/forge.rs"]
mod forge;
#[path = "hostile/frames.rs"]
mod frames;
mod harness;
#[path = "hostile/layers.rs"]
mod layers;
#[path = "hostile/manifests.rs"]
mod manifests;
#[path = "hostile/maps.rs"]
mod maps;
#[path = "packs/arena.rs"]
mod pack_arena;
#[path = "hostile/raw.rs"]
mod raw;
#[path = "hostile/texts.rs"]
mod texts;

use archive::Entry;
use arena::Arena;
use case::Carrier;
use harness::needs::{Need, find_program, say_skipped, skipped};
use pack_arena::{PackArena, Way};
use raw::RawFrame;
use serde_json::json;
use tar::EntryType;

#[test]
fn archives_are_refused() {
    PackArena::new().refuses_archives(entries::cases());
}

#[test]
fn manifests_are_refused() {
    PackArena::new().refuses(manifests::cases());
}

#[test]
fn configs_are_refused() {
    PackArena::new().refuses(configs::cases());
}

#[test]
fn maps_are_refused() {
    PackArena::new().refuses(maps::cases());
}

#[test]
fn frames_are_refused() {
    PackArena::new().refuses(frames::cases());
}

#[test]
fn engine_states_are_refused() {
    if !skipped("hostile_packs::engine_states_are_refused", &[Need::Bake]) {
        Arena::new(Carrier::Pack).refuses(engines::cases());
    }
}

#[test]
fn a_layer_is_what_it_claims_or_is_not_attached() {
    if !skipped("hostile_packs::a_layer_is_what_it_claims_or_is_not_attached", &[Need::Bake]) {
        layers::is_what_it_claims(Carrier::Pack);
    }
}

#[test]
fn texts_are_neither_paths_nor_terminal_commands() {
    if !skipped("hostile_packs::texts_are_neither_paths_nor_terminal_commands", &[Need::Bake]) {
        texts::lead_nowhere(Carrier::Pack);
    }
}

#[test]
fn bases_are_refused() {
    PackArena::new().refuses_bases(bases::cases());
}

/// Where progress is shown, the name that a pack proposes is shown before anybody has judged it.
#[test]
fn a_terminal_obeys_no_name() {
    if find_program("script").is_none() {
        return say_skipped("hostile_packs::a_terminal_obeys_no_name", "script is not installed");
    }
    let arena = PackArena::new();
    let mut pack = arena.archive(arena.draft());
    pack.edit_index(|index| {
        let name = format!("\u{1b}]0;evil\u{7}\u{9b}2J{}", "x".repeat(1 << 20));
        index["manifests"][0]["annotations"]["org.opencontainers.image.ref.name"] = json!(name);
    });
    for options in ["--dry-run", "--name mine", ""] {
        let shown = arena.unpack_on_terminal(&pack.encode(), options);
        assert!(shown.contains("\\u{1b}]0;evil\\u{7}\\u{9b}2J"), "{options}: {shown:?}");
        let obeyed = ["\u{1b}]0;", "\u{7}", "\u{9b}"].into_iter().find(|command| shown.contains(command));
        assert!(obeyed.is_none() && shown.len() < 10_000, "{options}: {obeyed:?} {shown:?}");
    }
}

/// What a document may have in bytes it may have, and no byte more.
#[test]
fn documents_of_four_mebibytes_are_read_and_no_larger_ones() {
    const LIMIT: usize = 4 << 20;
    let arena = PackArena::new();
    for (size, is_read) in [(LIMIT, true), (LIMIT + 1, false)] {
        let mut pack = arena.archive(arena.draft());
        pack.edit_index(|index| index["annotations"] = json!({ "x": "" }));
        let now = pack.entry("index.json").bytes.len();
        pack.edit_index(|index| index["annotations"]["x"] = json!("y".repeat(size - now)));
        assert_eq!(pack.entry("index.json").bytes.len(), size);
        let of_the_index = pack.encode();

        let mut draft = arena.draft();
        draft.manifest["annotations"] = json!({ "x": "" });
        let now = draft.manifest_bytes().len();
        draft.manifest["annotations"] = json!({ "x": "y".repeat(size - now) });
        let mut pack = arena.archive(draft);
        assert_eq!(pack.entries[2].bytes.len(), size);
        let digest = pack.manifest();
        assert_eq!(pack.entries[2].name(), archive::blob(digest));
        for (what, bytes) in [("index.json", of_the_index), ("blobs/sha256", pack.encode())] {
            if is_read {
                for way in [Way::Pipe, Way::File] {
                    arena.unpack(&bytes, way, &["--force"]).succeeds();
                }
                arena.spore.run(["rm", "forged:1"]).succeeds();
                arena.spore.run(["prune"]).succeeds();
            } else {
                arena.refuses_bytes(&bytes, Way::Both, 5, &[what, "4194305 bytes: at most 4194304"], &[]);
            }
        }
    }
    arena.spore.fsck();
}

/// What the store has is what it is: a pack cannot say something else of it.
#[test]
fn what_the_store_has_is_not_of_another_size() {
    let arena = PackArena::new();
    arena.unpack(&arena.archive(arena.draft()).encode(), Way::File, &[]).succeeds();
    let mut draft = arena.draft();
    draft.manifest["layers"][1]["size"] = json!(12_345);
    let kernel = archive::blob(forge::digest(&draft.manifest["layers"][1]["digest"]));
    let mut pack = arena.archive(draft);
    pack.entries.retain(|entry| entry.name() != kernel);
    arena.refuses_bytes(
        &pack.encode(),
        Way::Both,
        5,
        &["kernel", "bytes in the store"],
        &["--name", "other"],
    );
}

/// Nor does a hub that has all of the true snapshot: what is in the pack is judged as it is.
#[test]
fn a_hub_completes_no_forgery() {
    let arena = PackArena::new();
    let hub = ["--hub", arena.hub.to_str().unwrap()];
    let whole = arena.archive(arena.draft());
    let mut corrupt = whole.clone();
    corrupt.entries.last_mut().unwrap().bytes[20] ^= 1;
    arena.refuses_bytes(&corrupt.encode(), Way::Both, 5, &["frames of", "corrupt in the pack"], &hub);
    let mut undeclared = whole.clone();
    undeclared.entries.push(Entry::file(&archive::blob(format::Digest::of(b"evil")), "evil"));
    arena.refuses_bytes(&undeclared.encode(), Way::Both, 5, &["does not declare"], &hub);
    let mut draft = arena.draft();
    let nowhere = format::Digest::of(b"nowhere").to_string();
    draft.manifest["layers"][1]["digest"] = json!(nowhere);
    draft.config["machine"]["kernel"]["image"] = json!(nowhere);
    arena.refuses_bytes(
        &arena.archive(draft).encode(),
        Way::Both,
        3,
        &["kernel", &nowhere, "not complete there"],
        &hub,
    );
    // And what is only missing comes from there.
    let mut lacking = whole;
    lacking.entries.truncate(6);
    for way in [Way::Pipe, Way::File] {
        arena.unpack(&lacking.encode(), way, &[&hub[..], &["--force"]].concat()).succeeds();
    }
    arena.spore.fsck();
}

/// At the borders of every entry, in its header, and in its middle.
#[test]
fn what_is_cut_short_is_refused() {
    let arena = PackArena::new();
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
    let arena = PackArena::new();
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
    let arena = PackArena::new();
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
    let arena = PackArena::new();
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
    let arena = PackArena::new();
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
    let arena = PackArena::new();
    let before = harness::files::files_below(arena.spore.root());
    arena.spore.run(["unpack", "/dev/null"]).exits_with(5).says(&["cut short", "byte 0"]);
    arena.spore.run(["unpack", "/dev/zero"]).exits_with(5).says(&["something follows"]);
    arena.spore.run(["unpack", "/dev/urandom"]).exits_with(5).says(&["not a pack"]);
    assert_eq!(harness::files::files_below(arena.spore.root()), before);
}
