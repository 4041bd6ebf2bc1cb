//! Asking a person: on the terminal itself, whatever standard input and output are.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr, tcsetattr};

use super::{MAX_SECRET, line};
use crate::error::{CliError, Doing, INTERRUPTED};
use crate::interrupt;

/// The terminal of this process.
pub(super) struct Terminal(File);

impl Terminal {
    pub(super) fn open() -> io::Result<Self> {
        let tty = File::options().read(true).write(true).open("/dev/tty")?;
        if isatty(&tty) { Ok(Self(tty)) } else { Err(rustix::io::Errno::NOTTY.into()) }
    }

    /// The line that is typed at `prompt`.
    pub(super) fn ask(&self, prompt: &str) -> Result<String, CliError> {
        let mut text = String::new();
        (&self.0).write_all(prompt.as_bytes()).doing("write to the terminal")?;
        BufReader::new(&self.0)
            .take(MAX_SECRET)
            .read_line(&mut text)
            .doing("read what is typed on the terminal")?;
        match line(&text) {
            "" => Err(CliError::Usage(format!("{}: nothing was typed", prompt.trim_end_matches([':', ' '])))),
            answer => Ok(answer.to_owned()),
        }
    }

    /// The line that is typed at `prompt`, without showing it.
    pub(super) fn ask_unseen(&self, prompt: &str) -> Result<String, CliError> {
        let tty = self.0.try_clone().doing("use the terminal")?;
        let hidden = Hidden::begin(tty)?;
        let (tty, before) = (self.0.try_clone().doing("use the terminal")?, hidden.before.clone());
        // Who interrupts would be left with a terminal that shows nothing.
        interrupt::on_interrupt(move || {
            tcsetattr(&tty, OptionalActions::Flush, &before).ok();
            std::process::exit(INTERRUPTED.into());
        })?;
        self.ask(prompt)
    }
}

/// A terminal that does not show what is typed, until this is dropped.
struct Hidden {
    tty: File,
    before: Termios,
}

impl Hidden {
    fn begin(tty: File) -> Result<Self, CliError> {
        let before = tcgetattr(&tty).map_err(io::Error::from).doing("examine the terminal")?;
        let mut modes = before.clone();
        modes.local_modes -= LocalModes::ECHO;
        modes.local_modes |= LocalModes::ECHONL;
        // Whoever suspends us is given their shell's modes, and would come back to a terminal that shows the password.
        modes.special_codes[SpecialCodeIndex::VSUSP] = 0;
        tcsetattr(&tty, OptionalActions::Flush, &modes)
            .map_err(io::Error::from)
            .doing("turn off the terminal's echo")?;
        Ok(Self { tty, before })
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        tcsetattr(&self.tty, OptionalActions::Flush, &self.before).ok();
    }
}

#[cfg(test)]
mod tests {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;

    /// A terminal, and what stands for its screen and keyboard.
    fn pair() -> (Terminal, File) {
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let name = ptsname(&keyboard, Vec::new()).unwrap();
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let tty = rustix::fs::open(name.as_c_str(), flags, rustix::fs::Mode::empty()).unwrap();
        (Terminal(tty.into()), keyboard.into())
    }

    fn shown_until(mut screen: &File, end: &str) -> String {
        let mut shown = String::new();
        while !shown.ends_with(end) {
            let mut byte = [0];
            assert_eq!(screen.read(&mut byte).unwrap(), 1);
            shown.push(byte[0].into());
        }
        shown
    }

    fn echoes(terminal: &Terminal) -> bool {
        tcgetattr(&terminal.0).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    #[test]
    fn what_is_typed_unseen_is_not_shown() {
        let (terminal, keyboard) = pair();
        assert!(echoes(&terminal));
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| terminal.ask_unseen("Password: "));
            assert_eq!(shown_until(&keyboard, ": "), "Password: ");
            assert!(!echoes(&terminal));
            (&keyboard).write_all("s3cret é\n".as_bytes()).unwrap();
            assert_eq!(shown_until(&keyboard, "\n"), "\r\n");
            assert_eq!(asked.join().unwrap().unwrap(), "s3cret é");
        });
        assert!(echoes(&terminal));
    }

    #[test]
    fn what_is_typed_is_shown() {
        let (terminal, keyboard) = pair();
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| terminal.ask("Username: "));
            assert_eq!(shown_until(&keyboard, ": "), "Username: ");
            (&keyboard).write_all(b"me\n").unwrap();
            assert_eq!(shown_until(&keyboard, "\n"), "me\r\n");
            assert_eq!(asked.join().unwrap().unwrap(), "me");
            let asked = scope.spawn(|| terminal.ask_unseen("Password: "));
            shown_until(&keyboard, ": ");
            (&keyboard).write_all(b"\n").unwrap();
            assert!(matches!(asked.join().unwrap(), Err(CliError::Usage(_))));
        });
        assert!(echoes(&terminal));
    }
}
