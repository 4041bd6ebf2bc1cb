//! Which hub a reference means. Each way is exact: a hub is one that was given, configured, or recorded as an origin.

use std::path::Path;

use format::{Digest, HubName, Name, Reference};
use hub::{Access, HubLocation, Source};
use store::Store;

use crate::config::{Config, Hub};
use crate::environment::variable;
use crate::error::CliError;

/// A file of certificate authorities.
const AUTHORITIES_VARIABLE: &str = "SPORE_CA_FILE";

/// The hub that `--hub` names, else the reference's, else the default one.
pub(crate) fn choose(
    config: &Config,
    store: &Store,
    flag: Option<&str>,
    reference: &Reference,
) -> Result<Hub, CliError> {
    choose_of(config, Some(store), flag, reference)
}

/// The same without a store: a folder is known by its alias or by a flag only.
pub(crate) fn choose_known(
    config: &Config,
    flag: Option<&str>,
    reference: &Reference,
) -> Result<Hub, CliError> {
    choose_of(config, None, flag, reference)
}

fn choose_of(
    config: &Config,
    store: Option<&Store>,
    flag: Option<&str>,
    reference: &Reference,
) -> Result<Hub, CliError> {
    match (flag, &reference.hub) {
        (Some(_), Some(named)) => Err(CliError::Usage(format!(
            "{reference} names the hub {named}, --hub another one: give one of them"
        ))),
        (Some(flag), None) => config.hub(flag),
        (None, Some(named)) if named.is_local() => Err(CliError::Usage(format!(
            "{reference}: what is local/ is of no hub: give --hub, or the name without local/"
        ))),
        (None, Some(named)) => known(config, store, named),
        (None, None) => config.default_hub()?.ok_or_else(|| {
            CliError::Usage(format!(
                "no hub is named: give --hub HUB, or set default_hub in {}",
                config.place()
            ))
        }),
    }
}

/// The hub that `text` says, by alias or location, else the default one.
pub(crate) fn named(config: &Config, text: Option<&str>) -> Result<Hub, CliError> {
    match text {
        Some(text) => config.hub(text),
        None => config.default_hub()?.ok_or_else(|| {
            CliError::Usage(format!("no hub is named: give one, or set default_hub in {}", config.place()))
        }),
    }
}

/// Whose requests are made: the user's, as other container tools know them. `SPORE_CA_FILE` names authorities to trust
/// besides the system's.
pub(crate) fn access() -> Result<Access, CliError> {
    let mut access = Access::from_environment();
    if let Some(path) = variable(AUTHORITIES_VARIABLE) {
        access.trust(Path::new(&path))?;
    }
    Ok(access)
}

/// A hub and its mirrors, opened, as sources of a snapshot that has this name there.
pub(crate) fn sources(hub: &Hub, name: &Name) -> Result<(Source, Vec<Source>), CliError> {
    let access = access()?;
    let open = |location: &HubLocation| {
        Ok::<_, CliError>(Source { registry: hub::open(location, &access)?, name: name.clone() })
    };
    Ok((open(&hub.location)?, hub.mirrors.iter().map(open).collect::<Result<_, _>>()?))
}

/// Where blobs are asked for by their digests.
pub(crate) struct Repository {
    pub(crate) hub: Hub,
    /// The name there, where that matters: a registry keeps the blobs of each name apart.
    pub(crate) name: Option<Name>,
}

/// What `--hub` says to a verb that needs no tag of it: `HUB`, or of a registry `HUB/NAME`, where a hub is a location, an alias or a
/// host.
pub(crate) fn repository(config: &Config, store: &Store, text: &str) -> Result<Repository, CliError> {
    let is_location = text.starts_with(['/', '.']) || text.contains("://") || Path::new(text).exists();
    let repository = if is_location {
        match HubLocation::parse(text)? {
            HubLocation::Registry(registry) => {
                let (registry, name) = registry.into_repository();
                let (host, location) = (registry.host().clone(), HubLocation::Registry(registry));
                let hub = config.hub_at(&location)?.unwrap_or_else(|| (host, location).into());
                Repository { hub, name }
            }
            _ => Repository { hub: config.hub(text)?, name: None },
        }
    } else {
        match config.reference(text)? {
            Reference { hub: Some(hub), name, tag: None, digest: None } => {
                Repository { hub: known(config, Some(store), &hub)?, name: Some(name) }
            }
            _ => Repository { hub: config.hub(text)?, name: None },
        }
    };
    if let Repository { hub: Hub { location: HubLocation::Registry(_), .. }, name: None } = &repository {
        return Err(CliError::Usage(format!(
            "{text} is a registry, which keeps the blobs of each name apart: give --hub {text}/NAME"
        )));
    }
    Ok(repository)
}

/// A hub by its name in references: an alias, a folder that something was pulled from, or a registry's host.
fn known(config: &Config, store: Option<&Store>, name: &HubName) -> Result<Hub, CliError> {
    if let Some(hub) = config.hub_by_alias(name)? {
        return Ok(hub);
    }
    let refs = store.map(Store::refs).transpose()?.unwrap_or_default();
    for (full_name, record) in refs {
        if full_name.hub != *name {
            continue;
        }
        // The name alone proves nothing: it is the origin's own, or an alias that is not configured any more.
        let location = record.origin.and_then(|origin| HubLocation::parse(&origin).ok());
        if let Some(location) = location.filter(|location| location.hub_name().is_ok_and(|own| own == *name))
        {
            return Ok((name.clone(), location).into());
        }
    }
    if let Some(location) = HubLocation::of_name(name) {
        return Ok((name.clone(), location).into());
    }
    Err(CliError::NotFound(format!(
        "the hub {name} is not known here: give --hub with its location, or an alias for it under [hubs] in {}",
        config.place()
    )))
}

/// Where parts of a snapshot that is known here can be fetched: the name that it has there, and the hub. The tags
/// only say where to look; what is fetched is decided by digests.
pub(crate) fn origins(
    config: &Config,
    store: &Store,
    snapshot: &Digest,
) -> Result<Vec<(Name, Hub)>, CliError> {
    let mut origins = Vec::new();
    for (full_name, record) in store.refs()? {
        if record.digest != *snapshot {
            continue;
        }
        if let Some(origin) = record.origin {
            let location = HubLocation::parse(&origin)?;
            let configured = config.hub_at(&location)?;
            let hub = configured.unwrap_or_else(|| (full_name.hub, location).into());
            let known =
                |(name, known): &(Name, Hub)| *name == full_name.name && known.location == hub.location;
            if !origins.iter().any(known) {
                origins.push((full_name.name, hub));
            }
        }
    }
    Ok(origins)
}
