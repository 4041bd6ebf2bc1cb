//! What can go wrong with an engine.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

use host::ProcessError;

use crate::Mismatch;

/// Why an engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The engine is not there.
    #[error("{engine} is not found: {reason}; {remedy}")]
    NotFound {
        /// The engine's name.
        engine: &'static str,
        /// Where it was looked for.
        reason: String,
        /// How it can be had.
        remedy: &'static str,
    },
    /// The executable is too old or is something else.
    #[error("{program} can't be used: {reason}; {needed} is needed")]
    Unusable {
        /// The executable.
        program: PathBuf,
        /// What it said.
        reason: String,
        /// The engine and its releases that can be.
        needed: &'static str,
    },
    /// A variable of the environment that has no meaning.
    #[error("{name}={value:?} is not understood: expected {expected}")]
    Environment {
        /// The variable.
        name: &'static str,
        /// What it holds.
        value: String,
        /// What it may hold.
        expected: &'static str,
    },
    /// Not a name for a file in a sandbox's folder.
    #[error("{0:?} is no file name: expected at most 64 of A-Z a-z 0-9 . _ -, a letter or digit first")]
    FileName(String),
    /// What was asked for can't be built.
    #[error("{what}: {reason}")]
    Spec {
        /// The part of the spec.
        what: &'static str,
        /// What was found and what was expected.
        reason: String,
    },
    /// This host can't restore it.
    #[error("this host can't run the snapshot: {}", list(.0))]
    Incompatible(Vec<Mismatch>),
    /// The engine state is not what it should be.
    #[error("engine state {file}: {source}")]
    State {
        /// Its file.
        file: String,
        /// What is wrong with it.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The engine says that something else is attached than was asked for.
    #[error("the engine was ended: {device} should be {expected}, but it reports {found}")]
    Attachment {
        /// The device.
        device: String,
        /// What was asked for.
        expected: String,
        /// What the engine says.
        found: String,
    },
    /// The machine has something that can't be frozen.
    #[error("the machine can't be frozen: {}", .0.join("; "))]
    Blocked(Vec<String>),
    /// The engine refused a command.
    #[error("the engine refused {command}: {description}")]
    Refused {
        /// The command.
        command: String,
        /// The engine's words.
        description: String,
    },
    /// The engine's answer makes no sense.
    #[error("the engine's answer to {command} is not understood: {answer}")]
    Protocol {
        /// What it was asked.
        command: String,
        /// What it said, shortened.
        answer: String,
    },
    /// The engine has ended.
    #[error("the engine ended while it should {doing}; its log ends with: {log}")]
    Died {
        /// What it should have done.
        doing: &'static str,
        /// The last it wrote.
        log: String,
    },
    /// The deadline has passed.
    #[error("the engine did not {0} in time")]
    Timeout(&'static str),
    /// Its process.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// A file, socket or process of the host.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, with its name.
        what: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl EngineError {
    /// For `map_err`: what was tried when the kernel refused.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// As [`EngineError::io`], for what lies at `path`.
    pub(crate) fn at(doing: &str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        Self::io(format!("{doing} {}", path.display()))
    }
}

fn list(mismatches: &[Mismatch]) -> String {
    let lines: Vec<String> = mismatches.iter().map(ToString::to_string).collect();
    lines.join("; ")
}
