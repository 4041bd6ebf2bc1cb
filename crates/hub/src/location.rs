//! What `--hub` says: where a hub is.

use std::ffi::OsString;
use std::fmt;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use format::{Digest, HubName, ReferenceError};

use crate::bucket::BucketLocation;
use crate::oci::OciLocation;
use crate::percent::percent_decode;
use crate::web::WebLocation;

/// How the names of folders and of buckets begin that have no alias.
const FOLDER_NAME: &str = "dir.";
const BUCKET_NAME: &str = "s3.";
/// Digits of the hash behind it.
const HASH_DIGITS: usize = 16;

/// Where a hub is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum HubLocation {
    /// A folder, by its absolute path without symbolic links.
    Folder(PathBuf),
    /// A bucket of an S3-compatible store, or a part of one.
    Bucket(BucketLocation),
    /// An OCI registry.
    Registry(OciLocation),
    /// A web server.
    Web(WebLocation),
}

/// Why a text is not the location of a hub.
#[derive(Debug, thiserror::Error)]
pub enum LocationError {
    /// A kind of hub that is not known here.
    #[error(
        "{text:?}: hubs at {scheme}:// are not supported by this version: give a folder, s3:// and a bucket, oci:// and a \
         registry, or https:// and a web server"
    )]
    Unsupported {
        /// What was given.
        text: String,
        /// Its scheme.
        scheme: String,
    },
    /// Not a location at all.
    #[error("{text:?} is not the location of a hub: {reason}")]
    Invalid {
        /// What was given.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The folder cannot be found.
    #[error("cannot find the folder {}: {source}", path.display())]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },
    /// It is a part of a host, and references name hosts.
    #[error(
        "{text}: give it an alias under [hubs] of the configuration, or, of a registry, its host and the whole name"
    )]
    NeedsAlias {
        /// The location.
        text: String,
    },
    /// No name can be made for it.
    #[error(transparent)]
    Name(#[from] ReferenceError),
}

impl HubLocation {
    /// Reads a folder's path, absolute or relative to the working directory, or a URL: `file://`, `s3://`, `oci://`. The
    /// folder need not be there.
    ///
    /// # Errors
    /// If it is a URL of another kind, or the path cannot be resolved.
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        let invalid = |reason| LocationError::Invalid { text: text.to_owned(), reason };
        if text.is_empty() {
            return Err(invalid("it is empty"));
        }
        match text.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) {
            None => Self::folder(Path::new(text)),
            Some(("file", rest)) => {
                let path = rest.strip_prefix("localhost").unwrap_or(rest);
                if !path.starts_with('/') {
                    return Err(invalid("a file:// URL must hold an absolute path: file:///srv/hub"));
                }
                let bytes =
                    percent_decode(path).ok_or_else(|| invalid("% must be followed by two digits"))?;
                Self::folder(Path::new(&OsString::from_vec(bytes)))
            }
            Some((scheme, _)) if WebLocation::has_scheme(scheme) => {
                let shown = || format!("{scheme}://…");
                let location = WebLocation::parse(text);
                location.map(Self::Web).map_err(|reason| LocationError::Invalid { text: shown(), reason })
            }
            Some(("s3", rest)) => match BucketLocation::parse(rest) {
                Ok(location) => Ok(Self::Bucket(location)),
                // What stands before an @ may be a key.
                Err(reason) if text.contains('@') => {
                    Err(LocationError::Invalid { text: "s3://…@…".to_owned(), reason })
                }
                Err(reason) => Err(invalid(reason)),
            },
            Some((scheme, rest)) => match OciLocation::parse(scheme, rest) {
                Some(location) => Ok(Self::Registry(location?)),
                None => Err(LocationError::Unsupported { text: text.to_owned(), scheme: scheme.to_owned() }),
            },
        }
    }

    /// The folder at `path`, which need not be there.
    ///
    /// # Errors
    /// If the path cannot be resolved.
    pub fn folder(path: &Path) -> Result<Self, LocationError> {
        resolve(path).map(Self::Folder).map_err(|source| LocationError::Io { path: path.to_owned(), source })
    }

    /// The hub's part in the full names of what is pulled from here, where no alias is configured. It is the same for
    /// the same folder or bucket, however it was spelled.
    ///
    /// # Errors
    /// [`LocationError::NeedsAlias`] for a part of a registry.
    pub fn hub_name(&self) -> Result<HubName, LocationError> {
        match self {
            Self::Folder(path) => hashed(FOLDER_NAME, path.as_os_str().as_bytes()),
            Self::Bucket(bucket) => hashed(BUCKET_NAME, bucket.identity().as_bytes()),
            Self::Registry(registry) if registry.prefix().is_none() => Ok(registry.host().clone()),
            Self::Web(web) => match web.hub_name() {
                Some(name) => Ok(name?),
                None => Err(LocationError::NeedsAlias { text: self.to_string() }),
            },
            Self::Registry(_) => Err(LocationError::NeedsAlias { text: self.to_string() }),
        }
    }

    /// The registry that a reference means by its first component, if that is not the name of a folder or bucket. A host
    /// of references is a registry's: web servers are found by their URL, an alias, or the origin of what was pulled there.
    #[must_use]
    pub fn of_name(name: &HubName) -> Option<Self> {
        let is_host = !name.is_local() && !is_hashed(name);
        is_host.then(|| Self::Registry(OciLocation::of_host(name.clone())))
    }
}

impl fmt::Display for HubLocation {
    /// In the form that [`HubLocation::parse`] reads.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = match self {
            Self::Folder(path) => path,
            Self::Bucket(bucket) => return bucket.fmt(out),
            Self::Registry(registry) => return registry.fmt(out),
            Self::Web(web) => return web.fmt(out),
        };
        if let Some(text) = path.to_str() {
            return out.write_str(text);
        }
        out.write_str("file://")?;
        path.as_os_str().as_bytes().iter().try_for_each(|byte| {
            if byte.is_ascii_alphanumeric() || b"/-._~".contains(byte) {
                write!(out, "{}", char::from(*byte))
            } else {
                write!(out, "%{byte:02X}")
            }
        })
    }
}

/// A short name that is the same for the same place.
fn hashed(kind: &str, place: &[u8]) -> Result<HubName, LocationError> {
    let short: String = Digest::of(place).hex().chars().take(HASH_DIGITS).collect();
    Ok(format!("{kind}{short}").parse()?)
}

/// Whether [`hashed`] can have made it. A host's name can begin so, too.
fn is_hashed(name: &HubName) -> bool {
    let hash = [FOLDER_NAME, BUCKET_NAME].iter().find_map(|kind| name.as_str().strip_prefix(kind));
    hash.is_some_and(|hash| hash.len() == HASH_DIGITS && hash.bytes().all(|c| c.is_ascii_hexdigit()))
}

/// RFC 3986, "Scheme". A path that starts with `/` or `.` has none.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|c| c.is_ascii_alphanumeric() || b"+-.".contains(&c))
}

/// `path`, absolute and without symbolic links as far as it is there; the rest is taken as it is written.
fn resolve(path: &Path) -> std::io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    match path.canonicalize() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        result => return result,
    }
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok(resolve(parent)?.join(name)),
        // A path that ends in `..` below something that is not there.
        _ => Err(std::io::ErrorKind::NotFound.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(text: &str) -> PathBuf {
        let HubLocation::Folder(path) = HubLocation::parse(text).unwrap() else {
            panic!("{text} is no folder")
        };
        path
    }

    #[test]
    fn a_folder_is_the_same_however_it_is_spelled() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("a b")).unwrap();
        std::os::unix::fs::symlink(root.join("a b"), root.join("link")).unwrap();
        let plain = root.join("a b/new/hub");
        for text in [
            plain.display().to_string(),
            format!("{}/link/new/hub", root.display()),
            format!("{}/./a b//new/hub/", root.display()),
            format!("file://{}/a%20b/new/hub", root.display()),
            format!("file://localhost{}/link/new/hub", root.display()),
        ] {
            assert_eq!(folder(&text), plain, "{text}");
        }
        let before = HubLocation::folder(&plain).unwrap();
        std::fs::create_dir_all(&plain).unwrap();
        assert_eq!(HubLocation::folder(&plain).unwrap(), before);
        assert!(folder("hub").is_absolute());
    }

    #[test]
    fn its_name_is_a_hub() {
        let name = HubLocation::Folder("/srv/hub".into()).hub_name().unwrap();
        assert_eq!(name.as_str(), "dir.5ad3ad4fa5084ee9");
        let reference: format::Reference = format!("{name}/numpy:1").parse().unwrap();
        assert_eq!(reference.hub, Some(name));
    }

    #[test]
    fn a_bucket_has_a_name_whatever_region_is_given() {
        let of = |text: &str| HubLocation::parse(text).unwrap();
        let location = of("s3://hub/team/");
        assert_eq!(location.to_string(), "s3://hub/team");
        let name = location.hub_name().unwrap();
        assert_eq!(of("s3://hub/team?region=x").hub_name().unwrap(), name);
        assert_ne!(of("s3://hub").hub_name().unwrap(), name);
        assert_eq!(HubLocation::of_name(&name), None);
        assert!(HubLocation::of_name(&"s3.example".parse().unwrap()).is_some());
        let error = HubLocation::parse("s3://id:hush@hub").unwrap_err().to_string();
        assert!(!error.contains("hush"), "{error}");
    }

    #[test]
    fn what_is_shown_is_read_again() {
        for path in ["/srv/hub", "/srv/s3://x", "/srv/100%"] {
            assert_eq!(folder(&HubLocation::Folder(path.into()).to_string()), PathBuf::from(path));
        }
        let odd = PathBuf::from(OsString::from_vec(b"/srv/\xff%".to_vec()));
        let text = HubLocation::Folder(odd.clone()).to_string();
        assert_eq!((text.as_str(), folder(&text)), ("file:///srv/%FF%25", odd));
    }

    #[test]
    fn other_kinds_are_named() {
        for text in ["gs://bucket", "ftp://hub.example/", "HTTP://x"] {
            let error = HubLocation::parse(text).unwrap_err().to_string();
            assert!(error.contains("not supported by this version"), "{error}");
        }
        let error = HubLocation::parse("https://me:s3cret@hub.example").unwrap_err().to_string();
        assert!(!error.contains("s3cret") && error.contains("spore login"), "{error}");
        for text in ["", "https://", "file://srv/hub", "file:///%2", "file:///%+1"] {
            assert!(matches!(HubLocation::parse(text), Err(LocationError::Invalid { .. })), "{text}");
        }
    }
}
