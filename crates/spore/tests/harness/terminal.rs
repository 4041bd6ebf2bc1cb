//! A command at a terminal of a size, to its end.

use std::fs::File;
use std::io::Read;
use std::sync::mpsc::channel;

use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

use super::run::{DEADLINE, Run};

/// What a command shows at a terminal with this many columns, where somebody types `typed`; lines end as in a file.
#[track_caller]
pub fn shown(mut run: Run, columns: u16, typed: &str) -> String {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let master = openpt(flags).expect("a terminal");
    unlockpt(&master).expect("its other side");
    let terminal = ioctl_tiocgptpeer(&master, flags).expect("its other side");
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&master, size).expect("a size");
    let side = || terminal.try_clone().expect("a descriptor");
    let command = run.command().env("TERM", "vt100");
    command.stdin(side()).stdout(side()).stderr(side());
    let mut child = command.spawn().expect("it can be started");
    // The command's sides are the only ones then: when it has ended, there is nothing more to read.
    drop((run, terminal));
    let mut screen = File::from(master);
    std::io::Write::write_all(&mut screen, typed.as_bytes()).expect("it can be typed");
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
