//! Paths of a recipe: relative to its folder and never out of it.

use std::path::{Component, Path, PathBuf};

/// A file or folder that exists inside the recipe's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecipePath {
    relative: String,
    absolute: PathBuf,
}

impl RecipePath {
    /// Finds `relative` in `folder`. The error is the end of a sentence about the value.
    pub(super) fn find(folder: &Path, relative: &str) -> Result<Self, String> {
        let plain = Path::new(relative).components().all(|part| matches!(part, Component::Normal(_)));
        if relative.is_empty() || !plain {
            return Err(format!(
                "{relative:?} must be a path relative to the recipe's folder, without `.` and `..`"
            ));
        }
        let resolve =
            |path: &Path| path.canonicalize().map_err(|error| format!("cannot find {relative:?}: {error}"));
        let (folder, absolute) = (resolve(folder)?, resolve(&folder.join(relative))?);
        if absolute == folder || !absolute.starts_with(&folder) {
            return Err(format!("{relative:?} leads out of the recipe's folder by a symbolic link"));
        }
        Ok(Self { relative: relative.to_owned(), absolute })
    }

    /// The path as the recipe has it, for people.
    #[must_use]
    pub fn relative(&self) -> &str {
        &self.relative
    }

    /// Where it is on this host, without symbolic links.
    #[must_use]
    pub fn absolute(&self) -> &Path {
        &self.absolute
    }
}
