//! Names in a sandbox's folder.

use std::fmt;

use crate::EngineError;

/// The file that holds, or stands behind, the guest's memory.
pub const MEMORY_FILE: &str = "memory";
/// The socket of the guest's agent channel. One connection at a time.
pub const AGENT_SOCKET: &str = "agent";
/// What the engine itself wrote, errors mostly.
pub const ENGINE_LOG: &str = "engine.log";
/// What the guest wrote to its serial port. Opened for appending: who finds it too long may truncate it.
pub const CONSOLE_LOG: &str = "console.log";

/// The name of a file in a sandbox's folder: 1 to 64 of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit.
///
/// Such a name needs no quoting in any engine's options and can't lead out of the folder.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FileName(String);

impl FileName {
    /// Checks a name.
    ///
    /// # Errors
    /// If it is not of the form above.
    pub fn new(name: impl Into<String>) -> Result<Self, EngineError> {
        const MAX: usize = 64;
        let name = name.into();
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
        if name.len() <= MAX && plain && name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return Ok(Self(name));
        }
        Err(EngineError::FileName(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FileName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl AsRef<std::path::Path> for FileName {
    fn as_ref(&self) -> &std::path::Path {
        self.0.as_ref()
    }
}
