//! The answer to a web server that asks for a password (RFC 7617): what the user has for this host, for this host only.

use std::sync::{Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};

use crate::HubError;
use crate::blocking::blocking;
use crate::credentials::{Credential, Credentials};

/// Who we are to one web server.
#[derive(Debug)]
pub(super) struct Login {
    host: String,
    credentials: Credentials,
    /// What is sent, once the server has asked for it.
    header: Mutex<Option<HeaderValue>>,
}

impl Login {
    pub(super) fn new(host: String, credentials: Credentials) -> Self {
        Self { host, credentials, header: Mutex::default() }
    }

    /// What goes with requests to the server.
    pub(super) fn header(&self) -> Option<HeaderValue> {
        self.header.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes up the challenge of an answer; says whether there is something to answer it with.
    pub(super) async fn take_up(&self, challenge: &HeaderMap) -> Result<bool, HubError> {
        if !asks_for_basic(challenge) {
            return Ok(false);
        }
        let (credentials, host) = (self.credentials.clone(), self.host.clone());
        let found = blocking(move || credentials.find(&host, "")).await;
        let found = found
            .map_err(|source| HubError::Credential { hub: self.host.clone(), source: Box::new(source) })?;
        let Some(Credential::Basic { user, password }) = found else { return Ok(false) };
        let pair = BASE64.encode(format!("{user}:{}", password.expose()));
        let Ok(mut header) = HeaderValue::from_str(&format!("Basic {pair}")) else { return Ok(false) };
        header.set_sensitive(true);
        *self.header.lock().unwrap_or_else(PoisonError::into_inner) = Some(header);
        Ok(true)
    }
}

fn asks_for_basic(headers: &HeaderMap) -> bool {
    let values = headers.get_all(WWW_AUTHENTICATE).into_iter().filter_map(|value| value.to_str().ok());
    let mut challenges = values.filter_map(|value| http_auth::parse_challenges(value).ok()).flatten();
    challenges.any(|challenge| challenge.scheme.eq_ignore_ascii_case("basic"))
}
