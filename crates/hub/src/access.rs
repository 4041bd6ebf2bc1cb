//! How hubs are spoken to that want to know who asks, or are not to be believed by everybody's authorities.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Certificate;

use crate::HubError;
use crate::bucket::environment::AwsEnvironment;
use crate::credentials::Credentials;
use crate::http::SILENCE_TIMEOUT;
use crate::pem::read_bounded;

/// Whose requests to hubs are, and whom they trust.
#[derive(Debug, Clone)]
pub struct Access {
    /// Where credentials for registries are looked for.
    pub credentials: Credentials,
    /// What tools for AWS are told of buckets' stores, credentials included.
    pub aws: AwsEnvironment,
    /// Certificate authorities that are trusted besides the system's.
    pub authorities: Vec<Certificate>,
    /// Where a registry's own certificates are looked for, in `HOST[:PORT]/`: the first that has such a folder decides.
    pub certificate_folders: Vec<PathBuf>,
    /// How long a hub may say nothing, and take nothing, while it should: 30 s.
    pub silence: Duration,
}

impl Access {
    /// The user's credentials, the system's authorities, and the registries' certificates that podman and docker know.
    #[must_use]
    pub fn from_environment() -> Self {
        let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let own = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
        let own = own.map(|folder| folder.join("containers/certs.d"));
        let shared = ["/etc/containers/certs.d", "/etc/docker/certs.d"].map(PathBuf::from);
        Self {
            aws: AwsEnvironment::from_environment(),
            certificate_folders: own.into_iter().chain(shared).collect(),
            ..Self::of(Credentials::from_environment())
        }
    }

    /// Those, who trusts no other authorities than the system's, and whom nothing was told of buckets.
    #[must_use]
    pub fn of(credentials: Credentials) -> Self {
        Self {
            credentials,
            aws: AwsEnvironment::default(),
            authorities: Vec::new(),
            certificate_folders: Vec::new(),
            silence: SILENCE_TIMEOUT,
        }
    }

    /// Trusts the certificates in a PEM file, too.
    ///
    /// # Errors
    /// If it cannot be read or holds none.
    pub fn trust(&mut self, path: &Path) -> Result<(), HubError> {
        let unusable = |reason| HubError::Authorities { path: path.to_owned(), reason };
        let bytes = read_bounded(path).map_err(|error| unusable(error.to_string()))?;
        let found = Certificate::from_pem_bundle(&bytes).map_err(|error| unusable(error.to_string()))?;
        if found.is_empty() {
            return Err(unusable("it holds no certificate in PEM".to_owned()));
        }
        self.authorities.extend(found);
        Ok(())
    }
}
