//! The wire between a host and the agent in a guest: `docs/agent-protocol.md` in types.
//!
//! Pure and synchronous: bytes in, messages out. Both ends use it, the agent inside a snapshot in the
//! version of the day the snapshot was made.
//!
//! Invariants:
//! - No length from the wire is believed before it was checked, and no more than one frame is ever held.
//! - Whatever bytes come, a [`Decoder`] finds the next valid greeting after [`padded_hello`].

mod decode;
mod encode;
mod frame;
mod given;
mod guest;
mod identity;
mod message;

pub use decode::{Decoder, Incoming};
pub use encode::{
    EncodeError, data_header, encode_credit, encode_data, encode_end, encode_reply, encode_request, hello,
    hello_reply, padded_hello, resume,
};
pub use frame::{
    Credit, Greeting, HEADER_LEN, INITIAL_CREDIT, Kind, MAX_PAYLOAD, MAX_SESSIONS, Nonce, PADDING_LEN,
    ProtocolError, SessionId, Stream, VERSION,
};
pub use given::{GIVEN_MAX, Given, InvalidGiven, SECRETS_DIR};
pub use guest::{
    GUEST_CONFIG_MAX, GUEST_CONFIG_PATH, GUEST_CONFIG_VERSION, GuestConfig, GuestConfigError, MAX_LAYERS,
    Network, OnFork, RUN_DIR, RUNNERS_DIR, Ready, Warm,
};
pub use identity::{BootId, Entropy, Hostname, Identity, InvalidIdentity, LinkState, MachineId};
pub use message::{
    Archive, DataDisk, Exec, ExitStatus, Extract, Failure, FailureKind, NOT_FOUND_STATUS, Reply, Request,
    WindowSize, parse_reply, parse_request, signal,
};

/// How each line begins that an agent writes to its console. That there is one says that the guest has come to user space.
pub const CONSOLE_PREFIX: &str = "spore agent:";
/// Where guests find the file system of their data disk.
pub const DATA_DIR: &str = "/data";
/// The virtio serial of the data disk.
pub const DATA_SERIAL: &str = "data0";
/// Name of the virtio-serial port that carries this protocol.
pub const PORT_NAME: &str = "dev.spore.agent";
