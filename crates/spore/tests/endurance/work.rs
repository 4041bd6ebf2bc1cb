//! What a client of a sandbox does, each with bytes of its own, so that an answer that is somebody else's shows.

use std::io::{Read, Write};
use std::process::{Child, Stdio};
use std::sync::mpsc::channel;

use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};

use crate::harness::run::{DEADLINE, Run};
use crate::harness::{Spore, terminal, words};

/// Bytes that go into a guest and come back.
const BOTH_WAYS_BYTES: usize = 1 << 20;

/// What a client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Prints a word.
    Short,
    /// Both outputs and a status.
    Status,
    /// 1 MiB there and back.
    BothWays,
    /// A shell script that reads a line at a terminal.
    Terminal,
    /// The client is killed; by then the program was in the midst of this.
    Abandoned(Midst),
}

/// What a program is doing whose client is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Midst {
    /// It may not even have been started.
    Starting,
    /// It waits for somebody to read what it writes.
    Writing,
    /// More input is on its way than it reads.
    Reading,
    /// It waits, and so does what it has started.
    Waiting,
    /// It waits at a terminal.
    AtTerminal,
}

/// What is done in turn: half of it is short.
pub const WORKS: [Work; 14] = [
    Work::Short,
    Work::BothWays,
    Work::Short,
    Work::Terminal,
    Work::Short,
    Work::Abandoned(Midst::Writing),
    Work::Status,
    Work::Abandoned(Midst::Waiting),
    Work::Short,
    Work::Abandoned(Midst::Reading),
    Work::Status,
    Work::Abandoned(Midst::AtTerminal),
    Work::Short,
    Work::Abandoned(Midst::Starting),
];

impl Work {
    /// Does it in the sandbox `id`.
    #[track_caller]
    pub fn act(self, spore: &Spore, id: &str) {
        let word = words::random();
        let sh = |options: &[&str], script: &str| {
            spore.command([&["exec"], options, &[id, "--", "/bin/sh", "-c", script]].concat())
        };
        match self {
            Self::Short => assert_eq!(sh(&[], &format!("echo {word}")).finish().succeeds().text(), word),
            Self::Status => {
                let script = format!("echo {word}; echo error-{word} >&2; exit 7");
                let outcome = sh(&[], &script).finish().exits_with(7);
                assert_eq!((outcome.text(), outcome.error()), (&*word, format!("error-{word}\n")));
            }
            Self::BothWays => {
                let lines = (0..).flat_map(|line| format!("{word} {line}\n").into_bytes());
                let bytes: Vec<_> = lines.take(BOTH_WAYS_BYTES).collect();
                let cat = spore.command(["exec", "-i", id, "--", "cat"]).stdin(bytes.clone());
                let outcome = cat.finish();
                assert!(
                    outcome.stdout == bytes,
                    "{} bytes came back: {}",
                    outcome.stdout.len(),
                    outcome.error()
                );
                outcome.succeeds();
            }
            Self::Terminal => {
                let script = "read -r line; echo \"<$line>\"; stty size; tty";
                let shown = terminal::shown(sh(&["-it"], script), 101, &format!("{word}\n"));
                let answered = shown.contains(&format!("<{word}>\n24 101\n/dev/pts/"));
                assert!(answered, "{shown:?}");
            }
            Self::Abandoned(midst) => midst.abandon(sh, &word),
        }
    }
}

impl Midst {
    #[track_caller]
    fn abandon(self, sh: impl Fn(&[&str], &str) -> Run, word: &str) {
        let (options, then): (&[&str], _) = match self {
            Self::Starting | Self::Waiting => (&[], "sleep 1000 & exec sleep 1000"),
            Self::Writing => (&[], "exec yes"),
            Self::Reading => (&["-i"], "exec sleep 1000"),
            Self::AtTerminal => (&["-it"], "exec sleep 1000"),
        };
        let mut run = sh(options, &format!("echo {word}; {then}"));
        let mut client = if self == Self::AtTerminal {
            Client::at_terminal(&mut run)
        } else {
            run.command().stdin(if self == Self::Reading { Stdio::piped() } else { Stdio::null() });
            Client::with_pipes(&mut run)
        };
        if self == Self::Starting {
            return;
        }
        client.wait_for(word);
        if let Some(mut input) = client.child.stdin.take() {
            // More than fits on the way; who takes it is killed at some point of that.
            std::thread::spawn(move || input.write_all(&vec![b'x'; BOTH_WAYS_BYTES]).ok());
        }
    }
}

/// A client that is killed when this is dropped.
struct Client {
    child: Child,
    output: Option<Box<dyn Read + Send>>,
}

impl Client {
    fn with_pipes(run: &mut Run) -> Self {
        let mut child = run.command().stderr(Stdio::null()).spawn().expect("it can be started");
        let output = child.stdout.take().map(|output| Box::new(output) as _);
        Self { child, output }
    }

    fn at_terminal(run: &mut Run) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a terminal");
        unlockpt(&master).expect("its other side");
        let side = || ioctl_tiocgptpeer(&master, flags).expect("its other side");
        let child = run.command().stdin(side()).stdout(side()).stderr(side()).spawn();
        Self { child: child.expect("it can be started"), output: Some(Box::new(std::fs::File::from(master))) }
    }

    /// Waits until it has shown this.
    #[track_caller]
    fn wait_for(&mut self, word: &str) {
        let (sender, seen) = channel();
        let (mut output, word) = (self.output.take().expect("its output"), word.to_owned());
        std::thread::spawn(move || {
            let (mut shown, mut bytes) = (String::new(), [0; 4096]);
            while !shown.contains(&word) {
                let Ok(count @ 1..) = output.read(&mut bytes) else { break };
                shown.push_str(&String::from_utf8_lossy(&bytes[..count]));
            }
            // Still open: nobody reads it, that is all.
            sender.send((shown.contains(&word), output)).ok();
        });
        let (is_seen, output) = seen.recv_timeout(DEADLINE).expect("it is shown in time");
        assert!(is_seen, "it ends without having shown anything");
        self.output = Some(output);
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
