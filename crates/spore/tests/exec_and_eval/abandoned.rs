//! What clients leave behind when they go: nothing.

use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;

use agent_protocol::{
    Decoder, Exec, INITIAL_CREDIT, Incoming, Nonce, Request, SessionId, encode_request, hello,
};

use crate::guest::{Guest, TINY};
use crate::harness::run::DEADLINE;

/// More in all than an agent has sessions.
const CLIENTS: u32 = 3;
const PROGRAMS: u32 = 100;

/// Of a pipe's end, so to speak: `spore exec ID -- yes | head`.
#[test]
fn programs_whose_output_nobody_reads_leave_nothing() {
    let Some(guest) = Guest::of(TINY, "programs_whose_output_nobody_reads_leave_nothing") else { return };
    let folder = guest.spore.root().join("sandboxes").join(&guest.id);
    for _ in 0..CLIENTS {
        let stream = host::socket::connect_in(&folder, "control").expect("a supervisor");
        fill(&stream);
        // It goes while all of them wait for somebody to read on.
        drop(stream);
        assert_eq!(guest.sh("echo here"), "here");
    }
    guest.wait_until("pidof dd >/dev/null && echo runs || true", "");
}

/// Starts programs that write for ever, and reads as much as it has allowed them to write.
fn fill(mut stream: &UnixStream) {
    stream.set_read_timeout(Some(DEADLINE)).expect("a time");
    let nonce = Nonce([7; 16]);
    let mut bytes = hello(nonce).to_vec();
    let argv = ["dd", "if=/dev/zero", "bs=64k"].map(str::to_owned).to_vec();
    let endless = Request::Exec(Exec { argv, ..Exec::default() });
    for number in 1..=PROGRAMS {
        encode_request(&mut bytes, SessionId(number), &endless).expect("it is short");
    }
    stream.write_all(&bytes).expect("it is heard");
    let (mut decoder, mut buffer) = (Decoder::host(nonce), vec![0; 1 << 16]);
    let mut left: HashMap<_, _> =
        (1..=PROGRAMS).map(|number| (SessionId(number), INITIAL_CREDIT as usize)).collect();
    while !left.is_empty() {
        let count = match stream.read(&mut buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            read => read.expect("something comes"),
        };
        assert!(count > 0, "the supervisor has gone");
        let mut input = &buffer[..count];
        while let Some(incoming) = decoder.next(&mut input) {
            match incoming {
                Incoming::Data(id, _, bytes) => {
                    let left_of = left.get_mut(&id).expect("no more than was allowed");
                    *left_of -= bytes.len();
                    if *left_of == 0 {
                        left.remove(&id);
                    }
                }
                Incoming::Control(_, payload) => {
                    let text = String::from_utf8_lossy(payload);
                    assert!(text.contains("started"), "{text}");
                }
                _ => {}
            }
        }
    }
}
