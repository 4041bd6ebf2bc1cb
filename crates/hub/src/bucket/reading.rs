//! A blob's bytes as they arrive, from as many connections as it takes.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use object_store::{GetOptions, GetRange, ObjectStore};
use tokio_util::io::StreamReader;

use super::objects::Objects;
use super::transport::{Problem, Refusal, problem};
use crate::http::{Tries, no_parts};
use crate::{BlobReader, HubError};

type Chunks = BoxStream<'static, object_store::Result<Bytes>>;

/// The bytes `range` of an object, less where it ends before; `None` if it is not there. The store has answered when this
/// returns. When a connection breaks, the rest is asked for anew.
///
/// # Errors
/// [`HubError::Unsupported`] as for every hub behind HTTP: see [`crate::http::resuming`].
pub(super) async fn read(
    objects: &Arc<Objects>,
    key: String,
    range: Range<u64>,
) -> Result<Option<BlobReader>, HubError> {
    let opened = match open(objects, &key, range.clone()).await {
        Err(HubError::Unsupported { .. }) if range.start == 0 => whole(objects, &key, range.clone()).await?,
        opened => opened?,
    };
    let Some((chunks, end)) = opened else { return Ok(None) };
    let state = Reading {
        objects: Arc::clone(objects),
        key,
        at: range.start,
        end,
        chunks: Some(chunks),
        tries: Tries::new(),
    };
    let pieces = stream::try_unfold(state, |mut state| async {
        Ok::<_, io::Error>(state.next().await?.map(|piece| (piece, state)))
    });
    Ok(Some(Box::pin(StreamReader::new(Box::pin(pieces)))))
}

struct Reading {
    objects: Arc<Objects>,
    key: String,
    /// The next byte that is wanted.
    at: u64,
    end: u64,
    chunks: Option<Chunks>,
    /// Of breaks one after another: whoever makes progress has all of them again.
    tries: Tries,
}

impl Reading {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        while self.at < self.end {
            let mut chunks = match self.chunks.take() {
                Some(chunks) => chunks,
                None => reopen(&self.objects, &self.key, self.at..self.end).await?,
            };
            let failure = match chunks.next().await {
                Some(Ok(mut piece)) => {
                    piece.truncate(usize::try_from(self.end - self.at).unwrap_or(usize::MAX));
                    self.at += piece.len() as u64;
                    self.chunks = Some(chunks);
                    // What is skipped is no progress.
                    if piece.is_empty() {
                        continue;
                    }
                    self.tries = Tries::new();
                    return Ok(Some(piece));
                }
                Some(Err(error)) => self.objects.broke(&self.key, &error),
                None => {
                    let left = self.end - self.at;
                    let reason = format!("its answer ended {left} bytes early");
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, reason));
                }
            };
            self.tries.again(failure).await.map_err(io::Error::other)?;
        }
        Ok(None)
    }
}

async fn reopen(objects: &Objects, key: &str, range: Range<u64>) -> io::Result<Chunks> {
    let opened = match open(objects, key, range.clone()).await {
        Err(HubError::Unsupported { .. }) => whole(objects, key, range).await,
        opened => opened,
    };
    let gone = || io::Error::new(io::ErrorKind::NotFound, "it is not there any more");
    Ok(opened.map_err(io::Error::other)?.ok_or_else(gone)?.0)
}

/// What comes of an object that is given in whole alone, from the first byte that is wanted on.
async fn whole(objects: &Objects, key: &str, range: Range<u64>) -> Result<Option<(Chunks, u64)>, HubError> {
    let got = objects.found(objects.s3.get_opts(&objects.path(key), GetOptions::default()).await)?;
    let Some(got) = got else { return Ok(None) };
    let (end, mut to_skip) = (range.end.min(got.range.end), range.start);
    let wanted = got.into_stream().map_ok(move |mut chunk| {
        let skipped = chunk.len().min(usize::try_from(to_skip).unwrap_or(usize::MAX));
        to_skip -= skipped as u64;
        chunk.split_off(skipped)
    });
    Ok(Some((wanted.boxed(), end)))
}

/// What comes, and where it ends.
///
/// # Errors
/// [`HubError::Unsupported`] if all of the object comes instead.
async fn open(objects: &Objects, key: &str, range: Range<u64>) -> Result<Option<(Chunks, u64)>, HubError> {
    if range.is_empty() {
        return Ok(objects.head(key).await?.map(|_| (stream::empty().boxed(), range.start)));
    }
    if objects.ignores_ranges.load(Ordering::Relaxed) {
        return Err(no_parts(objects.location()));
    }
    let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
    match objects.s3.get_opts(&objects.path(key), options).await {
        Ok(got) => {
            let end = got.range.end;
            Ok(Some((got.into_stream(), end)))
        }
        Err(error) => match problem(&error) {
            // Nothing of it is there: the object ends before.
            Some(Problem::Refused(Refusal { status: 416, .. })) => {
                Ok(Some((stream::empty().boxed(), range.start)))
            }
            Some(Problem::Refused(Refusal { status: 404, code, .. })) if code != "NoSuchBucket" => Ok(None),
            Some(Problem::Whole) => {
                // To give all where all was asked for is right.
                objects.ignores_ranges.fetch_or(range.start > 0, Ordering::Relaxed);
                Err(no_parts(objects.location()))
            }
            Some(problem) => Err(objects.meaning(problem)),
            None => Err(objects.meaning_of(&error)),
        },
    }
}
