//! Where an image is, as recipes say it, in the words of skopeo (containers-transports(5)).

use std::fmt;
use std::path::Path;

use format::{Digest, HubName, Name, Reference, Tag};

use super::RecipePath;

/// An image that a base is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageReference {
    text: String,
    /// Where it is.
    pub source: ImageSource,
}

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// `oci:DIR[:TAG]`: an OCI image layout in a folder of the recipe.
    Layout {
        /// The folder.
        folder: RecipePath,
        /// Which image, where it has several.
        tag: Option<String>,
    },
    /// `oci-archive:FILE[:TAG]`: an OCI image layout in a tar archive.
    OciArchive {
        /// The archive.
        file: RecipePath,
        /// Which image, where it has several.
        tag: Option<String>,
    },
    /// `docker-archive:FILE[:NAME:TAG]`: what `docker save` writes.
    DockerArchive {
        /// The archive.
        file: RecipePath,
        /// Which image, where it has several.
        name: Option<String>,
    },
    /// `docker://HOST/NAME[:TAG][@DIGEST]`: an image in a registry.
    Registry(RegistryImage),
}

/// An image in a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryImage {
    /// The registry.
    pub host: HubName,
    /// The repository.
    pub name: Name,
    /// The tag; where there is a digest too, that decides.
    pub tag: Tag,
    /// The digest of the manifest or index.
    pub digest: Option<Digest>,
}

impl ImageReference {
    /// Reads what a recipe in `folder` says. The error is the end of a sentence about the value.
    pub(super) fn find(folder: &Path, text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "{text:?} is no image: expected oci:DIR[:TAG], oci-archive:FILE[:TAG], docker-archive:FILE[:NAME:TAG] or \
                 docker://HOST/NAME[:TAG]"
            )
        };
        let (transport, rest) = text.split_once(':').ok_or_else(expected)?;
        let (path, name) = match rest.split_once(':') {
            Some((path, name)) => (path, Some(name.to_owned())),
            None => (rest, None),
        };
        let found = |is_right: fn(&Path) -> bool, kind: &str| {
            let path = RecipePath::find(folder, path)?;
            if is_right(path.absolute()) {
                Ok(path)
            } else {
                Err(format!("{:?} is not a {kind}", path.relative()))
            }
        };
        let source = match transport {
            "oci" => ImageSource::Layout { folder: found(Path::is_dir, "folder")?, tag: name },
            "oci-archive" => ImageSource::OciArchive { file: found(Path::is_file, "file")?, tag: name },
            "docker-archive" => ImageSource::DockerArchive { file: found(Path::is_file, "file")?, name },
            "docker" => {
                let reference = rest.strip_prefix("//").ok_or_else(expected)?;
                ImageSource::Registry(
                    RegistryImage::parse(reference).map_err(|error| format!("{text:?}: {error}"))?,
                )
            }
            _ => return Err(expected()),
        };
        Ok(Self { text: text.to_owned(), source })
    }
}

impl fmt::Display for ImageReference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl RegistryImage {
    fn parse(text: &str) -> Result<Self, String> {
        let reference: Reference = text.parse().map_err(|error: format::ReferenceError| error.to_string())?;
        let tag = reference.tag_or_default();
        let host = reference.hub.filter(|hub| !hub.is_local());
        let host = host.ok_or("expected the registry's host first, such as docker.io/debian:12")?;
        // Docker's own images are in a namespace that people leave out.
        let name = match reference.name.as_str() {
            name if host.as_str() == "docker.io" && !name.contains('/') => format!("library/{name}")
                .parse()
                .map_err(|error: format::ReferenceError| error.to_string())?,
            _ => reference.name,
        };
        Ok(Self { host, name, tag, digest: reference.digest })
    }
}

impl fmt::Display for RegistryImage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.host, self.name)?;
        match &self.digest {
            Some(digest) => write!(out, "@{digest}"),
            None => write!(out, ":{}", self.tag),
        }
    }
}
