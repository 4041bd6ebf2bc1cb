//! A runner, driven as the agent would.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// For anything that a runner does.
const DEADLINE: Duration = Duration::from_secs(60);
/// The most bytes of a message from a runner.
const MESSAGE_MAX: usize = 262_144;

/// A runner, and the agent's end of its socket. Dropped, it is killed.
pub struct Runner {
    child: Child,
    pub socket: UnixStream,
    /// What is written between evaluations.
    log: BufReader<UnixStream>,
    next_id: u64,
}

/// How an evaluation ended, and what it wrote.
#[derive(Debug, PartialEq, Eq)]
pub struct Done {
    pub ok: bool,
    pub stdout: String,
    pub stderr: String,
}

impl Runner {
    /// A runner that has not said that it is ready.
    pub fn start(mut command: Command) -> Self {
        let pair = || {
            let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
            ours.set_read_timeout(Some(DEADLINE)).expect("a deadline can be set");
            (ours, OwnedFd::from(theirs))
        };
        let ((socket, channel), (log, output)) = (pair(), pair());
        let child = command
            // A descriptor whose number is known; nobody reads standard input.
            .env("SPORE_RUNNER_FD", "0")
            .stdin(channel)
            .stdout(output)
            .spawn()
            .expect("the interpreter can be started");
        Self { child, socket, log: BufReader::new(log), next_id: 1 }
    }

    /// Waits until it takes code.
    pub fn ready(mut self) -> Self {
        assert_eq!(self.receive(), Some(json!({ "type": "ready" })));
        self
    }

    pub fn send(&mut self, message: &Value) {
        let json = message.to_string();
        let length = u32::try_from(json.len()).expect("a short message").to_le_bytes();
        self.socket.write_all(&[&length, json.as_bytes()].concat()).expect("the runner reads");
    }

    /// The next message; `None` when the runner has closed its socket.
    pub fn receive(&mut self) -> Option<Value> {
        let mut length = [0; 4];
        match self.socket.read_exact(&mut length) {
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return None,
            read => read.expect("something comes in time"),
        }
        let length = u32::from_le_bytes(length) as usize;
        assert!(length <= MESSAGE_MAX, "a message of {length} bytes");
        let mut json = vec![0; length];
        self.socket.read_exact(&mut json).expect("a whole message");
        Some(serde_json::from_slice(&json).expect("JSON"))
    }

    /// The next line of its log.
    pub fn log_line(&mut self) -> String {
        let mut line = String::new();
        self.log.read_line(&mut line).expect("a line comes in time");
        line
    }

    pub fn begin(&mut self, code: &str) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({ "type": "eval", "id": id, "code": code }));
        id
    }

    pub fn finish(&mut self, id: u64) -> Done {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        loop {
            let message = self.receive().expect("the runner lives");
            assert_eq!(message["id"], id, "{message}");
            match (message["type"].as_str(), message["stream"].as_str()) {
                (Some("done"), None) => {
                    let ok = message["ok"].as_bool().expect("whether it went well");
                    return Done { ok, stdout, stderr };
                }
                (Some("output"), Some("stdout")) => stdout += message["data"].as_str().expect("text"),
                (Some("output"), Some("stderr")) => stderr += message["data"].as_str().expect("text"),
                _ => panic!("{message}"),
            }
        }
    }

    pub fn eval(&mut self, code: &str) -> Done {
        let id = self.begin(code);
        self.finish(id)
    }

    #[track_caller]
    pub fn prints(&mut self, code: &str, expected: &str) {
        let expected = Done { ok: true, stdout: expected.to_owned(), stderr: String::new() };
        assert_eq!(self.eval(code), expected, "{code}");
    }

    #[track_caller]
    pub fn fails(&mut self, code: &str, words: &[&str]) {
        let done = self.eval(code);
        assert!(!done.ok && words.iter().all(|word| done.stderr.contains(word)), "{code}: {done:?}");
    }

    pub fn reseed(&mut self, byte: u8) {
        self.send(&json!({ "type": "reseed", "seed": format!("{byte:02x}").repeat(32) }));
        assert_eq!(self.receive(), Some(json!({ "type": "reseeded" })));
    }

    /// What the agent does: both, for a runner heeds the one or the other.
    pub fn interrupt(&mut self, id: u64) {
        self.send(&json!({ "type": "interrupt", "id": id }));
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it runs");
    }

    /// Its end, which is to come.
    pub fn end(&mut self) -> ExitStatus {
        assert_eq!(self.receive(), None, "it goes on");
        self.child.wait().expect("its status can be had")
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
