//! How many packages are under which licences, for people: a summary of what packages declare, no legal advice.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use format::config::Package;
use serde::{Deserialize, Serialize};

use crate::Text;

/// What a kind of licence asks of whoever passes a package on. The order is that of how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// No licence is declared, or none that is known here.
    Unknown,
    /// Nothing.
    PublicDomain,
    /// Notices.
    Permissive,
    /// Notices, and the source of the work itself.
    WeakCopyleft,
    /// Notices, and the source of all that it is made a part of.
    Copyleft,
}

/// How the names of licences begin, in lower case: SPDX's, and Debian's where they differ. The first that fits counts.
const KNOWN: &[(&str, Family)] = &[
    ("agpl", Family::Copyleft),
    ("gpl", Family::Copyleft),
    ("gfdl", Family::Copyleft),
    ("cc-by-sa", Family::Copyleft),
    ("lgpl", Family::WeakCopyleft),
    ("mpl", Family::WeakCopyleft),
    ("epl", Family::WeakCopyleft),
    ("cddl", Family::WeakCopyleft),
    ("cpl", Family::WeakCopyleft),
    ("cc0", Family::PublicDomain),
    ("public-domain", Family::PublicDomain),
    ("pd", Family::PublicDomain),
    ("unlicense", Family::PublicDomain),
    ("blessing", Family::PublicDomain),
    ("0bsd", Family::Permissive),
    ("apache", Family::Permissive),
    ("artistic", Family::Permissive),
    ("boost", Family::Permissive),
    ("bsd", Family::Permissive),
    ("bsl-1", Family::Permissive),
    ("bzip2", Family::Permissive),
    ("cc-by", Family::Permissive),
    ("curl", Family::Permissive),
    ("expat", Family::Permissive),
    ("fsfap", Family::Permissive),
    ("fsful", Family::Permissive),
    ("ftl", Family::Permissive),
    ("hpnd", Family::Permissive),
    ("ijg", Family::Permissive),
    ("isc", Family::Permissive),
    ("libpng", Family::Permissive),
    ("mit", Family::Permissive),
    ("ncsa", Family::Permissive),
    ("ntp", Family::Permissive),
    ("ofl", Family::Permissive),
    ("openssl", Family::Permissive),
    ("postgresql", Family::Permissive),
    ("psf", Family::Permissive),
    ("python", Family::Permissive),
    ("tcl", Family::Permissive),
    ("unicode", Family::Permissive),
    ("w3c", Family::Permissive),
    ("wtfpl", Family::Permissive),
    ("x11", Family::Permissive),
    ("zlib", Family::Permissive),
];

impl Family {
    /// The family of a package: of all that it declares, the one that asks the most, also where one could choose.
    #[must_use]
    pub fn of(licences: &[String]) -> Self {
        let is_separator =
            |c: char| c.is_whitespace() || matches!(c, '(' | ')' | ',' | ';' | '/' | '|' | '&');
        let words = licences.iter().flat_map(|licence| licence.split(is_separator));
        words.filter_map(Self::of_word).max().unwrap_or(Self::Unknown)
    }

    fn of_word(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        KNOWN.iter().find(|(start, _)| word.starts_with(start)).map(|(_, family)| *family)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Unknown => "unknown",
            Self::PublicDomain => "public domain",
            Self::Permissive => "permissive",
            Self::WeakCopyleft => "weak copyleft",
            Self::Copyleft => "copyleft",
        })
    }
}

/// Packages under a family of licences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FamilyCount {
    /// The family.
    pub family: Family,
    /// How many packages.
    pub packages: usize,
}

/// The licences of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Licences {
    /// What the snapshot's maker says of what the recipe adds: an SPDX expression, if it is one.
    pub declared: Option<Text>,
    /// Its packages by family, each package once, the family that asks the most first.
    pub families: Vec<FamilyCount>,
}

impl Licences {
    /// Of `packages`, and of what a manifest's annotation says.
    #[must_use]
    pub fn new(declared: Option<&str>, packages: &[Package]) -> Self {
        let mut counts = BTreeMap::<Family, usize>::new();
        for package in packages {
            *counts.entry(Family::of(&package.licences)).or_default() += 1;
        }
        let families = counts.into_iter().rev().map(|(family, packages)| FamilyCount { family, packages });
        Self { declared: declared.and_then(Text::some), families: families.collect() }
    }
}

impl fmt::Display for Licences {
    /// `Apache-2.0; 312 packages: 120 copyleft, 192 permissive`
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.declared {
            Some(declared) => write!(out, "{declared}; ")?,
            None => out.write_str("none declared; ")?,
        }
        let count: usize = self.families.iter().map(|count| count.packages).sum();
        write!(out, "{count} package{}", if count == 1 { "" } else { "s" })?;
        for (n, FamilyCount { family, packages }) in self.families.iter().enumerate() {
            write!(out, "{}{packages} {family}", if n == 0 { ": " } else { ", " })?;
        }
        Ok(())
    }
}

/// Packages that name a licence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LicenceCount {
    /// The licence, as the packages write it.
    pub licence: Text,
    /// How many packages. One that names several licences counts for each.
    pub packages: usize,
}

impl LicenceCount {
    /// Every licence that `packages` name, that of the most packages first; of equal ones by name.
    #[must_use]
    pub fn all(packages: &[Package]) -> Vec<Self> {
        let mut counts = BTreeMap::<Text, usize>::new();
        for package in packages {
            let named: BTreeSet<_> =
                package.licences.iter().filter_map(|licence| Text::some(licence)).collect();
            for licence in named {
                *counts.entry(licence).or_default() += 1;
            }
        }
        let mut counts: Vec<_> =
            counts.into_iter().map(|(licence, packages)| Self { licence, packages }).collect();
        counts.sort_by_key(|count| Reverse(count.packages));
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(licences: &[&str]) -> Family {
        Family::of(&licences.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_package_counts_under_the_licence_that_asks_the_most() {
        for (licences, expected) in [
            (&["MIT"][..], Family::Permissive),
            (&["Expat", "GPL-2+"], Family::Copyleft),
            (&["LGPL-2.1+", "BSD-3-clause"], Family::WeakCopyleft),
            (&["GPL-1+ or Artistic"], Family::Copyleft),
            (&["(MIT OR Apache-2.0) AND Unicode-3.0"], Family::Permissive),
            (&["public-domain"], Family::PublicDomain),
            (&["CC-BY-SA-4.0"], Family::Copyleft),
            (&["CC-BY-4.0"], Family::Permissive),
            (&["Foo-licence", "MIT"], Family::Permissive),
            (&["Foo-licence"], Family::Unknown),
            (&[], Family::Unknown),
        ] {
            assert_eq!(family(licences), expected, "{licences:?}");
        }
    }

    fn package(licences: &[&str]) -> Package {
        Package {
            name: "a".into(),
            version: "1".into(),
            licences: licences.iter().map(|&text| text.into()).collect(),
            source: "a".into(),
            source_version: "1".into(),
        }
    }

    #[test]
    fn licences_are_counted_once_a_package() {
        let packages = [package(&["MIT", "ISC", "MIT"]), package(&["Zlib", "ISC", " "]), package(&[])];
        let counts: Vec<_> = LicenceCount::all(&packages)
            .into_iter()
            .map(|LicenceCount { licence, packages }| (licence.to_string(), packages))
            .collect();
        assert_eq!(counts, [("ISC".to_owned(), 2), ("MIT".to_owned(), 1), ("Zlib".to_owned(), 1)]);
    }

    #[test]
    fn families_are_counted() {
        let packages = ["MIT", "GPL-3+", "ISC"].map(|licence| package(&[licence]));
        let licences = Licences::new(Some("Apache-2.0"), &packages);
        assert_eq!(licences.to_string(), "Apache-2.0; 3 packages: 1 copyleft, 2 permissive");
        assert_eq!(Licences::new(None, &[]).to_string(), "none declared; 0 packages");
    }
}
