//! One command of the host: input, deadline, output, and what is asserted of it.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::panic::resume_unwind;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// For what takes a moment, on a machine that is busy with other tests.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// A command that is going to run.
#[derive(Debug)]
pub struct Run {
    command: Command,
    stdin: Option<Vec<u8>>,
    deadline: Duration,
}

impl Run {
    /// With nothing to read, and [`DEADLINE`].
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, stdin: None, deadline: DEADLINE }
    }

    pub fn args(mut self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(args);
        self
    }

    /// The command itself, for its environment and folder.
    pub fn command(&mut self) -> &mut Command {
        &mut self.command
    }

    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// What it reads.
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = Some(bytes.into());
        self
    }

    /// After how long it has failed.
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Runs it to its end, which is to come before its deadline.
    #[track_caller]
    pub fn finish(self) -> Outcome {
        let deadline = self.deadline;
        let mut running = self.start();
        running.wait(deadline).unwrap_or_else(|| {
            running.kill();
            panic!("{} did not end within {deadline:?}", running.what)
        })
    }

    /// Starts it; for tests that interfere with it.
    #[track_caller]
    pub fn start(mut self) -> Running {
        let what = format!("{:?}", self.command);
        if self.stdin.is_some() {
            self.command.stdin(Stdio::piped());
        }
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
        if let (Some(bytes), Some(mut pipe)) = (self.stdin, child.stdin.take()) {
            // A command that ends without reading all of it is judged by how it ends.
            std::thread::spawn(move || pipe.write_all(&bytes).ok());
        }
        let (stdout, stderr) = (Pipe::new(child.stdout.take()), Pipe::new(child.stderr.take()));
        Running { child, stdout, stderr, what }
    }
}

/// Calls `act` for all items, a few at a time, as several users of one host would; gives the results in any
/// order.
pub fn in_parallel<'a, T: Sync, R: Send>(items: &'a [T], act: impl Fn(&'a T) -> R + Sync) -> Vec<R> {
    const AT_ONCE: usize = 4;
    let next = AtomicUsize::new(0);
    let work = || {
        let next_item = || items.get(next.fetch_add(1, Ordering::Relaxed));
        std::iter::from_fn(next_item).map(&act).collect::<Vec<_>>()
    };
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        // A worker that has panicked has said why: its panic is the test's.
        let join =
            |worker: ScopedJoinHandle<'_, Vec<R>>| worker.join().unwrap_or_else(|panic| resume_unwind(panic));
        workers.into_iter().flat_map(join).collect()
    })
}

/// A command that runs. Dropped, it is killed.
#[derive(Debug)]
pub struct Running {
    child: Child,
    stdout: Pipe,
    stderr: Pipe,
    what: String,
}

impl Running {
    /// Waits for its end; `None` if it has not come by then. The end has come when its output is closed too:
    /// a process that it leaves behind with its output open would make whoever reads that wait for ever.
    pub fn wait(&mut self, within: Duration) -> Option<Outcome> {
        let end = Instant::now() + within;
        let (stdout, stderr) = (self.stdout.until(end)?, self.stderr.until(end)?);
        let status = self.child.wait().expect("its status can be had");
        Some(Outcome { what: self.what.clone(), status, stdout, stderr })
    }

    /// Sends it a signal, if it has not ended.
    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).ok();
    }

    /// SIGKILL, and its end.
    pub fn kill(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One stream of a command, read in a thread, since the streams may be filled in any order.
#[derive(Debug)]
struct Pipe {
    arriving: Receiver<Vec<u8>>,
    all: Option<Vec<u8>>,
}

impl Pipe {
    fn new(pipe: Option<impl Read + Send + 'static>) -> Self {
        let (sender, arriving) = channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut pipe) = pipe {
                pipe.read_to_end(&mut bytes).ok();
            }
            sender.send(bytes).ok();
        });
        Self { arriving, all: None }
    }

    /// All that came, if it was closed by then.
    fn until(&mut self, end: Instant) -> Option<Vec<u8>> {
        if self.all.is_none() {
            self.all = self.arriving.recv_timeout(end.saturating_duration_since(Instant::now())).ok();
        }
        self.all.clone()
    }
}

/// What a command left.
#[derive(Debug)]
pub struct Outcome {
    what: String,
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Outcome {
    /// Asserts that it succeeded.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        self.exits_with(0)
    }

    /// Asserts on its exit code.
    #[track_caller]
    pub fn exits_with(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "{self}");
        self
    }

    /// Its output, which is to be text, without the newline at its end.
    #[track_caller]
    pub fn text(&self) -> &str {
        let text = std::str::from_utf8(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"));
        text.strip_suffix('\n').unwrap_or(text)
    }

    /// Its output, which is to be one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }

    /// What it wrote to standard error.
    pub fn error(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// Asserts that its error names all of `words`.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        let error = self.error();
        for word in words {
            assert!(error.contains(word), "{word:?} is not said: {self}");
        }
        self
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        let Self { what, status, stdout, stderr } = self;
        write!(out, "{what}: {status}\n-- stdout\n{}\n-- stderr\n{}", text(stdout), text(stderr))
    }
}
