//! A command that is talked with while it runs.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::harness::run::{DEADLINE, Run};

/// A command with its standard input open, whose lines are heard as they come. Dropped, it is killed.
pub struct Talk {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Receiver<String>,
}

impl Talk {
    #[track_caller]
    pub fn start(mut run: Run) -> Self {
        let command = run.command().stdin(Stdio::piped());
        let mut child = command.spawn().expect("it can be started");
        let (stdout, mut stderr) =
            (child.stdout.take().expect("a pipe"), child.stderr.take().expect("a pipe"));
        let (line, lines) = channel();
        std::thread::spawn(move || {
            // Whoever listens no more wants no more.
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|text| line.send(text)).ok()
        });
        let (error, errors) = channel();
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            stderr.read_to_end(&mut bytes).ok();
            error.send(String::from_utf8_lossy(&bytes).into_owned()).ok()
        });
        Self { stdin: child.stdin.take(), child, lines, errors }
    }

    /// Writes a line to it.
    #[track_caller]
    pub fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("its input is open");
        stdin.write_all(format!("{line}\n").as_bytes()).expect("it reads");
    }

    /// Asserts that its next line is this one.
    #[track_caller]
    pub fn hears(&self, expected: &str) {
        let line = self.lines.recv_timeout(DEADLINE);
        assert_eq!(line.as_deref(), Ok(expected), "{}", self.errors.try_recv().unwrap_or_default());
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Waits until it would handle this signal, and not just end by it.
    #[track_caller]
    pub fn handles_soon(&self, signal: Signal) {
        let begun = Instant::now();
        loop {
            let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("it says so");
            let caught = u64::from_str_radix(caught.trim(), 16).expect("a mask");
            if caught & (1 << (signal.as_raw() - 1)) != 0 {
                return;
            }
            assert!(begun.elapsed() < DEADLINE, "it never waits for signals");
        }
    }

    /// Closes its input and asserts on its exit code; gives what it wrote to standard error.
    #[track_caller]
    pub fn ends_with(mut self, code: i32) -> String {
        drop(self.stdin.take());
        self.ends_by_itself_with(code)
    }

    /// The same, with its input open.
    #[track_caller]
    pub fn ends_by_itself_with(mut self, code: i32) -> String {
        let error = self.errors.recv_timeout(DEADLINE).expect("it ends");
        let status = self.child.wait().expect("its status can be had");
        assert_eq!(status.code(), Some(code), "{status}: {error}");
        error
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
