//! What stands above a catalogue: its title, and where pullers find the hub.

use url::Url;

use crate::{CatalogError, Text};

/// Schemes of what `spore pull --hub` reads from elsewhere.
const SCHEMES: &[&str] = &["https", "http", "oci", "oci+http", "oci+https", "s3"];
/// Bytes of a location.
const LOCATION_BYTES: usize = 2048;

/// A catalogue's title, and the hub's location as others are to give it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    title: Text,
    /// The location, as a word of a shell.
    word: String,
    hub: String,
}

impl Heading {
    /// For the hub at its own location.
    ///
    /// # Errors
    /// [`CatalogError::Location`] if no command can name it.
    pub fn new(title: &str, hub: &str) -> Result<Self, CatalogError> {
        let invalid = |reason| CatalogError::Location { text: Text::new(hub), reason };
        if hub.is_empty() || hub.len() > LOCATION_BYTES || hub.contains(char::is_control) {
            return Err(invalid("expected 1 to 2048 bytes without control characters"));
        }
        let word = shlex::try_quote(hub).map_err(|_| invalid("no shell could be given it"))?.into_owned();
        Ok(Self { title: Text::new(title), word, hub: hub.to_owned() })
    }

    /// For a hub that others find at `url`.
    ///
    /// # Errors
    /// [`CatalogError::Location`] if it is no URL of a hub, or has anything secret in it.
    pub fn at_url(title: &str, url: &str) -> Result<Self, CatalogError> {
        let invalid = |reason| CatalogError::Location { text: Text::new(url), reason };
        let Ok(parsed) = Url::parse(url) else {
            return Err(invalid("expected a URL such as https://hub.example"));
        };
        if !SCHEMES.contains(&parsed.scheme()) {
            return Err(invalid("expected https://, http://, oci:// or s3://"));
        }
        if !parsed.has_host() {
            return Err(invalid("it names no host"));
        }
        // Not repeated in the error either.
        if !parsed.username().is_empty() || parsed.password().is_some() {
            let text = Text::new(parsed.scheme());
            return Err(CatalogError::Location { text, reason: "a URL with credentials is not published" });
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            let text = Text::new(parsed.host_str().unwrap_or_default());
            return Err(CatalogError::Location { text, reason: "a URL with ? or # is not published" });
        }
        Self::new(title, url.trim_end_matches('/'))
    }

    pub(crate) fn title(&self) -> &Text {
        &self.title
    }

    /// The hub's location.
    #[must_use]
    pub fn hub(&self) -> &str {
        &self.hub
    }

    /// The command that pulls `reference`, which consists of a name's, a tag's and a digest's characters only.
    pub(crate) fn pull(&self, reference: &str) -> String {
        format!("spore pull --hub {} {reference}", self.word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_can_be_given_to_a_shell() {
        let pull = |hub: &str| Heading::new("", hub).unwrap().pull("a:1");
        assert_eq!(pull("https://hub.example/x"), "spore pull --hub https://hub.example/x a:1");
        assert_eq!(pull("/srv/a b"), "spore pull --hub '/srv/a b' a:1");
        assert_eq!(pull("/srv/$(reboot)"), "spore pull --hub '/srv/$(reboot)' a:1");
        assert_eq!(pull("/srv/it's"), "spore pull --hub \"/srv/it's\" a:1");
    }

    #[test]
    fn what_is_no_public_location_is_refused() {
        for (url, reason) in [
            ("hub.example", "expected a URL"),
            ("javascript:alert(1)", "expected https://"),
            ("file:///srv/hub", "expected https://"),
            ("https://user:secret@hub.example", "credentials"),
            ("https://user@hub.example", "credentials"),
            ("https://hub.example/?X-Amz-Signature=secret", "?"),
            ("https://hub.example/#x", "#"),
        ] {
            let error = Heading::at_url("", url).unwrap_err().to_string();
            assert!(error.contains(reason) && !error.contains("secret"), "{url}: {error}");
        }
        assert!(Heading::new("", "/srv/a\nb").is_err());
        assert!(Heading::new("", "").is_err());
        for url in
            ["https://hub.example/", "oci://hub.example/team", "s3://bucket/path", "http://localhost:80"]
        {
            assert_eq!(Heading::at_url("", url).unwrap().hub(), url.trim_end_matches('/'));
        }
    }
}
