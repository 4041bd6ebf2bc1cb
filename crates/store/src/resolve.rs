//! From what a person typed to a digest, among what this store knows.
//!
//! With a digest, only the digest decides. With a hub, only that full name. A short name leads somewhere only if
//! all tags that have it, whatever their hub, lead to one digest. Nothing is found because its name looks alike; who
//! finds nothing is told what does.

use std::fmt;

use format::{Digest, FullName, Name, Reference, Tag};

use crate::{FileError, Store};

/// What a reference leads to. Hold a lease on the digest before relying on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The tag that led there; for a bare digest one of its tags, if it has any. For people.
    pub name: Option<FullName>,
    /// The snapshot.
    pub digest: Digest,
    /// The location of the hub it came from, if it came from one.
    pub origin: Option<String>,
}

/// A tag that a short name could mean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The tag.
    pub name: FullName,
    /// Where it leads.
    pub digest: Digest,
}

impl fmt::Display for Candidate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ({})", self.name, self.digest)
    }
}

/// Why a reference leads nowhere in this store.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The store does not know it.
    #[error(
        "{reference} is not in this store{}: `spore pull {reference}` fetches it, `spore images` lists what is here",
        but_there_are(similar)
    )]
    NotFound {
        /// What was typed.
        reference: String,
        /// Tags here whose names end as it does, those with its tag first: at most three.
        similar: Vec<FullName>,
    },
    /// Several snapshots have this short name.
    #[error("{reference} can mean {}: name one with its hub, or by digest", list(candidates))]
    Ambiguous {
        /// What was typed.
        reference: String,
        /// What it can mean.
        candidates: Vec<Candidate>,
    },
    /// The store could not be read.
    #[error(transparent)]
    File(#[from] FileError),
}

fn list(candidates: &[Candidate]) -> String {
    candidates.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ")
}

fn but_there_are(similar: &[FullName]) -> String {
    match similar {
        [] => String::new(),
        [one] => format!(", but {one} is"),
        some => {
            format!(", but {} are", some.iter().map(ToString::to_string).collect::<Vec<_>>().join(" and "))
        }
    }
}

fn last_component(name: &Name) -> &str {
    name.as_str().rsplit('/').next().unwrap_or_default()
}

/// What somebody may have meant who left out a part of a name or took another tag.
fn similar<'a>(reference: &Reference, tag: &Tag, names: impl Iterator<Item = &'a FullName>) -> Vec<FullName> {
    const SHOWN: usize = 3;
    let wanted = last_component(&reference.name);
    let mut similar: Vec<_> = names.filter(|name| last_component(&name.name) == wanted).cloned().collect();
    similar.sort_by_key(|name| name.tag != *tag);
    similar.truncate(SHOWN);
    similar
}

impl Store {
    /// Finds the one snapshot that `reference` means among those in this store.
    ///
    /// # Errors
    /// If there is none, or more than one, or the tags cannot be read.
    pub fn resolve(&self, reference: &Reference) -> Result<Resolved, ResolveError> {
        let refs = self.refs()?;
        let tag = reference.tag_or_default();
        let same_name = |name: &FullName| {
            name.name == reference.name
                && name.tag == tag
                && reference.hub.as_ref().is_none_or(|hub| *hub == name.hub)
        };
        let not_found = |similar| ResolveError::NotFound { reference: reference.to_string(), similar };
        let (digest, names): (Digest, Vec<_>) = if let Some(digest) = reference.digest {
            if !self.has_blob(&digest)? {
                return Err(not_found(Vec::new()));
            }
            // Names decide nothing here: they only say where missing parts may be fetched.
            let mut names: Vec<_> = refs.iter().filter(|(_, record)| record.digest == digest).collect();
            names.sort_by_key(|(name, _)| !same_name(name));
            (digest, names)
        } else {
            let names: Vec<_> = refs.iter().filter(|(name, _)| same_name(name)).collect();
            let digest = names.first().map(|(_, record)| record.digest);
            let digest = digest.ok_or_else(|| not_found(similar(reference, &tag, refs.keys())))?;
            if names.iter().any(|(_, record)| record.digest != digest) {
                let candidate = |(name, record): &(&FullName, &crate::RefRecord)| Candidate {
                    name: (*name).clone(),
                    digest: record.digest,
                };
                let candidates = names.iter().map(candidate).collect();
                return Err(ResolveError::Ambiguous { reference: reference.to_string(), candidates });
            }
            (digest, names)
        };
        Ok(Resolved {
            name: names.first().map(|(name, _)| (*name).clone()),
            digest,
            origin: names.iter().find_map(|(_, record)| record.origin.clone()),
        })
    }
}

#[cfg(test)]
mod tests;
