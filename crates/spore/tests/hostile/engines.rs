//! Engines that this host does not have, and states that are none.

use serde_json::{Value, json};

use crate::case::{Case, fork};
use crate::forge::{Draft, digest};

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        fork("a machine type of the future", 4, &["machine type", "pc-q35-99.0"], |draft| {
            engine(draft)["machine_type"] = json!("pc-q35-99.0");
        }),
        fork("another machine", 4, &["machine type", "microvm"], |draft| {
            engine(draft)["machine_type"] = json!("microvm");
        }),
        fork("an unknown CPU", 4, &["CPU", "Cray-1"], |draft| {
            engine(draft)["cpu"]["model"] = json!("Cray-1");
        }),
        fork("an unknown CPU feature", 4, &["CPU", "+teleport"], |draft| {
            engine(draft)["cpu"]["features"] = json!(["+teleport"]);
        }),
    ];
    cases.extend(states());
    cases.extend(sizes());
    cases
}

/// What the format allows and no host has.
fn sizes() -> Vec<Case> {
    vec![fork("a tebibyte of memory", 1, &["the engine ended", "Address space limit"], |draft| {
        let (low, high) = (2048_u64 << 20, (1_u64 << 40) - (2048 << 20));
        draft.config["machine"]["memory"] = json!([
            { "guest_address": 0, "size": low, "offset": 0 },
            { "guest_address": 4_u64 << 30, "size": high, "offset": low },
        ]);
        draft.edit_map("memory", |map| map.pages = 1 << 28);
    })]
}

fn states() -> Vec<Case> {
    vec![
        fork("a state that is not zstd", 5, &["engine state", "zstd"], |draft| set(draft, b"garbage")),
        fork("a state of 65 MiB of zeros", 5, &["engine state", "67108864"], |draft| {
            set(draft, &zstd::bulk::compress(&vec![0; 65 << 20], 3).expect("zstd compresses"));
        }),
        fork("an empty state", 5, &["engine state", "does not begin as a QEMU state"], |draft| {
            edit(draft, Vec::clear);
        }),
        fork("a state of random bytes", 5, &["engine state", "does not begin as a QEMU state"], |draft| {
            edit(draft, |state| state.iter_mut().enumerate().for_each(|(n, byte)| *byte = noise(n)));
        }),
        fork("a state of another machine", 5, &["engine state", "pc-q35-8.0", "pc-q35-7.2"], |draft| {
            edit(draft, |state| {
                let name = b"pc-q35-7.2";
                let at =
                    state.windows(name.len()).position(|window| window == name).expect("its machine type");
                state[at..at + name.len()].copy_from_slice(b"pc-q35-8.0");
            });
        }),
        fork("a state without its machine type", 5, &["engine state", "configuration section"], |draft| {
            edit(draft, |state| drop(state.drain(8..8 + 5 + 10)));
        }),
        fork("half a state", 1, &["the engine ended", "load of migration failed"], |draft| {
            edit(draft, |state| state.truncate(state.len() / 2));
        }),
        fork("a state of random devices", 1, &["the engine ended", "load of migration failed"], |draft| {
            edit(draft, |state| state[24..].iter_mut().enumerate().for_each(|(n, byte)| *byte = noise(n)));
        }),
        fork(
            "a state of a device that is not there",
            1,
            &["the engine ended", "00:07.0/virtio-blk"],
            |draft| {
                edit(draft, |state| {
                    // The upper layer's: devices are named by their places.
                    let place = b"00:09.0/virtio-blk";
                    let at = state
                        .windows(place.len())
                        .position(|window| window == place)
                        .expect("the upper layer");
                    state[at + 4] = b'7';
                });
            },
        ),
    ]
}

/// Bytes without any order that are the same in each run.
fn noise(n: usize) -> u8 {
    format::Digest::of(&n.to_le_bytes()).as_bytes()[0]
}

fn engine(draft: &mut Draft) -> &mut Value {
    &mut draft.config["engine"]
}

fn set(draft: &mut Draft, bytes: &[u8]) {
    draft.replace(digest(&draft.config["engine"]["state"]), bytes);
}

/// Changes the state as the engine reads it.
fn edit(draft: &mut Draft, edit: impl FnOnce(&mut Vec<u8>)) {
    let bytes = draft.blob(digest(&draft.config["engine"]["state"]));
    let mut state = zstd::bulk::decompress(&bytes, 64 << 20).expect("a true state");
    edit(&mut state);
    set(draft, &zstd::bulk::compress(&state, 3).expect("zstd compresses"));
}
