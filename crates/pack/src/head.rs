//! What a pack says of itself: that it is one, which snapshot it holds, and what that consists of.

use format::{Digest, Manifest, PlannedBlob};
use serde::de::DeserializeOwned;

use crate::error::{ReadError, UnpackError};
use crate::names::ProposedName;
use crate::names::{EntryName, Index, Layout};
use crate::source::{Declared, Source};

/// The beginning of a pack.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) snapshot: Digest,
    pub(crate) manifest: Manifest,
    /// The manifest as it came.
    pub(crate) bytes: Vec<u8>,
    /// The name that it proposes.
    pub(crate) name: Option<ProposedName>,
}

impl Head {
    /// Reads it, and tells the source what may follow.
    pub(crate) fn read(source: &mut dyn Source) -> Result<Self, UnpackError> {
        let (layout, index) = source.head()?;
        let refused = |name: EntryName, reason: String| ReadError::entry(&name.to_string(), reason);
        let layout: Layout = document(EntryName::Layout, &layout)?;
        layout.check().map_err(|reason| refused(EntryName::Layout, reason))?;
        let index: Index = document(EntryName::Index, &index)?;
        let entry = index.only().map_err(|reason| refused(EntryName::Index, reason))?;
        let (snapshot, bytes) = (entry.digest, source.manifest(entry.digest)?);
        let part = PlannedBlob { role: "manifest".to_owned(), digest: snapshot, size: entry.size };
        if bytes.len() as u64 != entry.size {
            let reason = format!("it has {} bytes: index.json says {}", bytes.len(), entry.size);
            return Err(refused(EntryName::Blob(snapshot), reason).into());
        }
        let found = Digest::of(&bytes);
        if found != snapshot {
            return Err(UnpackError::Corrupt { part, found });
        }
        let manifest =
            Manifest::parse(&bytes).map_err(|source| UnpackError::Manifest { digest: snapshot, source })?;
        source.declare(Declared::by(&manifest))?;
        Ok(Self { snapshot, manifest, bytes, name: entry.name() })
    }
}

fn document<T: DeserializeOwned>(name: EntryName, bytes: &[u8]) -> Result<T, ReadError> {
    serde_json::from_slice(bytes).map_err(|error| ReadError::entry(&name.to_string(), error.to_string()))
}
