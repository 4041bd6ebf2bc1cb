//! A caller and an agent at the two ends of a forwarded connection: the test plays both.

use agent_protocol::{
    Credit, Decoder, ExitStatus, Incoming, Nonce, SessionId, Stream, VERSION, encode_credit, encode_data,
    encode_end, encode_reply, hello,
};
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::timeout;

use super::super::mux::{READ_BYTES, read_agent};
use super::*;

const SOON: Duration = Duration::from_secs(10);

/// The agent's end, with a connection that was asked for.
struct Agent {
    stream: UnixStream,
    decoder: Decoder,
    id: SessionId,
    /// What it was sent and has not granted again.
    received: usize,
    ended: bool,
    killed: bool,
}

struct Bench {
    agent: Agent,
    caller: TcpStream,
    carried: JoinHandle<io::Result<()>>,
    mux: Rc<Mux>,
}

impl Bench {
    async fn new(silence: Duration) -> Self {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (from_agent, to_agent) = ours.into_split();
        let mux = Rc::new(Mux::new(to_agent, vec![0; READ_BYTES], VERSION));
        mux.count_idleness(Duration::ZERO);
        let nonce = Nonce([1; 16]);
        let reader = Rc::clone(&mux);
        let mut agent = Agent::new(theirs);
        agent
            .send(|out| {
                out.extend(agent_protocol::hello_reply(agent_protocol::Greeting { version: VERSION, nonce }));
            })
            .await;
        spawn_local(async move { read_agent(from_agent, Decoder::host(nonce), &reader).await });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let caller = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (theirs, _) = listener.accept().await.unwrap();
        // What the guest may send at once is more than both sockets hold.
        sockopt::set_socket_send_buffer_size(&theirs, 4096).unwrap();
        sockopt::set_socket_recv_buffer_size(&caller, 4096).unwrap();
        let carrier = Rc::clone(&mux);
        let carried = spawn_local(async move { carry(theirs, 80, &carrier, silence).await });
        agent.read().await;
        agent.reply(&Reply::Connected {}).await;
        Self { agent, caller, carried, mux }
    }
}

impl Agent {
    fn new(stream: UnixStream) -> Self {
        let mut decoder = Decoder::agent();
        let greeting = hello(Nonce([1; 16]));
        assert!(decoder.next(&mut &greeting[..]).is_some(), "it is greeted");
        Self { stream, decoder, id: SessionId::CONTROL, received: 0, ended: false, killed: false }
    }

    async fn send(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        timeout(SOON, self.stream.write_all(&bytes)).await.unwrap().unwrap();
    }

    async fn reply(&mut self, reply: &Reply) {
        let id = self.id;
        self.send(|out| encode_reply(out, id, reply).unwrap()).await;
    }

    /// Takes what comes next.
    async fn read(&mut self) {
        let mut buffer = vec![0; 1 << 16];
        let count = timeout(SOON, self.stream.read(&mut buffer)).await.expect("something comes").unwrap();
        let mut input = &buffer[..count];
        while let Some(incoming) = self.decoder.next(&mut input) {
            match incoming {
                Incoming::Control(id, payload) if self.id == SessionId::CONTROL => {
                    assert_eq!(payload, br#"{"connect":{"port":80}}"#);
                    self.id = id;
                }
                Incoming::Control(_, payload) => {
                    self.killed = payload == br#"{"signal":{"number":9}}"#;
                }
                Incoming::Data(_, _, bytes) => {
                    self.received += bytes.len();
                    self.ended |= bytes.is_empty();
                }
                _ => {}
            }
        }
    }

    /// Allows as much more input as has come.
    async fn grant(&mut self) {
        let (id, bytes) = (self.id, u32::try_from(std::mem::take(&mut self.received)).unwrap());
        if bytes > 0 {
            self.send(|out| encode_credit(out, id, Credit { stream: Stream::Stdin, bytes })).await;
        }
    }
}

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    LocalSet::new().block_on(&runtime, test);
}

/// A server that answers while it is still asked, and a caller that reads nothing before it has said all.
#[test]
fn the_directions_do_not_wait_for_each_other() {
    const UPLOAD: usize = 16 << 20;
    run(async {
        let Bench { mut agent, caller, carried, .. } = Bench::new(HALF_CLOSED_SILENCE).await;
        let (mut answer, mut question) = caller.into_split();
        let asking = spawn_local(async move {
            question.write_all(&vec![1; UPLOAD]).await.unwrap();
            question.shutdown().await.unwrap();
        });
        // As much as it may send: far more than the caller's socket holds would have to be read for more.
        let (id, all) = (agent.id, vec![2; INITIAL_CREDIT as usize]);
        agent.send(|out| encode_data(out, id, Stream::Stdout, &all)).await;
        let mut sent = 0;
        while !agent.ended {
            agent.read().await;
            sent += agent.received;
            agent.grant().await;
        }
        assert_eq!(sent, UPLOAD);
        timeout(SOON, asking).await.unwrap().unwrap();
        agent.send(|out| encode_end(out, id, Stream::Stdout)).await;
        agent.reply(&Reply::Exit(ExitStatus::Code(0))).await;
        let mut answered = Vec::new();
        timeout(SOON, answer.read_to_end(&mut answered)).await.unwrap().unwrap();
        assert_eq!(answered, all);
        timeout(SOON, carried).await.unwrap().unwrap().unwrap();
    });
}

#[test]
fn a_half_closed_connection_is_not_silent_for_ever() {
    let silence = Duration::from_millis(300);
    // The caller has said all, and so has the guest; each time the other one says nothing.
    for by_guest in [false, true] {
        run(async {
            let Bench { mut agent, mut caller, mut carried, mux } = Bench::new(silence).await;
            timeout(2 * silence, &mut carried).await.expect_err("an open connection may be silent");
            assert_eq!(mux.idle_for(), Duration::ZERO);
            if by_guest {
                let id = agent.id;
                agent.send(|out| encode_end(out, id, Stream::Stdout)).await;
            } else {
                caller.shutdown().await.unwrap();
            }
            timeout(SOON, carried).await.unwrap().unwrap().expect_err("it was silent for too long");
            while !agent.killed {
                agent.read().await;
            }
            assert!(mux.idle_for() < SOON);
        });
    }
}

#[test]
fn a_caller_that_breaks_off_ends_the_session() {
    run(async {
        let Bench { mut agent, caller, carried, .. } = Bench::new(HALF_CLOSED_SILENCE).await;
        sockopt::set_socket_linger(&caller, Some(Duration::ZERO)).unwrap();
        drop(caller);
        timeout(SOON, carried).await.unwrap().unwrap().expect_err("it is broken");
        while !agent.killed {
            agent.read().await;
        }
    });
}
