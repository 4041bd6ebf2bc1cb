//! What the path of a request means. Names, tags and digests are parsed here, so that nothing else of a request gets
//! further; what is no path of a registry or of a hub's folder is none.

use format::{Digest, Name};
use hub::Page;
use hub::Selector;
use hub::dir::TopFile;
use percent_encoding::percent_decode_str;

use crate::answer::{Code, Refusal};

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// `/v2/`: is this a registry?
    Api,
    /// `/v2/_catalog`
    Catalog,
    /// `/v2/NAME/tags/list`
    Tags(Name),
    /// `/v2/NAME/manifests/REFERENCE`
    Manifest(Name, Selector),
    /// `/v2/NAME/blobs/DIGEST`, and `/blobs/sha256/HEX` of no name.
    Blob(Option<Name>, Digest),
    /// `/v2/NAME/blobs/uploads/`
    Uploads(Name),
    /// `/v2/NAME/blobs/uploads/SESSION`
    Upload(Name, String),
    /// `/index.json` and the others at the top of a hub.
    Top(TopFile),
}

impl Target {
    /// Reads the path of a URL.
    pub(crate) fn parse(path: &str) -> Result<Self, Refusal> {
        let unknown = || Refusal::absent(Code::NameUnknown, "there is nothing of that name");
        let path = percent_decode_str(path).decode_utf8().map_err(|_| unknown())?;
        let path = path.strip_prefix('/').ok_or_else(unknown)?;
        if let Some(rest) = path.strip_prefix("v2/") {
            return Self::of_registry(rest);
        }
        if let Some(hex) = path.strip_prefix("blobs/sha256/") {
            return Ok(Self::Blob(None, Digest::from_hex(hex).map_err(|_| unknown())?));
        }
        match path {
            "v2" => Ok(Self::Api),
            "" => Ok(Self::Top(TopFile::Page(Page::Html))),
            path => {
                let top = TopFile::ALL.into_iter().find(|file| file.file_name() == path);
                top.map(Self::Top).ok_or_else(unknown)
            }
        }
    }

    /// What follows `/v2/`. A name may have any of these words in it: the end decides.
    fn of_registry(rest: &str) -> Result<Self, Refusal> {
        match rest {
            "" => return Ok(Self::Api),
            "_catalog" => return Ok(Self::Catalog),
            _ => {}
        }
        if let Some(text) = rest.strip_suffix("/tags/list") {
            return Ok(Self::Tags(name(text)?));
        }
        let unknown = || Refusal::absent(Code::Unsupported, "there is no such end of a registry's API here");
        let (before, last) = rest.rsplit_once('/').ok_or_else(unknown)?;
        if let Some(text) = before.strip_suffix("/blobs/uploads") {
            let name = name(text)?;
            return Ok(if last.is_empty() {
                Self::Uploads(name)
            } else {
                Self::Upload(name, last.to_owned())
            });
        }
        if let Some(text) = before.strip_suffix("/manifests") {
            return Ok(Self::Manifest(name(text)?, reference(last)?));
        }
        match before.strip_suffix("/blobs") {
            // Some clients leave the slash out.
            Some(text) if last == "uploads" => Ok(Self::Uploads(name(text)?)),
            Some(text) => Ok(Self::Blob(Some(name(text)?), digest(last)?)),
            None => Err(unknown()),
        }
    }
}

pub(crate) fn name(text: &str) -> Result<Name, Refusal> {
    text.parse().map_err(|error: format::ReferenceError| Refusal::bad(Code::NameInvalid, error.to_string()))
}

pub(crate) fn digest(text: &str) -> Result<Digest, Refusal> {
    let expected = "expected sha256: and 64 hexadecimal digits";
    text.parse().map_err(|_| Refusal::bad(Code::DigestInvalid, expected))
}

fn reference(text: &str) -> Result<Selector, Refusal> {
    if text.contains(':') {
        return Ok(Selector::Digest(digest(text)?));
    }
    let tag = text
        .parse()
        .map_err(|error: format::ReferenceError| Refusal::bad(Code::ManifestInvalid, error.to_string()))?;
    Ok(Selector::Tag(tag))
}

#[cfg(test)]
mod tests {
    use hyper::StatusCode;

    use super::*;

    fn status(path: &str) -> StatusCode {
        Target::parse(path).unwrap_err().status()
    }

    #[test]
    fn paths_are_told_apart_by_their_end() {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let digest = Digest::of(b"x");
        for (path, target) in [
            ("/v2/".to_owned(), Target::Api),
            ("/v2".to_owned(), Target::Api),
            ("/v2/_catalog".to_owned(), Target::Catalog),
            ("/v2/a/b/tags/list".to_owned(), Target::Tags(name("a/b"))),
            ("/v2/tags/list/tags/list".to_owned(), Target::Tags(name("tags/list"))),
            (
                "/v2/a/manifests/1.0".to_owned(),
                Target::Manifest(name("a"), Selector::Tag("1.0".parse().unwrap())),
            ),
            (format!("/v2/a/manifests/{digest}"), Target::Manifest(name("a"), Selector::Digest(digest))),
            (format!("/v2/a%2Fb/blobs/sha256%3A{}", digest.hex()), Target::Blob(Some(name("a/b")), digest)),
            (format!("/v2/blobs/blobs/blobs/{digest}"), Target::Blob(Some(name("blobs/blobs")), digest)),
            ("/v2/a/blobs/uploads/".to_owned(), Target::Uploads(name("a"))),
            ("/v2/a/blobs/uploads".to_owned(), Target::Uploads(name("a"))),
            ("/v2/a/blobs/uploads/0f".to_owned(), Target::Upload(name("a"), "0f".to_owned())),
            (format!("/blobs/sha256/{}", digest.hex()), Target::Blob(None, digest)),
            ("/index.json".to_owned(), Target::Top(TopFile::Index)),
            ("/".to_owned(), Target::Top(TopFile::Page(Page::Html))),
        ] {
            assert_eq!(Target::parse(&path).unwrap(), target, "{path}");
        }
    }

    #[test]
    fn nothing_else_is_a_path() {
        for path in [
            "/etc/passwd",
            "/../etc/passwd",
            "/%2e%2e/etc/passwd",
            "/tmp/serve/x",
            "/blobs/sha256/../../oci-layout",
            "/blobs/sha256/x",
            "/v2/a/referrers/sha256:00",
            "/%ff",
            "*",
        ] {
            assert_eq!(status(path), StatusCode::NOT_FOUND, "{path}");
        }
        for path in [
            "/v2/../x/tags/list",
            "/v2/A/manifests/1",
            "/v2//manifests/1",
            "/v2/a/manifests/.x",
            "/v2/a/manifests/sha512:00",
            "/v2/a/blobs/sha256:xyz",
            "/v2/a/blobs/..",
            "/v2/a%00b/tags/list",
        ] {
            assert_eq!(status(path), StatusCode::BAD_REQUEST, "{path}");
        }
    }
}
