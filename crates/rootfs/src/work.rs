//! Temporary folders that may hold files of other users.

use std::path::{Path, PathBuf};

use crate::error::IoContext;
use crate::{Error, namespace};

/// A fresh folder, named `tmp-…`, that is removed when this is dropped.
pub(crate) struct WorkFolder(PathBuf);

impl WorkFolder {
    /// Makes one in `parent`, which must exist. Its path is absolute.
    pub(crate) fn in_folder(parent: &Path) -> Result<Self, Error> {
        let parent = parent.canonicalize().io("find", parent)?;
        let folder =
            tempfile::Builder::new().prefix("tmp-").tempdir_in(&parent).io("make a folder in", &parent)?;
        Ok(Self(folder.keep()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for WorkFolder {
    fn drop(&mut self) {
        // What is left after a failure here is a `tmp-…` folder, which callers sweep like that of a killed run.
        namespace::remove_tree(&self.0).ok();
    }
}
