//! What tests of this and other crates need: a small snapshot, a blob in memory, a real registry, and a network that
//! can be broken at will.
//!
//! Servers listen on loopback only and end with what started them. Nothing here returns errors of its own making: what
//! cannot be set up panics, saying why.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod background;
pub mod garage;
mod head;
mod process;
pub mod proxy;
pub mod registry;
mod sample;
pub mod token;

pub use sample::{Failing, MemorySource, Sample, SampleSpec, put_sample};

/// Nobody, who trusts the system's authorities alone.
#[must_use]
pub fn no_access() -> crate::Access {
    crate::Access {
        credentials: crate::credentials::Credentials::from_files(Vec::new()),
        aws: crate::bucket::AwsEnvironment::default(),
        authorities: Vec::new(),
    }
}

/// Makes a blob of a bucket young again, however young it is.
///
/// # Errors
/// If the store does not.
pub async fn renew_blob(
    location: &crate::bucket::BucketLocation,
    access: &crate::Access,
    digest: &format::Digest,
) -> Result<(), crate::HubError> {
    crate::bucket::BucketHub::new(location, access)?.renew(digest).await
}
