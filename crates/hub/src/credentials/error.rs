//! What can go wrong with credentials. No message holds a file's content or what a helper said.

use std::io;
use std::path::PathBuf;

/// Why credentials could not be looked up, kept or forgotten.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialError {
    /// Not a registry's name.
    #[error("expected a registry as HOST or HOST:PORT: leave out the scheme, user, path and blanks")]
    Registry,
    /// A user name that would be read back as something else.
    #[error(
        "{user:?} cannot be kept as a user name: expected one that is not empty, has no ':', and is not <token>"
    )]
    User {
        /// The name.
        user: String,
    },
    /// Nothing says where credentials are kept.
    #[error("no variable says where credentials are kept: set HOME, or REGISTRY_AUTH_FILE to a file")]
    NoFile,
    /// One of the two variables of an AWS key is not set.
    #[error("AWS_ACCESS_KEY_ID is set without AWS_SECRET_ACCESS_KEY: set both or none")]
    HalfAKey,
    /// A profile of AWS's tools that is not there.
    #[error(
        "AWS_PROFILE names the profile {name:?}, which is neither in ~/.aws/credentials nor in ~/.aws/config"
    )]
    NoProfile {
        /// Its name.
        name: String,
    },
    /// A profile of AWS's tools that cannot be used.
    #[error("the profile {name:?} in {}: {reason}", path.display())]
    Profile {
        /// Its name.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it, without what was found.
        reason: String,
    },
    /// A file of credentials could not be read or written.
    #[error("credentials {}: cannot {action} it: {source}", path.display())]
    Io {
        /// The file, or a folder on the way to it.
        path: PathBuf,
        /// What was being done, as a verb.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A file of credentials is not as such files are.
    #[error("credentials {}: {reason}; repair the file, or remove it and log in again", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was expected where, without what was found.
        reason: String,
    },
    /// A file names a helper by what is no plain name.
    #[error(
        "credentials {}: {name:?} cannot be a helper: expected the part of a program's name after docker-credential-, \
         of A-Z a-z 0-9 . _ -",
        path.display()
    )]
    HelperName {
        /// The file.
        path: PathBuf,
        /// What it names.
        name: String,
    },
    /// A file names a helper that is not installed.
    #[error(
        "{program}, which {} says to ask for credentials, is not on PATH: install it, or take it out of the file",
        path.display()
    )]
    NoHelper {
        /// The program.
        program: String,
        /// The file that names it.
        path: PathBuf,
    },
    /// A helper could not be run.
    #[error("cannot run {}: {source}", program.display())]
    HelperIo {
        /// The program.
        program: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A helper did not do what it was asked.
    #[error("{} {action}: {reason}; run it by hand, with {server} as its input, to see why", program.display())]
    Helper {
        /// The program.
        program: PathBuf,
        /// What it was asked to do.
        action: &'static str,
        /// For which registry.
        server: String,
        /// What it did, and what was expected.
        reason: String,
    },
}
