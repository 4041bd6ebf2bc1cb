//! What one copy of a guest is given, and no snapshot has: variables, and small secrets.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::identity::{from_hex, to_hex};

/// Most bytes of one [`Given`] as JSON, in which each byte of a secret is two, and a control character in a variable is six: so
/// that it fits one message.
pub const GIVEN_MAX: usize = 48 * 1024;
/// Where guests find their secrets, one file each, in memory.
pub const SECRETS_DIR: &str = "/run/secrets";

/// Why something cannot be given. Values are never shown.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidGiven {
    /// No name of a variable, or no value of one.
    #[error("variable {0:?}: a name is not empty and has no `=`, and neither name nor value has a zero byte")]
    Variable(String),
    /// No name of a secret.
    #[error(
        "secret {0:?}: a name has 1 to 64 letters, digits, `.`, `_` and `-`, and does not begin with `.`"
    )]
    Secret(String),
    /// Not hexadecimal.
    #[error("secret {0:?}: its value is not in lowercase hexadecimal")]
    Hex(String),
    /// Too much.
    #[error(
        "variables and secrets take {0} bytes as they are sent, in JSON and secrets in hexadecimal; at most {GIVEN_MAX} are \
         allowed: `spore cp` copies files of any size"
    )]
    TooLong(usize),
}

/// Variables for whatever is run from then on, and secrets, which become files in [`SECRETS_DIR`]. Its debug output names
/// them, and shows no value.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Raw", into = "Raw")]
pub struct Given {
    env: BTreeMap<String, String>,
    secrets: BTreeMap<String, Vec<u8>>,
}

/// As it is in JSON: secrets in hexadecimal.
#[derive(Serialize, Deserialize)]
struct Raw {
    #[serde(default)]
    env: BTreeMap<String, String>,
    #[serde(default)]
    secrets: BTreeMap<String, String>,
}

impl Given {
    /// Takes both.
    ///
    /// # Errors
    /// What breaks a bound of [`InvalidGiven`].
    pub fn new(
        env: BTreeMap<String, String>,
        secrets: BTreeMap<String, Vec<u8>>,
    ) -> Result<Self, InvalidGiven> {
        let is_variable = |name: &str, value: &str| {
            !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
        };
        let is_name = |name: &str| {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
            (1..=64).contains(&name.len()) && name.bytes().all(fits) && !name.starts_with('.')
        };
        if let Some((name, _)) = env.iter().find(|(name, value)| !is_variable(name, value)) {
            return Err(InvalidGiven::Variable(name.clone()));
        }
        if let Some(name) = secrets.keys().find(|name| !is_name(name)) {
            return Err(InvalidGiven::Secret(name.clone()));
        }
        let given = Given { env, secrets };
        // Strings have a JSON form always, and numbers and keys that are none do not occur.
        let length = serde_json::to_vec(&given).map_or(usize::MAX, |json| json.len());
        if length > GIVEN_MAX { Err(InvalidGiven::TooLong(length)) } else { Ok(given) }
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.env.is_empty() && self.secrets.is_empty()
    }

    /// The variables.
    pub fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// The secrets, by their names, which are names of files.
    pub fn secrets(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.secrets
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Given({:?}, {:?})", self.env.keys(), self.secrets.keys())
    }
}

impl TryFrom<Raw> for Given {
    type Error = InvalidGiven;
    fn try_from(raw: Raw) -> Result<Self, Self::Error> {
        let decode = |(name, hex): (String, String)| match from_hex(&hex) {
            Some(value) => Ok((name, value)),
            None => Err(InvalidGiven::Hex(name)),
        };
        Given::new(raw.env, raw.secrets.into_iter().map(decode).collect::<Result<_, _>>()?)
    }
}

impl From<Given> for Raw {
    fn from(given: Given) -> Self {
        let secrets = given.secrets.into_iter().map(|(name, value)| (name, to_hex(&value))).collect();
        Raw { env: given.env, secrets }
    }
}
