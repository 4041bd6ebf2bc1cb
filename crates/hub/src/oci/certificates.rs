//! Certificates for one registry, where podman and docker look for them: `certs.d/HOST[:PORT]/` with authorities as `*.crt`, and
//! a certificate of our own as `*.cert` with its key as `*.key` beside it (containers-certs.d(5)).
//!
//! Of several folders the first that has one for the registry decides, as there. What is in it and cannot be used is an error: a
//! registry that asks for a certificate would only say that it lets nobody in.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, Identity};

use crate::HubError;
use crate::pem::read_bounded;

/// Files of one registry that are looked at.
const FILES: usize = 64;

/// What is known of one registry's TLS.
#[derive(Debug, Default)]
pub(super) struct HostCertificates {
    pub(super) authorities: Vec<Certificate>,
    pub(super) identity: Option<Identity>,
}

impl HostCertificates {
    /// What the first of `folders` that has a folder for `host` says. Blocks.
    pub(super) fn find(folders: &[PathBuf], host: &str) -> Result<Self, HubError> {
        for folder in folders {
            let folder = folder.join(host);
            match files(&folder) {
                Ok(files) => return Self::read(&files),
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound
                            | io::ErrorKind::NotADirectory
                            | io::ErrorKind::PermissionDenied
                    ) => {}
                Err(error) => return Err(unusable(&folder, error.to_string())),
            }
        }
        Ok(Self::default())
    }

    fn read(files: &[PathBuf]) -> Result<Self, HubError> {
        let mut found = Self::default();
        for path in files {
            match path.extension().and_then(|extension| extension.to_str()) {
                Some("crt") => {
                    let bundle = Certificate::from_pem_bundle(&read(path)?);
                    found.authorities.extend(bundle.map_err(|error| unusable(path, error.to_string()))?);
                }
                // TLS shows one certificate: that of the first.
                Some("cert") if found.identity.is_none() => {
                    let key = path.with_extension("key");
                    let pem = [read(path)?, b"\n".to_vec(), read(&key)?].concat();
                    // What the parser says of it could show the key.
                    let reason =
                        || format!("it and {} are no certificate with its key in PEM", key.display());
                    found.identity = Some(Identity::from_pem(&pem).map_err(|_| unusable(path, reason()))?);
                }
                _ => {}
            }
        }
        Ok(found)
    }
}

/// The files in a folder in the order of their names.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)?.take(FILES) {
        files.push(entry?.path());
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<Vec<u8>, HubError> {
    read_bounded(path).map_err(|error| unusable(path, error.to_string()))
}

fn unusable(path: &Path, reason: String) -> HubError {
    HubError::Authorities { path: path.to_owned(), reason }
}
