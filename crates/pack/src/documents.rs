//! The blobs of a snapshot that say what the others are: config and maps, wherever they are.

use std::collections::HashSet;

use format::snapshot::{self, MapReader, Roles, declared_maps};
use format::{Config, Descriptor, Digest, Maps, PlannedBlob, limits};
use store::{BlobWriter, Lease, Store};

use crate::UnpackError;
use crate::head::Head;
use crate::source::Source;

/// Config and maps, as far as pack and store have them.
pub(crate) struct Documents {
    /// Those that the pack has and the store had not, in a pack's order: whole and verified, and to be seen by nobody yet. A
    /// snapshot may have hundreds of megabytes of them, which are not to be in memory.
    pub(crate) new: Vec<(PlannedBlob, BlobWriter)>,
    /// Those that were looked for, wherever they were found.
    pub(crate) seen: HashSet<Digest>,
    /// Those that are nowhere.
    pub(crate) absent: HashSet<Digest>,
    /// What each blob of the snapshot is for.
    pub(crate) roles: Roles,
    /// If all of them could be had: checked against each other and against the manifest.
    pub(crate) whole: Option<(Config, Maps)>,
}

/// Reads them from a pack whose manifest was read just now, or from the store.
pub(crate) fn read(
    store: &Store,
    lease: &Lease,
    head: &Head,
    source: &mut dyn Source,
) -> Result<Documents, UnpackError> {
    let Head { manifest, snapshot, .. } = head;
    let mut documents = Documents {
        new: Vec::new(),
        seen: HashSet::new(),
        absent: HashSet::new(),
        roles: Roles::new(manifest, Vec::new()),
        whole: None,
    };
    let inconsistent = |source| UnpackError::Inconsistent { snapshot: *snapshot, source };
    let mut reader = Reader { store, lease, source, documents: &mut documents };
    let Some(bytes) = reader.small(&manifest.config, limits::CONFIG_BYTES)? else { return Ok(documents) };
    let config = Config::parse(&bytes).map_err(|source| {
        let part = reader.documents.roles.blob(&manifest.config);
        UnpackError::Config { part, source }
    })?;
    reader.documents.roles = Roles::new(manifest, snapshot::named_by_config(&config));
    let mut maps = MapReader::new(manifest, &config);
    for blob in declared_maps(manifest, &config).map_err(inconsistent)? {
        let Some(bytes) = reader.small(blob, limits::MAP_BYTES)? else { continue };
        let map = MapReader::parse(&bytes, maps.is_layer(&blob.digest)).map_err(|source| {
            let part = reader.documents.roles.blob(blob);
            UnpackError::Map { part, source }
        })?;
        maps.insert(blob.digest, map).map_err(inconsistent)?;
    }
    let maps = maps.finish(&config);
    documents.roles = Roles::new(manifest, snapshot::closure(&config, &maps));
    if documents.absent.is_empty() {
        snapshot::check(manifest, &config, &maps).map_err(inconsistent)?;
        documents.whole = Some((config, maps));
    }
    Ok(documents)
}

struct Reader<'a> {
    store: &'a Store,
    lease: &'a Lease,
    source: &'a mut dyn Source,
    documents: &'a mut Documents,
}

impl Reader<'_> {
    /// All of a blob, verified, and kept if it is new; `None` if it is nowhere. What the pack has is read there, even if the store
    /// has it too. The manifest bounds its size by its type.
    fn small(&mut self, blob: &Descriptor, limit: usize) -> Result<Option<Vec<u8>>, UnpackError> {
        let part = self.documents.roles.blob(blob);
        let is_here = is_here(self.store, self.lease, &part)?;
        self.documents.seen.insert(blob.digest);
        if !self.source.start(blob)? {
            if is_here {
                return Ok(Some(self.store.read_blob(&blob.digest, limit)?));
            }
            self.documents.absent.insert(blob.digest);
            return Ok(None);
        }
        let bytes = self.source.all(blob.size)?;
        let found = Digest::of(&bytes);
        if found != blob.digest {
            return Err(UnpackError::Corrupt { part, found });
        }
        if !is_here {
            let mut writer = self.store.blob_writer(self.lease)?;
            writer.append(&bytes)?;
            self.documents.new.push((part, writer));
        }
        Ok(Some(bytes))
    }
}

/// Protects a blob and says whether the store has it, of the size that was declared.
pub(crate) fn is_here(store: &Store, lease: &Lease, part: &PlannedBlob) -> Result<bool, UnpackError> {
    if !store.claim_blob(lease, &part.digest)? {
        return Ok(false);
    }
    let found = store.blob_size(&part.digest)?;
    if found == part.size { Ok(true) } else { Err(UnpackError::Size { part: part.clone(), found }) }
}

impl Documents {
    /// Whether a blob came from the pack and the store had it not.
    pub(crate) fn is_new(&self, digest: &Digest) -> bool {
        self.new.iter().any(|(part, _)| part.digest == *digest)
    }
}
