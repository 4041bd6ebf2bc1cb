//! Profiles in the files that AWS's tools share, as far as they hold keys, a region or an endpoint.
//!
//! Source: <https://docs.aws.amazon.com/sdkref/latest/guide/file-format.html>. Nested settings are skipped. A line that is
//! neither is passed over, as AWS's own parsers do. No error shows a line.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::identity::Identity;
use crate::credentials::CredentialError;

/// Bytes of such a file that are read.
pub(super) const FILE_BYTES: u64 = 1 << 20;

/// Which of the two files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Sections are named as the profile.
    Credentials,
    /// Sections are named `profile NAME`, but for `default`.
    Config,
}

/// What the files say of one profile. What the first of them says holds.
pub(super) struct Profile {
    name: String,
    settings: BTreeMap<String, String>,
    files: Vec<PathBuf>,
}

impl Profile {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), settings: BTreeMap::new(), files: Vec::new() }
    }

    pub(super) fn add(&mut self, path: &Path, text: &str, kind: Kind) {
        let mut is_ours = false;
        for line in text.lines() {
            if let Some(section) = line.strip_prefix('[') {
                let name = section.split_once(']').map_or("", |(name, _)| name.trim());
                is_ours = self.is_section(name, kind);
                if is_ours {
                    self.files.push(path.to_owned());
                }
                continue;
            }
            // What is indented belongs to the setting above it.
            let is_setting = is_ours && !line.starts_with([' ', '\t', '#', ';']);
            if let Some((key, value)) = line.split_once('=').filter(|_| is_setting) {
                let (key, value) = (key.trim().to_ascii_lowercase(), without_comment(value));
                self.settings.entry(key).or_insert_with(|| value.to_owned());
            }
        }
    }

    fn is_section(&self, section: &str, kind: Kind) -> bool {
        match (kind, section.strip_prefix("profile").filter(|rest| rest.starts_with([' ', '\t']))) {
            (Kind::Config, Some(name)) => name.trim() == self.name,
            (Kind::Config, None) => section == "default" && self.name == "default",
            (Kind::Credentials, _) => section == self.name,
        }
    }

    pub(super) fn is_there(&self) -> bool {
        !self.files.is_empty()
    }

    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.settings.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Its keys, if it has some.
    pub(super) fn keys(&self) -> Result<Option<Identity>, CredentialError> {
        let malformed = |reason: &str| CredentialError::Profile {
            name: self.name.clone(),
            path: self.files.first().cloned().unwrap_or_default(),
            reason: reason.to_owned(),
        };
        match (self.get("aws_access_key_id"), self.get("aws_secret_access_key")) {
            (Some(id), Some(secret)) => Ok(Some(Identity::Keys {
                id: id.to_owned(),
                secret: secret.to_owned(),
                token: self.get("aws_session_token").map(str::to_owned),
            })),
            (None, None) => {
                let elsewhere = ["role_arn", "sso_session", "sso_start_url", "credential_process"];
                match elsewhere.iter().find(|key| self.get(key).is_some()) {
                    Some(key) => Err(malformed(&format!(
                        "it takes its keys from {key}, which is not known here: put what `aws configure \
                         export-credentials --format env` prints into the environment"
                    ))),
                    None => Ok(None),
                }
            }
            _ => {
                Err(malformed("it has one of aws_access_key_id and aws_secret_access_key without the other"))
            }
        }
    }
}

/// A comment at the end of a line has a blank before it.
fn without_comment(value: &str) -> &str {
    let end = [" #", " ;", "\t#", "\t;"].iter().filter_map(|mark| value.find(mark)).min();
    end.and_then(|end| value.get(..end)).unwrap_or(value).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(name: &str, text: &str, kind: Kind) -> Profile {
        let mut profile = Profile::new(name);
        profile.add(Path::new("file"), text, kind);
        profile
    }

    #[test]
    fn sections_and_settings_are_told_apart() {
        let text = "# c\n[default]\nregion=a # c\ns3 =\n  region = nested\n[ team ]\nRegion = b\n[profile team]\nregion = c#d\n";
        let region = |name, kind| profile(name, text, kind).get("region").map(str::to_owned);
        assert_eq!(region("default", Kind::Config).as_deref(), Some("a"));
        assert_eq!(region("team", Kind::Credentials).as_deref(), Some("b"));
        assert_eq!(region("team", Kind::Config).as_deref(), Some("c#d"));
        assert_eq!(region("other", Kind::Config), None);
    }

    #[test]
    fn what_is_not_known_is_said_and_shows_no_secret() {
        for text in ["[default]\naws_secret_access_key = hush\n", "[default]\ncredential_process = hush\n"] {
            let error = profile("default", text, Kind::Credentials).keys().err().unwrap().to_string();
            assert!(!error.contains("hush") && error.contains("default"), "{error}");
        }
    }
}
