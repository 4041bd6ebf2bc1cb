//! Clients and an agent at the two ends of a mux: the test plays the agent, frame by frame.

use agent_protocol::{Exec, ExitStatus, Extract, Greeting, Nonce, VERSION, WindowSize, hello, hello_reply};
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixStream;
use tokio::task::{LocalSet, spawn_local};
use tokio::time::timeout;

use super::*;

/// One end of a connection, greeted or not, and what came over it.
struct Peer {
    stream: UnixStream,
    decoder: Decoder,
    buffer: Vec<u8>,
    held: Vec<u8>,
}

/// What came, owned.
#[derive(Debug, PartialEq)]
enum Got {
    Control(SessionId, String),
    Data(SessionId, Stream, usize),
    Credit(SessionId, u32),
}

impl Peer {
    fn new(stream: UnixStream, decoder: Decoder) -> Self {
        Self { stream, decoder, buffer: vec![0; READ_BYTES], held: Vec::new() }
    }

    async fn send(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        self.stream.write_all(&bytes).await.unwrap();
    }

    /// The next thing that is not a greeting; `None` when the connection has ended.
    async fn next(&mut self) -> Option<Got> {
        loop {
            let mut input = self.held.as_slice();
            let got = match self.decoder.next(&mut input) {
                Some(Incoming::Control(id, payload)) => {
                    Some(Got::Control(id, String::from_utf8(payload.to_vec()).unwrap()))
                }
                Some(Incoming::Data(id, stream, bytes)) => Some(Got::Data(id, stream, bytes.len())),
                Some(Incoming::Credit(id, credit)) => Some(Got::Credit(id, credit.bytes)),
                Some(Incoming::Lost(error)) => panic!("{error}"),
                Some(_) => None,
                None => {
                    let length = self.stream.read(&mut self.buffer).await.unwrap();
                    if length == 0 {
                        return None;
                    }
                    self.held = self.buffer[..length].to_vec();
                    continue;
                }
            };
            self.held = input.to_vec();
            if got.is_some() {
                return got;
            }
        }
    }

    async fn expect(&mut self) -> Got {
        timeout(Duration::from_secs(10), self.next()).await.unwrap().unwrap()
    }
}

struct Bench {
    agent: Peer,
    mux: Rc<Mux>,
    ended: tokio::task::JoinHandle<String>,
}

impl Bench {
    /// A mux whose agent, the test, has been greeted.
    async fn new() -> Self {
        Self::with(VERSION).await
    }

    /// Of an agent of this version.
    async fn with(version: u32) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let nonce = Nonce([1; 16]);
        let (from_agent, to_agent) = ours.into_split();
        let mux = Rc::new(Mux::new(to_agent, vec![0; READ_BYTES], version));
        let mut agent = Peer::new(theirs, Decoder::agent());
        mux.to_agent.send(hello(nonce).to_vec(), None);
        agent.send(|out| out.extend(hello_reply(Greeting { version, nonce }))).await;
        let reader = Rc::clone(&mux);
        let ended = spawn_local(async move { read_agent(from_agent, Decoder::host(nonce), &reader).await });
        Self { agent, mux, ended }
    }

    async fn client(&self) -> Peer {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mux = Rc::clone(&self.mux);
        spawn_local(async move { serve_client(ours, &mux).await });
        let nonce = Nonce([2; 16]);
        let mut client = Peer::new(theirs, Decoder::host(nonce));
        client.send(|out| out.extend(hello(nonce))).await;
        client
    }

    fn open(&self) -> usize {
        self.mux.sessions.borrow().len()
    }

    /// Starts an exec as session 1 of a client; the number that the agent sees.
    async fn exec(&mut self, client: &mut Peer) -> SessionId {
        let request = Request::Exec(Exec { argv: vec!["x".into()], ..Exec::default() });
        client.send(|out| encode_request(out, SessionId(1), &request).unwrap()).await;
        match self.agent.expect().await {
            Got::Control(id, text) if text.contains("exec") => id,
            other => panic!("{other:?}"),
        }
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

#[test]
fn sessions_of_clients_do_not_meet() {
    run(async {
        let mut bench = Bench::new().await;
        let (mut a, mut b) = (bench.client().await, bench.client().await);
        let (of_a, of_b) = (bench.exec(&mut a).await, bench.exec(&mut b).await);
        assert_ne!(of_a, of_b);
        a.send(|out| encode_data(out, SessionId(1), Stream::Stdin, b"input")).await;
        assert_eq!(bench.agent.expect().await, Got::Data(of_a, Stream::Stdin, 5));
        bench.agent.send(|out| encode_data(out, of_b, Stream::Stdout, b"for b")).await;
        assert_eq!(b.expect().await, Got::Data(SessionId(1), Stream::Stdout, 5));
        bench.agent.send(|out| encode_reply(out, of_a, &Reply::Exit(ExitStatus::Code(3))).unwrap()).await;
        assert_eq!(a.expect().await, Got::Control(SessionId(1), r#"{"exit":{"code":3}}"#.into()));
        bench.agent.send(|out| encode_data(out, of_a, Stream::Stdout, b"after its end")).await;
        bench.agent.send(|out| encode_data(out, of_b, Stream::Stderr, b"b")).await;
        assert_eq!(b.expect().await, Got::Data(SessionId(1), Stream::Stderr, 1));
    });
}

#[test]
fn an_unread_client_blocks_nobody() {
    run(async {
        let mut bench = Bench::new().await;
        let (mut unread, mut read) = (bench.client().await, bench.client().await);
        let (of_unread, of_read) = (bench.exec(&mut unread).await, bench.exec(&mut read).await);
        let all = vec![7; INITIAL_CREDIT as usize];
        bench.agent.send(|out| encode_data(out, of_unread, Stream::Stdout, &all)).await;
        bench.agent.send(|out| encode_data(out, of_read, Stream::Stdout, b"x")).await;
        assert_eq!(read.expect().await, Got::Data(SessionId(1), Stream::Stdout, 1));
    });
}

#[test]
fn what_was_not_granted_ends_the_sandbox() {
    run(async {
        let mut bench = Bench::new().await;
        let mut client = bench.client().await;
        let id = bench.exec(&mut client).await;
        let granted = Credit { stream: Stream::Stdout, bytes: 10 };
        client.send(|out| encode_credit(out, SessionId(1), granted)).await;
        assert_eq!(bench.agent.expect().await, Got::Credit(id, 10));
        let all = vec![7; INITIAL_CREDIT as usize + 10];
        bench.agent.send(|out| encode_data(out, id, Stream::Stdout, &all)).await;
        assert!(!bench.ended.is_finished());
        bench.agent.send(|out| encode_data(out, id, Stream::Stdout, b"!")).await;
        let reason = timeout(Duration::from_secs(10), bench.ended).await.unwrap().unwrap();
        assert!(reason.contains("more than it was allowed"), "{reason}");
    });
}

#[test]
fn a_client_that_goes_takes_its_processes_along() {
    run(async {
        let mut bench = Bench::new().await;
        let mut client = bench.client().await;
        let id = bench.exec(&mut client).await;
        drop(client);
        assert_eq!(bench.agent.expect().await, Got::Control(id, r#"{"signal":{"number":9}}"#.into()));
        assert_eq!(bench.open(), 0);
        // What they wrote and nobody read must not keep the agent's session.
        assert_eq!(bench.agent.expect().await, Got::Credit(id, u32::MAX));
        assert_eq!(bench.agent.expect().await, Got::Credit(id, u32::MAX));
        let all = vec![7; 3 * INITIAL_CREDIT as usize];
        bench.agent.send(|out| encode_data(out, id, Stream::Stdout, &all)).await;
        let mut client = bench.client().await;
        bench.exec(&mut client).await;
    });
}

#[test]
fn an_agent_that_reads_nothing_keeps_no_session() {
    run(async {
        let mut bench = Bench::new().await;
        bench.mux.count_idleness(Duration::ZERO);
        let mut clients = Vec::new();
        for _ in 0..3 {
            let mut client = bench.client().await;
            bench.exec(&mut client).await;
            clients.push(client);
        }
        assert_eq!(bench.mux.idle_for(), Duration::ZERO);
        // More than the way to the agent holds: from here on the clients' frames stay where they are.
        for client in &mut clients {
            let input = vec![1; INITIAL_CREDIT as usize];
            let mut bytes = Vec::new();
            encode_data(&mut bytes, SessionId(1), Stream::Stdin, &input);
            timeout(Duration::from_millis(200), client.stream.write_all(&bytes)).await.ok();
        }
        let waiting = bench.mux.to_agent.waiting();
        assert!(waiting > 0 && waiting <= 2 * INITIAL_CREDIT as usize, "{waiting} bytes wait");
        clients.clear();
        timeout(Duration::from_secs(10), async {
            while bench.mux.idle_for().is_zero() {
                bench.mux.session_ended().await;
            }
        })
        .await
        .unwrap();
        assert_eq!(bench.open(), 0);
    });
}

#[test]
fn idleness_counts_when_it_is_said_to() {
    const HOUR: Duration = Duration::from_secs(3600);
    run(async {
        let mut bench = Bench::new().await;
        assert_eq!(bench.mux.idle_for(), Duration::ZERO);
        drop(bench.client().await);
        assert_eq!(bench.mux.idle_for(), Duration::ZERO, "nobody has said that it counts");
        bench.mux.count_idleness(HOUR);
        assert!(bench.mux.idle_for() >= HOUR);
        let mut client = bench.client().await;
        let id = bench.exec(&mut client).await;
        assert_eq!(bench.mux.idle_for(), Duration::ZERO);
        bench.agent.send(|out| encode_reply(out, id, &Reply::Exit(ExitStatus::Code(0))).unwrap()).await;
        client.expect().await;
        assert!(bench.mux.idle_for() < HOUR, "it begins anew with the last session's end");
    });
}

/// What is not a session's, or not a running one's, reaches nobody and takes no memory.
#[test]
fn an_agent_that_makes_sessions_up_is_not_heard() {
    run(async {
        let mut bench = Bench::new().await;
        let mut client = bench.client().await;
        let id = bench.exec(&mut client).await;
        let data = vec![7; 60_000];
        for stranger in [SessionId::CONTROL, SessionId(id.0 + 1), SessionId(u32::MAX)] {
            for _ in 0..100 {
                bench.agent.send(|out| encode_data(out, stranger, Stream::Stdout, &data)).await;
            }
            bench.agent.send(|out| encode_reply(out, stranger, &Reply::Started { pid: 1 }).unwrap()).await;
            let credit = Credit { stream: Stream::Stdin, bytes: 1 };
            bench.agent.send(|out| encode_credit(out, stranger, credit)).await;
        }
        bench.agent.send(|out| encode_data(out, id, Stream::Stdout, b"mine")).await;
        assert_eq!(client.expect().await, Got::Data(SessionId(1), Stream::Stdout, 4));
        assert!(!bench.ended.is_finished());
    });
}

#[test]
fn an_agent_that_lies_ends_the_sandbox() {
    type Lie = fn(&mut Vec<u8>, SessionId);
    let lies: [(&str, Lie); 6] = [
        ("credit for input that was never sent", |out, id| {
            encode_credit(out, id, Credit { stream: Stream::Stdin, bytes: 1 });
        }),
        ("credit for its own stream", |out, id| {
            encode_credit(out, id, Credit { stream: Stream::Stdout, bytes: 1 });
        }),
        ("two answers", |out, id| {
            for pid in [1, 2] {
                encode_reply(out, id, &Reply::Started { pid }).unwrap();
            }
        }),
        ("two ends", |out, id| {
            encode_end(out, id, Stream::Stdout);
            encode_end(out, id, Stream::Stdout);
        }),
        ("a length of 4 GiB", |out, _| out.extend([0xFF; 4])),
        ("no JSON", |out, id| {
            encode_reply(out, id, &Reply::Started { pid: 1 }).unwrap();
            *out.last_mut().unwrap() = b'!';
        }),
    ];
    for (what, lie) in lies {
        run(async {
            let mut bench = Bench::new().await;
            let mut client = bench.client().await;
            let id = bench.exec(&mut client).await;
            bench.agent.send(|out| lie(out, id)).await;
            bench.agent.send(|out| out.extend([0; 12])).await;
            let ended = timeout(Duration::from_secs(10), bench.ended).await;
            let reason = ended.unwrap_or_else(|_| panic!("{what} is believed")).unwrap();
            assert!(reason.starts_with("its agent"), "{what}: {reason}");
        });
    }
}

#[test]
fn only_sessions_are_passed_on() {
    run(async {
        let mut bench = Bench::new().await;
        let mut client = bench.client().await;
        client.send(|out| encode_request(out, SessionId::CONTROL, &Request::Ping {}).unwrap()).await;
        assert_eq!(client.expect().await, Got::Control(SessionId::CONTROL, r#"{"pong":{}}"#.into()));
        client.send(|out| encode_request(out, SessionId::CONTROL, &Request::Shutdown {}).unwrap()).await;
        match client.expect().await {
            Got::Control(SessionId::CONTROL, text) => {
                assert!(text.contains("does not pass this on"), "{text}");
            }
            other => panic!("{other:?}"),
        }
        // The agent has heard of none of it.
        bench.exec(&mut client).await;
    });
}

#[test]
fn an_older_agent_is_asked_for_nothing_that_it_does_not_know() {
    let tty = Some(WindowSize { rows: 1, columns: 2 });
    let exec = Request::Exec(Exec { argv: vec!["x".into()], tty, ..Exec::default() });
    let extract = Request::Extract(Extract { path: "/".into(), name: None, user: None });
    run(async {
        for request in [&exec, &extract] {
            let mut bench = Bench::with(1).await;
            let mut client = bench.client().await;
            client.send(|out| encode_request(out, SessionId(1), request).unwrap()).await;
            match client.expect().await {
                Got::Control(SessionId(1), text) => assert!(text.contains("too old"), "{text}"),
                other => panic!("{other:?}"),
            }
            // The agent has heard of none of it.
            bench.exec(&mut client).await;

            let mut bench = Bench::new().await;
            let mut client = bench.client().await;
            client.send(|out| encode_request(out, SessionId(1), request).unwrap()).await;
            let Got::Control(id, _) = bench.agent.expect().await else { panic!("it is passed on") };
            let size = WindowSize { rows: 3, columns: 4 };
            client.send(|out| encode_request(out, SessionId(1), &Request::Resize(size)).unwrap()).await;
            let resize = r#"{"resize":{"rows":3,"columns":4}}"#.to_owned();
            assert_eq!(bench.agent.expect().await, Got::Control(id, resize));
        }
    });
}

#[test]
fn the_end_of_the_engine_is_seen() {
    run(async {
        let bench = Bench::new().await;
        drop(bench.agent);
        let reason = timeout(Duration::from_secs(10), bench.ended).await.unwrap().unwrap();
        assert_eq!(reason, "its engine has ended");
    });
}
