//! What a host sends: to whoever reads frames in a guest, and to a supervisor, which passes on what its agent knows and nothing else.
//!
//! What an agent then does is not run here: it is the work of a guest's root.
//!
//! The first byte says what the agent speaks, the second in what pieces the bytes come; the rest is a script ([`fuzz::wire`]).

#![no_main]

use std::collections::HashSet;

use agent_protocol::{
    Decoder, EncodeError, GIVEN_MAX, GuestConfig, HEADER_LEN, Nonce, ProtocolError, Request, SessionId,
    Stream, VERSION, encode_request, hello, padded_hello, parse_request, resume, signal,
};
use fuzz::wire::{NONCE, Seen, check, decode, stream};
use libfuzzer_sys::fuzz_target;
use sandbox::testing::Bench;

fuzz_target!(|input: &[u8]| {
    let [speaks, piece, script @ ..] = input else { return };
    let version = u32::from(speaks % 2) + 1;
    let greeting = hello(NONCE);
    let sent = [&greeting[..], &stream(script)].concat();
    let seen = check(Decoder::agent, &greeting, &sent, usize::from(*piece));
    assert!(matches!(seen.first(), Some(Seen::Hello(greeting)) if greeting.nonce == NONCE));
    seen.iter().for_each(requests);
    recovers(&sent);
    guest_config(script);
    fuzz::memory::within(8 * sent.len() + (1 << 20), || supervisor(version, &sent, usize::from(*piece)));
});

/// Whatever came before, padding and a greeting begin a connection; then only its own nonce continues it.
fn recovers(sent: &[u8]) {
    const ANOTHER: Nonce = Nonce([0xA5; 16]);
    let mut decoder = Decoder::agent();
    decode(&mut decoder, sent, usize::MAX);
    let seen = decode(&mut decoder, &padded_hello(ANOTHER), usize::MAX);
    assert!(matches!(seen.last(), Some(Seen::Hello(greeting)) if greeting.nonce == ANOTHER));
    assert!(decoder.is_framed());
    decoder.discard();
    assert!(decode(&mut decoder, &resume(NONCE), usize::MAX).is_empty() && !decoder.is_framed());
    assert_eq!(decode(&mut decoder, &resume(ANOTHER), usize::MAX), [Seen::Resume]);
}

/// What is understood of a request keeps what its types promise, and is said again in the same words.
fn requests(seen: &Seen) {
    let Seen::Control(id, payload) = seen else { return };
    let request = match fuzz::memory::within(64 * payload.len() + 4096, || parse_request(payload)) {
        Ok(request) => request,
        Err(error) => return assert!(error.to_string().len() < 1000, "an error is for people"),
    };
    assert!((1..=VERSION).contains(&request.since()));
    match &request {
        Request::Provide(given) => {
            assert!(serde_json::to_vec(given).expect("it is JSON").len() <= GIVEN_MAX);
            for name in given.secrets().keys() {
                assert!(!name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\0']));
            }
            for (name, value) in given.env() {
                assert!(!name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0'));
            }
        }
        Request::Identity(identity) => {
            assert!((32..=256).contains(&identity.entropy.as_bytes().len()));
            assert!(identity.machine_id.as_str().len() == 32 && identity.boot_id.as_str().len() == 36);
            let hostname = identity.hostname.as_str();
            assert!(
                (1..=64).contains(&hostname.len()) && hostname.bytes().all(|byte| byte.is_ascii_graphic())
            );
        }
        _ => {}
    }
    let mut frame = Vec::new();
    match encode_request(&mut frame, *id, &request) {
        Ok(()) => assert_eq!(parse_request(&frame[HEADER_LEN..]), Ok(request)),
        // What may be absent is written.
        Err(EncodeError::TooLong(_)) => assert!(frame.is_empty()),
        Err(error) => panic!("what was read cannot be written: {error}"),
    }
}

/// An agent's own configuration, which came in an initrd.
fn guest_config(json: &[u8]) {
    let parsed = fuzz::memory::within(64 * json.len() + 4096, || GuestConfig::parse(json));
    let Ok(config) = parsed else { return };
    config.check().expect("it was checked");
    assert!((1..=12).contains(&config.layers) && config.modules.iter().all(|path| path.starts_with('/')));
    let encoded = serde_json::to_vec(&config).expect("it is JSON");
    assert_eq!(GuestConfig::parse(&encoded).expect("what was written can be read"), config);
}

/// Of what a client sends, an agent of this version gets frames of sessions alone, and requests that it knows.
fn supervisor(version: u32, sent: &[u8], piece: usize) {
    let mut bench = Bench::new(NONCE, version);
    let mut client = bench.client();
    let (mut agent, mut answers) = (Decoder::agent(), Decoder::host(NONCE));
    decode(&mut agent, &hello(NONCE), usize::MAX);
    let mut opened = HashSet::new();
    for bytes in sent.chunks(piece.max(1) * 16) {
        client.hear(bytes);
        for seen in decode(&mut agent, &bench.sent(), usize::MAX) {
            match seen {
                Seen::Control(id, payload) => {
                    assert_ne!(id, SessionId::CONTROL);
                    let request = parse_request(&payload).expect("what is passed on was understood");
                    assert!(request.since() <= version);
                    match request {
                        // What a client that broke the protocol opened last is ended, if the agent has heard of it or not.
                        Request::Signal { number: signal::KILL } => {}
                        Request::Signal { .. } | Request::Resize(_) => assert!(opened.contains(&id)),
                        _ => assert!(opened.insert(id), "a session is opened twice"),
                    }
                }
                Seen::Data(id, stream, _) => assert!(opened.contains(&id) && stream == Stream::Stdin),
                Seen::Credit(id, credit) => assert!(opened.contains(&id) || credit.bytes == u32::MAX),
                other => panic!("{other:?} is passed on"),
            }
        }
        assert!(bench.sessions() <= opened.len().min(agent_protocol::MAX_SESSIONS));
        // It may have greeted with another nonce since: then this is noise.
        for seen in decode(&mut answers, &client.sent(), usize::MAX) {
            assert!(!matches!(seen, Seen::Data(..) | Seen::Credit(..)), "nobody has sent any");
            assert!(!matches!(&seen, Seen::Lost(error) if *error != not_mine()), "{seen:?}");
        }
    }
    drop(client);
    assert_eq!(bench.sessions(), 0, "a session outlives its owner");
}

/// What a greeting of another nonce is to who has one.
fn not_mine() -> String {
    ProtocolError::Payload(agent_protocol::Kind::HelloReply).to_string()
}
