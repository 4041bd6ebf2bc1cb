//! QEMU's control socket.
//!
//! Commands may be sent several at a time, before the greeting even: QEMU answers them in order, which spares a
//! fork most of its round trips. Every command has a number and an answer repeats it, so that the answer to a
//! command that timed out is never taken for another's.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use host::Deadline;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{ENGINE_LOG, EngineError};

/// The control socket's name in the sandbox's folder.
pub(super) const QMP_SOCKET: &str = "qmp";
/// QEMU's longest answer by far lists all disks: some 20 KB. A guest that has taken QEMU over gets no more than this, which
/// takes some fifty times as much memory once it is JSON.
const MESSAGE_MAX: usize = 256 << 10;
/// Characters of QEMU's words in an error.
const WORDS_MAX: usize = 1000;

/// A connection to the control socket. QEMU serves one at a time.
pub(super) struct Qmp {
    stream: UnixStream,
    folder: PathBuf,
    received: Vec<u8>,
    next_id: u64,
    events: Events,
}

/// What QEMU said without being asked, as far as it matters.
#[derive(Debug, Default, Clone)]
pub(super) struct Events {
    /// `completed` or `failed`.
    pub(super) migration: Option<String>,
    /// Why the guest went down.
    pub(super) shutdown: Option<String>,
}

/// A command that was sent.
pub(super) struct Sent {
    id: u64,
    name: &'static str,
}

/// A command to send: its name and arguments.
pub(super) type Command = (&'static str, Value);

/// One line from QEMU; the greeting has none of these fields.
#[derive(Debug, Deserialize)]
struct Message {
    id: Option<u64>,
    #[serde(rename = "return")]
    result: Option<Value>,
    error: Option<Refusal>,
    event: Option<String>,
    data: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Refusal {
    desc: String,
}

impl Qmp {
    /// Connects to the QEMU that listens in `folder`, or will as soon as it has started.
    pub(super) fn connect(folder: &Path) -> Result<Self, EngineError> {
        let stream = host::socket::connect_in(folder, QMP_SOCKET)
            .map_err(EngineError::at("connect to", &folder.join(QMP_SOCKET)))?;
        Ok(Self::over(stream, folder))
    }

    /// Over a socket of the QEMU that runs in `folder`.
    pub(super) fn over(stream: UnixStream, folder: &Path) -> Self {
        Self {
            stream,
            folder: folder.to_owned(),
            received: Vec::new(),
            next_id: 0,
            events: Events::default(),
        }
    }

    pub(super) fn events(&self) -> &Events {
        &self.events
    }

    /// Sends commands in one write.
    pub(super) fn send<const N: usize>(
        &mut self,
        commands: [Command; N],
        deadline: Deadline,
    ) -> Result<[Sent; N], EngineError> {
        let mut text = String::new();
        let sent = commands.map(|(name, arguments)| {
            let id = self.next_id;
            self.next_id += 1;
            text.push_str(&json!({ "execute": name, "arguments": arguments, "id": id }).to_string());
            text.push('\n');
            Sent { id, name }
        });
        let left = deadline.remaining().ok_or(EngineError::Timeout("take a command"))?;
        let written =
            self.stream.set_write_timeout(Some(left)).and_then(|()| self.stream.write_all(text.as_bytes()));
        match written {
            Ok(()) => Ok(sent),
            Err(error) => Err(self.failed(error, "take a command")),
        }
    }

    /// The answer to a command.
    pub(super) fn answer(&mut self, sent: &Sent, deadline: Deadline) -> Result<Value, EngineError> {
        loop {
            let message = self.message("answer a command", deadline)?;
            if message.id != Some(sent.id) {
                continue;
            }
            if let Some(refusal) = message.error {
                return Err(EngineError::Refused {
                    command: sent.name.to_owned(),
                    description: shortened(&refusal.desc),
                });
            }
            return message.result.ok_or_else(|| sent.not_understood("an answer without a result"));
        }
    }

    /// Sends one command and waits for its answer.
    pub(super) fn call(
        &mut self,
        name: &'static str,
        arguments: Value,
        deadline: Deadline,
    ) -> Result<Value, EngineError> {
        let [sent] = self.send([(name, arguments)], deadline)?;
        self.answer(&sent, deadline)
    }

    /// Sends one command and waits for its answer, as a type.
    pub(super) fn query<T: serde::de::DeserializeOwned>(
        &mut self,
        name: &'static str,
        deadline: Deadline,
    ) -> Result<T, EngineError> {
        let [sent] = self.send([(name, json!({}))], deadline)?;
        self.answer_as(&sent, deadline)
    }

    /// The answer to a command, as a type.
    pub(super) fn answer_as<T: serde::de::DeserializeOwned>(
        &mut self,
        sent: &Sent,
        deadline: Deadline,
    ) -> Result<T, EngineError> {
        let answer = self.answer(sent, deadline)?;
        serde_json::from_value(answer).map_err(|error| sent.not_understood(&error.to_string()))
    }

    /// Waits for an event that makes `done` true of [`Qmp::events`].
    pub(super) fn wait(
        &mut self,
        doing: &'static str,
        done: impl Fn(&Events) -> bool,
        deadline: Deadline,
    ) -> Result<(), EngineError> {
        while !done(&self.events) {
            self.message(doing, deadline)?;
        }
        Ok(())
    }

    /// The next message; an event is noted, and handed out too.
    fn message(&mut self, doing: &'static str, deadline: Deadline) -> Result<Message, EngineError> {
        let line = self.line(doing, deadline)?;
        let message: Message = serde_json::from_slice(&line).map_err(|error| EngineError::Protocol {
            command: doing.to_owned(),
            answer: shortened(&format!(
                "{error}: {}",
                String::from_utf8_lossy(line.get(..200).unwrap_or(&line))
            )),
        })?;
        let text = |key| message.data.as_ref()?.get(key)?.as_str().map(shortened);
        match message.event.as_deref() {
            Some("MIGRATION") => self.events.migration = text("status"),
            Some("SHUTDOWN") => self.events.shutdown = text("reason").or(Some("unknown".to_owned())),
            _ => {}
        }
        Ok(message)
    }

    fn line(&mut self, doing: &'static str, deadline: Deadline) -> Result<Vec<u8>, EngineError> {
        let mut searched = 0;
        loop {
            let rest = self.received.get(searched..).unwrap_or_default();
            if let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                return Ok(self.received.drain(..=searched + end).collect());
            }
            searched = self.received.len();
            if searched > MESSAGE_MAX {
                return Err(EngineError::Protocol {
                    command: doing.to_owned(),
                    answer: format!("more than {MESSAGE_MAX} bytes without a line's end"),
                });
            }
            let left = deadline.remaining().ok_or(EngineError::Timeout(doing))?;
            let mut piece = [0; 16 << 10];
            let read = self.stream.set_read_timeout(Some(left)).and_then(|()| self.stream.read(&mut piece));
            match read {
                Ok(0) => return Err(self.died(doing)),
                Ok(length) => self.received.extend_from_slice(piece.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.failed(error, doing)),
            }
        }
    }

    fn failed(&self, error: std::io::Error, doing: &'static str) -> EngineError {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => EngineError::Timeout(doing),
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => self.died(doing),
            _ => EngineError::at("talk to", &self.folder.join(QMP_SOCKET))(error),
        }
    }

    fn died(&self, doing: &'static str) -> EngineError {
        EngineError::Died { doing, log: log_tail(&self.folder) }
    }
}

impl Sent {
    pub(super) fn not_understood(&self, answer: &str) -> EngineError {
        EngineError::Protocol { command: self.name.to_owned(), answer: shortened(answer) }
    }
}

/// QEMU's words as an error has them: a line is for people, who are not to be flooded.
pub(super) fn shortened(words: &str) -> String {
    let mut short: String = words.chars().take(WORDS_MAX).collect();
    if short.len() < words.len() {
        short.push('…');
    }
    short
}

/// The last that QEMU wrote to its log.
pub(super) fn log_tail(folder: &Path) -> String {
    const TAIL: u64 = 2048;
    let read = || -> std::io::Result<Vec<u8>> {
        let mut log = File::open(folder.join(ENGINE_LOG))?;
        let length = log.metadata()?.len();
        log.seek(SeekFrom::Start(length.saturating_sub(TAIL)))?;
        let mut tail = Vec::new();
        log.take(TAIL).read_to_end(&mut tail)?;
        Ok(tail)
    };
    match read() {
        Ok(tail) if tail.is_empty() => "(nothing)".to_owned(),
        Ok(tail) => String::from_utf8_lossy(&tail).trim_end().to_owned(),
        Err(error) => format!("(not readable: {error})"),
    }
}
