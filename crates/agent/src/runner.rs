//! The channel to a runner, a warm process that evaluates code: one request at a time, the rest in order.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use agent_protocol::Stream;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::spawn::read;

/// Most bytes of a message from a runner.
const MESSAGE_MAX: usize = 256 * 1024;

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ToRunner<'a> {
    Eval { id: u64, code: &'a str },
    Interrupt { id: u64 },
    Reseed { seed: &'a str },
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum FromRunner {
    /// The warm-up is done.
    Ready,
    /// A piece of output of the running code.
    Output { id: u64, stream: OutputStream, data: String },
    /// The running code has ended.
    Done { id: u64, ok: bool },
    /// The random number generators have their new seed.
    Reseeded,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OutputStream {
    Stdout,
    Stderr,
}

impl From<OutputStream> for Stream {
    fn from(stream: OutputStream) -> Self {
        match stream {
            OutputStream::Stdout => Stream::Stdout,
            OutputStream::Stderr => Stream::Stderr,
        }
    }
}

/// Our end of the socket.
pub(crate) struct Runner {
    socket: OwnedFd,
    input: Vec<u8>,
    output: VecDeque<u8>,
    next_id: u64,
    /// The runner owes an answer to a request.
    busy: bool,
    /// The evaluation that it owes the end of.
    running: Option<u64>,
}

/// Why a runner is of no more use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// Most likely its process ends, and its status will tell more.
    #[error("it closed its socket")]
    Closed,
    #[error("it announced a message of {0} bytes, at most {MESSAGE_MAX} are allowed")]
    TooLong(usize),
    #[error("it sent an invalid message: {0}")]
    Message(#[from] serde_json::Error),
}

impl Runner {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Runner { socket, input: Vec::new(), output: VecDeque::new(), next_id: 1, busy: false, running: None }
    }

    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    pub(crate) fn wants_write(&self) -> bool {
        !self.output.is_empty()
    }

    pub(crate) fn is_busy(&self) -> bool {
        self.busy
    }

    /// Asks for an evaluation, and returns its number. The runner must not be busy.
    pub(crate) fn eval(&mut self, code: &str) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.send(&ToRunner::Eval { id, code });
        self.busy = true;
        self.running = Some(id);
        id
    }

    /// Asks it to end the evaluation that runs. That is no request: nothing is owed for it.
    pub(crate) fn interrupt(&mut self) {
        if let Some(id) = self.running {
            self.send(&ToRunner::Interrupt { id });
            // It is not to wait for anybody to listen. That the runner is gone is found out when it is read.
            let _ = self.flush();
        }
    }

    /// Asks for new seeds. The runner must not be busy.
    pub(crate) fn reseed(&mut self, seed: &str) {
        self.send(&ToRunner::Reseed { seed });
        self.busy = true;
    }

    fn send(&mut self, message: &ToRunner<'_>) {
        // Strings and numbers always have a JSON form, within a frame's size.
        let json = serde_json::to_vec(message).unwrap_or_default();
        let length = u32::try_from(json.len()).unwrap_or(u32::MAX);
        self.output.extend(length.to_le_bytes());
        self.output.extend(json);
    }

    /// Writes what the socket takes.
    pub(crate) fn flush(&mut self) -> Result<(), Broken> {
        while !self.output.is_empty() {
            match rustix::net::send(&self.socket, self.output.as_slices().0, rustix::net::SendFlags::NOSIGNAL)
            {
                Ok(count) => drop(self.output.drain(..count)),
                Err(Errno::AGAIN | Errno::INTR) => break,
                Err(_) => return Err(Broken::Closed),
            }
        }
        Ok(())
    }

    /// Reads once if a whole message is not there yet, and returns the next one.
    pub(crate) fn receive(&mut self, buffer: &mut [u8]) -> Result<Option<FromRunner>, Broken> {
        if let Some(message) = self.take_message()? {
            return Ok(Some(message));
        }
        match read(self.socket.as_fd(), buffer) {
            None => Ok(None),
            Some(0) => Err(Broken::Closed),
            Some(count) => {
                self.input.extend_from_slice(buffer.get(..count).unwrap_or_default());
                self.take_message()
            }
        }
    }

    fn take_message(&mut self) -> Result<Option<FromRunner>, Broken> {
        let Some((length, rest)) = self.input.split_first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if length > MESSAGE_MAX {
            return Err(Broken::TooLong(length));
        }
        let Some(json) = rest.get(..length) else { return Ok(None) };
        let message: FromRunner = serde_json::from_slice(json)?;
        self.input.drain(..4 + length);
        if matches!(message, FromRunner::Done { .. } | FromRunner::Reseeded) {
            self.busy = false;
            self.running = None;
        }
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Runner, OwnedFd) {
        use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
        (Runner::new(ours), theirs)
    }

    #[test]
    fn messages_come_whole_however_they_are_cut() {
        let (mut runner, theirs) = pair();
        let mut bytes = Vec::new();
        for json in [r#"{"type":"output","id":3,"stream":"stderr","data":"x"}"#, r#"{"type":"reseeded"}"#] {
            bytes.extend(u32::try_from(json.len()).unwrap().to_le_bytes());
            bytes.extend(json.bytes());
        }
        let mut messages = Vec::new();
        for byte in bytes {
            rustix::io::write(&theirs, &[byte]).unwrap();
            messages.extend(runner.receive(&mut [0; 16]).ok().unwrap());
        }
        assert!(matches!(
            &*messages,
            [FromRunner::Output { id: 3, stream: OutputStream::Stderr, data }, FromRunner::Reseeded] if data == "x"
        ));
    }

    #[test]
    fn only_what_runs_is_interrupted() {
        let (mut runner, theirs) = pair();
        let sent = || {
            let mut bytes = [0; 200];
            let length = crate::spawn::read(theirs.as_fd(), &mut bytes).unwrap_or(0);
            String::from_utf8_lossy(&bytes[..length]).into_owned()
        };
        runner.interrupt();
        assert_eq!(sent(), "");
        let id = runner.eval("1");
        runner.flush().unwrap();
        sent();
        runner.interrupt();
        assert!(sent().ends_with(&format!(r#"{{"type":"interrupt","id":{id}}}"#)));
        let done = format!(r#"{{"type":"done","id":{id},"ok":true}}"#);
        let length = u32::try_from(done.len()).unwrap().to_le_bytes();
        rustix::io::write(&theirs, &[&length, done.as_bytes()].concat()).unwrap();
        runner.receive(&mut [0; 256]).unwrap();
        runner.interrupt();
        assert_eq!(sent(), "");
    }

    #[test]
    fn a_length_out_of_bounds_and_a_closed_socket_break_it() {
        let (mut runner, theirs) = pair();
        rustix::io::write(&theirs, &u32::MAX.to_le_bytes()).unwrap();
        assert!(runner.receive(&mut [0; 16]).is_err());
        let (mut runner, theirs) = pair();
        drop(theirs);
        assert!(runner.receive(&mut [0; 16]).is_err());
    }
}
