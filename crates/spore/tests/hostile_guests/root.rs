//! Whoever is root in a guest and means its host no good: takes the agent's port from the agent, and writes to it.
//!
//! Built by the test as a static program of its own, for the guest: nothing of Spore is in it, as nothing would be.
//!
//! `root flood SECONDS`: frames of sessions that nobody opened, as fast as they go. `root lengths`: a frame that announces 4 GiB.
//! `root others`: outputs, ends and credit for each session that there could be. `root noise`: bytes that are no frames.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::fd::{FromRawFd, RawFd};
use std::time::{Duration, Instant};

const PIDFD_OPEN: i64 = 434;
const PIDFD_GETFD: i64 = 438;
/// Kinds of frames, as docs/agent-protocol.md numbers them.
const CONTROL: u8 = 4;
const STDOUT: u8 = 6;
const STDERR: u8 = 7;
const CREDIT: u8 = 8;

unsafe extern "C" {
    fn syscall(number: i64, ...) -> i64;
}

fn main() {
    let mut words = std::env::args().skip(1);
    let act = words.next().expect("what to do");
    let mut port = take_port();
    match act.as_str() {
        "flood" => {
            let seconds = words.next().and_then(|text| text.parse().ok()).expect("how long");
            let end = Instant::now() + Duration::from_secs(seconds);
            // Written at once, one is not broken by what the agent writes.
            let frames = [0, 5_000, u32::MAX].map(|session| frame(session, STDOUT, &[7; 16_000]));
            for frame in frames.iter().cycle().take_while(|_| Instant::now() < end) {
                write(&mut port, frame);
            }
        }
        "lengths" => write(&mut port, &[0xFF; 12]),
        "others" => {
            for session in 0..4096 {
                let exit = frame(session, CONTROL, br#"{"exit":{"code":0}}"#);
                let credit = frame(session, CREDIT, &[255, 255, 255, 255, 0, 0, 0, 0]);
                let output = [frame(session, STDOUT, b"forged"), frame(session, STDERR, b"forged")].concat();
                write(&mut port, &[output, exit, credit].concat());
            }
        }
        "noise" => {
            let noise: Vec<u8> =
                (0..1_u32 << 22).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
            write(&mut port, &noise);
        }
        other => panic!("{other}?"),
    }
}

/// The agent's descriptor does not block, and neither does a copy of it.
fn write(port: &mut File, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match port.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// The agent's own descriptor: the device lets nobody else open it.
fn take_port() -> File {
    let names = fs::read_dir("/proc/1/fd").expect("the agent's descriptors");
    let is_port = |name: &RawFd| {
        fs::read_link(format!("/proc/1/fd/{name}")).is_ok_and(|to| to.to_string_lossy().contains("vport"))
    };
    let port = names
        .flatten()
        .filter_map(|name| name.file_name().to_str()?.parse().ok())
        .find(is_port)
        .expect("a port");
    // SAFETY: both calls take and return integers.
    let copy = unsafe {
        let agent = syscall(PIDFD_OPEN, 1_i32, 0_u32);
        syscall(PIDFD_GETFD, agent as i32, port, 0_u32)
    };
    assert!(copy >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the descriptor is new, and nobody else's.
    let file = unsafe { File::from_raw_fd(copy as RawFd) };
    file
}

fn frame(session: u32, kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short");
    [&length.to_le_bytes()[..], &session.to_le_bytes(), &[kind, 0, 0, 0], payload].concat()
}
