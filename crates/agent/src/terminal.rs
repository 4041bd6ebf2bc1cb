//! Terminals for programs: a pair of which the agent has the master side.

use std::io;
use std::os::fd::OwnedFd;

use agent_protocol::WindowSize;
use rustix::pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{InputModes, OptionalActions, Winsize, tcgetattr, tcsetattr, tcsetwinsize};

use crate::spawn::set_nonblocking;

/// What a terminal's reader takes for the end of its input, by default: Ctrl-D.
pub(crate) const END_OF_INPUT: &[u8] = &[4];

/// A terminal that nobody uses yet.
pub(crate) struct Terminal {
    /// For the agent; does not block.
    pub(crate) master: OwnedFd,
    /// For the program, which it is to become the controlling terminal of.
    pub(crate) slave: OwnedFd,
}

impl Terminal {
    pub(crate) fn open(size: WindowSize) -> io::Result<Self> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags)?;
        unlockpt(&master)?;
        // By the master and not by a name, which could be somebody else's by now.
        let slave = ioctl_tiocgptpeer(&master, flags)?;
        let mut modes = tcgetattr(&slave)?;
        // Else erasing a character of several bytes leaves some of them.
        modes.input_modes |= InputModes::IUTF8;
        tcsetattr(&slave, OptionalActions::Now, &modes)?;
        resize(&master, size)?;
        set_nonblocking(&master)?;
        Ok(Terminal { master, slave })
    }
}

/// Sets the window's size; the foreground programs hear of it if it is another one.
pub(crate) fn resize(terminal: impl std::os::fd::AsFd, size: WindowSize) -> io::Result<()> {
    let size = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    Ok(tcsetwinsize(terminal, size)?)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};

    use rustix::termios::{LocalModes, tcgetwinsize};

    use super::*;

    #[test]
    fn a_terminal_edits_lines_and_has_its_size() {
        let Terminal { master, slave } = Terminal::open(WindowSize { rows: 24, columns: 80 }).unwrap();
        let size = || tcgetwinsize(&slave).map(|size| (size.ws_row, size.ws_col)).unwrap();
        assert_eq!(size(), (24, 80));
        resize(&master, WindowSize { rows: 50, columns: 132 }).unwrap();
        assert_eq!(size(), (50, 132));
        let modes = tcgetattr(&slave).unwrap();
        assert!(modes.local_modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));
        let (mut keyboard, mut program) = (std::fs::File::from(master), std::fs::File::from(slave));
        keyboard.write_all(b"ab\x7fc\n").unwrap();
        keyboard.write_all(END_OF_INPUT).unwrap();
        let mut line = String::new();
        program.read_to_string(&mut line).unwrap();
        assert_eq!(line, "ac\n", "a character was erased, and the input has ended");
    }
}
