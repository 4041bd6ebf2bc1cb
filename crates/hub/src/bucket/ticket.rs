//! Tickets: what somebody without credentials needs to push one snapshot into a bucket, and using one.
//!
//! ```json
//! {"version": 0, "hub": "s3://…", "name": "team/numpy", "tag": "1", "snapshot": "sha256:…", "expires": "2027-01-01T00:00:00Z",
//!  "blobs": [{"digest": "sha256:…", "size": 1, "method": "PUT", "url": "https://…", "headers": {"content-length": "1", …}}, …],
//!  "manifests": [two of them], "tagged": one or null}
//! ```
//!
//! Invariants:
//! - A ticket is as good as a password until it ends: no error, no log and no `Debug` shows one of its URLs.
//! - It is believed no further than it must be: it is bounded, says nothing but what bytes of this snapshot to put where, and
//!   sets no header but those that [`HEADERS`] names.
//! - Blobs go first, then the manifest, then the tag, as in every push.

use std::collections::BTreeMap;
use std::fmt;

use format::{Digest, Manifest, ManifestError, Name, Tag};
use jiff::Timestamp;
use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::{HubError, PushError, RawManifest};

mod push;

pub use push::TicketPush;

/// Bytes of a ticket at most: a kilobyte for each blob that the largest manifest lists.
pub const TICKET_BYTES: usize = 64 << 20;
/// What a ticket may set, all of which is signed.
const HEADERS: &[&str] = &["cache-control", "content-length", "content-type", "x-amz-checksum-sha256"];

/// One object that may be put.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedPut {
    /// The digest of its bytes.
    pub digest: Digest,
    /// How many they are.
    pub size: u64,
    /// `PUT`.
    pub method: String,
    /// Where to. A secret.
    pub url: String,
    /// The headers that were signed, by their names in lower case.
    pub headers: BTreeMap<String, String>,
}

/// What one push may put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// [`Ticket::VERSION`].
    pub version: u32,
    /// The hub's location.
    pub hub: String,
    /// The name there.
    pub name: Name,
    /// The tag there, if there is to be one.
    pub tag: Option<Tag>,
    /// The snapshot.
    pub snapshot: Digest,
    /// When the signatures end.
    pub expires: Timestamp,
    /// The blobs that the hub lacks; the config is the last of them.
    pub blobs: Vec<SignedPut>,
    /// The manifest, among the blobs and by its digest.
    pub manifests: Vec<SignedPut>,
    /// The manifest by its tag.
    pub tagged: Option<SignedPut>,
}

/// Why a ticket could not be made, or could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// It is no ticket.
    #[error("it is not a ticket: {reason}; expected what `spore push --presign` wrote")]
    Malformed {
        /// What was found.
        reason: String,
    },
    /// It is for another snapshot.
    #[error("the ticket is for the snapshot {expected}, not for {found}")]
    Other {
        /// The ticket's.
        expected: Digest,
        /// The one that was to be pushed.
        found: Digest,
    },
    /// It has ended.
    #[error("the ticket ended at {at}: ask for another one")]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// The store does not take what the ticket allows.
    #[error("hub {hub}: it refused {what} with {status} {code}: the ticket may have ended, or been changed")]
    Refused {
        /// The hub's location.
        hub: String,
        /// What was sent.
        what: String,
        /// The status.
        status: u16,
        /// S3's code.
        code: String,
    },
    /// Nobody signs for so long.
    #[error("a ticket is good for 1 second to 84 hours, which is half of what prune waits for")]
    Lifetime,
    /// What is to be pushed is no snapshot.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The hub failed.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The snapshot cannot be sent.
    #[error(transparent)]
    Push(#[from] PushError),
}

impl SignedPut {
    pub(super) const METHOD: &str = "PUT";

    fn check(&self) -> Result<(), TicketError> {
        let malformed = |reason: String| Err(TicketError::Malformed { reason });
        if self.method != Self::METHOD {
            return malformed(format!("it is to {:?} the object {}", self.method, self.digest));
        }
        if self.headers.keys().any(|name| !HEADERS.contains(&name.as_str())) {
            return malformed(format!(
                "it sets other headers for {} than {}",
                self.digest,
                HEADERS.join(", ")
            ));
        }
        if self.headers.get("content-length") != Some(&self.size.to_string()) {
            return malformed(format!("the length that was signed for {} is not its size", self.digest));
        }
        let is_http = Url::parse(&self.url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if is_http { Ok(()) } else { malformed(format!("it has no URL of HTTP for {}", self.digest)) }
    }
}

impl fmt::Debug for SignedPut {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "SignedPut({}, {} bytes)", self.digest, self.size)
    }
}

impl Ticket {
    /// The only version that there is.
    pub const VERSION: u32 = 0;

    /// Reads a ticket.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(bytes: &[u8]) -> Result<Self, TicketError> {
        if bytes.len() > TICKET_BYTES {
            let reason = format!("it has more than {TICKET_BYTES} bytes");
            return Err(TicketError::Malformed { reason });
        }
        // Where it is wrong is said, but not what stands there.
        let ticket: Self = serde_json::from_slice(bytes).map_err(|error| TicketError::Malformed {
            reason: format!("line {}, column {} is not as in a ticket", error.line(), error.column()),
        })?;
        if ticket.version != Self::VERSION {
            let reason = format!("it has version {}, and only {} is known", ticket.version, Self::VERSION);
            return Err(TicketError::Malformed { reason });
        }
        ticket.puts().try_for_each(SignedPut::check)?;
        Ok(ticket)
    }

    fn puts(&self) -> impl Iterator<Item = &SignedPut> {
        self.blobs.iter().chain(&self.manifests).chain(&self.tagged)
    }

    /// Whether it is for this snapshot, and lists nothing else.
    fn check_fits(&self, manifest: &Manifest, raw: &RawManifest) -> Result<(), TicketError> {
        if self.snapshot != raw.digest() {
            return Err(TicketError::Other { expected: self.snapshot, found: raw.digest() });
        }
        let malformed = |reason: String| Err(TicketError::Malformed { reason });
        if let Some(put) =
            self.blobs.iter().find(|put| manifest.find(&put.digest).is_none_or(|blob| blob.size != put.size))
        {
            return malformed(format!("the snapshot has no blob {} of {} bytes", put.digest, put.size));
        }
        let size = raw.bytes().len() as u64;
        let is_manifest = |put: &SignedPut| put.digest == raw.digest() && put.size == size;
        if !self.manifests.iter().chain(&self.tagged).all(is_manifest) {
            return malformed("it is to put something else in the manifest's place".to_owned());
        }
        Ok(())
    }

    /// Bytes that it lets its holder send, manifests not counted.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.blobs.iter().fold(0, |sum, put| sum.saturating_add(put.size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(change: impl FnOnce(&mut SignedPut)) -> SignedPut {
        let headers = [("content-length".to_owned(), "1".to_owned())].into();
        let url = "https://s3.example/hush?X-Amz-Signature=hush".to_owned();
        let mut put = SignedPut { digest: Digest::of(b"x"), size: 1, method: "PUT".into(), url, headers };
        change(&mut put);
        put
    }

    fn ticket(blob: SignedPut) -> Ticket {
        Ticket {
            version: 0,
            hub: "s3://hub".into(),
            name: "numpy".parse().unwrap(),
            tag: None,
            snapshot: Digest::of(b"manifest"),
            expires: "2027-01-01T00:00:00Z".parse().unwrap(),
            blobs: vec![blob],
            manifests: Vec::new(),
            tagged: None,
        }
    }

    #[test]
    fn a_ticket_is_checked_when_it_is_read() {
        let parse = |ticket: &Ticket| Ticket::parse(&serde_json::to_vec(ticket).unwrap());
        let good = ticket(put(|_| ()));
        assert_eq!(parse(&good).unwrap(), good);
        let wrong: [fn(&mut SignedPut); 5] = [
            |put| put.method = "DELETE".into(),
            |put| put.url = "file:///etc/hush".into(),
            |put| put.size = 2,
            |put| put.headers.clear(),
            |put| drop(put.headers.insert("authorization".into(), "hush".into())),
        ];
        for change in wrong {
            let error = parse(&ticket(put(change))).unwrap_err().to_string();
            assert!(!error.contains("hush"), "{error}");
        }
        assert!(parse(&Ticket { version: 1, ..good.clone() }).is_err());
        let error = Ticket::parse(b"{\"url\": \"https://hush\"}").unwrap_err().to_string();
        assert!(!error.contains("hush"), "{error}");
        assert!(!format!("{good:?}").contains("hush"));
    }
}
