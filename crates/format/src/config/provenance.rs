//! How a snapshot was made. Nothing here is needed to restore one, and nothing decides by it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::Digest;

/// How a snapshot was made; for people and scanners.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The recipe, if it was baked from one.
    pub recipe: Option<RecipeOrigin>,
    /// What was installed in its layers.
    pub packages: Vec<Package>,
    /// The versions of the tools that made it, by their names.
    pub tools: BTreeMap<String, String>,
    /// The guest kernel's release.
    pub kernel_version: String,
    /// The agent's version.
    pub agent_version: String,
    /// RFC 3339, UTC.
    pub created_at: String,
}

/// The recipe that a snapshot was baked from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeOrigin {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The digest of its recipe file.
    pub digest: Digest,
}

/// An installed package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The licences that it declares.
    pub licences: Vec<String>,
    /// Its source package.
    pub source: String,
}
