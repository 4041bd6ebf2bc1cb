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
