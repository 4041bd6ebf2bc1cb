//! States of engines: what a QEMU wrote, made into what a snapshot has; and what is checked of somebody else's.
//!
//! The first byte is the length of the machine type, which follows it; the rest is the state.

#![no_main]

use engine::qemu::testing::{check_state, complete_state};
use libfuzzer_sys::fuzz_target;

const HEADER: &[u8] = b"QEVM\x00\x00\x00\x03";

fuzz_target!(|input: &[u8]| {
    let Some((length, rest)) = input.split_first() else { return };
    let Some((name, state)) = rest.split_at_checked(usize::from(*length)) else { return };
    let Ok(name) = std::str::from_utf8(name) else { return };
    let other = format!("{name}0");
    if check_state(state, name).is_ok() {
        assert!(state.starts_with(HEADER) && state[13..].starts_with(name.as_bytes()));
        assert!(!discards(state));
        assert!(check_state(state, &other).is_err(), "it is of two machine types");
    }
    let bound = 16 * state.len() + 4096;
    let Ok(complete) = fuzz::memory::within(bound, || complete_state(state, name)) else { return };
    assert_eq!(check_state(&complete, name), Ok(()));
    assert!(check_state(&complete, &other).is_err(), "it is of two machine types");
    assert!(!has_user_network(&complete), "a part of it is the parent's network");
    assert!(complete.len() <= state.len() + 5 + name.len());
    assert!(complete_state(&complete, name).is_err(), "it is completed twice");
});

/// Whether it has what makes QEMU drop memory.
fn discards(state: &[u8]) -> bool {
    state.windows(5).any(|bytes| bytes.starts_with(&[8, 0, 3, 0]) && [0, 16].contains(&bytes[4]))
}

/// Whether a section begins anywhere that QEMU would load into the user-mode network.
fn has_user_network(state: &[u8]) -> bool {
    state.windows(11).any(|bytes| bytes[0] == 4 && bytes[5..] == *b"\x05slirp")
}
