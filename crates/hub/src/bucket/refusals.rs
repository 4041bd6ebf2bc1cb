//! What failures of a store mean to a hub.
//!
//! Source: <https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html>; other stores have codes of their own for being
//! full.

use std::error::Error;
use std::io::ErrorKind;

use super::objects::Objects;
use super::transport::{Problem, Refusal, innermost, problem};
use crate::HubError;
use crate::http::{Failure, no_parts};

impl Objects {
    /// `None` for what is not there.
    pub(super) fn found<T>(&self, result: object_store::Result<T>) -> Result<Option<T>, HubError> {
        let error = match result {
            Ok(value) => return Ok(Some(value)),
            Err(error) => error,
        };
        match problem(&error) {
            // An answer to HEAD has no body, and so no code.
            Some(Problem::Refused(refusal))
                if refusal.status == 404
                    && matches!(refusal.code.as_str(), "" | "NoSuchKey" | "NoSuchUpload") =>
            {
                Ok(None)
            }
            Some(problem) => Err(self.meaning(problem)),
            None => Err(self.malformed("an answer", innermost(&error))),
        }
    }

    /// What an error of the S3 client means.
    pub(super) fn meaning_of(&self, error: &(dyn Error + 'static)) -> HubError {
        match problem(error) {
            Some(problem) => self.meaning(problem),
            None => self.malformed("an answer", innermost(error)),
        }
    }

    pub(super) fn meaning(&self, problem: Problem) -> HubError {
        let Refusal { status, code, message, action } = match problem {
            Problem::Hub(error) => return error,
            Problem::Whole => return no_parts(self.location()),
            Problem::Refused(refusal) => refusal,
        };
        let hub = self.location().to_owned();
        match (status, code.as_str()) {
            (_, "NoSuchBucket") => HubError::NotAHub {
                hub,
                reason: format!(
                    "there is no bucket {}: make it, or correct endpoint and region",
                    self.bucket
                ),
                push_makes_one: false,
            },
            (_, "XMinioStorageFull" | "InsufficientStorage") => full(hub, &action, ErrorKind::StorageFull),
            (_, "QuotaExceeded") => full(hub, &action, ErrorKind::QuotaExceeded),
            // Garage has no code for it.
            (403, "AccessDenied") if message.contains("quota is reached") => {
                full(hub, &action, ErrorKind::QuotaExceeded)
            }
            (_, "AuthorizationHeaderMalformed") => HubError::Malformed {
                hub,
                what: format!("the region {} at {}", self.region, self.endpoint()),
                reason: format!("the store wants another one ({code}): set region=… in the location"),
            },
            (301 | 302 | 303 | 307 | 308, _) | (_, "PermanentRedirect") => {
                let said = [&status.to_string(), code.as_str()].join(" ");
                HubError::Malformed {
                    hub,
                    what: format!("the region {} at {}", self.region, self.endpoint()),
                    reason: format!(
                        "the store sends us elsewhere ({}), where no credential goes by itself: set region=… or endpoint=… \
                         in the location",
                        said.trim()
                    ),
                }
            }
            (401 | 403, _) if self.is_anonymous => {
                HubError::Denied { hub, action: format!("{action} without credentials of AWS's kind") }
            }
            (401 | 403, "") => HubError::Denied { hub, action },
            // What it says besides may name the key.
            (401 | 403, _) => HubError::Denied { hub, action: format!("{action} ({code})") },
            _ => HubError::Malformed {
                hub,
                what: format!("the answer to a request to {action}"),
                reason: format!("its status is {status} {code}: {message}"),
            },
        }
    }

    pub(super) fn malformed(&self, what: &str, reason: String) -> HubError {
        HubError::Malformed { hub: self.location().to_owned(), what: what.to_owned(), reason }
    }

    /// A connection that ended within an object.
    pub(super) fn broke(&self, key: &str, error: &object_store::Error) -> Failure {
        let source = std::io::Error::other(innermost(error));
        let (hub, action) = (self.location().to_owned(), format!("read {key}"));
        Failure::Passing(HubError::Unavailable { hub, action, source }, None)
    }
}

fn full(hub: String, action: &str, what: ErrorKind) -> HubError {
    let key = action.split_once(' ').map_or(action, |(_, key)| key);
    HubError::NoSpace { hub, action: "write", path: key.into(), said: what.into() }
}
