//! What a session writes, for who wants to read and not to be told.

use std::io::{self, Read};

use agent_protocol::{ExitStatus, Failure, FailureKind, NOT_FOUND_STATUS};
use host::Deadline;

use super::{Event, Session};
use crate::ChannelError;

/// Most bytes of its error output that are kept: its first lines say why it failed.
const ERROR_BYTES: usize = 4 << 10;

/// The standard output of a session as a stream, and how the session ended. Nothing is asked of the guest before it is read.
#[derive(Debug)]
pub struct SessionOutput {
    session: Session,
    deadline: Deadline,
    held: io::Cursor<Vec<u8>>,
    errors: Vec<u8>,
    end: Option<Result<(), OutputError>>,
}

/// Why a session's output is not all that there was to be.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// The session said so.
    #[error("in the guest: {message}")]
    Guest {
        /// What programs branch on.
        kind: FailureKind,
        /// What people read.
        message: String,
    },
    /// The connection to it.
    #[error(transparent)]
    Channel(#[from] ChannelError),
}

impl SessionOutput {
    /// Of a session nothing of which was read yet, and that is to end by then.
    #[must_use]
    pub fn new(session: Session, deadline: Deadline) -> Self {
        Self { session, deadline, held: io::Cursor::default(), errors: Vec::new(), end: None }
    }

    /// Passes over what is left of the output, and says how the session ended: well is with status 0.
    ///
    /// # Errors
    /// If it ended otherwise, with the first lines of its error output, or the connection did.
    pub fn finish(mut self) -> Result<(), OutputError> {
        loop {
            if let Some(end) = self.end {
                return end;
            }
            self.advance();
        }
    }

    /// Takes what comes next.
    fn advance(&mut self) {
        match self.session.next(self.deadline) {
            Ok(Event::Stdout(bytes)) => self.held = io::Cursor::new(bytes),
            Ok(Event::Stderr(bytes)) => {
                self.errors.extend(bytes);
                self.errors.truncate(ERROR_BYTES);
            }
            Ok(Event::Exit(ExitStatus::Code(0))) => self.end = Some(Ok(())),
            Ok(Event::Exit(status)) => {
                let said = String::from_utf8_lossy(&self.errors).trim().to_owned();
                let silent = || format!("it ended with status {}", status.shell_status());
                let message = if said.is_empty() { silent() } else { said };
                let is_absence = status == ExitStatus::Code(NOT_FOUND_STATUS);
                let kind = if is_absence { FailureKind::NotFound } else { FailureKind::Io };
                self.end = Some(Err(OutputError::Guest { kind, message }));
            }
            Ok(Event::Failed(Failure { kind, message })) => {
                self.end = Some(Err(OutputError::Guest { kind, message }));
            }
            Err(error) => self.end = Some(Err(error.into())),
        }
    }
}

impl Read for SessionOutput {
    /// The end of the output is the end of the session, however that was: [`SessionOutput::finish`] tells.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.held.read(buffer)?;
            if count > 0 || buffer.is_empty() || self.end.is_some() {
                return Ok(count);
            }
            self.advance();
        }
    }
}
