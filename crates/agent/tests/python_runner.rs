//! `runners/python.py` keeps its protocol (docs/agent-protocol.md, "Runners"), driven as the agent would, by the host's
//! own Python.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::print_stdout)]

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);
/// The most bytes of a message from a runner.
const MESSAGE_MAX: usize = 262_144;

/// A runner, and the agent's end of its socket. Dropped, it is killed.
struct Runner {
    child: Child,
    socket: UnixStream,
    next_id: u64,
}

/// How an evaluation ended, and what it wrote.
#[derive(Debug, PartialEq, Eq)]
struct Done {
    ok: bool,
    stdout: String,
    stderr: String,
}

impl Runner {
    /// A runner that has not said that it is ready; `None`, which is said, where there is no Python.
    fn start(test: &str, warm_up: Option<&Path>) -> Option<Self> {
        let version =
            Command::new("python3").args(["-c", "import sys; sys.exit(sys.version_info < (3, 9))"]).status();
        if !version.is_ok_and(|status| status.success()) {
            println!("skipped: python_runner::{test}: no python3 of 3.9 or later");
            return None;
        }
        let (socket, theirs) = UnixStream::pair().expect("a pair of sockets");
        socket.set_read_timeout(Some(DEADLINE)).expect("a deadline can be set");
        let child = Command::new("python3")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("runners/python.py"))
            .args(warm_up)
            // A descriptor whose number is known; nobody reads standard input.
            .env("SPORE_RUNNER_FD", "0")
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 can be started");
        Some(Self { child, socket, next_id: 1 })
    }

    /// A runner that waits for code.
    fn ready(test: &str) -> Option<Self> {
        let mut runner = Self::start(test, None)?;
        assert_eq!(runner.receive(), Some(json!({ "type": "ready" })));
        Some(runner)
    }

    fn send(&mut self, message: &Value) {
        let json = message.to_string();
        let length = u32::try_from(json.len()).expect("a short message").to_le_bytes();
        self.socket.write_all(&[&length, json.as_bytes()].concat()).expect("the runner reads");
    }

    /// The next message; `None` when the runner has closed its socket.
    fn receive(&mut self) -> Option<Value> {
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

    fn begin(&mut self, code: &str) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&json!({ "type": "eval", "id": id, "code": code }));
        id
    }

    fn finish(&mut self, id: u64) -> Done {
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

    fn eval(&mut self, code: &str) -> Done {
        let id = self.begin(code);
        self.finish(id)
    }

    #[track_caller]
    fn prints(&mut self, code: &str, expected: &str) {
        let expected = Done { ok: true, stdout: expected.to_owned(), stderr: String::new() };
        assert_eq!(self.eval(code), expected, "{code}");
    }

    #[track_caller]
    fn fails(&mut self, code: &str, words: &[&str]) {
        let done = self.eval(code);
        assert!(!done.ok && words.iter().all(|word| done.stderr.contains(word)), "{code}: {done:?}");
    }

    fn reseed(&mut self, byte: u8) {
        self.send(&json!({ "type": "reseed", "seed": format!("{byte:02x}").repeat(32) }));
        assert_eq!(self.receive(), Some(json!({ "type": "reseeded" })));
    }

    fn interrupt(&self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).expect("it runs");
    }

    /// Its end, which is to come.
    fn end(&mut self) -> ExitStatus {
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

#[test]
fn code_runs_in_one_namespace() {
    let Some(mut runner) = Runner::ready("code_runs_in_one_namespace") else { return };
    runner.prints("1 + 1", "2\n");
    runner.prints("None", "");
    runner.prints("", "");
    runner.prints("x = 'ä'", "");
    runner.prints("print(x); x * 2", "ä\n'ää'\n");
    runner.prints("def f():\n    return x\nf()", "'ä'\n");
    runner.prints("__name__", "'__main__'\n");
    let both = runner
        .eval("import sys; print('out'); print('err', file=sys.stderr); sys.stdout.buffer.write(b'\\xff')");
    assert!(both.ok && both.stdout == "out\n\\xff1\n" && both.stderr == "err\n", "{both:?}");
}

#[test]
fn errors_are_told_and_end_nothing() {
    let Some(mut runner) = Runner::ready("errors_are_told_and_end_nothing") else { return };
    runner.fails(
        "def f():\n    raise KeyError('k')\nf()",
        &["Traceback", "\"<eval>\", line 2, in f", "KeyError: 'k'"],
    );
    let traceback = runner.eval("1 / 0").stderr;
    assert!(!traceback.contains("python.py"), "{traceback}");
    runner.fails("1 +", &["SyntaxError", "1 +"]);
    runner.fails("raise SystemExit(3)", &["SystemExit: 3"]);
    runner.fails("raise KeyboardInterrupt", &["KeyboardInterrupt"]);
    runner.fails("def deep(): deep()\ndeep()", &["RecursionError"]);
    runner.fails("class Rude:\n    def __repr__(self): raise ValueError('rude')\nRude()", &["rude"]);
    runner.prints("raise SystemExit", "");
    runner.prints("'still here'", "'still here'\n");
}

#[test]
fn output_comes_in_messages_that_the_agent_takes() {
    let Some(mut runner) = Runner::ready("output_comes_in_messages_that_the_agent_takes") else { return };
    for (character, times) in
        [("x", 1_000_000), ("\u{1F600}", 100_000), ("\\u0001", 100_000), ("\\n", 50_000)]
    {
        let done = runner.eval(&format!("text = '{character}' * {times}\nprint(text, end='')"));
        let expected = match character {
            "\\u0001" => "\u{1}",
            "\\n" => "\n",
            other => other,
        };
        assert!(
            done.ok && done.stdout == expected.repeat(times),
            "{character:?}: {} bytes",
            done.stdout.len()
        );
    }
    // Half of a surrogate pair has no form in UTF-8.
    runner.prints("print('a\\ud800b')", "a\\ud800b\n");
}

#[test]
fn an_interruption_ends_what_runs_and_nothing_else() {
    let Some(mut runner) = Runner::ready("an_interruption_ends_what_runs_and_nothing_else") else { return };
    for _ in 0..20 {
        runner.interrupt();
        runner.prints("'idle'", "'idle'\n");
        let id = runner.begin("import time\nprint('ready', end='')\nwhile True: time.sleep(0.05)");
        let ready = runner.receive().expect("the runner lives");
        assert_eq!(ready["data"], "ready");
        runner.interrupt();
        let done = runner.finish(id);
        assert!(!done.ok && done.stderr.contains("KeyboardInterrupt"), "{done:?}");
        // Code that goes on after one is interrupted by the next.
        let again = "for n in range(3):\n  try:\n    print(n, end='')\n    while True: time.sleep(0.05)\n  except KeyboardInterrupt: pass";
        let id = runner.begin(again);
        for n in ["0", "1", "2"] {
            assert_eq!(runner.receive().expect("the runner lives")["data"], n);
            runner.interrupt();
        }
        assert!(runner.finish(id).ok);
        // In the middle of much output: no message is cut in two.
        let id = runner.begin("while True: print('x' * 100_000)");
        runner.receive().expect("the runner lives");
        runner.interrupt();
        assert!(!runner.finish(id).ok);
    }
}

#[test]
fn seeds_decide_what_is_random() {
    let Some(mut runner) = Runner::ready("seeds_decide_what_is_random") else { return };
    let mut drawn = |seed| {
        runner.reseed(seed);
        runner.eval("import random; random.random()").stdout
    };
    let (one, two, again) = (drawn(1), drawn(2), drawn(1));
    assert_eq!(one, again);
    assert_ne!(one, two);
}

#[test]
fn a_process_that_code_forks_is_not_the_runner() {
    let Some(mut runner) = Runner::ready("a_process_that_code_forks_is_not_the_runner") else { return };
    let done = runner
        .eval("import os\npid = os.fork()\nif pid == 0: print('child')\nelse: os.waitpid(pid, 0)\npid > 0");
    assert_eq!((done.ok, done.stdout.as_str()), (true, "True\n"));
    // What threads write while their evaluation runs is its output too.
    runner.prints(
        "import threading\nt = threading.Thread(target=print, args=('thread',))\nt.start(); t.join()",
        "thread\n",
    );
}

#[test]
fn a_warm_up_file_comes_first() {
    let folder = std::env::temp_dir().join(format!("python-runner-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder can be made");
    let (good, bad) = (folder.join("good.py"), folder.join("bad.py"));
    fs::write(&good, "warm = [1]\n").expect("a file can be written");
    fs::write(&bad, "raise ValueError('cold')\n").expect("a file can be written");
    if let Some(mut runner) = Runner::start("a_warm_up_file_comes_first", Some(&good)) {
        assert_eq!(runner.receive(), Some(json!({ "type": "ready" })));
        runner.prints("warm", "[1]\n");
    }
    if let Some(mut runner) = Runner::start("a_warm_up_file_comes_first", Some(&bad)) {
        assert!(!runner.end().success());
    }
    fs::remove_dir_all(folder).expect("a folder can be removed");
}

#[test]
fn it_ends_with_the_agent() {
    let Some(mut runner) = Runner::ready("it_ends_with_the_agent") else { return };
    runner.socket.shutdown(Shutdown::Write).expect("its input can be closed");
    assert!(runner.end().success());
}
