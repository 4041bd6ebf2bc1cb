//! The values of a recipe, each parsed once into a type that can only hold what is allowed.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Reads and writes a type as the text that [`FromStr`] and [`fmt::Display`] speak, so that a mistake is
/// reported with its line.
macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}

/// A newtype over a text that a check has passed.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $check:path, $expected:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The text as it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                if $check(text) { Ok(Self(text.to_owned())) } else { Err(unexpected(text, $expected)) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    };
}

fn unexpected(text: &str, expected: &str) -> String {
    let shown: String = text.chars().take(80).collect();
    format!("{shown:?} is not allowed here: expected {expected}")
}

checked_text!(
    /// An absolute, normalised path in the guest, such as `/usr/local/bin/tool` or `/`.
    GuestPath,
    is_guest_path,
    "an absolute path without empty parts, `.` and `..`"
);
checked_text!(
    /// A Debian suite by codename, such as `bookworm` or `bookworm-backports`.
    Suite,
    is_suite,
    "the codename of a Debian suite, such as \"bookworm\""
);
checked_text!(
    /// A Debian archive's URL, without user, password, query or trailing slash.
    Mirror,
    is_mirror,
    "a URL like \"http://deb.debian.org/debian\", without user, password or trailing slash"
);
checked_text!(
    /// A Debian package by name, such as `python3-numpy`, optionally with its exact version: `NAME=VERSION`.
    PackageName,
    is_package,
    "the name of a Debian package, optionally with =VERSION"
);
checked_text!(
    /// A component of a Debian archive, such as `main`.
    Component,
    is_component,
    "a component of the archive, such as \"main\" or \"non-free-firmware\""
);
checked_text!(
    /// The name of an environment variable.
    EnvironmentName,
    is_environment_name,
    "letters, digits and _, not starting with a digit"
);
as_text!(GuestPath, Suite, Mirror, PackageName, Component, EnvironmentName, Size, TimeSpan, Mode, Owner);

fn is_guest_path(text: &str) -> bool {
    text == "/"
        || text.len() <= 4095
            && !text.contains(char::is_control)
            && text.strip_prefix('/').is_some_and(|rest| {
                rest.split('/').all(|part| !matches!(part, "" | "." | "..") && part.len() <= 255)
            })
}

fn is_suite(text: &str) -> bool {
    text.len() <= 64
        && text.split('-').all(|part| !part.is_empty() && part.bytes().all(|c| c.is_ascii_lowercase()))
}

fn is_mirror(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    text.len() <= 1024
        && rest.is_some_and(|rest| {
            !rest.is_empty()
                && !rest.ends_with('/')
                && !rest.starts_with('/')
                && rest.bytes().all(|c| c.is_ascii_alphanumeric() || b".-_~/:+[]".contains(&c))
        })
}

fn is_package(text: &str) -> bool {
    let (name, version) = text.split_once('=').map_or((text, None), |(name, version)| (name, Some(version)));
    let starts = |text: &str| text.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let name_fits = (2..=128).contains(&name.len())
        && starts(name)
        && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"+.-".contains(&c));
    name_fits
        && version.is_none_or(|version| {
            (1..=128).contains(&version.len())
                && version.bytes().all(|c| c.is_ascii_alphanumeric() || b"+.~:-".contains(&c))
        })
}

fn is_component(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|c| c.is_ascii_lowercase() || c == b'-')
}

fn is_environment_name(text: &str) -> bool {
    text.len() <= 255
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_')
}

impl GuestPath {
    /// The path below the root, without its leading slash: empty for `/`.
    #[must_use]
    pub fn below_root(&self) -> &str {
        self.0.trim_start_matches('/')
    }
}

impl Suite {
    /// Whether this is a backports suite, which has neither updates nor security suites of its own.
    #[must_use]
    pub fn is_backports(&self) -> bool {
        self.0.ends_with("-backports")
    }

    /// Whether this suite is always moving and so has no updates and security suites.
    #[must_use]
    pub fn is_rolling(&self) -> bool {
        matches!(self.0.as_str(), "sid" | "unstable" | "experimental")
    }
}

/// A number of bytes, written `512MiB`. Units are KiB, MiB, GiB and TiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(u64);

const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];

impl Size {
    /// So many MiB.
    #[must_use]
    pub const fn mib(count: u32) -> Self {
        Self((count as u64) << 20)
    }

    /// The size in bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (unit, shift) = UNITS.into_iter().find(|(unit, _)| text.ends_with(unit))?;
            let count: u64 = digits(text.strip_suffix(unit)?)?.into();
            count.checked_mul(1 << shift)
        };
        parse().map(Self).ok_or_else(|| unexpected(text, "a size such as \"512MiB\" or \"1GiB\""))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, shift): &(&str, u32)| self.0 != 0 && self.0.trailing_zeros() >= *shift;
        match UNITS.into_iter().find(fits) {
            Some((unit, shift)) => write!(out, "{}{unit}", self.0 >> shift),
            None => write!(out, "{} bytes", self.0),
        }
    }
}

/// How long something may take, written `90s`, `10m` or `2h`: one second to 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeSpan(u32);

impl TimeSpan {
    pub(crate) const fn seconds(seconds: u32) -> Self {
        Self(seconds)
    }

    /// The time span as the standard library has it.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_secs(self.0 as u64)
    }
}

impl FromStr for TimeSpan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (unit, seconds) =
                [("s", 1), ("m", 60), ("h", 3600)].into_iter().find(|(u, _)| text.ends_with(u))?;
            let count = digits(text.strip_suffix(unit)?)?.checked_mul(seconds)?;
            (1..=86_400).contains(&count).then_some(Self(count))
        };
        parse().ok_or_else(|| unexpected(text, "a time from \"1s\" to \"24h\", in s, m or h"))
    }
}

impl fmt::Display for TimeSpan {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}s", self.0)
    }
}

fn digits(text: &str) -> Option<u32> {
    text.bytes().all(|c| c.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Permission bits of an added file, written in octal: `0644`. No set-user-ID, set-group-ID or sticky bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mode(u32);

impl Mode {
    /// The nine permission bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let octal = text.strip_prefix('0').unwrap_or(text);
        let fits = octal.len() == 3 && octal.bytes().all(|c| (b'0'..=b'7').contains(&c));
        fits.then(|| u32::from_str_radix(octal, 8).ok())
            .flatten()
            .map(Self)
            .ok_or_else(|| unexpected(text, "permissions in octal, \"0000\" to \"0777\""))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:04o}", self.0)
    }
}

/// Who owns an added file, by number: `UID:GID`, each at most 65533.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner {
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
}

impl FromStr for Owner {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parse = || {
            let (uid, gid) = text.split_once(':')?;
            let (uid, gid) = (digits(uid)?, digits(gid)?);
            (uid <= 65_533 && gid <= 65_533).then_some(Self { uid, gid })
        };
        parse().ok_or_else(|| unexpected(text, "numbers UID:GID, such as \"1000:1000\", each at most 65533"))
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.uid, self.gid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all<T: FromStr + fmt::Display>(right: &[&str], wrong: &[&str]) {
        for text in right {
            assert_eq!(text.parse::<T>().map(|value| value.to_string()).ok().as_deref(), Some(*text));
        }
        for text in wrong {
            assert!(text.parse::<T>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn each_value_takes_what_it_documents() {
        all::<GuestPath>(
            &["/", "/a", "/usr/lib/x y"],
            &["", "a", "//", "/a/", "/a//b", "/./a", "/a/..", "/a\nb"],
        );
        all::<Suite>(&["bookworm", "bookworm-backports", "sid"], &["", "-a", "a b", "A", "a/b", "a-"]);
        all::<Mirror>(
            &["http://deb.debian.org/debian", "https://[::1]:80/a"],
            &[
                "deb.debian.org",
                "file:///x",
                "http://",
                "http://u@h/x",
                "http://h/",
                "http://h/a b",
                "http://h/?q",
            ],
        );
        all::<PackageName>(
            &["g++", "libc6", "python3-numpy=1:1.24.2-1+deb12u1"],
            &["", "a", "-x", "a b", "Ab", "ab=", "?true", "ab=1 2", "ab,cd"],
        );
        all::<EnvironmentName>(&["PATH", "_a1"], &["", "1a", "a-b", "a=b"]);
        all::<Size>(
            &["1KiB", "512MiB", "3GiB"],
            &["", "1", "1MB", "1.5GiB", "-1MiB", "99999999TiB", "MiB", "+1MiB"],
        );
        all::<TimeSpan>(&["1s", "86400s"], &["", "0s", "5", "25h", "1d", "-1s", "1500000000m"]);
        all::<Mode>(&["0644", "0000"], &["", "644x", "4755", "07777", "0888", "00644"]);
        all::<Owner>(&["0:0", "1000:33"], &["", "0", "root:root", "65534:0", "1:2:3", "-1:0"]);
    }

    #[test]
    fn units_are_powers_of_two() {
        assert_eq!("2MiB".parse::<Size>().map(Size::bytes), Ok(2 << 20));
        assert_eq!("2m".parse::<TimeSpan>().map(TimeSpan::duration), Ok(Duration::from_secs(120)));
        assert_eq!("0755".parse::<Mode>().map(Mode::bits), Ok(0o755));
    }
}
