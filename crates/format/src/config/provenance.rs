//! How a snapshot was made. Nothing here is needed to restore one, and nothing decides by it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::Digest;

/// How a snapshot was made; for people and scanners.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// The recipe, if it was baked from one.
    pub recipe: Option<RecipeOrigin>,
    /// The container image that its layers were made of, if they were made of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseOrigin>,
    /// What was installed in its layers.
    pub packages: Vec<Package>,
    /// The versions of the tools that made it, by their names.
    #[serde(deserialize_with = "each_once")]
    pub tools: BTreeMap<String, String>,
    /// The guest kernel's release.
    pub kernel_version: String,
    /// The agent's version.
    pub agent_version: String,
    /// RFC 3339, UTC.
    pub created_at: String,
}

/// Reads a map whose keys are each there once: of two readers, one could believe the first and one the last.
fn each_once<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    struct EachOnce;

    impl<'de> Visitor<'de> for EachOnce {
        type Value = BTreeMap<String, String>;

        fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("a map of texts")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((key, value)) = access.next_entry::<String, String>()? {
                let doubled = format!("duplicate field `{}`", crate::excerpt(&key));
                if map.insert(key, value).is_some() {
                    return Err(A::Error::custom(doubled));
                }
            }
            Ok(map)
        }
    }

    deserializer.deserialize_map(EachOnce)
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

/// The container image that layers were made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaseOrigin {
    /// Where the recipe said that it is.
    pub reference: String,
    /// The digest of its manifest; absent where its archive had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<Digest>,
    /// The digest of its config, which names its layers by their content.
    pub config: Digest,
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
    /// That source's version, which is not always the package's own.
    pub source_version: String,
}
