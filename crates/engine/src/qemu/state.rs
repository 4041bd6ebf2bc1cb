//! The device state as QEMU writes it, and what is changed in it (docs/format.md, `qemu-devices-v1`).
//!
//! ```text
//! "QEVM" version 3 │ 0x07 length "pc-q35-7.2" │ 0x04 id name instance version … 0x7e id │ … │ 0x00
//!     header       │  configuration section   │              one section per device         │ end
//! ```
//!
//! `xen-save-devices-state` leaves the configuration section out, without which a loader checks no machine
//! type. And it writes a section for the user-mode network, which a host without that network refuses, which
//! differs between releases of the network's library, and which holds nothing that a fork can use: its
//! connections are the parent's. The first is put in, the second is taken out.

use std::ops::Range;

const HEADER: [u8; 8] = *b"QEVM\x00\x00\x00\x03";
const CONFIGURATION: u8 = 0x07;
const SECTION_FULL: u8 = 0x04;
const SECTION_FOOTER: u8 = 0x7e;
const END: u8 = 0x00;
/// The section of the user-mode network.
const USER_NETWORK: &[u8] = b"slirp";
/// The name of a device's section is a byte's worth at most; a machine type's is much shorter.
const MACHINE_NAME_MAX: usize = 64;

/// Why bytes are not a device state that can be taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum StateError {
    /// It does not begin as QEMU's streams of the known version do.
    #[error("it does not begin as a QEMU state of version 3")]
    Header,
    /// There is no configuration section, or not a readable one.
    #[error("its configuration section is missing or damaged: the machine type can't be checked")]
    Configuration,
    /// It is of another machine than it should be.
    #[error("it is of machine type {found}, not {expected}")]
    Machine {
        /// What the config says.
        expected: String,
        /// What the state says.
        found: String,
    },
    /// It is larger than allowed.
    #[error("it has {0} bytes: at most {max} are allowed", max = format::limits::STATE_BYTES)]
    TooLarge(u64),
    /// The section of the user-mode network can't be told from what surrounds it.
    #[error("the user network's part of it has no clear bounds: freeze again, or without that network")]
    UserNetwork,
    /// It may make an engine that can write to the memory file drop parts of it, for all that share it.
    #[error(
        "it holds what may be a command to discard memory: freeze again; if that was done elsewhere, use QEMU 8.2 or \
         newer, which is safe from it"
    )]
    Command,
}

/// Makes what QEMU wrote into a `qemu-devices-v1`.
pub(super) fn complete(raw: &[u8], machine_type: &str) -> Result<Vec<u8>, StateError> {
    let sections = raw.strip_prefix(&HEADER).ok_or(StateError::Header)?;
    if sections.first() != Some(&SECTION_FULL) {
        return Err(StateError::Header);
    }
    let length = u32::try_from(machine_type.len()).map_err(|_| StateError::Configuration)?;
    let mut state = Vec::with_capacity(raw.len() + 5 + machine_type.len());
    state.extend_from_slice(&HEADER);
    state.push(CONFIGURATION);
    state.extend_from_slice(&length.to_be_bytes());
    state.extend_from_slice(machine_type.as_bytes());
    match user_network(sections)? {
        Some(range) => {
            state.extend_from_slice(sections.get(..range.start).unwrap_or_default());
            state.extend_from_slice(sections.get(range.end..).unwrap_or_default());
        }
        None => state.extend_from_slice(sections),
    }
    // What would be refused wherever it is restored, a command by chance on an older QEMU alone, is to be found once, here.
    check(&state, machine_type)?;
    check_commands(&state)?;
    Ok(state)
}

/// Checks that a state, of which `start` is the beginning, is for this machine type.
pub(super) fn check(start: &[u8], machine_type: &str) -> Result<(), StateError> {
    let rest = start.strip_prefix(&HEADER).ok_or(StateError::Header)?;
    let found = configuration(rest).ok_or(StateError::Configuration)?;
    if found == machine_type.as_bytes() {
        return Ok(());
    }
    let found = String::from_utf8_lossy(found).into_owned();
    Err(StateError::Machine { expected: machine_type.to_owned(), found })
}

/// Checks that no command in a state can discard guest memory. QEMU before 8.2 opens the memory file for writing, and would
/// punch holes into it although it is mapped privately.
///
/// It obeys `RAM_DISCARD` only after `POSTCOPY_ADVISE` (`migration/savevm.c`), which must lie in the stream as it is, in one of
/// its two forms: command byte, number and length of its argument, both big-endian. A section's length is not said, so the
/// whole state is searched.
pub(super) fn check_commands(state: &[u8]) -> Result<(), StateError> {
    const POSTCOPY_ADVISE: [[u8; 5]; 2] = [[8, 0, 3, 0, 0], [8, 0, 3, 0, 16]];
    let armed = state.windows(5).any(|bytes| POSTCOPY_ADVISE.iter().any(|command| bytes == command));
    if armed { Err(StateError::Command) } else { Ok(()) }
}

/// How much of a state [`check`] needs to see, in bytes.
pub(super) const CHECKED: u64 = (HEADER.len() + 5 + MACHINE_NAME_MAX + 1) as u64;

/// The machine's name; a section must follow it.
fn configuration(rest: &[u8]) -> Option<&[u8]> {
    let rest = rest.strip_prefix(&[CONFIGURATION])?;
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let name = rest.get(..length).filter(|_| length <= MACHINE_NAME_MAX)?;
    (rest.get(length) == Some(&SECTION_FULL)).then_some(name)
}

/// Where the user network's section lies.
///
/// A section does not say how long it is, but ends with its number, before the next section or the stream's
/// end. This section holds packets, so the guest may have put anything into it, its end's likeness too: the
/// bounds are believed only if nothing else in the stream looks like them.
fn user_network(sections: &[u8]) -> Result<Option<Range<usize>>, StateError> {
    let starts = find(sections, |rest| section_name(rest).is_some_and(|name| name == USER_NETWORK));
    let start = match starts.as_slice() {
        [] => return Ok(None),
        [start] => *start,
        _ => return Err(StateError::UserNetwork),
    };
    let preceded = start == 0 || sections.get(start.wrapping_sub(5)) == Some(&SECTION_FOOTER);
    let number = sections.get(start + 1..start + 5).ok_or(StateError::UserNetwork)?;
    let body = sections.get(start..).unwrap_or_default();
    let ends = find(body, |rest| {
        rest.strip_prefix(&[SECTION_FOOTER])
            .and_then(|rest| rest.strip_prefix(number))
            .is_some_and(|next| section_name(next).is_some() || next == [END])
    });
    match ends.as_slice() {
        [end] if preceded => Ok(Some(start..start + end + 5)),
        _ => Err(StateError::UserNetwork),
    }
}

/// The name of the section that begins here, if one may.
fn section_name(rest: &[u8]) -> Option<&[u8]> {
    let rest = rest.strip_prefix(&[SECTION_FULL])?.get(4..)?;
    let (length, rest) = rest.split_first()?;
    let name = rest.get(..usize::from(*length))?;
    (!name.is_empty() && name.iter().all(u8::is_ascii_graphic)).then_some(name)
}

fn find(bytes: &[u8], here: impl Fn(&[u8]) -> bool) -> Vec<usize> {
    (0..bytes.len()).filter(|at| bytes.get(*at..).is_some_and(&here)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(id: u32, name: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![SECTION_FULL];
        bytes.extend(id.to_be_bytes());
        bytes.push(u8::try_from(name.len()).unwrap());
        bytes.extend(name.as_bytes());
        bytes.extend([0, 0, 0, 0, 0, 0, 0, 4]);
        bytes.extend(data);
        bytes.push(SECTION_FOOTER);
        bytes.extend(id.to_be_bytes());
        bytes
    }

    fn stream(sections: &[Vec<u8>]) -> Vec<u8> {
        [HEADER.to_vec(), sections.concat(), vec![END]].concat()
    }

    #[test]
    fn the_machine_type_is_inserted_and_checked() {
        let state = complete(&stream(&[section(0, "timer", b"abc")]), "pc-q35-7.2").unwrap();
        assert_eq!(&state[8..23], b"\x07\0\0\0\x0apc-q35-7.2");
        assert_eq!(&state[23..], &stream(&[section(0, "timer", b"abc")])[8..]);
        assert_eq!(check(&state, "pc-q35-7.2"), Ok(()));
        assert!(matches!(check(&state, "pc-q35-8.0"), Err(StateError::Machine { .. })));
        assert!(matches!(check(&state, "pc-q35-7"), Err(StateError::Machine { .. })));
    }

    #[test]
    fn what_no_check_would_take_is_not_written() {
        let raw = stream(&[section(0, "timer", b"abc")]);
        for name in ["m", &"m".repeat(MACHINE_NAME_MAX)] {
            assert_eq!(check(&complete(&raw, name).unwrap(), name), Ok(()));
        }
        let long = "m".repeat(MACHINE_NAME_MAX + 1);
        assert_eq!(complete(&raw, &long), Err(StateError::Configuration));
        let nothing_else = stream(&[section(1, "slirp", b"packets")]);
        assert_eq!(complete(&nothing_else, "m"), Err(StateError::Configuration));
    }

    #[test]
    fn what_is_no_state_is_refused() {
        assert_eq!(complete(b"QEVM\0\0\0\x02\x04", "m"), Err(StateError::Header));
        assert_eq!(complete(b"QEVM\0\0\0\x03", "m"), Err(StateError::Header));
        assert_eq!(check(b"", "m"), Err(StateError::Header));
        assert_eq!(check(&stream(&[section(0, "timer", b"")]), "m"), Err(StateError::Configuration));
        assert_eq!(check(b"QEVM\0\0\0\x03\x07\xff\xff\xff\xffm\x04", "m"), Err(StateError::Configuration));
        assert_eq!(check(b"QEVM\0\0\0\x03\x07\0\0\0\x01m\x02", "m"), Err(StateError::Configuration));
    }

    #[test]
    fn the_user_network_is_left_out_wherever_it_stands() {
        let (timer, slirp, cpu) =
            (section(0, "timer", b"t"), section(1, "slirp", b"packets"), section(4, "cpu_common", b"c"));
        let expected = complete(&stream(&[timer.clone(), cpu.clone()]), "m").unwrap();
        for order in [[&timer, &slirp, &cpu], [&slirp, &timer, &cpu], [&timer, &cpu, &slirp]] {
            let raw = stream(&order.map(Clone::clone));
            assert_eq!(complete(&raw, "m").unwrap(), expected);
        }
    }

    #[test]
    fn a_guest_cannot_move_the_bounds_of_the_user_network() {
        let after = section(4, "cpu_common", b"c");
        let end_inside = section(1, "slirp", b"\x7e\0\0\0\x01\x04\0\0\0\x04\x0acpu_common");
        assert_eq!(complete(&stream(&[end_inside, after.clone()]), "m"), Err(StateError::UserNetwork));
        let start_inside = section(0, "timer", &section(1, "slirp", b""));
        let slirp = section(1, "slirp", b"packets");
        assert_eq!(complete(&stream(&[start_inside.clone(), slirp]), "m"), Err(StateError::UserNetwork));
        let end_later = section(4, "cpu_common", b"\x7e\0\0\0\x01\x04\0\0\0\x05\x01x");
        let slirp = section(1, "slirp", b"packets");
        assert_eq!(complete(&stream(&[slirp, end_later]), "m"), Err(StateError::UserNetwork));
    }

    #[test]
    fn what_could_discard_memory_is_found_wherever_it_is() {
        let raw = [&HEADER[..], &section(1, "timer", &[8, 0, 3, 0, 1])].concat();
        let state = complete(&raw, "pc-q35-7.2").unwrap();
        assert_eq!(check_commands(&state), Ok(()));
        for argument in [0, 16] {
            for at in [0, 9, state.len() - 1, state.len()] {
                let mut hostile = state.clone();
                hostile.splice(at..at, [8, 0, 3, 0, argument]);
                assert_eq!(check_commands(&hostile), Err(StateError::Command), "{argument} at {at}");
            }
            let raw = [&HEADER[..], &section(1, "timer", &[8, 0, 3, 0, argument])].concat();
            assert_eq!(complete(&raw, "pc-q35-7.2"), Err(StateError::Command));
        }
    }
}
