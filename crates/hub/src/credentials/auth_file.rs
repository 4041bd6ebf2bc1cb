//! What is in a file of credentials: containers-auth.json(5), and docker's config.json, which holds other settings too.
//!
//! ```json
//! { "auths": { "KEY": { "auth": "base64 of USER:PASSWORD", "identitytoken": "…" } },
//!   "credHelpers": { "HOST": "NAME" },
//!   "credsStore": "NAME" }
//! ```
//!
//! It is kept as JSON, not as a type of ours, so that all that is not understood is written back.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::whole::{self, Replacing};
use super::{Credential, CredentialError, Secret, TOKEN_USER, is_key_of, server};

/// A file's content.
pub(super) struct AuthFile {
    path: PathBuf,
    root: Map<String, Value>,
}

impl AuthFile {
    /// Reads a file. One that is not there, or has nothing in it, holds no credentials.
    pub(super) fn read(path: &Path) -> Result<Self, CredentialError> {
        let bytes = whole::read(path)?.unwrap_or_default();
        let empty = Self { path: path.to_owned(), root: Map::new() };
        if bytes.trim_ascii().is_empty() {
            return Ok(empty);
        }
        match serde_json::from_slice(&bytes) {
            Ok(Value::Object(root)) => Ok(Self { root, ..empty }),
            Ok(_) => Err(empty.malformed("expected a JSON object")),
            // The parser's own message can repeat what it met.
            Err(error) => Err(empty.malformed(format!(
                "expected JSON: it is broken at line {}, column {}",
                error.line(),
                error.column()
            ))),
        }
    }

    /// Replaces the file by what `change` makes of it, if that says that it changed anything, which is returned.
    pub(super) fn edit(
        path: &Path,
        change: impl FnOnce(&mut Self) -> Result<bool, CredentialError>,
    ) -> Result<bool, CredentialError> {
        let replacing = Replacing::begin(path)?;
        let mut file = Self::read(path)?;
        let changed = change(&mut file)?;
        if changed {
            replacing.finish(&file.encode()?)?;
        }
        Ok(changed)
    }

    /// As docker and podman write it, for those who keep it under version control.
    fn encode(&self) -> Result<Vec<u8>, CredentialError> {
        let mut bytes = Vec::new();
        let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        self.root
            .serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, tabs))
            .map_err(|_| self.malformed("expected what can be written as JSON"))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The helper for this registry, or else for all.
    pub(super) fn helper(&self, registry: &str) -> Result<Option<&str>, CredentialError> {
        Ok(self.registry_helper(registry)?.or(self.default_helper()?))
    }

    /// The helper for this registry.
    pub(super) fn registry_helper(&self, registry: &str) -> Result<Option<&str>, CredentialError> {
        let Some(helpers) = self.object(&self.root, "credHelpers")? else { return Ok(None) };
        let key = keys_of(helpers, registry).next();
        key.map_or(Ok(None), |key| self.text(helpers, key, "credHelpers"))
    }

    /// The helper for all registries.
    pub(super) fn default_helper(&self) -> Result<Option<&str>, CredentialError> {
        self.text(&self.root, "credsStore", "the file")
    }

    /// The credential with the most specific key.
    pub(super) fn find(
        &self,
        registry: &str,
        repository: &str,
    ) -> Result<Option<Credential>, CredentialError> {
        let Some(auths) = self.auths()? else { return Ok(None) };
        let mut part = repository;
        while !part.is_empty() {
            if let Some(credential) = self.credential(auths, &format!("{registry}/{part}"))? {
                return Ok(Some(credential));
            }
            part = part.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
        for key in keys_of(auths, registry) {
            if let Some(credential) = self.credential(auths, key)? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }

    /// Whether there is an entry for the whole registry, be it an empty one.
    pub(super) fn has(&self, registry: &str) -> Result<bool, CredentialError> {
        Ok(self.auths()?.is_some_and(|auths| keys_of(auths, registry).next().is_some()))
    }

    /// Makes this the one entry for the whole registry.
    pub(super) fn set(&mut self, registry: &str, credential: &Credential) -> Result<(), CredentialError> {
        self.unset(registry)?;
        let entry = match credential {
            Credential::Basic { user, password } => {
                json!({ "auth": BASE64.encode(format!("{user}:{}", password.expose())) })
            }
            // podman passes over entries without a user in `auth`.
            Credential::IdentityToken(token) => json!({
                "auth": BASE64.encode(format!("{TOKEN_USER}:")),
                "identitytoken": token.expose(),
            }),
        };
        let auths = self.root.entry("auths").or_insert(Value::Null);
        if auths.is_null() {
            *auths = json!({});
        }
        if let Value::Object(auths) = auths {
            auths.insert(server(registry).to_owned(), entry);
        }
        Ok(())
    }

    /// Removes all entries for the whole registry. Returns whether there was one.
    pub(super) fn unset(&mut self, registry: &str) -> Result<bool, CredentialError> {
        let found = self.has(registry)?;
        if let Some(Value::Object(auths)) = self.root.get_mut("auths") {
            auths.retain(|key, _| !is_key_of(key, registry));
        }
        Ok(found)
    }

    fn auths(&self) -> Result<Option<&Map<String, Value>>, CredentialError> {
        self.object(&self.root, "auths")
    }

    /// The credential of an entry. Docker leaves empty ones where a helper keeps the credential.
    fn credential(
        &self,
        auths: &Map<String, Value>,
        key: &str,
    ) -> Result<Option<Credential>, CredentialError> {
        let Some(entry) = self.object(auths, key)? else { return Ok(None) };
        let place = format!("the entry for {key}");
        if let Some(token) = self.text(entry, "identitytoken", &place)? {
            return Ok(Some(Credential::IdentityToken(Secret::new(token))));
        }
        let Some(auth) = self.text(entry, "auth", &place)? else { return Ok(None) };
        let decoded = BASE64.decode(auth).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let (user, password) = decoded
            .as_deref()
            .and_then(|text| text.split_once(':'))
            .ok_or_else(|| self.malformed(format!("{place}: expected auth to be base64 of USER:PASSWORD")))?;
        Ok(Some(Credential::Basic { user: user.to_owned(), password: Secret::new(password) }))
    }

    /// A member that is an object. Absent and null are the same.
    fn object<'a>(
        &self,
        parent: &'a Map<String, Value>,
        key: &str,
    ) -> Result<Option<&'a Map<String, Value>>, CredentialError> {
        match parent.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(self.malformed(format!("expected {key} to be an object"))),
        }
    }

    /// A member that is a text. Absent, null and empty are the same.
    fn text<'a>(
        &self,
        parent: &'a Map<String, Value>,
        key: &str,
        place: &str,
    ) -> Result<Option<&'a str>, CredentialError> {
        match parent.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            Some(_) => Err(self.malformed(format!("{place}: expected {key} to be a string"))),
        }
    }

    fn malformed(&self, reason: impl Into<String>) -> CredentialError {
        CredentialError::Malformed { path: self.path.clone(), reason: reason.into() }
    }
}

/// The keys that mean the whole of `registry`, its plain name first.
fn keys_of<'a>(map: &'a Map<String, Value>, registry: &'a str) -> impl Iterator<Item = &'a str> {
    let exact = map.get_key_value(registry).map(|(key, _)| key.as_str());
    let others = map.keys().map(String::as_str);
    exact.into_iter().chain(others.filter(move |key| *key != registry && is_key_of(key, registry)))
}
