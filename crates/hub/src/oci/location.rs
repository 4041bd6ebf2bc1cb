//! Where a registry is: `oci://HOST[:PORT][/PREFIX]`.
//!
//! `oci://` is TLS, but plain HTTP where the host is this machine; `oci+https://` and `oci+http://` say which.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use format::{HubName, Name, ReferenceError};
use reqwest::Url;

/// Where a registry is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OciLocation {
    transport: Transport,
    host: HubName,
    /// What all names there begin with.
    pub(crate) prefix: Option<Name>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Transport {
    /// TLS, unless it is this machine.
    Usual,
    Tls,
    Plain,
}

impl Transport {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Usual, "oci"), (Self::Tls, "oci+https"), (Self::Plain, "oci+http")];
}

impl OciLocation {
    /// The registry that a reference names by its host.
    #[must_use]
    pub fn of_host(host: HubName) -> Self {
        Self { transport: Transport::Usual, host, prefix: None }
    }

    /// Reads what follows `scheme://`; `None` if the scheme is none of a registry.
    #[must_use]
    pub fn parse(scheme: &str, rest: &str) -> Option<Result<Self, ReferenceError>> {
        let (transport, _) = Transport::ALL.into_iter().find(|(_, name)| *name == scheme)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (host, prefix) = rest.split_once('/').map_or((rest, None), |(host, prefix)| (host, Some(prefix)));
        let parsed = || {
            let prefix = prefix.map(Name::from_str).transpose()?;
            Ok(Self { transport, host: host.parse()?, prefix })
        };
        Some(parsed())
    }

    /// Host and port.
    #[must_use]
    pub fn host(&self) -> &HubName {
        &self.host
    }

    /// What all names there begin with.
    #[must_use]
    pub fn prefix(&self) -> Option<&Name> {
        self.prefix.as_ref()
    }

    /// The registry in whole, and its one repository that is meant, if this is meant to be one.
    #[must_use]
    pub fn into_repository(self) -> (Self, Option<Name>) {
        let Self { transport, host, prefix } = self;
        (Self { transport, host, prefix: None }, prefix)
    }

    pub(super) fn is_secure(&self) -> bool {
        match self.transport {
            Transport::Tls => true,
            Transport::Plain => false,
            Transport::Usual => !self.is_this_machine(),
        }
    }

    fn is_this_machine(&self) -> bool {
        let host = self.host.as_str();
        let host = host.split_once(':').map_or(host, |(host, _)| host);
        host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// The root of its API.
    pub(super) fn base(&self) -> Result<Url, url::ParseError> {
        let scheme = if self.is_secure() { "https" } else { "http" };
        let host = match self.host.as_str() {
            // The name that people know it by is that of its web site.
            "docker.io" => "registry-1.docker.io",
            host => host,
        };
        Url::parse(&format!("{scheme}://{host}/v2/"))
    }
}

impl fmt::Display for OciLocation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = Transport::ALL.into_iter().find(|(transport, _)| *transport == self.transport);
        write!(out, "{}://{}", scheme.map_or("oci", |(_, name)| name), self.host)?;
        self.prefix.iter().try_for_each(|prefix| write!(out, "/{prefix}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<OciLocation, ReferenceError> {
        let (scheme, rest) = text.split_once("://").unwrap();
        OciLocation::parse(scheme, rest).unwrap()
    }

    #[test]
    fn tls_is_used_but_for_this_machine() {
        for (text, base) in [
            ("oci://hub.example", "https://hub.example/v2/"),
            ("oci://hub.example:5000/team", "https://hub.example:5000/v2/"),
            ("oci://docker.io/team", "https://registry-1.docker.io/v2/"),
            ("oci://localhost:5000", "http://localhost:5000/v2/"),
            ("oci://127.0.0.1:5000", "http://127.0.0.1:5000/v2/"),
            ("oci://localhost.example", "https://localhost.example/v2/"),
            ("oci+http://hub.example", "http://hub.example/v2/"),
            ("oci+https://localhost:5000", "https://localhost:5000/v2/"),
        ] {
            let location = parse(text).unwrap();
            assert_eq!(location.base().unwrap().as_str(), base);
            assert_eq!(location.to_string(), text);
        }
        assert_eq!(parse("oci://hub.example/a/b/").unwrap().prefix().unwrap().as_str(), "a/b");
    }

    #[test]
    fn what_is_no_registry_is_refused() {
        assert!(OciLocation::parse("s3", "bucket").is_none());
        for wrong in [
            "oci://",
            "oci:///a",
            "oci://user@host",
            "oci://host/A",
            "oci://host:0",
            "oci://host?x",
            "oci://h#f",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
