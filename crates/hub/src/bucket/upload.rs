//! Putting a blob: a small one at once, a large one in parts, of which some are under way together.
//!
//! Wrong bytes never get a blob's name: those of a small blob are hashed before the request, those of a large one before
//! its parts are put together. The store compares what arrives with the SHA-256 that it is sent with. An upload that
//! fails is aborted, and one whose future is dropped, too; what a killed process leaves is invisible, until
//! [`crate::prune`] aborts it.

use std::sync::Arc;

use bytes::Bytes;
use format::{Digest, Hasher};
use futures_util::stream::{FuturesUnordered, StreamExt};
use object_store::multipart::{MultipartStore, PartId};
use object_store::{PutMultipartOptions, PutPayload};
use tokio::io::AsyncReadExt;

use super::objects::{Content, Expect, Objects};
use super::transport::{Problem, problem};
use crate::{BlobReader, HubError, Upload};

/// The largest blob that is sent at once, and held in memory for that.
const WHOLE: u64 = 16 << 20;
/// Bytes of a part, but for the last one. Stores want at least 5 MiB.
const PART: u64 = 8 << 20;
/// Parts of one blob that are under way together.
const PARTS: usize = 2;

pub(super) async fn put(objects: &Arc<Objects>, key: &str, blob: &Upload<'_>) -> Result<(), HubError> {
    let source = Source {
        reader: blob
            .source
            .open()
            .await
            .map_err(|source| HubError::Source { digest: blob.digest, source })?,
        hasher: Hasher::new(),
        read: 0,
        digest: blob.digest,
        size: blob.size,
        hub: objects.location().to_owned(),
    };
    if blob.size <= WHOLE { whole(objects, key, source).await } else { parts(objects, key, source).await }
}

async fn whole(objects: &Objects, key: &str, mut source: Source) -> Result<(), HubError> {
    let bytes = source.next(WHOLE).await?;
    source.check_end().await?;
    objects.write(key, bytes, &Content::BLOB, Expect::Anything).await.map(drop)
}

async fn parts(objects: &Arc<Objects>, key: &str, mut source: Source) -> Result<(), HubError> {
    let path = objects.path(key);
    let options =
        PutMultipartOptions { attributes: Content::BLOB.attributes(), ..PutMultipartOptions::default() };
    let id =
        objects.s3.create_multipart_opts(&path, options).await.map_err(|error| objects.meaning_of(&error))?;
    let mut upload = Unfinished { objects: Arc::clone(objects), key: key.to_owned(), id: Some(id.clone()) };
    let sent = send_parts(objects, key, &id, &mut source).await;
    let parts = match sent {
        Ok(parts) => parts,
        Err(error) => {
            upload.abort().await;
            return Err(error);
        }
    };
    let size = source.size;
    let completed = objects.s3.complete_multipart(&path, &id, parts).await;
    match completed {
        Ok(_) => {}
        // The answer to an earlier try was lost: it is done, and the upload is not known any more.
        Err(error) => {
            let is_there = objects.head(key).await?.is_some_and(|found| found.size == size);
            if !is_there {
                upload.abort().await;
                return Err(objects.meaning_of(&error));
            }
        }
    }
    upload.id = None;
    Ok(())
}

/// Sends all parts. What they are together is known to be the blob when this returns.
async fn send_parts(
    objects: &Objects,
    key: &str,
    id: &String,
    source: &mut Source,
) -> Result<Vec<PartId>, HubError> {
    let path = &objects.path(key);
    let mut under_way = FuturesUnordered::new();
    let mut done: Vec<(usize, PartId)> = Vec::new();
    for number in 0_usize.. {
        let bytes = source.next(PART).await?;
        if bytes.is_empty() {
            break;
        }
        under_way.push(async move {
            let part = objects.s3.put_part(path, id, number, PutPayload::from_bytes(bytes)).await;
            part.map(|part| (number, part)).map_err(|error| objects.meaning_of(&error))
        });
        if under_way.len() == PARTS {
            done.extend(under_way.next().await.transpose()?);
        }
    }
    source.check_end().await?;
    while let Some(part) = under_way.next().await {
        done.push(part?);
    }
    done.sort_unstable_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, part)| part).collect())
}

/// An upload in parts, aborted when it is dropped before its end.
struct Unfinished {
    objects: Arc<Objects>,
    key: String,
    id: Option<String>,
}

impl Unfinished {
    /// Makes the store forget the parts. That fails where the store does, and then `prune` does it.
    async fn abort(&mut self) {
        if let Some(id) = self.id.take() {
            abort(&self.objects, &self.key, &id).await.ok();
        }
    }
}

pub(super) async fn abort(objects: &Objects, key: &str, id: &str) -> Result<(), HubError> {
    let aborted = objects.s3.abort_multipart(&objects.path(key), &id.to_owned()).await;
    match aborted {
        Ok(()) => Ok(()),
        Err(error) => match problem(&error) {
            Some(Problem::Refused(refusal)) if refusal.status == 404 => Ok(()),
            Some(problem) => Err(objects.meaning(problem)),
            None => Err(objects.meaning_of(&error)),
        },
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.id.take(), tokio::runtime::Handle::try_current()) else { return };
        let (objects, key) = (Arc::clone(&self.objects), std::mem::take(&mut self.key));
        runtime.spawn(async move { abort(&objects, &key, &id).await });
    }
}

/// What is sent, hashed as it is read.
struct Source {
    reader: BlobReader,
    hasher: Hasher,
    read: u64,
    digest: Digest,
    size: u64,
    hub: String,
}

impl Source {
    /// The next `length` bytes, fewer at the end.
    async fn next(&mut self, length: u64) -> Result<Bytes, HubError> {
        // One byte more than announced is enough to know.
        let length = length.min((self.size - self.read).saturating_add(1));
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or_default());
        let read = (&mut self.reader).take(length).read_to_end(&mut bytes).await;
        read.map_err(|source| HubError::Source { digest: self.digest, source })?;
        self.hasher.update(&bytes);
        self.read += bytes.len() as u64;
        if self.read > self.size {
            return Err(self.corrupt(&format!("its source gave more than the {} bytes announced", self.size)));
        }
        Ok(bytes.into())
    }

    /// That all bytes have been read, and are the blob.
    async fn check_end(&mut self) -> Result<(), HubError> {
        self.next(1).await?;
        if self.read < self.size {
            return Err(
                self.corrupt(&format!("its source gave fewer than the {} bytes announced", self.size))
            );
        }
        match std::mem::take(&mut self.hasher).finish() {
            found if found == self.digest => Ok(()),
            found => Err(self.corrupt(&format!("its source gave bytes with the digest {found}"))),
        }
    }

    fn corrupt(&self, reason: &str) -> HubError {
        HubError::Corrupt {
            hub: self.hub.clone(),
            digest: self.digest,
            reason: format!("{reason}; not stored"),
        }
    }
}
