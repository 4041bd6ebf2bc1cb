//! The configuration: a TOML file, then `SPORE_*` variables, then flags; each overrides what comes before it.
//!
//! Hubs are the file's alone; each other key stands for a variable, and is read as that is (`environment`).
//!
//! ```toml
//! accel = "tcg"                   # as SPORE_ACCEL
//! default_hub = "acme"            # where short names are looked up that are not here: an alias or a location
//!
//! [hubs]                          # aliases: the first component of a reference that is one of these is that hub
//! acme = "/srv/hub"
//! team = ["oci://hub.example/team", "/mnt/mirror"]      # a hub, then its mirrors, which a pull asks in this order
//! ```
//!
//! Invariants:
//! - An unknown key is an error: a mistyped one would be silently without effect.
//! - A location in the file or a variable means the same from every working directory: relative folders are refused.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use format::{HubName, Reference};
use hub::HubLocation;

use crate::environment::{Said, variable};
use crate::error::{CliError, Doing};

mod file;

use file::{Alias, File, Locations};

const FILE_VARIABLE: &str = "SPORE_CONFIG";
const DEFAULT_HUB_VARIABLE: &str = "SPORE_DEFAULT_HUB";

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Flag(&'static str),
    Variable(&'static str),
    File,
    Default,
}

impl Source {
    /// Of a value that the environment or the file has for this variable.
    pub(crate) fn of(said: Said, variable: &'static str) -> Self {
        match said {
            Said::ByVariable => Self::Variable(variable),
            Said::ByFile => Self::File,
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Variable(name) => out.write_str(name),
            Self::File => out.write_str("file"),
            Self::Default => out.write_str("default"),
        }
    }
}

/// A hub: where it and its mirrors are, and how the local names of what comes from there begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hub {
    pub(crate) name: HubName,
    pub(crate) location: HubLocation,
    /// Asked in this order for what the hub does not give.
    pub(crate) mirrors: Vec<HubLocation>,
}

impl From<(HubName, HubLocation)> for Hub {
    fn from((name, location): (HubName, HubLocation)) -> Self {
        Self { name, location, mirrors: Vec::new() }
    }
}

/// The effective configuration, without flags.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where the file is, or would be; `None` if no variable says where.
    pub(crate) path: Option<PathBuf>,
    /// Whether it is there.
    pub(crate) is_there: bool,
    pub(crate) default_hub: Option<(String, Source)>,
    pub(crate) hubs: BTreeMap<Alias, Locations>,
}

/// What the file says in place of variables, by their names. Every verb needs these; what is said of hubs is checked by those
/// verbs that use some.
pub(crate) fn values() -> Result<BTreeMap<&'static str, OsString>, CliError> {
    Found::read().map(|found| found.file.values())
}

/// The file, as it was found.
struct Found {
    path: Option<PathBuf>,
    /// `None` if it is not there.
    text: Option<String>,
    file: File,
}

impl Found {
    fn read() -> Result<Self, CliError> {
        let path = file_path();
        let text = match &path {
            Some(path) => read(path)?,
            None => None,
        };
        let file = match (&path, &text) {
            (Some(path), Some(text)) => {
                File::parse(text).map_err(|reason| CliError::Config { path: path.clone(), reason })?
            }
            _ => File::default(),
        };
        Ok(Self { path, text, file })
    }
}

impl Config {
    /// Reads the file, if there is one, and the variables.
    pub(crate) fn load() -> Result<Self, CliError> {
        let Found { path, text, file } = Found::read()?;
        if let (Some(path), Some(text)) = (&path, &text) {
            file.check(text).map_err(|reason| CliError::Config { path: path.clone(), reason })?;
        }
        let from_variable = std::env::var(DEFAULT_HUB_VARIABLE).ok().filter(|value| !value.is_empty());
        if let Some(hub) = &from_variable {
            file.check_default(hub)
                .map_err(|reason| CliError::Usage(format!("{DEFAULT_HUB_VARIABLE}: {reason}")))?;
        }
        Ok(Self::new(path, text.is_some(), file, from_variable))
    }

    fn new(path: Option<PathBuf>, is_there: bool, file: File, from_variable: Option<String>) -> Self {
        let default_hub = from_variable
            .map(|hub| (hub, Source::Variable(DEFAULT_HUB_VARIABLE)))
            .or_else(|| file.default_hub.map(|hub| (hub.into_inner(), Source::File)));
        Self { path, is_there, default_hub, hubs: file.hubs }
    }

    /// What somebody typed to name a snapshot: a first component that is an alias is the hub.
    pub(crate) fn reference(&self, text: &str) -> Result<Reference, CliError> {
        if let Some((first, rest)) = text.split_once('/')
            && let Some(alias) = self.hubs.keys().find(|alias| alias.0.as_str() == first)
        {
            let reference: Reference = rest.parse()?;
            return match reference.hub {
                None => Ok(Reference { hub: Some(alias.0.clone()), ..reference }),
                Some(inner) => {
                    Err(CliError::Usage(format!("{text:?} names two hubs, {first} and {inner}: give one")))
                }
            };
        }
        Ok(text.parse()?)
    }

    /// The hub that `--hub` or the configuration says, by alias or location. One that has an alias is known by it,
    /// however it was said.
    pub(crate) fn hub(&self, text: &str) -> Result<Hub, CliError> {
        if let Some(hub) = self.aliased(|alias| alias.0.as_str() == text)? {
            return Ok(hub);
        }
        let location = HubLocation::parse(text)?;
        // A mistyped alias would be a folder that a push makes, wherever it is run.
        let is_path = text.starts_with(['/', '.']) || text.contains("://");
        if !is_path && !Path::new(text).exists() {
            let place = self.place();
            return Err(CliError::Usage(format!(
                "the hub {text} is neither an alias under [hubs] in {place} nor a folder here: write ./{text} for one to be made"
            )));
        }
        if let Some(hub) = self.hub_at(&location)? {
            return Ok(hub);
        }
        Ok((location.hub_name()?, location).into())
    }

    /// The hub with an alias that is at this location.
    pub(crate) fn hub_at(&self, location: &HubLocation) -> Result<Option<Hub>, CliError> {
        // Another alias may have a location of a kind that is not known here.
        let same = |known: &Locations| HubLocation::parse(&known.hub).is_ok_and(|known| known == *location);
        let found = self.hubs.iter().find(|(_, known)| same(known));
        found.map(|(alias, known)| known.parsed(alias.0.clone())).transpose()
    }

    /// The hub with this alias, if it is one.
    pub(crate) fn hub_by_alias(&self, name: &HubName) -> Result<Option<Hub>, CliError> {
        self.aliased(|alias| alias.0 == *name)
    }

    fn aliased(&self, is_it: impl Fn(&Alias) -> bool) -> Result<Option<Hub>, CliError> {
        let found = self.hubs.iter().find(|(alias, _)| is_it(alias));
        found.map(|(alias, locations)| locations.parsed(alias.0.clone())).transpose()
    }

    /// Where short names are looked up that are not here.
    pub(crate) fn default_hub(&self) -> Result<Option<Hub>, CliError> {
        self.default_hub.as_ref().map(|(hub, _)| self.hub(hub)).transpose()
    }

    /// The file, for messages.
    pub(crate) fn place(&self) -> String {
        self.path
            .as_ref()
            .map_or_else(|| format!("the file {FILE_VARIABLE}"), |path| path.display().to_string())
    }
}

fn file_path() -> Option<PathBuf> {
    let set = |name| variable(name).map(PathBuf::from);
    set(FILE_VARIABLE)
        .or_else(|| set("XDG_CONFIG_HOME").map(|folder| folder.join("spore/config.toml")))
        .or_else(|| set("HOME").map(|home| home.join(".config/spore/config.toml")))
}

/// The file's text. That it is absent is an error only if somebody said that it is there.
fn read(path: &Path) -> Result<Option<String>, CliError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && variable(FILE_VARIABLE).is_none() => {
            Ok(None)
        }
        Err(error) => Err(error).doing(format!("read the configuration {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::new(None, true, File::parse(text).unwrap(), None)
    }

    #[test]
    fn an_alias_is_a_hub_and_other_components_are_names() {
        let config = config("[hubs]\nacme = '/srv/hub'");
        let parsed = config.reference("acme/team/numpy:1").unwrap();
        assert_eq!(parsed.hub.unwrap().as_str(), "acme");
        assert_eq!((parsed.name.as_str(), parsed.tag.unwrap().as_str()), ("team/numpy", "1"));
        let parsed = config.reference("acmes/numpy").unwrap();
        assert_eq!((parsed.hub, parsed.name.as_str()), (None, "acmes/numpy"));
        assert_eq!(config.reference("acme").unwrap().hub, None);
        assert!(matches!(config.reference("acme/local/x"), Err(CliError::Usage(_))));
    }

    #[test]
    fn a_hub_is_known_by_its_alias_however_it_is_said() {
        let config = config("default_hub = 'acme'\n[hubs]\nacme = '/srv/spore-hub'\nlater = 'future://x'");
        let hub = config.hub("acme").unwrap();
        assert_eq!(hub.name.as_str(), "acme");
        assert_eq!(config.hub("file:///srv/spore-hub").unwrap(), hub);
        assert_eq!(config.default_hub().unwrap(), Some(hub));
        assert!(config.hub("/srv/other").unwrap().name.as_str().starts_with("dir."));
        assert!(config.hub("later").is_err());
    }

    #[test]
    fn a_hub_has_its_mirrors_however_it_is_said() {
        let config = config("[hubs]\nacme = ['/srv/hub', 'oci://mirror.example', '/mnt/mirror']");
        let hub = config.hub("acme").unwrap();
        assert_eq!(hub.location, HubLocation::parse("/srv/hub").unwrap());
        let mirrors: Vec<_> = hub.mirrors.iter().map(ToString::to_string).collect();
        assert_eq!(mirrors, ["oci://mirror.example", "/mnt/mirror"]);
        assert_eq!(config.hub("/srv/hub").unwrap(), hub);
        // A mirror is a hub, too, when it is asked for: it has no other's alias.
        assert_eq!(config.hub("oci://mirror.example").unwrap().mirrors, []);
    }

    #[test]
    fn a_variable_overrides_the_file() {
        let file = File::parse("default_hub = '/srv/a'").unwrap();
        let config = Config::new(None, true, file, Some("/srv/b".to_owned()));
        assert_eq!(config.default_hub, Some(("/srv/b".to_owned(), Source::Variable("SPORE_DEFAULT_HUB"))));
    }
}
