//! What can go wrong with a hub.

use std::io;
use std::path::PathBuf;

use format::Digest;

use crate::credentials::CredentialError;

/// Why a hub did not do what it was asked. What is merely absent is no error: see [`crate::Registry`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// It does not answer, or broke off. Trying again later can help.
    #[error("hub {hub}: cannot {action}: {source}; try again later")]
    Unavailable {
        /// Its location.
        hub: String,
        /// What was being done.
        action: String,
        /// What was reported.
        source: io::Error,
    },
    /// This user may not do that.
    #[error("hub {hub}: permission denied to {action}: log in as, or ask, somebody who may")]
    Denied {
        /// Its location.
        hub: String,
        /// What was being done.
        action: String,
    },
    /// Who is asking cannot be told.
    #[error("hub {hub}: {source}")]
    Credential {
        /// Its location.
        hub: String,
        /// What is wrong with a file or a helper.
        source: Box<CredentialError>,
    },
    /// A file of certificates cannot be used.
    #[error("certificates {}: {reason}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Content is not what its digest or its size says.
    #[error("hub {hub}: {digest} is corrupt: {reason}")]
    Corrupt {
        /// Its location.
        hub: String,
        /// What the content should have been.
        digest: Digest,
        /// What was found.
        reason: String,
    },
    /// There is no hub at its location.
    #[error("hub {hub}: {reason}")]
    NotAHub {
        /// Its location.
        hub: String,
        /// What was found and what was expected.
        reason: String,
        /// Whether nothing is in the way: the first blob that is put makes it a hub.
        push_makes_one: bool,
    },
    /// What is there is not as hubs are.
    #[error("hub {hub}: {what} is not as in a hub: {reason}")]
    Malformed {
        /// Its location.
        hub: String,
        /// The file or the answer.
        what: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// Hubs of this kind cannot do that.
    #[error("hub {hub} cannot {action}")]
    Unsupported {
        /// Its location.
        hub: String,
        /// What was asked for.
        action: String,
    },
    /// Nothing can be put into it from here.
    #[error(
        "hub {hub}: a web server only gives it out: push to the folder or the bucket behind it, or to its registry by oci://"
    )]
    ReadOnly {
        /// Its location.
        hub: String,
    },
    /// The hub's disk or quota is full.
    #[error("hub {hub}: {} to {action} {}: free some there and repeat", store::what_is_full(said), path.display())]
    NoSpace {
        /// Its location.
        hub: String,
        /// What was being done, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What was reported, which this error says in full.
        said: io::Error,
    },
    /// A file or folder of the hub could not be read or written.
    #[error("hub {hub}: cannot {action} {}: {source}", path.display())]
    Io {
        /// Its location.
        hub: String,
        /// What was being done, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// What was to be stored could not be read: the hub is not to blame.
    #[error("cannot read {digest} to send it: {source}")]
    Source {
        /// The blob.
        digest: Digest,
        /// What its source said.
        source: io::Error,
    },
}
