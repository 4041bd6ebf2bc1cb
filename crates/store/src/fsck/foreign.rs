//! Finding what no store writes, and what should be gone.

use std::fs;
use std::path::PathBuf;

use format::Digest;

use crate::file::{At, FileError, found, names};
use crate::fsck::{Problem, Report};
use crate::lock::lock_existing;
use crate::open::belongs_in_root;
use crate::{FlatKey, Folder, LockKey, SandboxId, Store, refs};

impl Store {
    /// Looks at the names and kinds of all files, not at their content.
    pub(super) fn check_names(&self, report: &mut Report) -> Result<(), FileError> {
        let mut foreign = |path| report.problems.push(Problem::Foreign { path });
        for name in names(self.root())?.into_iter().filter(|name| !belongs_in_root(name)) {
            foreign(self.root().join(name));
        }
        let blobs = self.folder(Folder::Blobs);
        let algorithms = blobs.parent().unwrap_or(&blobs);
        for name in names(algorithms)?.into_iter().filter(|name| !blobs.ends_with(name)) {
            foreign(algorithms.join(name));
        }
        for folder in Folder::ALL {
            for name in names(&self.folder(folder))? {
                let path = self.folder(folder).join(&name);
                let Some(metadata) = found(fs::symlink_metadata(&path).at("examine", &path))? else {
                    continue;
                };
                let kind_fits = match folder {
                    Folder::Sandboxes => metadata.is_dir(),
                    Folder::Tmp | Folder::Trash | Folder::Cache => metadata.is_dir() || metadata.is_file(),
                    _ => metadata.is_file(),
                };
                if !kind_fits || !folder.can_hold(&name) {
                    foreign(path);
                }
            }
        }
        Ok(())
    }

    /// What is to go: by the collector, or by a command that holds its lock.
    pub(super) fn removed(&self) -> Result<Vec<PathBuf>, FileError> {
        let mut paths = Vec::new();
        for folder in [Folder::Trash, Folder::Tmp, Folder::Leases].map(|folder| self.folder(folder)) {
            paths.extend(names(&folder)?.into_iter().map(|name| folder.join(name)));
        }
        Ok(paths)
    }

    /// Names what was `removed` when the check began, and is still there although nobody is at work on it: what a
    /// command has there for a moment is no problem.
    pub(super) fn check_removed(&self, removed: Vec<PathBuf>, report: &mut Report) -> Result<(), FileError> {
        let Some(_held) = self.try_lock(LockKey::Collector)? else { return Ok(()) };
        // One that cannot even be opened is in nobody's hands either.
        let left = removed.into_iter().filter(|path| !matches!(lock_existing(path), Ok(None)));
        report.problems.extend(left.map(|path| Problem::Leftover { path }));
        Ok(())
    }
}

impl Folder {
    /// Whether a store writes entries of this name in the folder.
    fn can_hold(self, name: &str) -> bool {
        match self {
            Self::Blobs | Self::Partial | Self::Framings | Self::Origins => Digest::from_hex(name).is_ok(),
            Self::Refs => refs::full_name(name).is_some(),
            Self::Flat => FlatKey::parse(name).is_some(),
            Self::Sandboxes => name.parse::<SandboxId>().is_ok(),
            Self::Tmp | Self::Trash | Self::Leases | Self::Locks | Self::Cache => true,
        }
    }
}
