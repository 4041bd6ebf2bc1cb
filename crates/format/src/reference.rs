//! References: `[HUB/]NAME[:TAG][@sha256:HEX]`, parsed once at the edge.
//!
//! The first component is a hub if it holds a `.` or a `:` or is `localhost` (the rule that container tools
//! share); an alias of the configuration is resolved by the caller before it parses. Names follow the OCI
//! distribution-spec v1.1 grammar for `<name>`, tags the one for `<reference>`. Nothing in a snapshot holds a
//! reference: they only lead a person to a digest.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Digest;

/// The tag that a reference without one means.
pub const DEFAULT_TAG: &str = "latest";

/// The hub part of the names of snapshots that were baked here.
pub const LOCAL_HUB: &str = "local";

/// Why a text is not a reference or a part of one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a {what}: {expected}")]
pub struct ReferenceError {
    text: String,
    what: &'static str,
    expected: &'static str,
}

impl ReferenceError {
    fn new(text: &str, what: &'static str, expected: &'static str) -> Self {
        Self { text: crate::excerpt(text), what, expected }
    }
}

macro_rules! text_newtype {
    ($(#[$doc:meta])* $name:ident, $check:path) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text as it was parsed.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ReferenceError;

            fn from_str(text: &str) -> Result<Self, ReferenceError> {
                $check(text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_newtype!(
    /// A tag: at most 128 letters, digits, `_`, `.`, `-`, the first neither `.` nor `-`.
    Tag,
    check_tag
);

text_newtype!(
    /// A repository's name inside its hub, such as `team/python-numpy`: at most 255 bytes.
    Name,
    check_name
);

text_newtype!(
    /// A hub as the first component of a reference, such as `hub.example:5000`, `localhost` or `local`.
    HubName,
    check_hub
);

impl Default for Tag {
    fn default() -> Self {
        Self(DEFAULT_TAG.to_owned())
    }
}

fn check_tag(text: &str) -> Result<(), ReferenceError> {
    let first = text.bytes().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == b'_');
    let rest = text.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b'-'));
    if first && rest && text.len() <= 128 {
        return Ok(());
    }
    Err(ReferenceError::new(text, "tag", "expected 1 to 128 of A-Z a-z 0-9 _ . -, not starting with . or -"))
}

fn check_name(text: &str) -> Result<(), ReferenceError> {
    let fits = (1..=255).contains(&text.len()) && text.split('/').all(is_component);
    if fits {
        return Ok(());
    }
    Err(ReferenceError::new(
        text,
        "name",
        "expected components of a-z 0-9 joined by one of . _ __ or dashes, separated by /",
    ))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let alphanumeric = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = bytes.first().zip(bytes.last()).is_some_and(|(a, b)| alphanumeric(*a) && alphanumeric(*b));
    ends && bytes.split(|c| alphanumeric(*c)).all(|separator| {
        matches!(separator, b"" | b"." | b"_" | b"__") || separator.iter().all(|c| *c == b'-')
    })
}

fn check_hub(text: &str) -> Result<(), ReferenceError> {
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    let host_fits = (1..=253).contains(&host.len())
        && host.split('.').all(|label| {
            !label.is_empty()
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-')
        });
    let port_fits = port.is_none_or(|port| {
        port.len() <= 5
            && port.bytes().all(|c| c.is_ascii_digit())
            && port.parse::<u16>().is_ok_and(|p| p > 0)
    });
    if host_fits && port_fits {
        return Ok(());
    }
    Err(ReferenceError::new(text, "hub", "expected HOST or HOST:PORT"))
}

impl HubName {
    /// The hub of what was baked on this host.
    #[must_use]
    pub fn local() -> Self {
        Self(LOCAL_HUB.to_owned())
    }

    /// Whether this is the hub of what was baked on this host.
    #[must_use]
    pub fn is_local(&self) -> bool {
        self.0 == LOCAL_HUB
    }
}

/// What a person typed to name a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The hub, where one was named.
    pub hub: Option<HubName>,
    /// The name inside the hub.
    pub name: Name,
    /// The tag, where one was given.
    pub tag: Option<Tag>,
    /// The digest, where one was given. It is then the only authority.
    pub digest: Option<Digest>,
}

impl Reference {
    /// The tag, or the default one.
    #[must_use]
    pub fn tag_or_default(&self) -> Tag {
        self.tag.clone().unwrap_or_default()
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest = digest.parse().map_err(|_| {
                    ReferenceError::new(
                        text,
                        "reference",
                        "what follows @ must be sha256: and 64 hexadecimal digits",
                    )
                })?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let (hub, rest) = match rest.split_once('/') {
            Some((first, name)) if is_hub_component(first) => (Some(first.parse()?), name),
            _ => (None, rest),
        };
        let (name, tag) = match rest.split_once(':') {
            Some((name, tag)) => (name, Some(tag.parse()?)),
            None => (rest, None),
        };
        Ok(Self { hub, name: name.parse()?, tag, digest })
    }
}

fn is_hub_component(text: &str) -> bool {
    text.contains(['.', ':']) || text == "localhost" || text == LOCAL_HUB
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(hub) = &self.hub {
            write!(out, "{hub}/")?;
        }
        write!(out, "{}", self.name)?;
        if let Some(tag) = &self.tag {
            write!(out, ":{tag}")?;
        }
        self.digest.iter().try_for_each(|digest| write!(out, "@{digest}"))
    }
}

/// A local tag: hub, name and tag, all said. One file of a store's `refs/` is one of these.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FullName {
    /// The hub it came from, or [`LOCAL_HUB`].
    pub hub: HubName,
    /// The name inside the hub.
    pub name: Name,
    /// The tag.
    pub tag: Tag,
}

impl fmt::Display for FullName {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}:{}", self.hub, self.name, self.tag)
    }
}

impl FromStr for FullName {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let error = || ReferenceError::new(text, "full name", "expected HUB/NAME:TAG");
        let (hub, rest) = text.split_once('/').ok_or_else(error)?;
        let (name, tag) = rest.rsplit_once(':').ok_or_else(error)?;
        Ok(Self { hub: hub.parse()?, name: name.parse()?, tag: tag.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parts(text: &str) -> (Option<String>, String, Option<String>, bool) {
        let parsed: Reference = text.parse().expect(text);
        assert_eq!(parsed.to_string(), text);
        (
            parsed.hub.map(|hub| hub.to_string()),
            parsed.name.to_string(),
            parsed.tag.map(|tag| tag.to_string()),
            parsed.digest.is_some(),
        )
    }

    #[test]
    fn parts_are_told_apart() {
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(parts("numpy"), (None, "numpy".into(), None, false));
        assert_eq!(parts("team/numpy:1.2"), (None, "team/numpy".into(), some("1.2"), false));
        assert_eq!(parts("localhost/a:x"), (some("localhost"), "a".into(), some("x"), false));
        assert_eq!(parts("local/a"), (some("local"), "a".into(), None, false));
        assert_eq!(
            parts("hub.example:5000/a/b:1"),
            (some("hub.example:5000"), "a/b".into(), some("1"), false)
        );
        let digest = Digest::of(b"x");
        assert_eq!(parts(&format!("a:1@{digest}")), (None, "a".into(), some("1"), true));
        assert_eq!(parts(&format!("a@{digest}")), (None, "a".into(), None, true));
    }

    #[test]
    fn wrong_ones_are_refused() {
        for wrong in [
            "",
            "/",
            "a/",
            "/a",
            "A",
            "a:",
            "a:.x",
            "a@",
            "a@sha256:00",
            "a b",
            "../a",
            "a/../b",
            "a..b",
            "a._b",
            "hub.example:0/a",
            "hub.example:99999/a",
            "a:b:c",
            "-a",
            "a-",
            "a___b",
            "hub.example/../../etc:x",
        ] {
            assert!(wrong.parse::<Reference>().is_err(), "{wrong:?}");
        }
    }

    /// Texts that are a hub for certain: an alias without a dot or a port would be a part of the name.
    const HUB: &str = "localhost(:[1-9][0-9]{0,3})?|local|[a-z0-9]{1,9}(\\.[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?){1,3}(:[1-9][0-9]{0,3})?";
    const COMPONENT: &str = "[a-z0-9]{1,8}((\\.|_|__|-{1,3})[a-z0-9]{1,5}){0,2}";
    const TAG: &str = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,12}";

    /// A first component with a dot would be a hub.
    fn name() -> impl Strategy<Value = String> {
        let first = COMPONENT.prop_filter("a hub", |first| !is_hub_component(first));
        (first, proptest::collection::vec(COMPONENT, 0..3))
            .prop_map(|(first, rest)| [vec![first], rest].concat().join("/"))
    }

    prop_compose! {
        fn reference()(
            hub in proptest::option::of(HUB),
            name in name(),
            tag in proptest::option::of(TAG),
            digest in proptest::option::of(any::<[u8; 32]>()),
        ) -> Reference {
            Reference {
                hub: hub.map(|hub| hub.parse().expect("a hub")),
                name: name.parse().expect("a name"),
                tag: tag.map(|tag| tag.parse().expect("a tag")),
                digest: digest.map(Digest::from_bytes),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_parses_to_the_same(reference in reference()) {
            prop_assert_eq!(reference.to_string().parse(), Ok(reference));
        }

        #[test]
        fn full_names_too(hub in HUB, name in name(), tag in TAG) {
            let text = format!("{hub}/{name}:{tag}");
            let parsed: FullName = text.parse().expect("a full name");
            prop_assert_eq!((parsed.hub.as_str(), parsed.name.as_str(), parsed.tag.as_str()), (&*hub, &*name, &*tag));
            prop_assert_eq!(parsed.to_string(), text);
        }

        /// A true one with a piece of it replaced: close to the grammar's borders, on both sides.
        #[test]
        fn what_parses_prints_as_it_was(
            reference in reference(),
            at: prop::sample::Index,
            length in 0_usize..3,
            other in "[A-Za-z0-9.:/@_-]{0,3}",
        ) {
            let mut text = reference.to_string();
            let start = at.index(text.len());
            text.replace_range(start..(start + length).min(text.len()), &other);
            if let Ok(parsed) = text.parse::<Reference>() {
                prop_assert_eq!(parsed.to_string(), text);
            }
        }
    }
}
