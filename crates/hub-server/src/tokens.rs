//! The file of tokens: who may push where. It holds the sha256 of each token, so that reading it lets nobody in.
//!
//! ```toml
//! [[token]]
//! name = "alice"
//! sha256 = "…"            # of the token, in hex
//! push = ["alice/"]       # a name, or all below one (with / behind it), or all ("*")
//! pull = true             # everything; without it, only what it may push
//! delete = false          # tags and manifests, where it may push
//! ```

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use format::{Digest, Name};
use hub::credentials::Secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use subtle::{Choice, ConstantTimeEq};

/// What tokens begin with, so that scanners for leaked secrets know them.
const PREFIX: &str = "spore_";
/// Random bytes of a token.
const RANDOM_BYTES: usize = 32;
/// Most bytes of what is presented as a token.
const TOKEN_BYTES: usize = 1024;
/// Most tokens of a file: each request is compared with all.
const TOKENS: usize = 10_000;

/// What is wrong with a file of tokens, or with a new one.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Not what such a file is.
    #[error("{0}")]
    File(String),
    /// Two that cannot be told apart.
    #[error("two tokens have the {what} {text:?}: each needs its own")]
    Twice {
        /// Which field.
        what: &'static str,
        /// Its value.
        text: String,
    },
    /// No name of a token.
    #[error("{0:?} is no name of a token: expected 1 to 64 letters, digits, - _ . or @")]
    Name(String),
    /// No namespace.
    #[error("{0:?} is no namespace: expected a name (alice/numpy), all below one (alice/), or \"*\" for all")]
    Namespace(String),
    /// The kernel gave no random bytes.
    #[error("the kernel gave no random bytes: {0}")]
    Random(getrandom::Error),
}

/// Names that a token may push.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Namespace {
    /// All.
    All,
    /// All below this one.
    Below(Name),
    /// This one.
    Only(Name),
}

impl Namespace {
    /// Whether a name belongs to it.
    #[must_use]
    pub fn holds(&self, name: &Name) -> bool {
        match self {
            Self::All => true,
            Self::Below(prefix) => {
                let below = name.as_str().strip_prefix(prefix.as_str());
                below.is_some_and(|rest| rest.starts_with('/'))
            }
            Self::Only(only) => name == only,
        }
    }
}

impl FromStr for Namespace {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        if text == "*" {
            return Ok(Self::All);
        }
        let (name, is_below) = text.strip_suffix('/').map_or((text, false), |name| (name, true));
        let name: Name = name.parse().map_err(|_| TokenError::Namespace(text.to_owned()))?;
        Ok(if is_below { Self::Below(name) } else { Self::Only(name) })
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => out.write_str("*"),
            Self::Below(name) => write!(out, "{name}/"),
            Self::Only(name) => name.fmt(out),
        }
    }
}

impl<'de> Deserialize<'de> for Namespace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Namespace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// What is known of a token.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    pub(crate) name: String,
    #[serde(with = "hex")]
    sha256: Digest,
    #[serde(default)]
    pub(crate) push: Vec<Namespace>,
    #[serde(default = "yes")]
    pub(crate) pull: bool,
    #[serde(default)]
    pub(crate) delete: bool,
}

fn yes() -> bool {
    true
}

mod hex {
    use format::Digest;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        Digest::from_hex(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }

    pub(super) fn serialize<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&digest.hex())
    }
}

/// The form of the file.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    token: Vec<Entry>,
}

/// All tokens of a server.
#[derive(Debug, Default)]
pub struct Tokens(Vec<Arc<Entry>>);

impl Tokens {
    /// Reads the text of a file of tokens.
    ///
    /// # Errors
    /// If it is none, or two of its tokens cannot be told apart.
    pub fn parse(text: &str) -> Result<Self, TokenError> {
        let file: File = toml::from_str(text).map_err(|error| TokenError::File(error.to_string()))?;
        if file.token.len() > TOKENS {
            return Err(TokenError::File(format!("it holds more than {TOKENS} tokens")));
        }
        for (index, entry) in file.token.iter().enumerate() {
            check_name(&entry.name)?;
            let mut earlier = file.token.iter().take(index);
            if let Some(twin) = earlier.find(|other| other.name == entry.name || other.sha256 == entry.sha256)
            {
                let is_name = twin.name == entry.name;
                let text = if is_name { entry.name.clone() } else { entry.sha256.hex() };
                return Err(TokenError::Twice { what: if is_name { "name" } else { "sha256" }, text });
            }
        }
        Ok(Self(file.token.into_iter().map(Arc::new).collect()))
    }

    /// What is known of this token. How long it takes tells nothing of those that there are.
    pub(crate) fn find(&self, token: &str) -> Option<Arc<Entry>> {
        if token.len() > TOKEN_BYTES {
            return None;
        }
        let digest = Digest::of(token.as_bytes());
        let mut found = None;
        for entry in &self.0 {
            let is_it: Choice = entry.sha256.as_bytes().as_slice().ct_eq(digest.as_bytes().as_slice());
            if bool::from(is_it) {
                found = Some(Arc::clone(entry));
            }
        }
        found
    }
}

fn check_name(name: &str) -> Result<(), TokenError> {
    let fits = |c: u8| c.is_ascii_alphanumeric() || b"-_.@".contains(&c);
    if (1..=64).contains(&name.len()) && name.bytes().all(fits) {
        return Ok(());
    }
    Err(TokenError::Name(name.to_owned()))
}

/// A token that has just been made.
#[derive(Debug)]
pub struct NewToken {
    /// The token itself, which is kept nowhere.
    pub token: Secret,
    /// What goes into the file of tokens.
    pub entry: String,
}

impl NewToken {
    /// Makes one.
    ///
    /// # Errors
    /// If the name is none, or the kernel gives no random bytes.
    pub fn generate(name: &str, push: Vec<Namespace>, pull: bool, delete: bool) -> Result<Self, TokenError> {
        check_name(name)?;
        let mut random = [0; RANDOM_BYTES];
        getrandom::fill(&mut random).map_err(TokenError::Random)?;
        let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(random));
        let sha256 = Digest::of(token.as_bytes());
        let file = File { token: vec![Entry { name: name.to_owned(), sha256, push, pull, delete }] };
        let entry = toml::to_string(&file).map_err(|error| TokenError::File(error.to_string()))?;
        Ok(Self { token: Secret::new(token), entry })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn a_namespace_ends_at_a_slash() {
        let below: Namespace = "alice/".parse().unwrap();
        assert!(below.holds(&name("alice/numpy")) && below.holds(&name("alice/team/numpy")));
        assert!(!below.holds(&name("alice")) && !below.holds(&name("alices/numpy")));
        let only: Namespace = "alice/numpy".parse().unwrap();
        assert!(only.holds(&name("alice/numpy")) && !only.holds(&name("alice/numpy/x")));
        assert!("*".parse::<Namespace>().unwrap().holds(&name("x")));
        for wrong in ["", "/", "Alice/", "alice/*", "**", "../x", "alice//"] {
            assert!(wrong.parse::<Namespace>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_new_token_is_found_by_itself_alone() {
        let new = |name| NewToken::generate(name, vec!["alice/".parse().unwrap()], true, false).unwrap();
        let (alice, bob) = (new("alice"), new("bob"));
        assert!(!alice.entry.contains(alice.token.expose()));
        let tokens = Tokens::parse(&format!("{}{}", alice.entry, bob.entry)).unwrap();
        let found = tokens.find(alice.token.expose()).unwrap();
        assert_eq!((found.name.as_str(), found.pull, found.delete), ("alice", true, false));
        for wrong in ["", "spore_", &alice.token.expose()[1..], &format!("{}x", alice.token.expose())] {
            assert!(tokens.find(wrong).is_none(), "{wrong}");
        }
        assert!(tokens.find(&"x".repeat(1 << 20)).is_none());
    }

    #[test]
    fn what_is_no_file_of_tokens_is_refused() {
        let hex = Digest::of(b"x").hex();
        let entry = |rest: &str| format!("[[token]]\nname = 'a'\nsha256 = '{hex}'\n{rest}");
        Tokens::parse(&entry("")).unwrap();
        for (text, reason) in [
            (entry("puhs = ['a/']"), "unknown field"),
            (entry("push = ['A/']"), "no namespace"),
            ("[[token]]\nname = 'a'\nsha256 = 'abc'".to_owned(), "sha256"),
            (format!("[[token]]\nname = ''\nsha256 = '{hex}'"), "no name of a token"),
            (format!("{0}{0}", entry("")), "two tokens have the name"),
            (format!("{}[[token]]\nname = 'b'\nsha256 = '{hex}'", entry("")), "two tokens have the sha256"),
        ] {
            let error = Tokens::parse(&text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
