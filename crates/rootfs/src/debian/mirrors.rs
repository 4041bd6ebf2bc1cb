//! Where Debian's archives are: for the guest to know, and for us to fetch from.

use std::ffi::OsString;
use std::fmt::Write as _;

use crate::Error;
use crate::recipe::{Component, Mirror, Suite};

/// The archive that a recipe without one means.
const ARCHIVE: &str = "http://deb.debian.org/debian";
/// The security archive that a recipe without one means.
const SECURITY_ARCHIVE: &str = "http://deb.debian.org/debian-security";
/// Variables that say where this host fetches from. They never reach a layer.
const ARCHIVE_VARIABLE: &str = "SPORE_DEBIAN_MIRROR";
const SECURITY_ARCHIVE_VARIABLE: &str = "SPORE_DEBIAN_SECURITY_MIRROR";
/// The keys that Debian signs its archives with.
pub(crate) const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Where packages are fetched from on this host, instead of from Debian's own archives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mirrors {
    /// In place of `http://deb.debian.org/debian`.
    pub archive: Option<Mirror>,
    /// In place of `http://deb.debian.org/debian-security`.
    pub security: Option<Mirror>,
}

impl Mirrors {
    /// The mirrors that `SPORE_DEBIAN_MIRROR` and `SPORE_DEBIAN_SECURITY_MIRROR` name.
    ///
    /// # Errors
    /// If one of them is no URL.
    pub fn from_environment() -> Result<Self, Error> {
        Self::from_variables(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
    }

    /// The same, of whoever knows what the variables say. Empty is not set.
    ///
    /// # Errors
    /// If one of them is no URL.
    pub fn from_variables(set: impl Fn(&str) -> Option<OsString>) -> Result<Self, Error> {
        let read = |variable| match set(variable) {
            None => Ok(None),
            Some(value) => {
                let value = value.to_string_lossy().trim_end_matches('/').to_owned();
                value.parse().map(Some).map_err(|_| Error::MirrorVariable { variable, value })
            }
        };
        Ok(Self { archive: read(ARCHIVE_VARIABLE)?, security: read(SECURITY_ARCHIVE_VARIABLE)? })
    }

    /// These mirrors where the recipe names none: what the recipe says comes first.
    pub(crate) fn unless(&self, archive: Option<&Mirror>, security: Option<&Mirror>) -> Self {
        Self {
            archive: archive.or(self.archive.as_ref()).cloned(),
            security: security.or(self.security.as_ref()).cloned(),
        }
    }

    /// The lines of a `sources.list` for a suite with its updates and security suites.
    pub(crate) fn sources(&self, suite: &Suite, components: &[Component], options: &str) -> String {
        let archive = self.archive.as_ref().map_or(ARCHIVE, Mirror::as_str);
        let security = self.security.as_ref().map_or(SECURITY_ARCHIVE, Mirror::as_str);
        let mut suites = vec![(archive, suite.to_string())];
        if !suite.is_backports() && !suite.is_rolling() {
            suites.push((archive, format!("{suite}-updates")));
            suites.push((security, format!("{suite}-security")));
        }
        let components: Vec<_> = components.iter().map(Component::as_str).collect();
        let components = components.join(" ");
        suites.into_iter().fold(String::new(), |mut lines, (mirror, suite)| {
            writeln!(lines, "deb {options}{mirror} {suite} {components}").ok();
            lines
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(mirrors: &Mirrors, suite: &str) -> String {
        mirrors.sources(&suite.parse().unwrap(), &["main".parse().unwrap()], "")
    }

    #[test]
    fn stable_suites_have_updates_and_security() {
        assert_eq!(
            sources(&Mirrors::default(), "bookworm"),
            "deb http://deb.debian.org/debian bookworm main\n\
             deb http://deb.debian.org/debian bookworm-updates main\n\
             deb http://deb.debian.org/debian-security bookworm-security main\n"
        );
        assert_eq!(
            sources(&Mirrors::default(), "bookworm-backports"),
            "deb http://deb.debian.org/debian bookworm-backports main\n"
        );
    }

    #[test]
    fn the_recipe_comes_before_the_host() {
        let (near, own): (Mirror, Mirror) =
            ("http://near/debian".parse().unwrap(), "http://own/d".parse().unwrap());
        let host = Mirrors { archive: Some(near), security: None };
        assert_eq!(sources(&host.unless(Some(&own), None), "sid"), "deb http://own/d sid main\n");
        assert_eq!(sources(&host.unless(None, None), "sid"), "deb http://near/debian sid main\n");
    }
}
