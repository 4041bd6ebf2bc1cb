//! Terminals with commands at them.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::mpsc::channel;

use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::run::{DEADLINE, Run};

/// Both sides of a terminal.
pub struct Terminal {
    /// Where somebody types and sees what is shown.
    pub screen: File,
    /// What commands have. Held open, what they have left there can be read when they have ended.
    pub side: OwnedFd,
}

impl Terminal {
    #[track_caller]
    pub fn open(rows: u16, columns: u16) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).expect("a terminal");
        unlockpt(&master).expect("its other side");
        let side = ioctl_tiocgptpeer(&master, flags).expect("its other side");
        let terminal = Self { screen: File::from(master), side };
        terminal.resize(rows, columns);
        terminal
    }

    #[track_caller]
    pub fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.screen, size).expect("a size");
    }

    /// Starts a command that has its three streams here.
    #[track_caller]
    pub fn start(&self, mut run: Run) -> Child {
        let side = || self.side.try_clone().expect("a descriptor");
        let command = run.command().env("TERM", "vt100");
        command.stdin(side()).stdout(side()).stderr(side());
        command.spawn().expect("it can be started")
    }
}

/// What a command shows at a terminal with this many columns, where somebody types `typed`; lines end as in a file.
#[track_caller]
pub fn shown(run: Run, columns: u16, typed: &str) -> String {
    let terminal = Terminal::open(24, columns);
    let mut child = terminal.start(run);
    // The command's sides are the only ones then: when it has ended, there is nothing more to read.
    let Terminal { mut screen, side } = terminal;
    drop(side);
    screen.write_all(typed.as_bytes()).expect("it can be typed");
    let (sender, end) = channel();
    std::thread::spawn(move || {
        let (mut all, mut bytes) = (Vec::new(), [0; 4096]);
        while let Ok(count @ 1..) = screen.read(&mut bytes) {
            all.extend_from_slice(&bytes[..count]);
        }
        sender.send(all).ok();
    });
    let all = end.recv_timeout(DEADLINE);
    child.kill().ok();
    child.wait().expect("its status can be had");
    String::from_utf8_lossy(&all.expect("it ends in time")).replace("\r\n", "\n")
}

/// Lines that are too wide for eighty columns. A word alone, such as a path, is shown whole, whatever its length.
pub fn too_wide(what: &str, text: &str) -> Vec<String> {
    const COLUMNS: usize = 80;
    let is_wide = |line: &&str| line.chars().count() > COLUMNS && line.trim().contains(' ');
    text.lines().filter(is_wide).map(|line| format!("{what}: {line}")).collect()
}
