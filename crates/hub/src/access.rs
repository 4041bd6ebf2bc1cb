//! How hubs are spoken to that want to know who asks, or are not to be believed by everybody's authorities.

use std::path::Path;

use reqwest::Certificate;

use crate::HubError;
use crate::bucket::AwsEnvironment;
use crate::credentials::Credentials;

/// Most bytes of a file of authorities: the system's own, of all the world, have a quarter of it.
const AUTHORITIES_BYTES: u64 = 1 << 20;

/// Whose requests to hubs are, and whom they trust.
#[derive(Debug, Clone)]
pub struct Access {
    /// Where credentials for registries are looked for.
    pub credentials: Credentials,
    /// What tools for AWS are told of buckets' stores, credentials included.
    pub aws: AwsEnvironment,
    /// Certificate authorities that are trusted besides the system's.
    pub authorities: Vec<Certificate>,
}

impl Access {
    /// The user's credentials, and the system's authorities alone.
    #[must_use]
    pub fn from_environment() -> Self {
        Self {
            credentials: Credentials::from_environment(),
            aws: AwsEnvironment::from_environment(),
            authorities: Vec::new(),
        }
    }

    /// Trusts the certificates in a PEM file, too.
    ///
    /// # Errors
    /// If it cannot be read or holds none.
    pub fn trust(&mut self, path: &Path) -> Result<(), HubError> {
        let unusable = |reason| HubError::Authorities { path: path.to_owned(), reason };
        let read = || {
            use std::io::Read;
            let mut bytes = Vec::new();
            std::fs::File::open(path)?.take(AUTHORITIES_BYTES).read_to_end(&mut bytes)?;
            Ok::<_, std::io::Error>(bytes)
        };
        let bytes = read().map_err(|error| unusable(error.to_string()))?;
        let found = Certificate::from_pem_bundle(&bytes).map_err(|error| unusable(error.to_string()))?;
        if found.is_empty() {
            return Err(unusable("it holds no certificate in PEM".to_owned()));
        }
        self.authorities.extend(found);
        Ok(())
    }
}
