//! Where a hub on a web server is: `https://HOST[:PORT][/PATH]`, or `http://` for one without TLS, because it says so.

use std::fmt;

use format::{HubName, ReferenceError};
use reqwest::Url;

/// Where a hub on a web server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct WebLocation {
    /// Its path ends in `/`.
    base: Url,
}

impl WebLocation {
    /// Whether URLs of this scheme are those of web servers.
    #[must_use]
    pub fn has_scheme(scheme: &str) -> bool {
        matches!(scheme, "https" | "http")
    }

    /// Reads a URL with one of these schemes.
    ///
    /// # Errors
    /// What is wrong with it. The URL is not repeated: it may hold a password.
    pub fn parse(url: &str) -> Result<Self, &'static str> {
        let mut base = Url::parse(url).map_err(|_| "expected https://HOST[:PORT][/PATH]")?;
        if !base.username().is_empty() || base.password().is_some() {
            return Err("a URL holds no password: `spore login HOST` keeps it");
        }
        if base.query().is_some() || base.fragment().is_some() {
            return Err("expected https://HOST[:PORT][/PATH], and neither ? nor #");
        }
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        Ok(Self { base })
    }

    /// The URL that all of the hub's paths lie below.
    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// Host, and port if it is not the scheme's own, as credentials are kept for.
    pub(super) fn host(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        self.base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// How the local names of what comes from there begin, if the hub is all of its host.
    #[must_use]
    pub fn hub_name(&self) -> Option<Result<HubName, ReferenceError>> {
        (self.base.path() == "/").then(|| self.host().parse())
    }
}

impl fmt::Display for WebLocation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.base.as_str();
        out.write_str(text.strip_suffix('/').unwrap_or(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_place_has_one_text() {
        for (text, shown, name) in [
            ("https://hub.example", "https://hub.example", Some("hub.example")),
            ("https://HUB.example:443/", "https://hub.example", Some("hub.example")),
            ("http://hub.lan:8080", "http://hub.lan:8080", Some("hub.lan:8080")),
            ("https://cdn.example/spore/hub/", "https://cdn.example/spore/hub", None),
            ("https://cdn.example/spore/./hub", "https://cdn.example/spore/hub", None),
        ] {
            let location = WebLocation::parse(text).unwrap();
            assert_eq!(location.to_string(), shown);
            assert_eq!(WebLocation::parse(shown).unwrap(), location);
            let found = location.hub_name().map(|name| name.unwrap().to_string());
            assert_eq!(found.as_deref(), name);
        }
    }

    #[test]
    fn what_is_no_place_is_refused() {
        for wrong in ["https://", "https://h?x=1", "https://h/#x", "https://me:s3cret@h/", "https://me@h/"] {
            let reason = WebLocation::parse(wrong).unwrap_err();
            assert!(!reason.contains("s3cret"), "{wrong}: {reason}");
        }
    }
}
