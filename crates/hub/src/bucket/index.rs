//! Names and tags by listing, and what is derived from them: `index.json`, and pages for a browser.

use async_trait::async_trait;
use bytes::Bytes;
use format::{Name, Tag};
use futures_util::stream::{self, StreamExt, TryStreamExt};

use super::objects::{Content, Expect};
use super::{BucketHub, MANIFESTS, NAMES, manifests_prefix};
use crate::image_index::{Entry, ImageIndex};
use crate::{HubError, Page, REQUESTS, RawManifest, Registry, Selector, Site};

const INDEX_FILE: &str = "index.json";
const INDEX: Content<'_> = Content::page(format::manifest::media_type::INDEX);
/// Bytes of an index: 200 for each of 300,000 tags.
const INDEX_BYTES: usize = 64 << 20;
/// How often the index is read anew, because somebody else has written it meanwhile.
const CONFLICTS: usize = 20;

impl BucketHub {
    pub(super) async fn tags_of(&self, name: &Name) -> Result<Vec<Tag>, HubError> {
        let prefix = manifests_prefix(name);
        let (objects, _) = self.objects.list_level(&prefix, usize::MAX).await?;
        // The others are digests.
        let tag = |object: &object_store::ObjectMeta| object.location.filename()?.parse().ok();
        let mut tags: Vec<Tag> = objects.iter().filter_map(tag).collect();
        tags.sort_unstable();
        Ok(tags)
    }

    pub(super) async fn all_names(&self) -> Result<Vec<Name>, HubError> {
        let objects = self.objects.list(NAMES).await?;
        let mut names: Vec<Name> = objects
            .iter()
            .filter_map(|object| {
                let path = self.objects.key(object.location.as_ref()).strip_prefix(NAMES)?;
                let (folder, _) = path.rsplit_once('/')?;
                folder.strip_suffix(MANIFESTS)?.strip_suffix('/')?.parse().ok()
            })
            .collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Lets `index.json` list a tag.
    pub(super) async fn list_tag(
        &self,
        name: &Name,
        tag: &Tag,
        manifest: &RawManifest,
    ) -> Result<(), HubError> {
        for _ in 0..CONFLICTS {
            let read = self.objects.read(INDEX_FILE, INDEX_BYTES).await?;
            let known = read.as_ref().and_then(|(bytes, _)| ImageIndex::parse(bytes).ok());
            let index = match known {
                Some(index) => index.with(Entry::of_tag(manifest, name, tag)),
                // There is none, or one that nobody can read.
                None => self.derive_index().await?,
            };
            let version = read.map(|(_, version)| version);
            if self.write_index(&index, version).await? {
                return Ok(());
            }
        }
        let reason = format!("others have written it {CONFLICTS} times meanwhile: repeat");
        Err(self.objects.malformed(INDEX_FILE, reason))
    }

    /// From all tags.
    async fn derive_index(&self) -> Result<ImageIndex, HubError> {
        let names = self.all_names().await?;
        let tagged = stream::iter(names).map(|name| async move {
            let tags = self.tags_of(&name).await?;
            Ok::<_, HubError>(tags.into_iter().map(move |tag| (name.clone(), tag)).collect::<Vec<_>>())
        });
        let tagged: Vec<_> = tagged.buffered(REQUESTS).try_collect().await?;
        let entries = stream::iter(tagged.into_iter().flatten()).map(|(name, tag)| async move {
            let manifest = self.get_manifest(&name, &Selector::Tag(tag.clone())).await?;
            Ok::<_, HubError>(manifest.and_then(|manifest| Entry::of_tag(&manifest, &name, &tag)))
        });
        let entries: Vec<_> = entries.buffered(REQUESTS).try_collect().await?;
        Ok(ImageIndex::new(entries.into_iter().flatten().collect()))
    }

    /// `version` is the entity tag of the one that it replaces, if there is one and it has one. `false` if another one is
    /// there.
    async fn write_index(
        &self,
        index: &ImageIndex,
        version: Option<Option<String>>,
    ) -> Result<bool, HubError> {
        let expected = match (self.compares().await?, version) {
            (true, Some(Some(version))) => Expect::Version(version),
            (true, None) => Expect::Absent,
            _ => Expect::Anything,
        };
        let bytes = serde_json::to_vec(index)
            .map_err(|error| self.objects.malformed(INDEX_FILE, error.to_string()))?;
        self.objects.write(INDEX_FILE, bytes, &INDEX, expected).await
    }

    /// Whether the store compares before it writes. Some take the header and do not heed it, so it is tried.
    async fn compares(&self) -> Result<bool, HubError> {
        let probe = async || {
            let key = self.objects.temporary("compares")?;
            let content = Content::page("text/plain");
            let write = |expected| self.objects.write(&key, Bytes::from_static(b"probe"), &content, expected);
            write(Expect::Anything).await?;
            let other = "\"00000000000000000000000000000000\"".to_owned();
            let written = write(Expect::Version(other)).await;
            // Whoever may not delete leaves it to `prune`.
            self.objects.delete(&key).await.ok();
            // One that does not know the header may refuse the request for it.
            Ok::<_, HubError>(matches!(written, Ok(false)))
        };
        self.compares.get_or_try_init(probe).await.copied()
    }
}

#[async_trait]
impl Site for BucketHub {
    async fn put_page(&self, page: Page, bytes: Vec<u8>) -> Result<(), HubError> {
        self.check().await?;
        let content = Content::page(page.media_type());
        self.objects.write(page.file_name(), bytes, &content, Expect::Anything).await.map(drop)
    }

    async fn refresh_index(&self) -> Result<(), HubError> {
        self.check().await?;
        for _ in 0..CONFLICTS {
            let version = self.objects.head(INDEX_FILE).await?.map(|found| found.e_tag);
            let index = self.derive_index().await?;
            if self.write_index(&index, version).await? {
                return Ok(());
            }
        }
        let reason = format!("others have written it {CONFLICTS} times meanwhile: repeat");
        Err(self.objects.malformed(INDEX_FILE, reason))
    }
}
