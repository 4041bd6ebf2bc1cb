//! The folders of a hub, as whoever writes to it opens them: none is left by a link, and each is made where it is missing.

use format::Name;

use super::file::DirError;
use super::folder::{Folder, TempFile};

pub(super) const BLOBS: &str = "blobs";
pub(super) const ALGORITHM: &str = "sha256";
pub(super) const NAMES: &str = "v2";
pub(super) const TMP: &str = "tmp";
/// In `tmp/`: what a server is being sent.
const SERVED: &str = "serve";
pub(super) const MANIFESTS: &str = "manifests";

/// A hub that is ready to be written to.
#[derive(Debug)]
pub(super) struct Writable {
    root: Folder,
}

impl Writable {
    pub(super) fn new(root: Folder) -> Self {
        Self { root }
    }

    pub(super) fn root(&self) -> &Folder {
        &self.root
    }

    pub(super) fn blobs(&self) -> Result<Folder, DirError> {
        self.root.child(BLOBS)?.child(ALGORITHM)
    }

    pub(super) fn names(&self) -> Result<Folder, DirError> {
        self.root.child(NAMES)
    }

    /// The folder of a name's manifests.
    pub(super) fn manifests(&self, name: &Name) -> Result<Folder, DirError> {
        let folder = name.as_str().split('/').try_fold(self.names()?, |folder, part| folder.child(part))?;
        folder.child(MANIFESTS)
    }

    pub(super) fn temp_file(&self) -> Result<TempFile, DirError> {
        TempFile::create(self.tmp()?)
    }

    /// The folder of a server's uploads.
    pub(super) fn served(&self) -> Result<Folder, DirError> {
        self.tmp()?.child(SERVED)
    }

    pub(super) fn served_file(&self) -> Result<TempFile, DirError> {
        TempFile::create(self.served()?)
    }

    pub(super) fn tmp(&self) -> Result<Folder, DirError> {
        self.root.child(TMP)
    }
}
