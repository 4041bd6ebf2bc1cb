//! Credentials for OCI registries, from the files and helpers that container tools share: whoever has logged in with
//! podman, skopeo or docker is logged in here, and the other way round.
//!
//! ```text
//! auth_file   what is in a file: containers-auth.json(5), and docker's config.json
//! whole       reading and replacing such a file
//! helper      docker-credential-NAME, programs that keep credentials elsewhere
//! ```
//!
//! Written here because the crate `docker_credential` knows no keys with a namespace, waits for a helper without limits
//! of time and size, puts what the helper said into its errors, and stores nothing.
//!
//! Invariants:
//! - No secret is in an error, a log, or what `Debug` shows: neither a file's content nor a helper's output.
//! - A file or helper that cannot be used is an error, never "no credentials": going on without would look like a
//!   registry's refusal.
//! - Only the first file is ever written, whole, for its owner alone. What others keep there stays as it is.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

mod auth_file;
mod error;
mod helper;
mod whole;

pub use error::CredentialError;

use auth_file::AuthFile;
use helper::Helpers;

/// The user name by which files and helpers say that the secret beside it is an identity token.
const TOKEN_USER: &str = "<token>";

/// How long a helper may take: it may have to ask a service, or a person to unlock a key.
const HELPER_PATIENCE: Duration = Duration::from_secs(10);

/// A password or token, which is shown to nobody by accident.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a secret in.
    #[must_use]
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself, for the one place that sends or stores it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Secret(redacted)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("redacted")
    }
}

/// What proves to a registry who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A name and a password, or an access token in a password's place.
    Basic {
        /// Who asks.
        user: String,
        /// The password.
        password: Secret,
    },
    /// An OAuth2 refresh token, to be exchanged for access tokens at the registry's token service.
    IdentityToken(Secret),
}

/// Where credentials are looked for.
#[derive(Debug, Clone)]
pub struct Credentials {
    files: Vec<PathBuf>,
    helpers: Helpers,
}

impl Credentials {
    /// The files and the `PATH` that the environment names: `REGISTRY_AUTH_FILE` alone if it is set, else
    /// `$XDG_RUNTIME_DIR/containers/auth.json`, `containers/auth.json` in `$XDG_CONFIG_HOME` or `~/.config`, and
    /// `config.json` in `$DOCKER_CONFIG` or `~/.docker`.
    #[must_use]
    pub fn from_environment() -> Self {
        Self::from_variables(|name| std::env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let home = set("HOME");
        let in_home = |folder| home.as_ref().map(|home| home.join(folder));
        let containers = |folder: PathBuf| folder.join("containers/auth.json");
        let files = match set("REGISTRY_AUTH_FILE") {
            Some(file) => vec![file],
            None => [
                set("XDG_RUNTIME_DIR").map(containers),
                set("XDG_CONFIG_HOME").or_else(|| in_home(".config")).map(containers),
                set("DOCKER_CONFIG").or_else(|| in_home(".docker")).map(|folder| folder.join("config.json")),
            ]
            .into_iter()
            .flatten()
            .collect(),
        };
        Self::from_files(files).with_search_path(variable("PATH").unwrap_or_default())
    }

    /// These files, in this order. No helper is found until [`Self::with_search_path`] says where.
    #[must_use]
    pub fn from_files(files: Vec<PathBuf>) -> Self {
        Self { files, helpers: Helpers { search_path: OsString::new(), patience: HELPER_PATIENCE } }
    }

    /// Looks for helpers in the folders of `search_path`, which is of the form of `PATH`. Relative ones are left out.
    #[must_use]
    pub fn with_search_path(mut self, search_path: impl Into<OsString>) -> Self {
        self.helpers.search_path = search_path.into();
        self
    }

    /// The file that [`Self::store`] and [`Self::remove`] write, or whose helpers they use.
    ///
    /// # Errors
    /// If the environment names none.
    pub fn file(&self) -> Result<&Path, CredentialError> {
        self.files.first().map(PathBuf::as_path).ok_or(CredentialError::NoFile)
    }

    /// The credential for a repository, from the first file that has one. Within a file the helper for the registry
    /// decides; without one the entry with the most specific key (`HOST/NS/REPO`, `HOST/NS`, `HOST`), then the helper
    /// for all registries.
    ///
    /// `registry` is `HOST[:PORT]`, `repository` the name in it, which may be empty. Blocks: a helper may take 10
    /// seconds.
    ///
    /// # Errors
    /// If a file or a helper that had to be asked cannot be.
    pub fn find(&self, registry: &str, repository: &str) -> Result<Option<Credential>, CredentialError> {
        check_registry(registry)?;
        for path in &self.files {
            let file = AuthFile::read(path)?;
            if let Some(name) = file.registry_helper(registry)? {
                // It alone decides, and not for parts of a registry: so does every tool that reads these files.
                if let Some(credential) = self.helpers.named(name, path)?.get(server(registry))? {
                    return Ok(Some(credential));
                }
                continue;
            }
            if let Some(credential) = file.find(registry, repository)? {
                return Ok(Some(credential));
            }
            if let Some(name) = file.default_helper()?
                && let Some(credential) = self.helpers.named(name, path)?.get(server(registry))?
            {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }

    /// Keeps a credential for a whole registry, in place of the one before: in the first file, or in the helper that
    /// it names. Returns that file.
    ///
    /// # Errors
    /// If the file or helper cannot be used, or cannot hold such a user name.
    pub fn store(&self, registry: &str, credential: &Credential) -> Result<PathBuf, CredentialError> {
        check_registry(registry)?;
        check_user(credential)?;
        let path = self.file()?;
        let file = AuthFile::read(path)?;
        match file.helper(registry)? {
            Some(name) => {
                self.helpers.named(name, path)?.store(server(registry), credential)?;
                // What an earlier login left in the file would be found before what the helper keeps.
                if file.has(registry)? {
                    AuthFile::edit(path, |file| file.unset(registry))?;
                }
            }
            None => {
                AuthFile::edit(path, |file| file.set(registry, credential).map(|()| true))?;
            }
        }
        Ok(path.to_owned())
    }

    /// Forgets the credential for a whole registry, in the first file and in the helper that it names. Those for parts
    /// of the registry stay, as do those in other files: other tools keep them. Returns whether there was one.
    ///
    /// # Errors
    /// If the file or helper cannot be used.
    pub fn remove(&self, registry: &str) -> Result<bool, CredentialError> {
        check_registry(registry)?;
        let path = self.file()?;
        let file = AuthFile::read(path)?;
        let mut removed = false;
        if let Some(name) = file.helper(registry)? {
            let helper = self.helpers.named(name, path)?;
            // Most helpers do not tell erasing from having nothing to erase. One that cannot read may still erase.
            if !matches!(helper.get(server(registry)), Ok(None)) {
                removed |= helper.erase(server(registry))?;
            }
        }
        if file.has(registry)? {
            removed |= AuthFile::edit(path, |file| file.unset(registry))?;
        }
        Ok(removed)
    }
}

/// Refuses what is not `HOST[:PORT]`: it becomes a key of files and what helpers are asked for.
///
/// # Errors
/// [`CredentialError::Registry`], which does not repeat the text: a URL can hold a password.
pub fn check_registry(registry: &str) -> Result<(), CredentialError> {
    let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if registry.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '[') && registry.chars().all(is_host)
    {
        Ok(())
    } else {
        Err(CredentialError::Registry)
    }
}

/// Refuses what would be read back as something else.
fn check_user(credential: &Credential) -> Result<(), CredentialError> {
    match credential {
        Credential::Basic { user, .. } if user.is_empty() || user.contains(':') || user == TOKEN_USER => {
            Err(CredentialError::User { user: user.clone() })
        }
        _ => Ok(()),
    }
}

/// Docker Hub's name in files and helpers, as docker writes it and all tools read it.
const DOCKER_HUB: &str = "https://index.docker.io/v1/";

/// What a registry is called where credentials for it are kept.
fn server(registry: &str) -> &str {
    if is_docker_hub(registry) { DOCKER_HUB } else { registry }
}

fn is_docker_hub(host: &str) -> bool {
    matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io")
}

/// Whether a key of a file means the whole of `registry`. Keys can be URLs, whose paths (`/v1/`, `/v2/`) mean nothing.
fn is_key_of(key: &str, registry: &str) -> bool {
    let url = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let host = url.map_or(key, |url| url.split_once('/').map_or(url, |(host, _)| host));
    host == registry || is_docker_hub(host) && is_docker_hub(registry)
}

#[cfg(test)]
mod tests;
