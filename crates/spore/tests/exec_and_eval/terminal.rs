//! `exec -it`: a program in a guest at our terminal, which is ours again however that ends.

use std::io::{Read, Write};
use std::process::Child;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{LocalModes, tcgetattr};

use crate::guest::{Guest, TINY};
use crate::harness::run::{DEADLINE, Run};
use crate::harness::terminal::Terminal;

/// A terminal with somebody at it, and a command that runs there. Dropped, the command is killed.
struct Screen {
    terminal: Terminal,
    shown: Arc<(Mutex<String>, Condvar)>,
    child: Child,
}

impl Screen {
    #[track_caller]
    fn start(run: Run, rows: u16, columns: u16) -> Self {
        let terminal = Terminal::open(rows, columns);
        let child = terminal.start(run);
        let shown = Arc::new((Mutex::new(String::new()), Condvar::new()));
        let (mut reader, screen) = (terminal.screen.try_clone().expect("a descriptor"), Arc::clone(&shown));
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = reader.read(&mut bytes) {
                screen.0.lock().expect("whole").push_str(&String::from_utf8_lossy(&bytes[..count]));
                screen.1.notify_all();
            }
        });
        Self { terminal, shown, child }
    }

    /// Types when keys are passed on: what is typed before is a line to be edited, as everywhere.
    #[track_caller]
    fn type_in(&mut self, keys: &str) {
        let begun = Instant::now();
        while self.is_ours() {
            assert!(begun.elapsed() < DEADLINE, "the terminal is not lent");
            std::thread::sleep(Duration::from_millis(5));
        }
        self.terminal.screen.write_all(keys.as_bytes()).expect("it is read");
    }

    /// Waits until `text` is shown, and forgets all up to there.
    #[track_caller]
    fn shows(&self, text: &str) {
        let (shown, changed) = &*self.shown;
        let found =
            changed.wait_timeout_while(shown.lock().expect("whole"), DEADLINE, |shown| !shown.contains(text));
        let mut shown = found.expect("whole").0;
        let at = shown.find(text).unwrap_or_else(|| panic!("{text:?} is not shown: {shown:?}"));
        shown.drain(..at + text.len());
    }

    fn resize(&self, rows: u16, columns: u16) {
        self.terminal.resize(rows, columns);
        // The kernel would, if this were the command's controlling terminal.
        self.signal(Signal::WINCH);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Whether the terminal edits lines, as shells leave it.
    fn is_ours(&self) -> bool {
        let modes = tcgetattr(&self.terminal.side).expect("it has modes").local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
    }

    #[track_caller]
    fn ends_with(mut self, code: i32) {
        let status = self.child.wait().expect("its status can be had");
        assert_eq!(status.code(), Some(code), "{:?}", self.shown.0.lock().expect("whole"));
        assert!(self.is_ours(), "its modes are as before");
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn a_shell_at_a_terminal() {
    let Some(guest) = Guest::of(TINY, "a_shell_at_a_terminal") else { return };
    // Prompts are of no interest here, and where one stands nobody knows.
    let mut screen = Screen::start(guest.exec(&["-it", "-e", "PS1="], &["/bin/sh"]), 33, 101);
    screen.type_in("test -t 0 && test -t 1 && test -t 2 && echo all-$TERM\n");
    screen.shows("all-vt100\r\n");
    assert!(!screen.is_ours(), "keys are passed on as they are");
    screen.type_in("stty size\n");
    screen.shows("33 101\r\n");
    // Ctrl-C is a key, which the terminal in the guest makes a signal of, for what is in its foreground.
    // What tells that it has started is in the foreground already: before, the shell itself would get the key.
    screen.type_in("sh -c 'echo star\"\"ted; exec sleep 1000'\n");
    screen.shows("started\r\n");
    screen.type_in("\x03");
    screen.type_in("echo ended-$?\n");
    screen.shows("ended-130\r\n");
    // What runs on in the background, with the terminal open, is not waited for.
    screen.type_in("sleep 1000 &\nexit 7\n");
    screen.ends_with(7);

    // A new size is told to what is in the foreground.
    let script = "trap 'stty size' WINCH; echo ready; while :; do sleep 1; done";
    let screen = Screen::start(guest.script(&["-it"], script), 24, 80);
    screen.shows("ready\r\n");
    screen.resize(50, 132);
    screen.shows("50 132\r\n");
    drop(screen);

    // The end of input is one of a terminal's too; all that was written before the end comes.
    let mut screen = Screen::start(guest.exec(&["-it"], &["cat"]), 24, 80);
    screen.type_in("one line\n\x04");
    screen.shows("one line\r\none line\r\n");
    screen.ends_with(0);
    let screen = Screen::start(
        guest.script(&["-t"], "i=0; while [ $i -lt 3000 ]; do echo line-$i; i=$((i+1)); done"),
        24,
        80,
    );
    // Our terminal, to which nothing is typed, is as it was, and returns the carriage once more.
    screen.shows("line-0\r");
    screen.shows("line-2999\r");
    screen.ends_with(0);
    assert_eq!(guest.script(&["-i"], "test -t 0 || echo none").finish().succeeds().text(), "none");
}

#[test]
fn a_terminal_is_given_back() {
    let Some(guest) = Guest::of(TINY, "a_terminal_is_given_back") else { return };
    let start = || {
        let screen = Screen::start(guest.script(&["-it"], "echo rea''dy; sleep 1000"), 24, 80);
        screen.shows("ready\r\n");
        assert!(!screen.is_ours());
        screen
    };
    // The guest's terminal hangs up with ours.
    for (signal, status) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130), (Signal::QUIT, 131)]
    {
        let screen = start();
        screen.signal(signal);
        screen.ends_with(status);
    }
    guest.wait_until("pidof sleep >/dev/null && echo runs || true", "");

    // Whatever the guest makes of that, even if it makes nothing of it.
    let screen = Screen::start(guest.script(&["-it"], "trap '' HUP; echo rea''dy; sleep 1000"), 24, 80);
    screen.shows("ready\r\n");
    screen.signal(Signal::TERM);
    screen.ends_with(143);
    let screen = start();
    guest.signal_engine(Signal::STOP);
    screen.signal(Signal::HUP);
    screen.ends_with(129);
    guest.signal_engine(Signal::CONT);

    // When the sandbox goes, and when there is no such program.
    let screen = Screen::start(guest.exec(&["-it"], &["/no/such/program"]), 24, 80);
    screen.shows("/no/such/program");
    screen.ends_with(127);
    let screen = start();
    guest.spore.run(["kill", &guest.id]).succeeds();
    screen.ends_with(125);
}

#[test]
fn a_terminal_is_not_made_up() {
    let Some(guest) = Guest::of(TINY, "a_terminal_is_not_made_up") else { return };
    for (options, what) in [(["-it"], "standard input"), (["-t"], "standard output")] {
        guest.exec(&options, &["true"]).finish().exits_with(125).says(&["--tty", what]);
    }
}

#[test]
fn a_user_owns_the_terminal() {
    let Some(guest) = Guest::of(TINY, "a_user_owns_the_terminal") else { return };
    let script = "echo hello >$(tty) && echo again >/dev/tty && id -u";
    let screen = Screen::start(guest.script(&["-it", "-u", "1234"], script), 24, 80);
    screen.shows("hello\r\nagain\r\n1234\r\n");
    screen.ends_with(0);
}
