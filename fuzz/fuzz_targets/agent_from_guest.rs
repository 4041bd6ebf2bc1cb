//! What a guest sends, which is hostile: to whoever reads frames, to a supervisor with two clients and a port, to a client itself.
//!
//! The first byte says what the agent speaks, the second in what pieces its bytes come; the rest is a script ([`fuzz::wire`]) in
//! which records from [`GRANT`] on are what the others do.

#![no_main]

use std::collections::{HashMap, HashSet};

use agent_protocol::{
    Credit, Decoder, Exec, Extract, Greeting, INITIAL_CREDIT, Reply, Request, SessionId, Stream,
    encode_credit, encode_data, encode_reply, encode_request, hello, hello_reply, parse_reply, parse_request,
};
use fuzz::wire::{NONCE, RAW, Record, Seen, check, decode, records, stream};
use libfuzzer_sys::fuzz_target;
use sandbox::testing::{Bench, ClientEnd, session_output};

/// A client grants as many bytes of output as the record's content is long, the first one of stdout, the second of stderr.
const GRANT: u8 = RAW + 1;
/// A client sends the record's content.
const INPUT: u8 = RAW + 2;
/// A client reads what it was sent.
const READ: u8 = RAW + 3;
/// A client goes.
const GO: u8 = RAW + 4;
/// The port's caller sends the content.
const PORT_INPUT: u8 = RAW + 5;
/// The port's caller reads.
const PORT_READ: u8 = RAW + 6;

fuzz_target!(|input: &[u8]| {
    let [speaks, piece, script @ ..] = input else { return };
    let version = u32::from(speaks % 2) + 1;
    let greeting = hello_reply(Greeting { version, nonce: NONCE });
    let sent = [&greeting[..], &stream(script)].concat();
    let seen = check(|| Decoder::host(NONCE), &greeting, &sent, usize::from(*piece));
    assert_eq!(seen.first(), Some(&Seen::HelloReply(Greeting { version, nonce: NONCE })));
    seen.iter().for_each(replies);
    // Before it is greeted with its own nonce, a host hears nothing.
    let unheard = decode(&mut Decoder::host(agent_protocol::Nonce([0; 16])), &sent, usize::MAX);
    assert!(
        !unheard.iter().any(|seen| matches!(seen, Seen::HelloReply(greeting) if greeting.nonce == NONCE))
    );
    fuzz::memory::within(4 * sent.len() + (1 << 20), || {
        Scene::new(version).play(script);
        let said = &sent[greeting.len()..];
        let output =
            session_output(said.get(..64 << 10).unwrap_or(said), version).expect("a socket takes it");
        assert!(output.map_or(0, |output| output.len()) <= sent.len());
    });
});

/// What is understood of a reply is said again in the same words.
fn replies(seen: &Seen) {
    let Seen::Control(id, payload) = seen else { return };
    match parse_reply(payload) {
        Ok(reply) => {
            let mut frame = Vec::new();
            if encode_reply(&mut frame, *id, &reply).is_ok() {
                assert_eq!(parse_reply(&frame[agent_protocol::HEADER_LEN..]), Ok(reply));
            }
        }
        Err(error) => assert!(error.to_string().len() < 1000, "an error is for people"),
    }
}

/// A supervisor that has just greeted a guest.
struct Scene {
    bench: Bench,
    clients: Vec<Option<Client>>,
    port: Option<sandbox::testing::PortEnd>,
    /// Bytes that the port's caller may still get.
    port_credit: usize,
    agent: Decoder,
}

/// A client, and what it may still hear.
struct Client {
    end: ClientEnd,
    decoder: Decoder,
    credit: HashMap<(SessionId, Stream), usize>,
    input: HashMap<SessionId, usize>,
    over: HashSet<(SessionId, Stream)>,
    started: HashSet<SessionId>,
    ended: HashSet<SessionId>,
}

impl Scene {
    fn new(version: u32) -> Self {
        let mut bench = Bench::new(NONCE, version);
        let mut agent = Decoder::agent();
        decode(&mut agent, &hello(NONCE), usize::MAX);
        let exec = || Request::Exec(Exec { argv: vec!["x".into()], stdin: true, ..Exec::default() });
        let extract = Request::Extract(Extract { path: "/".into(), name: None, user: None });
        let third = if version > 1 { extract } else { exec() };
        let requests = [vec![exec(), Request::Eval { code: "1".into() }], vec![third]];
        let clients = requests.map(|requests| Some(Client::new(&bench, &requests)));
        let port = bench.port(80);
        let asked = decode(&mut agent, &bench.sent(), usize::MAX);
        let asked = asked.iter().map(|seen| match seen {
            Seen::Control(id, payload) => (id.0, parse_request(payload).is_ok()),
            other => panic!("{other:?} is sent to an agent"),
        });
        assert!(asked.eq([(1, true), (2, true), (3, true), (4, true)]));
        bench.hear(&hello_reply(Greeting { version, nonce: NONCE })).expect("it is a greeting");
        Self { bench, clients: clients.into(), port, port_credit: INITIAL_CREDIT as usize, agent }
    }

    /// Until the supervisor gives the guest up, or nothing comes any more.
    fn play(mut self, script: &[u8]) {
        for record in records(script) {
            match record.kind {
                ..=RAW => {
                    if let Err(reason) = self.bench.hear(&record.bytes()) {
                        assert!(reason.starts_with("its agent") || reason.starts_with("the message takes"));
                        assert!(reason.len() < 1000, "a reason is for people");
                        break;
                    }
                }
                _ => self.act(record),
            }
            assert!(self.bench.sessions() <= 4);
            self.look_at_what_was_sent();
        }
        self.clients.iter_mut().flatten().for_each(Client::read);
        self.read_port();
        self.clients.clear();
        self.port = None;
        assert_eq!(self.bench.sessions(), 0, "a session outlives its owner");
        self.look_at_what_was_sent();
    }

    fn act(&mut self, record: Record) {
        let Record { kind, session, content } = record;
        let id = SessionId(u32::from(session / 2 % 2) + 1);
        let place = &mut self.clients[usize::from(session % 2)];
        match (kind, &mut *place) {
            (GRANT, Some(client)) => client.grant(id, content.len()),
            (INPUT, Some(client)) => client.send(id, &content),
            (READ, Some(client)) => client.read(),
            (GO, _) => *place = None,
            (PORT_INPUT, _) => {
                if let Some(port) = &self.port {
                    assert!(port.send(&content) <= content.len());
                }
            }
            (PORT_READ, _) => self.read_port(),
            _ => {}
        }
    }

    fn read_port(&mut self) {
        let Some(port) = &mut self.port else { return };
        let (length, goes_on) = port.receive();
        assert!(length <= self.port_credit, "a port gets more than was granted");
        // What was read is granted again.
        if !goes_on {
            self.port = None;
        }
    }

    /// The agent is sent whole frames of its own kinds.
    fn look_at_what_was_sent(&mut self) {
        for seen in decode(&mut self.agent, &self.bench.sent(), usize::MAX) {
            match seen {
                Seen::Control(id, payload) => {
                    assert!((1..=4).contains(&id.0) && parse_request(&payload).is_ok());
                }
                Seen::Data(id, stream, _) => assert!((1..=4).contains(&id.0) && stream == Stream::Stdin),
                Seen::Credit(id, credit) => {
                    assert!((1..=4).contains(&id.0) && credit.stream != Stream::Stdin)
                }
                other => panic!("{other:?} is sent to an agent"),
            }
        }
    }
}

impl Client {
    fn new(bench: &Bench, requests: &[Request]) -> Self {
        let mut end = bench.client();
        let mut bytes = hello(NONCE).to_vec();
        for (request, id) in requests.iter().zip(1..) {
            encode_request(&mut bytes, SessionId(id), request).expect("it is short");
        }
        end.hear(&bytes);
        let mut decoder = Decoder::host(NONCE);
        assert!(matches!(decode(&mut decoder, &end.sent(), usize::MAX)[..], [Seen::HelloReply(_)]));
        let ids = (1..=requests.len()).map(|id| SessionId(u32::try_from(id).expect("few")));
        let streams = ids.clone().flat_map(|id| [(id, Stream::Stdout), (id, Stream::Stderr)]);
        Self {
            end,
            decoder,
            credit: streams.map(|stream| (stream, INITIAL_CREDIT as usize)).collect(),
            input: ids.map(|id| (id, 0)).collect(),
            over: HashSet::new(),
            started: HashSet::new(),
            ended: HashSet::new(),
        }
    }

    fn grant(&mut self, id: SessionId, bytes: usize) {
        let stream = if bytes % 2 == 0 { Stream::Stdout } else { Stream::Stderr };
        if let Some(credit) = self.credit.get_mut(&(id, stream)) {
            *credit += bytes;
            let mut frame = Vec::new();
            encode_credit(&mut frame, id, Credit { stream, bytes: u32::try_from(bytes).expect("few") });
            self.end.hear(&frame);
        }
    }

    fn send(&mut self, id: SessionId, content: &[u8]) {
        if let Some(input) = self.input.get_mut(&id) {
            *input += content.len();
            let mut frame = Vec::new();
            encode_data(&mut frame, id, Stream::Stdin, content);
            self.end.hear(&frame);
        }
    }

    /// It hears of its own sessions only, no more than it granted, each end once, and nothing behind the last.
    fn read(&mut self) {
        for seen in decode(&mut self.decoder, &self.end.sent(), usize::MAX) {
            match seen {
                Seen::Control(id, payload) => {
                    assert!(self.input.contains_key(&id) && !self.ended.contains(&id));
                    match parse_reply(&payload).expect("a client gets what was understood") {
                        Reply::Exit(_) | Reply::Failed(_) => assert!(self.ended.insert(id)),
                        _ => assert!(self.started.insert(id), "one request is answered twice"),
                    }
                }
                Seen::Data(id, stream, bytes) => {
                    let credit = self.credit.get_mut(&(id, stream)).expect("it is its own");
                    *credit = credit.checked_sub(bytes.len()).expect("it is no more than was granted");
                    assert!(!self.ended.contains(&id) && !self.over.contains(&(id, stream)));
                    if bytes.is_empty() {
                        self.over.insert((id, stream));
                    }
                }
                Seen::Credit(id, credit) => {
                    assert!(credit.stream == Stream::Stdin && !self.ended.contains(&id));
                    let input = self.input.get_mut(&id).expect("it is its own");
                    *input = input.checked_sub(credit.bytes as usize).expect("it is no more than was sent");
                }
                other => panic!("{other:?} is sent to a client"),
            }
        }
    }
}
