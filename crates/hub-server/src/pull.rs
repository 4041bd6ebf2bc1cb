//! Reading: manifests, blobs and parts of them, and the files at the top of a hub.

use format::manifest::media_type;
use format::{Digest, Name};
use hub::dir::{DirHub, TopFile};
use hub::{HubError, Registry, Selector};
use hyper::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, ETAG, HeaderMap, HeaderName,
    HeaderValue, IF_NONE_MATCH, IF_RANGE, RANGE,
};
use hyper::{Method, StatusCode};
use serde::Deserialize;

use crate::answer::{Answer, Code, Refusal, answer, empty, full, streamed};

pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// What a digest names never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";

/// A request to read, as far as its kind does not matter.
pub(crate) struct Reading<'a> {
    pub(crate) hub: &'a DirHub,
    pub(crate) method: &'a Method,
    pub(crate) headers: &'a HeaderMap,
}

/// The part of a manifest that says what it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    media_type: String,
}

impl Reading<'_> {
    fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    pub(crate) async fn manifest(&self, name: &Name, which: &Selector) -> Result<Answer, Refusal> {
        let found = self.hub.get_manifest(name, which).await.map_err(unreadable)?;
        let unknown = || Refusal::absent(Code::ManifestUnknown, format!("there is no {name}{which}"));
        let manifest = found.ok_or_else(unknown)?;
        let digest = manifest.digest().to_string();
        if self.has_already(&digest) {
            return answer(StatusCode::NOT_MODIFIED, [(ETAG, quoted(&digest))], empty());
        }
        let kind = serde_json::from_slice::<Kind>(manifest.bytes());
        let kind = kind.map_or_else(|_| media_type::MANIFEST.to_owned(), |kind| kind.media_type);
        let cache = if matches!(which, Selector::Tag(_)) { "no-cache" } else { FOR_EVER };
        let headers = [
            (CONTENT_TYPE, kind),
            (CONTENT_LENGTH, manifest.bytes().len().to_string()),
            (CACHE_CONTROL, cache.to_owned()),
            (ETAG, quoted(&digest)),
            (CONTENT_DIGEST, digest),
        ];
        let body = if self.is_head() { empty() } else { full(manifest.bytes().to_vec()) };
        answer(StatusCode::OK, headers, body)
    }

    pub(crate) async fn blob(&self, digest: &Digest) -> Result<Answer, Refusal> {
        let unknown = || Refusal::absent(Code::BlobUnknown, format!("there is no blob {digest}"));
        let size = self.hub.size_of(digest).await.map_err(unreadable)?.ok_or_else(unknown)?;
        let tag = quoted(&digest.to_string());
        if self.has_already(&digest.to_string()) {
            return answer(StatusCode::NOT_MODIFIED, [(ETAG, tag)], empty());
        }
        let part = self.wanted(size, &tag);
        let (status, range) = match part {
            Part::All => (StatusCode::OK, 0..size),
            Part::Of(range) => (StatusCode::PARTIAL_CONTENT, range),
            Part::Outside => {
                let refusal = Refusal::new(
                    StatusCode::RANGE_NOT_SATISFIABLE,
                    Code::SizeInvalid,
                    "the blob ends before",
                );
                let header = HeaderValue::from_str(&format!("bytes */{size}"));
                return Err(
                    refusal.with(CONTENT_RANGE, header.unwrap_or(HeaderValue::from_static("bytes */0")))
                );
            }
        };
        let headers = [
            (CONTENT_TYPE, "application/octet-stream".to_owned()),
            (CONTENT_LENGTH, (range.end - range.start).to_string()),
            (ACCEPT_RANGES, "bytes".to_owned()),
            (CACHE_CONTROL, FOR_EVER.to_owned()),
            (ETAG, tag),
            (CONTENT_DIGEST, digest.to_string()),
        ];
        let content_range = format!("bytes {}-{}/{size}", range.start, range.end.saturating_sub(1));
        let body = if self.is_head() {
            empty()
        } else {
            let reader = self.hub.part_of(digest, range).await.map_err(unreadable)?;
            streamed(reader.ok_or_else(unknown)?)
        };
        let mut answer = answer(status, headers, body)?;
        if status == StatusCode::PARTIAL_CONTENT
            && let Ok(value) = HeaderValue::from_str(&content_range)
        {
            answer.headers_mut().insert(CONTENT_RANGE, value);
        }
        Ok(answer)
    }

    pub(crate) async fn top(&self, which: TopFile) -> Result<Answer, Refusal> {
        let unknown = || Refusal::absent(Code::Unknown, format!("the hub has no {}", which.file_name()));
        let (reader, size) = self.hub.top_file(which).await.map_err(unreadable)?.ok_or_else(unknown)?;
        let headers = [
            (CONTENT_TYPE, which.media_type().to_owned()),
            (CONTENT_LENGTH, size.to_string()),
            (CACHE_CONTROL, "no-cache".to_owned()),
        ];
        answer(StatusCode::OK, headers, if self.is_head() { empty() } else { streamed(reader) })
    }

    fn header(&self, name: HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether the client has what has this digest.
    fn has_already(&self, digest: &str) -> bool {
        self.header(IF_NONE_MATCH).is_some_and(|tags| tags.split(',').any(|tag| tag.trim() == quoted(digest)))
    }

    fn wanted(&self, size: u64, tag: &str) -> Part {
        let is_still_right = self.header(IF_RANGE).is_none_or(|wanted| wanted == tag);
        let range = self.header(RANGE).filter(|_| is_still_right && *self.method == Method::GET);
        range.map_or(Part::All, |range| Part::parse(range, size))
    }
}

/// What is in the hub and cannot be read is the server's affair, wrong digests too.
#[allow(clippy::needless_pass_by_value, reason = "what map_err calls")]
fn unreadable(error: HubError) -> Refusal {
    Refusal::internal(&error.to_string())
}

fn quoted(digest: &str) -> String {
    format!("\"{digest}\"")
}

/// What a `Range` asks for.
#[derive(Debug, PartialEq, Eq)]
enum Part {
    All,
    Of(std::ops::Range<u64>),
    Outside,
}

impl Part {
    /// RFC 9110, 14.2: one range of bytes. What is none, or several, is answered with all, as it may be.
    fn parse(text: &str, size: u64) -> Self {
        let Some((first, last)) = text.trim().strip_prefix("bytes=").and_then(|range| range.split_once('-'))
        else {
            return Self::All;
        };
        let number = |text: &str| {
            let is_number = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
            // More digits than a size has lie behind every end.
            is_number.then(|| text.parse().unwrap_or(u64::MAX))
        };
        let range = match (number(first.trim()), number(last.trim())) {
            (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
            (Some(first), None) if last.trim().is_empty() => first..size,
            (None, Some(length)) if first.trim().is_empty() => size.saturating_sub(length)..size,
            _ => return Self::All,
        };
        if range.start < range.end { Self::Of(range) } else { Self::Outside }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_within_the_blob() {
        for (text, part) in [
            ("bytes=0-0", Part::Of(0..1)),
            ("bytes=2-5", Part::Of(2..6)),
            ("bytes=2-", Part::Of(2..10)),
            ("bytes=-3", Part::Of(7..10)),
            ("bytes=-30", Part::Of(0..10)),
            ("bytes=5-99999999999999999999999", Part::Of(5..10)),
            ("bytes=10-12", Part::Outside),
            ("bytes=99999999999999999999999-", Part::Outside),
            ("bytes=-0", Part::Outside),
            ("bytes=5-2", Part::All),
            ("bytes=0-1,3-4", Part::All),
            ("bytes=-", Part::All),
            ("bytes=+1-2", Part::All),
            ("lines=1-2", Part::All),
            ("", Part::All),
        ] {
            assert_eq!(Part::parse(text, 10), part, "{text}");
        }
        assert_eq!(Part::parse("bytes=0-", 0), Part::Outside);
    }
}
