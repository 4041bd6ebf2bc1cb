//! For fuzzing: what hosts make of what guests send, without guests.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use agent_protocol::{Decoder, Exec, Greeting, Incoming, Request, hello_reply};
use host::Deadline;

use crate::channel::{Channel, Peer};
use crate::{OutputError, Session, SessionOutput};

pub use crate::supervisor::testing::{Bench, ClientEnd, PortEnd};

/// The output of an exec whose other end, which speaks this version, answers a greeting with all of `said`, at most 64 KiB, and goes.
///
/// # Errors
/// The outer one if there is no socket, or it takes no more; the inner one is how the exec ended, if not well.
pub fn session_output(said: &[u8], version: u32) -> io::Result<Result<Vec<u8>, OutputError>> {
    let deadline = Deadline::after(Duration::from_secs(5));
    let (ours, mut other_end) = UnixStream::pair()?;
    other_end.set_nonblocking(true)?;
    let mut channel = Channel::new(ours)?;
    channel.greet(Peer::Waiting, None, deadline).map_err(io::Error::other)?;
    let mut greeting = [0; 256];
    let length = other_end.read(&mut greeting)?;
    let mut input = greeting.get(..length).unwrap_or_default();
    let Some(Incoming::Hello(Greeting { nonce, .. })) = Decoder::agent().next(&mut input) else {
        return Err(io::Error::other("it does not greet"));
    };
    other_end.write_all(&hello_reply(Greeting { version, nonce }))?;
    other_end.write_all(said)?;
    other_end.shutdown(Shutdown::Write)?;
    let run = || {
        channel.greeted(deadline)?;
        let exec = Exec { argv: vec!["x".to_owned()], ..Exec::default() };
        let session = Session::start(channel, &Request::Exec(exec))?;
        let (mut output, mut read) = (SessionOutput::new(session, deadline), Vec::new());
        // How it ended is told at the end.
        output.read_to_end(&mut read).map_err(crate::ChannelError::Io)?;
        output.finish().map(|()| read)
    };
    Ok(run())
}
