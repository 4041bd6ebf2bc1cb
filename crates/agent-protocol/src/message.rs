//! Control messages: JSON objects with one member, named after the message. Unknown fields are ignored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Identity, ProtocolError};

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
    /// Open session: send a signal.
    Signal {
        /// 1 to 64.
        number: i32,
    },
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
    /// Whether input follows; else the program reads `/dev/null`.
    #[serde(default)]
    pub stdin: bool,
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
            FailureKind::NotFound => 127,
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
    serde_json::from_slice(payload).map_err(|error| ProtocolError::Message(error.to_string()))
}

/// Parses the payload of a control frame that an agent sent.
///
/// # Errors
/// [`ProtocolError::Message`] with the reason.
pub fn parse_reply(payload: &[u8]) -> Result<Reply, ProtocolError> {
    serde_json::from_slice(payload).map_err(|error| ProtocolError::Message(error.to_string()))
}
