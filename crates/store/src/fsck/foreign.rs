//! Finding what no store writes.

use std::fs;

use format::Digest;

use crate::file::{At, FileError, found, names};
use crate::fsck::{Problem, Report};
use crate::open::belongs_in_root;
use crate::prune::Item;
use crate::{FlatKey, Folder, SandboxId, Store, refs};

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
}

impl Folder {
    /// Whether a store writes entries of this name in the folder.
    fn can_hold(self, name: &str) -> bool {
        match self {
            Self::Blobs | Self::Partial | Self::Framings => Digest::from_hex(name).is_ok(),
            Self::Refs => refs::full_name(name).is_some(),
            Self::Flat => FlatKey::parse(name).is_some(),
            Self::Sandboxes => name.parse::<SandboxId>().is_ok(),
            Self::Trash => Item::from_trash(name).is_some(),
            Self::Tmp | Self::Leases | Self::Locks | Self::Cache => true,
        }
    }
}
