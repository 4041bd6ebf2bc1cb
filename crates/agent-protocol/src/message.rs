//! Control messages: JSON objects with one member, named after the message. Unknown fields are ignored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Given, Identity, ProtocolError};

/// What a host asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// Session 0: is the agent alive?
    Ping {},
    /// Session 0: start the warm process and wait until it is ready.
    Warm {
        /// Milliseconds from the request until it must be ready.
        deadline_ms: u64,
    },
    /// Session 0: become another machine.
    Identity(Identity),
    /// Session 0: have these variables and secrets. Since version 2.
    Provide(Given),
    /// Session 0: have none of them any more. Since version 2.
    Withdraw {},
    /// Session 0: have the disk that is in the spare slot. Since version 2.
    Attach(DataDisk),
    /// Session 0: flush, trim, and be quiet until the next greeting.
    Sync {},
    /// Session 0: flush and power off.
    Shutdown {},
    /// New session: run a program.
    Exec(Exec),
    /// New session: evaluate code in the warm process.
    Eval {
        /// In the runner's language.
        code: String,
    },
    /// New session: send a tree of files as a tar stream on Stdout. Since version 2.
    Archive(Archive),
    /// New session: make the files of a tar stream that comes on Stdin. Since version 2.
    Extract(Extract),
    /// New session: connect to a port of the guest's loopback; Stdin and Stdout are the connection's two directions. Since
    /// version 2.
    Connect {
        /// TCP.
        port: u16,
    },
    /// New session: bring all that was written to the data disk there, and let nothing more be written. Since version 2.
    Release {},
    /// Open session: send a signal.
    Signal {
        /// 1 to 64.
        number: i32,
    },
    /// Open session with a terminal: its window has another size. Since version 2.
    Resize(WindowSize),
}

impl Request {
    /// The first protocol version that has it: an agent of an earlier one would refuse it, or do something else.
    pub fn since(&self) -> u32 {
        match self {
            Request::Exec(Exec { tty: Some(_), .. })
            | Request::Archive(_)
            | Request::Extract(_)
            | Request::Connect { .. }
            | Request::Provide(_)
            | Request::Withdraw {}
            | Request::Attach(_)
            | Request::Release {}
            | Request::Resize(_) => 2,
            _ => 1,
        }
    }
}

/// The signals that have a meaning of their own here, by their numbers on Linux.
pub mod signal {
    /// The terminal has gone.
    pub const HUP: i32 = 1;
    /// Interrupts.
    pub const INT: i32 = 2;
    /// Ends what it is sent to, whatever that does.
    pub const KILL: i32 = 9;
}

/// The status of an `Archive` or `Extract` whose path is not there, and a shell's for a program that is not.
pub const NOT_FOUND_STATUS: i32 = 127;

/// A disk in the spare slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataDisk {
    /// Whether it may be written.
    pub writable: bool,
}

/// A program to run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// Program and arguments; not empty.
    pub argv: Vec<String>,
    /// Added to the guest's environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Absent: the guest config's, else `/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// `USER[:GROUP]`, each by name or number. Absent: the guest config's, else root.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Whether input follows; else the program reads `/dev/null`, or a terminal at which nobody types.
    #[serde(default)]
    pub stdin: bool,
    /// Gives the program a terminal of this size. Since version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tty: Option<WindowSize>,
}

/// The size of a terminal's window, in characters. Zero: unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

/// A tree of files to send.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Archive {
    /// A file or folder; relative to the guest config's `cwd`.
    pub path: String,
    /// As whom it is read, as in [`Exec`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// A tree of files to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extract {
    /// Where; relative to the guest config's `cwd`.
    pub path: String,
    /// What the root of the tree is called, whatever the stream says, if `path` is a folder; if it is none, it becomes the
    /// root. `.`: what is in the root goes into `path`. Absent: `path` is a folder, and the stream's names stay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Whose the files are, as in [`Exec`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
}

/// What an agent answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// To `Ping`.
    Pong {},
    /// To `Warm`: the warm process is ready.
    Warmed {},
    /// To `Identity`: every step was done.
    IdentityDone {},
    /// To `Provide`.
    Provided {},
    /// To `Withdraw`.
    Withdrawn {},
    /// To `Attach`: it is mounted, if it has a file system that the guest knows.
    Attached {},
    /// To `Sync`: the guest may be frozen.
    SyncDone {},
    /// To a Resume greeting.
    Resumed {},
    /// To `Shutdown`.
    ShuttingDown {},
    /// The program of an `Exec` runs.
    Started {
        /// In the guest.
        pid: u32,
    },
    /// A `Connect` has succeeded: input may be sent.
    Connected {},
    /// The last message of a session whose work was done.
    Exit(ExitStatus),
    /// A request was not fulfilled; the last message of a session.
    Failed(Failure),
}

/// How a program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    /// By itself.
    Code(i32),
    /// Killed by a signal.
    Signal(i32),
}

impl ExitStatus {
    /// The status a shell would show: the code, or 128 + the signal.
    pub fn shell_status(self) -> i32 {
        match self {
            ExitStatus::Code(code) => code,
            ExitStatus::Signal(signal) => 128 + signal,
        }
    }
}

/// Why a request was not fulfilled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What programs branch on.
    pub kind: FailureKind,
    /// What people read.
    pub message: String,
}

/// Kinds of failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureKind {
    /// No such program or working directory.
    NotFound,
    /// The program may not or can't be executed.
    NotExecutable,
    /// No such user in the guest.
    NoSuchUser,
    /// The request makes no sense.
    BadRequest,
    /// There is no runner that could evaluate, or it ended.
    NoRunner,
    /// Not at the same time as what is going on.
    Busy,
    /// The warm process ended before it was ready, or could not be started.
    Warm,
    /// A step of an identity failed: the guest must not be used.
    Identity,
    /// Not done in time.
    Deadline,
    /// The guest's kernel refused something.
    Io,
    /// A kind of a later version.
    #[serde(other)]
    Unknown,
}

impl FailureKind {
    /// The status a shell would show for an exec that failed so: 127, 126, else 125.
    pub fn shell_status(self) -> i32 {
        match self {
            FailureKind::NotFound => NOT_FOUND_STATUS,
            FailureKind::NotExecutable => 126,
            _ => 125,
        }
    }
}

/// Parses the payload of a control frame that a host sent.
///
/// # Errors
/// [`ProtocolError::Message`] with the reason.
pub fn parse_request(payload: &[u8]) -> Result<Request, ProtocolError> {
    serde_json::from_slice(payload).map_err(|error| invalid(&error))
}

/// Parses the payload of a control frame that an agent sent.
///
/// # Errors
/// [`ProtocolError::Message`] with the reason.
pub fn parse_reply(payload: &[u8]) -> Result<Reply, ProtocolError> {
    serde_json::from_slice(payload).map_err(|error| invalid(&error))
}

/// The reason may quote as much as a frame holds of what the peer sent, and ends up in logs and in what people read.
fn invalid(error: &serde_json::Error) -> ProtocolError {
    const MOST: usize = 200;
    let reason = error.to_string();
    let mut short: String = reason.chars().take(MOST).collect();
    if short.len() < reason.len() {
        short.push('…');
    }
    ProtocolError::Message(short)
}
