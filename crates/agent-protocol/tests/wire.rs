//! The wire as `docs/agent-protocol.md` states it: pinned bytes, and decoders fed with anything.
#![allow(clippy::unwrap_used, clippy::panic)]

use agent_protocol::*;
use proptest::prelude::*;

const OLD: Nonce = Nonce([1; 16]);
const NEW: Nonce = Nonce(*b"0123456789abcdef");

/// An [`Incoming`] that owns its bytes.
#[derive(Debug, Clone, PartialEq)]
enum Seen {
    Hello(Nonce),
    Reply(Nonce),
    Resume,
    Control(u32, Vec<u8>),
    Data(u32, Stream, Vec<u8>),
    Credit(u32, Credit),
    Lost,
}

fn drain(decoder: &mut Decoder, mut input: &[u8]) -> Vec<Seen> {
    let mut seen = Vec::new();
    while let Some(incoming) = decoder.next(&mut input) {
        seen.push(match incoming {
            Incoming::Hello(greeting) => Seen::Hello(greeting.nonce),
            Incoming::HelloReply(greeting) => Seen::Reply(greeting.nonce),
            Incoming::Resume => Seen::Resume,
            Incoming::Control(session, payload) => Seen::Control(session.0, payload.to_vec()),
            Incoming::Data(session, stream, payload) => Seen::Data(session.0, stream, payload.to_vec()),
            Incoming::Credit(session, credit) => Seen::Credit(session.0, credit),
            Incoming::Lost(_) => Seen::Lost,
        });
    }
    assert!(input.is_empty(), "None means that all input was consumed");
    seen
}

fn ours(nonce: Nonce) -> Greeting {
    Greeting { version: VERSION, nonce }
}

fn framed_agent() -> Decoder {
    let mut decoder = Decoder::agent();
    assert_eq!(drain(&mut decoder, &hello(OLD)), [Seen::Hello(OLD)]);
    decoder
}

#[test]
fn bytes_are_pinned() {
    let mut expected = vec![64, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0];
    expected.extend(b"\x89SPORE-AGENT\r\n\x1a\n\x02\0\0\x000123456789abcdef");
    expected.extend([0; 28]);
    assert_eq!(hello(NEW).to_vec(), expected);
    expected[8] = 2;
    assert_eq!(hello_reply(ours(NEW)).to_vec(), expected);
    expected[8] = 3;
    assert_eq!(resume(NEW).to_vec(), expected);

    let mut out = Vec::new();
    encode_data(&mut out, SessionId(7), Stream::Stdin, b"hi");
    encode_end(&mut out, SessionId(7), Stream::Stdin);
    encode_credit(&mut out, SessionId(7), Credit { stream: Stream::Stderr, bytes: 0x01020304 });
    assert_eq!(out[..14], *b"\x02\0\0\0\x07\0\0\0\x05\0\0\0hi");
    assert_eq!(out[14..26], *b"\0\0\0\0\x07\0\0\0\x05\0\0\0");
    assert_eq!(out[26..], *b"\x08\0\0\0\x07\0\0\0\x08\0\0\0\x04\x03\x02\x01\x02\0\0\0");
}

#[test]
fn json_is_pinned() {
    let text = |reply: &Reply| serde_json::to_string(reply).unwrap();
    assert_eq!(text(&Reply::SyncDone {}), r#"{"sync_done":{}}"#);
    assert_eq!(text(&Reply::Exit(ExitStatus::Signal(9))), r#"{"exit":{"signal":9}}"#);
    let failure = Failure { kind: FailureKind::NoSuchUser, message: "x".into() };
    assert_eq!(text(&Reply::Failed(failure)), r#"{"failed":{"kind":"no_such_user","message":"x"}}"#);

    assert_eq!(
        parse_request(br#"{"warm":{"deadline_ms":5,"later":1}}"#),
        Ok(Request::Warm { deadline_ms: 5 })
    );
    let exec = Exec { argv: vec!["ls".into()], ..Exec::default() };
    assert_eq!(parse_request(br#"{"exec":{"argv":["ls"]}}"#), Ok(Request::Exec(exec)));
    let later = parse_reply(br#"{"failed":{"kind":"of_next_year","message":""}}"#).unwrap();
    assert!(matches!(later, Reply::Failed(Failure { kind: FailureKind::Unknown, .. })));
    assert!(parse_request(br#"{"unheard_of":{}}"#).is_err());
}

#[test]
fn what_is_wrong_with_a_message_is_said_in_short() {
    let message = format!(r#"{{"{}":{{}}}}"#, "x".repeat(60_000));
    let [request, reply] =
        [parse_request(message.as_bytes()).unwrap_err(), parse_reply(message.as_bytes()).unwrap_err()];
    for error in [request, reply].map(|error| error.to_string()) {
        assert!(error.len() < 300 && error.contains("unknown variant `xxx"), "{error}");
    }
}

#[test]
fn what_version_2_has_is_pinned() {
    let text = |request: &Request| serde_json::to_string(request).unwrap();
    let window = WindowSize { rows: 24, columns: 80 };
    assert_eq!(text(&Request::Resize(window)), r#"{"resize":{"rows":24,"columns":80}}"#);
    let exec = Exec { argv: vec!["sh".into()], tty: Some(window), ..Exec::default() };
    assert_eq!(
        text(&Request::Exec(exec.clone())),
        r#"{"exec":{"argv":["sh"],"env":{},"stdin":false,"tty":{"rows":24,"columns":80}}}"#
    );
    let archive = Archive { path: "/tmp/x".into(), user: None };
    assert_eq!(text(&Request::Archive(archive.clone())), r#"{"archive":{"path":"/tmp/x"}}"#);
    let extract = Extract { path: "/tmp".into(), name: Some("x".into()), user: Some("ana".into()) };
    assert_eq!(
        text(&Request::Extract(extract.clone())),
        r#"{"extract":{"path":"/tmp","name":"x","user":"ana"}}"#
    );
    let connect = Request::Connect { port: 80 };
    assert_eq!(text(&connect), r#"{"connect":{"port":80}}"#);
    assert_eq!(serde_json::to_string(&Reply::Connected {}).unwrap(), r#"{"connected":{}}"#);
    let (exec, archive, extract) =
        (Request::Exec(exec), Request::Archive(archive), Request::Extract(extract));
    let env = [("A".to_owned(), "1".to_owned())].into();
    let given = Given::new(env, [("key".to_owned(), vec![1, 255])].into()).unwrap();
    assert!(!format!("{given:?}").contains("255"), "values must not reach logs");
    let provide = Request::Provide(given);
    assert_eq!(text(&provide), r#"{"provide":{"env":{"A":"1"},"secrets":{"key":"01ff"}}}"#);
    let withdraw = Request::Withdraw {};
    assert_eq!(text(&withdraw), r#"{"withdraw":{}}"#);
    assert_eq!(serde_json::to_string(&Reply::Withdrawn {}).unwrap(), r#"{"withdrawn":{}}"#);
    let attach = Request::Attach(DataDisk { writable: true });
    assert_eq!(text(&attach), r#"{"attach":{"writable":true}}"#);
    let release = Request::Release {};
    assert_eq!(text(&release), r#"{"release":{}}"#);
    for request in
        [exec, archive, extract, connect, provide, withdraw, attach, release, Request::Resize(window)]
    {
        assert_eq!(request.since(), 2);
        assert_eq!(parse_request(text(&request).as_bytes()), Ok(request));
    }
    // What an agent of version 1 understands is not kept from it.
    assert_eq!(Request::Exec(Exec { argv: vec!["sh".into()], ..Exec::default() }).since(), 1);
    assert_eq!(text(&Request::Exec(Exec::default())), r#"{"exec":{"argv":[],"env":{},"stdin":false}}"#);
}

#[test]
fn what_is_given_is_checked() {
    for wrong in [
        r#"{"env":{"":"1"}}"#,
        r#"{"env":{"A=B":"1"}}"#,
        "{\"env\":{\"A\":\"\\u0000\"}}",
        r#"{"secrets":{"":"00"}}"#,
        r#"{"secrets":{"../x":"00"}}"#,
        r#"{"secrets":{".x":"00"}}"#,
        r#"{"secrets":{"x":"0"}}"#,
        r#"{"secrets":{"x":"FF"}}"#,
    ] {
        assert!(parse_request(format!(r#"{{"provide":{wrong}}}"#).as_bytes()).is_err(), "{wrong}");
    }
}

/// However little it looks: what counts is what is sent.
#[test]
fn what_is_given_fits_a_message() {
    let secret = |length| Given::new(Default::default(), [("a".to_owned(), vec![0; length])].into());
    let variable =
        |text: &str, length| Given::new([("A".to_owned(), text.repeat(length))].into(), Default::default());
    let fits = |given: Given| {
        let mut out = Vec::new();
        encode_request(&mut out, SessionId::CONTROL, &Request::Provide(given)).unwrap();
        let json = out.get(HEADER_LEN..).unwrap();
        assert!(parse_request(json).is_ok(), "the agent takes it");
    };
    assert!(secret(GIVEN_MAX / 2).is_err());
    fits(secret(GIVEN_MAX / 2 - 32).unwrap());
    // A control character is six bytes of JSON, a quote two.
    for (text, bytes) in [("x", 1), ("\"", 2), ("\u{1}", 6)] {
        assert!(variable(text, GIVEN_MAX / bytes).is_err(), "{text:?}");
        fits(variable(text, (GIVEN_MAX - 32) / bytes).unwrap());
    }
}

#[test]
fn identities_are_checked_and_round_trip() {
    let json = format!(
        r#"{{"identity":{{"entropy":"{}","wall_clock_ns":1,"hostname":"a-1","machine_id":"{}","boot_id":"{}","network":{{"up":true}},"deadline_ms":9}}}}"#,
        "0f".repeat(32),
        "a".repeat(32),
        "0b0c5d3e-52b1-4a0e-9a4f-7d1d3d8e0a11"
    );
    let request = parse_request(json.as_bytes()).unwrap();
    assert_eq!(serde_json::to_string(&request).unwrap(), json);
    assert!(!format!("{request:?}").contains("0f0f"), "entropy must not reach logs");
    for (from, to) in
        [("0f", "0F"), ("aaaa", "aaa"), ("-52b1", "52b11"), ("a-1", "-a"), ("a-1", "a b"), ("a-1", "")]
    {
        assert!(parse_request(json.replacen(from, to, 1).as_bytes()).is_err(), "{from} -> {to}");
    }
    assert_eq!(Entropy::new(vec![0; 31]), Err(InvalidIdentity::Entropy));
}

#[test]
fn what_the_other_end_may_not_send_loses_the_stream() {
    let header = |length: u32, kind: u8, zero: u8| {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend([9, 0, 0, 0, kind, 0, zero, 0]);
        bytes
    };
    for bad in
        [header(65_537, 5, 0), header(u32::MAX, 4, 0), header(0, 9, 0), header(0, 6, 0), header(0, 5, 1)]
    {
        let mut decoder = framed_agent();
        assert_eq!(drain(&mut decoder, &bad), [Seen::Lost]);
        let mut valid = Vec::new();
        encode_end(&mut valid, SessionId(1), Stream::Stdin);
        assert_eq!(drain(&mut decoder, &valid), [], "discards until a greeting");
        assert_eq!(drain(&mut decoder, &hello(NEW)), [Seen::Hello(NEW)]);
    }
}

#[test]
fn only_the_last_nonce_resumes_and_only_ours_replies() {
    let mut agent = framed_agent();
    agent.discard();
    assert_eq!(drain(&mut agent, &resume(NEW)), []);
    assert_eq!(drain(&mut agent, &resume(OLD)), [Seen::Resume]);
    let mut never_connected = Decoder::agent();
    assert_eq!(drain(&mut never_connected, &resume(OLD)), []);

    let mut host = Decoder::host(NEW);
    assert_eq!(drain(&mut host, &hello_reply(ours(OLD))), []);
    assert_eq!(drain(&mut host, &hello_reply(ours(NEW))), [Seen::Reply(NEW)]);
}

#[test]
fn the_lower_version_is_spoken() {
    let greeting = |version| Greeting { version, nonce: NEW };
    assert_eq!(greeting(1).agreed_version(), 1);
    assert_eq!(greeting(VERSION + 5).agreed_version(), VERSION);
    let mut future = hello(NEW);
    future[28] = 200;
    assert_eq!(drain(&mut Decoder::agent(), &future), [Seen::Hello(NEW)]);
    let mut none = hello(NEW);
    none[28] = 0;
    assert_eq!(drain(&mut Decoder::agent(), &none), [], "there is no version 0");
}

#[test]
fn padding_flushes_a_half_read_frame_of_any_length() {
    for length in [0, 1, 11, 12, 4096, MAX_PAYLOAD - 1, MAX_PAYLOAD] {
        let mut frame = Vec::new();
        encode_data(&mut frame, SessionId(1), Stream::Stdin, &vec![64; length]);
        for cut in (0..frame.len().min(14)).chain([frame.len() / 2, frame.len()]) {
            let mut decoder = framed_agent();
            drain(&mut decoder, &frame[..cut]);
            let seen = drain(&mut decoder, &padded_hello(NEW));
            assert_eq!(seen.last(), Some(&Seen::Hello(NEW)), "length {length}, cut {cut}");
        }
    }
}

#[test]
fn too_long_a_message_is_refused_and_leaves_no_bytes() {
    let mut out = Vec::new();
    let eval = Request::Eval { code: "x".repeat(MAX_PAYLOAD) };
    assert!(matches!(encode_request(&mut out, SessionId(1), &eval), Err(EncodeError::TooLong(_))));
    assert!(out.is_empty());
}

fn host_frames() -> impl Strategy<Value = Vec<Seen>> {
    let data = prop::collection::vec(any::<u8>(), 0..300);
    let one = prop_oneof![
        (1..9u32, data.clone()).prop_map(|(session, bytes)| Seen::Data(session, Stream::Stdin, bytes)),
        (0..9u32, data).prop_map(|(session, bytes)| Seen::Control(session, bytes)),
        (1..9u32, any::<u32>())
            .prop_map(|(session, bytes)| Seen::Credit(session, Credit { stream: Stream::Stdout, bytes })),
    ];
    prop::collection::vec(one, 0..12)
}

fn encode(frames: &[Seen]) -> Vec<u8> {
    let mut out = Vec::new();
    for frame in frames {
        match frame {
            Seen::Data(session, stream, bytes) if bytes.is_empty() => {
                encode_end(&mut out, SessionId(*session), *stream);
            }
            Seen::Data(session, stream, bytes) => encode_data(&mut out, SessionId(*session), *stream, bytes),
            Seen::Credit(session, credit) => encode_credit(&mut out, SessionId(*session), *credit),
            Seen::Control(session, bytes) => {
                // The decoder does not look into messages: any bytes will do.
                let mut header = u32::try_from(bytes.len()).unwrap().to_le_bytes().to_vec();
                header.extend(session.to_le_bytes());
                out.extend(header.into_iter().chain([4, 0, 0, 0]).chain(bytes.iter().copied()));
            }
            other => panic!("not sent by hosts: {other:?}"),
        }
    }
    out
}

fn drain_in_chunks(decoder: &mut Decoder, bytes: &[u8], sizes: &[usize]) -> Vec<Seen> {
    let mut seen = Vec::new();
    let (mut rest, mut sizes) = (bytes, sizes.iter().cycle());
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
        seen.extend(drain(decoder, chunk));
        rest = after;
    }
    seen
}

proptest! {
    #[test]
    fn chunking_does_not_matter(
        noise in prop::collection::vec(any::<u8>(), 0..200),
        frames in host_frames(),
        sizes in prop::collection::vec(1..90usize, 1..20),
    ) {
        let mut bytes = noise;
        bytes.extend(hello(NEW));
        bytes.extend(encode(&frames));
        let mut expected = vec![Seen::Hello(NEW)];
        expected.extend(frames);
        prop_assert_eq!(drain_in_chunks(&mut Decoder::agent(), &bytes, &sizes), expected);
    }

    /// Frozen anywhere in a stream of frames, greetings and noise, an agent finds the padded Hello.
    #[test]
    fn any_state_recovers(
        frames in host_frames(),
        noise in prop::collection::vec(prop_oneof![any::<u8>(), Just(64), Just(0)], 0..100),
        cut in any::<prop::sample::Index>(),
        sizes in prop::collection::vec(1..5000usize, 1..20),
    ) {
        let mut bytes = hello(OLD).to_vec();
        bytes.extend(encode(&frames));
        bytes.extend(noise);
        bytes.extend(hello(OLD));
        bytes.truncate(cut.index(bytes.len() + 1));
        let mut decoder = Decoder::agent();
        drain_in_chunks(&mut decoder, &bytes, &sizes);
        let seen = drain_in_chunks(&mut decoder, &padded_hello(NEW), &sizes);
        prop_assert_eq!(seen.last(), Some(&Seen::Hello(NEW)));
        let seen = drain(&mut decoder, &encode(&[Seen::Data(3, Stream::Stdin, vec![5])]));
        prop_assert_eq!(seen, [Seen::Data(3, Stream::Stdin, vec![5])]);
    }

    #[test]
    fn garbage_never_breaks_a_decoder(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
        drain(&mut framed_agent(), &bytes);
        drain(&mut Decoder::host(NEW), &bytes);
        let _ = parse_request(&bytes);
        let _ = GuestConfig::parse(&bytes);
    }
}
