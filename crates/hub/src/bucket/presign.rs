//! Uploads that somebody without credentials may make: each of one object, of one length, with one SHA-256, until a time.
//!
//! What is handed out is a [`Ticket`]. The store compares the length and the checksum, which are among the signed headers,
//! with what it is sent, so its holder can write those bytes under those names, and nothing else: `blobs/sha256/HEX` gets
//! the bytes of that digest, a tag gets that manifest. Until it has ended, the holder can do so again.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use format::{Digest, Manifest, Name, Tag};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use jiff::{SignedDuration, Timestamp};
use reqwest::Url;

use super::objects::Content;
use super::sigv4::{Presigner, encode};
use super::ticket::{SignedPut, Ticket, TicketError};
use super::{BucketHub, BucketLocation, blob_key, manifest_key};
use crate::prune::{GRACE, MIN_YOUNG};
use crate::{Access, HubError, REQUESTS, RawManifest, Registry, Selector};

/// The longest that a ticket may be good: half of what `prune` waits for, since its holder cannot make young again what the
/// hub has already. S3 itself signs for twice as long.
pub const LONGEST: Duration = MIN_YOUNG;
/// What clocks may differ by, and a last request may take.
const MARGIN: Duration = Duration::from_secs(60 * 60);

/// Signs what a push of the snapshot `manifest` to `name`, and to `tag` if there is one, needs to put into the bucket: what is
/// there is left out, and made young again where `prune` might take it before the ticket ends. It makes the bucket a hub, if it
/// is none and can be made one.
///
/// # Errors
/// [`TicketError::Lifetime`] if `lifetime` is nothing or longer than [`LONGEST`]; [`TicketError::Manifest`] if it is no snapshot's; if the hub does not answer.
pub async fn presign(
    location: &BucketLocation,
    access: &Access,
    name: &Name,
    tag: Option<&Tag>,
    manifest: &RawManifest,
    lifetime: Duration,
) -> Result<Ticket, TicketError> {
    if lifetime.is_zero() || lifetime > LONGEST {
        return Err(TicketError::Lifetime);
    }
    let parsed = Manifest::parse(manifest.bytes())?;
    let hub = BucketHub::new(location, access)?;
    hub.check_writable(name).await?;
    hub.prepare().await?;
    // The config goes last, as in every push.
    let blobs = parsed.layers.iter().chain([&parsed.config]);
    let blobs = blobs.map(|blob| (blob.digest, blob.size)).collect::<Vec<_>>();
    let missing = stream::iter(blobs).map(|(digest, size)| hub.wanted(name, digest, size, lifetime));
    let missing: Vec<_> = missing.buffered(REQUESTS).try_collect().await?;
    let credential = hub.objects.s3.credentials().get_credential().await;
    let credential = credential.map_err(|error| hub.objects.meaning_of(&error))?;
    let signer = Signer {
        hub: &hub,
        presigner: Presigner {
            credential: &credential,
            region: &hub.objects.region,
            now: Timestamp::now(),
            lifetime,
        },
    };
    let media_type = hub.media_type(manifest)?;
    let (digest, size) = (manifest.digest(), manifest.bytes().len() as u64);
    let by_digest = Content { media_type: &media_type, is_immutable: true };
    let by_tag = Content { media_type: &media_type, is_immutable: false };
    let named = |which| manifest_key(name, &which);
    let missing = missing.into_iter().flatten();
    let blobs = missing.map(|(digest, size)| signer.put(&blob_key(&digest), digest, size, &Content::BLOB));
    let manifests = [blob_key(&digest), named(Selector::Digest(digest))];
    let manifests = manifests.iter().map(|key| signer.put(key, digest, size, &by_digest));
    let tagged = tag.map(|tag| signer.put(&named(Selector::Tag(tag.clone())), digest, size, &by_tag));
    let ends = SignedDuration::try_from(lifetime)
        .ok()
        .and_then(|lifetime| signer.presigner.now.checked_add(lifetime).ok());
    Ok(Ticket {
        version: Ticket::VERSION,
        hub: hub.location().to_owned(),
        name: name.clone(),
        tag: tag.cloned(),
        snapshot: digest,
        expires: ends.ok_or(TicketError::Lifetime)?,
        blobs: blobs.collect::<Result<_, HubError>>()?,
        manifests: manifests.collect::<Result<_, HubError>>()?,
        tagged: tagged.transpose()?,
    })
}

impl BucketHub {
    /// A blob, if the hub lacks it. One that is there is kept from `prune` for the lifetime of a ticket.
    async fn wanted(
        &self,
        name: &Name,
        digest: Digest,
        size: u64,
        lifetime: Duration,
    ) -> Result<Option<(Digest, u64)>, HubError> {
        if self.blob_size(name, &digest).await? != Some(size) {
            return Ok(Some((digest, size)));
        }
        self.refresh_older(&digest, old_for(lifetime)).await.map(|()| None)
    }
}

/// The age from which on a blob that is skipped could be due before a ticket has ended.
fn old_for(lifetime: Duration) -> Duration {
    GRACE.saturating_sub(lifetime).saturating_sub(MARGIN).min(MIN_YOUNG)
}

struct Signer<'a> {
    hub: &'a BucketHub,
    presigner: Presigner<'a>,
}

impl Signer<'_> {
    fn put(
        &self,
        key: &str,
        digest: Digest,
        size: u64,
        content: &Content<'_>,
    ) -> Result<SignedPut, HubError> {
        let objects = &self.hub.objects;
        let path: Vec<_> = objects.full(key).split('/').map(encode).collect();
        let url = Url::parse(&format!("{}/{}", objects.bucket_url, path.join("/")));
        let url = url.map_err(|error| objects.malformed(key, error.to_string()))?;
        let headers = [
            ("cache-control", content.cache_control().to_owned()),
            ("content-length", size.to_string()),
            ("content-type", content.media_type.to_owned()),
            ("x-amz-checksum-sha256", STANDARD.encode(digest.as_bytes())),
        ];
        let url = self.presigner.sign("PUT", url, &headers);
        let headers = headers.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Ok(SignedPut { digest, size, method: SignedPut::METHOD.to_owned(), url: url.into(), headers })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_skipped_outlives_the_ticket() {
        for lifetime in [Duration::from_secs(1), LONGEST / 2, LONGEST] {
            assert!(old_for(lifetime) + lifetime + MARGIN <= GRACE, "{lifetime:?}");
            // Half of the grace is what every push keeps to.
            assert!(old_for(lifetime) <= MIN_YOUNG && old_for(lifetime) > MIN_YOUNG / 2, "{lifetime:?}");
        }
    }
}
