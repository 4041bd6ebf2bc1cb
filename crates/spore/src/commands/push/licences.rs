//! What a push says of the licences of what it publishes: all of them to programs, the most frequent to people.

use std::fmt;

use catalog::{LicenceCount, Licences};
use format::Digest;
use format::manifest::annotation;
use serde::Serialize;
use store::Store;

use crate::error::CliError;

/// How many licences people are shown by name.
const SHOWN: usize = 12;

/// The licences of a snapshot that is going to be published.
#[derive(Debug, Serialize)]
pub(super) struct Published {
    #[serde(flatten)]
    summary: Licences,
    named: Vec<LicenceCount>,
}

impl Published {
    /// Of a snapshot in the store.
    pub(super) fn of(store: &Store, digest: &Digest) -> Result<Self, CliError> {
        let (manifest, _) = store.read_manifest(digest)?;
        let packages = store.read_config(&manifest.config.digest)?.provenance.packages;
        let declared = manifest.annotations.get(annotation::LICENSES).map(String::as_str);
        Ok(Self { summary: Licences::new(declared, &packages), named: LicenceCount::all(&packages) })
    }
}

impl fmt::Display for Published {
    /// ```text
    /// licences: Apache-2.0; 125 packages: 101 copyleft, 24 permissive
    ///   GPL-2 53, GPL-2+ 52, BSD-3-clause 33 and 162 more: all are in --format json
    /// ```
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "licences: {}", self.summary)?;
        for (n, LicenceCount { licence, packages }) in self.named.iter().take(SHOWN).enumerate() {
            write!(out, "{}{licence} {packages}", if n == 0 { "\n  " } else { ", " })?;
        }
        match self.named.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(out, " and {more} more: all are in --format json"),
        }
    }
}

#[cfg(test)]
mod tests {
    use format::config::Package;

    use super::*;

    fn shown(licences: usize) -> String {
        let package = Package {
            name: "a".into(),
            version: "1".into(),
            licences: (10..10 + licences).map(|n| format!("MIT-{n}")).collect(),
            source: "a".into(),
            source_version: "1".into(),
        };
        let packages = [package];
        let summary = Licences::new(None, &packages);
        Published { summary, named: LicenceCount::all(&packages) }.to_string()
    }

    #[test]
    fn people_are_shown_the_most_frequent() {
        assert_eq!(shown(0), "licences: none declared; 1 package: 1 unknown");
        assert!(
            shown(SHOWN).ends_with(
                "\n  MIT-10 1, MIT-11 1, MIT-12 1, MIT-13 1, MIT-14 1, MIT-15 1, MIT-16 1, \
             MIT-17 1, MIT-18 1, MIT-19 1, MIT-20 1, MIT-21 1"
            ),
            "{}",
            shown(SHOWN)
        );
        assert!(shown(SHOWN + 2).ends_with("MIT-21 1 and 2 more: all are in --format json"));
    }
}
