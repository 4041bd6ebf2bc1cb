//! The configuration file: its keys, and what may stand there.

use std::collections::BTreeMap;
use std::ffi::OsString;

use clap::ValueEnum;
use format::HubName;
use hub::HubLocation;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use toml::Spanned;

use super::Hub;
use crate::error::CliError;
use crate::options::{FORMAT_VARIABLE, LOG_FORMAT_VARIABLE, QUIET_VARIABLE, ROOT_VARIABLE};
use crate::output::{Format, LogFormat};

/// A name that the configuration gives a hub. As the first component of a reference it is told from a name's
/// component only by being configured.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Alias(pub(super) HubName);

impl TryFrom<String> for Alias {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_label = text.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
        match text.parse::<HubName>() {
            Ok(name) if is_label && !name.is_local() && text != "localhost" => Ok(Self(name)),
            _ => {
                Err(format!("{text:?} is not an alias: expected a-z 0-9 -, and neither local nor localhost"))
            }
        }
    }
}

impl From<Alias> for String {
    fn from(alias: Alias) -> Self {
        alias.0.to_string()
    }
}

/// Where a hub is, and where its mirrors are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "OneOrMany")]
pub(crate) struct Locations {
    pub(crate) hub: String,
    /// In the order in which they are asked.
    pub(crate) mirrors: Vec<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl TryFrom<OneOrMany> for Locations {
    type Error = String;

    fn try_from(text: OneOrMany) -> Result<Self, Self::Error> {
        let mut all = match text {
            OneOrMany::One(hub) => vec![hub],
            OneOrMany::Many(all) => all,
        };
        if all.is_empty() {
            return Err("a hub needs a location".to_owned());
        }
        all.iter().try_for_each(|location| check_location(location))?;
        let mirrors = all.split_off(1);
        Ok(Self { hub: all.remove(0), mirrors })
    }
}

impl Locations {
    /// The hub's, then its mirrors'.
    pub(crate) fn all(&self) -> impl Iterator<Item = &String> {
        std::iter::once(&self.hub).chain(&self.mirrors)
    }

    pub(super) fn parsed(&self, name: HubName) -> Result<Hub, CliError> {
        let mirrors = self.mirrors.iter().map(|mirror| HubLocation::parse(mirror));
        let mirrors = mirrors.collect::<Result<_, _>>()?;
        Ok(Hub { name, location: HubLocation::parse(&self.hub)?, mirrors })
    }
}

/// What the file says. Values are as the variables have them that they stand for.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct File {
    pub(super) default_hub: Option<Spanned<String>>,
    pub(super) hubs: BTreeMap<Alias, Locations>,
    #[serde(deserialize_with = "path")]
    root: Option<String>,
    #[serde(deserialize_with = "choice::<Format, _>")]
    format: Option<String>,
    quiet: Option<bool>,
    log: Option<String>,
    #[serde(deserialize_with = "choice::<LogFormat, _>")]
    log_format: Option<String>,
    #[serde(deserialize_with = "path")]
    ca_file: Option<String>,
    #[serde(deserialize_with = "path")]
    qemu: Option<String>,
    #[serde(deserialize_with = "paths")]
    qemu_data: Option<String>,
    #[serde(deserialize_with = "accelerator")]
    accel: Option<String>,
    #[serde(deserialize_with = "url")]
    debian_mirror: Option<String>,
    #[serde(deserialize_with = "url")]
    debian_security_mirror: Option<String>,
}

impl File {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    /// Refuses a default hub that is none, in a file with this text.
    pub(super) fn check(&self, text: &str) -> Result<(), String> {
        let Some(hub) = &self.default_hub else { return Ok(()) };
        let before = text.get(..hub.span().start).unwrap_or_default();
        let line = 1 + before.matches('\n').count();
        self.check_default(hub.get_ref()).map_err(|reason| format!("line {line}: default_hub: {reason}"))
    }

    /// Refuses a relative folder: a push to a mistyped alias would make one, wherever it is run.
    pub(super) fn check_default(&self, hub: &str) -> Result<(), String> {
        if self.hubs.keys().any(|alias| alias.0.as_str() == hub) {
            return Ok(());
        }
        check_location(hub).map_err(|error| format!("{error}, and no alias in [hubs] either"))
    }

    /// What it says in place of variables, by their names.
    pub(super) fn values(&self) -> BTreeMap<&'static str, OsString> {
        let quiet = self.quiet.map(|quiet| quiet.to_string());
        let values = [
            (ROOT_VARIABLE, &self.root),
            (FORMAT_VARIABLE, &self.format),
            (QUIET_VARIABLE, &quiet),
            ("SPORE_LOG", &self.log),
            (LOG_FORMAT_VARIABLE, &self.log_format),
            ("SPORE_CA_FILE", &self.ca_file),
            ("SPORE_QEMU", &self.qemu),
            ("SPORE_QEMU_DATA", &self.qemu_data),
            ("SPORE_ACCEL", &self.accel),
            ("SPORE_DEBIAN_MIRROR", &self.debian_mirror),
            ("SPORE_DEBIAN_SECURITY_MIRROR", &self.debian_security_mirror),
        ];
        let said = |(name, value): (_, &Option<String>)| Some((name, OsString::from(value.as_ref()?)));
        values.into_iter().filter_map(said).collect()
    }
}

fn check_location(text: &str) -> Result<(), String> {
    if text.starts_with('/') || text.contains("://") {
        return Ok(());
    }
    Err(format!("{text:?} is neither an absolute path nor a URL"))
}

/// A relative path would be another file in each working directory.
fn check_path(text: &str) -> Result<(), String> {
    if text.starts_with('/') { Ok(()) } else { Err(format!("{text:?} is not an absolute path")) }
}

fn checked<'de, D: Deserializer<'de>>(
    from: D,
    check: impl Fn(&str) -> Result<(), String>,
) -> Result<Option<String>, D::Error> {
    let text = String::deserialize(from)?;
    check(&text).map_err(D::Error::custom)?;
    Ok(Some(text))
}

fn path<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    checked(from, check_path)
}

/// Folders, as a variable lists them.
fn paths<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let paths = Vec::<String>::deserialize(from)?;
    paths.iter().try_for_each(|path| check_path(path)).map_err(D::Error::custom)?;
    match paths.iter().find(|path| path.contains(':')) {
        Some(path) => Err(D::Error::custom(format!("{path:?} has a colon, which stands between folders"))),
        None => Ok(Some(paths.join(":"))),
    }
}

fn url<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    let is_url = |text: &str| text.starts_with("http://") || text.starts_with("https://");
    // The text is not repeated: it may have a password in it.
    checked(from, |text| if is_url(text) { Ok(()) } else { Err("expected http://… or https://…".to_owned()) })
}

fn accelerator<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    checked(from, |text| match text {
        "tcg" | "kvm" => Ok(()),
        _ => Err(format!("{text:?}: expected \"tcg\" or \"kvm\"")),
    })
}

fn choice<'de, T: ValueEnum, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    checked(from, |text| {
        let known = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        let known: Vec<_> = known.map(|value| format!("{:?}", value.get_name())).collect();
        let is_known = T::from_str(text, false).is_ok();
        if is_known { Ok(()) } else { Err(format!("{text:?}: expected {}", known.join(" or "))) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        File::parse(text).and_then(|file| file.check(text)).unwrap_err()
    }

    #[test]
    fn what_is_wrong_is_refused() {
        for (text, reason) in [
            ("defualt_hub = '/srv/hub'", "unknown field"),
            ("[hubs]\nlocal = '/srv/hub'", "not an alias"),
            ("[hubs]\n'hub.example' = '/srv/hub'", "not an alias"),
            ("[hubs]\nacme = 'srv/hub'", "neither an absolute path nor a URL"),
            ("[hubs]\nacme = []", "a hub needs a location"),
            ("[hubs]\nacme = ['/srv/hub', 'mirror']", "neither an absolute path nor a URL"),
            ("default_hub = 'acme'", "no alias"),
            ("default_hub = 1", "expected a string"),
            ("root = 'spore'", "not an absolute path"),
            ("format = 'xml'", "expected \"text\" or \"json\""),
            ("quiet = 'yes'", "expected a boolean"),
            ("qemu_data = ['/a', 'b']", "not an absolute path"),
            ("qemu_data = ['/a:b']", "colon"),
            ("accel = 'hvf'", "expected \"tcg\" or \"kvm\""),
            ("debian_mirror = 'deb.example'", "expected http://"),
        ] {
            let error = refusal(text);
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_wrong_is_found_by_its_line() {
        for wrong in
            ["defualt_hub = '/x'", "default_hub = 'nobody'", "log_format = 'xml'", "root = 1", "x = ["]
        {
            let error = refusal(&format!("quiet = true\n\n{wrong}\n"));
            assert!(error.contains("line 3"), "{wrong}: {error}");
        }
        let error = File::parse("[hubs]\na = '/a'\nb = 'b'\n").unwrap_err();
        assert!(error.contains("line 3"), "{error}");
    }

    #[test]
    fn values_are_as_variables_have_them() {
        let file = File::parse("quiet = true\nqemu_data = ['/a', '/b']\nlog = 'hub=debug'").unwrap();
        let values: Vec<_> = file.values().into_iter().collect();
        let expected = [("SPORE_LOG", "hub=debug"), ("SPORE_QEMU_DATA", "/a:/b"), ("SPORE_QUIET", "true")];
        assert_eq!(values, expected.map(|(name, value)| (name, value.into())));
    }
}
